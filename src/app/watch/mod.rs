//! `sega watch`: renders recipes again at every change.
//!
//! Four threads: the desk (here) reads recipes and decides; the easel renders, one picture at a time; the page's server
//! answers browsers; the keys are read. They share the easel's orders, the board that the page shows, and the screen.

mod board;
mod desk;
mod easel;
mod entry;
mod fetch;
mod files;
mod inline;
mod keys;
mod output;
mod previews;
mod screen;
mod server;
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use super::Failure;
use super::cli::WatchArgs;
use super::device::{Network, compute_here};
use super::interruption::Interruption;
use super::report::Report;
use board::Board;
use desk::Desk;
use easel::Easel;
use fetch::{Absent, Fetcher};
use screen::Screen;

/// What the desk is told.
enum Signal {
    /// Files may have changed.
    Files(Vec<PathBuf>),
    /// The system has lost count of what changed.
    Rescan,
    /// A download has ended: well, or with a fault.
    Fetched { absent: Absent, fault: Option<String> },
    /// Someone wants something.
    Ask(Ask),
}

/// What a key or a button of the page asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Stop rendering, or go on.
    Pause,
    /// Render again: all recipes, or one.
    Again(Option<usize>),
    /// Keep a copy of the picture: of all recipes, or of one.
    Keep(Option<usize>),
    /// End the program.
    Quit,
}

/// A command line that cannot be followed.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("`{}` is the recipe itself; give the output another name", path.display())]
    Recipe { path: PathBuf },
    #[error("`--output` names one picture, and there are several recipes: leave it out")]
    SeveralRecipes,
    #[error("the standard input cannot be watched: give the name of a file")]
    Stdin,
    #[error("the thread that renders has failed; the message above says where")]
    Easel,
    #[error("cannot serve the preview page at 127.0.0.1:{port}: {cause}; give another `--port`, or `--no-page`")]
    Port { port: u16, cause: std::io::Error },
}

/// Watches recipes until the user ends it.
pub(super) fn watch(args: &WatchArgs, report: &mut Report) -> Result<(), Failure> {
    let interruption = Interruption::watch(report);
    report.by_lines();
    check(args)?;
    let network = Network::open(args.network, args.device)?;
    let (signals, inbox) = mpsc::channel();
    let board = Arc::new(Board::new());
    let screen = Arc::new(Screen::new(report.clone(), !args.no_preview));
    let easel = Arc::new(Easel::default());
    if !args.no_page {
        let listener = server::listen(args.port, &args.recipes)?;
        let address = server::address(&listener)?;
        server::serve(listener, board.clone(), signals.clone())?;
        screen.serving(&address);
        if args.open {
            server::open(&address);
        }
    }
    screen.keys();
    let fetcher = Fetcher::new(signals.clone(), board.clone(), screen.clone(), interruption.clone());
    let mut desk =
        Desk::new(args, network, easel.clone(), fetcher, board.clone(), screen.clone(), interruption.clone());
    desk.listen(signals.clone());
    let restore = keys::listen(signals);
    let painter = {
        let (easel, board, screen, interruption) = (easel.clone(), board, screen.clone(), interruption.clone());
        let (keep, network) = (args.keep.saturating_mul(1 << 20), args.network);
        let work = move || {
            // The others wait for files and browsers: this thread computes.
            if let Err(failure) = compute_here(network) {
                screen.failure(&failure);
                return;
            }
            easel::work(&easel, &board, &screen, &interruption, keep);
        };
        std::thread::Builder::new().name("easel".to_owned()).spawn(work)?
    };
    let ended = desk.work(&inbox, &|| interruption.raised() || painter.is_finished());
    let ended = if painter.is_finished() { Err(WatchError::Easel.into()) } else { ended };
    easel.close();
    interruption.no_more_writes();
    screen.close();
    drop(restore);
    ended
}

/// Refuses what cannot be meant.
fn check(args: &WatchArgs) -> Result<(), WatchError> {
    if args.recipes.iter().any(|path| super::input::is_stdin(path)) {
        return Err(WatchError::Stdin);
    }
    let Some(output) = &args.output else { return Ok(()) };
    let [recipe] = args.recipes.as_slice() else { return Err(WatchError::SeveralRecipes) };
    if recipe.is_dir() {
        return Err(WatchError::SeveralRecipes);
    }
    if super::run::same_place(output) == super::run::same_place(recipe) {
        return Err(WatchError::Recipe { path: output.clone() });
    }
    Ok(())
}

/// A file's name without its folder.
fn short_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
