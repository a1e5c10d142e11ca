//! The check of one `plus` or `minus` block.

use super::check::{Settings, is_whole, number, settings, shortened};
use super::fields::{Level, field};
use super::values::Given;
use super::{Concept, Direction, suggest};
use crate::diagnostic::{Code, Diagnostic};
use crate::quantity::{Beta, Momentum, Strength, Threshold, WarmUp, Weight};
use crate::source::{Source, Spanned};
use crate::syntax::{Block, Literal};

/// Reads a block. A concept comes back even where parts are wrong, so that the rest of the file can be checked against
/// it; `None` where it is no concept at all.
pub(super) fn concept(
    block: &Block,
    source: &Source,
    (momentum, beta): (Momentum, Beta),
    out: &mut Vec<Diagnostic>,
) -> Option<(Concept, Settings)> {
    let direction = direction(block, out)?;
    let (name, text) = head(block, out);
    if block.body.is_some() && !block.closed {
        let open = Diagnostic::new(Code::Unclosed, block.kind.span, "the braces of this concept are not closed");
        out.push(open.help("add the missing `}`"));
    }
    let given = settings(block.body.as_deref().unwrap_or_default(), Level::Concept, source, out);
    let number = |key: &str| number(&given, key);
    let concept = Concept {
        name,
        direction,
        text,
        strength: number("strength").and_then(|value| Strength::new(value).ok()).unwrap_or_default(),
        threshold: number("threshold").and_then(|value| Threshold::new(value).ok()).unwrap_or_default(),
        warmup: match given.get("warmup").map(|given| &given.value) {
            Some(Given::Point(point)) => WarmUp(*point),
            _ => WarmUp::default(),
        },
        range: match given.get("steps").map(|given| &given.value) {
            Some(Given::Range(range)) => *range,
            _ => Default::default(),
        },
        momentum: number("momentum").and_then(|value| Momentum::new(value).ok()).unwrap_or(momentum),
        beta: number("beta").and_then(|value| Beta::new(value).ok()).unwrap_or(beta),
        weight: number("weight").and_then(|value| Weight::new(value).ok()).unwrap_or_default(),
    };
    Some((concept, given))
}

fn direction(block: &Block, out: &mut Vec<Diagnostic>) -> Option<Direction> {
    let kind = &block.kind;
    match kind.value.as_str() {
        "plus" => return Some(Direction::Plus),
        "minus" => return Some(Direction::Minus),
        _ => {}
    }
    if field(Level::Recipe, &kind.value).is_some() {
        let message = format!("`{}` is a setting, not a concept", kind.value);
        out.push(
            Diagnostic::new(Code::UnknownBlock, kind.span, message)
                .help("a setting is one value on one line, without braces"),
        );
        return None;
    }
    let meant = suggest::direction(&kind.value);
    let help = match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "a concept is added by `plus` or taken away by `minus`".to_owned(),
    };
    out.push(
        Diagnostic::new(Code::UnknownBlock, kind.span, format!("there is no `{}` of concepts", shortened(&kind.value)))
            .help(help),
    );
    Some(if meant == Some("minus") { Direction::Minus } else { Direction::Plus })
}

/// The name and the text, empty where they are missing, which is reported.
fn head(block: &Block, out: &mut Vec<Diagnostic>) -> (Spanned<String>, String) {
    let kind = &block.kind;
    let text_at = block.head.iter().position(|value| matches!(value.value, Literal::Text(_)));
    let text = text_at.and_then(|at| match &block.head[at].value {
        Literal::Text(text) => Some((&block.head[at], text)),
        _ => None,
    });
    let before_text = &block.head[..text_at.unwrap_or(block.head.len())];
    let example_name = || match text {
        Some((_, text)) => name_from(&text.content),
        None => "name".to_owned(),
    };
    let name = match before_text {
        [] => {
            let message = format!("this `{}` has no name", shortened(&kind.value));
            let help = format!("name it before its text: `{} {}`", shortened(&kind.value), example_name());
            out.push(Diagnostic::new(Code::MissingName, kind.span, message).help(help));
            Spanned::new(String::new(), kind.span)
        }
        [first, more @ ..] => {
            let name = match &first.value {
                Literal::Word(word) if is_name(word) => word.clone(),
                _ => {
                    let diagnostic = Diagnostic::new(Code::BadName, first.span, "this is no name");
                    let help = format!(
                        "a name is a letter, then letters, digits, `_` or `-`: for example `{}`",
                        example_name()
                    );
                    out.push(diagnostic.help(help));
                    String::new()
                }
            };
            if let (Some(extra), Some(last)) = (more.first(), more.last()) {
                if text.is_none() {
                    let diagnostic = Diagnostic::new(
                        Code::MissingText,
                        extra.span.to(last.span),
                        "the text of a concept stands in quotes",
                    );
                    out.push(diagnostic.help(format!("write `{} {} \"...\"`", kind.value, name)));
                    return (Spanned::new(name, first.span), String::new());
                }
                let diagnostic = Diagnostic::new(Code::BadName, extra.span.to(last.span), "a name is one word");
                out.push(diagnostic.help(format!("join the words: `{}`", example_name())));
            }
            Spanned::new(name, first.span)
        }
    };
    let Some((value, text)) = text else {
        let message = format!("this `{}` has no text", shortened(&kind.value));
        let help = format!(
            "say what it looks like, in quotes: `{} {} \"{}\"`",
            kind.value,
            name.value,
            name.value.replace('-', " ")
        );
        out.push(Diagnostic::new(Code::MissingText, kind.span.to(name.span), message).help(help));
        return (name, String::new());
    };
    if is_whole(value, out) && text.content.trim().is_empty() {
        let diagnostic = Diagnostic::new(Code::MissingText, value.span, "the text of this concept is empty");
        out.push(diagnostic.help("say what the concept looks like"));
    }
    if let Some(extra) = text_at.and_then(|at| block.head.get(at + 1)) {
        let diagnostic =
            Diagnostic::new(Code::ExtraHead, extra.span, "something stands between the concept's text and its braces");
        out.push(diagnostic.help("settings stand in the braces: `{ strength 5 }`"));
    }
    (name, text.content.clone())
}

fn is_name(word: &str) -> bool {
    let mut characters = word.chars();
    characters.next().is_some_and(char::is_alphabetic)
        && characters.all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

/// A name that a text suggests: its last word.
fn name_from(text: &str) -> String {
    let letters = |word: &&str| word.chars().next().is_some_and(char::is_alphabetic);
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(letters);
    words.last().map_or_else(|| "name".to_owned(), |word| shortened(&word.to_lowercase()))
}
