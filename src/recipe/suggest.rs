//! What a misspelt or foreign word probably means.

use super::fields::{FIELDS, Level};

/// Words that other programs use for the schedulers, and slips for them.
const SCHEDULER_ALIASES: &[(&str, &str)] = &[
    ("euler_a", "euler-ancestral"),
    ("euler-a", "euler-ancestral"),
    ("k_euler", "euler"),
    ("k_euler_a", "euler-ancestral"),
    ("k_euler_ancestral", "euler-ancestral"),
    ("k_lms", "lms"),
    ("k_heun", "heun"),
    ("plms", "pndm"),
    ("dpm", "dpmpp-2m"),
    ("dpm++", "dpmpp-2m"),
    ("dpmpp", "dpmpp-2m"),
    ("dpmpp_2m", "dpmpp-2m"),
    ("dpm-solver", "dpmpp-2m"),
    ("uni_pc", "unipc"),
    ("true", "yes"),
    ("false", "no"),
    ("on", "yes"),
    ("off", "no"),
    ("normal", "plain"),
];

/// The one of `words` that is meant by `word`, if one is near enough.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer inputs are no misspelling of any word here, and would be slow to compare.
    const LONGEST: usize = 40;
    if word.chars().count() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let nearness = |candidate: &'a str| (candidate, strsim::jaro_winkler(&word, candidate));
    let near_enough = |&(candidate, nearness): &(&str, f64)| {
        nearness > 0.85 || strsim::damerau_levenshtein(&word, candidate) <= 1 + candidate.len() / 6
    };
    words
        .into_iter()
        .map(nearness)
        .filter(near_enough)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(candidate, _)| candidate)
}

/// The setting that is meant by a word at a level: by another program's name for it, or by a slip.
pub fn setting(level: Level, word: &str) -> Option<&'static str> {
    let lower = word.to_lowercase();
    let here = || FIELDS.iter().filter(|field| field.level == level);
    here()
        .find(|field| field.aliases.contains(&lower.as_str()))
        .map(|field| field.key)
        .or_else(|| nearest(&lower, here().map(|field| field.key)))
}

/// Which of a setting's words is meant.
pub fn word(word: &str, words: &'static [&'static str]) -> Option<&'static str> {
    let lower = word.to_lowercase();
    let alias = SCHEDULER_ALIASES.iter().find(|(alias, meant)| *alias == lower && words.contains(meant));
    alias.map(|(_, meant)| *meant).or_else(|| nearest(&lower, words.iter().copied()))
}

/// The direction that is meant by another word.
pub fn direction(word: &str) -> Option<&'static str> {
    const PLUS: &[&str] = &["add", "with", "more", "concept", "edit", "include", "positive", "increase", "and", "to"];
    const MINUS: &[&str] =
        &["remove", "without", "less", "no", "not", "subtract", "reverse", "negate", "exclude", "drop"];
    let lower = word.to_lowercase();
    if PLUS.contains(&lower.as_str()) {
        Some("plus")
    } else if MINUS.contains(&lower.as_str()) {
        Some("minus")
    } else {
        nearest(&lower, ["plus", "minus"])
    }
}
