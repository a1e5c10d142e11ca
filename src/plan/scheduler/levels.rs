//! Noise levels: how much signal and noise the latents hold at each training timestep.

use libm::{cos, log, pow};

use super::{Estimate, ScheduleError};
use crate::model::training::{BetaSchedule, Prediction, SchedulerConfig, SchedulerKind};

/// The least signal, `alpha_bar`, of a schedule that ends in pure noise: the floor of diffusers' solvers in sigma, 2^-24.
/// Its ddim and ddpm have none, which no noise estimate can express; over 20 steps the two differ by about 1e-4.
const LEAST_SIGNAL: f64 = 1.0 / 16_777_216.0;

/// The noise levels of the training timesteps.
#[derive(Debug, Clone)]
pub(super) struct Levels {
    /// `alpha_bar`, the cumulative product of `1 - beta` (arXiv 2006.11239, eq. 4).
    signal: Vec<f64>,
}

impl Levels {
    /// The levels as `kind` sees them.
    pub(super) fn new(config: &SchedulerConfig, kind: SchedulerKind) -> Result<Self, ScheduleError> {
        let trained = config.train_timesteps;
        let betas = match &config.trained_betas {
            Some(betas) if betas.len() != trained => {
                return Err(ScheduleError::TrainedBetas { given: betas.len(), trained });
            }
            Some(betas) => betas.clone(),
            None => betas(config),
        };
        let mut signal: Vec<f64> = betas
            .iter()
            .scan(1.0, |product, beta| {
                *product *= 1.0 - beta;
                Some(*product)
            })
            .collect();
        if config.rescale_betas_zero_snr && kind.has_zero_snr() {
            rescale_to_pure_noise(&mut signal);
        }
        let wrong = |&(_, &signal): &(usize, &f64)| !(signal > 0.0 && signal < 1.0);
        match signal.iter().enumerate().find(wrong) {
            Some((timestep, &signal)) => Err(ScheduleError::Betas { timestep, signal }),
            None => Ok(Self { signal }),
        }
    }

    /// `alpha_bar` at a timestep.
    pub(super) fn signal(&self, timestep: usize) -> f64 {
        self.signal[timestep.min(self.signal.len() - 1)]
    }

    /// The number of training timesteps.
    pub(super) fn count(&self) -> usize {
        self.signal.len()
    }

    /// sigma, the noise per signal, at a whole timestep.
    fn sigma_at(&self, timestep: usize) -> f64 {
        let signal = self.signal(timestep);
        ((1.0 - signal) / signal).sqrt()
    }

    /// sigma at any timestep, between whole ones on a straight line.
    pub(super) fn sigma(&self, timestep: f64) -> f64 {
        let below = timestep.floor();
        let share = timestep - below;
        let (low, high) = (self.sigma_at(below as usize), self.sigma_at(below as usize + 1));
        low + share * (high - low)
    }

    /// The timestep of a sigma: between whole ones on a straight line in log sigma.
    pub(super) fn timestep(&self, sigma: f64) -> f64 {
        let log_sigma = log(sigma.max(1e-10));
        let above = (0..self.count()).take_while(|&timestep| log(self.sigma_at(timestep)) <= log_sigma).count();
        let low = above.saturating_sub(1).min(self.count() - 2);
        let (from, to) = (log(self.sigma_at(low)), log(self.sigma_at(low + 1)));
        let share = ((from - log_sigma) / (from - to)).clamp(0.0, 1.0);
        low as f64 + share
    }

    /// The sigmas of Karras et al. (arXiv 2206.00364, eq. 5, rho = 7) between two, both included.
    pub(super) fn karras(from: f64, to: f64, count: usize) -> Vec<f64> {
        const RHO: f64 = 7.0;
        let (from, to) = (pow(from, 1.0 / RHO), pow(to, 1.0 / RHO));
        let at = |i: usize| if count > 1 { i as f64 / (count - 1) as f64 } else { 0.0 };
        (0..count).map(|i| pow(from + at(i) * (to - from), RHO)).collect()
    }

    /// The sigma of the noisiest and of the least noisy training timestep.
    pub(super) fn extremes(&self) -> (f64, f64) {
        (self.sigma_at(self.count() - 1), self.sigma_at(0))
    }
}

fn square(number: f64) -> f64 {
    number * number
}

fn betas(config: &SchedulerConfig) -> Vec<f64> {
    let count = config.train_timesteps;
    let line = |from: f64, to: f64, i: usize| from + (to - from) * i as f64 / (count.max(2) - 1) as f64;
    let (start, end) = (config.beta_start, config.beta_end);
    match config.beta_schedule {
        BetaSchedule::Linear => (0..count).map(|i| line(start, end, i)).collect(),
        BetaSchedule::ScaledLinear => (0..count).map(|i| square(line(start.sqrt(), end.sqrt(), i))).collect(),
        BetaSchedule::SquaredCosine => {
            const GREATEST: f64 = 0.999;
            let signal = |i: usize| {
                let time = i as f64 / count as f64;
                square(cos((time + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2))
            };
            (0..count).map(|i| (1.0 - signal(i + 1) / signal(i)).min(GREATEST)).collect()
        }
    }
}

/// Shifts and scales `sqrt(alpha_bar)` so that the last timestep is pure noise (arXiv 2305.08891, algorithm 1), up to the
/// floor that keeps noise estimates meaningful.
fn rescale_to_pure_noise(signal: &mut [f64]) {
    let (Some(first), Some(last)) = (signal.first().map(|s| s.sqrt()), signal.last().map(|s| s.sqrt())) else { return };
    for value in signal.iter_mut() {
        *value = square((value.sqrt() - last) * first / (first - last)).max(LEAST_SIGNAL);
    }
}

/// How outputs become noise estimates where the latents keep unit variance: `v = sqrt(a) e - sqrt(1 - a) x`
/// (arXiv 2202.00512, appendix D), solved for `e`.
pub(super) fn unit_variance_estimate(prediction: Prediction, signal: f64) -> Estimate {
    match prediction {
        Prediction::Epsilon => Estimate { output: 1.0, sample: 0.0 },
        Prediction::Velocity => Estimate { output: signal.sqrt(), sample: (1.0 - signal).sqrt() },
    }
}

/// The same where the latents are signal plus sigma times noise.
pub(super) fn sigma_estimate(prediction: Prediction, sigma: f64) -> Estimate {
    match prediction {
        Prediction::Epsilon => Estimate { output: 1.0, sample: 0.0 },
        Prediction::Velocity => {
            let variance = sigma * sigma + 1.0;
            Estimate { output: 1.0 / variance.sqrt(), sample: sigma / variance }
        }
    }
}
