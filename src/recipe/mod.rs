//! A recipe as it is meant: typed, checked, every default filled in.
//!
//! [`fields::FIELDS`] is the single definition of every setting; [`check`] turns a syntax tree into a [`Recipe`] or into
//! every mistake of the file at once.

mod check;
mod concepts;
pub mod explain;
mod extents;
pub mod fields;
pub mod suggest;
mod values;

pub use check::{Checked, parse};

use crate::model::training::{SchedulerKind, Sigmas, Spacing};
use crate::quantity::{
    Beta, Eta, GuidanceScale, Momentum, Seed, Size, StepRange, Steps, Strength, Threshold, WarmUp, Weight,
};
use crate::source::{Source, Spanned};
use crate::syntax;

/// What a `.sega` file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Which model: a built-in name, a hub id, a folder or a `.safetensors` file, as written.
    pub model: Spanned<String>,
    /// The text of the prompt.
    pub prompt: String,
    /// The text whose estimate takes the place of the unconditional one; empty where the recipe has none.
    pub negative: String,
    /// One picture for each; empty where the recipe leaves the seed to chance.
    pub seeds: Vec<Seed>,
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
    /// The number of steps.
    pub steps: Steps,
    /// The guidance scale.
    pub guidance: GuidanceScale,
    /// The rule of guidance.
    pub rule: Rule,
    /// Whether a run may replace existing files.
    pub overwrite: bool,
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

/// The recipe's text with `seed` as its only seed: the value of its `seed` setting is replaced, or, if it has none, a line
/// is added after its `negative`, `prompt`, `model` or `sega`. All else stays as it is, byte for byte.
///
/// Meant for a source that checks without errors.
pub fn with_seed(source: &Source, seed: Seed) -> String {
    let text = &source.text;
    let file = syntax::parse(source);
    let setting = |key: &str| {
        file.entries.iter().find_map(|entry| match entry {
            syntax::Entry::Setting(setting) if setting.key.value == key => Some(setting),
            _ => None,
        })
    };
    if let Some(written) = setting("seed") {
        let start = written.values.first().map_or(written.key.span.end, |first| first.span.start);
        let blank = if written.values.is_empty() { " " } else { "" };
        return format!("{}{blank}{}{}", &text[..start], seed.0, &text[written.span.end..]);
    }
    let line = format!("seed      {}", seed.0);
    let Some(before) = ["negative", "prompt", "model", "sega"].into_iter().find_map(setting) else {
        return format!("{line}\n{text}");
    };
    let end = before.span.end;
    let line_end = text[end..].find('\n').map_or(text.len(), |at| end + at);
    let line_break = if text[..line_end].ends_with('\r') { "\r\n" } else { "\n" };
    if text[end..line_end].trim_start().starts_with(',') {
        // Another setting stands on the same line.
        return format!("{}, seed {}{}", &text[..end], seed.0, &text[end..]);
    }
    let kept = text[..line_end].strip_suffix('\r').unwrap_or(&text[..line_end]);
    format!("{kept}{line_break}{line}{}", &text[kept.len()..])
}
