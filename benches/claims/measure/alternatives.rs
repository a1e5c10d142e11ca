//! Against alternatives: the same concepts on the same portraits by other means.

use sega::recipe::Direction;

use super::tally::Tally;
use super::{Findings, Study, Treatment};
use crate::concepts::Concept;
use crate::figures::{Figure, Measure, Table, interval_text, mean_text, share_text};
use crate::recipes::Edit;

/// A way to edit.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// A block, as in all other claims.
    Block,
    /// A block that discards nothing: the plain sum of noise estimates.
    WithoutThreshold,
    LongerPrompt,
    NegativePrompt,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Block => "semantic guidance",
            Self::WithoutThreshold => "threshold 0",
            Self::LongerPrompt => "a longer prompt",
            Self::NegativePrompt => "a negative prompt",
        }
    }
}

/// The claim: success and isolation side by side, and semantic guidance ahead in isolation.
pub(super) fn measure(study: &mut Study<'_>, findings: &mut Findings) {
    let mut rows = Vec::new();
    let plus = [Way::Block, Way::LongerPrompt, Way::WithoutThreshold];
    let minus = [Way::Block, Way::NegativePrompt, Way::WithoutThreshold];
    for (direction, ways) in [(Direction::Plus, plus), (Direction::Minus, minus)] {
        let tallies = ways.map(|way| (way, tally(study, direction, way)));
        for (way, tally) in &tallies {
            rows.push(vec![
                direction.name().to_owned(),
                way.name().to_owned(),
                share_text(tally.worked),
                interval_text(tally.worked),
                tally.worked.of.to_string(),
                share_text(tally.unchanged),
                interval_text(tally.unchanged),
                mean_text(&tally.outside),
                mean_text(&tally.all),
            ]);
        }
        let [(_, block), others @ ..] = &tallies;
        for (way, other) in others.iter().filter(|(_, other)| other.unchanged.of > 0 && block.unchanged.of > 0) {
            findings.figures.push(Figure {
                claim: "against alternatives",
                row: format!("{}, others unchanged: ahead of {}", direction.name(), way.name()),
                measure: Measure::Lead(block.unchanged, other.unchanged),
                aim: Some(0.0),
                paper: None,
            });
        }
    }
    findings.tables.push(Table {
        title: "Against alternatives".to_owned(),
        header: vec![
            "direction",
            "way",
            "worked",
            "95 % interval",
            "counted",
            "others unchanged",
            "95 % interval",
            "pixels outside",
            "pixels in all",
        ],
        rows,
    });
}

fn tally(study: &mut Study<'_>, direction: Direction, way: Way) -> Tally {
    let setup = study.setup.clone();
    let (concepts, each) = study.core(direction);
    let mut tally = Tally::default();
    for concept in concepts {
        let edits = [edit(direction, concept, way)];
        let treatment = match way {
            Way::Block | Way::WithoutThreshold => Treatment::Edits(&edits),
            Way::LongerPrompt => Treatment::LongerPrompt(concept),
            Way::NegativePrompt => Treatment::NegativePrompt(concept),
        };
        for chosen in study.choose(&setup, direction, concept, each, std::slice::from_ref(&treatment)).portraits {
            if let Some(outcome) = study.after(&setup, direction, &chosen, &treatment) {
                tally.add(&outcome);
            }
        }
    }
    tally
}

fn edit(direction: Direction, concept: &'static Concept, way: Way) -> Edit {
    let edit = Edit::new(direction, concept);
    if matches!(way, Way::WithoutThreshold) { edit.with_threshold(0.0) } else { edit }
}
