//! The codes of all diagnostics, and what `sega explain` says of them.

use std::fmt;

use super::Severity;

macro_rules! codes {
    ($(#[doc = $title:literal] $variant:ident = $code:literal $severity:ident
        $explanation:literal wrong $wrong:literal right $right:literal)+) => {
        /// What kind of mistake it is. Codes are stable: a code never changes its meaning.
        ///
        /// `E01xx` the text cannot be read, `E02xx` settings and blocks, `E03xx` values, `E04xx` settings that
        /// contradict each other, `W05xx` warnings.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $title] $variant),+ }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as it is written, such as `E0203`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The code that a text names, in either case.
            pub fn from_name(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(text))
            }

            /// How grave a mistake of this kind is.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),+ }
            }

            /// The mistake in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title.trim().trim_end_matches('.')),+ }
            }

            /// What the code means and why it matters: one paragraph.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $explanation),+ }
            }

            /// An example that has the mistake. Where it does not start with `sega`, the lines that every recipe needs
            /// (`sega 1`, `model`, `prompt`) are left out.
            pub fn wrong(self) -> &'static str {
                match self { $(Self::$variant => $wrong),+ }
            }

            /// The same example, repaired.
            pub fn right(self) -> &'static str {
                match self { $(Self::$variant => $right),+ }
            }
        }
    };
}

codes! {
    /// Text that is neither a setting nor a block.
    Unreadable = "E0101" Error
    "A recipe has two kinds of lines: settings, which are a word and a value, and blocks, which start with `plus` or \
     `minus`. This text is neither. Comments start with `#`."
    wrong "= 7.5" right "guidance 7.5"

    /// A text without its closing quotes.
    UnclosedText = "E0102" Error
    "A text starts and ends with a double quote. A text of several lines starts and ends with three of them."
    wrong "negative \"blurry" right "negative \"blurry\""

    /// A list without its closing bracket.
    UnclosedList = "E0103" Error
    "A list starts with `[` and ends with `]`."
    wrong "seed [1, 2, 3" right "seed [1, 2, 3]"

    /// A block without its closing brace.
    UnclosedBlock = "E0104" Error
    "The settings of a concept stand between `{` and `}`."
    wrong "plus smile \"smile\" {\n  strength 4" right "plus smile \"smile\" {\n  strength 4\n}"

    /// An escape in a text that means nothing.
    BadEscape = "E0105" Error
    "In a text the backslash starts an escape: `\\\"` a quote, `\\\\` a backslash, `\\n` a line break, `\\t` a tab, \
     `\\u{e9}` the character of that number. For a backslash itself, write two."
    wrong "negative \"photo\\painting\"" right "negative \"photo\\\\painting\""

    /// The edition is not named first.
    MissingEdition = "E0201" Error
    "A recipe begins with the edition of the language that it is written in: `sega 1`. Thanks to it a recipe means the \
     same, to the pixel, in every later version of the program."
    wrong "model \"mini\"\nsega 1\nprompt \"a cat\"" right "sega 1\nmodel \"mini\"\nprompt \"a cat\""

    /// An edition that this program does not know.
    UnknownEdition = "E0202" Error
    "This program reads edition 1 of the language. A recipe of a later edition may use words that mean something else \
     here, so nothing more of it is checked."
    wrong "sega 2\nmodel \"mini\"\nprompt \"a cat\"" right "sega 1\nmodel \"mini\"\nprompt \"a cat\""

    /// A setting that does not exist.
    UnknownSetting = "E0203" Error
    "There is no setting of this name. A misspelt setting is an error, because otherwise the picture would quietly come \
     out without it."
    wrong "guidence 7.5" right "guidance 7.5"

    /// A setting that belongs into a concept stands outside, or the other way round.
    WrongLevel = "E0204" Error
    "Some settings belong to the whole picture and stand by themselves (`prompt`, `guidance`), others belong to one \
     concept and stand between its braces (`strength`, `threshold`). `momentum` and `beta` may stand in both places: \
     outside they are the default of all concepts."
    wrong "strength 4\nplus smile \"smile\"" right "plus smile \"smile\" { strength 4 }"

    /// A setting that is already there.
    RepeatedSetting = "E0205" Error
    "A setting may stand once in a recipe, and once in each concept. Which of two values is meant cannot be guessed."
    wrong "guidance 7\nguidance 9" right "guidance 9"

    /// A setting that every recipe must have.
    MissingSetting = "E0206" Error
    "Every recipe names its `model` and its `prompt`. All other settings have defaults."
    wrong "sega 1\nmodel \"mini\"" right "sega 1\nmodel \"mini\"\nprompt \"a cat\""

    /// A block that is neither `plus`, `minus` nor `lora`.
    UnknownBlock = "E0207" Error
    "A concept is added with `plus` or taken away with `minus`, and `lora` adapts the model's weights; there are no other \
     blocks."
    wrong "add smile \"smile\" { strength 4 }" right "plus smile \"smile\" { strength 4 }"

    /// A block within a block.
    NestedBlock = "E0208" Error
    "Concepts stand side by side. They cannot contain each other: each has its own text, and they are summed."
    wrong "plus smile \"smile\" {\n  minus teeth \"teeth\" { }\n}" right "plus smile \"smile\"\nminus teeth \"teeth\""

    /// A concept without a name.
    MissingName = "E0209" Error
    "Every concept has a name between `plus` or `minus` and its text. Messages, tables and command lines speak of the \
     concept by it (`smile.strength`). A name never changes the picture."
    wrong "plus \"smiling, smile\"" right "plus smile \"smiling, smile\""

    /// A name that is not a word.
    BadName = "E0210" Error
    "A name is one word: it starts with a letter and goes on with letters, digits, `_` and `-`."
    wrong "plus 3d \"3d render\"" right "plus render3d \"3d render\""

    /// A name that another concept already has.
    RepeatedName = "E0211" Error
    "Two concepts cannot have the same name, or nobody could say which of them is meant."
    wrong "plus smile \"smile\"\nplus smile \"laugh\"" right "plus smile \"smile\"\nplus laugh \"laugh\""

    /// A concept without a text.
    MissingText = "E0212" Error
    "The text of a concept is what the model is asked about, so a concept cannot be without it. It stands after the \
     name, in quotes. Several phrasings of the same thing, separated by commas, often work better than one."
    wrong "plus glasses { strength 5 }" right "plus glasses \"glasses, wearing glasses\" { strength 5 }"

    /// More between a block's kind and its brace than a name and a text.
    ExtraInHead = "E0213" Error
    "A concept is `plus` or `minus`, one name, one text, and then its settings between braces."
    wrong "plus red hat \"red hat\"" right "plus red-hat \"red hat\""

    /// A setting without a value.
    MissingValue = "E0301" Error
    "A setting is a word and a value on the same line. To leave a setting at its default, leave the whole line out."
    wrong "guidance" right "guidance 7.5"

    /// A setting with several values.
    SeveralValues = "E0302" Error
    "A setting has one value, and each setting has its own line. A text of several words needs quotes around it."
    wrong "guidance 7 8" right "guidance 7"

    /// A value of another kind than the setting has.
    WrongKind = "E0303" Error
    "Texts stand in quotes, numbers and words do not, shares are numbers from 0 to 1 or percentages, ranges have two \
     dots. This setting takes another kind of value than the one given."
    wrong "guidance \"high\"" right "guidance 9"

    /// A word that the setting does not know.
    UnknownWord = "E0304" Error
    "This setting takes one of a few words, and this is none of them."
    wrong "scheduler dimm" right "scheduler ddim"

    /// A number that the setting does not allow.
    OutOfRange = "E0305" Error
    "The number lies outside the values that make sense for this setting. `sega explain` and the name of the setting \
     tell which those are, and which are known to work well."
    wrong "steps 0" right "steps 30"

    /// A share above 1 without a percent sign.
    BareShare = "E0306" Error
    "A share is written as a number from 0 to 1 or as a percentage. A bare number above 1 could be either a slip or a \
     percentage without its sign, so it is refused."
    wrong "plus smile \"smile\" { threshold 95 }" right "plus smile \"smile\" { threshold 95% }"

    /// A negative number where the direction is a word.
    Negative = "E0307" Error
    "Strength says how far, `plus` and `minus` say where to. To turn a concept round, use the other word instead of a \
     negative strength."
    wrong "plus smile \"smile\" { strength -4 }" right "minus smile \"smile\" { strength 4 }"

    /// A number with a fraction where only whole ones make sense.
    NotWhole = "E0308" Error
    "Steps and seeds are counted, so they are whole numbers."
    wrong "steps 7.5" right "steps 8"

    /// A size that pictures cannot have.
    BadSize = "E0309" Error
    "A size is width and height in pixels with an `x` between them, both multiples of 8, because the model works on \
     squares of 8 by 8 pixels."
    wrong "size 130x128" right "size 128x128"

    /// A text without a word in it.
    EmptyText = "E0310" Error
    "This text says nothing. A prompt or a concept without words gives the model nothing to go by; a negative prompt \
     without words is the default and needs no line."
    wrong "plus smile \"\"" right "plus smile \"smile\""

    /// A range that holds no step.
    EmptyRange = "E0311" Error
    "A range `a..b` holds the steps from a up to but without b, counted from 0 at the noisy end. Its first number must \
     be the smaller one."
    wrong "plus smile \"smile\" { steps 25..5 }" right "plus smile \"smile\" { steps 5..25 }"

    /// A single number where a range is needed.
    NotARange = "E0312" Error
    "Outside of concepts `steps` is how many steps the render takes. In a concept it is the range of steps in which the \
     concept exists: `10..` from step 10 on, `..20` for the first 20 steps, `20%..80%` the middle of any render."
    wrong "plus smile \"smile\" { steps 10 }" right "plus smile \"smile\" { steps 10.. }"

    /// A list or sweep of seeds that gives none or too many.
    BadSeeds = "E0313" Error
    "A seed is a whole number, a list such as `[1, 2, 3]`, or a sweep such as `1 to 9 by 2`, which is 1, 3, 5, 7, 9. \
     There is one picture for each seed, so there must be at least one, and not more than a computer can paint."
    wrong "seed 9 to 1" right "seed 1 to 9"

    /// Concepts without classifier-free guidance.
    NeedsGuidance = "E0401" Error
    "A concept moves the picture relative to what the model paints without any prompt. With `guidance 1` that \
     reference is not there, and every concept would silently do nothing."
    wrong "guidance 1\nplus smile \"smile\"" right "guidance 7.5\nplus smile \"smile\""

    /// A range that the rule of diffusers does not have.
    CompatRange = "E0402" Error
    "`compat diffusers` follows the reference implementation, in which every concept exists from the first step on. \
     There a range can only say where the concept ends; `warmup` says from when on it acts."
    wrong "compat diffusers\nplus smile \"smile\" { steps 5..20 }"
    right "compat diffusers\nplus smile \"smile\" { steps ..20 }"

    /// Momentum settings that the rule of diffusers does not have.
    CompatMomentum = "E0403" Error
    "`compat diffusers` follows the reference implementation, which keeps one momentum for all concepts together. So \
     `momentum` and `beta` must be the same for all; set them once, outside of the concepts."
    wrong "compat diffusers\nplus smile \"smile\" { momentum 0.3 }\nplus hat \"hat\" { momentum 0.5 }"
    right "compat diffusers\nmomentum 0.3\nplus smile \"smile\"\nplus hat \"hat\""

    /// A setting that the scheduler does not have.
    SchedulerLacks = "E0404" Error
    "`eta` adds noise back and belongs to `ddim` alone. `sigmas karras` is a spread of noise levels for the schedulers \
     that step in them: `euler`, `dpmpp-2m`, `lms`, `heun`, `unipc`. `lcm` has no `spacing`: its timesteps are those \
     that the model was distilled at."
    wrong "scheduler euler\neta 0.5" right "scheduler ddim\neta 0.5"

    /// Something that the model cannot do.
    UnfitForModel = "E0405" Error
    "The recipe is right in itself, but its model does not allow what it asks for: more steps than it was trained on, a \
     size that its autoencoder cannot divide, an option that its own scheduler lacks. `sega plan` finds this out."
    wrong "scheduler ddim\nspacing leading\nsteps 1000" right "scheduler ddim\nspacing leading\nsteps 500"

    /// A concept whose warm-up is not over before the concept ends.
    NeverActs = "W0501" Warning
    "During its warm-up a concept only gathers momentum; nothing of it reaches the picture. If the warm-up is as long as \
     the range of steps in which the concept exists, the concept never acts. Make the warm-up shorter, the range longer, \
     or the render longer."
    wrong "steps 8\nplus smile \"smile\" { warmup 10 }" right "steps 30\nplus smile \"smile\" { warmup 10 }"

    /// A range that reaches beyond the render.
    BeyondSteps = "W0502" Warning
    "The range of steps of this concept names steps that the render does not have. Often the number of steps was lowered \
     and the ranges stayed; a range in percent, such as `20%..80%`, follows by itself."
    wrong "steps 20\nplus smile \"smile\" { steps 0..40 }" right "steps 20\nplus smile \"smile\" { steps 0..20 }"

    /// A setting that takes a concept out of the picture.
    NoEffect = "W0503" Warning
    "A concept of strength 0 or weight 0 changes nothing, and with a threshold of 100% all but a single element of each \
     channel is discarded. The concept can be left out."
    wrong "plus smile \"smile\" { strength 0 }" right "plus smile \"smile\" { strength 4 }"

    /// Two concepts with the same text.
    DuplicateText = "W0504" Warning
    "Two concepts ask the model about the same text. Their effects add up (or, as `plus` and `minus`, work against each \
     other). One concept with another strength does the same."
    wrong "plus smile \"smile\"\nplus grin \"smile\"" right "plus smile \"smile\"\nplus grin \"broad grin\""

    /// A seed that is already in the list.
    RepeatedSeed = "W0505" Warning
    "The same seed gives the same picture, so a seed that stands twice in the list paints the same picture twice."
    wrong "seed [1, 2, 1]" right "seed [1, 2]"

    /// A LoRA in a text, as other tools take it.
    LoraInText = "W0506" Warning
    "Some tools read `<lora:name:0.8>` in a prompt as the LoRA of that name. Here a LoRA has a block of its own, since it \
     changes the model and not the text; in a text the tag would be read as words."
    wrong "prompt \"a cat <lora:detail:0.8>\"" right "lora detail \"detail.safetensors\" { strength 0.8 }"
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
