//! What stands before a block's braces: its kind, its name and its text.

use super::fields::{Field, Level};
use super::values::{Reader, first_line, shorten};
use super::{Direction, suggest};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Spanned;
use crate::syntax::{Block, Literal, Value};

/// The direction that a block's first word says.
pub(super) fn read_kind(reader: &mut Reader<'_>, block: &Block) -> Option<Direction> {
    let kind = block.kind.value.as_str();
    if let Some(direction) = [Direction::Plus, Direction::Minus].into_iter().find(|known| known.name() == kind) {
        return Some(direction);
    }
    let message = format!("there is no block `{}`", shorten(kind));
    let meant = suggest::block_synonym(kind).or_else(|| suggest::nearest(kind, ["plus", "minus"]));
    let help = match (meant, Field::find(kind, Level::Recipe)) {
        (Some(meant), _) => format!("did you mean `{meant}`?"),
        (None, Some(field)) => format!("`{kind}` is a setting and has no braces: `{}`", field.example),
        (None, None) => "`plus` adds a concept, `minus` takes one away".to_owned(),
    };
    reader.report(Diagnostic::new(Code::UnknownBlock, message).at(block.kind.span, "unknown").help(help));
    None
}

/// Name and text of a block.
pub(super) fn read_head(reader: &mut Reader<'_>, block: &Block) -> (Option<Spanned<String>>, Option<Spanned<String>>) {
    let kind = shorten(&block.kind.value);
    let head = &block.head[..];
    let is_text = |value: &Value| matches!(&value.value, Literal::Text(_));
    let broken = reader.broken(head);
    let at = head.iter().position(is_text);
    let before = &head[..at.unwrap_or(head.len())];
    let mut after = at.map_or(&head[..0], |at| &head[at + 1..]);
    let text = at.map(|at| &head[at]).and_then(|value| match &value.value {
        Literal::Text(text) => Some(Spanned::new(text.content.clone(), value.span)),
        _ => None,
    });
    let quoted = at.map_or_else(|| "\"smile\"".to_owned(), |at| reader.written(head[at].span));
    let proposal = text.as_ref().map_or_else(|| "smile".to_owned(), |text| name_from(&text.value));

    let name = match before {
        [] if at.is_none() => {
            let message = format!("this `{kind}` has no name and no text");
            let help = "write both, as in `plus smile \"smiling, smile\"`";
            reader.report(
                Diagnostic::new(Code::MissingName, message)
                    .at(block.kind.span, "a name and a text must follow")
                    .help(help),
            );
            return (None, None);
        }
        [] => {
            let swapped = match after {
                [first, rest @ ..] if word(first).is_some_and(|name| Field::find(name, Level::Concept).is_none()) => {
                    after = rest;
                    word(first)
                }
                _ => None,
            };
            let proposal = swapped.unwrap_or(&proposal);
            let message = match swapped {
                Some(_) => "the name of a concept stands before its text".to_owned(),
                None => "this concept has no name".to_owned(),
            };
            let place = at.map_or(block.kind.span, |at| first_line(reader.source, head[at].span));
            let help = format!("write `{kind} {proposal} {quoted}`; the name never changes the picture");
            reader.report(Diagnostic::new(Code::MissingName, message).at(place, "a name goes before this").help(help));
            None
        }
        [only] => read_name(reader, only, &proposal),
        [first, .., last] => {
            let span = first.span.to(last.span);
            let joined = name_from(reader.source.slice(span));
            let message = "the name of a concept is a single word";
            let help = if at.is_some() {
                format!("write `{kind} {joined} {quoted}`")
            } else {
                format!("put quotes around the text: `{kind} {joined} \"{}\"`", reader.written(span))
            };
            reader.report(Diagnostic::new(Code::ExtraInHead, message).at(span, "more than one word").help(help));
            return (None, text.filter(|_| !broken));
        }
    };
    match &text {
        None if at.is_none() => {
            let name = before.last().map_or(block.kind.span, |value| value.span);
            let word = reader.written(name);
            let message = format!("the concept `{word}` has no text");
            let help = format!("say in quotes what it is: `{kind} {word} \"{}\"`", word.replace(['-', '_'], " "));
            reader.report(Diagnostic::new(Code::MissingText, message).at(name, "a text must follow").help(help));
        }
        Some(text) if text.value.trim().is_empty() && !broken => {
            let message = "the text of this concept is empty";
            let help = format!(
                "say what it is: `{kind} {0} \"{0}\"`",
                name.as_ref().map_or("smile", |name| name.value.as_str())
            );
            reader.report(Diagnostic::new(Code::EmptyText, message).at(text.span, "nothing in it").help(help));
        }
        _ => {}
    }
    if let ([first, ..], [.., last]) = (after, after) {
        let span = first.span.to(last.span);
        let name = name.as_ref().map_or(proposal.as_str(), |name| name.value.as_str());
        let help = match (word(first), after.iter().all(is_text)) {
            (Some(key), _) if Field::find(key, Level::Concept).is_some() => {
                format!("settings stand between braces: `{kind} {name} {quoted} {{ {} }}`", reader.written(span))
            }
            (_, true) => "put everything into one text, with commas: `\"smiling, smile\"`".to_owned(),
            _ => format!("take it away: `{kind} {name} {quoted}`"),
        };
        let message = "after the text of a concept come its braces";
        reader.report(Diagnostic::new(Code::ExtraInHead, message).at(span, "does not belong here").help(help));
    }
    (name, text.filter(|_| !broken))
}

fn word(value: &Value) -> Option<&str> {
    match &value.value {
        Literal::Word(word) => Some(word),
        _ => None,
    }
}

/// A name: a letter, then letters, digits, `_` and `-`.
fn read_name(reader: &mut Reader<'_>, value: &Value, proposal: &str) -> Option<Spanned<String>> {
    let good = |name: &&str| {
        name.starts_with(char::is_alphabetic)
            && name.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '-'))
    };
    if let Some(name) = word(value).filter(good) {
        return Some(Spanned::new(name.to_owned(), value.span));
    }
    let written = reader.written(value.span);
    let message = format!("`{written}` cannot be a name");
    let repaired = name_from(&written);
    let proposal = if repaired == FALLBACK { proposal } else { &repaired };
    let help = format!("a name is a letter, then letters, digits, `_` or `-`; for example `{proposal}`");
    reader.report(Diagnostic::new(Code::BadName, message).at(value.span, "not a name").help(help));
    None
}

/// The name where a text offers none.
const FALLBACK: &str = "concept";

/// A name made from the first words of a text.
pub(super) fn name_from(text: &str) -> String {
    let phrase = text.split([',', '.', ';']).find(|phrase| !phrase.trim().is_empty()).unwrap_or_default();
    let words = phrase
        .split(|char: char| !char.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .skip_while(|word| !word.starts_with(char::is_alphabetic))
        .take(2);
    let name = words.map(str::to_lowercase).collect::<Vec<_>>().join("-");
    let name: String = name.chars().take(24).collect();
    if name.is_empty() { FALLBACK.to_owned() } else { name }
}
