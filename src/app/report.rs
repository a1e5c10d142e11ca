//! What the user sees. The only file that prints.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex};
#[cfg(any(feature = "engine", feature = "hub"))]
use std::time::Duration;

#[cfg(any(feature = "engine", feature = "hub"))]
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::diagnostic::{self, Diagnostics, harmless};
#[cfg(feature = "hub")]
use crate::model::hub::Progress;
use crate::source::Source;

/// The version of the JSON documents; it grows when a field changes its meaning or goes away.
const FORMAT_VERSION: u32 = 1;

/// Collects what a command has to say: text as it comes, or one JSON document at the end.
#[derive(Debug, Clone)]
pub(super) struct Report {
    /// Shared by all clones, and gone when it has been printed.
    document: Option<Arc<Mutex<Map<String, Value>>>>,
    /// Why the standard output could not be written to.
    unwritten: Option<String>,
    color: bool,
    /// Whether the JSON comes as one line an event.
    lines: bool,
}

impl Report {
    /// A report of `command`.
    pub(super) fn new(command: &str, json: bool) -> Self {
        let document = json.then(|| {
            let mut document = Map::new();
            document.insert("format_version".into(), json!(FORMAT_VERSION));
            document.insert("command".into(), json!(command));
            Arc::new(Mutex::new(document))
        });
        let color =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { document, unwritten: None, color, lines: false }
    }

    /// Makes JSON come as one line an event instead of one document.
    #[cfg(feature = "watch")]
    pub(super) fn by_lines(&mut self) {
        self.lines = true;
    }

    /// Something that has happened, as a line of JSON, if that is what was asked for; says whether it was.
    #[cfg(feature = "watch")]
    pub(super) fn event(&mut self, event: &str, fields: Value) -> bool {
        let Some(Ok(document)) = self.document.as_ref().map(|document| document.lock()) else { return false };
        let mut line = document.clone();
        drop(document);
        line.insert("event".into(), json!(event));
        if let Value::Object(fields) = fields {
            line.extend(fields);
        }
        self.print(&format!("{}\n", Value::Object(line)));
        true
    }

    /// Whether what is said goes to a terminal, in words.
    #[cfg(feature = "watch")]
    pub(super) fn shows_on_terminal(&self) -> bool {
        self.document.is_none() && std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
    }

    /// A result, to the standard output. Nothing in it can steer a terminal.
    pub(super) fn text(&mut self, text: &str) {
        self.output(&harmless(text));
    }

    /// A result that is a file's text, to the standard output as it is.
    pub(super) fn output(&mut self, text: &str) {
        if self.document.is_none() {
            self.print(text);
        }
    }

    /// Writes to the standard output and remembers what went wrong with that.
    fn print(&mut self, text: &str) {
        if let Err(error) = write_whole(&mut std::io::stdout(), text) {
            self.unwritten.get_or_insert(error.to_string());
        }
    }

    /// A remark, to the standard error.
    pub(super) fn remark(&mut self, text: &str) {
        if self.document.is_none() {
            // Where the standard error cannot be written to, nobody can be told.
            let _ = write_whole(&mut std::io::stderr(), &format!("{}\n", harmless(text)));
        }
    }

    /// Something that the user probably did not mean.
    pub(super) fn warning(&mut self, text: &str) {
        self.item("warnings", || json!(text));
        self.remark(&format!("warning: {text}"));
    }

    /// A field of the JSON document.
    pub(super) fn field(&mut self, key: &str, value: impl FnOnce() -> Value) {
        if let Some(Ok(mut document)) = self.document.as_ref().map(|document| document.lock()) {
            document.insert(key.into(), value());
        }
    }

    /// An item of a list in the JSON document.
    pub(super) fn item(&mut self, key: &str, value: impl FnOnce() -> Value) {
        if let Some(Ok(mut document)) = self.document.as_ref().map(|document| document.lock()) {
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
            let _ = write_whole(&mut std::io::stderr(), &format!("{text}\n"));
        }
    }

    /// A failure, with the causes that lie beneath it.
    pub(super) fn failure(&mut self, error: &(dyn std::error::Error + 'static)) {
        let message = message(error);
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

    /// Bars for files that come from a hub; lines where nobody watches a terminal.
    #[cfg(feature = "hub")]
    pub(super) fn downloads(&self) -> Downloads {
        let watched = self.document.is_none() && std::io::stderr().is_terminal();
        Downloads { report: self.clone(), watched, bar: None }
    }

    /// A bar for a file of so many bytes, on a terminal.
    #[cfg(any(feature = "hub", feature = "watch"))]
    pub(super) fn download_bar(&self, file: &str, total: Option<u64>) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = "{prefix} {bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(harmless(file).into_owned());
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// Prints the JSON document, if that is what was asked for, and returns the exit code: `exit_code`, unless what there
    /// was to say could not be written.
    pub(super) fn finish(&mut self, exit_code: u8) -> u8 {
        const UNWRITTEN: u8 = 2;
        if let Some(document) = self.document.take() {
            let Ok(mut document) = document.lock() else { return exit_code };
            // Whoever comes second finds it printed.
            let mut document = std::mem::take(&mut *document);
            if !document.is_empty() {
                document.insert("exit_code".into(), json!(exit_code));
                if self.lines {
                    document.insert("event".into(), json!("end"));
                    self.print(&format!("{}\n", Value::Object(document)));
                } else {
                    self.print(&format!("{:#}\n", Value::Object(document)));
                }
            }
        }
        match &self.unwritten {
            Some(error) => {
                self.remark(&format!("error: cannot write to the standard output: {error}"));
                UNWRITTEN
            }
            None => exit_code,
        }
    }
}

/// Shows the files that come from a hub, one after the other.
#[cfg(feature = "hub")]
pub(super) struct Downloads {
    report: Report,
    watched: bool,
    /// The file that comes now.
    bar: Option<(String, ProgressBar)>,
}

#[cfg(feature = "hub")]
impl Downloads {
    /// Shows how far a file is.
    pub(super) fn show(&mut self, progress: Progress<'_>) {
        let (file, done, total, message) = match progress {
            Progress::Bytes { file, done, total } => (file, Some(done), total, ""),
            Progress::Waiting { file } => (file, None, None, "another process is fetching it"),
            Progress::Retrying { file } => (file, None, None, "the connection is lost, trying again"),
            Progress::Done { .. } => return self.finish(),
        };
        if self.bar.as_ref().is_none_or(|(shown, _)| shown != file) {
            self.finish();
            self.bar = Some((file.to_owned(), self.start(file, total)));
        }
        let Some((_, bar)) = &self.bar else { return };
        if let Some(total) = total {
            bar.set_length(total);
        }
        if let Some(done) = done {
            bar.set_position(done);
        }
        bar.set_message(message);
    }

    fn start(&mut self, file: &str, total: Option<u64>) -> ProgressBar {
        if !self.watched {
            let size = total.map_or_else(String::new, |total| format!(", {}", bytes(total)));
            self.report.remark(&format!("fetching {file}{size}"));
            return ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        }
        self.report.download_bar(file, total)
    }

    /// Takes the last bar away.
    pub(super) fn finish(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A number of bytes in words.
#[cfg(any(feature = "hub", feature = "watch"))]
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    let mut amount = count as f64;
    let mut unit = "B";
    for larger in UNITS {
        if amount < 1000.0 {
            break;
        }
        (amount, unit) = (amount / 1000.0, larger);
    }
    if amount < 10.0 && unit != "B" { format!("{amount:.1} {unit}") } else { format!("{amount:.0} {unit}") }
}

/// A failure in words, with the causes that lie beneath it.
pub(super) fn message(error: &(dyn std::error::Error + 'static)) -> String {
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
    message
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
fn write_whole(stream: &mut dyn Write, text: &str) -> std::io::Result<()> {
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
