//! Several concepts at once.

use sega::recipe::Direction;

use super::tally::Tally;
use super::{Findings, Sought, Study, Treatment, pool};
use crate::concepts::{Concept, TOGETHER, named};
use crate::figures::{Figure, Measure};
use crate::prompts::portrait;
use crate::recipes::Edit;

const AIMS: [f64; 3] = [0.95, 0.92, 0.90];

/// The claim: two, three and four concepts, all of them absent before and present after.
pub(super) fn measure(study: &mut Study<'_>, findings: &mut Findings) {
    for (sets, aim) in TOGETHER.iter().zip(AIMS) {
        let sets: Vec<Vec<&'static Concept>> =
            sets.iter().map(|set| set.iter().filter_map(|name| named(name)).collect()).collect();
        let count = sets.first().map_or(0, Vec::len);
        let tally = together(study, &sets);
        let figure = |row: String, measure, aim| Figure { claim: "several at once", row, measure, aim, paper: None };
        findings.figures.push(figure(
            format!("{count} concepts, all present"),
            Measure::Share(tally.worked),
            Some(aim),
        ));
        findings.figures.push(figure(
            format!("{count} concepts, others unchanged"),
            Measure::Share(tally.unchanged),
            None,
        ));
    }
}

/// To each portrait the first set, beginning with another one each time, that suits its prompt and of which the oracle
/// sees nothing.
fn together(study: &mut Study<'_>, sets: &[Vec<&'static Concept>]) -> Tally {
    let setup = study.setup.clone();
    let mut tally = Tally::default();
    let mut sought = Sought::new(study.seeds);
    for (number, portrait) in (0..pool(study.seeds)).map(|number| (number, portrait(number))) {
        if sought.enough() {
            break;
        }
        let in_turn = (0..sets.len()).map(|k| &sets[(number + k) % sets.len()]);
        let suited: Vec<_> = in_turn.filter(|set| set.iter().all(|concept| portrait.prompt.suits(concept))).collect();
        if suited.is_empty() {
            continue;
        }
        let Some(chosen) = study.before(&setup, portrait, portrait.prompt.text(setup.wording).to_owned()) else {
            sought.unknown += 1;
            study.book.foresee(format!("{} concepts, portrait {number}", suited[0].len()));
            continue;
        };
        let logits = &chosen.before.logits;
        let set = suited.into_iter().find(|set| !set.iter().any(|concept| study.present(logits, concept)));
        sought.look(set.is_some());
        let Some(set) = set else { continue };
        let edits: Vec<Edit> = set.iter().map(|concept| Edit::new(Direction::Plus, concept)).collect();
        if let Some(outcome) = study.after(&setup, Direction::Plus, &chosen, &Treatment::Edits(&edits)) {
            tally.add(&outcome);
        }
    }
    tally
}
