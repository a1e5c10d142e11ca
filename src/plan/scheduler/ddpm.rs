//! The ancestral sampler of denoising diffusion probabilistic models (arXiv 2006.11239, eq. 7).

use super::levels::unit_variance_estimate;
use super::linear::{latents, noise, original, update};
use super::{Evaluation, Schedule, ScheduleError, Setup};
use crate::model::training::Spacing;

/// The least variance of a step, as the original code has it.
const LEAST_VARIANCE: f64 = 1e-20;

pub(super) fn schedule(setup: &Setup<'_>) -> Result<Schedule, ScheduleError> {
    let timesteps = setup.timesteps(Spacing::Leading, true)?;
    let evaluation = |(step, &timestep): (usize, &f64)| {
        let signal = setup.levels.signal(timestep as usize);
        let next_signal = timesteps.get(step + 1).map_or(1.0, |&next| setup.levels.signal(next as usize));
        let alpha = signal / next_signal;
        let beta = 1.0 - alpha;
        let original = original(signal);
        let mut next = original * (next_signal.sqrt() * beta / (1.0 - signal))
            + latents() * (alpha.sqrt() * (1.0 - next_signal) / (1.0 - signal));
        if timestep > 0.0 {
            let variance = (1.0 - next_signal) / (1.0 - signal) * beta;
            next = next + noise() * variance.max(LEAST_VARIANCE).sqrt();
        }
        Evaluation {
            step,
            timestep,
            input_scale: 1.0,
            estimate: unit_variance_estimate(setup.config.prediction, signal),
            update: update([next]),
        }
    };
    Ok(Schedule { initial_scale: 1.0, evaluations: timesteps.iter().enumerate().map(evaluation).collect() })
}
