//! The canonical form of a recipe. There are no options.
//!
//! - Values start at one column: ten further than their key, or one blank behind a longer key and behind `sega`.
//! - A setting has a line of its own, a body is indented by two. A block whose body is one setting without a comment stands on
//!   one line where that has at most 100 characters; a body without anything is `{}`.
//! - A list without comments stands on one line within the same limit; other lists have an item on each line, with commas.
//! - Comments keep their places, two blanks behind what they follow. Runs of empty lines become one; none stands at the start
//!   or the end of a file or body, none is added.
//! - Strings are escaped where they must be, `"""` strings indented with their setting; numbers lose a leading `+` and get
//!   a `0` before a leading point. Lines end in `\n`.

use super::{Block, Entry, File, List, ListItem, Literal, Number, Setting, Value, text};
use crate::source::{Source, Span, Spanned};

/// The longest line on which a list or a block with one setting is put, in characters.
const WIDTH: usize = 100;
/// How much further than its key a value starts.
const VALUE_COLUMN: usize = 10;
/// How much a body, a list's items and a string's lines are indented.
const INDENT: usize = 2;

/// The text has a part that is no setting and no block, or that has no end or no value; it is not formatted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a recipe that cannot be read is not formatted: correct the mistakes that `sega check` shows first")]
pub struct Broken {
    /// The first such part.
    pub span: Span,
}

/// The canonical form of the tree that [`parse`](super::parse()) made of a source. It has the same tree but for empty lines
/// and places, and is its own canonical form.
pub fn format(file: &File, source: &Source) -> Result<String, Broken> {
    match file.entries.iter().find_map(broken_entry) {
        Some(span) => Err(Broken { span }),
        None => {
            let mut writer = Writer { source, out: String::with_capacity(source.text.len()), column: 0 };
            writer.entries(&file.entries, 0);
            Ok(writer.out)
        }
    }
}

/// The first broken part of an entry.
fn broken_entry(entry: &Entry) -> Option<Span> {
    match entry {
        Entry::Junk(span) => Some(*span),
        Entry::Setting(setting) if setting.values.is_empty() => Some(setting.span),
        Entry::Setting(setting) => setting.values.iter().find_map(broken_value),
        Entry::Block(block) => (block.head.iter().find_map(broken_value))
            .or_else(|| block.body.iter().flatten().find_map(broken_entry))
            .or_else(|| (!block.closed).then_some(block.span)),
        Entry::Comment(_) | Entry::Blank => None,
    }
}

/// The first broken part of a value.
fn broken_value(value: &Value) -> Option<Span> {
    match &value.value {
        Literal::List(list) => {
            let inner = list.items.iter().find_map(|item| match item {
                ListItem::Value(value) => broken_value(value),
                ListItem::Comment(_) => None,
            });
            inner.or_else(|| (!list.closed).then_some(value.span))
        }
        Literal::Text(text) if !text.closed => Some(value.span),
        Literal::Text(text) => text.bad_escapes.first().copied(),
        Literal::Junk(_) => Some(value.span),
        _ => None,
    }
}

/// What has been written, and in which column the next character goes.
struct Writer<'a> {
    source: &'a Source,
    out: String,
    column: usize,
}

impl Writer<'_> {
    /// Writes a part of a line, or text with lines of its own.
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        match text.rsplit_once('\n') {
            Some((_, last)) => self.column = last.chars().count(),
            None => self.column += text.chars().count(),
        }
    }

    /// Writes blanks.
    fn blanks(&mut self, count: usize) {
        self.out.extend(std::iter::repeat_n(' ', count));
        self.column += count;
    }

    /// Ends the line, with its comment.
    fn end_line(&mut self, comment: Option<&Spanned<String>>) {
        if let Some(comment) = comment {
            self.put("  ");
            self.put(&comment.value);
        }
        self.put("\n");
    }

    /// Writes the entries of a file or body, each on lines of its own.
    fn entries(&mut self, entries: &[Entry], indent: usize) {
        let mut blank = false;
        for (at, entry) in entries.iter().enumerate() {
            if matches!(entry, Entry::Blank) {
                blank = at > 0;
                continue;
            }
            if std::mem::take(&mut blank) {
                self.put("\n");
            }
            self.blanks(indent);
            match entry {
                Entry::Setting(setting) => {
                    self.setting(setting, indent);
                    self.end_line(setting.comment.as_ref());
                }
                Entry::Block(block) => {
                    self.block(block, indent);
                    self.end_line(block.comment.as_ref());
                }
                Entry::Comment(comment) => {
                    self.put(&comment.value);
                    self.put("\n");
                }
                Entry::Blank | Entry::Junk(_) => {}
            }
        }
    }

    /// Writes a key and its values.
    fn setting(&mut self, setting: &Setting, indent: usize) {
        self.put(&setting.key.value);
        // The edition is a heading, not one setting among others: its number stands beside it.
        if setting.key.value != "sega" {
            self.blanks((VALUE_COLUMN - 1).saturating_sub(setting.key.value.chars().count()));
        }
        self.values(&setting.values, indent);
    }

    /// Writes values, each with a blank before it.
    fn values(&mut self, values: &[Value], indent: usize) {
        for value in values {
            self.put(" ");
            self.value(value, indent);
        }
    }

    /// Writes a block up to its brace.
    fn block(&mut self, block: &Block, indent: usize) {
        self.put(&block.kind.value);
        self.values(&block.head, indent);
        let Some(body) = &block.body else { return };
        let mut filled = body.iter().filter(|entry| !matches!(entry, Entry::Blank));
        self.put(" {");
        match (filled.next(), filled.next(), &block.open_comment) {
            (None, _, None) => return self.put("}"),
            (Some(Entry::Setting(setting)), None, None) if self.setting_in_line(setting, indent) => return,
            _ => {}
        }
        self.end_line(block.open_comment.as_ref());
        self.entries(body, indent + INDENT);
        self.blanks(indent);
        self.put("}");
    }

    /// Writes ` key value }`, if it has no comment and fits.
    fn setting_in_line(&mut self, setting: &Setting, indent: usize) -> bool {
        if setting.comment.is_some() {
            return false;
        }
        let (length, column) = (self.out.len(), self.column);
        self.put(" ");
        self.put(&setting.key.value);
        self.values(&setting.values, indent);
        self.put(" }");
        let fits = self.column <= WIDTH && !self.out[length..].contains('\n');
        if !fits {
            self.out.truncate(length);
            self.column = column;
        }
        fits
    }

    /// Writes a value on a line that is indented by `indent`.
    fn value(&mut self, value: &Value, indent: usize) {
        match &value.value {
            Literal::List(list) => {
                if !self.list_in_line(list, indent) {
                    self.list(list, indent, value.span);
                }
            }
            Literal::Text(text) if text.block => self.put(&text::quote_block(&text.content, indent + INDENT)),
            simple => self.simple(simple),
        }
    }

    /// Writes a value that is always on one line.
    fn simple(&mut self, literal: &Literal) {
        match literal {
            Literal::Number(number) => self.number(number),
            Literal::Percent(number) => {
                self.number(number);
                self.put("%");
            }
            Literal::Size(width, height) => {
                self.number(width);
                self.put("x");
                self.number(height);
            }
            Literal::Range(low, high) => {
                low.iter().for_each(|low| self.simple(&low.value));
                self.put("..");
                high.iter().for_each(|high| self.simple(&high.value));
            }
            Literal::Sweep(from, to, by) => {
                self.simple(&from.value);
                self.put(" to ");
                self.simple(&to.value);
                if let Some(by) = by {
                    self.put(" by ");
                    self.simple(&by.value);
                }
            }
            Literal::Word(word) => self.put(word),
            Literal::Text(text) => self.put(&text::quote(&text.content)),
            // `format` has refused junk, and `value` takes lists.
            Literal::Junk(_) | Literal::List(_) => {}
        }
    }

    /// Writes a number, without `+` and with a digit before its point.
    fn number(&mut self, number: &Number) {
        let digits = match number.text.strip_prefix('-') {
            Some(digits) => {
                self.put("-");
                digits
            }
            None => number.text.trim_start_matches('+'),
        };
        if digits.starts_with('.') {
            self.put("0");
        }
        self.put(digits);
    }

    /// Writes a list on one line, if it has no comment and fits.
    fn list_in_line(&mut self, list: &List, indent: usize) -> bool {
        let (length, column) = (self.out.len(), self.column);
        let mut fits = true;
        self.put("[");
        for (at, item) in list.items.iter().enumerate() {
            let ListItem::Value(value) = item else {
                fits = false;
                break;
            };
            if at > 0 {
                self.put(", ");
            }
            let item_start = self.out.len();
            self.value(value, indent);
            fits = self.column < WIDTH && !self.out[item_start..].contains('\n');
            if !fits {
                break;
            }
        }
        self.put("]");
        if !fits {
            self.out.truncate(length);
            self.column = column;
        }
        fits
    }

    /// Writes a list with an item on each line.
    fn list(&mut self, list: &List, indent: usize, span: Span) {
        self.put("[");
        // Where the thing before a comment ended.
        let mut last = span.start;
        for item in &list.items {
            match item {
                ListItem::Value(value) => {
                    self.put("\n");
                    self.blanks(indent + INDENT);
                    self.value(value, indent + INDENT);
                    self.put(",");
                    last = value.span.end;
                }
                ListItem::Comment(comment) => {
                    if self.source.slice(Span::new(last, comment.span.start)).contains('\n') {
                        self.put("\n");
                        self.blanks(indent + INDENT);
                    } else {
                        self.put("  ");
                    }
                    self.put(&comment.value);
                    last = comment.span.end;
                }
            }
        }
        self.put("\n");
        self.blanks(indent);
        self.put("]");
    }
}
