//! Where a model's files are, and their bytes: the embedded model, or a folder in diffusers layout.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::embedded;

/// The weights of one part of a model.
#[derive(Debug, Clone)]
pub enum Weights {
    /// In the binary.
    Embedded(&'static [u8]),
    /// A `.safetensors` file.
    File(PathBuf),
}

/// Why a model's files are not found or read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Nothing has this name.
    #[error("there is no model `{name}`: neither a built-in one nor the folder `{}`{hint}; built in: {}", folder.display(), built_in())]
    Unknown {
        /// The name in the recipe.
        name: String,
        /// The folder that it was taken for.
        folder: PathBuf,
        /// What was probably meant.
        hint: String,
    },
    /// A hub id.
    #[error(
        "there is no folder `{}`; if `{name}` is a hub id: they are not supported yet, download the model and give its folder",
        folder.display()
    )]
    Hub {
        /// The name in the recipe.
        name: String,
        /// The folder that it was taken for.
        folder: PathBuf,
    },
    /// A single file.
    #[error("`{}` is a single file, which is not supported yet: convert it to a folder in diffusers layout", path.display())]
    SingleFile {
        /// The file.
        path: PathBuf,
    },
    /// A file where a folder should be.
    #[error("`{}` is a file, not a model: give the folder of a model in diffusers layout", path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// A folder of something else.
    #[error(
        "`{}` is no model in diffusers layout: it has neither `model_index.json` nor `unet/config.json`; give the folder that holds `unet`, `text_encoder`, `vae`, `tokenizer` and `scheduler`",
        folder.display()
    )]
    NotACheckpoint {
        /// The folder.
        folder: PathBuf,
    },
    /// A part has no weights.
    #[error("the model in `{}` has no weights for `{part}`: expected `{expected}`{hint}", folder.display())]
    NoWeights {
        /// The model's folder.
        folder: PathBuf,
        /// The part.
        part: String,
        /// The file that is looked for.
        expected: String,
        /// What is there instead, and what to do.
        hint: String,
    },
    /// An index of shards that cannot be understood.
    #[error("`{}` is no index of weight files: {reason}; fetch it again", path.display())]
    BadIndex {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refuses.
    #[error("cannot read `{}`: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
}

fn built_in() -> String {
    embedded::NAMES.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A model's files.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Embedded,
    Folder(PathBuf),
}

impl ModelFiles {
    /// Finds the model that a recipe names: a built-in one, or a folder; a relative folder starts from `beside`, the
    /// recipe's own.
    pub fn locate(name: &str, beside: &Path) -> Result<Self, FilesError> {
        if embedded::NAMES.contains(&name) {
            return Ok(Self { place: Place::Embedded });
        }
        let folder = beside.join(name);
        if folder.is_dir() {
            if !folder.join("model_index.json").exists() && !folder.join("unet/config.json").exists() {
                return Err(FilesError::NotACheckpoint { folder });
            }
            return Ok(Self { place: Place::Folder(folder) });
        }
        let has_ending =
            |ending: &str| Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending));
        if has_ending("safetensors") || has_ending("ckpt") {
            return Err(FilesError::SingleFile { path: folder });
        }
        if folder.exists() {
            return Err(FilesError::NotAFolder { path: folder });
        }
        if is_hub_id(name) {
            return Err(FilesError::Hub { name: name.to_owned(), folder });
        }
        let near = embedded::NAMES.iter().find(|known| strsim::damerau_levenshtein(known, &name.to_lowercase()) <= 2);
        let hint = near.map_or(String::new(), |near| format!(", did you mean `{near}`?"));
        Err(FilesError::Unknown { name: name.to_owned(), folder, hint })
    }

    /// The text of a file such as `unet/config.json`; `None` where the model has none.
    pub fn text(&self, path: &str) -> Result<Option<String>, FilesError> {
        let folder = match &self.place {
            Place::Embedded => return Ok(embedded::text(path).map(str::to_owned)),
            Place::Folder(folder) => folder,
        };
        let path = folder.join(path);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(FilesError::Unreadable { path, cause }),
        }
    }

    /// Where a file of the model is, there or not; `None` for a built-in model, which has no files.
    pub fn path(&self, path: &str) -> Option<PathBuf> {
        match &self.place {
            Place::Embedded => None,
            Place::Folder(folder) => Some(folder.join(path)),
        }
    }

    /// The weight files of a part: `unet`, `text_encoder` or `vae`. A part that is cut into shards has several.
    pub fn weights(&self, part: &str) -> Result<Vec<Weights>, FilesError> {
        let folder = match &self.place {
            #[cfg(feature = "engine")]
            Place::Embedded => return Ok(embedded::weights(part).map(Weights::Embedded).into_iter().collect()),
            #[cfg(not(feature = "engine"))]
            Place::Embedded => return Ok(Vec::new()),
            Place::Folder(folder) => folder,
        };
        let stem = if part == "text_encoder" { "model" } else { "diffusion_pytorch_model" };
        let beside = folder.join(part);
        for variant in ["", ".fp16"] {
            let whole = beside.join(format!("{stem}{variant}.safetensors"));
            if whole.is_file() {
                return Ok(vec![Weights::File(whole)]);
            }
            // Libraries disagree on where the variant stands in the name of an index.
            for index in
                [format!("{stem}.safetensors.index{variant}.json"), format!("{stem}.safetensors{variant}.index.json")]
            {
                let index = beside.join(index);
                if index.is_file() {
                    return shards(&index);
                }
            }
        }
        let pickled = if part == "text_encoder" { "pytorch_model" } else { stem };
        let old = ["bin", "fp16.bin", "bin.index.json"].map(|ending| beside.join(format!("{pickled}.{ending}")));
        let hint = if let Some(old) = old.iter().find(|old| old.exists()) {
            format!(
                ", and `{}` is in PyTorch's pickle format, which is not safe to read: convert it to safetensors",
                old.display()
            )
        } else {
            "; fetch the model again".to_owned()
        };
        let expected = format!("{part}/{stem}.safetensors");
        Err(FilesError::NoWeights { folder: folder.clone(), part: part.to_owned(), expected, hint })
    }
}

/// `owner/name` or `owner/name@revision`: one slash, and no sign of a path.
fn is_hub_id(name: &str) -> bool {
    let allowed = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c))
    };
    name.split_once('/').is_some_and(|(owner, name)| allowed(owner) && allowed(name))
}

/// The files that an index of shards names, each once.
fn shards(index: &Path) -> Result<Vec<Weights>, FilesError> {
    let text =
        std::fs::read_to_string(index).map_err(|cause| FilesError::Unreadable { path: index.to_owned(), cause })?;
    let bad = |reason: String| FilesError::BadIndex { path: index.to_owned(), reason };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let map = value["weight_map"].as_object().ok_or_else(|| bad("it has no `weight_map`".to_owned()))?;
    let mut names: Vec<&str> = map.values().filter_map(|name| name.as_str()).collect();
    if names.len() < map.len() || names.is_empty() {
        return Err(bad("its `weight_map` does not name a file for each tensor".to_owned()));
    }
    names.sort_unstable();
    names.dedup();
    let folder = index.parent().unwrap_or(Path::new("."));
    let plain = |name: &str| Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    names
        .into_iter()
        .map(|name| {
            let path = folder.join(name);
            if !plain(name) {
                return Err(bad(format!("`{name}` is no file beside it")));
            }
            if !path.is_file() {
                return Err(bad(format!("`{name}` is missing")));
            }
            Ok(Weights::File(path))
        })
        .collect()
}
