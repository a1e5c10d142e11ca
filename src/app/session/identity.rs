//! What a model is, as far as its files tell without being read: two that are equal are taken for the same.

use std::path::{Path, PathBuf};

use super::KnownModel;
use crate::app::Failure;
use crate::model::embedded;
use crate::model::files::Weights;
use crate::plan::key::Key;

/// The parts that have weights.
const PARTS: [&str; 3] = ["unet", "text_encoder", "vae"];

impl KnownModel {
    /// Stands for all that renders with this model depend on: the texts of its files; of its weights the place, the length
    /// and the times, as nobody could wait for gigabytes to be digested at every edit.
    pub(in crate::app) fn identity(&self) -> Result<Key, Failure> {
        let mut all = Vec::new();
        let mut add = |bytes: &[u8]| {
            all.extend((bytes.len() as u64).to_le_bytes());
            all.extend(bytes);
        };
        for path in embedded::TEXTS {
            add(self.files.text(path)?.unwrap_or_default().as_bytes());
        }
        for part in PARTS {
            for weights in self.files.weights(part)? {
                match weights {
                    // There is one for each version of the program.
                    Weights::Embedded(bytes) => add(&(bytes.len() as u64).to_le_bytes()),
                    Weights::File(path) => add(Stamp::of(&path).text().as_bytes()),
                }
            }
        }
        Ok(Key::of(&all))
    }

    /// Every file that this model is read from.
    pub(in crate::app) fn reads(&self) -> Vec<PathBuf> {
        let texts = embedded::TEXTS.iter().filter_map(|path| self.files.path(path));
        let weights = PARTS.iter().flat_map(|part| self.files.weights(part).unwrap_or_default());
        let weights = weights.filter_map(|weights| match weights {
            Weights::File(path) => Some(path),
            Weights::Embedded(_) => None,
        });
        texts.chain(weights).collect()
    }
}

/// What tells, without reading a file, whether it is still the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Stamp {
    target: Option<PathBuf>,
    length: Option<u64>,
    modified: Option<std::time::SystemTime>,
    inode: Option<u64>,
}

impl Stamp {
    pub(in crate::app) fn of(path: &Path) -> Self {
        let metadata = path.metadata().ok();
        #[cfg(unix)]
        let inode = metadata.as_ref().map(std::os::unix::fs::MetadataExt::ino);
        #[cfg(not(unix))]
        let inode = None;
        Self {
            target: path.canonicalize().ok(),
            length: metadata.as_ref().map(std::fs::Metadata::len),
            // Compared for equality alone: a clock that jumps does no harm.
            modified: metadata.and_then(|metadata| metadata.modified().ok()),
            inode,
        }
    }

    fn text(&self) -> String {
        format!("{self:?}")
    }
}
