//! Diagnostics as people and programs read them.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use serde_json::{Value, json};

use super::{Diagnostic, Severity};
use crate::source::Source;

/// More than so many mistakes are counted, not shown: such a file is hardly a recipe.
const SHOWN: usize = 200;

/// The diagnostics with the lines that they speak of, for a terminal of `width` columns.
pub fn render(diagnostics: &[Diagnostic], source: &Source, color: bool, width: usize) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    let named = NamedSource::new(&source.name, source.text.clone());
    let mut out = String::new();
    for diagnostic in diagnostics.iter().take(SHOWN) {
        let shown = Shown { diagnostic, source: &named };
        if handler.render_report(&mut out, &shown).is_err() {
            // A place that cannot be shown must not hide the mistake.
            out.push_str(&format!("{}: {}\n", diagnostic.code, diagnostic.message));
        }
        out.push('\n');
    }
    if diagnostics.len() > SHOWN {
        out.push_str(&format!("... and {} more\n", diagnostics.len() - SHOWN));
    }
    out
}

/// The diagnostics as JSON. Offsets count bytes; lines and columns begin at 1, columns count characters.
pub fn json(diagnostics: &[Diagnostic], source: &Source) -> Vec<Value> {
    let places = source.places();
    let position = |offset| {
        let (line, column) = places.line_column(offset);
        json!({ "offset": offset, "line": line, "column": column })
    };
    let of_one = |diagnostic: &Diagnostic| {
        let labels = diagnostic.labels.iter().map(
            |label| json!({ "start": position(label.span.start), "end": position(label.span.end), "text": label.text }),
        );
        json!({
            "file": source.name,
            "severity": diagnostic.code.severity().name(),
            "code": diagnostic.code.as_str(),
            "message": diagnostic.message,
            "help": diagnostic.help,
            "labels": labels.collect::<Vec<_>>(),
        })
    };
    diagnostics.iter().map(of_one).collect()
}

#[derive(Debug)]
struct Shown<'a> {
    diagnostic: &'a Diagnostic,
    source: &'a NamedSource<String>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.code.severity() {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.diagnostic.labels.iter().enumerate().map(|(index, label)| {
            let text = (!label.text.is_empty()).then(|| label.text.clone());
            let span = (label.span.start, label.span.end - label.span.start);
            if index == 0 {
                LabeledSpan::new_primary_with_span(text, span)
            } else {
                LabeledSpan::new_with_span(text, span)
            }
        });
        Some(Box::new(labels))
    }
}
