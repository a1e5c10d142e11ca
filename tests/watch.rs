//! Live editing: the program watches while the tests edit.

#![allow(clippy::unwrap_used)]

mod edits;
mod files;
mod models;
mod page;
mod storm;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const RECIPE: &str = r#"sega 1
model   "mini"
prompt  "a portrait of a woman"
seed    42
size    64x64
steps   8

plus glasses "glasses" { steps 4.., warmup 0, strength 5 }
"#;

/// Long enough for a busy machine; nothing waits for it that comes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder, and a program that watches in it.
struct Watch {
    folder: TempDir,
    child: Child,
    events: Receiver<Value>,
}

impl Watch {
    /// Watches `a.sega` with this text.
    fn new(recipe: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.sega"), recipe).unwrap();
        Self::begin(folder, &["a.sega", "--no-page"])
    }

    fn begin(folder: TempDir, arguments: &[&str]) -> Self {
        let (child, events) = spawn(&folder, arguments);
        Self { folder, child, events }
    }

    /// Watches by a command of one's own.
    fn of(folder: TempDir, command: &mut Command) -> Self {
        let (child, events) = start(&folder, command);
        Self { folder, child, events }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Saves the recipe in one piece. A file that is written in place is empty for a moment, which a busy machine makes long
    /// enough to be seen.
    fn write(&self, text: &str) {
        fs::write(self.path("a.sega.new"), text).unwrap();
        fs::rename(self.path("a.sega.new"), self.path("a.sega")).unwrap();
    }

    fn write_in_place(&self, text: &str) {
        fs::write(self.path("a.sega"), text).unwrap();
    }

    /// Waits for an event of this kind; those before it are passed over.
    fn event(&self, kind: &str) -> Value {
        wait(&self.events, kind)
    }

    /// Ends it as Ctrl-C does, and says with which code.
    fn interrupt(&mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into()).collect();
        names.sort();
        names
    }

    /// The file that `sega run` writes for a recipe.
    fn run(&self, recipe: &str) -> Vec<u8> {
        self.run_with(recipe, &[])
    }

    fn run_with(&self, recipe: &str, arguments: &[&str]) -> Vec<u8> {
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("a.sega"), recipe).unwrap();
        let status = Command::new(env!("CARGO_BIN_EXE_sega"))
            .args(["run", "a.sega"])
            .args(arguments)
            .current_dir(elsewhere.path())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        fs::read(elsewhere.path().join("a.png")).unwrap()
    }

    fn picture(&self) -> Vec<u8> {
        fs::read(self.path("a.png")).unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &TempDir, arguments: &[&str]) -> (Child, Receiver<Value>) {
    start(folder, Command::new(env!("CARGO_BIN_EXE_sega")).args(["watch", "--json"]).args(arguments))
}

fn start(folder: &TempDir, command: &mut Command) -> (Child, Receiver<Value>) {
    let command = command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, events) = channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            assert_eq!(event["format_version"], 1);
            assert_eq!(event["command"], "watch");
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    (child, events)
}

fn wait(events: &Receiver<Value>, kind: &str) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(event) if event["event"] == kind => return event,
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => panic!("no event `{kind}`"),
            Err(RecvTimeoutError::Disconnected) => panic!("the program ended before an event `{kind}`"),
        }
    }
}
