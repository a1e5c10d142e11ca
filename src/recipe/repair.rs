//! Repairs: what a value or a line that is not understood probably means, in the words of the language. No repair is
//! offered that the checker would refuse in its turn.

use std::collections::HashSet;

use super::fields::{Field, Kind, Level, SWITCH, percent};
use super::heads::{is_sound, level_of};
use super::pairs::Pair;
use super::suggest;
use super::values::Reader;
use crate::model::training::{SchedulerKind, Sigmas};
use crate::quantity::Size;
use crate::source::Source;
use crate::syntax::{self, Entry};

/// Longer values are not read for what they may mean.
const LONGEST: usize = 4000;

/// Opening and closing quotes, the language's own first.
const QUOTES: &[(char, char)] = &[
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('\u{201c}', '\u{201d}'),
    ('\u{201d}', '\u{201d}'),
    ('\u{201e}', '\u{201c}'),
    ('\u{201e}', '\u{201d}'),
    ('\u{2018}', '\u{2019}'),
    ('\u{2019}', '\u{2019}'),
    ('\u{ab}', '\u{bb}'),
    ('\u{bb}', '\u{ab}'),
    ('\u{2039}', '\u{203a}'),
];

/// A setting as it is to be written, from its key and value as they were written; with commas where it takes several.
pub(super) fn setting(field: &'static Field, key: &str, value: &str) -> Option<String> {
    if value.len() > LONGEST {
        return None;
    }
    let value = value.trim().trim_end_matches([';', ',']).trim_end();
    candidates(field, key, value).into_iter().find(|line| passes(line, field.level()))
}

/// The settings of a level that a line means; `None` if there is one that cannot be guessed.
pub(super) fn line(pairs: &[Pair<'_>], level: Level) -> Option<String> {
    let settings = pairs.iter().map(|pair| setting(Field::find(pair.means(level)?, level)?, pair.key, pair.value));
    let line = settings.collect::<Option<Vec<_>>>()?.join(", ");
    passes(&line, level).then_some(line)
}

/// Whether settings and concepts are right in themselves, as they are written; what would be a comment is none of them.
pub(super) fn passes(line: &str, level: Level) -> bool {
    let source = Source::new("repair", line);
    let file = syntax::parse(&source);
    all_right(&mut Reader::trial(&source), &file.entries, level) && !file.entries.is_empty()
}

fn all_right(reader: &mut Reader<'_>, entries: &[Entry], level: Level) -> bool {
    let mut keys = HashSet::new();
    entries.iter().all(|entry| match entry {
        Entry::Setting(setting) => Field::find(&setting.key.value, level)
            .filter(|field| setting.comment.is_none() && keys.insert(field.key))
            .is_some_and(|field| reader.single(setting, field).is_some_and(|value| reader.accepts(field, value))),
        Entry::Block(block) => {
            let body = block.body.as_deref().unwrap_or_default();
            level == Level::Recipe && is_sound(block) && all_right(reader, body, level_of(block))
        }
        Entry::Junk(_) | Entry::Comment(_) | Entry::Blank => false,
    })
}

/// Lines that a setting may mean, the most probable first; some may be wrong.
fn candidates(field: &Field, key: &str, value: &str) -> Vec<String> {
    let content = unquoted(value).unwrap_or(value).trim();
    let values = match field.kind {
        Kind::Edition => vec!["1".to_owned()],
        Kind::Text => text(value).into_iter().collect(),
        Kind::Word(words) if field.key == "sigmas" && !suggest::same(key, "sigmas") => {
            let on = suggest::word(content, SWITCH).map(|word| word == SWITCH[1]);
            let switched = on.map(|on| if on { Sigmas::Karras } else { Sigmas::Plain }.name());
            suggest::word(content, words).or(switched).map(str::to_owned).into_iter().collect()
        }
        Kind::Word(_) if field.key == "scheduler" => return scheduler(content).into_iter().collect(),
        Kind::Word(words) => suggest::word(content, words).map(str::to_owned).into_iter().collect(),
        Kind::Count(..) => vec![whole(&without_thousands(content))],
        Kind::Real(..) => vec![decimal(content)],
        Kind::Share(..) => shares(&decimal(content)),
        Kind::StepPoint => vec![point(&decimal(content))],
        Kind::StepRange => ranges(key, content),
        Kind::Seeds => seeds(content),
        Kind::Size => sizes(key, content),
    };
    values.into_iter().map(|value| format!("{} {value}", field.key)).collect()
}

/// What stands between quotes of any kind; `None` where there are none.
pub(super) fn unquoted(text: &str) -> Option<&str> {
    let text = text.trim();
    let inner = |(open, close): &(char, char)| text.strip_prefix(*open)?.strip_suffix(*close);
    QUOTES.iter().find_map(inner)
}

/// Whether a text begins with quotes that are not the language's.
pub(super) fn has_foreign_quotes(text: &str) -> bool {
    QUOTES[1..].iter().any(|(open, _)| text.starts_with(*open))
}

/// A text in the language's quotes.
pub(super) fn text(written: &str) -> Option<String> {
    let written = written.trim();
    if written.is_empty() || written.chars().any(char::is_control) || written.contains("\"\"\"") {
        return None;
    }
    let Some(inner) = written.strip_prefix('"') else {
        let content = unquoted(written).unwrap_or(written).trim();
        return Some(format!("\"{}\"", content.replace('\\', "\\\\").replace('"', "\\\"")));
    };
    one_text(written, " ").or_else(|| {
        // Quotes around some of the words are a part of the text.
        let parts: Vec<&str> = cut(inner.strip_suffix('"')?).into_iter().map(|(_, text)| text).collect();
        Some(format!("\"{}\"", parts.join("\\\"")))
    })
}

/// Texts that stand one behind the other as a single one, with commas where they have some and `between` where not.
pub(super) fn one_text(written: &str, between: &str) -> Option<String> {
    let (texts, gaps): (Vec<_>, Vec<_>) = cut(written).into_iter().partition(|(quoted, _)| *quoted);
    let commas = between == ", " || gaps.iter().any(|(_, text)| text.contains(','));
    let joined = gaps.iter().all(|(_, text)| matches!(text.trim(), "" | ","));
    let texts = texts.iter().map(|(_, text)| if commas { text.trim().trim_end_matches(',') } else { text.trim() });
    joined.then(|| format!("\"{}\"", texts.collect::<Vec<_>>().join(if commas { ", " } else { between })))
}

/// What stands before, between and behind double quotes, and whether it stands within a pair of them.
fn cut(text: &str) -> Vec<(bool, &str)> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, char) in text.char_indices() {
        if char == '"' && !escaped {
            parts.push((quoted, &text[start..at]));
            (start, quoted) = (at + 1, !quoted);
        }
        escaped = char == '\\' && !escaped;
    }
    parts.push((quoted, &text[start..]));
    parts
}

/// A scheduler by any of its names, with the spread of sigmas that some of them have in theirs.
fn scheduler(written: &str) -> Option<String> {
    let lower = written.to_lowercase();
    let karras = lower.strip_suffix("karras").map(|name| name.trim_end_matches([' ', '_', '-']));
    let name = karras.unwrap_or(written);
    if name.is_empty() {
        return Some(format!("sigmas {}", Sigmas::Karras));
    }
    if let Some(sigmas) = suggest::word(name, Sigmas::WORDS).filter(|_| karras.is_none()) {
        return Some(format!("sigmas {sigmas}"));
    }
    let kind = SchedulerKind::from_name(suggest::word(name, SchedulerKind::WORDS)?)?;
    let sigmas = if karras.is_some() && kind.has_karras() { ", sigmas karras" } else { "" };
    Some(format!("scheduler {kind}{sigmas}"))
}

/// A number with a point for its comma, and its percent sign next to it.
fn decimal(written: &str) -> String {
    let number = written.replace(',', ".");
    let number = number.trim_end_matches('.');
    number.strip_suffix('%').map_or(number.to_owned(), |number| format!("{}%", number.trim_end()))
}

/// A number without the commas between its thousands.
fn without_thousands(written: &str) -> String {
    let digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let thousands = written.split(',').skip(1).all(|group| group.len() == 3 && digits(group));
    if thousands { written.replace(',', "") } else { written.to_owned() }
}

/// A number without its exponent or fraction of zeros, as far as it is whole.
fn whole(written: &str) -> String {
    match written.parse::<f64>() {
        Ok(value) if value.is_finite() => value.round().to_string(),
        _ => written.to_owned(),
    }
}

/// A share, or a percentage where a number is too large for one.
fn shares(written: &str) -> Vec<String> {
    match written.parse::<f64>() {
        // From 1 to 10 it may be a slip as well.
        Ok(value) if value >= 10.0 => vec![format!("{written}%")],
        _ => vec![written.to_owned()],
    }
}

/// A number of steps; a fraction is a share of them.
pub(super) fn point(written: &str) -> String {
    match written.parse::<f64>() {
        Ok(value) if value > 0.0 && value < 1.0 => percent(value),
        Ok(value) if value.fract() != 0.0 => whole(written),
        _ => written.to_owned(),
    }
}

/// A range of steps, from two points with anything between them, or from the single end of a cool-down.
fn ranges(key: &str, written: &str) -> Vec<String> {
    let joined: String = written.split_whitespace().collect();
    let written = written.split_once(" by ").map_or(written, |(range, _)| range);
    let decimals = if written.contains("..") { written.replace(',', ".") } else { written.to_owned() };
    let points: Vec<String> = decimals
        .replace("...", " ")
        .replace("..", " ")
        .replace("to", " ")
        .split([' ', ',', '-', ':', '\u{2026}', '\u{2013}', '[', ']', '(', ')'])
        .filter(|point| !point.is_empty())
        .map(point)
        .collect();
    match &points[..] {
        [_] if joined.contains("..") => vec![joined],
        [end] if key.to_lowercase().contains("cooldown") => vec![format!("..{end}")],
        [start, end] => vec![joined, format!("{start}..{end}")],
        _ => vec![joined],
    }
}

/// Seeds: a number, a list, or a sweep.
fn seeds(written: &str) -> Vec<String> {
    let inner = written.trim_matches(['[', ']', '(', ')', ' ']);
    let commas: Vec<&str> =
        inner.split([',', ';', '\n', '\r']).map(str::trim).filter(|seed| !seed.is_empty()).collect();
    let items = if commas.len() > 1 || sweep(inner).is_some() { commas } else { inner.split_whitespace().collect() };
    let seed = |seed: &str| {
        let seed = unquoted(seed).unwrap_or(seed);
        sweep(seed).unwrap_or_else(|| if seed.parse::<u64>().is_ok() { seed.to_owned() } else { whole(seed) })
    };
    let seeds: Vec<String> = items.into_iter().map(seed).collect();
    match &seeds[..] {
        [one] if !written.starts_with('[') => vec![one.clone()],
        _ => vec![format!("[{}]", seeds.join(", "))],
    }
}

/// A sweep of seeds, from two numbers with a range's dots or a dash between them.
fn sweep(written: &str) -> Option<String> {
    let (from, to) = ["..", "-", "\u{2013}", "to"].iter().find_map(|between| written.split_once(between))?;
    let (from, to): (u64, u64) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    Some(format!("{from} to {to}"))
}

/// Whether a value of `seed` asks for any seed.
pub(super) fn is_any_seed(written: &str) -> bool {
    let content = unquoted(written).unwrap_or(written);
    content.starts_with('-')
        || ["random", "rand", "any", "auto", "none", "null"].iter().any(|any| suggest::same(content, any))
}

/// Width and height, from two numbers with anything between them, or from the one side that `key` names.
fn sizes(key: &str, written: &str) -> Vec<String> {
    let sides: Vec<f64> = written
        .split(|char: char| !char.is_ascii_digit() && char != '.')
        .filter(|side| !side.is_empty())
        .map_while(|side| side.parse().ok())
        .collect();
    let sides: Option<Vec<u32>> = sides.into_iter().map(nearest_side).collect();
    match sides.as_deref() {
        Some([width, height]) => vec![format!("{width}x{height}")],
        Some([both]) if !key.is_empty() => vec![format!("{both}x{both}")],
        _ => Vec::new(),
    }
}

/// The allowed side of a picture that is nearest to a number.
pub(super) fn nearest_side(side: f64) -> Option<u32> {
    let (low, high) = (f64::from(*Size::RANGE.start()), f64::from(*Size::RANGE.end()));
    let multiple = f64::from(Size::MULTIPLE);
    side.is_finite().then(|| ((side / multiple).round() * multiple).clamp(low, high) as u32)
}
