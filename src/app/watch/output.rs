//! Where a watched recipe's picture goes.

use std::path::{Path, PathBuf};

use crate::app::run::named_for;
use crate::artifact::{self, ArtifactError, Existing};
use crate::quantity::Seed;

/// The file of one picture.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) path: PathBuf,
    force: bool,
}

impl Output {
    pub(super) fn new(path: &Path, seed: Seed, several: bool, force: bool) -> Self {
        Self { path: named_for(path, seed, several), force }
    }

    /// Writes the picture. It takes the place of earlier ones: a picture that carries a recipe can be made again. Any other
    /// file stays, unless the user said otherwise.
    pub(super) fn write(&self, png: &[u8]) -> Result<(), ArtifactError> {
        let existing = if self.force || is_our_picture(&self.path) { Existing::Replace } else { Existing::Keep };
        artifact::write_atomically(&self.path, existing, |file| file.write_all(png))
    }

    /// Writes a copy that nothing replaces: `a-kept-1.png`, `a-kept-2.png` and so on. Returns its name.
    pub(super) fn keep(&self, png: &[u8]) -> Result<PathBuf, ArtifactError> {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let mut number = 1;
        loop {
            let path = self.path.with_file_name(format!("{stem}-kept-{number}.png"));
            match artifact::write_atomically(&path, Existing::Keep, |file| file.write_all(png)) {
                Err(ArtifactError::Exists { .. }) => number += 1,
                written => return written.map(|()| path),
            }
        }
    }
}

/// Whether a file is a picture with its recipe in it.
fn is_our_picture(path: &Path) -> bool {
    let bytes = std::fs::read(path).unwrap_or_default();
    matches!(artifact::png::recipe(&bytes), Ok(Some(_)))
}
