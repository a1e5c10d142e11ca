//! What is wrong with a recipe: code, message, places, repair. The only file that knows how a terminal shows it.

use crate::source::Span;

/// How grave a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The recipe cannot be run.
    Error,
    /// The recipe can be run; it probably does not mean what its author thinks.
    Warning,
}

/// A place and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What stands there, in a few words.
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
