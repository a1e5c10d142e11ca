//! Monotonic: the more strength, the more of the concept.

use sega::recipe::Direction;

use super::{Curve, Findings, Study, Treatment};
use crate::concepts::Concept;
use crate::figures::{Figure, Measure};
use crate::recipes::Edit;
use crate::statistics::{Share, mean, spearman};

const AIM: f64 = 0.95;
/// A loss of probability that counts as a step back: logits go on to waver where the concept has long been certain.
const NOTICED: f64 = 0.05;
/// A strength of 0 is the picture before the edit.
const STRENGTHS: [f64; 5] = [2.0, 4.0, 6.0, 8.0, 10.0];

/// The claim, portrait by portrait and for the mean of all portraits of a concept.
pub(super) fn measure(study: &mut Study<'_>, findings: &mut Findings) {
    for direction in [Direction::Plus, Direction::Minus] {
        let (concepts, each) = study.core(direction);
        let (mut single, mut means, mut back) = (Vec::new(), Vec::new(), Share::default());
        for concept in concepts {
            let ladders = ladders(study, direction, concept, each);
            if ladders.is_empty() {
                continue;
            }
            let strengths: Vec<f64> = [0.0].into_iter().chain(STRENGTHS).collect();
            let sign = direction.sign();
            single.extend(ladders.iter().map(|ladder| {
                let odds: Vec<f64> = ladder.iter().map(|rung| sign * rung.odds).collect();
                spearman(&strengths, &odds)
            }));
            let at = |place: usize, f: &dyn Fn(&Rung) -> f64| {
                mean(&ladders.iter().map(|ladder| f(&ladder[place])).collect::<Vec<_>>())
            };
            let odds: Vec<f64> = (0..strengths.len()).map(|place| sign * at(place, &|rung| rung.odds)).collect();
            means.push(spearman(&strengths, &odds));
            let probability = |rung: &Rung| 1.0 / (1.0 + (-rung.odds).exp());
            for pair in ladders.iter().flat_map(|ladder| ladder.windows(2)) {
                let gain = sign * (probability(&pair[1]) - probability(&pair[0]));
                back.add(if gain < -NOTICED { 1.0 } else { 0.0 });
            }
            let worked = |rung: &Rung| if rung.worked { 1.0 } else { 0.0 };
            let points = strengths.iter().enumerate();
            findings.curves.push(Curve {
                concept,
                direction,
                points: points.map(|(place, &s)| [s, at(place, &probability), at(place, &worked)]).collect(),
                of: ladders.len(),
            });
        }
        let name = direction.name();
        let figure = |row: String, values| Figure {
            claim: "monotonic",
            row,
            measure: Measure::Correlations(values),
            aim: Some(AIM),
            paper: None,
        };
        findings.figures.push(figure(format!("{name}, strength and logit, portrait by portrait"), single));
        findings.figures.push(figure(format!("{name}, strength and mean logit, concept by concept"), means));
        findings.figures.push(Figure {
            claim: "monotonic",
            row: format!("{name}, 2 more strength is over {:.0} points of probability back", 100.0 * NOTICED),
            measure: Measure::Share(back),
            aim: None,
            paper: None,
        });
    }
}

/// What one strength does to a portrait.
struct Rung {
    /// The logarithm of the odds that the concept is there.
    odds: f64,
    worked: bool,
}

/// For each portrait all strengths, where all are known.
fn ladders(study: &mut Study<'_>, direction: Direction, concept: &'static Concept, each: usize) -> Vec<Vec<Rung>> {
    let setup = study.setup.clone();
    let mut ladders = Vec::new();
    let edits = STRENGTHS.map(|strength| [Edit::new(direction, concept).with_strength(strength)]);
    let treatments = edits.each_ref().map(|edits| Treatment::Edits(edits));
    for chosen in study.choose(&setup, direction, concept, each, &treatments).portraits {
        let odds = |logits: &[f32]| study.vocabulary.log_odds(logits, concept.group, concept.value);
        let mut ladder = vec![Rung { odds: odds(&chosen.before.logits), worked: false }];
        for treatment in &treatments {
            // All are asked for, also where one is missing.
            if let Some(outcome) = study.after(&setup, direction, &chosen, treatment) {
                let odds = study.vocabulary.log_odds(&outcome.after.logits, concept.group, concept.value);
                ladder.push(Rung { odds, worked: outcome.worked });
            }
        }
        if ladder.len() > STRENGTHS.len() {
            ladders.push(ladder);
        }
    }
    ladders
}
