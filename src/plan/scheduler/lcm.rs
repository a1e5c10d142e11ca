//! Sampling from latent consistency models (Luo et al., arXiv 2310.04378, algorithm 3): the network's estimate of the final
//! latents, and noise again up to the next level.

use super::levels::unit_variance_estimate;
use super::linear::{latents, noise, original, update};
use super::{Evaluation, Schedule, ScheduleError, Setup};

/// The standard deviation of the data that the boundary condition assumes (arXiv 2303.01469, appendix C).
const DATA_DEVIATION: f64 = 0.5;

pub(super) fn schedule(setup: &Setup<'_>) -> Result<Schedule, ScheduleError> {
    let timesteps = timesteps(setup)?;
    let evaluation = |(step, &timestep): (usize, &f64)| {
        let signal = setup.levels.signal(timestep as usize);
        let scaled = timestep * setup.config.timestep_scaling;
        let variance = DATA_DEVIATION * DATA_DEVIATION;
        let skip = variance / (scaled * scaled + variance);
        let out = scaled / (scaled * scaled + variance).sqrt();
        let original = original(signal);
        let mut next = original * out + latents() * skip;
        if let Some(&timestep) = timesteps.get(step + 1) {
            let next_signal = setup.levels.signal(timestep as usize);
            next = next * next_signal.sqrt() + noise() * (1.0 - next_signal).sqrt();
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

/// Equal steps among the timesteps that the model was distilled at, from the noisiest on.
fn timesteps(setup: &Setup<'_>) -> Result<Vec<f64>, ScheduleError> {
    let distilled = setup.config.distilled_steps.min(setup.levels.count());
    if setup.steps > distilled {
        return Err(ScheduleError::MoreThanDistilled { steps: setup.steps, distilled });
    }
    let stride = setup.levels.count() / distilled;
    let apart = distilled as f64 / setup.steps as f64;
    let at = |step: usize| ((distilled - (step as f64 * apart) as usize) * stride - 1) as f64;
    Ok((0..setup.steps).map(at).collect())
}
