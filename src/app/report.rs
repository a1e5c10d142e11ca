//! What the user sees. The only file that prints.

use std::io::{IsTerminal, Write};
#[cfg(feature = "engine")]
use std::time::Duration;

#[cfg(feature = "engine")]
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::diagnostic::{self, Diagnostics};
use crate::source::Source;

/// The version of the JSON documents; it grows when a field changes its meaning or goes away.
const FORMAT_VERSION: u32 = 1;

/// Collects what a command has to say: text as it comes, or one JSON document at the end.
#[derive(Debug)]
pub(super) struct Report {
    document: Option<Map<String, Value>>,
    color: bool,
}

impl Report {
    /// A report of `command`.
    pub(super) fn new(command: &str, json: bool) -> Self {
        let document = json.then(|| {
            let mut document = Map::new();
            document.insert("format_version".into(), json!(FORMAT_VERSION));
            document.insert("command".into(), json!(command));
            document
        });
        let color =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { document, color }
    }

    /// A result, to the standard output.
    pub(super) fn text(&mut self, text: &str) {
        if self.document.is_none() {
            write_whole(&mut std::io::stdout(), text);
        }
    }

    /// A remark, to the standard error.
    pub(super) fn remark(&mut self, text: &str) {
        if self.document.is_none() {
            write_whole(&mut std::io::stderr(), &format!("{text}\n"));
        }
    }

    /// Something that the user probably did not mean.
    #[cfg(feature = "engine")]
    pub(super) fn warning(&mut self, text: &str) {
        self.item("warnings", || json!(text));
        self.remark(&format!("warning: {text}"));
    }

    /// A field of the JSON document.
    pub(super) fn field(&mut self, key: &str, value: impl FnOnce() -> Value) {
        if let Some(document) = &mut self.document {
            document.insert(key.into(), value());
        }
    }

    /// An item of a list in the JSON document.
    pub(super) fn item(&mut self, key: &str, value: impl FnOnce() -> Value) {
        if let Some(document) = &mut self.document {
            let list = document.entry(key).or_insert_with(|| json!([]));
            if let Value::Array(items) = list {
                items.push(value());
            }
        }
    }

    /// Mistakes in a recipe.
    pub(super) fn diagnostics(&mut self, source: &Source, diagnostics: &Diagnostics) {
        if self.document.is_some() {
            if let Value::Array(all) = diagnostic::to_json(diagnostics, source) {
                for mut value in all {
                    value["file"] = json!(source.name);
                    self.item("diagnostics", || value);
                }
            }
        } else {
            let text = diagnostic::render(diagnostics, source, self.color, terminal_width());
            write_whole(&mut std::io::stderr(), &format!("{text}\n"));
        }
    }

    /// A failure, with the causes that lie beneath it.
    pub(super) fn failure(&mut self, error: &(dyn std::error::Error + 'static)) {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some libraries repeat their cause in their own message.
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        self.field("error", || json!(message.clone()));
        self.remark(&format!("error: {message}"));
    }

    /// A bar for so many steps; a line where nobody watches a terminal.
    #[cfg(feature = "engine")]
    pub(super) fn progress(&mut self, label: &str, steps: usize) -> ProgressBar {
        let bar = ProgressBar::new(steps as u64);
        if self.document.is_some() || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            self.remark(&format!("rendering {label}: {steps} steps"));
            return bar;
        }
        let template = "{prefix} {bar:30} step {pos}/{len}, {steps_per_second}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key(
                "steps_per_second",
                |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                    // A bar that cannot be written to is not worth an error.
                    let _ = write!(out, "{}", steps_per_second(state.per_sec()));
                },
            ));
        }
        bar.set_prefix(label.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// Prints the JSON document, if that is what was asked for.
    pub(super) fn finish(self, exit_code: u8) {
        if let Some(mut document) = self.document {
            document.insert("exit_code".into(), json!(exit_code));
            write_whole(&mut std::io::stdout(), &format!("{:#}\n", Value::Object(document)));
        }
    }
}

/// A rate in words.
#[cfg(feature = "engine")]
pub(super) fn steps_per_second(rate: f64) -> String {
    if rate >= 10.0 { format!("{rate:.0} steps/s") } else { format!("{rate:.2} steps/s") }
}

fn terminal_width() -> usize {
    const USUAL: usize = 100;
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(USUAL).clamp(40, 160)
}

/// Writes to a stream whose reader may have gone away (`sega plan x | head`): that is no failure of ours.
fn write_whole(stream: &mut dyn Write, text: &str) {
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}
