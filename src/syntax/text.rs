//! What strings say and how they are written: escapes, and the indentation of `"""text"""`.

use crate::source::Span;

/// White space that may indent a line.
const INDENT: [char; 2] = [' ', '\t'];

/// The content of a `"text"` from what stands between its quotes, the first of it at `at`; and the places of backslashes that
/// begin no escape, which stay as they are.
pub(super) fn read(raw: &str, at: usize) -> (String, Vec<Span>) {
    let (mut content, mut bad) = (String::with_capacity(raw.len()), Vec::new());
    unescape(raw, at, &mut content, &mut bad);
    (content, bad)
}

/// The content of a `"""text"""`, as [`read`] does.
///
/// A first line without text is layout, and behind such a first line so are a last line of blanks and the indentation that the
/// lines share: those with text, and the last. With text behind the opening quotes all is content. Line ends become `\n`.
pub(super) fn read_block(raw: &str, at: usize) -> (String, Vec<Span>) {
    let (mut content, mut bad) = (String::with_capacity(raw.len()), Vec::new());
    let mut lines: Vec<&str> = raw.split('\n').collect();
    let mut at = at;
    let mut indent = "";
    if lines.len() > 1 && is_blank(lines[0]) {
        at += lines.remove(0).len() + 1;
        let last = lines.len() - 1;
        let shared = lines.iter().enumerate().filter(|(number, line)| *number == last || !is_blank(line));
        indent = shared.map(|(_, line)| indentation(line)).reduce(common_prefix).unwrap_or_default();
        if is_blank(lines[last]) {
            lines.pop();
        }
    }
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            content.push('\n');
        }
        let cut = indent.len().min(indentation(line).len());
        let kept = if raw.len() == line.len() { line } else { line[cut..].trim_end_matches('\r') };
        unescape(kept, at + cut, &mut content, &mut bad);
        at += line.len() + 1;
    }
    (content, bad)
}

/// Appends a piece of text with its escapes resolved: `\"`, `\\`, `\n`, `\r`, `\t`, and `\u{...}` with the hexadecimal number
/// of a character.
fn unescape(raw: &str, at: usize, content: &mut String, bad: &mut Vec<Span>) {
    let mut rest = raw;
    while let Some(backslash) = rest.find('\\') {
        content.push_str(&rest[..backslash]);
        let escape = &rest[backslash..];
        let length = match resolve(escape) {
            Some((character, length)) => {
                content.push(character);
                length
            }
            None => {
                let length = 1 + escape[1..].chars().next().map_or(0, char::len_utf8);
                let start = at + raw.len() - escape.len();
                bad.push(Span::new(start, start + length));
                content.push_str(&escape[..length]);
                length
            }
        };
        rest = &escape[length..];
    }
    content.push_str(rest);
}

/// The character that an escape stands for, and how long the escape is.
fn resolve(escape: &str) -> Option<(char, usize)> {
    const SHORT: usize = 2;
    const MOST_DIGITS: usize = 6;
    match escape[1..].chars().next()? {
        quoted @ ('"' | '\\') => Some((quoted, SHORT)),
        'n' => Some(('\n', SHORT)),
        'r' => Some(('\r', SHORT)),
        't' => Some(('\t', SHORT)),
        'u' => {
            let digits = escape.strip_prefix("\\u{")?;
            let count = digits.bytes().take(MOST_DIGITS).take_while(u8::is_ascii_hexdigit).count();
            let behind = digits[count..].starts_with('}');
            let code = u32::from_str_radix(&digits[..count], 16).ok().filter(|_| behind)?;
            Some((char::from_u32(code)?, "\\u{}".len() + count))
        }
        _ => None,
    }
}

/// A content as a `"text"`, quotes included, on one line whatever the content: what [`read`] reads back.
pub(super) fn quote(content: &str) -> String {
    let mut out = String::with_capacity(content.len() + 2);
    out.push('"');
    for character in content.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\t' => out.push_str("\\t"),
            other => escape(other, &mut out),
        }
    }
    out.push('"');
    out
}

/// A content as a `"""text"""`, quotes included: what [`read_block`] reads back. A content of several lines stands below the
/// quotes, it and the closing quotes indented by `indent` blanks.
pub(super) fn quote_block(content: &str, indent: usize) -> String {
    const QUOTES: &str = "\"\"\"";
    let mut out = String::from(QUOTES);
    if !content.contains('\n') {
        escape_line(content, true, &mut out);
        out.push_str(QUOTES);
        return out;
    }
    let margin = " ".repeat(indent);
    for line in content.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&margin);
            escape_line(line, false, &mut out);
        }
    }
    out.push('\n');
    out.push_str(&margin);
    out.push_str(QUOTES);
    out
}

/// Writes a line of a `"""text"""`: a quote is escaped if it is followed by another, which could make three. If the closing quotes
/// are to follow the line, so is one at its end.
fn escape_line(line: &str, last: bool, out: &mut String) {
    for (at, character) in line.char_indices() {
        let behind = &line[at + character.len_utf8()..];
        match character {
            '"' if behind.starts_with('"') || last && behind.is_empty() => out.push_str("\\\""),
            '\t' => out.push('\t'),
            other => escape(other, out),
        }
    }
}

/// Writes a character, as an escape if it is a backslash or would not show.
fn escape(character: char, out: &mut String) {
    match character {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        hidden if hidden.is_control() || hidden == '\u{FEFF}' => {
            out.push_str(&format!("\\u{{{:x}}}", u32::from(hidden)))
        }
        other => out.push(other),
    }
}

/// Whether a line holds nothing but blanks, the carriage return of its end included.
fn is_blank(line: &str) -> bool {
    line.trim_end_matches('\r').trim_start_matches(INDENT).is_empty()
}

/// The blanks that a line begins with.
fn indentation(line: &str) -> &str {
    &line[..line.len() - line.trim_start_matches(INDENT).len()]
}

/// The beginning that two indentations share.
fn common_prefix<'a>(left: &'a str, right: &str) -> &'a str {
    let same = left.bytes().zip(right.bytes()).take_while(|(left, right)| left == right).count();
    &left[..same]
}
