//! The single definition of every setting. The checker, its messages and `sega explain` all read [`FIELDS`].

use std::ops::RangeInclusive;

use crate::model::training::{Prediction, SchedulerKind, Sigmas, Spacing};
use crate::quantity::{
    Beta, ClipSkip, Eta, GuidanceScale, LoraStrength, Momentum, Size, StepPoint, Steps, Strength, Threshold, WarmUp,
    Weight,
};

/// Where a setting may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// By itself: it holds for the whole picture.
    Recipe,
    /// Between the braces of a concept.
    Concept,
    /// In both places; by itself it is the default of all concepts.
    Both,
    /// Between the braces of a LoRA.
    Lora,
}

/// One of the levels of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Outside of all blocks.
    Recipe,
    /// Between the braces of a `plus` or `minus` block.
    Concept,
    /// Between the braces of a `lora` block.
    Lora,
}

impl Place {
    /// Whether a setting of this place may stand on a level.
    pub fn allows(self, level: Level) -> bool {
        match self {
            Self::Recipe => level == Level::Recipe,
            Self::Concept => level == Level::Concept,
            Self::Both => level != Level::Lora,
            Self::Lora => level == Level::Lora,
        }
    }
}

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// The number of the language's edition.
    Edition,
    /// A text in quotes.
    Text,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// A whole number from the first to the second.
    Count(u32, u32),
    /// A number from the first to the second.
    Real(f64, f64),
    /// A number from the first to the second, neither above 1, or a percentage.
    Share(f64, f64),
    /// A whole number, a list of them, or a sweep.
    Seeds,
    /// Width and height.
    Size,
    /// A number of steps or a percentage of all steps.
    StepPoint,
    /// A half-open range of steps.
    StepRange,
}

/// A setting.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The word that it is written with.
    pub key: &'static str,
    /// Where it may stand.
    pub place: Place,
    /// What values it takes.
    pub kind: Kind,
    /// What its numbers count; empty where they are plain.
    pub unit: &'static str,
    /// Whether every recipe must have it.
    pub required: bool,
    /// What holds where it is not set.
    default: fn() -> String,
    /// What it means, in one line.
    pub meaning: &'static str,
    /// What it does to the picture, and how it appears in the rule of guidance; empty where it does not.
    pub formula: &'static str,
    /// Values known to work.
    pub good: &'static str,
    /// A line that sets it.
    pub example: &'static str,
}

impl Field {
    /// What holds where the setting is absent, in words.
    pub fn default(&self) -> String {
        (self.default)()
    }

    /// The setting of a level that has this key.
    pub fn find(key: &str, level: Level) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.key == key && field.place.allows(level))
    }

    /// The settings that have this key: at most one for each level, a concept's last.
    pub fn all(key: &str) -> impl Iterator<Item = &'static Self> {
        FIELDS.iter().filter(move |field| field.key == key)
    }

    /// The level on which it sets something by itself.
    pub(super) fn level(&self) -> Level {
        match self.place {
            Place::Recipe | Place::Both => Level::Recipe,
            Place::Concept => Level::Concept,
            Place::Lora => Level::Lora,
        }
    }

    /// The kind of value, as short as can be: `a number`.
    pub fn noun(&self) -> &'static str {
        match self.kind {
            Kind::Edition | Kind::Real(..) => "a number",
            Kind::Text => "a text in quotes",
            Kind::Word(_) => "a word",
            Kind::Count(..) => "a whole number",
            Kind::Share(..) => "a share or a percentage",
            Kind::Seeds => "a whole number, or several",
            Kind::Size => "width and height",
            Kind::StepPoint => "a number of steps or a percentage",
            Kind::StepRange => "a range of steps",
        }
    }

    /// What values it takes, in words that follow "takes": `a number from 1 to 100`.
    pub fn takes(&self) -> String {
        match self.kind {
            Kind::Edition => "the number of the edition, 1".to_owned(),
            Kind::Text => "a text in quotes".to_owned(),
            Kind::Word(words) => match words {
                [only] => format!("the word `{only}`"),
                _ => format!("one of the words {}", list(words)),
            },
            Kind::Count(low, high) => format!("a whole number from {low} to {high}"),
            Kind::Real(low, high) => format!("a number from {low} to {high}"),
            Kind::Share(low, high) => {
                format!("a share from {low} to {high}, or from {}% to {}%", low * 100.0, high * 100.0)
            }
            Kind::Seeds => "a whole number from 0 to 18446744073709551615, a list or a sweep of them".to_owned(),
            Kind::Size => {
                format!(
                    "width and height in pixels, multiples of {} from {} to {}",
                    Size::MULTIPLE,
                    Size::RANGE.start(),
                    Size::RANGE.end()
                )
            }
            Kind::StepPoint => "a whole number of steps, or a percentage of all steps".to_owned(),
            Kind::StepRange => "a range of steps, such as `5..`, `..20` or `20%..80%`".to_owned(),
        }
    }
}

/// Words in back-ticks with commas and a last `or`.
pub(super) fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

const fn real(range: RangeInclusive<f64>) -> Kind {
    Kind::Real(*range.start(), *range.end())
}

const fn share(range: RangeInclusive<f64>) -> Kind {
    Kind::Share(*range.start(), *range.end())
}

/// A share as a percentage.
pub(super) fn percent(value: f64) -> String {
    // Rounded, as 0.1 * 100 may differ from 10 in the last place.
    format!("{}%", (value * 1e8).round() / 1e6)
}

fn warm_up() -> String {
    match WarmUp::default().0 {
        StepPoint::Count(count) => count.to_string(),
        StepPoint::Share(share) => percent(share),
    }
}

/// The words of a setting that is on or off.
pub const SWITCH: &[&str] = &["no", "yes"];
/// The words of `compat`.
pub const COMPAT: &[&str] = &["diffusers"];

/// Every setting, in the order in which help lists them.
pub const FIELDS: &[Field] = &[
    Field {
        key: "sega",
        place: Place::Recipe,
        kind: Kind::Edition,
        unit: "",
        required: true,
        default: || "none: every recipe starts with it".to_owned(),
        meaning: "the edition of the language that the recipe is written in; its first line",
        formula: "",
        good: "1 is the only edition",
        example: "sega 1",
    },
    Field {
        key: "model",
        place: Place::Recipe,
        kind: Kind::Text,
        unit: "",
        required: true,
        default: || "none: every recipe names its model".to_owned(),
        meaning: "the model that paints: a built-in name, a folder in the layout of diffusers, a .safetensors file, or a hub id",
        formula: "",
        good: "\"mini\" is built in; `owner/name` and `owner/name@revision` are fetched from the hub once",
        example: "model \"mini\"",
    },
    Field {
        key: "vae",
        place: Place::Recipe,
        kind: Kind::Text,
        unit: "",
        required: false,
        default: || "the model's own".to_owned(),
        meaning: "the autoencoder that makes the picture from the latents: a folder, a .safetensors file, or a hub id",
        formula: "",
        good: "one that was trained for models of the same family",
        example: "vae \"models/vae.safetensors\"",
    },
    Field {
        key: "prompt",
        place: Place::Recipe,
        kind: Kind::Text,
        unit: "",
        required: true,
        default: || "none: every recipe has a prompt".to_owned(),
        meaning: "what the picture shows",
        formula: "the estimate e_p in e = e_u + s_g (e_p - e_u) + concepts",
        good: "`(word)` counts 1.1 times as much, `(word:1.3)` 1.3 times, `[word]` 1.1 times less; a bracket itself is \
               written `\\\\(`; a long text is read in chunks. Not with `compat diffusers`",
        example: "prompt \"a portrait of a woman\"",
    },
    Field {
        key: "negative",
        place: Place::Recipe,
        kind: Kind::Text,
        unit: "",
        required: false,
        default: || "the empty text".to_owned(),
        meaning: "what the picture is steered away from as a whole",
        formula: "the estimate e_u in e = e_u + s_g (e_p - e_u) + concepts, which without it is that of the empty text",
        good: "",
        example: "negative \"blurry\"",
    },
    Field {
        key: "seed",
        place: Place::Recipe,
        kind: Kind::Seeds,
        unit: "",
        required: false,
        default: || "drawn anew by each run, which prints it and writes it into the picture".to_owned(),
        meaning: "the noise that the picture starts from; one picture for each seed",
        formula: "",
        good: "keep it while you change concepts, so that only the concepts change the picture",
        example: "seed 1 to 9 by 2",
    },
    Field {
        key: "size",
        place: Place::Recipe,
        kind: Kind::Size,
        unit: "pixels",
        required: false,
        default: || "the model's own".to_owned(),
        meaning: "width and height of the picture",
        formula: "",
        good: "the size that the model was trained on, such as 512x512 for Stable Diffusion 1",
        example: "size 512x512",
    },
    Field {
        key: "clip-skip",
        place: Place::Recipe,
        kind: Kind::Count(*ClipSkip::RANGE.start(), *ClipSkip::RANGE.end()),
        unit: "layers from the last",
        required: false,
        default: || "the model's own: 1 for Stable Diffusion 1 and 2, 2 for XL".to_owned(),
        meaning: "which layer of the text encoder is read, for prompt, negative prompt and concepts alike",
        formula: "",
        good: "2 where the model's page says so, as for many that draw; otherwise leave it out",
        example: "clip-skip 2",
    },
    Field {
        key: "scheduler",
        place: Place::Recipe,
        kind: Kind::Word(SchedulerKind::WORDS),
        unit: "",
        required: false,
        default: || "the model's own".to_owned(),
        meaning: "the solver that turns noise estimates into a picture, step by step",
        formula: "",
        good: "`ddim` and `pndm` with 50 steps; `dpmpp-2m` with 20 to 30; `lcm` with 2 to 8 for models that were distilled for it",
        example: "scheduler ddim",
    },
    Field {
        key: "eta",
        place: Place::Recipe,
        kind: share(Eta::RANGE),
        unit: "",
        required: false,
        default: || Eta::DEFAULT.to_string(),
        meaning: "how much fresh noise `ddim` adds at each step: 0 none, 1 as much as ddpm",
        formula: "",
        good: "0",
        example: "eta 0.5",
    },
    Field {
        key: "sigmas",
        place: Place::Recipe,
        kind: Kind::Word(Sigmas::WORDS),
        unit: "",
        required: false,
        default: || "the model's own".to_owned(),
        meaning: "how the noise levels of the steps are spread",
        formula: "",
        good: "`karras` with `dpmpp-2m` or `euler` and few steps",
        example: "sigmas plain",
    },
    Field {
        key: "spacing",
        place: Place::Recipe,
        kind: Kind::Word(Spacing::WORDS),
        unit: "",
        required: false,
        default: || "the model's own".to_owned(),
        meaning: "how the timesteps of the render are spread over those of the training",
        formula: "",
        good: "`trailing` with few steps; `lcm` has timesteps of its own",
        example: "spacing trailing",
    },
    Field {
        key: "prediction",
        place: Place::Recipe,
        kind: Kind::Word(Prediction::WORDS),
        unit: "",
        required: false,
        default: || "the model's own".to_owned(),
        meaning: "what the model was trained to estimate: the noise, or the velocity",
        formula: "epsilon: the network's output is e; v_prediction: e = alpha output + sigma z",
        good: "only for a single file that does not say so itself: `epsilon` for the base models of Stable Diffusion 2",
        example: "prediction epsilon",
    },
    Field {
        key: "steps",
        place: Place::Recipe,
        kind: Kind::Count(*Steps::RANGE.start(), *Steps::RANGE.end()),
        unit: "steps",
        required: false,
        default: || Steps::DEFAULT.get().to_string(),
        meaning: "how many steps the render takes from noise to picture",
        formula: "N; steps are counted i = 0 .. N-1 from the noisy end",
        good: "20 to 50",
        example: "steps 30",
    },
    Field {
        key: "guidance",
        place: Place::Recipe,
        kind: real(GuidanceScale::RANGE),
        unit: "",
        required: false,
        default: || GuidanceScale::DEFAULT.to_string(),
        meaning: "how closely the picture follows the prompt; 1 is no guidance at all",
        formula: "s_g in e = e_u + s_g (e_p - e_u) + concepts",
        good: "5 to 10; concepts need more than 1",
        example: "guidance 7.5",
    },
    Field {
        key: "momentum",
        place: Place::Both,
        kind: share(Momentum::RANGE),
        unit: "",
        required: false,
        default: || Momentum::DEFAULT.to_string(),
        meaning: "how strongly a concept keeps pushing where it pushed before; outside, for all concepts",
        formula: "s_m in gamma = mu psi + s_m nu",
        good: "0.3 for faces, 0.5 for scenes and styles, both with `beta 0.6`",
        example: "momentum 0.3",
    },
    Field {
        key: "beta",
        place: Place::Both,
        kind: share(Beta::RANGE),
        unit: "",
        required: false,
        default: || Beta::DEFAULT.to_string(),
        meaning: "how slowly momentum forgets: 0 at once, 1 never; outside, for all concepts",
        formula: "beta_m in nu <- beta_m nu + (1 - beta_m) gamma",
        good: "0.6",
        example: "beta 0.6",
    },
    Field {
        key: "compat",
        place: Place::Recipe,
        kind: Kind::Word(COMPAT),
        unit: "",
        required: false,
        default: || "the rule of edition 1, in which concepts are independent of each other".to_owned(),
        meaning: "follow the reference implementation in diffusers instead, quirks included",
        formula: "",
        good: "only for comparing with pictures made by diffusers",
        example: "compat diffusers",
    },
    Field {
        key: "overwrite",
        place: Place::Recipe,
        kind: Kind::Word(SWITCH),
        unit: "",
        required: false,
        default: || "no".to_owned(),
        meaning: "whether a run may replace a picture that is already there",
        formula: "",
        good: "`yes` while you try things out",
        example: "overwrite yes",
    },
    Field {
        key: "strength",
        place: Place::Lora,
        kind: real(LoraStrength::RANGE),
        unit: "",
        required: false,
        default: || LoraStrength::DEFAULT.to_string(),
        meaning: "how much of a LoRA is added to the model's weights; below 0 it is taken away",
        formula: "c in W + c (alpha / rank) B A",
        good: "0.5 to 1",
        example: "strength 0.6",
    },
    Field {
        key: "strength",
        place: Place::Concept,
        kind: real(Strength::RANGE),
        unit: "",
        required: false,
        default: || Strength::DEFAULT.to_string(),
        meaning: "how far the concept moves the picture; `plus` or `minus` says which way",
        formula: "s_e: mu = s_e where |psi| is at or above its lambda-quantile, else 0",
        good: "3 to 6 for details of a face, 6 to 15 for objects",
        example: "strength 5",
    },
    Field {
        key: "threshold",
        place: Place::Concept,
        kind: share(Threshold::RANGE),
        unit: "share of each latent channel",
        required: false,
        default: || percent(Threshold::DEFAULT.get()),
        meaning: "how much of the concept's effect is discarded: the higher, the smaller the place it changes",
        formula: "lambda: mu = s_e where |psi| is at or above its lambda-quantile, else 0",
        good: "95% to 99% for details of a face, 90% to 95% for objects, 50% to 92% for styles",
        example: "threshold 95%",
    },
    Field {
        key: "warmup",
        place: Place::Concept,
        kind: Kind::StepPoint,
        unit: "steps",
        required: false,
        default: warm_up,
        meaning: "for how many steps of its range the concept only gathers momentum and does not act yet",
        formula: "delta: gamma is added to e from step a + delta on, where a is the start of the range",
        good: "5 to 10 for details, 5 to 15 for objects, 15 to 20 for styles (of 50 steps): later keeps more",
        example: "warmup 10",
    },
    Field {
        key: "steps",
        place: Place::Concept,
        kind: Kind::StepRange,
        unit: "steps",
        required: false,
        default: || "all steps".to_owned(),
        meaning: "the steps in which the concept exists: from the first number up to but without the second",
        formula: "a..b: the concept takes part in steps i with a <= i < b, counted from 0 at the noisy end",
        good: "start late (`20%..`) to keep the composition, end early (`..80%`) to keep fine texture",
        example: "steps 20%..80%",
    },
    Field {
        key: "weight",
        place: Place::Concept,
        kind: real(Weight::RANGE),
        unit: "",
        required: false,
        default: || Weight::DEFAULT.to_string(),
        meaning: "how much the concept counts in the sum of all concepts",
        formula: "g in e = e_u + s_g (e_p - e_u) + sum of g_c gamma_c",
        good: "1",
        example: "weight 1",
    },
];
