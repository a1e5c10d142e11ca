//! "Did you mean": the nearest known word, and the words that other tools use for the same thing.

/// Words of other tools for settings.
const SETTINGS: &[(&str, &str)] = &[
    ("cfg", "guidance"),
    ("cfg-scale", "guidance"),
    ("guidance-scale", "guidance"),
    ("guidance-weight", "guidance"),
    ("scale", "guidance"),
    ("sampler", "scheduler"),
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
    ("checkpoint", "model"),
    ("ckpt", "model"),
    ("model-id", "model"),
    ("text", "prompt"),
    ("generator", "seed"),
    ("seeds", "seed"),
    ("noise", "seed"),
    ("timestep-spacing", "spacing"),
    ("karras", "sigmas"),
    ("use-karras-sigmas", "sigmas"),
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

/// Other ways to write the words that settings take.
const WORDS: &[(&str, &str)] = &[
    ("euler-a", "euler-ancestral"),
    ("k-euler", "euler"),
    ("k-euler-a", "euler-ancestral"),
    ("k-euler-ancestral", "euler-ancestral"),
    ("dpm++-2m", "dpmpp-2m"),
    ("dpm++2m", "dpmpp-2m"),
    ("dpm++", "dpmpp-2m"),
    ("dpmpp", "dpmpp-2m"),
    ("dpm-2m", "dpmpp-2m"),
    ("dpmpp2m", "dpmpp-2m"),
    ("k-dpmpp-2m", "dpmpp-2m"),
    ("dpm-solver++", "dpmpp-2m"),
    ("dpmsolver++", "dpmpp-2m"),
    ("dpm-solver-multistep", "dpmpp-2m"),
    ("plms", "pndm"),
    ("k-lms", "lms"),
    ("k-heun", "heun"),
    ("uni-pc", "unipc"),
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

/// Longer words than this resemble nothing.
const LONGEST: usize = 40;

/// The setting (or block) that a word of another tool stands for.
pub fn setting_synonym(word: &str) -> Option<&'static str> {
    synonym(word, SETTINGS)
}

/// The kind of block that a word stands for.
pub fn block_synonym(word: &str) -> Option<&'static str> {
    synonym(word, BLOCKS)
}

/// The word among `words` that another way of writing it, or a slip, stands for.
pub fn word(written: &str, words: &[&'static str]) -> Option<&'static str> {
    synonym(written, WORDS).filter(|word| words.contains(word)).or_else(|| nearest(written, words.iter().copied()))
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

fn synonym(word: &str, table: &[(&str, &'static str)]) -> Option<&'static str> {
    let word = normal(word)?;
    table.iter().find(|(other, _)| *other == word).map(|(_, ours)| *ours)
}

/// Lower case, with one kind of separator; `None` for what is too long to resemble anything.
fn normal(word: &str) -> Option<String> {
    (word.len() <= LONGEST).then(|| word.trim().to_lowercase().replace(['_', ' '], "-"))
}
