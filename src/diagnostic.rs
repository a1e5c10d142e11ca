//! What is wrong with a recipe: code, message, places, repair. The only module that knows how a terminal shows it.

mod code;
mod show;

pub use code::{Code, Severity};
pub use show::{json, render};

use crate::source::Span;

/// A place and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What stands there, in a few words; may be empty.
    pub text: String,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The stable code; `sega explain CODE` says more.
    pub code: Code,
    /// The mistake in one line, in lower case, literals in back-ticks.
    pub message: String,
    /// Where; the first is the place that editors mark.
    pub labels: Vec<Label>,
    /// The repair.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A mistake at one place.
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), labels: vec![Label { span, text: String::new() }], help: None }
    }

    /// The same with words at its place.
    #[must_use]
    pub fn labelled(mut self, text: impl Into<String>) -> Self {
        if let Some(label) = self.labels.first_mut() {
            label.text = text.into();
        }
        self
    }

    /// The same with another place.
    #[must_use]
    pub fn also_at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// The same with its repair.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The place that editors mark.
    pub fn span(&self) -> Span {
        self.labels.first().map(|label| label.span).unwrap_or_default()
    }
}
