//! What a model is, as far as its files tell without being read: two that are equal are taken for the same.

use std::path::{Path, PathBuf};

use super::KnownModel;
use crate::app::Failure;
use crate::engine::Precision;
use crate::model::embedded;
use crate::model::files::Weights;
use crate::model::lora::LoraFile;
use crate::plan::key::Key;

/// The texts that a model may have beside those that the built-in one has.
const MORE_TEXTS: [&str; 7] = [
    "text_encoder_2/config.json",
    "tokenizer/special_tokens_map.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/special_tokens_map.json",
    "tokenizer_2/tokenizer.json",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/vocab.json",
];

fn texts() -> impl Iterator<Item = &'static str> {
    embedded::TEXTS.iter().copied().chain(MORE_TEXTS)
}

impl KnownModel {
    /// The parts that have weights.
    fn parts(&self) -> impl Iterator<Item = &'static str> {
        let second = self.card.text_2.as_ref().map(|_| "text_encoder_2");
        ["unet", "text_encoder", "vae"].into_iter().chain(second)
    }

    /// Stands for all that renders with this model depend on, without LoRAs: the texts of its files; of its weights the place,
    /// the length and the times, as nobody could wait for gigabytes to be digested at every edit; the precision.
    pub(in crate::app) fn identity(&self, precision: Precision) -> Result<Key, Failure> {
        let mut all = Vec::new();
        let mut add = |bytes: &[u8]| add(&mut all, bytes);
        add(precision.name().as_bytes());
        for path in texts() {
            add(self.files.text(path)?.unwrap_or_default().as_bytes());
        }
        for part in self.parts() {
            add(part.as_bytes());
            for weights in self.files.weights(part)? {
                match weights {
                    // There is one for each version of the program.
                    Weights::Embedded(bytes) => add(&(bytes.len() as u64).to_le_bytes()),
                    Weights::File(path) => add(Stamp::of(&path).text().as_bytes()),
                    Weights::Section { file, section } => {
                        add(format!("{} {section:?}", Stamp::of(&file).text()).as_bytes());
                    }
                }
            }
        }
        Ok(Key::of(&all))
    }

    /// Every file that this model is read from.
    pub(in crate::app) fn reads(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = texts().filter_map(|path| self.files.path(path)).collect();
        for weights in self.parts().flat_map(|part| self.files.weights(part).unwrap_or_default()) {
            match weights {
                Weights::Embedded(_) => {}
                Weights::File(path) => files.push(path),
                // What is beside it says how it was trained.
                Weights::Section { file, .. } => files.extend([file.with_extension("yaml"), file]),
            }
        }
        files.sort();
        files.dedup();
        files
    }
}

/// Stands for a model into which LoRAs are merged: like it, and of the LoRAs the files and the strengths.
pub(in crate::app) fn adapted(model: Key, loras: &[LoraFile]) -> Key {
    let mut all = model.bytes().to_vec();
    for LoraFile { path, strength } in loras {
        add(&mut all, Stamp::of(path).text().as_bytes());
        add(&mut all, &strength.to_bits().to_le_bytes());
    }
    if loras.is_empty() { model } else { Key::of(&all) }
}

/// Adds bytes so that it can be told where they end.
fn add(all: &mut Vec<u8>, bytes: &[u8]) {
    all.extend((bytes.len() as u64).to_le_bytes());
    all.extend(bytes);
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
