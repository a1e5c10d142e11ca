//! "Did you mean": the nearest known word, and the words that other tools use for the same thing.

use super::fields::{FIELDS, Field, Kind, Level};

/// Words of other tools for settings. One that stands here twice means another setting on each level.
const SETTINGS: &[(&str, &str)] = &[
    ("cfg", "guidance"),
    ("cfg-scale", "guidance"),
    ("guidance-scale", "guidance"),
    ("guidance-weight", "guidance"),
    ("scale", "guidance"),
    ("scale", "strength"),
    ("sampler", "scheduler"),
    ("sampler-name", "scheduler"),
    ("scheduler-name", "scheduler"),
    ("scheduler-type", "scheduler"),
    ("sampling-method", "scheduler"),
    ("solver", "scheduler"),
    ("negative-prompt", "negative"),
    ("uncond", "negative"),
    ("width", "size"),
    ("height", "size"),
    ("resolution", "size"),
    ("dimensions", "size"),
    ("num-inference-steps", "steps"),
    ("sampling-steps", "steps"),
    ("iterations", "steps"),
    ("inference-steps", "steps"),
    ("number-of-steps", "steps"),
    ("checkpoint", "model"),
    ("ckpt", "model"),
    ("model-id", "model"),
    ("text", "prompt"),
    ("generator", "seed"),
    ("seeds", "seed"),
    ("noise", "seed"),
    ("timestep-spacing", "spacing"),
    ("prediction-type", "prediction"),
    ("parameterization", "prediction"),
    ("autoencoder", "vae"),
    ("karras", "sigmas"),
    ("use-karras", "sigmas"),
    ("use-karras-sigmas", "sigmas"),
    ("karras-sigmas", "sigmas"),
    ("edition", "sega"),
    ("version", "sega"),
    ("force", "overwrite"),
    ("edit-guidance-scale", "strength"),
    ("edit-scale", "strength"),
    ("amount", "strength"),
    ("s-e", "strength"),
    ("s-g", "guidance"),
    ("s-m", "momentum"),
    ("lambda", "threshold"),
    ("edit-threshold", "threshold"),
    ("quantile", "threshold"),
    ("percentile", "threshold"),
    ("delta", "warmup"),
    ("warm-up", "warmup"),
    ("warm-up-steps", "warmup"),
    ("warmup-steps", "warmup"),
    ("edit-warmup-steps", "warmup"),
    ("cooldown", "steps"),
    ("edit-cooldown-steps", "steps"),
    ("range", "steps"),
    ("edit-weights", "weight"),
    ("edit-weight", "weight"),
    ("momentum-scale", "momentum"),
    ("edit-momentum-scale", "momentum"),
    ("mom-beta", "beta"),
    ("edit-mom-beta", "beta"),
    ("beta-m", "beta"),
    ("decay", "beta"),
    ("editing-prompt", "plus"),
    ("reverse-editing-direction", "minus"),
];

/// Words of other tools for blocks.
const BLOCKS: &[(&str, &str)] = &[
    ("add", "plus"),
    ("with", "plus"),
    ("more", "plus"),
    ("edit", "plus"),
    ("concept", "plus"),
    ("positive", "plus"),
    ("remove", "minus"),
    ("without", "minus"),
    ("less", "minus"),
    ("subtract", "minus"),
    ("delete", "minus"),
    ("no", "minus"),
];

/// Other ways to write the words that settings take: other tools' names, and for schedulers diffusers' classes without
/// their last word.
const WORDS: &[(&str, &str)] = &[
    ("euler-a", "euler-ancestral"),
    ("euler-ancestral-discrete", "euler-ancestral"),
    ("k-euler-a", "euler-ancestral"),
    ("k-euler-ancestral", "euler-ancestral"),
    ("euler-discrete", "euler"),
    ("k-euler", "euler"),
    ("dpm++-2m", "dpmpp-2m"),
    ("dpm++", "dpmpp-2m"),
    ("dpmpp", "dpmpp-2m"),
    ("dpm-2m", "dpmpp-2m"),
    ("k-dpmpp-2m", "dpmpp-2m"),
    ("k-dpm++-2m", "dpmpp-2m"),
    ("dpm-solver++", "dpmpp-2m"),
    ("dpm-solver-multistep", "dpmpp-2m"),
    ("plms", "pndm"),
    ("k-lms", "lms"),
    ("lms-discrete", "lms"),
    ("k-heun", "heun"),
    ("heun-discrete", "heun"),
    ("uni-pc-multistep", "unipc"),
    ("latent-consistency", "lcm"),
    ("true", "yes"),
    ("on", "yes"),
    ("1", "yes"),
    ("always", "yes"),
    ("false", "no"),
    ("off", "no"),
    ("0", "no"),
    ("never", "no"),
    ("default", "plain"),
    ("normal", "plain"),
    ("linear", "linspace"),
    ("reference", "diffusers"),
    ("huggingface", "diffusers"),
];

/// Schedulers of other tools that are none of ours, however much their names look like it.
const STRANGERS: &[&str] = &["tcd", "deis", "ipndm", "dpm-2", "dpm2", "k-dpm-2-discrete", "edm-euler", "dpmpp-3m"];

/// Longer words than this resemble nothing.
const LONGEST: usize = 40;

/// The setting (or block) that a word of another tool stands for.
pub fn setting_synonym(word: &str) -> Option<&'static str> {
    synonyms(word, SETTINGS).next()
}

/// The setting of a level that a word stands for, as it is or as a word of another tool; of the other level where this
/// one has none.
pub fn setting(word: &str, level: Level) -> Option<&'static str> {
    let here = |key: &&str| Field::find(key, level).is_some();
    let own = || FIELDS.iter().map(|field| field.key).filter(|key| same(word, key));
    own().find(here).or_else(|| synonyms(word, SETTINGS).find(here)).or_else(|| own().next()).or(setting_synonym(word))
}

/// Whether a word of another tool may stand for a field that has its key. What ends or bounds a concept is never the
/// number of steps of the render.
pub(super) fn may_mean(word: &str, field: &Field) -> bool {
    let of_ranges = || ["range", "cooldown", "edit-cooldown-steps"].iter().any(|range| same(word, range));
    !matches!(field.kind, Kind::Count(..)) || !of_ranges()
}

/// The kind of block that a word stands for.
pub fn block_synonym(word: &str) -> Option<&'static str> {
    synonyms(word, BLOCKS).next()
}

/// The word among `words` that another way of writing it, or a slip, stands for.
pub fn word(written: &str, words: &[&'static str]) -> Option<&'static str> {
    let written = written.trim();
    let class = written.len().checked_sub("scheduler".len()).and_then(|at| written.split_at_checked(at));
    if let Some((class, suffix)) = class
        && suffix.eq_ignore_ascii_case("scheduler")
        && !class.is_empty()
    {
        return exact(class, words);
    }
    let stranger = STRANGERS.iter().any(|stranger| same(written, stranger));
    exact(written, words).or_else(|| nearest(written, words.iter().copied()).filter(|_| !stranger))
}

/// The word among `words` that is written in another way.
fn exact(written: &str, words: &[&'static str]) -> Option<&'static str> {
    let synonym = || synonyms(written, WORDS).find(|word| words.contains(word));
    words.iter().copied().find(|word| same(written, word)).or_else(synonym)
}

/// The candidate that a slip of the pen would turn into `word`; `None` where none is near enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = normal(word)?;
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
    // One slip in a short word, two in a longer one, three in a long one.
    let allowed = match word.chars().count() {
        0..=1 => 0,
        2..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    let (distance, best) = candidates
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .min_by_key(|(distance, _)| *distance)?;
    let prefix = word.chars().count() >= 4 && best.to_lowercase().starts_with(&word);
    (distance <= allowed || prefix).then_some(best)
}

/// What a table says of a word, however its parts are separated.
fn synonyms<'a>(word: &'a str, table: &'static [(&str, &str)]) -> impl Iterator<Item = &'static str> + 'a {
    table.iter().filter(move |(other, _)| same(word, other)).map(|(_, ours)| *ours)
}

/// Whether a word is `known`, which is in lower case, apart from case and separators.
pub(super) fn same(word: &str, known: &str) -> bool {
    let separates = |char: &char| matches!(char, '-' | '_' | ' ');
    let letters = word.trim().chars().filter(|char| !separates(char)).flat_map(char::to_lowercase);
    letters.eq(known.chars().filter(|char| !separates(char)))
}

/// Lower case, with one kind of separator; `None` for what is too long to resemble anything.
fn normal(word: &str) -> Option<String> {
    (word.len() <= LONGEST).then(|| word.trim().to_lowercase().replace(['_', ' '], "-"))
}
