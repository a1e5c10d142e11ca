//! Schedulers as pure functions: settings in, a [`Schedule`] of scalars out. No tensors, no state, all in `f64`.
//!
//! Every solver here is linear in the latents, the noise estimate and the fresh noise, with coefficients that are known
//! before the first evaluation. So a solver is a list of small matrices, and the engine has a single update for all.

mod ddim;
mod ddpm;
mod dpmpp;
mod error;
mod euler;
mod heun;
mod lcm;
mod levels;
mod linear;
mod lms;
mod pndm;
mod timesteps;
mod unipc;

pub use error::ScheduleError;

use crate::model::training::{SchedulerConfig, SchedulerKind, Sigmas, Spacing};
use crate::quantity::{Eta, Steps};
use levels::Levels;

/// What a recipe says about sampling; where it says nothing, the model's own configuration holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// The scheduler.
    pub scheduler: Option<SchedulerKind>,
    /// The number of steps.
    pub steps: Steps,
    /// eta of ddim.
    pub eta: Eta,
    /// The spread of the sigmas.
    pub sigmas: Option<Sigmas>,
    /// The spread of the timesteps.
    pub spacing: Option<Spacing>,
}

/// What a solver works from.
struct Setup<'a> {
    config: &'a SchedulerConfig,
    levels: Levels,
    steps: usize,
    eta: f64,
    karras: bool,
    spacing: Option<Spacing>,
}

/// The scheduler that samples: the recipe's, or else the model's own.
pub fn kind(config: &SchedulerConfig, sampling: &Sampling) -> Result<SchedulerKind, ScheduleError> {
    match (sampling.scheduler, &config.kind) {
        (Some(kind), _) => Ok(kind),
        (None, Ok(kind)) => Ok(*kind),
        (None, Err(unsupported)) => Err(ScheduleError::Unsupported(unsupported.clone())),
    }
}

/// The schedule of a model's configuration and a recipe's wishes, equal to that of diffusers' scheduler of the same name.
///
/// A scheduler that the recipe names is what its name says, whatever options the model's own has: of the configuration
/// it takes the noise levels, the prediction, and the spreads of timesteps and sigmas.
pub fn schedule(config: &SchedulerConfig, sampling: &Sampling) -> Result<Schedule, ScheduleError> {
    let kind = kind(config, sampling)?;
    let steps = sampling.steps.get();
    if steps > config.train_timesteps {
        return Err(ScheduleError::TooManySteps { steps, trained: config.train_timesteps });
    }
    if sampling.eta.get() > 0.0 && kind != SchedulerKind::Ddim {
        return Err(ScheduleError::EtaWithoutDdim { scheduler: kind });
    }
    // A model's own wish for Karras sigmas concerns the schedulers that have them; a recipe's is a demand.
    if sampling.sigmas == Some(Sigmas::Karras) && !kind.has_karras() {
        return Err(ScheduleError::NoKarras { scheduler: kind });
    }
    if sampling.spacing.is_some() && !kind.has_spacing() {
        return Err(ScheduleError::NoSpacing { scheduler: kind });
    }
    let karras = kind.has_karras() && sampling.sigmas.unwrap_or(config.sigmas) == Sigmas::Karras;
    let setup = Setup {
        config,
        levels: Levels::new(config, kind)?,
        steps,
        eta: sampling.eta.get(),
        karras,
        spacing: sampling.spacing.or(config.spacing),
    };
    let schedule = match kind {
        SchedulerKind::Ddim => ddim::schedule(&setup),
        SchedulerKind::Ddpm => ddpm::schedule(&setup),
        SchedulerKind::Euler => euler::schedule(&setup),
        SchedulerKind::EulerAncestral => euler::ancestral(&setup),
        SchedulerKind::Dpmpp2m => dpmpp::schedule(&setup),
        SchedulerKind::Pndm => pndm::schedule(&setup),
        SchedulerKind::Lms => lms::schedule(&setup),
        SchedulerKind::Heun => heun::schedule(&setup),
        SchedulerKind::UniPc => unipc::schedule(&setup),
        SchedulerKind::Lcm => lcm::schedule(&setup),
    }?;
    // Two equal noise levels in a row would divide by nothing.
    match schedule.evaluations.iter().find(|evaluation| !evaluation.is_finite()) {
        Some(evaluation) => Err(ScheduleError::RepeatedNoiseLevel { step: evaluation.step, steps }),
        None => Ok(schedule),
    }
}

/// For each evaluation the final latents that the latents before it and its noise estimate imply:
/// `(a z - sqrt(1 - s) e) / sqrt(s)`, with the signal `s` and the input scale `a`, which brings the latents to unit
/// variance (arXiv 2010.02502, eq. 9). Good for previews: between whole timesteps the signal is interpolated.
pub fn originals(
    config: &SchedulerConfig,
    sampling: &Sampling,
    schedule: &Schedule,
) -> Result<Vec<Estimate>, ScheduleError> {
    let levels = Levels::new(config, kind(config, sampling)?)?;
    let original = |evaluation: &Evaluation| {
        let sigma = levels.sigma(evaluation.timestep);
        Estimate { output: -sigma, sample: evaluation.input_scale * (1.0 + sigma * sigma).sqrt() }
    };
    Ok(schedule.evaluations.iter().map(original).collect())
}

/// Everything about sampling that does not depend on the pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The standard deviation of the initial latents: unit noise is multiplied by it.
    pub initial_scale: f64,
    /// One entry for each time that the network is asked, in order.
    pub evaluations: Vec<Evaluation>,
}

/// One evaluation of the network and the update that follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The step (0-based, of the recipe's `steps`) that this evaluation belongs to. Solvers with two evaluations for a
    /// step give both the same number.
    pub step: usize,
    /// The timestep that the network is told.
    pub timestep: f64,
    /// The network sees the latents multiplied by this.
    pub input_scale: f64,
    /// How the network's output becomes a noise estimate.
    pub estimate: Estimate,
    /// How the state goes on.
    pub update: Update,
}

impl Evaluation {
    /// Whether every number of it is one.
    pub fn is_finite(&self) -> bool {
        let own = [self.timestep, self.input_scale, self.estimate.output, self.estimate.sample];
        let factors = self.update.next.iter().flat_map(|next| next.0.iter().map(|(_, factor)| *factor));
        own.into_iter().chain(factors).all(f64::is_finite)
    }
}

/// The noise estimate as a combination of the network's output and the (unscaled) latents:
/// `estimate = output * network_output + sample * latents`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The factor of the network's output.
    pub output: f64,
    /// The factor of the latents.
    pub sample: f64,
}

/// A linear map from the solver's state to its next state.
///
/// The state is a list of tensors of the latents' shape: the latents first, then whatever the solver remembers
/// (earlier estimates, an earlier sample). Before the first evaluation it holds the initial latents alone; `next[0]`
/// is the next latents.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// One combination for each entry of the next state.
    pub next: Vec<Combination>,
}

impl Update {
    /// Whether the update takes fresh noise from the seed's stream. A noise term of factor 0 takes it all the same, so
    /// that the stream stays in step with the reference's.
    pub fn draws_noise(&self) -> bool {
        self.next.iter().any(|combination| combination.0.iter().any(|(operand, _)| *operand == Operand::Noise))
    }
}

/// A sum of operands, each times a factor. An operand occurs at most once.
#[derive(Debug, Clone, PartialEq)]
pub struct Combination(pub Vec<(Operand, f64)>);

/// What an update combines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operand {
    /// An entry of the solver's state before the update; `State(0)` is the latents.
    State(usize),
    /// The guided noise estimate of this evaluation.
    Estimate,
    /// Fresh unit noise of this evaluation; the same tensor wherever it occurs in one update.
    Noise,
}
