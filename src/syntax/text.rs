//! What texts say: quotes, escapes and indentation taken away, and put back.

use super::Text;
use crate::source::Span;

/// The text of `"..."`; `at` is the place of the opening quote.
pub(super) fn text(written: &str, at: usize, closed: bool) -> Text {
    let inner = &written[1..written.len() - usize::from(closed)];
    let mut bad_escapes = Vec::new();
    let content = unescape(inner, at + 1, &mut bad_escapes);
    Text { content, block: false, closed, bad_escapes }
}

/// The text of `"""..."""`; `at` is the place of the first quote.
///
/// A line break behind the opening quotes, and a last line of nothing but spaces, are layout. So is the indentation that
/// all lines share that hold anything.
pub(super) fn block_text(written: &str, at: usize, closed: bool) -> Text {
    const QUOTES: usize = 3;
    let inner = &written[QUOTES..written.len() - if closed { QUOTES } else { 0 }];
    let mut bad_escapes = Vec::new();
    let Some((first, rest)) = inner.split_once('\n').filter(|(first, _)| first.trim().is_empty()) else {
        let content = unescape(inner, at + QUOTES, &mut bad_escapes);
        return Text { content, block: true, closed, bad_escapes };
    };
    let start = at + QUOTES + first.len() + 1;
    let indent_of = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let mut lines: Vec<&str> = rest.split('\n').collect();
    let last_is_layout = lines.last().is_some_and(|last| last.trim().is_empty());
    let filled = lines.iter().filter(|line| !line.trim().is_empty());
    let closing = lines.last().filter(|_| last_is_layout && closed).map(|last| indent_of(last));
    let indent = filled.map(|line| indent_of(line)).chain(closing).min().unwrap_or(0);
    if last_is_layout {
        lines.pop();
    }
    let mut content = String::new();
    let mut place = start;
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            content.push('\n');
        }
        let cut = indent.min(indent_of(line));
        let kept = line[cut..].trim_end_matches('\r');
        content.push_str(&unescape(kept, place + cut, &mut bad_escapes));
        place += line.len() + 1;
    }
    Text { content, block: true, closed, bad_escapes }
}

/// Resolves escapes; those that are unknown stay as they are, their places noted.
fn unescape(text: &str, at: usize, bad: &mut Vec<Span>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(backslash) = rest.find('\\') {
        out.push_str(&rest[..backslash]);
        let place = at + (text.len() - rest.len()) + backslash;
        let escape = &rest[backslash..];
        let (resolved, length) = match escape[1..].chars().next() {
            Some('"') => (Some('"'), 2),
            Some('\\') => (Some('\\'), 2),
            Some('n') => (Some('\n'), 2),
            Some('t') => (Some('\t'), 2),
            Some('r') => (Some('\r'), 2),
            Some('u') => unicode(escape).map_or((None, 2), |(character, length)| (Some(character), length)),
            Some(other) => (None, 1 + other.len_utf8()),
            None => (None, 1),
        };
        match resolved {
            Some(character) => out.push(character),
            None => {
                bad.push(Span::new(place, place + length));
                out.push_str(&escape[..length]);
            }
        }
        rest = &escape[length..];
    }
    out.push_str(rest);
    out
}

/// The character of `\u{...}` and the escape's length.
fn unicode(escape: &str) -> Option<(char, usize)> {
    const LONGEST: usize = 6;
    let digits = escape.strip_prefix("\\u{")?;
    let end = digits.bytes().take(LONGEST + 1).position(|byte| byte == b'}')?;
    let code = u32::from_str_radix(&digits[..end], 16).ok()?;
    Some((char::from_u32(code)?, "\\u{".len() + end + 1))
}

/// A text as `"..."`, with the escapes that it needs.
pub(super) fn quoted(content: &str) -> String {
    let mut out = String::from('"');
    for character in content.chars() {
        match character {
            '"' => out.push_str("\\\""),
            other => push_escaped(&mut out, other),
        }
    }
    out.push('"');
    out
}

/// A text as the lines between `"""` and `"""`, without indentation.
pub(super) fn block_lines(content: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut out = String::new();
        for (at, character) in line.char_indices() {
            match character {
                // A quote that could end the text, or begin its end.
                '"' if line[at + 1..].starts_with('"') || at + 1 == line.len() => out.push_str("\\\""),
                // A space at the end of a line, which editors like to take away.
                ' ' if at + 1 == line.len() => out.push_str("\\u{20}"),
                other => push_escaped(&mut out, other),
            }
        }
        out
    };
    content.split('\n').map(line).collect()
}

fn push_escaped(out: &mut String, character: char) {
    match character {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        other if other.is_control() || other == '\u{FEFF}' => out.push_str(&format!("\\u{{{:x}}}", u32::from(other))),
        other => out.push(other),
    }
}
