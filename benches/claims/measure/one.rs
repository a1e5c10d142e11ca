//! One concept, added or taken away.

use sega::recipe::Direction;

use super::tally::Tally;
use super::{Findings, Pair, Study, Treatment};
use crate::concepts::Concept;
use crate::figures::{Figure, Measure, Table, interval_text, mean_text, share_text};
use crate::recipes::Edit;
use crate::statistics::Share;

const PLUS_AIM: f64 = 0.97;
const LOWEST_AIM: f64 = 0.90;
const MINUS_AIM: f64 = 0.95;
/// The paper's average over edits of faces.
const PAPER: f64 = 0.95;
/// Pairs of pictures on the sheet, for each concept that stands for its kind.
const PAIRS: usize = 3;

/// What came of a concept.
pub(super) struct Edited {
    concept: &'static Concept,
    pub(super) tally: Tally,
    /// How many portraits counted, of those looked at.
    counted: Share,
}

/// Every concept of a direction, and pairs of pictures.
pub(super) fn edited(study: &mut Study<'_>, direction: Direction) -> (Vec<Edited>, Vec<Pair>) {
    let (setup, number) = (study.setup.clone(), study.each);
    let (mut edited, mut pairs) = (Vec::new(), Vec::new());
    for (number_of_concept, concept) in study.concepts(direction).into_iter().enumerate() {
        let edits = [Edit::new(direction, concept)];
        let treatment = Treatment::Edits(&edits);
        let mut tally = Tally::default();
        let selection = study.choose(&setup, direction, concept, number, std::slice::from_ref(&treatment));
        // Each concept shows other portraits.
        let shown = number_of_concept.min(selection.portraits.len().saturating_sub(PAIRS));
        for (place, chosen) in selection.portraits.iter().enumerate() {
            let Some(outcome) = study.after(&setup, direction, chosen, &treatment) else { continue };
            tally.add(&outcome);
            if concept.core && (shown..shown + PAIRS).contains(&place) {
                pairs.push(Pair {
                    before: chosen.recipe.clone(),
                    after: outcome.recipe,
                    prompt: chosen.prompt.clone(),
                    edit: format!("{} {}", direction.name(), concept.text),
                    worked: outcome.worked,
                });
            }
        }
        edited.push(Edited { concept, tally, counted: selection.share });
    }
    (edited, pairs)
}

/// The claim of one concept added.
pub(super) fn plus(study: &mut Study<'_>, findings: &mut Findings) {
    measure(study, findings, Direction::Plus, "one concept");
}

/// The claim of one concept taken away.
pub(super) fn minus(study: &mut Study<'_>, findings: &mut Findings) {
    measure(study, findings, Direction::Minus, "minus");
}

fn measure(study: &mut Study<'_>, findings: &mut Findings, direction: Direction, claim: &'static str) {
    let (edited, pairs) = edited(study, direction);
    findings.pairs.extend(pairs);
    let mut sum = Tally::default();
    for Edited { tally, .. } in &edited {
        sum.merge(tally);
    }
    let plus = direction == Direction::Plus;
    findings.figures.push(Figure {
        claim,
        row: if plus { "absent before, present after: mean" } else { "present before, absent after: mean" }.to_owned(),
        measure: Measure::Share(sum.worked),
        aim: Some(if plus { PLUS_AIM } else { MINUS_AIM }),
        paper: plus.then_some(PAPER),
    });
    let some = edited.iter().filter(|edited| edited.tally.worked.of > 0);
    let success = |edited: &Edited| edited.tally.worked.value();
    if let Some(lowest) = some.min_by(|a, b| success(a).total_cmp(&success(b))) {
        findings.figures.push(Figure {
            claim,
            row: format!("the lowest, {}", lowest.concept.text),
            measure: Measure::Share(lowest.tally.worked),
            aim: plus.then_some(LOWEST_AIM),
            paper: None,
        });
    }
    let row = |Edited { concept, tally, counted }: &Edited| {
        let settings = Edit::new(direction, concept).settings;
        vec![
            concept.text.to_owned(),
            concept.kind.name().to_owned(),
            format!("{}, {}%, {}%", settings.strength, settings.threshold, settings.warmup),
            share_text(tally.worked),
            interval_text(tally.worked),
            tally.worked.of.to_string(),
            share_text(tally.unchanged),
            mean_text(&tally.outside),
            mean_text(&tally.all),
            share_text(*counted),
        ]
    };
    findings.tables.push(Table {
        title: format!("{}, by concept", if plus { "One concept added" } else { "One concept taken away" }),
        header: vec![
            "concept",
            "kind",
            "strength, threshold, warm-up",
            "worked",
            "95 % interval",
            "counted",
            "others unchanged",
            "pixels outside",
            "pixels in all",
            if plus { "absent before" } else { "painted when asked for" },
        ],
        rows: edited.iter().map(row).collect(),
    });
}
