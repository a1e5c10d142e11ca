//! The text of a recipe with another seed.

use crate::quantity::Seed;
use crate::source::{Source, Span};
use crate::syntax::{self, Entry, Setting};

/// The recipe's text with one seed in place of what it says of seeds, or with a line for it below the prompt; every
/// other byte is as it was.
pub fn with_seed(source: &Source, seed: Seed) -> String {
    let file = syntax::parse(source);
    let setting = |key: &str| {
        file.entries.iter().find_map(|entry| match entry {
            Entry::Setting(setting) if setting.key.value == key => Some(setting),
            _ => None,
        })
    };
    let text = &source.text;
    if let Some(given) = setting("seed") {
        let values = match (given.values.first(), given.values.last()) {
            (Some(first), Some(last)) => first.span.to(last.span),
            _ => Span::new(given.span.end, given.span.end),
        };
        return format!("{}{}{}", &text[..values.start], seed.0, &text[values.end..]);
    }
    let anchor = ["prompt", "model", "sega"].into_iter().find_map(setting);
    let at = anchor.map_or(0, |anchor| after_line(text, anchor));
    let newline = if text[..at].is_empty() || text[..at].ends_with('\n') { "" } else { "\n" };
    format!("{}{newline}seed      {}\n{}", &text[..at], seed.0, &text[at..])
}

/// Where the line after a setting begins.
fn after_line(text: &str, setting: &Setting) -> usize {
    text[setting.span.end..].find('\n').map_or(text.len(), |newline| setting.span.end + newline + 1)
}
