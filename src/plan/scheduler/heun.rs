//! Heun's method in sigma (arXiv 2206.00364, algorithm 1 without churn): two evaluations a step, one in the last.

use super::euler::SigmaSteps;
use super::levels::sigma_estimate;
use super::linear::{estimate, latents, state, update};
use super::{Evaluation, Schedule, ScheduleError, Setup};

pub(super) fn schedule(setup: &Setup<'_>) -> Result<Schedule, ScheduleError> {
    let steps = SigmaSteps::new(setup)?;
    let mut evaluations = Vec::new();
    for step in 0..setup.steps {
        let (sigma, next) = (steps.sigmas[step], steps.sigmas[step + 1]);
        let at = |place: usize, update| Evaluation {
            step,
            timestep: steps.timesteps[place],
            input_scale: SigmaSteps::input_scale(steps.sigmas[place]),
            estimate: sigma_estimate(setup.config.prediction, steps.sigmas[place]),
            update,
        };
        let euler = latents() + estimate() * (next - sigma);
        if step + 1 == setup.steps {
            evaluations.push(at(step, update([euler])));
            break;
        }
        // The second evaluation starts over from the first's latents, with the mean of both slopes.
        evaluations.push(at(step, update([euler, latents(), estimate()])));
        evaluations.push(at(step + 1, update([state(1) + (state(2) + estimate()) * (0.5 * (next - sigma))])));
    }
    Ok(Schedule { initial_scale: steps.initial_scale, evaluations })
}
