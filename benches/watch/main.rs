//! What live editing costs: an edit at step k of N against a full render, an undo, and the time from a saved file to the
//! first preview on the page.
//!
//! `cargo bench --bench watch -- [--model MODEL] [--steps N] [--size WxH] [--repeat R] [--places P]`

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Options {
    model: String,
    steps: usize,
    size: String,
    repeat: usize,
    /// At how many places of the render edits begin.
    places: usize,
}

fn options() -> Options {
    let mut options = Options { model: "mini".to_owned(), steps: 20, size: "128x128".to_owned(), repeat: 5, places: 4 };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| panic!("`{name}` needs a value"));
        match name.as_str() {
            "--model" => options.model = value,
            "--steps" => options.steps = value.parse().unwrap(),
            "--size" => options.size = value,
            "--places" => options.places = value.parse().unwrap(),
            "--repeat" => options.repeat = value.parse().unwrap(),
            _ => panic!("unknown option `{name}`"),
        }
    }
    options
}

/// The concept is evaluated at every step, and acts from step `k` on: an edit of its weight changes those steps alone.
fn recipe(options: &Options, k: usize, weight: f64, seed: usize) -> String {
    format!(
        "sega 1\nmodel \"{}\"\nprompt \"a portrait of a woman\"\nseed {seed}\nsize {}\nsteps {}\nguidance 5\n\
         plus glasses \"glasses\" {{ warmup {k}, momentum 0.3, weight {weight} }}\n",
        options.model, options.size, options.steps
    )
}

/// A program that watches, its events, and where its page is.
struct Watch {
    child: Child,
    events: BufReader<std::process::ChildStdout>,
    host: String,
    file: PathBuf,
}

impl Watch {
    fn begin(folder: &Path, text: &str) -> Self {
        let file = folder.join("a.sega");
        fs::write(&file, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_sega"))
            .args(["watch", "--json", "a.sega"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut events = BufReader::new(child.stdout.take().unwrap());
        let serving = next(&mut events, "serving");
        let host = serving["address"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/').to_owned();
        let mut watch = Self { child, events, host, file };
        watch.rendered();
        watch
    }

    fn rendered(&mut self) -> Value {
        next(&mut self.events, "rendered")
    }

    /// Saves a recipe and waits for its picture: the seconds until the page's first preview, if there was one, until the
    /// page has the picture, and what the program says of the render.
    fn save(&mut self, text: &str) -> (Option<f64>, f64, Value) {
        let mut views = Views::of(&self.host);
        let settled = views.find(|picture| !picture["current"].is_null() && picture["rendering"] == false);
        let before = settled["current"]["id"].clone();
        let began = Instant::now();
        fs::write(&self.file, text).unwrap();
        let mut preview = None;
        views.find(|picture| {
            if preview.is_none() && !picture["preview"].is_null() {
                preview = Some(began.elapsed().as_secs_f64());
            }
            picture["current"]["id"] != before
        });
        (preview, began.elapsed().as_secs_f64(), self.rendered())
    }
}

/// What the page is sent: the present view, then every change.
struct Views(BufReader<TcpStream>);

impl Views {
    fn of(host: &str) -> Self {
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        Self(BufReader::new(stream))
    }

    /// The next picture for which this holds.
    fn find(&mut self, mut holds: impl FnMut(&Value) -> bool) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the page's server is gone");
            let Some(json) = line.strip_prefix("data: ") else { continue };
            let view: Value = serde_json::from_str(json).unwrap();
            let picture = &view["recipes"][0]["pictures"][0];
            if holds(picture) {
                return picture.clone();
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn next(events: &mut BufReader<std::process::ChildStdout>, kind: &str) -> Value {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(events.read_line(&mut line).unwrap() > 0, "the program has ended");
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["event"] == kind {
            return event;
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let options = options();
    let folder = tempfile::tempdir().unwrap();
    let mut watch = Watch::begin(folder.path(), &recipe(&options, 1, 1.0, 1));
    println!("model {}, {} steps, {}, {} times each\n", options.model, options.steps, options.size, options.repeat);
    println!("edit at step      seconds   of a full render   bound (1 - k/N) + 5 %   first preview after");
    let mut seed = 1;
    let mut known = Vec::new();
    for k in (1..=options.places).map(|place| options.steps * place / (options.places + 1)) {
        let (mut full, mut edited, mut ratios, mut previews) = (vec![], vec![], vec![], vec![]);
        for round in 0..options.repeat {
            // Full and edited renders in turn, as the machine's speed may change; both of the same rows.
            seed += 1;
            let whole = recipe(&options, k, 1.0, seed);
            let (_, _, fresh) = watch.save(&whole);
            assert_eq!(fresh["resumed_at"], 0);
            std::thread::sleep(Duration::from_millis(100));
            let part = recipe(&options, k, 0.5 + round as f64 / 100.0, seed);
            let (preview, _, edit) = watch.save(&part);
            known = vec![whole, part];
            assert_eq!(edit["resumed_at"], k);
            let (whole, part) = (fresh["seconds"].as_f64().unwrap(), edit["seconds"].as_f64().unwrap());
            full.push(whole);
            edited.push(part);
            ratios.push(part / whole);
            previews.extend(preview);
            std::thread::sleep(Duration::from_millis(100));
        }
        println!(
            "{k:>4} of {:<4} {:>12.3} s {:>16.1} % {:>21.1} % {:>19}",
            options.steps,
            median(edited),
            100.0 * median(ratios),
            100.0 * (1.0 - k as f64 / options.steps as f64 + 0.05),
            if previews.is_empty() { "none seen".to_owned() } else { format!("{:.0} ms", 1000.0 * median(previews)) },
        );
        println!("      full {:>12.3} s", median(full));
    }

    let mut undone = Vec::new();
    for text in known.iter().cycle().take(10) {
        std::thread::sleep(Duration::from_millis(200));
        let (_, seconds, event) = watch.save(text);
        assert_eq!(event["resumed_at"], options.steps);
        undone.push(1000.0 * seconds);
    }
    let most = undone.iter().copied().fold(0.0, f64::max);
    println!(
        "\nundo, from the saved file to the page being told of the picture: median {:.1} ms, at most {most:.1} ms",
        median(undone)
    );
}
