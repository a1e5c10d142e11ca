//! Why a schedule cannot be made.

use crate::model::training::{SchedulerKind, UnsupportedScheduler};

/// Why a schedule cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// The recipe names no scheduler, and the model's own is not known here.
    #[error("the model's own scheduler is not supported: in its `scheduler_config.json` `{}` is `{}`; supported: {}", .0.key, .0.value, .0.supported)]
    Unsupported(UnsupportedScheduler),
    /// More steps than training timesteps.
    #[error("{steps} steps are more than the {trained} timesteps that the model was trained on")]
    TooManySteps {
        /// The steps asked for.
        steps: usize,
        /// The training timesteps.
        trained: usize,
    },
    /// More steps than the model was distilled at.
    #[error("{steps} steps are more than the {distilled} that `lcm` picks from")]
    MoreThanDistilled {
        /// The steps asked for.
        steps: usize,
        /// The steps that there are.
        distilled: usize,
    },
    /// A spacing for a scheduler that has its own.
    #[error("{scheduler} has no `spacing`: its timesteps are those that the model was distilled at")]
    NoSpacing {
        /// The scheduler.
        scheduler: SchedulerKind,
    },
    /// eta for a scheduler that has none.
    #[error("`eta` is a setting of ddim; the scheduler here is {scheduler}")]
    EtaWithoutDdim {
        /// The scheduler.
        scheduler: SchedulerKind,
    },
    /// Karras sigmas for a scheduler that has none.
    #[error("{scheduler} has no `sigmas karras`")]
    NoKarras {
        /// The scheduler.
        scheduler: SchedulerKind,
    },
    /// The spacing leads past the last training timestep.
    #[error("timestep {timestep} lies beyond the {trained} timesteps that the model was trained on")]
    BeyondTraining {
        /// The first such timestep.
        timestep: f64,
        /// The training timesteps.
        trained: usize,
    },
    /// Two steps at the same noise level.
    #[error("step {step} of {steps} has the same noise level as its neighbour")]
    RepeatedNoiseLevel {
        /// The step.
        step: usize,
        /// The steps asked for.
        steps: usize,
    },
    /// The model's list of betas does not fit.
    #[error("the model's scheduler lists {given} betas for {trained} training timesteps")]
    TrainedBetas {
        /// Betas in the list.
        given: usize,
        /// The training timesteps.
        trained: usize,
    },
    /// The model's betas make no noise schedule.
    #[error("the betas of the model's scheduler make no noise schedule: the signal at timestep {timestep} is {signal}")]
    Betas {
        /// Where.
        timestep: usize,
        /// The cumulative product of 1 - beta there.
        signal: f64,
    },
}

impl ScheduleError {
    /// The recipe's settings that are to blame, the first that is given first.
    pub fn settings(&self) -> &'static [&'static str] {
        match self {
            Self::Unsupported(_) => &["scheduler", "model"],
            Self::TooManySteps { .. } | Self::MoreThanDistilled { .. } => &["steps"],
            Self::NoSpacing { .. } => &["spacing"],
            Self::EtaWithoutDdim { .. } => &["eta"],
            Self::NoKarras { .. } => &["sigmas"],
            Self::BeyondTraining { .. } | Self::RepeatedNoiseLevel { .. } => &["steps", "spacing", "scheduler"],
            Self::TrainedBetas { .. } | Self::Betas { .. } => &["model"],
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Unsupported(_) => {
                "name a scheduler in the recipe, such as `scheduler dpmpp-2m`; `sega explain scheduler` lists them"
                    .to_owned()
            }
            Self::TooManySteps { trained, .. } => format!("lower `steps` to {trained} or less; 30 to 50 are usual"),
            Self::MoreThanDistilled { distilled, .. } => {
                format!("lower `steps` to {distilled} or less; 2 to 8 are usual")
            }
            Self::NoSpacing { .. } => "take `spacing` away".to_owned(),
            Self::EtaWithoutDdim { .. } => "say `scheduler ddim`, or take `eta` away".to_owned(),
            Self::NoKarras { .. } => "say `scheduler dpmpp-2m`, or take `sigmas` away".to_owned(),
            Self::BeyondTraining { .. } | Self::RepeatedNoiseLevel { .. } => {
                "lower `steps`, or say `spacing linspace`".to_owned()
            }
            Self::TrainedBetas { .. } | Self::Betas { .. } => {
                "fetch the model again: its `scheduler_config.json` is damaged".to_owned()
            }
        }
    }
}
