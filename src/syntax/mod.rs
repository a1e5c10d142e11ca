//! A recipe as it is written: every byte of the text has its place in the tree, so that a broken file still has one.
//!
//! The grammar is permissive: it knows two shapes, `key value` and `kind [name] "text" { settings }`, and what numbers,
//! texts and lists look like. Which keys there are and what they may hold is the checker's business ([`crate::recipe`]).

pub mod changes;
pub mod format;
mod lower;
mod parse;
mod text;

pub use parse::parse;

use crate::source::{Span, Spanned};

/// A whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// What the file holds, in its order.
    pub entries: Vec<Entry>,
}

/// One thing in a file or in a block.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// `key value`.
    Setting(Setting),
    /// `kind [name] "text" { settings }`.
    Block(Block),
    /// A comment on a line of its own, from its `#` to the end of the line, without trailing blanks.
    Comment(Spanned<String>),
    /// One or more empty lines.
    Blank,
    /// Text that has neither shape.
    Junk(Span),
}

/// `key value`. A setting has one value; the tree also holds those with none or with several, for the checker to refuse.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The word before the value.
    pub key: Spanned<String>,
    /// The values, as many as were written.
    pub values: Vec<Value>,
    /// A comment after it on the same line.
    pub comment: Option<Spanned<String>>,
    /// From the key to the last value.
    pub span: Span,
}

/// `kind [name] "text" { settings }`. Every part may be missing or superfluous, for the checker to refuse.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// The word that it starts with.
    pub kind: Spanned<String>,
    /// What stands between the kind and the brace: a name and a text, if it is right.
    pub head: Vec<Value>,
    /// A comment after the opening brace on the same line.
    pub open_comment: Option<Spanned<String>>,
    /// What stands between the braces; `None` where there are no braces at all (`plus smile "smile"` means all defaults).
    pub body: Option<Vec<Entry>>,
    /// Whether the closing brace is there, or none is due.
    pub closed: bool,
    /// A comment after the closing brace on the same line.
    pub comment: Option<Spanned<String>>,
    /// From the kind to the closing brace.
    pub span: Span,
}

/// A value and its place.
pub type Value = Spanned<Literal>;

/// What a value can be, as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `5`, `-4`, `0.25`, `1e-3`.
    Number(Number),
    /// `95%`.
    Percent(Number),
    /// `128x192`.
    Size(Number, Number),
    /// `0..25`, `5..`, `..20`, `20%..80%`; the ends are numbers or percentages.
    Range(Option<Box<Value>>, Option<Box<Value>>),
    /// `1 to 9 by 2`: from, to (included where it is met), by (1 where missing).
    Sweep(Box<Value>, Box<Value>, Option<Box<Value>>),
    /// `[1, 2, 3]`, with the comments that stand in it.
    List(List),
    /// `ddim`, `dpmpp-2m`, `yes`.
    Word(String),
    /// `"text"` or `"""text"""`, with its escapes resolved.
    Text(Text),
    /// Something that is none of these, as written.
    Junk(String),
}

/// A number as written; equality compares values.
#[derive(Debug, Clone)]
pub struct Number {
    /// The characters.
    pub text: String,
    /// Their value; not finite where the text is too large for `f64`.
    pub value: f64,
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.integer() == other.integer()
    }
}

impl Number {
    /// The exact value of an unsigned whole number (seeds need all 64 bits, which `f64` does not have).
    pub fn integer(&self) -> Option<u64> {
        self.text.parse().ok()
    }
}

/// A list's items.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    /// Items and comments in their order.
    pub items: Vec<ListItem>,
    /// Whether the closing bracket is there.
    pub closed: bool,
}

/// One thing in a list.
#[derive(Debug, Clone, PartialEq)]
pub enum ListItem {
    /// A value.
    Value(Value),
    /// A comment.
    Comment(Spanned<String>),
}

/// A string.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// What it says: escapes resolved; in `"""` strings without the common indentation, a first line break and a last line
    /// of blanks.
    pub content: String,
    /// Whether it is written with three quotes.
    pub block: bool,
    /// Whether the closing quotes are there.
    pub closed: bool,
    /// Where a backslash begins no known escape; the content has its characters as they are.
    pub bad_escapes: Vec<Span>,
}
