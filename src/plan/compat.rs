//! The rule of the reference implementation, `compat diffusers`, quirks included: one momentum for all concepts, which
//! outlives them, and weights that are shared out while only some have finished their warm-up.
//!
//! Source: `SemanticStableDiffusionPipeline.__call__` in diffusers 0.42.1. It counts the scheduler's iterations, not
//! steps: with pndm (one more than steps) and heun (about twice as many) a warm-up or cooldown of so many steps is over
//! earlier than under the rule of edition 1.

use super::build::{Edits, Setting};
use super::{MomentumStep, Role, Term};
use crate::recipe::Concept;

/// The joint momentum's number.
const JOINT: usize = 0;

/// What one concept is at one iteration.
struct State {
    /// Whether its warm-up is over; stays so after the cooldown.
    warm: bool,
    /// `W_c`: its weight, 0 from the cooldown on.
    weight: f64,
}

/// What every concept does at every iteration.
pub(super) fn edits(setting: &Setting<'_>) -> Vec<Edits> {
    let iterations = setting.schedule.evaluations.len();
    let count = setting.concepts.len();
    let states: Vec<Vec<State>> =
        (0..iterations).map(|i| setting.concepts.iter().map(|concept| state(setting, concept, i)).collect()).collect();
    // The reference has one momentum scale and one decay; the checker made sure that all concepts agree on them.
    let (scale, decay) = setting.concepts.first().map_or((0.0, 0.0), |c| (c.momentum.get(), c.beta.get()));
    let has_momentum = scale > 0.0 && decay < 1.0;
    let all_warm = |i: usize| count > 0 && states[i].iter().all(|state| state.warm);
    let last_added = (0..iterations).rev().find(|&i| all_warm(i));

    let mut fed = false;
    (0..iterations)
        .map(|i| {
            let all_warm = all_warm(i);
            let warm_weights: f64 = states[i].iter().filter(|state| state.warm).map(|state| state.weight).sum();
            let feeds_momentum = has_momentum && last_added.is_some_and(|last| i <= last);
            let mut terms = Vec::new();
            for (index, (concept, state)) in setting.concepts.iter().zip(&states[i]).enumerate() {
                let Some(row) = setting.rows[index] else { continue };
                if concept.strength.get() == 0.0 || state.weight == 0.0 {
                    continue;
                }
                let direct = match (state.warm, all_warm) {
                    (false, _) => 0.0,
                    (true, false) => state.weight / warm_weights,
                    (true, true) if has_momentum => 0.0,
                    (true, true) => state.weight,
                };
                let feeds = feeds_momentum.then_some((JOINT, state.weight));
                if direct == 0.0 && feeds.is_none() {
                    continue;
                }
                terms.push(Term {
                    concept: index,
                    row,
                    strength: concept.direction.sign() * concept.strength.get(),
                    rank: rank(concept.threshold.get(), setting.elements),
                    role: if state.warm { Role::Active } else { Role::WarmingUp },
                    direct,
                    feeds,
                });
            }
            fed |= feeds_momentum && !terms.is_empty();
            let momentum = (feeds_momentum && fed).then(|| MomentumStep {
                momentum: JOINT,
                scale,
                decay,
                added: if all_warm { 1.0 } else { 0.0 },
                kept: last_added.is_some_and(|last| i < last),
            });
            Edits { terms, momenta: momentum.into_iter().collect() }
        })
        .collect()
}

fn state(setting: &Setting<'_>, concept: &Concept, iteration: usize) -> State {
    let total = setting.recipe.steps;
    let cooled = concept.range.end.is_some_and(|end| iteration >= end.resolve(total));
    State {
        warm: iteration >= concept.warmup.0.resolve(total),
        weight: if cooled { 0.0 } else { concept.weight.get() },
    }
}

/// The rank that `torch.quantile` means, in its single-precision arithmetic: elements that reach a value interpolated
/// between two neighbours are those from the upper neighbour on.
fn rank(threshold: f64, elements: usize) -> usize {
    (threshold as f32 * elements.saturating_sub(1) as f32).ceil() as usize
}
