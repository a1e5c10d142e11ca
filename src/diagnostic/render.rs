//! Diagnostics for people (by miette) and for programs (as JSON).

use std::borrow::Cow;
use std::fmt;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan,
    SpanContents, ThemeCharacters, ThemeStyles,
};
use serde_json::{Value, json};

use super::{Diagnostic, Diagnostics, Label, Severity};
use crate::source::{Places, Source, Span};

/// More diagnostics than this are counted, not shown: nobody reads them.
const MOST_SHOWN: usize = 100;

/// Longer lines are shown only this many bytes around the place that is meant.
const CONTEXT: usize = 200;

/// The diagnostics as a terminal shows them: code, message, the lines with carets, the repair; an empty line between
/// two, and of very many only the first. Lines of prose are wrapped at `width` columns. Control characters of the source never reach the terminal.
pub fn render(diagnostics: &Diagnostics, source: &Source, color: bool, width: usize) -> String {
    let styles = if color { ThemeStyles::ansi() } else { ThemeStyles::none() };
    let theme = GraphicalTheme { characters: ThemeCharacters::unicode(), styles };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    // With a line break at the end even the end of the file is on a line that can be shown.
    let text = format!("{}\n", harmless(&source.text));
    let shown = Shown { name: harmless(&source.name).into_owned(), places: Places::new(&text), text: &text };
    let mut out = String::new();
    for (at, diagnostic) in diagnostics.iter().take(MOST_SHOWN).enumerate() {
        if at > 0 {
            out.push('\n');
        }
        let report = Report::new(diagnostic, &shown);
        let start = out.len();
        if handler.render_report(&mut out, &report).is_err() {
            // Cannot happen with a source that answers every span; the message must reach the user all the same.
            out.truncate(start);
            out.push_str(&format!("{}: {}\n", diagnostic.code, report.message));
        }
    }
    if let Some(more @ 1..) = diagnostics.as_slice().len().checked_sub(MOST_SHOWN) {
        out.push_str(&format!("\nand {more} more, which `--json` lists: correct these first\n"));
    }
    out.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

/// The diagnostics as a JSON array of `{severity, code, message, help, labels}`; the first label is the place itself.
/// Offsets `start` and `end` count bytes from 0; lines and columns count from 1, columns in characters.
pub fn to_json(diagnostics: &Diagnostics, source: &Source) -> Value {
    let places = source.places();
    let label = |label: &Label| {
        let (line, column) = places.line_column(label.span.start);
        let (end_line, end_column) = places.line_column(label.span.end);
        json!({
            "start": label.span.start, "end": label.span.end,
            "line": line, "column": column, "end_line": end_line, "end_column": end_column,
            "text": label.text,
        })
    };
    let one = |diagnostic: &Diagnostic| {
        json!({
            "severity": diagnostic.severity().name(),
            "code": diagnostic.code.as_str(),
            "message": diagnostic.message,
            "help": diagnostic.help,
            "labels": diagnostic.labels.iter().map(label).collect::<Vec<_>>(),
        })
    };
    Value::Array(diagnostics.iter().map(one).collect())
}

/// A source as miette asks for it: only the lines of a place, and of very long lines only the surroundings.
struct Shown<'a> {
    name: String,
    places: Places<'a>,
    text: &'a str,
}

impl Shown<'_> {
    /// The part of a span that is marked: what lies on its first line.
    fn mark(&self, span: Span) -> SourceSpan {
        let start = self.text.floor_char_boundary(span.start);
        let line_end = self.places.line(self.places.line_column(start).0).end;
        let end = self.text.floor_char_boundary(span.end.min(line_end).min(start + CONTEXT));
        (start, end.saturating_sub(start)).into()
    }
}

impl Shown<'_> {
    /// Whether two places can be shown together: miette joins places on near lines and shows all that lies between
    /// them, which must not be more than a reader sees (and than its columns, 16 bits wide, can count).
    fn can_mark_both(&self, a: Span, b: Span) -> bool {
        let line = |span: Span| self.places.line_column(span.start).0;
        let both = a.to(b);
        line(a).abs_diff(line(b)) > 3 || both.end - both.start <= 4 * CONTEXT
    }
}

impl SourceCode for Shown<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        _lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text = self.text;
        let offset = text.floor_char_boundary(span.offset());
        let span_end = text.floor_char_boundary(span.offset() + span.len()).max(offset);
        let first = self.places.line_column(offset).0;
        let last = self.places.line_column(span_end).0;
        // Without lines before it miette asks for the place alone, to name it.
        let start = if lines_before == 0 {
            offset
        } else {
            self.places.line(first).start.max(text.floor_char_boundary(offset.saturating_sub(CONTEXT)))
        };
        // The line break belongs to the line, so that a place at its end is shown.
        let line_end = text.len().min(self.places.line(last).end + 1);
        let end = text.floor_char_boundary(line_end).min(text.ceil_char_boundary(span_end + CONTEXT)).max(start);
        // Counted one line longer than they are, so that places on lines with one between them are shown together.
        let lines = last - first + 2;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            &text.as_bytes()[start..end],
            (start, end - start).into(),
            first - 1,
            self.places.line_column(start).1 - 1,
            lines,
        )))
    }
}

/// A diagnostic as miette asks for it.
#[derive(Debug)]
struct Report<'a> {
    diagnostic: &'a Diagnostic,
    message: String,
    shown: &'a Shown<'a>,
}

impl<'a> Report<'a> {
    fn new(diagnostic: &'a Diagnostic, shown: &'a Shown<'a>) -> Self {
        Self { diagnostic, message: harmless(&diagnostic.message).into_owned(), shown }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(format!("{}[{}]", self.diagnostic.severity().name(), self.diagnostic.code)))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity() {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.diagnostic.help.as_deref()?;
        Some(Box::new(harmless(help)))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.shown)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (primary, others) = self.diagnostic.labels.split_first()?;
        let (mut marked, mut told) = (vec![primary], String::new());
        for other in others {
            if marked.iter().all(|label| self.shown.can_mark_both(label.span, other.span)) {
                marked.push(other);
            } else {
                let (line, column) = self.shown.places.line_column(other.span.start);
                told.push_str(&format!(" ({}: line {line}, column {column})", other.text));
            }
        }
        let text = |label: &Label| Some(harmless(&label.text).into_owned());
        let first = Some(harmless(&(primary.text.clone() + &told)).into_owned());
        let first = LabeledSpan::new_primary_with_span(first, self.shown.mark(primary.span));
        let rest: Vec<_> = (marked[1..].iter())
            .map(|label| LabeledSpan::new_with_span(text(label), self.shown.mark(label.span)))
            .collect();
        Some(Box::new(std::iter::once(first).chain(rest)))
    }
}

/// The text with every character that could steer a terminal or reorder the line replaced by one of the same length in
/// bytes, so that places stay what they are.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let steers = |char: char| {
        (char.is_control() && !matches!(char, '\t' | '\n' | '\r'))
            || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let lone_return = |rest: &str| !rest.starts_with("\r\n");
    if !text.chars().any(|char| steers(char) || char == '\r') {
        return Cow::Borrowed(text);
    }
    let replace = |(at, char): (usize, char)| match char {
        '\r' if lone_return(&text[at..]) => '?',
        char if steers(char) => match char.len_utf8() {
            1 => '?',
            2 => '\u{b7}',
            _ => '\u{fffd}',
        },
        char => char,
    };
    Cow::Owned(text.char_indices().map(replace).collect())
}
