//! What the system tells of changed files.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};

use super::Signal;

/// How many links may lead from one to the next.
const LINKS: usize = 16;

/// Watches folders, not files: editors replace a file by another of the same name, and a file may go away and come back.
pub(super) struct Folders {
    /// `None` where the system cannot watch: the desk's poll is what remains.
    watcher: Option<RecommendedWatcher>,
    /// What identifies the folder that is watched under a name: another of the same name must be watched anew.
    watched: BTreeMap<PathBuf, Option<u64>>,
}

impl Folders {
    pub(super) fn new(signals: Sender<Signal>) -> Self {
        let handler = move |event: notify::Result<Event>| {
            let signal = match event {
                Ok(event) if event.need_rescan() => Signal::Rescan,
                Ok(event) if is_read(event.kind) => return,
                Ok(event) => Signal::Files(event.paths),
                Err(_) => Signal::Rescan,
            };
            // Nobody listens any more when the program ends.
            let _ = signals.send(signal);
        };
        Self { watcher: RecommendedWatcher::new(handler, Config::default()).ok(), watched: BTreeMap::new() }
    }

    /// Watches these folders and no others, as far as they are there.
    pub(super) fn watch(&mut self, folders: HashSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        self.watched.retain(|folder, identity| {
            let stays = folders.contains(folder) && identity.is_some() && *identity == identity_of(folder);
            if !stays {
                // A folder that is gone is not watched any more anyway.
                let _ = watcher.unwatch(folder);
            }
            stays
        });
        for folder in folders {
            if !self.watched.contains_key(&folder) && watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok() {
                let identity = identity_of(&folder);
                self.watched.insert(folder, identity);
            }
        }
    }
}

/// Whether an event is of reading alone.
fn is_read(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

#[cfg(unix)]
fn identity_of(folder: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    folder.metadata().ok().map(|metadata| metadata.ino())
}

#[cfg(not(unix))]
fn identity_of(folder: &Path) -> Option<u64> {
    folder.is_dir().then_some(0)
}

/// The names under which events speak of a file: its own, and, where it is a link, those of everything that it leads
/// over.
pub(super) fn names(path: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let Some(name) = in_folder(&path) else { break };
        let target = name.read_link().ok().and_then(|target| Some(name.parent()?.join(target)));
        names.push(name);
        match target {
            Some(target) => path = target,
            None => break,
        }
    }
    names
}

/// The path with its folder's own name, links resolved.
fn in_folder(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let folder = path.parent()?;
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    Some(folder.join(path.file_name()?))
}

/// The recipes in a folder, by name; those of this folder (`.`) by their names alone.
pub(super) fn recipes_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = |path: PathBuf| path.strip_prefix(".").map_or_else(|_| path.clone(), Path::to_owned);
    let mut recipes: Vec<PathBuf> = entries.map(|entry| named(entry.path())).filter(|path| is_recipe(path)).collect();
    recipes.sort();
    recipes
}

/// Whether a file is a recipe by its name. Editors' own files begin with a point.
fn is_recipe(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    !hidden && path.extension() == Some(OsStr::new("sega"))
}
