//! Euler's method on the probability-flow equation in sigma (arXiv 2206.00364, algorithm 1 without its second order), and
//! its ancestral variant, which takes a longer step down and fresh noise up again.

use super::levels::{Levels, sigma_estimate};
use super::linear::{estimate, latents, noise, update};
use super::{Evaluation, Schedule, ScheduleError, Setup};
use crate::model::training::Spacing;

/// What Euler's, Heun's and the linear multistep method share.
pub(super) struct SigmaSteps {
    /// The timestep of each step.
    pub(super) timesteps: Vec<f64>,
    /// The sigma of each step, and a last one, 0.
    pub(super) sigmas: Vec<f64>,
    /// The standard deviation of the initial latents.
    pub(super) initial_scale: f64,
}

impl SigmaSteps {
    pub(super) fn new(setup: &Setup<'_>) -> Result<Self, ScheduleError> {
        let default = Spacing::Linspace;
        let mut timesteps = setup.timesteps(default, false)?;
        let mut sigmas: Vec<f64> = timesteps.iter().map(|&timestep| setup.levels.sigma(timestep)).collect();
        if setup.karras
            && let (Some(&from), Some(&to)) = (sigmas.first(), sigmas.last())
        {
            sigmas = Levels::karras(from, to, setup.steps);
            timesteps = sigmas.iter().map(|&sigma| setup.levels.timestep(sigma)).collect();
        }
        let greatest = sigmas.iter().copied().fold(0.0, f64::max);
        let initial_scale = match setup.spacing.unwrap_or(default) {
            Spacing::Linspace | Spacing::Trailing => greatest,
            Spacing::Leading => (greatest * greatest + 1.0).sqrt(),
        };
        sigmas.push(0.0);
        Ok(Self { timesteps, sigmas, initial_scale })
    }

    /// The network sees latents of unit variance.
    pub(super) fn input_scale(sigma: f64) -> f64 {
        1.0 / (sigma * sigma + 1.0).sqrt()
    }
}

pub(super) fn schedule(setup: &Setup<'_>) -> Result<Schedule, ScheduleError> {
    let steps = SigmaSteps::new(setup)?;
    let evaluation = |step: usize| {
        let (sigma, next) = (steps.sigmas[step], steps.sigmas[step + 1]);
        Evaluation {
            step,
            timestep: steps.timesteps[step],
            input_scale: SigmaSteps::input_scale(sigma),
            estimate: sigma_estimate(setup.config.prediction, sigma),
            update: update([latents() + estimate() * (next - sigma)]),
        }
    };
    Ok(Schedule { initial_scale: steps.initial_scale, evaluations: (0..setup.steps).map(evaluation).collect() })
}

pub(super) fn ancestral(setup: &Setup<'_>) -> Result<Schedule, ScheduleError> {
    let steps = SigmaSteps::new(setup)?;
    let evaluation = |step: usize| {
        let (sigma, next) = (steps.sigmas[step], steps.sigmas[step + 1]);
        let up = (next * next * (sigma * sigma - next * next) / (sigma * sigma)).max(0.0).sqrt();
        let down = (next * next - up * up).max(0.0).sqrt();
        Evaluation {
            step,
            timestep: steps.timesteps[step],
            input_scale: SigmaSteps::input_scale(sigma),
            estimate: sigma_estimate(setup.config.prediction, sigma),
            update: update([latents() + estimate() * (down - sigma) + noise() * up]),
        }
    };
    Ok(Schedule { initial_scale: steps.initial_scale, evaluations: (0..setup.steps).map(evaluation).collect() })
}
