//! The stable codes of all mistakes, each with an explanation and examples.

use std::fmt;

/// How grave a mistake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The recipe cannot be run.
    Error,
    /// The recipe can be run; it probably does not mean what its author thinks.
    Warning,
}

impl Severity {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! codes {
    ($($variant:ident = $code:literal, $title:literal, $explanation:literal, $wrong:literal, $right:literal;)+) => {
        /// A kind of mistake. Codes beginning with `E` are errors, with `W` warnings; they never change their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $title] $variant),+ }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as users see it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The mistake in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            /// What it means and why it is a mistake.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $explanation),+ }
            }

            /// An example with the mistake, and the same repaired: lines of a recipe, or a whole one if it begins with `sega`.
            pub fn examples(self) -> (&'static str, &'static str) {
                match self { $(Self::$variant => ($wrong, $right)),+ }
            }
        }
    };
}

codes! {
    Unreadable = "E0101", "text that is neither a setting nor a concept",
        "A recipe holds settings, `key value`, and concepts, `plus name \"text\" { settings }`. This text has neither shape.",
        "= 20", "steps 20";
    Unclosed = "E0102", "something is opened and never closed",
        "A text ends with the quotes that it began with, a list with `]`, a concept with `}`. A text in simple quotes ends on its own line; three quotes may span lines.",
        "negative \"blurry", "negative \"blurry\"";
    BadEscape = "E0103", "an unknown escape in a text",
        "In a text, a backslash begins one of \\\" \\\\ \\n \\t \\r \\u{1F600}. A backslash of its own is written twice.",
        "negative \"a\\b\"", "negative \"a\\\\b\"";
    UnknownSetting = "E0201", "an unknown setting",
        "There is no setting of this name. `sega explain` lists all of them.",
        "stepz 20", "steps 20";
    WrongLevel = "E0202", "a setting in the wrong place",
        "Some settings belong to the whole recipe, others to one concept. `strength`, `threshold`, `warmup` and `weight` stand in the braces of a `plus` or `minus`.",
        "strength 5", "plus hat \"a hat\" { strength 5 }";
    RepeatedSetting = "E0203", "a setting that is given twice",
        "Each setting may be given once in a recipe and once in each concept, so that it is never in doubt which counts.",
        "steps 20\nsteps 30", "steps 20";
    MissingValue = "E0204", "a setting without a value",
        "A setting is a word and its value on the same line.",
        "steps", "steps 20";
    SeveralValues = "E0205", "a setting with several values",
        "A setting has one value. Several seeds are a list, `[1, 2]`; a text of several words stands in quotes.",
        "steps 20 30", "steps 20";
    WrongKind = "E0206", "a value of the wrong kind",
        "Each setting takes values of one kind: a text in quotes, a number, a share such as `90%`, a range of steps such as `5..20`, a size such as `512x512`, or one of several words.",
        "steps \"20\"", "steps 20";
    OutOfRange = "E0207", "a number that is too small or too large",
        "The number lies outside what the setting allows. `sega explain SETTING` says what that is, and which values work well.",
        "guidance 1000", "guidance 7.5";
    UnknownWord = "E0208", "a word that the setting does not know",
        "The setting takes one of several words. `sega explain SETTING` lists them.",
        "scheduler dimm", "scheduler ddim";
    BareShare = "E0209", "a share above 1 that is not a percentage",
        "A share is a number from 0 to 1 or a percentage. `95` alone could mean either 95% or a slip of the decimal point, so it is refused.",
        "plus hat \"a hat\" { threshold 95 }", "plus hat \"a hat\" { threshold 95% }";
    NegativeStrength = "E0210", "a negative strength",
        "The direction of a concept is a word: `plus` adds it, `minus` takes it away. Its strength is not negative.",
        "plus hat \"a hat\" { strength -4 }", "minus hat \"a hat\" { strength 4 }";
    BareStep = "E0211", "one step where a range of steps is meant",
        "In a concept `steps` is the range in which it exists, half open: `10..` from step 10 on, `..20` before step 20, `10..20` both.",
        "plus hat \"a hat\" { warmup 0, steps 10 }", "plus hat \"a hat\" { warmup 0, steps 10.. }";
    EmptyRange = "E0212", "a range that holds no step",
        "A range is half open: its end is the first step that is not in it, and must come after its start.",
        "plus hat \"a hat\" { warmup 0, steps 20..10 }", "plus hat \"a hat\" { warmup 0, steps 10..20 }";
    BadSize = "E0213", "a size that no model paints",
        "A size is WIDTHxHEIGHT in pixels. Models paint in blocks of 8 pixels, so both must be multiples of 8.",
        "size 130x128", "size 128x128";
    UnknownBlock = "E0301", "an unknown kind of concept",
        "A concept is added by `plus` or taken away by `minus`.",
        "add hat \"a hat\" { strength 5 }", "plus hat \"a hat\" { strength 5 }";
    MissingName = "E0302", "a concept without a name",
        "Every concept has a name of its own between its direction and its text. The name is for you and for messages; it never changes a pixel.",
        "plus \"a hat\" { strength 5 }", "plus hat \"a hat\" { strength 5 }";
    BadName = "E0303", "a name that is no word",
        "A name is one word: a letter, then letters, digits, `_` or `-`.",
        "plus 3 \"a hat\" { strength 5 }", "plus hat3 \"a hat\" { strength 5 }";
    RepeatedName = "E0304", "two concepts of the same name",
        "Names are unique, so that messages and addresses such as `hat.strength` are.",
        "plus hat \"a hat\"\nplus hat \"a top hat\"", "plus hat \"a hat\"\nplus top-hat \"a top hat\"";
    MissingText = "E0305", "a concept without a text",
        "The text says what the concept looks like, as in a prompt. It stands in quotes after the name.",
        "plus hat { strength 5 }", "plus hat \"a hat\" { strength 5 }";
    ExtraHead = "E0306", "something between a concept's text and its braces",
        "A concept is `plus name \"text\" { settings }`: its settings stand in the braces.",
        "plus hat \"a hat\" 5 { warmup 3 }", "plus hat \"a hat\" { strength 5, warmup 3 }";
    NestedBlock = "E0307", "a concept within a concept",
        "Concepts stand side by side, not within each other.",
        "plus hat \"a hat\" {\n  plus cap \"a cap\" { strength 5 }\n}", "plus hat \"a hat\"\nplus cap \"a cap\" { strength 5 }";
    MissingSetting = "E0401", "a setting that every recipe needs",
        "A recipe begins with its edition, `sega 1`, and says `model` and `prompt`.",
        "sega 1\nmodel \"mini\"", "sega 1\nmodel \"mini\"\nprompt \"a portrait\"";
    UnknownEdition = "E0402", "an edition that this program does not know",
        "`sega 1` is the first line of a recipe: the edition of the language. Files never change their meaning; a new edition gets a new number and needs a newer program.",
        "sega 2\nmodel \"mini\"\nprompt \"a portrait\"", "sega 1\nmodel \"mini\"\nprompt \"a portrait\"";
    NoGuidance = "E0403", "concepts without guidance",
        "Concepts are steered from the unconditional estimate, which is there only with a guidance scale above 1.",
        "guidance 1\nplus hat \"a hat\"", "guidance 5\nplus hat \"a hat\"";
    CompatRange = "E0404", "a range that the reference's rule cannot start",
        "Under `compat diffusers` every concept begins at step 0, as in the reference implementation. A late start is a longer `warmup` there.",
        "compat diffusers\nplus hat \"a hat\" { warmup 0, steps 5.. }", "compat diffusers\nplus hat \"a hat\" { warmup 5 }";
    CompatMomentum = "E0405", "momentum of a single concept under the reference's rule",
        "Under `compat diffusers` all concepts share one momentum: `momentum` and `beta` stand at the top level.",
        "compat diffusers\nplus hat \"a hat\" { momentum 0.3 }", "compat diffusers\nmomentum 0.3\nplus hat \"a hat\"";
    NotForScheduler = "E0406", "a setting that the scheduler does not have",
        "`eta` is a setting of ddim. `sigmas karras` works with euler, dpmpp-2m, lms, heun and unipc.",
        "scheduler euler\neta 0.5", "scheduler ddim\neta 0.5";
    UnfitForModel = "E0407", "something that the model cannot do",
        "The recipe is right in itself, but its model's own settings do not allow what it asks for: a schedule with more steps than the model was trained on, a size that its autoencoder cannot divide, an option that the model's own scheduler lacks.",
        "steps 1000\nspacing leading\nscheduler ddim", "steps 500\nspacing leading\nscheduler ddim";
    NeverActive = "W0501", "a concept that never comes to act",
        "The warm-up of a concept is counted from the start of its range, and is as long as the range or longer: it ends before the concept adds anything.",
        "steps 20\nplus hat \"a hat\" { warmup 20 }", "steps 20\nplus hat \"a hat\" { warmup 5 }";
    NoEffect = "W0502", "a concept that changes nothing",
        "With a strength or weight of 0 nothing is added. The network is not even asked.",
        "plus hat \"a hat\" { strength 0 }", "plus hat \"a hat\" { strength 5 }";
    BeyondRender = "W0503", "a range that reaches past the last step",
        "The range of a concept is cut at the last step of the render.",
        "steps 20\nplus hat \"a hat\" { warmup 0, steps 5..50 }", "steps 20\nplus hat \"a hat\" { warmup 0, steps 5.. }";
    SameText = "W0504", "two concepts of the same text and direction",
        "Both do the same, which is as one with a greater strength.",
        "plus hat \"a hat\"\nplus cap \"a hat\"", "plus hat \"a hat\" { strength 10 }";
    RepeatedSeed = "W0505", "a seed that occurs twice",
        "A seed always gives the same picture, so it is painted once.",
        "seed [1, 2, 1]", "seed [1, 2]";
}

impl Code {
    /// The code of this name, in upper or lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(name))
    }

    /// How grave it is.
    pub fn severity(self) -> Severity {
        if self.as_str().starts_with('E') { Severity::Error } else { Severity::Warning }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
