//! The single definition of every setting. The checker, its messages, `sega explain` and editors all read it here.

use std::ops::RangeInclusive;

use crate::model::training::{SchedulerKind, Sigmas, Spacing};
use crate::quantity::{GuidanceScale, Steps, Strength, Weight};

/// Where a setting may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// At the top level of a recipe.
    Recipe,
    /// In the braces of a concept.
    Concept,
}

/// What values a setting takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// The edition's number.
    Edition,
    /// A text in quotes.
    Text {
        /// Whether it may be empty.
        empty: bool,
    },
    /// One seed, a list of seeds or a sweep.
    Seeds,
    /// Width and height in pixels.
    Size,
    /// One of several words.
    Word(&'static [&'static str]),
    /// A whole number.
    Count(RangeInclusive<u32>),
    /// A number.
    Scale(RangeInclusive<f64>),
    /// A number from 0 to 1, or a percentage.
    Share,
    /// A number of steps, or a percentage of all steps.
    StepCount,
    /// A half-open range of steps.
    StepRange,
}

impl Kind {
    /// What the setting takes, in words.
    pub fn expectation(&self) -> String {
        match self {
            Self::Edition => "the edition's number".to_owned(),
            Self::Text { .. } => "a text in quotes".to_owned(),
            Self::Seeds => "a whole number, or a list of them such as `[1, 2, 3]` or `1 to 9 by 2`".to_owned(),
            Self::Size => "a width and a height in pixels such as `512x512`".to_owned(),
            Self::Word(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                match words.as_slice() {
                    [only] => format!("the word {only}"),
                    words => format!("one of the words {}", words.join(", ")),
                }
            }
            Self::Count(range) => format!("a whole number from {} to {}", range.start(), range.end()),
            Self::Scale(range) => format!("a number from {} to {}", range.start(), range.end()),
            Self::Share => "a share: a number from 0 to 1 or a percentage".to_owned(),
            Self::StepCount => "a number of steps, or a percentage of all steps".to_owned(),
            Self::StepRange => "a range of steps such as `10..`, `..20`, `10..20` or `20%..80%`".to_owned(),
        }
    }
}

/// A setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its word.
    pub key: &'static str,
    /// Where it stands.
    pub level: Level,
    /// What it takes.
    pub kind: Kind,
    /// Whether a recipe must have it.
    pub required: bool,
    /// What it means, in a sentence or two.
    pub meaning: &'static str,
    /// Its symbol and place in the formulas of arXiv 2301.12247 or of the scheduler.
    pub formula: Option<&'static str>,
    /// What holds where it is not given.
    pub default: &'static str,
    /// Values that work well.
    pub good: Option<&'static str>,
    /// Lines of a recipe that use it.
    pub example: &'static str,
    /// What other programs call it.
    pub aliases: &'static [&'static str],
}

/// Every setting.
pub const FIELDS: &[Field] = &[
    Field {
        key: "sega",
        level: Level::Recipe,
        kind: Kind::Edition,
        required: true,
        meaning: "The edition of the language, and the first line of every recipe. Files never change their meaning.",
        formula: None,
        default: "none: it must be given",
        good: None,
        example: "sega 1",
        aliases: &[],
    },
    Field {
        key: "model",
        level: Level::Recipe,
        kind: Kind::Text { empty: false },
        required: true,
        meaning: "The model that paints: `mini`, which is inside the program, or a folder in diffusers layout (a relative one starts from the recipe's folder).",
        formula: None,
        default: "none: it must be given",
        good: None,
        example: "model \"mini\"",
        aliases: &["checkpoint", "ckpt", "sd_model", "model_id"],
    },
    Field {
        key: "prompt",
        level: Level::Recipe,
        kind: Kind::Text { empty: true },
        required: true,
        meaning: "What to paint.",
        formula: Some("e_p, the noise estimate for the prompt"),
        default: "none: it must be given",
        good: None,
        example: "prompt \"a portrait of a woman\"",
        aliases: &["positive", "positive_prompt", "text"],
    },
    Field {
        key: "negative",
        level: Level::Recipe,
        kind: Kind::Text { empty: true },
        required: false,
        meaning: "What to stay away from: its noise estimate takes the place of the unconditional one, for the prompt and for every concept.",
        formula: Some("e_u, the unconditional noise estimate"),
        default: "\"\": no negative prompt",
        good: Some("a few words such as \"blurry, low quality\"; to take one thing away, `minus` is more exact"),
        example: "negative \"blurry\"",
        aliases: &["negative_prompt", "neg", "uncond"],
    },
    Field {
        key: "seed",
        level: Level::Recipe,
        kind: Kind::Seeds,
        required: false,
        meaning: "The number that the noise is made from, as a PyTorch CPU generator makes it; only its low 32 bits count. Several seeds paint several pictures.",
        formula: Some("z_T, the initial latents, and the noise of ancestral steps"),
        default: "drawn by chance, printed, and written into the picture",
        good: Some("try a few with `seed 1 to 8`, then keep the best"),
        example: "seed [1, 2, 3]",
        aliases: &["seeds", "noise_seed", "manual_seed"],
    },
    Field {
        key: "size",
        level: Level::Recipe,
        kind: Kind::Size,
        required: false,
        meaning: "The picture's width and height in pixels, multiples of 8.",
        formula: None,
        default: "the model's own",
        good: Some(
            "the size that the model was trained on: 512x512 for Stable Diffusion 1.x, 768x768 for 2.x, 128x128 for mini",
        ),
        example: "size 128x192",
        aliases: &["width", "height", "resolution", "dimensions"],
    },
    Field {
        key: "scheduler",
        level: Level::Recipe,
        kind: Kind::Word(SchedulerKind::WORDS),
        required: false,
        meaning: "The solver that turns noise estimates into less noisy latents.",
        formula: None,
        default: "the model's own",
        good: Some("ddim or pndm at 30 to 50 steps, dpmpp-2m or unipc at 15 to 25"),
        example: "scheduler ddim",
        aliases: &["sampler", "sampler_name", "solver"],
    },
    Field {
        key: "eta",
        level: Level::Recipe,
        kind: Kind::Share,
        required: false,
        meaning: "How much fresh noise each step of ddim adds: 0 none, 1 as much as ddpm.",
        formula: Some("eta of arXiv 2010.02502, eq. 16"),
        default: "0",
        good: Some("0, so that an edit is compared with the same picture"),
        example: "scheduler ddim\neta 0.5",
        aliases: &["ddim_eta"],
    },
    Field {
        key: "sigmas",
        level: Level::Recipe,
        kind: Kind::Word(Sigmas::WORDS),
        required: false,
        meaning: "How the noise levels are spread: as in training, or by the schedule of Karras et al.",
        formula: Some("arXiv 2206.00364, eq. 5 with rho = 7"),
        default: "the model's own",
        good: Some("karras with dpmpp-2m at few steps"),
        example: "scheduler dpmpp-2m\nsigmas karras",
        aliases: &["noise_schedule", "schedule_type", "karras", "use_karras_sigmas"],
    },
    Field {
        key: "spacing",
        level: Level::Recipe,
        kind: Kind::Word(Spacing::WORDS),
        required: false,
        meaning: "How the sampled timesteps are spread over the training timesteps.",
        formula: Some("arXiv 2305.08891, table 2"),
        default: "the model's own",
        good: Some("trailing at few steps"),
        example: "spacing trailing",
        aliases: &["timestep_spacing", "timesteps"],
    },
    Field {
        key: "steps",
        level: Level::Recipe,
        kind: Kind::Count(Steps::RANGE),
        required: false,
        meaning: "The number of scheduler steps. More steps take longer and follow the noise estimates more closely.",
        formula: Some("N; step i = 0..N-1 is counted from the noisy end"),
        default: "30",
        good: Some("30 to 50; 15 to 25 with dpmpp-2m or unipc"),
        example: "steps 30",
        aliases: &["num_inference_steps", "num_steps", "sampling_steps"],
    },
    Field {
        key: "guidance",
        level: Level::Recipe,
        kind: Kind::Scale(GuidanceScale::RANGE),
        required: false,
        meaning: "How strongly the picture follows the prompt (classifier-free guidance). 1 means not at all beyond the prompt's own estimate; concepts need more than 1.",
        formula: Some("s_g in e = e_u + s_g (e_p - e_u) + edits"),
        default: "7.5",
        good: Some("5 to 9; 5 for mini"),
        example: "guidance 7.5",
        aliases: &["guidance_scale", "cfg", "cfg_scale", "scale"],
    },
    Field {
        key: "momentum",
        level: Level::Recipe,
        kind: Kind::Share,
        required: false,
        meaning: "The momentum scale of all concepts that do not give their own.",
        formula: Some("s_m in gamma = mu psi + s_m nu"),
        default: "0.1",
        good: Some("0.3 to 0.5 with beta 0.6"),
        example: "momentum 0.3",
        aliases: &["edit_momentum_scale", "momentum_scale"],
    },
    Field {
        key: "beta",
        level: Level::Recipe,
        kind: Kind::Share,
        required: false,
        meaning: "The decay of the momentum of all concepts that do not give their own: the greater, the longer it remembers.",
        formula: Some("beta_m in nu <- beta_m nu + (1 - beta_m) gamma"),
        default: "0.4",
        good: Some("0.6"),
        example: "beta 0.6",
        aliases: &["edit_mom_beta", "mom_beta", "momentum_beta", "decay"],
    },
    Field {
        key: "compat",
        level: Level::Recipe,
        kind: Kind::Word(&["diffusers"]),
        required: false,
        meaning: "Follows the rule of the reference implementation in the Python package diffusers to the letter, quirks included, for exact comparison.",
        formula: None,
        default: "the rule of edition 1",
        good: Some("leave it out, except to reproduce a picture made there"),
        example: "compat diffusers",
        aliases: &["compatibility"],
    },
    Field {
        key: "overwrite",
        level: Level::Recipe,
        kind: Kind::Word(&["yes", "no"]),
        required: false,
        meaning: "Whether `sega run` may replace the picture of an earlier run, as its flag `--force` allows it once.",
        formula: None,
        default: "no",
        good: Some("yes while you are trying things out"),
        example: "overwrite yes",
        aliases: &["force", "replace"],
    },
    Field {
        key: "strength",
        level: Level::Concept,
        kind: Kind::Scale(Strength::RANGE),
        required: false,
        meaning: "How far the picture moves towards the concept (`plus`) or away from it (`minus`).",
        formula: Some("s_e: mu = s_e where |psi| reaches the threshold, else 0; psi = +-(e_c - e_u)"),
        default: "5",
        good: Some("facial detail 3 to 6, objects 6 to 15, 4 to 8 in general"),
        example: "plus hat \"a hat\" { strength 6 }",
        aliases: &["edit_guidance_scale", "guidance", "scale", "amount"],
    },
    Field {
        key: "threshold",
        level: Level::Concept,
        kind: Kind::Share,
        required: false,
        meaning: "The share of each latent channel that is left alone: the elements in which the concept differs least. The greater, the more local the edit.",
        formula: Some("lambda: eta is the lambda-quantile of |psi| over a channel's elements"),
        default: "90%",
        good: Some("facial detail 95% to 99%, objects 90% to 95%, styles 50% to 92%"),
        example: "plus hat \"a hat\" { threshold 95% }",
        aliases: &["edit_threshold", "lambda", "quantile"],
    },
    Field {
        key: "warmup",
        level: Level::Concept,
        kind: Kind::StepCount,
        required: false,
        meaning: "For so many steps of its range the concept only builds up momentum, so that the composition is settled before it acts.",
        formula: Some("delta: added from step a + delta on, a the start of the range"),
        default: "10",
        good: Some("facial detail and objects 5 to 15; styles 15 to 20, late; of 50 steps"),
        example: "plus hat \"a hat\" { warmup 5 }",
        aliases: &["edit_warmup_steps", "warm-up", "warm_up", "warmup_steps"],
    },
    Field {
        key: "steps",
        level: Level::Concept,
        kind: Kind::StepRange,
        required: false,
        meaning: "The steps in which the concept exists, half open. Outside it costs nothing and changes nothing.",
        formula: Some("a..b: a <= i < b"),
        default: "all steps",
        good: Some("leave it out, or end it at 80% to let the details settle"),
        example: "plus hat \"a hat\" { warmup 0, steps 5..20 }",
        aliases: &["edit_cooldown_steps", "cooldown", "range", "start", "end"],
    },
    Field {
        key: "momentum",
        level: Level::Concept,
        kind: Kind::Share,
        required: false,
        meaning: "The momentum scale of this concept: how much of its earlier edits is added again.",
        formula: Some("s_m in gamma = mu psi + s_m nu"),
        default: "the recipe's `momentum`, else 0.1",
        good: Some("0.3 to 0.5 with beta 0.6"),
        example: "plus hat \"a hat\" { momentum 0.3 }",
        aliases: &["edit_momentum_scale", "momentum_scale"],
    },
    Field {
        key: "beta",
        level: Level::Concept,
        kind: Kind::Share,
        required: false,
        meaning: "The decay of this concept's momentum: the greater, the longer it remembers.",
        formula: Some("beta_m in nu <- beta_m nu + (1 - beta_m) gamma"),
        default: "the recipe's `beta`, else 0.4",
        good: Some("0.6"),
        example: "plus hat \"a hat\" { beta 0.6 }",
        aliases: &["edit_mom_beta", "mom_beta", "momentum_beta", "decay"],
    },
    Field {
        key: "weight",
        level: Level::Concept,
        kind: Kind::Scale(Weight::RANGE),
        required: false,
        meaning: "The concept's weight in the sum of all edits, its momentum included.",
        formula: Some("g in e = ... + sum of g gamma"),
        default: "1",
        good: Some("1; change `strength` first"),
        example: "plus hat \"a hat\" { weight 0.5 }",
        aliases: &["edit_weights", "edit_weight"],
    },
];

/// The setting of this word at this level.
pub fn field(level: Level, key: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.level == level && field.key == key)
}

/// The words of all settings at this level.
pub fn keys(level: Level) -> impl Iterator<Item = &'static str> {
    FIELDS.iter().filter(move |field| field.level == level).map(|field| field.key)
}
