//! Follows prompts: the oracle sees what the prompt says, without any edit.

use std::collections::BTreeMap;

use super::{Findings, Study};
use crate::figures::{Figure, Measure, Table, interval_text, share_text};
use crate::prompts::portrait;
use crate::recipes::Setup;
use crate::statistics::Share;

const AIM: f64 = 0.95;

/// How often pictures agree with their prompts.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    /// Over all statements; every picture counts by the share of its statements that are true.
    pub(super) statements: Share,
    whole: Share,
    groups: BTreeMap<&'static str, Share>,
}

/// Reads so many portraits against what their prompts say.
pub(super) fn agreement(study: &mut Study<'_>, setup: &Setup, number: usize) -> Agreement {
    let mut found = Agreement::default();
    for portrait in (0..number).map(portrait) {
        let prompt = portrait.prompt.text(setup.wording).to_owned();
        let Some(seen) = study.before(setup, portrait, prompt) else { continue };
        let mut right = 0.0;
        for &(group, value) in portrait.prompt.says {
            let agrees = value.split('|').any(|value| value == study.vocabulary.value(&seen.before.logits, group));
            let success = if agrees { 1.0 } else { 0.0 };
            found.groups.entry(group).or_default().add(success);
            right += success;
        }
        let said = portrait.prompt.says.len() as f64;
        found.statements.add(right / said);
        found.whole.add(if right == said { 1.0 } else { 0.0 });
    }
    found
}

/// The claim.
pub(super) fn measure(study: &mut Study<'_>, findings: &mut Findings) {
    let (setup, number) = (study.setup.clone(), study.seeds);
    let found = agreement(study, &setup, number);
    let figure = |row: &str, share, aim| Figure {
        claim: "follows prompts",
        row: row.to_owned(),
        measure: Measure::Share(share),
        aim,
        paper: None,
    };
    findings.figures.push(figure("what a prompt says", found.statements, Some(AIM)));
    findings.figures.push(figure("all that it says at once", found.whole, None));
    let row = |(group, share): (&&str, &Share)| {
        let oracle = study.accuracy.get(*group).map(|right| format!("{:.1} %", 100.0 * right)).unwrap_or_default();
        vec![(*group).to_owned(), share_text(*share), interval_text(*share), share.of.to_string(), oracle]
    };
    findings.tables.push(Table {
        title: "Follows prompts, by attribute".to_owned(),
        header: vec!["attribute", "agrees", "95 % interval", "counted", "the oracle itself is right"],
        rows: found.groups.iter().map(row).collect(),
    });
}
