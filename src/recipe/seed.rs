//! The text of a recipe with another seed.

use crate::quantity::Seed;
use crate::source::Source;
use crate::syntax;

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
