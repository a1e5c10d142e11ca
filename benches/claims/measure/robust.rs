//! Robust: the same edits in other words, with other schedulers and other numbers of steps.

use sega::recipe::Direction;

use super::prompts::agreement;
use super::tally::Tally;
use super::{Findings, Study, Treatment};
use crate::figures::{Figure, Measure, Table, interval_text, share_text};
use crate::prompts::Wording;
use crate::recipes::{Edit, Setup};

const SCHEDULERS: [&str; 3] = ["ddim", "euler", "dpmpp-2m"];
const STEPS: [u32; 3] = [15, 30, 50];

/// The claim: success and isolation for every variant, and how far apart they are.
pub(super) fn measure(study: &mut Study<'_>, findings: &mut Findings) {
    let (mut rows, mut worked, mut unchanged, mut followed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (name, setup) in variants(&study.setup) {
        let agrees = agreement(study, &setup, study.seeds).statements;
        let tally = added(study, &setup);
        rows.push(vec![
            name,
            share_text(agrees),
            share_text(tally.worked),
            interval_text(tally.worked),
            tally.worked.of.to_string(),
            share_text(tally.unchanged),
        ]);
        let counted = [(&mut followed, agrees), (&mut worked, tally.worked), (&mut unchanged, tally.unchanged)];
        for (shares, share) in counted {
            if share.of > 0 {
                shares.push(share);
            }
        }
    }
    let figure = |row: &str, measure| Figure { claim: "robust", row: row.to_owned(), measure, aim: None, paper: None };
    if let Some(lowest) = worked.iter().min_by(|a, b| a.value().total_cmp(&b.value())) {
        findings.figures.push(figure("one concept, the lowest of all variants", Measure::Share(*lowest)));
        findings.figures.push(figure("one concept, spread over variants", Measure::Spread(worked)));
        findings.figures.push(figure("isolation, spread over variants", Measure::Spread(unchanged)));
        findings.figures.push(figure("follows prompts, spread over variants", Measure::Spread(followed)));
    }
    findings.tables.push(Table {
        title: "Robust, by variant".to_owned(),
        header: vec![
            "variant",
            "follows prompts",
            "one concept worked",
            "95 % interval",
            "counted",
            "others unchanged",
        ],
        rows,
    });
}

/// The setup of all other claims, and what differs from it in one thing.
fn variants(base: &Setup) -> Vec<(String, Setup)> {
    let mut variants =
        vec![(format!("{}, {} steps", base.scheduler.unwrap_or("its own scheduler"), base.steps), base.clone())];
    variants.push(("in other words".to_owned(), Setup { wording: Wording::Paraphrased, ..base.clone() }));
    for scheduler in SCHEDULERS.into_iter().filter(|scheduler| base.scheduler != Some(scheduler)) {
        variants.push((scheduler.to_owned(), Setup { scheduler: Some(scheduler), ..base.clone() }));
    }
    for steps in STEPS.into_iter().filter(|steps| *steps != base.steps) {
        variants.push((format!("{steps} steps"), Setup { steps, ..base.clone() }));
    }
    variants
}

fn added(study: &mut Study<'_>, setup: &Setup) -> Tally {
    let (concepts, each) = study.core(Direction::Plus);
    let mut tally = Tally::default();
    for concept in concepts {
        let edits = [Edit::new(Direction::Plus, concept)];
        let treatment = Treatment::Edits(&edits);
        for chosen in study.choose(setup, Direction::Plus, concept, each, std::slice::from_ref(&treatment)).portraits {
            if let Some(outcome) = study.after(setup, Direction::Plus, &chosen, &treatment) {
                tally.add(&outcome);
            }
        }
    }
    tally
}
