//! UniPC, second order, predictor and corrector on the estimate of the original, B(h) = exp(h) - 1
//! (arXiv 2302.04867, algorithms 1 and 2).

use super::dpmpp::UnitSteps;
use super::linear::{Linear, latents, state};
use super::{Schedule, ScheduleError, Setup};

/// The solver's order, lower in the first and in the last step.
fn order(step: usize, steps: usize) -> usize {
    2.min(step + 1).min(steps - step)
}

pub(super) fn schedule(setup: &Setup<'_>) -> Result<Schedule, ScheduleError> {
    let mut steps = UnitSteps::new(setup)?;
    if setup.karras {
        steps.timesteps.iter_mut().for_each(|timestep| *timestep = timestep.round_ties_even());
    }
    // Between evaluations the state is: the predicted latents, the corrected latents before them, the last estimate of
    // the original, the one before it.
    let evaluation = |step: usize| {
        let original = steps.original(step);
        let corrected =
            if step == 0 { latents() } else { correct(&steps, step, order(step - 1, setup.steps), &original) };
        let before = || state(2);
        let mut next = transfer(&steps, step, &corrected, &original);
        if order(step, setup.steps) == 2 {
            let (h, _) = width(&steps, step);
            let ratio = (steps.lambda(step - 1) - steps.lambda(step)) / h;
            next = next + (before() - original.clone()) * (0.5 / ratio * pull(&steps, step));
        }
        let mut state = vec![next, corrected, original];
        if step > 0 {
            state.push(before());
        }
        steps.evaluation(setup, step, state)
    };
    Ok(Schedule { initial_scale: 1.0, evaluations: (0..setup.steps).map(evaluation).collect() })
}

/// The width of a step in lambda, and `exp(-width) - 1`.
fn width(steps: &UnitSteps, step: usize) -> (f64, f64) {
    let h = steps.lambda(step + 1) - steps.lambda(step);
    (h, libm::expm1(-h))
}

/// `alpha (1 - exp(-h))`: how far a step goes towards the original.
fn pull(steps: &UnitSteps, step: usize) -> f64 {
    -steps.alpha(step + 1) * width(steps, step).1
}

/// The first-order part of a step from `sample` towards `original`.
fn transfer(steps: &UnitSteps, step: usize, sample: &Linear, original: &Linear) -> Linear {
    sample.clone() * (steps.sigma(step + 1) / steps.sigma(step)) + original.clone() * pull(steps, step)
}

/// The latents at `step`, corrected with the estimate that was made there: the step before is taken again.
fn correct(steps: &UnitSteps, step: usize, order: usize, original: &Linear) -> Linear {
    let (sample, last, before) = (state(1), state(2), state(3));
    let from = step - 1;
    let (h, expm1) = width(steps, from);
    let base = transfer(steps, from, &sample, &last);
    let newest = original.clone() - last.clone();
    let pull = pull(steps, from);
    if order == 1 {
        return base + newest * (0.5 * pull);
    }
    // The two weights solve: w1 + w2 = b1, r w1 + w2 = b2 (equation 5 of the paper for order 2, B(h) = exp(h) - 1).
    let ratio = (steps.lambda(from - 1) - steps.lambda(from)) / h;
    let phi_2 = expm1 / -h - 1.0;
    let b1 = phi_2 / expm1;
    let b2 = 2.0 * (phi_2 / -h - 0.5) / expm1;
    let w1 = (b1 - b2) / (1.0 - ratio);
    let w2 = b1 - w1;
    base + ((before - last) * (w1 / ratio) + newest * w2) * pull
}
