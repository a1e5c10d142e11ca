//! What stands before a block's braces: its kind, its name and its text.

use super::fields::{Field, Level};
use super::loras::LORA;
use super::pairs::pairs;
use super::values::{Reader, first_line, shorten, shorten_repair};
use super::{Direction, repair, suggest};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{Span, Spanned};
use crate::syntax::{Block, Literal, Value};

/// The direction that a block's first word says.
pub(super) fn read_kind(reader: &mut Reader<'_>, block: &Block) -> Option<Direction> {
    let kind = block.kind.value.as_str();
    if let Some(direction) = [Direction::Plus, Direction::Minus].into_iter().find(|known| known.name() == kind) {
        return Some(direction);
    }
    let message = format!("there is no block `{}`", shorten(kind));
    let help = match (meant(kind), Field::find(kind, Level::Recipe)) {
        (Some(meant), _) => format!("did you mean `{meant}`?"),
        (None, Some(field)) => format!("`{kind}` is a setting and has no braces: `{}`", field.example),
        (None, None) => "`plus` adds a concept, `minus` takes one away".to_owned(),
    };
    reader.report(Diagnostic::new(Code::UnknownBlock, message).at(block.kind.span, "unknown").help(help));
    None
}

/// The kind of block that a word is or resembles.
fn meant(kind: &str) -> Option<&str> {
    let exact = matches!(kind, "plus" | "minus" | LORA).then_some(kind);
    exact.or_else(|| suggest::block_synonym(kind)).or_else(|| suggest::nearest(kind, ["plus", "minus"]))
}

/// What a block is, in a word.
pub(super) fn noun(block: &Block) -> &'static str {
    if block.kind.value == LORA { "LoRA" } else { "concept" }
}

/// The level of what stands between a block's braces.
pub(super) fn level_of(block: &Block) -> Level {
    if block.kind.value == LORA { Level::Lora } else { Level::Concept }
}

/// Name and text of a block. Settings that belong between its braces may go on to the end of `line`.
pub(super) fn read_head(
    reader: &mut Reader<'_>,
    block: &Block,
    line: Span,
) -> (Option<Spanned<String>>, Option<Spanned<String>>) {
    let (noun, kind) = (noun(block), meant(&block.kind.value).unwrap_or("plus"));
    let head = &block.head[..];
    let is_text = |value: &Value| matches!(&value.value, Literal::Text(_));
    let broken = reader.broken(head);
    let at = head.iter().position(is_text);
    if at.is_none() && (other_quotes(reader, block) || comma_before_text(reader, block, line)) {
        return (None, None);
    }
    let before = &head[..at.unwrap_or(head.len())];
    let mut after = at.map_or(&head[..0], |at| &head[at + 1..]);
    let text = at.map(|at| &head[at]).and_then(|value| match &value.value {
        Literal::Text(text) => Some(Spanned::new(text.content.clone(), value.span)),
        _ => None,
    });
    let quoted = at.map_or_else(|| "\"smile\"".to_owned(), |at| shorten_repair(reader.source.slice(head[at].span)));
    let mut proposal = text.as_ref().map_or_else(|| "smile".to_owned(), |text| name_from(&text.value));

    let name = match before {
        [] if at.is_none() => {
            let message = format!("this `{}` has no name and no text", shorten(&block.kind.value));
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
            proposal = swapped.map_or(proposal, str::to_owned);
            let message = match swapped {
                Some(_) => format!("the name of a {noun} stands before its text"),
                None => format!("this {noun} has no name"),
            };
            let place = at.map_or(block.kind.span, |at| first_line(reader.source, head[at].span));
            let line = sound(format!("{kind} {proposal} {quoted}"));
            let help = format!("write `{line}`; the name never changes the picture");
            reader.report(Diagnostic::new(Code::MissingName, message).at(place, "a name goes before this").help(help));
            None
        }
        [only] => read_name(reader, only, &proposal),
        [first, .., last] => {
            let span = first.span.to(last.span);
            let joined = name_from(reader.source.slice(span));
            let message = format!("the name of a {noun} is a single word");
            let help = if at.is_some() {
                format!("write `{}`", sound(format!("{kind} {joined} {quoted}")))
            } else {
                let text = repair::text(reader.source.slice(span)).unwrap_or_default();
                format!("put quotes around the text: `{}`", sound(format!("{kind} {joined} {text}")))
            };
            reader.report(Diagnostic::new(Code::ExtraInHead, message).at(span, "more than one word").help(help));
            return (None, text.filter(|_| !broken));
        }
    };
    match &text {
        None if at.is_none() => {
            let name = before.last().map_or(block.kind.span, |value| value.span);
            let word = reader.written(name);
            let message = format!("the {noun} `{word}` has no text");
            let line = sound(format!("{kind} {word} \"{}\"", word.replace(['-', '_'], " ")));
            let help = format!("say in quotes what it is: `{line}`");
            reader.report(Diagnostic::new(Code::MissingText, message).at(name, "a text must follow").help(help));
        }
        Some(text) if text.value.trim().is_empty() && !broken => {
            let message = format!("the text of this {noun} is empty");
            let name = name.as_ref().map_or("smile", |name| name.value.as_str());
            let help = format!("say what it is: `{}`", sound(format!("{kind} {name} \"{name}\"")));
            reader.report(Diagnostic::new(Code::EmptyText, message).at(text.span, "nothing in it").help(help));
        }
        _ => {}
    }
    let only_signs = after.iter().all(|value| matches!(reader.source.slice(value.span), ":" | "="));
    let goes_on = line.end > block.span.end;
    let start = match (after, at) {
        ([first, ..], _) => Some(first.span.start),
        ([], Some(at)) if goes_on => Some(head[at].span.end),
        _ => None,
    };
    let end = head.last().map(|last| if goes_on { line.end } else { last.span.end });
    if let (Some(start), Some(end)) = (start, end)
        && !(name.is_none() && only_signs && !goes_on)
    {
        let name = name.as_ref().map_or(proposal.as_str(), |name| name.value.as_str());
        let texts = at.and_then(|at| repair::one_text(reader.source.slice(Span::new(head[at].span.start, end)), ", "));
        extra(reader, Span::new(start, end), &format!("{kind} {name}"), &quoted, texts, block.body.is_some());
    }
    (name, text.filter(|_| !broken))
}

/// Reports what stands behind a concept's text: settings, or further `texts` that make one together with the first.
fn extra(reader: &mut Reader<'_>, span: Span, name: &str, text: &str, texts: Option<String>, has_body: bool) {
    let line = reader.source.slice(span).trim_matches([',', ' ', '(', ')']);
    let all = pairs(line, 0, Level::Concept);
    let known = all.first().and_then(|pair| Field::find(pair.means(Level::Concept)?, Level::Concept));
    let line = repair::line(&all, Level::Concept).as_deref().map(shorten_repair);
    let help = match (line, texts, known) {
        (Some(line), ..) if has_body => format!("move it between the braces: `{line}`"),
        (Some(line), ..) => {
            format!("settings stand between braces: `{}`", sound(format!("{name} {text} {{ {line} }}")))
        }
        (None, Some(texts), _) => format!("put everything into one text: `{}`", sound(format!("{name} {texts}"))),
        (None, None, Some(Field { example, .. })) => {
            format!("settings stand between braces, as in `{}`", sound(format!("{name} {text} {{ {example} }}")))
        }
        (None, None, None) => format!("take it away: `{}`", sound(format!("{name} {text}"))),
    };
    let message = "after the text of a concept come its braces";
    reader.report(Diagnostic::new(Code::ExtraInHead, message).at(span, "does not belong here").help(help));
}

/// Reports a text in quotes that are not the language's; whether there is one.
fn other_quotes(reader: &mut Reader<'_>, block: &Block) -> bool {
    let head = &block.head[..];
    let opens = |value: &Value| repair::has_foreign_quotes(reader.source.slice(value.span));
    let (Some(at), Some(last)) = (head.iter().position(opens), head.last()) else { return false };
    let span = head[at].span.to(last.span);
    let Some(text) = repair::text(reader.source.slice(span)) else { return false };
    let name = match &head[..at] {
        [] => name_from(&text),
        [first, .., last] => name_from(reader.source.slice(first.span.to(last.span))),
        [only] => word(only).map_or_else(|| name_from(reader.source.slice(only.span)), str::to_owned),
    };
    let message = "the text of this concept stands in other quotes than `\"`";
    let kind = meant(&block.kind.value).unwrap_or("plus");
    let help = format!("write `{}`", sound(format!("{kind} {name} {text}")));
    reader.report(Diagnostic::new(Code::MissingText, message).at(span, "a text stands in quotes").help(help));
    true
}

/// Reports a comma between name and text; whether there is one.
fn comma_before_text(reader: &mut Reader<'_>, block: &Block, line: Span) -> bool {
    let rest = reader.source.slice(Span::new(block.span.end, line.end)).trim_start_matches([' ', ',']);
    let Some(text) = repair::one_text(rest, ", ").filter(|_| rest.starts_with('"')) else { return false };
    let span = Span::new(block.span.end, line.end);
    let message = "no comma stands between the name of a concept and its text";
    let help = format!("write `{}`", sound(format!("{} {text}", reader.source.slice(block.span))));
    reader.report(Diagnostic::new(Code::MissingText, message).at(span, "leave the comma out").help(help));
    true
}

/// A concept as it is to be written, if it can be written so; otherwise an example.
pub(super) fn sound(line: String) -> String {
    let sound = repair::passes(&line, Level::Recipe) && shorten_repair(&line) == line;
    if sound { line } else { "plus smile \"smiling, smile\"".to_owned() }
}

/// Whether a block's head is a name and a text, and its braces are closed.
pub(super) fn is_sound(block: &Block) -> bool {
    let [name, Value { value: Literal::Text(text), .. }] = &block.head[..] else { return false };
    let text_is_sound = text.closed && text.bad_escapes.is_empty() && !text.content.trim().is_empty();
    meant(&block.kind.value) == Some(&block.kind.value) && is_name(name) && text_is_sound && block.closed
}

fn word(value: &Value) -> Option<&str> {
    match &value.value {
        Literal::Word(word) => Some(word),
        _ => None,
    }
}

/// Whether a value has the form of a name.
fn is_name(value: &Value) -> bool {
    let inside = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-');
    word(value).is_some_and(|name| name.starts_with(char::is_alphabetic) && name.chars().all(inside))
}

/// A name: a letter, then letters, digits, `_` and `-`.
fn read_name(reader: &mut Reader<'_>, value: &Value, proposal: &str) -> Option<Spanned<String>> {
    if let Some(name) = word(value).filter(|_| is_name(value)) {
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
