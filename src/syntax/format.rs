//! The canonical form of a recipe. There are no options: two recipes that say the same in the same order look the same.
//!
//! One setting a line, values at one fixed column; a block with at most one setting on one line where it fits; comments
//! and groups of lines kept.

use super::text::{block_lines, quoted};
use super::{Block, Entry, File, List, ListItem, Literal, Number, Setting, Value};
use crate::source::{Span, Spanned};

/// A tree that has no canonical form, because part of it could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file cannot be formatted before it can be read")]
pub struct Broken {
    /// The first unreadable place.
    pub span: Span,
}

/// Values begin this many characters behind their key's first.
const VALUE_COLUMN: usize = 10;
/// Longer lists and blocks are broken into several lines.
const WIDTH: usize = 100;
const INDENT: &str = "  ";

/// Writes a tree in the canonical form.
pub fn format(file: &File) -> Result<String, Broken> {
    let mut out = String::new();
    entries(&file.entries, "", &mut out)?;
    Ok(out)
}

fn entries(entries: &[Entry], indent: &str, out: &mut String) -> Result<(), Broken> {
    for entry in entries {
        match entry {
            Entry::Blank => {}
            Entry::Junk(span) => return Err(Broken { span: *span }),
            Entry::Comment(comment) => out.push_str(&format!("{indent}{}", comment.value)),
            Entry::Setting(setting) => {
                out.push_str(indent);
                out.push_str(&setting_text(setting, indent)?);
                trailing(setting.comment.as_ref(), out);
            }
            Entry::Block(written) => block(written, indent, out)?,
        }
        out.push('\n');
    }
    Ok(())
}

fn trailing(comment: Option<&Spanned<String>>, out: &mut String) {
    if let Some(comment) = comment {
        out.push_str("  ");
        out.push_str(&comment.value);
    }
}

fn setting_text(setting: &Setting, indent: &str) -> Result<String, Broken> {
    let key = &setting.key.value;
    // The edition is a heading, not one setting among others.
    let width = if key == "sega" { 0 } else { VALUE_COLUMN - 1 };
    let column = format!("{key:<width$} ");
    Ok(format!("{column}{}", values(&setting.values, indent, indent.len() + column.len())?).trim_end().to_owned())
}

fn block(block: &Block, indent: &str, out: &mut String) -> Result<(), Broken> {
    if !block.closed {
        return Err(Broken { span: block.span });
    }
    let head = format!("{} {}", block.kind.value, values(&block.head, indent, WIDTH)?).trim_end().to_owned();
    out.push_str(indent);
    out.push_str(&head);
    let body = block.body.as_deref().unwrap_or_default();
    if !body.is_empty() || block.open_comment.is_some() {
        match one_line(block, body, indent)? {
            Some(line) if indent.len() + head.len() + line.len() <= WIDTH => out.push_str(&line),
            _ => {
                out.push_str(" {");
                trailing(block.open_comment.as_ref(), out);
                out.push('\n');
                entries(body, &format!("{indent}{INDENT}"), out)?;
                out.push_str(indent);
                out.push('}');
            }
        }
    }
    trailing(block.comment.as_ref(), out);
    Ok(())
}

/// The body of a block that is one plain setting.
fn one_line(block: &Block, body: &[Entry], indent: &str) -> Result<Option<String>, Broken> {
    match body {
        [Entry::Setting(setting)] if setting.comment.is_none() && block.open_comment.is_none() => {
            let text = format!("{} {}", setting.key.value, values(&setting.values, indent, 0)?);
            Ok((!text.contains('\n')).then(|| format!(" {{ {} }}", text.trim_end())))
        }
        _ => Ok(None),
    }
}

fn values(values: &[Value], indent: &str, column: usize) -> Result<String, Broken> {
    let texts: Result<Vec<String>, Broken> = values.iter().map(|one| value(one, indent, column)).collect();
    Ok(texts?.join(" "))
}

fn value(value: &Value, indent: &str, column: usize) -> Result<String, Broken> {
    let broken = Broken { span: value.span };
    let plain = |value: &Value| self::value(value, indent, column);
    Ok(match &value.value {
        Literal::Number(number) => canonical(number),
        Literal::Percent(number) => format!("{}%", canonical(number)),
        Literal::Size(width, height) => format!("{}x{}", canonical(width), canonical(height)),
        Literal::Range(from, to) => {
            let end = |end: &Option<Box<Value>>| end.as_deref().map_or(Ok(String::new()), plain);
            format!("{}..{}", end(from)?, end(to)?)
        }
        Literal::Sweep(from, to, by) => {
            let by = by.as_deref().map_or(Ok(String::new()), |by| plain(by).map(|by| format!(" by {by}")))?;
            format!("{} to {}{by}", plain(from)?, plain(to)?)
        }
        Literal::Word(word) => word.clone(),
        Literal::Text(text) if !text.closed || !text.bad_escapes.is_empty() => return Err(broken),
        Literal::Text(text) if text.block => {
            let line =
                |line: String| if line.is_empty() { "\n".to_owned() } else { format!("\n{indent}{INDENT}{line}") };
            let lines: String = block_lines(&text.content).into_iter().map(line).collect();
            format!("\"\"\"{lines}\n{indent}{INDENT}\"\"\"")
        }
        Literal::Text(text) => quoted(&text.content),
        Literal::List(items) => list(items, indent, column).map_err(|_| broken)?,
        Literal::Junk(_) => return Err(broken),
    })
}

fn list(list: &List, indent: &str, column: usize) -> Result<String, Broken> {
    if !list.closed {
        return Err(Broken { span: Span::default() });
    }
    let mut items = Vec::new();
    let mut has_comment = false;
    for item in &list.items {
        items.push(match item {
            ListItem::Value(item) => value(item, indent, column)?,
            ListItem::Comment(comment) => {
                has_comment = true;
                comment.value.clone()
            }
        });
    }
    let line = format!("[{}]", items.join(", "));
    if !has_comment && !line.contains('\n') && column + line.len() <= WIDTH {
        return Ok(line);
    }
    let mut out = String::from("[");
    for (item, text) in list.items.iter().zip(&items) {
        let comma = if matches!(item, ListItem::Value(_)) { "," } else { "" };
        out.push_str(&format!("\n{indent}{INDENT}{text}{comma}"));
    }
    out.push_str(&format!("\n{indent}]"));
    Ok(out)
}

/// A number without a needless sign, and with a digit before its point.
fn canonical(number: &Number) -> String {
    let (sign, digits) = match number.text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number.text.trim_start_matches('+')),
    };
    let zero = if digits.starts_with('.') { "0" } else { "" };
    format!("{sign}{zero}{digits}")
}
