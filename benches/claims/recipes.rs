//! Recipes as texts: what is measured is what users write.

use std::fmt::Write;

use sega::recipe::Direction;

use crate::concepts::{Concept, Settings};
use crate::prompts::Wording;

/// What all recipes of a measurement share.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setup {
    pub(crate) model: String,
    pub(crate) wording: Wording,
    /// The model's own where `None`.
    pub(crate) scheduler: Option<&'static str>,
    pub(crate) steps: u32,
    pub(crate) guidance: f64,
}

/// One block of a recipe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edit {
    pub(crate) direction: Direction,
    pub(crate) concept: &'static Concept,
    pub(crate) settings: Settings,
}

impl Edit {
    /// A concept added or taken away, with the settings of its kind.
    pub(crate) fn new(direction: Direction, concept: &'static Concept) -> Self {
        let settings = match direction {
            Direction::Plus => concept.kind.plus(),
            Direction::Minus => concept.kind.minus(),
        };
        Self { direction, concept, settings }
    }

    /// The same with another strength.
    pub(crate) fn with_strength(mut self, strength: f64) -> Self {
        self.settings.strength = strength;
        self
    }

    /// The same with another threshold.
    pub(crate) fn with_threshold(mut self, percent: f64) -> Self {
        self.settings.threshold = percent;
        self
    }
}

/// A prompt that asks for one thing more.
pub(crate) fn asking(prompt: &str, phrase: &str) -> String {
    format!("{prompt}, {phrase}")
}

/// The recipe of one picture.
pub(crate) fn recipe(setup: &Setup, prompt: &str, negative: Option<&str>, seed: u64, edits: &[Edit]) -> String {
    // A folder may have quotes and backslashes in its name; the language escapes them as JSON does.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut out = format!("sega 1\n\nmodel     {}\nprompt    {}\n", quoted(&setup.model), quoted(prompt));
    // Writing to a string cannot fail.
    if let Some(negative) = negative {
        let _ = writeln!(out, "negative  {}", quoted(negative));
    }
    let _ = writeln!(out, "seed      {seed}");
    if let Some(scheduler) = setup.scheduler {
        let _ = writeln!(out, "scheduler {scheduler}");
    }
    let _ = writeln!(out, "steps     {}\nguidance  {}", setup.steps, setup.guidance);
    for Edit { direction, concept, settings } in edits {
        let _ = writeln!(
            out,
            "\n{} {} {} {{\n  strength  {}\n  threshold {}%\n  warmup    {}%\n}}",
            direction.name(),
            concept.name,
            quoted(concept.text),
            settings.strength,
            settings.threshold,
            settings.warmup
        );
    }
    out
}
