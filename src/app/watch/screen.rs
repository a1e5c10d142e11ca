//! What a watch says in the terminal: a line for each event, or a line of JSON; a bar while it renders; pictures.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::inline::Protocol;
use crate::app::Failure;
use crate::app::report::{Report, bytes, message};
use crate::artifact::Picture;
use crate::diagnostic::{self, Diagnostics};
use crate::model::hub::Progress;
use crate::source::Source;
use crate::syntax::changes::Change;

/// The terminal, for all threads.
pub(super) struct Screen(Mutex<Inner>);

struct Inner {
    report: Report,
    bar: Option<ProgressBar>,
    /// A file that comes from a hub, and its bar. A render's bar goes before it: there is never more than one.
    download: Option<(String, Option<ProgressBar>)>,
    /// How pictures are shown; `None` where they are not.
    protocol: Option<Protocol>,
    closed: bool,
}

/// What is told of a finished picture.
pub(super) struct Told<'a> {
    pub(super) recipe: &'a str,
    pub(super) seed: u64,
    pub(super) drawn: bool,
    pub(super) changes: &'a [Change],
    /// Whether it is the recipe's first picture in this watch.
    pub(super) first: bool,
    /// Whether it is the same as before.
    pub(super) unchanged: bool,
    pub(super) resumed: usize,
    pub(super) steps: usize,
    pub(super) seconds: f64,
    /// Where it was written to; `None` where it could not be.
    pub(super) file: Option<&'a Path>,
    pub(super) picture: &'a Picture,
    pub(super) png: &'a [u8],
}

impl Screen {
    pub(super) fn new(report: Report, previews: bool) -> Self {
        let on_terminal = report.shows_on_terminal();
        let protocol = (previews && on_terminal).then(Protocol::of_terminal).flatten();
        Self(Mutex::new(Inner { report, bar: None, download: None, protocol, closed: false }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more is said.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.end();
        inner.download_ends();
        inner.closed = true;
    }

    /// Where the page is.
    pub(super) fn serving(&self, address: &str) {
        self.lock().say("serving", json!({ "address": address }), &format!("preview at {address}"));
    }

    /// What keys do, where there are any.
    pub(super) fn keys(&self) {
        let mut inner = self.lock();
        if std::io::stdin().is_terminal() && inner.report.shows_on_terminal() {
            inner.report.text("keys: p pause, Enter render again, s keep this picture, q quit\n");
        }
    }

    /// Something about a recipe.
    pub(super) fn note(&self, event: &str, recipe: &str, message: &str) {
        self.lock().say(event, json!({ "recipe": recipe, "message": message }), &format!("{recipe}: {message}"));
    }

    /// Something that the user probably did not mean.
    pub(super) fn warning(&self, recipe: &str, message: &str) {
        let text = format!("{recipe}: warning: {message}");
        self.lock().say("warning", json!({ "recipe": recipe, "message": message }), &text);
    }

    /// How the watch stands.
    pub(super) fn state(&self, state: &str) {
        self.lock().say("state", json!({ "message": state }), state);
    }

    /// Why nothing can go on.
    pub(super) fn failure(&self, failure: &Failure) {
        if let Failure::Run(error) = failure {
            self.state(&format!("error: {}", message(error.as_ref())));
        }
    }

    /// A copy was kept.
    pub(super) fn kept(&self, path: &Path) {
        let path = path.display().to_string();
        self.lock().say("kept", json!({ "file": path }), &format!("kept a copy: {path}"));
    }

    /// Mistakes in a recipe.
    pub(super) fn diagnostics(&self, source: &Source, diagnostics: &Diagnostics) {
        let mut inner = self.lock();
        let fields = || json!({ "recipe": source.name, "diagnostics": diagnostic::to_json(diagnostics, source) });
        if inner.closed || inner.report.event("diagnostics", fields()) {
            return;
        }
        inner.above_bar(|report| report.diagnostics(source, diagnostics));
    }

    /// A render begins.
    pub(super) fn begin(&self, label: &str, steps: usize) {
        let mut inner = self.lock();
        if inner.report.shows_on_terminal() {
            if let Some((_, bar)) = &mut inner.download {
                bar.take().iter().for_each(ProgressBar::finish_and_clear);
            }
            inner.bar = Some(inner.report.progress(label, steps));
        }
    }

    /// A render is before this step.
    pub(super) fn step(&self, step: usize) {
        if let Some(bar) = &self.lock().bar {
            if bar.position() == 0 && step > 0 {
                // What was there already says nothing of the speed.
                bar.reset_eta();
            }
            bar.set_position(step as u64);
        }
    }

    /// A render is over, or given up.
    pub(super) fn end(&self) {
        self.lock().end();
    }

    /// A file of a model comes from a hub.
    pub(super) fn fetching(&self, model: &str, progress: Progress<'_>) {
        let mut inner = self.lock();
        let (file, done, total, message) = match progress {
            Progress::Bytes { file, done, total } => (file, Some(done), total, ""),
            Progress::Waiting { file } => (file, None, None, "another process is fetching it"),
            Progress::Retrying { file } => (file, None, None, "the connection is lost, trying again"),
            Progress::Done { .. } => return inner.download_ends(),
        };
        if inner.download.as_ref().is_none_or(|(known, _)| known != file) {
            inner.download_ends();
            inner.download = Some((file.to_owned(), None));
            let size = total.map_or_else(String::new, |total| format!(", {}", bytes(total)));
            let fields = json!({ "model": model, "file": file, "bytes": total });
            inner.say("fetching", fields, &format!("fetching {model}: {file}{size}"));
        }
        let free = inner.bar.is_none() && !inner.closed && inner.report.shows_on_terminal();
        let Inner { report, download: Some((_, bar)), .. } = &mut *inner else { return };
        if free && bar.is_none() {
            *bar = Some(report.download_bar(file, total));
        }
        let Some(bar) = bar else { return };
        bar.set_message(message);
        if let Some(done) = done {
            bar.set_position(done);
        }
    }

    /// Nothing comes any more.
    pub(super) fn fetching_ends(&self) {
        self.lock().download_ends();
    }

    /// A model has come from a hub.
    pub(super) fn fetched(&self, model: &str) {
        self.lock().say("fetched", json!({ "model": model }), &format!("fetched {model}"));
    }

    /// A picture is there.
    pub(super) fn rendered(&self, told: &Told<'_>) {
        let mut inner = self.lock();
        inner.say("rendered", fields(told), &line(told));
        if told.unchanged || inner.closed {
            return;
        }
        if let Some(protocol) = inner.protocol {
            let picture = protocol.show(told.picture, told.png);
            inner.above_bar(|report| report.output(&picture));
        }
    }
}

impl Inner {
    /// Says something: as JSON, or in words.
    fn say(&mut self, event: &str, fields: Value, text: &str) {
        if !self.closed && !self.report.event(event, fields) {
            self.above_bar(|report| report.text(&format!("{text}\n")));
        }
    }

    /// Prints without running into the bar.
    fn above_bar(&mut self, print: impl FnOnce(&mut Report)) {
        let download = self.download.as_ref().and_then(|(_, bar)| bar.clone());
        match self.bar.clone().or(download) {
            Some(bar) => bar.suspend(|| print(&mut self.report)),
            None => print(&mut self.report),
        }
    }

    fn download_ends(&mut self) {
        if let Some((_, Some(bar))) = self.download.take() {
            bar.finish_and_clear();
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn fields(told: &Told<'_>) -> Value {
    let changes: Vec<Value> = told
        .changes
        .iter()
        .map(|change| json!({ "what": change.what, "before": change.before, "after": change.after }))
        .collect();
    json!({
        "recipe": told.recipe,
        "seed": told.seed,
        "file": told.file.map(|file| file.display().to_string()),
        "changes": changes,
        "unchanged": told.unchanged,
        "resumed_at": told.resumed,
        "steps": told.steps,
        "seconds": told.seconds,
        "width": told.picture.width,
        "height": told.picture.height,
    })
}

/// `a.sega: glasses.strength 5 -> 6; resumed at step 5 of 30, 0.8 s; wrote a.png`.
fn line(told: &Told<'_>) -> String {
    let mut said = Vec::new();
    if !told.changes.is_empty() {
        said.push(told.changes.iter().map(change).collect::<Vec<_>>().join(", "));
    } else if !told.first {
        said.push("no setting has changed".to_owned());
    }
    if told.unchanged {
        said.push("the same picture".to_owned());
    } else {
        let seed = if told.drawn { format!("seed {} (drawn), ", told.seed) } else { String::new() };
        let from = match told.resumed {
            0 => format!("{} steps", told.steps),
            all if all == told.steps => "known already".to_owned(),
            step => format!("resumed at step {step} of {}", told.steps),
        };
        said.push(format!("{seed}{from}, {:.2} s", told.seconds));
    }
    said.extend(told.file.map(|file| format!("wrote {}", file.display())));
    format!("{}: {}", told.recipe, said.join("; "))
}

fn change(change: &Change) -> String {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => format!("{} {before} -> {after}", change.what),
        (None, Some(after)) => format!("{} {after} (new)", change.what),
        (Some(before), None) => format!("{} {before} (gone)", change.what),
        (None, None) => change.what.clone(),
    }
}
