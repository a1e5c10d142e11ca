//! What the claims ask for: readings that are known, and pictures that must be painted before they are.

use std::collections::HashSet;
use std::sync::Arc;

use crate::concepts::Region;
use crate::store::{Reading, Store};

/// A picture to be read.
#[derive(Debug, Clone)]
pub(crate) struct Shot {
    /// Its recipe, with its seed.
    pub(crate) recipe: String,
    /// The recipe of the picture before the edit, and where the edit may change it.
    pub(crate) before: Option<(String, Vec<Region>)>,
}

/// All readings, and a list of those that were asked for and are not there.
pub(crate) struct Book {
    store: Store,
    /// Whose pictures, read by whom.
    identity: String,
    wanted: Vec<(String, Shot)>,
    keys: HashSet<String>,
    foreseen: HashSet<String>,
}

impl Book {
    /// A book of the pictures of one model as read by one oracle.
    pub(crate) fn new(store: Store, model: &str, oracle: &str) -> Self {
        Self {
            store,
            identity: format!("{model} {oracle}"),
            wanted: Vec::new(),
            keys: HashSet::new(),
            foreseen: HashSet::new(),
        }
    }

    /// The reading of a picture. `None` puts the picture on the list.
    pub(crate) fn look(&mut self, shot: &Shot) -> Option<Arc<Reading>> {
        let key = self.key(shot);
        let known = self.store.get(&key);
        if known.is_none() && self.keys.insert(key.clone()) {
            self.wanted.push((key, shot.clone()));
        }
        known
    }

    /// Names a picture that will probably be asked for when those on the list are known.
    pub(crate) fn foresee(&mut self, recipe: String) {
        self.foreseen.insert(recipe);
    }

    /// Takes the list, and the number of pictures foreseen after it.
    pub(crate) fn take_wanted(&mut self) -> (Vec<(String, Shot)>, usize) {
        self.keys.clear();
        (std::mem::take(&mut self.wanted), std::mem::take(&mut self.foreseen).len())
    }

    /// Adds a reading.
    pub(crate) fn add(&mut self, key: String, reading: Reading) -> std::io::Result<()> {
        self.store.add(key, reading)
    }

    fn key(&self, shot: &Shot) -> String {
        const LENGTH: usize = 32;
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.identity.as_bytes()).update(&[0]).update(shot.recipe.as_bytes());
        if let Some((before, regions)) = &shot.before {
            hasher.update(&[0]).update(before.as_bytes()).update(format!("{regions:?}").as_bytes());
        }
        hasher.finalize().to_hex()[..LENGTH].to_owned()
    }
}
