//! Where changes come in and are decided upon.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::easel::Easel;
use super::entry::{Entry, Reading};
use super::fetch::{Absent, Fetcher};
use super::files::{Folders, names, recipes_in};
use super::screen::Screen;
use super::view::{Problem, RecipeView, Standing};
use super::{Ask, Board, Signal};
use crate::app::Failure;
use crate::app::cli::WatchArgs;
use crate::app::device::Network;
use crate::app::interruption::Interruption;
use crate::diagnostic::{self, Diagnostics};
use crate::source::Source;

/// Files have to be quiet for so long until what looks broken is taken for finished.
const QUIET: Duration = Duration::from_millis(50);
/// Even if they are never quiet, so long is enough.
const PATIENCE: Duration = Duration::from_millis(400);
/// Where the system tells nothing (network mounts), changes are found after so long.
const POLL: Duration = Duration::from_secs(2);
/// How long the desk may take to notice that the user wants to end.
const GLANCE: Duration = Duration::from_millis(50);

/// Reads recipes when they change, and orders renders.
pub(super) struct Desk {
    entries: Vec<Entry>,
    /// Recipes that have changed and are not quiet yet: since when, and when last.
    restless: HashMap<usize, (Instant, Instant)>,
    /// The folders that were named: recipes that appear in them are watched too.
    folders: Vec<PathBuf>,
    force: bool,
    network: Network,
    system: Option<Folders>,
    /// Which recipes depend on a file, by the names that the system has for it.
    interests: HashMap<PathBuf, Vec<usize>>,
    easel: Arc<Easel>,
    fetcher: Fetcher,
    board: Arc<Board>,
    screen: Arc<Screen>,
    interruption: Interruption,
}

impl Desk {
    pub(super) fn new(
        args: &WatchArgs,
        network: Network,
        easel: Arc<Easel>,
        fetcher: Fetcher,
        board: Arc<Board>,
        screen: Arc<Screen>,
        interruption: Interruption,
    ) -> Self {
        let mut desk = Self {
            entries: Vec::new(),
            restless: HashMap::new(),
            folders: args.recipes.iter().filter(|path| path.is_dir()).cloned().collect(),
            force: args.force,
            network,
            system: None,
            interests: HashMap::new(),
            easel,
            fetcher,
            board,
            screen,
            interruption,
        };
        for path in &args.recipes {
            if path.is_dir() {
                recipes_in(path).iter().for_each(|path| desk.add(path, None));
            } else {
                desk.add(path, args.output.as_deref());
            }
        }
        desk
    }

    /// Has the system tell of changes from now on.
    pub(super) fn listen(&mut self, signals: Sender<Signal>) {
        self.system = Some(Folders::new(signals));
        self.look_around();
    }

    fn add(&mut self, path: &Path, output: Option<&Path>) {
        if self.entries.iter().any(|entry| entry.path == path) {
            return;
        }
        let entry = Entry::new(path, output, self.force, self.network.clone());
        let view = RecipeView { name: entry.name.clone(), ..RecipeView::default() };
        self.entries.push(entry);
        self.board.change(|view_of_all| view_of_all.recipes.push(view));
    }

    /// Works until the user ends it.
    pub(super) fn work(&mut self, inbox: &Receiver<Signal>, ended: &dyn Fn() -> bool) -> Result<(), Failure> {
        // The first is rendered first: later orders go before earlier ones.
        (0..self.entries.len()).rev().for_each(|number| self.read(number, false));
        self.look_around();
        let mut next_poll = Instant::now() + POLL;
        loop {
            if ended() {
                return Err(Failure::Interrupted);
            }
            let now = Instant::now();
            let soonest = self.restless.values().map(|times| due(*times)).chain([next_poll]).min().unwrap_or(next_poll);
            match inbox.recv_timeout(soonest.saturating_duration_since(now).min(GLANCE)) {
                Ok(Signal::Files(paths)) => self.changed(&paths),
                Ok(Signal::Rescan) => next_poll = Instant::now(),
                Ok(Signal::Fetched { absent, fault }) => self.fetched(&absent, fault.as_deref()),
                Ok(Signal::Ask(Ask::Quit)) => return Ok(()),
                Ok(Signal::Ask(ask)) => self.answer(ask),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let now = Instant::now();
            let quiet: Vec<usize> =
                self.restless.iter().filter(|(_, times)| due(**times) <= now).map(|(number, _)| *number).collect();
            for number in quiet {
                self.restless.remove(&number);
                self.read(number, false);
            }
            if now >= next_poll {
                self.poll();
                next_poll = Instant::now() + POLL;
            }
        }
    }

    /// The system tells of files.
    fn changed(&mut self, paths: &[PathBuf]) {
        let mut numbers: Vec<usize> =
            paths.iter().filter_map(|path| self.interests.get(path)).flatten().copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.is_empty() {
            if paths.iter().any(|path| path.extension().is_some_and(|ending| ending == "sega")) {
                self.find_new();
            }
            return;
        }
        let now = Instant::now();
        for number in numbers {
            self.restless.entry(number).and_modify(|(_, last)| *last = now).or_insert((now, now));
            // What is right already need not wait.
            self.read(number, true);
        }
    }

    /// Looks for changes that nobody has told of.
    fn poll(&mut self) {
        self.find_new();
        let now = Instant::now();
        for (number, entry) in self.entries.iter().enumerate() {
            if entry.looks_changed() && !self.restless.contains_key(&number) {
                self.restless.insert(number, (now, now));
            }
        }
        self.look_around();
    }

    /// Watches recipes that have come into a watched folder.
    fn find_new(&mut self) {
        let known = self.entries.len();
        for path in self.folders.clone().iter().flat_map(|folder| recipes_in(folder)) {
            self.add(&path, None);
        }
        if self.entries.len() == known {
            return;
        }
        self.look_around();
        let now = Instant::now();
        for number in known..self.entries.len() {
            // Whoever writes it may be halfway through.
            self.restless.insert(number, (now, now));
            self.read(number, true);
        }
    }

    /// Watches the folders of everything that matters now.
    fn look_around(&mut self) {
        self.interests.clear();
        let mut folders = HashSet::new();
        for (number, entry) in self.entries.iter().enumerate() {
            for name in entry.files().flat_map(names) {
                folders.extend(name.parent().map(Path::to_owned));
                let numbers = self.interests.entry(name).or_default();
                if !numbers.contains(&number) {
                    numbers.push(number);
                }
            }
        }
        folders.extend(self.folders.iter().filter_map(|folder| folder.canonicalize().ok()));
        if let Some(system) = &mut self.system {
            system.watch(folders);
        }
    }

    /// Reads a recipe and acts on what it says. In haste only what is right counts.
    fn read(&mut self, number: usize, hasty: bool) {
        let before: Vec<PathBuf> = self.entries[number].files().map(Path::to_owned).collect();
        let reading = self.entries[number].read(number, hasty);
        match reading {
            Reading::Same => {}
            Reading::Right(job, warnings) => {
                if let Some((source, diagnostics)) = &warnings {
                    self.screen.diagnostics(source, diagnostics);
                }
                self.mended(number);
                self.easel.order(*job);
            }
            Reading::Absent => self.mended(number),
            _ if hasty => {}
            Reading::Broken(source, diagnostics) => self.broken(number, &source, &diagnostics),
            Reading::Missing => self.problem(number, "missing", "the recipe is gone; waiting for it to come back"),
            Reading::Failed(failure) => {
                let message = match &failure {
                    Failure::Run(error) => crate::app::report::message(error.as_ref()),
                    Failure::Recipe | Failure::Interrupted => "it cannot be rendered".to_owned(),
                };
                self.problem(number, "failed", &message);
            }
        }
        self.fetcher.want(number, self.entries[number].absent());
        if self.entries[number].files().ne(before.iter().map(PathBuf::as_path)) {
            self.look_around();
        }
    }

    /// Nothing is wrong with a recipe any more, if something was.
    fn mended(&self, number: usize) {
        let mut mended = false;
        self.board.recipe(number, |view| {
            mended = view.problem.take().is_some();
            if view.standing == Standing::Failed {
                view.standing = Standing::Waiting;
            }
        });
        if mended {
            self.note(number, "mended", "mended");
        }
    }

    /// A download has ended: those that waited for it go on.
    fn fetched(&mut self, absent: &Absent, fault: Option<&str>) {
        for number in 0..self.entries.len() {
            if self.entries[number].absent() != Some(absent) {
                continue;
            }
            match fault {
                // A second file of the model may be wanted next.
                None => {
                    self.entries[number].read_anew();
                    self.read(number, false);
                }
                Some(fault) => {
                    self.entries[number].give_up();
                    self.fetcher.want(number, None);
                    self.problem(number, "failed", fault);
                }
            }
        }
    }

    fn broken(&mut self, number: usize, source: &Source, diagnostics: &Diagnostics) {
        self.screen.diagnostics(source, diagnostics);
        let mut shown = Vec::new();
        if let serde_json::Value::Array(all) = diagnostic::to_json(diagnostics, source) {
            let places = source.places();
            for (mut value, diagnostic) in all.into_iter().zip(diagnostics) {
                let (line, _) = places.line_column(diagnostic.span().start);
                value["source_line"] = source.slice(places.line(line)).into();
                shown.push(value);
            }
        }
        let title = diagnostics.to_string();
        let mut message = title.clone();
        self.board.recipe(number, |view| {
            if view.pictures.iter().any(|picture| picture.current.is_some()) {
                message += "; the picture stays";
            }
            view.problem = Some(Problem { title, diagnostics: shown });
        });
        self.note(number, "broken", &message);
    }

    fn problem(&mut self, number: usize, event: &str, message: &str) {
        self.note(number, event, message);
        let problem = Problem { title: message.to_owned(), diagnostics: Vec::new() };
        self.board.recipe(number, |view| view.problem = Some(problem));
    }

    /// Tells something of a recipe.
    fn note(&self, number: usize, event: &str, message: &str) {
        self.screen.note(event, &self.entries[number].path.display().to_string(), message);
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Pause => {
                let paused = self.easel.pause();
                self.board.change(|view| view.paused = paused);
                self.screen.state(if paused { "paused" } else { "going on" });
            }
            Ask::Again(which) => {
                for number in (0..self.entries.len()).rev().filter(|number| which.is_none_or(|one| one == *number)) {
                    self.entries[number].forget();
                    self.read(number, false);
                }
            }
            Ask::Keep(which) => {
                for (recipe, output, image) in self.easel.finished(which) {
                    match self.interruption.hold_off(|| output.keep(&image.png)) {
                        Ok(path) => {
                            self.screen.kept(&path);
                            let note = format!("kept a copy: `{}`", super::short_name(&path));
                            self.board.recipe(recipe, |view| view.note = Some(note));
                        }
                        Err(error) => self.screen.state(&format!("error: {}", crate::app::report::message(&error))),
                    }
                }
            }
            Ask::Quit => {}
        }
    }
}

/// When a restless recipe is to be read for good.
fn due((first, last): (Instant, Instant)) -> Instant {
    (last + QUIET).min(first + PATIENCE)
}
