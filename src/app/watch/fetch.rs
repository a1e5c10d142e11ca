//! Models that come from a hub, while everything else goes on.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Signal;
use super::board::Board;
use super::screen::Screen;
use super::view::Fetching;
use crate::app::Failure;
use crate::app::hub::{self, Asked};
use crate::app::interruption::Interruption;
use crate::app::report::message;
use crate::model::hub::{HubId, Progress, Wanted};

/// A model, or an autoencoder, that is not here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Absent {
    pub(super) id: HubId,
    pub(super) wanted: Wanted,
}

/// Fetches what recipes want, as long as they want it.
#[derive(Clone)]
pub(super) struct Fetcher {
    state: Arc<Mutex<State>>,
    signals: Sender<Signal>,
    board: Arc<Board>,
    screen: Arc<Screen>,
    interruption: Interruption,
}

#[derive(Default)]
struct State {
    /// By recipe.
    wanted: HashMap<usize, Absent>,
    /// What has a thread that fetches it.
    coming: HashSet<Absent>,
}

impl State {
    fn is_wanted(&self, absent: &Absent) -> bool {
        self.wanted.values().any(|wanted| wanted == absent)
    }
}

impl Fetcher {
    pub(super) fn new(
        signals: Sender<Signal>,
        board: Arc<Board>,
        screen: Arc<Screen>,
        interruption: Interruption,
    ) -> Self {
        Self { state: Arc::default(), signals, board, screen, interruption }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches what a recipe wants now. What nobody wants any more is given up; what of it has come is kept.
    pub(super) fn want(&self, recipe: usize, absent: Option<&Absent>) {
        let mut state = self.lock();
        let Some(absent) = absent else {
            if state.wanted.remove(&recipe).is_some() {
                self.board.recipe(recipe, |view| view.fetching = None);
            }
            return;
        };
        state.wanted.insert(recipe, absent.clone());
        let shown = Fetching { model: absent.id.to_string(), ..Fetching::default() };
        self.board.recipe(recipe, |view| view.fetching = Some(shown));
        if state.coming.insert(absent.clone()) {
            let (fetcher, absent) = (self.clone(), absent.clone());
            std::thread::spawn(move || fetcher.fetch(absent));
        }
    }

    fn fetch(&self, absent: Absent) {
        let fault = loop {
            let result = self.try_to_fetch(&absent);
            let mut state = self.lock();
            match result {
                // Somebody may have come back to it meanwhile.
                Err(Failure::Interrupted) if state.is_wanted(&absent) && !self.interruption.raised() => continue,
                Err(Failure::Interrupted) => {
                    state.coming.remove(&absent);
                    return;
                }
                Err(Failure::Run(error)) => {
                    state.coming.remove(&absent);
                    break Some(message(error.as_ref()));
                }
                Ok(()) | Err(Failure::Recipe) => {
                    state.coming.remove(&absent);
                    break None;
                }
            }
        };
        if fault.is_none() {
            self.screen.fetched(&absent.id.to_string());
        }
        // Nobody listens any more when the program ends.
        let _ = self.signals.send(Signal::Fetched { absent, fault });
    }

    fn try_to_fetch(&self, absent: &Absent) -> Result<(), Failure> {
        let model = absent.id.to_string();
        let fetched = hub::get_watched(&absent.id, absent.wanted, Asked::Once, &mut |progress| {
            let recipes: Vec<usize> = {
                let state = self.lock();
                let wanted = state.wanted.iter().filter(|(_, wanted)| *wanted == absent);
                wanted.map(|(recipe, _)| *recipe).collect()
            };
            if recipes.is_empty() || self.interruption.raised() {
                return ControlFlow::Break(());
            }
            self.screen.fetching(&model, progress);
            let shown = shown(&model, progress);
            recipes.iter().for_each(|recipe| self.board.recipe(*recipe, |view| view.fetching = Some(shown.clone())));
            ControlFlow::Continue(())
        });
        self.screen.fetching_ends();
        fetched.map(drop)
    }
}

/// How far a download is, as the page shows it.
fn shown(model: &str, progress: Progress<'_>) -> Fetching {
    let (file, done, total, note) = match progress {
        Progress::Bytes { file, done, total } => (file, done, total, None),
        Progress::Waiting { file } => (file, 0, None, Some("another process is fetching it")),
        Progress::Retrying { file } => (file, 0, None, Some("the connection is lost, trying again")),
        Progress::Done { file } => (file, 0, None, None),
    };
    Fetching { model: model.to_owned(), file: file.to_owned(), done, total, note }
}
