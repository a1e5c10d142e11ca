//! The view that the threads of a watch share, and whoever looks at it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::view::{RecipeView, View};

/// The view, with a count of its changes that can be waited for.
pub(super) struct Board {
    view: Mutex<View>,
    changes: watch::Sender<u64>,
    viewers: Arc<AtomicUsize>,
}

impl Board {
    pub(super) fn new() -> Self {
        let chance = RandomState::new().build_hasher().finish();
        let instance = format!("{chance:016x}");
        let view = Mutex::new(View { instance, ..View::default() });
        Self { view, changes: watch::Sender::new(0), viewers: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        // A view is whole between any two statements that change it.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the view.
    pub(super) fn change(&self, change: impl FnOnce(&mut View)) {
        change(&mut self.lock());
        self.changes.send_modify(|count| *count += 1);
    }

    /// Changes the view of one recipe.
    pub(super) fn recipe(&self, number: usize, change: impl FnOnce(&mut RecipeView)) {
        self.change(|view| {
            if let Some(recipe) = view.recipes.get_mut(number) {
                change(recipe);
            }
        });
    }

    /// The picture of a number, as long as it is shown.
    pub(super) fn png(&self, id: u64) -> Option<Arc<Vec<u8>>> {
        self.lock().image(id).map(|image| image.png.clone())
    }

    /// The view as JSON.
    pub(super) fn json(&self) -> String {
        // A view has nothing that JSON cannot say.
        serde_json::to_string(&*self.lock()).unwrap_or_default()
    }

    /// Waits for changes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Counts someone who looks, until what is returned is dropped.
    pub(super) fn look(&self) -> Viewer {
        self.viewers.fetch_add(1, Ordering::Relaxed);
        Viewer(self.viewers.clone())
    }

    /// Whether anybody looks.
    pub(super) fn is_looked_at(&self) -> bool {
        self.viewers.load(Ordering::Relaxed) > 0
    }
}

/// Someone who looks at the board.
pub(super) struct Viewer(Arc<AtomicUsize>);

impl Drop for Viewer {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
