//! How a model was trained to see noise, and the names of the schedulers that can sample from it.
//!
//! The values come from a checkpoint's `scheduler/scheduler_config.json`, or from a recipe that overrides them.

use std::fmt;

/// Implements `ALL`, `name`, `from_name` and `Display` for an enumeration whose variants have words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value, in the order in which help texts list them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The words of [`Self::ALL`], in its order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word for it, in recipes and messages.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value that a word names.
            pub fn from_name(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

words! {
    /// A scheduler: the solver that turns noise estimates into less noisy latents.
    SchedulerKind {
        /// Denoising diffusion implicit models, with any eta.
        Ddim = "ddim",
        /// The ancestral sampler of the original diffusion papers.
        Ddpm = "ddpm",
        /// Euler's method on the probability-flow equation in sigma.
        Euler = "euler",
        /// Euler's method with fresh noise at each step.
        EulerAncestral = "euler-ancestral",
        /// DPM-Solver++, second order, multistep.
        Dpmpp2m = "dpmpp-2m",
        /// Pseudo linear multistep (PLMS), the default of Stable Diffusion 1.x.
        Pndm = "pndm",
        /// Linear multistep, fourth order, in sigma.
        Lms = "lms",
        /// Heun's method: two evaluations a step.
        Heun = "heun",
        /// UniPC, second order, predictor and corrector.
        UniPc = "unipc",
        /// That of latent consistency models: 2 to 8 steps, for models that were distilled for it.
        Lcm = "lcm",
    }
}

impl SchedulerKind {
    /// Whether it has `eta`, the share of DDPM's noise that is added back at each step.
    pub fn has_eta(self) -> bool {
        self == Self::Ddim
    }

    /// Whether it can be told that the training ends in pure noise (`rescale_betas_zero_snr`).
    pub fn has_zero_snr(self) -> bool {
        !matches!(self, Self::Pndm | Self::Lms | Self::Heun)
    }

    /// Whether the spread of its timesteps can be chosen.
    pub fn has_spacing(self) -> bool {
        self != Self::Lcm
    }

    /// Whether it steps in sigma and so can follow the schedule of Karras et al.
    pub fn has_karras(self) -> bool {
        matches!(self, Self::Euler | Self::Dpmpp2m | Self::Lms | Self::Heun | Self::UniPc)
    }
}

/// What a checkpoint asks for where it names a scheduler that is none of [`SchedulerKind`], or one of them with an option
/// that is not followed here. A recipe that names a scheduler does without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedScheduler {
    /// The key of `scheduler_config.json`.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// The values that are supported, in words.
    pub supported: String,
}

words! {
    /// How the sampled timesteps are spread over the training timesteps.
    Spacing {
        /// Equal steps from 0 up, shifted by `steps_offset`.
        Leading = "leading",
        /// From the first to the last training timestep, both included.
        Linspace = "linspace",
        /// Equal steps from the last training timestep down.
        Trailing = "trailing",
    }
}

words! {
    /// How the noise levels (sigmas) of the sampled timesteps are spread.
    Sigmas {
        /// Those of the training schedule at the sampled timesteps.
        Plain = "plain",
        /// The schedule of Karras et al. (arXiv 2206.00364, eq. 5, rho = 7).
        Karras = "karras",
    }
}

words! {
    /// What the network's output estimates.
    Prediction {
        /// The noise.
        Epsilon = "epsilon",
        /// The velocity of Salimans and Ho (arXiv 2202.00512): v = alpha noise - sigma sample.
        Velocity = "v_prediction",
    }
}

words! {
    /// How the training noise grows over the training timesteps.
    BetaSchedule {
        /// Betas rise linearly.
        Linear = "linear",
        /// Square roots of the betas rise linearly; that of every Stable Diffusion.
        ScaledLinear = "scaled_linear",
        /// The cosine schedule of Nichol and Dhariwal (arXiv 2102.09672).
        SquaredCosine = "squaredcos_cap_v2",
    }
}

/// A checkpoint's `scheduler_config.json`. An option that is `None` is not in the file: the scheduler's own default
/// holds, which differs between schedulers and is therefore theirs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerConfig {
    /// The scheduler that the checkpoint names, if it is known here.
    pub kind: Result<SchedulerKind, UnsupportedScheduler>,
    /// How many timesteps the model was trained on.
    pub train_timesteps: usize,
    /// The first beta.
    pub beta_start: f64,
    /// The last beta.
    pub beta_end: f64,
    /// How beta goes from the first to the last.
    pub beta_schedule: BetaSchedule,
    /// Betas given one by one, instead of the three above.
    pub trained_betas: Option<Vec<f64>>,
    /// What the network's output estimates.
    pub prediction: Prediction,
    /// Whether betas are rescaled so that the last timestep is pure noise; see [`SchedulerKind::has_zero_snr`].
    pub rescale_betas_zero_snr: bool,
    /// The spread of the timesteps.
    pub spacing: Option<Spacing>,
    /// Added to leading timesteps.
    pub steps_offset: usize,
    /// Whether the last step of ddim and pndm goes to no noise at all, or to the first training timestep.
    pub set_alpha_to_one: Option<bool>,
    /// The spread of the sigmas.
    pub sigmas: Sigmas,
    /// The number of timesteps that a latent consistency model was distilled at.
    pub distilled_steps: usize,
    /// What timesteps are multiplied by in the boundary condition of latent consistency models.
    pub timestep_scaling: f64,
}
