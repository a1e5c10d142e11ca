//! A line of another tool, cut into keys and values: `Steps: 20, CFG scale: 7`, `strength = 5; threshold = 0.9`.

use std::ops::Range;

use super::fields::{FIELDS, Field, Kind, Level};
use super::suggest;
use crate::source::Span;

/// Longer lines are not cut.
const LONGEST: usize = 4000;
/// Keys of other tools have at most so many words.
const WORDS: usize = 3;

/// A key and its value, as they are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    /// The key, without quotes.
    pub(super) key: &'a str,
    /// The sign between key and value.
    pub(super) sign: Option<&'a str>,
    /// All up to the next key, without separators at its end.
    pub(super) value: &'a str,
    /// Where the key stands.
    pub(super) key_place: Span,
    /// Where the key begins and where the value ends.
    pub(super) place: Span,
}

impl Pair<'_> {
    /// The setting (or block) that the key stands for on a level, be it as a word of another tool or as a slip.
    pub(super) fn means(&self, level: Level) -> Option<&'static str> {
        let here = || FIELDS.iter().filter(|field| field.place.allows(level)).map(|field| field.key);
        suggest::setting(self.key, level)
            .or_else(|| suggest::nearest(self.key, here()))
            .or_else(|| suggest::nearest(self.key, FIELDS.iter().map(|field| field.key)))
    }
}

/// What a piece of a line is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Word,
    Text,
    Sign,
    Break,
}

/// A piece and its place.
type Piece = (Part, Range<usize>);

/// The pairs of a text that begins at `start` of the source; empty where it does not begin with a key.
pub(super) fn pairs(text: &str, start: usize, level: Level) -> Vec<Pair<'_>> {
    if text.len() > LONGEST {
        return Vec::new();
    }
    let pieces = pieces(text);
    // Each key's first piece, and how many pieces it has.
    let mut heads: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    while at < pieces.len() {
        let words = head(text, &pieces, at, heads.last().copied(), level);
        if let Some(words) = words {
            heads.push((at, words));
        } else if at == 0 {
            return Vec::new();
        }
        at += words.unwrap_or(1);
    }
    let mut ends = heads.iter().skip(1).map(|(at, _)| pieces[*at].1.start).chain([text.len()]);
    let pair = |&(at, words): &(usize, usize)| {
        let key = key_of(text, &pieces, at, words);
        let sign = pieces.get(at + words).filter(|(kind, _)| *kind == Part::Sign).map(|(_, place)| place.clone());
        let key_end = pieces[at + words - 1].1.end;
        let from = sign.as_ref().map_or(key_end, |sign| sign.end);
        let end = ends.next().unwrap_or(text.len());
        let value = text[from..end].trim_end_matches(|char: char| char.is_whitespace() || matches!(char, ',' | ';'));
        let key_start = start + pieces[at].1.start;
        Pair {
            key,
            sign: sign.map(|sign| &text[sign]),
            value: value.trim_start(),
            key_place: Span::new(key_start, start + key_end),
            place: Span::new(key_start, start + from + value.len()),
        }
    };
    heads.iter().map(pair).collect()
}

/// The pieces of a line, apart from its blanks.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        let mut end = at + char.len_utf8();
        let kind = match char {
            _ if char.is_whitespace() => continue,
            ',' | ';' => Part::Break,
            '=' | ':' => Part::Sign,
            '"' => {
                let mut escaped = false;
                for (at, char) in chars.by_ref() {
                    end = at + char.len_utf8();
                    if char == '"' && !escaped {
                        break;
                    }
                    escaped = char == '\\' && !escaped;
                }
                Part::Text
            }
            _ => {
                let inside = |char: char| !char.is_whitespace() && !matches!(char, ',' | ';' | '=' | ':' | '"');
                while let Some((at, char)) = chars.next_if(|(_, char)| inside(*char)) {
                    end = at + char.len_utf8();
                }
                Part::Word
            }
        };
        pieces.push((kind, at..end));
    }
    pieces
}

/// The key that some pieces are.
fn key_of<'a>(text: &'a str, pieces: &[Piece], at: usize, words: usize) -> &'a str {
    text[pieces[at].1.start..pieces[at + words - 1].1.end].trim_matches('"')
}

/// How many pieces from `at` on are a key, if any are; `last` is the key before it.
fn head(text: &str, pieces: &[Piece], at: usize, last: Option<(usize, usize)>, level: Level) -> Option<usize> {
    let after_break = at == 0 || pieces[at - 1].0 == Part::Break;
    let is_sign = |at: usize| pieces.get(at).is_some_and(|(kind, _)| *kind == Part::Sign);
    // What stands in a text without quotes is a key only if there is no doubt of it.
    let in_text = last.is_some_and(|(at, words)| {
        let key = suggest::setting(key_of(text, pieces, at, words), level);
        key.and_then(|key| Field::all(key).next()).is_some_and(|field| field.kind == Kind::Text)
    });
    let loose = !in_text || pieces[at - 1].0 == Part::Text;
    let has_value = last.is_some_and(|(first, words)| at > first + words + usize::from(is_sign(first + words)));
    (1..=WORDS).rev().find(|&words| {
        let Some(range) = pieces.get(at..at + words) else { return false };
        let quoted = words == 1 && after_break && range[0].0 == Part::Text && is_sign(at + 1);
        if !quoted && range.iter().any(|(kind, _)| *kind != Part::Word) {
            return false;
        }
        let key = key_of(text, pieces, at, words);
        if !key.starts_with(|char: char| char.is_alphabetic() || char == '_') {
            return false;
        }
        let known = suggest::setting(key, level).is_some();
        // Several words are an unknown key where the first is not itself a key, as it is in `prompt a cat: asleep`.
        let first = &text[range[0].1.clone()];
        let whole = words == 1 || after_break && (known || Field::all(first).next().is_none());
        match (at, is_sign(at + words)) {
            (0, true) => whole,
            (0, false) => known || words == 1,
            (_, true) => whole && (known || loose),
            (_, false) if after_break => known && loose,
            (_, false) => words == 1 && loose && has_value && Field::find(key, level).is_some(),
        }
    })
}
