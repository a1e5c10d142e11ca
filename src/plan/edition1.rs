//! The rule of edition 1: every concept by itself, with its own range, warm-up and momentum.

use std::cmp::Ordering;

use super::build::{Edits, Setting};
use super::{MomentumStep, Role, Term};
use crate::recipe::Concept;

/// An order of concepts by what they say, so that neither their names nor their order in the file changes a sum.
pub(super) fn content_order(a: &Concept, b: &Concept) -> Ordering {
    let numbers = |concept: &Concept| {
        let Concept { name: _, direction: _, text: _, strength, threshold, warmup, range, momentum, beta, weight } =
            concept;
        let scalars = [strength.get(), threshold.get(), momentum.get(), beta.get(), weight.get()];
        (scalars, format!("{warmup:?} {range:?}"))
    };
    let ((a_scalars, a_steps), (b_scalars, b_steps)) = (numbers(a), numbers(b));
    let scalars = a_scalars.iter().zip(&b_scalars).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
    a.text
        .cmp(&b.text)
        .then(a.direction.cmp(&b.direction))
        .then(scalars.unwrap_or(Ordering::Equal))
        .then(a_steps.cmp(&b_steps))
}

/// The rank that a threshold means among `elements` values in ascending order: `ceil(threshold (elements - 1))`.
///
/// A product that misses a whole number by rounding alone is that whole number (0.9 of 10 is 9, not 9.000000000000002).
pub(super) fn rank(threshold: f64, elements: usize) -> usize {
    let exact = threshold * (elements.saturating_sub(1)) as f64;
    let whole = exact.round();
    if (exact - whole).abs() < 1e-9 { whole as usize } else { exact.ceil() as usize }
}

/// What every concept does at every evaluation.
pub(super) fn edits(setting: &Setting<'_>) -> Vec<Edits> {
    let total = setting.recipe.steps;
    let mut all: Vec<Edits> =
        setting.schedule.evaluations.iter().map(|_| Edits { terms: Vec::new(), momenta: Vec::new() }).collect();
    for (index, (concept, row)) in setting.concepts.iter().zip(setting.rows).enumerate() {
        let Some(row) = *row else { continue };
        if concept.strength.get() == 0.0 || concept.weight.get() == 0.0 {
            continue;
        }
        let range = concept.range.resolve(total);
        let active_from = range.start + concept.warmup.0.resolve(total);
        let evaluations = || setting.schedule.evaluations.iter().enumerate();
        // With a decay of 1 the momentum never leaves 0.
        let has_momentum = concept.momentum.get() > 0.0 && concept.beta.get() < 1.0;
        let Some((last_active, _)) = evaluations().rfind(|(_, e)| range.contains(&e.step) && e.step >= active_from)
        else {
            continue;
        };
        for (at, evaluation) in evaluations().filter(|(_, e)| range.contains(&e.step)) {
            let active = evaluation.step >= active_from;
            if !active && !has_momentum {
                continue;
            }
            all[at].terms.push(Term {
                concept: index,
                row,
                strength: concept.direction.sign() * concept.strength.get(),
                rank: rank(concept.threshold.get(), setting.elements),
                role: if active { Role::Active } else { Role::WarmingUp },
                direct: if has_momentum { 0.0 } else { concept.weight.get() },
                feeds: has_momentum.then_some((index, 1.0)),
            });
            if has_momentum {
                all[at].momenta.push(MomentumStep {
                    momentum: index,
                    scale: concept.momentum.get(),
                    decay: concept.beta.get(),
                    added: if active { concept.weight.get() } else { 0.0 },
                    kept: at < last_active,
                });
            }
        }
    }
    all
}
