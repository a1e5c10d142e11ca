//! A tree in a few lines, for snapshots and for comparing what two texts mean.

use std::fmt::Write;

use sega::source::{Source, Span, Spanned};
use sega::syntax::{Entry, File, ListItem, Literal, Number, Value};

/// The tree as it means: without places and empty lines.
pub(crate) fn meaning(file: &File) -> String {
    outline(file, None)
}

/// The tree with empty lines and with places as `line:column-line:column`.
pub(crate) fn with_places(file: &File, source: &Source) -> String {
    outline(file, Some(source))
}

/// All comments in their order.
pub(crate) fn comments(file: &File) -> Vec<String> {
    let outline = meaning(file);
    outline.lines().filter_map(|line| line.trim_start().strip_prefix("comment ")).map(str::to_owned).collect()
}

fn outline(file: &File, source: Option<&Source>) -> String {
    let mut writer = Writer { source, out: String::new() };
    writer.entries(&file.entries, 0);
    writer.out
}

struct Writer<'a> {
    source: Option<&'a Source>,
    out: String,
}

impl Writer<'_> {
    fn line(&mut self, depth: usize, text: &str, span: Option<Span>) {
        write!(self.out, "{:width$}{text}", "", width = 2 * depth).unwrap();
        if let (Some(source), Some(span)) = (self.source, span) {
            let ((from_line, from), (to_line, to)) =
                (line_column(&source.text, span.start), line_column(&source.text, span.end));
            write!(self.out, "  @{from_line}:{from}-{to_line}:{to}").unwrap();
        }
        self.out.push('\n');
    }

    fn comment(&mut self, depth: usize, comment: Option<&Spanned<String>>) {
        if let Some(comment) = comment {
            self.line(depth, &format!("comment {}", comment.value.escape_debug()), Some(comment.span));
        }
    }

    fn entries(&mut self, entries: &[Entry], depth: usize) {
        for entry in entries {
            match entry {
                Entry::Blank if self.source.is_none() => {}
                Entry::Blank => self.line(depth, "blank", None),
                Entry::Comment(comment) => {
                    self.line(depth, "own line", None);
                    self.comment(depth, Some(comment));
                }
                Entry::Junk(span) => self.line(depth, "junk", Some(*span)),
                Entry::Setting(setting) => {
                    self.line(depth, &format!("setting {}", setting.key.value), Some(setting.span));
                    self.values(&setting.values, depth + 1);
                    self.comment(depth + 1, setting.comment.as_ref());
                }
                Entry::Block(block) => {
                    self.line(depth, &format!("block {}", block.kind.value), Some(block.span));
                    self.values(&block.head, depth + 1);
                    if let Some(body) = &block.body {
                        self.line(depth, "{", None);
                        self.comment(depth + 1, block.open_comment.as_ref());
                        self.entries(body, depth + 1);
                        self.line(depth, if block.closed { "}" } else { "unclosed" }, None);
                    }
                    self.comment(depth + 1, block.comment.as_ref());
                }
            }
        }
    }

    fn values(&mut self, values: &[Value], depth: usize) {
        for value in values {
            let Literal::List(list) = &value.value else {
                self.line(depth, &simple(&value.value), Some(value.span));
                continue;
            };
            self.line(depth, "list", Some(value.span));
            for item in &list.items {
                match item {
                    ListItem::Value(value) => self.values(std::slice::from_ref(value), depth + 1),
                    ListItem::Comment(comment) => self.comment(depth + 1, Some(comment)),
                }
            }
            self.line(depth, if list.closed { "end" } else { "unclosed" }, None);
        }
    }
}

fn simple(literal: &Literal) -> String {
    let end = |end: &Option<Box<Value>>| end.as_ref().map_or("-".to_owned(), |end| simple(&end.value));
    match literal {
        Literal::Number(value) => format!("number {}", number(value)),
        Literal::Percent(value) => format!("percent {}", number(value)),
        Literal::Size(width, height) => format!("size {} {}", number(width), number(height)),
        Literal::Range(low, high) => format!("range {} .. {}", end(low), end(high)),
        Literal::Sweep(from, to, by) => {
            format!("sweep {} to {} by {}", simple(&from.value), simple(&to.value), end(by))
        }
        Literal::Word(word) => format!("word {word}"),
        Literal::Text(text) => {
            let block = if text.block { " block" } else { "" };
            let closed = if text.closed { "" } else { " unclosed" };
            let bad = if text.bad_escapes.is_empty() { "" } else { " bad escapes" };
            format!("text{block}{closed}{bad} {:?}", text.content)
        }
        Literal::Junk(junk) => format!("junk {junk:?}"),
        Literal::List(_) => unreachable!("lists have lines of their own"),
    }
}

fn number(number: &Number) -> String {
    match number.integer() {
        Some(integer) => format!("{integer}"),
        None => format!("{:?}", number.value),
    }
}

/// Line and column of a byte offset, both from 1; columns count characters.
pub(crate) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
