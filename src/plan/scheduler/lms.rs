//! Linear multistep in sigma, fourth order (k-diffusion's LMS): earlier noise estimates extend the present one by a
//! polynomial that is integrated exactly.

use super::euler::SigmaSteps;
use super::levels::sigma_estimate;
use super::linear::{estimate, latents, state, update};
use super::{Evaluation, Schedule, ScheduleError, Setup};

const ORDER: usize = 4;

pub(super) fn schedule(setup: &Setup<'_>) -> Result<Schedule, ScheduleError> {
    let steps = SigmaSteps::new(setup)?;
    let evaluation = |step: usize| {
        let order = ORDER.min(step + 1);
        // State 1 is the last estimate, state 2 the one before, and so on.
        let past = |age: usize| if age == 0 { estimate() } else { state(age) };
        let next = (0..order).fold(latents(), |sum, age| sum + past(age) * weight(&steps.sigmas, step, order, age));
        let kept = (0..ORDER.min(order + 1) - 1).map(past);
        Evaluation {
            step,
            timestep: steps.timesteps[step],
            input_scale: SigmaSteps::input_scale(steps.sigmas[step]),
            estimate: sigma_estimate(setup.config.prediction, steps.sigmas[step]),
            update: update(std::iter::once(next).chain(kept)),
        }
    };
    Ok(Schedule { initial_scale: steps.initial_scale, evaluations: (0..setup.steps).map(evaluation).collect() })
}

/// The integral over the step of the Lagrange polynomial that is 1 at the sigma of the estimate of this age.
fn weight(sigmas: &[f64], step: usize, order: usize, age: usize) -> f64 {
    let (from, to) = (sigmas[step], sigmas[step + 1]);
    let polynomial = |sigma: f64| -> f64 {
        let others = (0..order).filter(|&other| other != age);
        others.map(|other| (sigma - sigmas[step - other]) / (sigmas[step - age] - sigmas[step - other])).product()
    };
    // Two points of Gauss and Legendre are exact up to the third degree.
    let (middle, half) = ((from + to) / 2.0, (to - from) / 2.0);
    let offset = half / 3.0f64.sqrt();
    half * (polynomial(middle - offset) + polynomial(middle + offset))
}
