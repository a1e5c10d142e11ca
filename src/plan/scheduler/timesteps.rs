//! The training timesteps that are sampled, noisiest first (arXiv 2305.08891, table 2).

use super::{ScheduleError, Setup};
use crate::model::training::Spacing;

/// numpy's rounding: halves to even.
fn round(value: f64) -> f64 {
    value.round_ties_even()
}

impl Setup<'_> {
    /// Equal steps up to the last training timestep; `rounded` to whole ones where the solver looks levels up.
    fn linspace(&self, count: usize, rounded: bool) -> Vec<f64> {
        let last = (self.levels.count() - 1) as f64;
        // A single point is the first of the line, timestep 0.
        let step = if count > 1 { last / (count - 1) as f64 } else { 0.0 };
        let at = |i: usize| if i + 1 == count && count > 1 { last } else { i as f64 * step };
        (0..count).rev().map(|i| if rounded { round(at(i)) } else { at(i) }).collect()
    }

    fn leading(&self, count: usize) -> Vec<f64> {
        let ratio = self.levels.count() / count;
        (0..count).rev().map(|i| (i * ratio + self.config.steps_offset) as f64).collect()
    }

    fn trailing(&self) -> Vec<f64> {
        let trained = self.levels.count() as f64;
        let ratio = trained / self.steps as f64;
        (0..self.steps).map(|i| round(trained - i as f64 * ratio) - 1.0).collect()
    }

    /// The timesteps of solvers that take one for each step.
    pub(super) fn timesteps(&self, default: Spacing, rounded: bool) -> Result<Vec<f64>, ScheduleError> {
        let timesteps = match self.spacing.unwrap_or(default) {
            Spacing::Linspace => self.linspace(self.steps, rounded),
            Spacing::Leading => self.leading(self.steps),
            Spacing::Trailing => self.trailing(),
        };
        self.within_training(timesteps)
    }

    /// The timesteps of solvers that spread one more than there are steps and leave the last out.
    pub(super) fn timesteps_but_last(&self, default: Spacing) -> Result<Vec<f64>, ScheduleError> {
        let mut timesteps = match self.spacing.unwrap_or(default) {
            Spacing::Linspace => self.linspace(self.steps + 1, true),
            Spacing::Leading => self.leading(self.steps + 1),
            Spacing::Trailing => self.trailing(),
        };
        timesteps.truncate(self.steps);
        self.within_training(timesteps)
    }

    fn within_training(&self, timesteps: Vec<f64>) -> Result<Vec<f64>, ScheduleError> {
        let trained = self.levels.count();
        match timesteps.iter().find(|&&timestep| timestep > (trained - 1) as f64) {
            Some(&timestep) => Err(ScheduleError::BeyondTraining { timestep, trained }),
            None => Ok(timesteps),
        }
    }

    /// How many training timesteps a step of ddim and pndm goes back.
    pub(super) fn stride(&self) -> f64 {
        (self.levels.count() / self.steps) as f64
    }

    /// `alpha_bar` at a timestep; before the first it is that of no noise, or of the first training timestep.
    pub(super) fn signal_at(&self, timestep: f64, set_alpha_to_one: bool) -> f64 {
        match (timestep < 0.0, set_alpha_to_one) {
            (true, true) => 1.0,
            (true, false) => self.levels.signal(0),
            (false, _) => self.levels.signal(timestep as usize),
        }
    }
}
