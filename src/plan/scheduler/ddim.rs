//! Denoising diffusion implicit models (arXiv 2010.02502, eq. 12 and 16).

use super::levels::unit_variance_estimate;
use super::linear::{estimate, noise, original, update};
use super::{Evaluation, Schedule, ScheduleError, Setup};
use crate::model::training::Spacing;

pub(super) fn schedule(setup: &Setup<'_>) -> Result<Schedule, ScheduleError> {
    let to_one = setup.config.set_alpha_to_one.unwrap_or(true);
    let evaluation = |(step, timestep): (usize, f64)| {
        let signal = setup.levels.signal(timestep as usize);
        let next_signal = setup.signal_at(timestep - setup.stride(), to_one);
        let variance = (1.0 - next_signal) / (1.0 - signal) * (1.0 - signal / next_signal);
        let deviation = setup.eta * variance.max(0.0).sqrt();
        let original = original(signal);
        let direction = estimate() * (1.0 - next_signal - deviation * deviation).max(0.0).sqrt();
        let mut next = original * next_signal.sqrt() + direction;
        if setup.eta > 0.0 {
            next = next + noise() * deviation;
        }
        Evaluation {
            step,
            timestep,
            input_scale: 1.0,
            estimate: unit_variance_estimate(setup.config.prediction, signal),
            update: update([next]),
        }
    };
    let timesteps = setup.timesteps(Spacing::Leading, true)?;
    Ok(Schedule { initial_scale: 1.0, evaluations: timesteps.into_iter().enumerate().map(evaluation).collect() })
}
