//! How far the painting is: a bar on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The time between two plain lines.
const PAUSE: Duration = Duration::from_secs(15);

/// Counts pictures, over all rounds.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    began: Instant,
    told: Instant,
    done: usize,
    left: usize,
}

impl Progress {
    /// Nothing done yet.
    pub(crate) fn new() -> Self {
        let style = ProgressStyle::with_template("{wide_bar} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0).with_style(style));
        let now = Instant::now();
        Self { bar, began: now, told: now, done: 0, left: 0 }
    }

    /// A new round: as many pictures are left as far as can be seen.
    pub(crate) fn round(&mut self, pictures: usize, foreseen: usize) {
        self.left = pictures + foreseen;
        if self.done == 0 {
            self.line(&format!("to paint: {}", plural(self.left)));
        }
    }

    /// One more picture is there.
    pub(crate) fn step(&mut self) {
        self.done += 1;
        self.left = self.left.saturating_sub(1);
        let each = self.began.elapsed().as_secs_f64() / self.done as f64;
        let text = format!(
            "{} done, about {} left, {each:.2} s each, {} to go",
            plural(self.done),
            self.left,
            duration(each * self.left as f64)
        );
        if let Some(bar) = &self.bar {
            bar.set_length((self.done + self.left) as u64);
            bar.set_position(self.done as u64);
            bar.set_message(text);
        } else if self.told.elapsed() >= PAUSE {
            self.told = Instant::now();
            self.line(&text);
        }
    }

    /// Ends with the pace of it all.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if self.done > 0 {
            let seconds = self.began.elapsed().as_secs_f64();
            self.line(&format!(
                "{} in {}, {:.2} s each",
                plural(self.done),
                duration(seconds),
                seconds / self.done as f64
            ));
        }
    }

    /// A line of its own.
    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            // Where the standard error cannot be written to, nobody can be told.
            None => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }
}

fn plural(pictures: usize) -> String {
    if pictures == 1 { "1 picture".to_owned() } else { format!("{pictures} pictures") }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
