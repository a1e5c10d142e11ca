//! The text of a recipe and places in it.

/// The text of a recipe with the name under which messages speak of it.
#[derive(Debug, Clone)]
pub struct Source {
    /// A file's path as the user wrote it, or a description such as `<stdin>`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// A source from its name and text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// The text that a span covers; empty where the span lies outside or cuts a character.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// An index of the text's lines.
    pub fn places(&self) -> Places<'_> {
        Places::new(&self.text)
    }
}

/// An index of the lines and columns of a text, so that a place costs the same wherever it lies.
#[derive(Debug, Clone)]
pub struct Places<'a> {
    text: &'a str,
    /// Where the lines begin.
    starts: Vec<usize>,
    /// How many characters begin before each multiple of [`STRIDE`] bytes: a text may be a single very long line.
    characters: Vec<usize>,
}

/// Bytes between two entries of [`Places::characters`].
const STRIDE: usize = 256;

impl<'a> Places<'a> {
    /// The index of a text.
    pub fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut characters = vec![0];
        let mut count = 0;
        for chunk in text.as_bytes().chunks(STRIDE) {
            count += characters_in(chunk);
            characters.push(count);
        }
        Self { text, starts, characters }
    }

    /// Line and column of a byte offset, both from 1; columns count characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|&start| start <= offset);
        (line, self.characters_before(offset) - self.characters_before(self.starts[line - 1]) + 1)
    }

    /// Where a line (from 1) begins and where it ends, its line break not included.
    pub fn line(&self, line: usize) -> Span {
        let start = self.starts[line - 1];
        let end = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        let end = if self.text[start..end].ends_with('\r') { end - 1 } else { end };
        Span::new(start, end)
    }

    /// How many characters begin before an offset.
    fn characters_before(&self, offset: usize) -> usize {
        let stride = offset / STRIDE;
        self.characters[stride] + characters_in(&self.text.as_bytes()[stride * STRIDE..offset])
    }
}

/// How many characters begin in some bytes of UTF-8.
fn characters_in(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// A half-open range of bytes in a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes `start..end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span::new(self.start.min(other.start), self.end.max(other.end))
    }
}

/// A value and where it was written. Place is not identity: equality ignores the span.
#[derive(Debug, Clone, Copy)]
pub struct Spanned<T> {
    /// What was written.
    pub value: T,
    /// Where.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// A value at its place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}
