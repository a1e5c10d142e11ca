//! How much each part of a text counts: the notation of AUTOMATIC1111's web interface.
//!
//! `(a)` weighs 1.1 times as much, `[a]` 1.1 times less, `(a:1.5)` 1.5 times as much; they nest and multiply. `\(`, `\)`,
//! `\[`, `\]` and `\\` stand for the characters themselves. `BREAK` begins a new chunk. What is never closed holds to
//! the end of the text.

/// How the texts of a recipe are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reading {
    /// With weights, over as many chunks as the text needs.
    #[default]
    Weighted,
    /// Every character for itself, and only as much as fits one chunk: what the reference implementation does.
    Literal,
}

/// A part of a text that counts the same throughout.
#[derive(Debug, Clone, PartialEq)]
pub enum Fragment {
    /// A text and its weight.
    Text(String, f64),
    /// The word `BREAK`: what follows begins a new chunk.
    Break,
}

const ROUND: f64 = 1.1;
const SQUARE: f64 = 1.0 / 1.1;
/// Weights that are further from 1 are taken as this: beyond it nothing but overflow is to be had.
const MOST: f64 = 100.0;

/// The parts of a text with their weights, in order. Parts of one weight that adjoin are one part. The empty text is one
/// empty part.
pub fn fragments(text: &str) -> Vec<Fragment> {
    let mut parts: Vec<Fragment> = Vec::new();
    // Where the open brackets stand in `parts`.
    let (mut round, mut square) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let mut taken = char.len_utf8();
        match char {
            '\\' => {
                let next = rest[1..].chars().next().filter(|next| "()[]\\".contains(*next));
                taken += next.map_or(0, char::len_utf8);
                push(&mut parts, &next.unwrap_or('\\').to_string());
            }
            '(' => round.push(parts.len()),
            '[' => square.push(parts.len()),
            ')' if let Some(start) = round.pop() => weigh(&mut parts[start..], ROUND),
            ']' if let Some(start) = square.pop() => weigh(&mut parts[start..], SQUARE),
            ':' if let Some((weight, length)) = explicit(rest)
                && let Some(start) = round.pop() =>
            {
                weigh(&mut parts[start..], weight);
                taken = length;
            }
            ')' | ']' | ':' => push(&mut parts, &rest[..taken]),
            _ => {
                let end = rest.find(['\\', '(', '[', ')', ']', ':']).unwrap_or(rest.len());
                taken = end;
                push_words(&mut parts, &rest[..end]);
            }
        }
        rest = &rest[taken..];
    }
    for start in round {
        weigh(&mut parts[start..], ROUND);
    }
    for start in square {
        weigh(&mut parts[start..], SQUARE);
    }
    merge(parts)
}

/// The weight and the length of `:1.2)`, with blanks around the number.
fn explicit(text: &str) -> Option<(f64, usize)> {
    let end = text.find(')')?;
    let number = text[1..end].trim();
    let sound = !number.is_empty() && number.chars().all(|char| char.is_ascii_digit() || "+-.".contains(char));
    Some((number.parse().ok().filter(|_| sound)?, end + 1))
}

fn push(parts: &mut Vec<Fragment>, text: &str) {
    parts.push(Fragment::Text(text.to_owned(), 1.0));
}

/// Adds a text without brackets, cut at the word `BREAK`.
fn push_words(parts: &mut Vec<Fragment>, text: &str) {
    let mut rest = text;
    let mut from = 0;
    while let Some(at) = rest[from..].find("BREAK").map(|at| at + from) {
        let end = at + "BREAK".len();
        let word = |char: char| char.is_alphanumeric() || char == '_';
        if rest[..at].ends_with(word) || rest[end..].starts_with(word) {
            from = end;
            continue;
        }
        if !rest[..at].trim().is_empty() {
            push(parts, rest[..at].trim_end());
        }
        parts.push(Fragment::Break);
        rest = rest[end..].trim_start();
        from = 0;
    }
    if !rest.is_empty() {
        push(parts, rest);
    }
}

fn weigh(parts: &mut [Fragment], factor: f64) {
    for part in parts {
        if let Fragment::Text(_, weight) = part {
            *weight = (*weight * factor).clamp(-MOST, MOST);
        }
    }
}

fn merge(parts: Vec<Fragment>) -> Vec<Fragment> {
    let mut merged: Vec<Fragment> = Vec::new();
    for part in parts {
        match (merged.last_mut(), part) {
            (Some(Fragment::Text(before, same)), Fragment::Text(text, weight)) if *same == weight => {
                before.push_str(&text);
            }
            (_, part) => merged.push(part),
        }
    }
    if merged.is_empty() {
        merged.push(Fragment::Text(String::new(), 1.0));
    }
    merged
}
