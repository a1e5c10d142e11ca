//! DPM-Solver++(2M): multistep, second order, on the estimate of the original (arXiv 2211.01095, algorithm 2).

use super::levels::{Levels, unit_variance_estimate};
use super::linear::{Linear, estimate, latents, state, update};
use super::{Evaluation, Schedule, ScheduleError, Setup};
use crate::model::training::{BetaSchedule, Spacing};

/// The noise levels of a solver whose latents keep unit variance.
pub(super) struct UnitSteps {
    /// The timestep of each step.
    pub(super) timesteps: Vec<f64>,
    sigmas: Vec<f64>,
}

impl UnitSteps {
    pub(super) fn new(setup: &Setup<'_>) -> Result<Self, ScheduleError> {
        let mut timesteps = setup.timesteps_but_last(Spacing::Linspace)?;
        let mut sigmas: Vec<f64> = timesteps.iter().map(|&timestep| setup.levels.sigma(timestep)).collect();
        if setup.karras {
            let (noisiest, cleanest) = setup.levels.extremes();
            sigmas = Levels::karras(noisiest, cleanest, setup.steps);
            timesteps = sigmas.iter().map(|&sigma| setup.levels.timestep(sigma)).collect();
        }
        sigmas.push(0.0);
        Ok(Self { timesteps, sigmas })
    }

    /// The factor of the original in the latents.
    pub(super) fn alpha(&self, step: usize) -> f64 {
        1.0 / (self.sigmas[step] * self.sigmas[step] + 1.0).sqrt()
    }

    /// The factor of the noise in the latents.
    pub(super) fn sigma(&self, step: usize) -> f64 {
        self.sigmas[step] * self.alpha(step)
    }

    /// Half the logarithm of the signal-to-noise ratio; infinite at the end.
    pub(super) fn lambda(&self, step: usize) -> f64 {
        -libm::log(self.sigmas[step])
    }

    /// The original that the latents and the noise estimate of a step imply.
    pub(super) fn original(&self, step: usize) -> Linear {
        (latents() - estimate() * self.sigma(step)) * (1.0 / self.alpha(step))
    }

    /// One evaluation with its update.
    pub(super) fn evaluation(&self, setup: &Setup<'_>, step: usize, next: Vec<Linear>) -> Evaluation {
        Evaluation {
            step,
            timestep: self.timesteps[step],
            input_scale: 1.0,
            estimate: unit_variance_estimate(setup.config.prediction, self.alpha(step) * self.alpha(step)),
            update: update(next),
        }
    }
}

pub(super) fn schedule(setup: &Setup<'_>) -> Result<Schedule, ScheduleError> {
    let mut steps = UnitSteps::new(setup)?;
    if setup.karras {
        // The network is told whole timesteps; diffusers rounds them, except with cosine betas, where it cuts them off.
        let whole = match setup.config.beta_schedule {
            BetaSchedule::SquaredCosine => f64::trunc,
            BetaSchedule::Linear | BetaSchedule::ScaledLinear => f64::round_ties_even,
        };
        steps.timesteps.iter_mut().for_each(|timestep| *timestep = whole(*timestep));
    }
    let evaluation = |step: usize| {
        let original = steps.original(step);
        let to = step + 1;
        // alpha (1 - exp(-h)); where no noise remains, h is infinite and this is alpha.
        let pull = steps.alpha(to) * -libm::expm1(steps.lambda(step) - steps.lambda(to));
        let mut next = latents() * (steps.sigma(to) / steps.sigma(step)) + original.clone() * pull;
        // The last step is of first order: its length in lambda is infinite.
        if step > 0 && to < setup.steps {
            let ratio = (steps.lambda(step) - steps.lambda(step - 1)) / (steps.lambda(to) - steps.lambda(step));
            next = next + (original.clone() - state(1)) * (0.5 * pull / ratio);
        }
        steps.evaluation(setup, step, vec![next, original])
    };
    Ok(Schedule { initial_scale: 1.0, evaluations: (0..setup.steps).map(evaluation).collect() })
}
