//! A recipe as it is meant: typed, checked, every default filled in.
//!
//! [`fields::FIELDS`] is the single definition of every setting; [`parse`] turns a text into a [`Recipe`] or into
//! every mistake of the file at once.

mod check;
mod concepts;
pub mod explain;
mod extents;
pub mod fields;
mod heads;
mod loras;
mod pairs;
mod repair;
mod scope;
mod seed;
pub mod suggest;
mod tags;
mod values;

pub use check::{Checked, parse};
pub use seed::with_seed;

use crate::model::training::{Prediction, SchedulerKind, Sigmas, Spacing};
use crate::quantity::{
    Beta, ClipSkip, Eta, GuidanceScale, LoraStrength, Momentum, Seed, Size, StepRange, Steps, Strength, Threshold,
    WarmUp, Weight,
};
use crate::source::Spanned;

/// What a `.sega` file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Which model: a built-in name, a folder, a file or a hub id, as written.
    pub model: Spanned<String>,
    /// The autoencoder instead of the model's own: a folder, a file or a hub id, as written.
    pub vae: Option<Spanned<String>>,
    /// The text of the prompt.
    pub prompt: String,
    /// The text whose estimate takes the place of the unconditional one; empty where the recipe has none.
    pub negative: String,
    /// One picture for each; empty where the recipe leaves the seed to chance.
    pub seeds: Vec<Seed>,
    /// Which layer of the text encoder is read, counted from the last; the model's own where `None`.
    pub clip_skip: Option<ClipSkip>,
    /// The picture's size; the model's own where `None`.
    pub size: Option<Size>,
    /// The scheduler; the model's own where `None`.
    pub scheduler: Option<SchedulerKind>,
    /// eta of ddim.
    pub eta: Eta,
    /// The spread of the sigmas; the model's own where `None`.
    pub sigmas: Option<Sigmas>,
    /// The spread of the timesteps; the model's own where `None`.
    pub spacing: Option<Spacing>,
    /// What the network estimates; as the model says where `None`.
    pub prediction: Option<Prediction>,
    /// The number of steps.
    pub steps: Steps,
    /// The guidance scale.
    pub guidance: GuidanceScale,
    /// The rule of guidance.
    pub rule: Rule,
    /// Whether a run may replace existing files.
    pub overwrite: bool,
    /// The LoRAs, in the order of the file.
    pub loras: Vec<Lora>,
    /// The concepts, in the order of the file.
    pub concepts: Vec<Concept>,
}

/// Which rule of guidance a recipe asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// The rule of edition 1: concepts are independent of each other.
    #[default]
    Edition1,
    /// `compat diffusers`: the rule of the reference implementation, quirks included.
    Diffusers,
}

/// Whether a concept is added to or taken from the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Towards the concept.
    Plus,
    /// Away from the concept.
    Minus,
}

impl Direction {
    /// The word for it in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plus => "plus",
            Self::Minus => "minus",
        }
    }

    /// +1 or -1.
    pub fn sign(self) -> f64 {
        match self {
            Self::Plus => 1.0,
            Self::Minus => -1.0,
        }
    }
}

/// A `lora` block: an adaptation of the model's weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// Its name, unique among the recipe's blocks; never changes a pixel.
    pub name: Spanned<String>,
    /// Its file or folder, as written.
    pub source: Spanned<String>,
    /// How much of it is added to the weights.
    pub strength: LoraStrength,
}

/// A `plus` or `minus` block.
#[derive(Debug, Clone, PartialEq)]
pub struct Concept {
    /// Its name, unique in the recipe; never changes a pixel.
    pub name: Spanned<String>,
    /// Towards or away from it.
    pub direction: Direction,
    /// The text that the network is asked about.
    pub text: String,
    /// s_e.
    pub strength: Strength,
    /// lambda.
    pub threshold: Threshold,
    /// delta.
    pub warmup: WarmUp,
    /// The steps in which the concept exists.
    pub range: StepRange,
    /// s_m.
    pub momentum: Momentum,
    /// beta_m.
    pub beta: Beta,
    /// g_i.
    pub weight: Weight,
}
