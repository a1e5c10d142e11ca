//! Where a model's files are, and their bytes: the embedded model, a folder in diffusers layout, or a single file.

mod folder;

#[cfg(feature = "hub")]
pub(super) use folder::{shard_names, stem};

use std::path::{Path, PathBuf};

use super::embedded;
use super::hub::HubId;
use super::single_file::{self, Section, SingleFile, SingleFileError};

/// The weights of one part of a model.
#[derive(Debug, Clone)]
pub enum Weights {
    /// In the binary.
    Embedded(&'static [u8]),
    /// A `.safetensors` file.
    File(PathBuf),
    /// Among others' in a `.safetensors` file, under names of another layout.
    Section {
        /// The file.
        file: PathBuf,
        /// Which of its tensors they are.
        section: Section,
    },
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
    /// A hub id, for somebody who has no hub.
    #[error("there is no folder `{}`; if `{id}` is a model of a hub, it has to be fetched first: `sega models add {id}`", folder.display())]
    NotFetched {
        /// The id.
        id: Box<HubId>,
        /// The folder that it was taken for.
        folder: PathBuf,
    },
    /// A single file that is not there.
    #[error("there is no file `{}`", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// A single file that cannot be used.
    #[error(transparent)]
    SingleFile(#[from] SingleFileError),
    /// An autoencoder's folder that holds none.
    #[error(
        "`{}` is no autoencoder: it has neither `config.json` nor `vae/config.json`; give the folder of an autoencoder or of a model in diffusers layout",
        folder.display()
    )]
    NoAutoencoder {
        /// The folder.
        folder: PathBuf,
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

/// What a model's name means.
#[derive(Debug, Clone)]
pub enum Found {
    /// A model that is here.
    Here(ModelFiles),
    /// One that a hub may have.
    OnHub(HubId),
}

/// A model's files.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    place: Place,
    autoencoder: Option<AutoencoderFiles>,
    half: bool,
}

#[derive(Debug, Clone)]
enum Place {
    Embedded,
    Folder(PathBuf),
    SingleFile(SingleFile),
}

/// The files of an autoencoder that replaces a model's own.
#[derive(Debug, Clone)]
enum AutoencoderFiles {
    /// A folder with its configuration and weights.
    Folder(PathBuf),
    /// A file with its weights, of the configuration that the model's own has.
    SingleFile { file: PathBuf, section: Section },
}

impl ModelFiles {
    /// Finds the model that a recipe names: a built-in one, a folder, a single file, or a hub's; a relative path starts
    /// from `beside`, the recipe's own folder.
    pub fn find(name: &str, beside: &Path) -> Result<Found, FilesError> {
        if embedded::NAMES.contains(&name) {
            return Ok(Found::Here(Self::at(Place::Embedded)));
        }
        let path = beside.join(name);
        if path.is_dir() {
            return Self::in_folder(path).map(Found::Here);
        }
        if path.is_file() {
            return if is_checkpoint(&path) {
                Ok(Found::Here(Self::at(Place::SingleFile(SingleFile::open(&path)?))))
            } else {
                Err(FilesError::NotAFolder { path })
            };
        }
        if let Some(id) = HubId::parse(name) {
            return Ok(Found::OnHub(id));
        }
        if is_checkpoint(&path) {
            return Err(FilesError::NoFile { path });
        }
        let near = embedded::NAMES.iter().find(|known| strsim::damerau_levenshtein(known, &name.to_lowercase()) <= 2);
        let hint = near.map_or(String::new(), |near| format!(", did you mean `{near}`?"));
        Err(FilesError::Unknown { name: name.to_owned(), folder: path, hint })
    }

    /// Finds a model that is here; see [`Self::find`].
    pub fn locate(name: &str, beside: &Path) -> Result<Self, FilesError> {
        match Self::find(name, beside)? {
            Found::Here(files) => Ok(files),
            Found::OnHub(id) => Err(FilesError::NotFetched { id: id.into(), folder: beside.join(name) }),
        }
    }

    /// The model in a folder in diffusers layout.
    pub fn in_folder(folder: PathBuf) -> Result<Self, FilesError> {
        if !folder.join("model_index.json").exists() && !folder.join("unet/config.json").exists() {
            return Err(FilesError::NotACheckpoint { folder });
        }
        Ok(Self::at(Place::Folder(folder)))
    }

    /// The model in a single file.
    pub fn in_file(path: &Path) -> Result<Self, FilesError> {
        Ok(Self::at(Place::SingleFile(SingleFile::open(path)?)))
    }

    fn at(place: Place) -> Self {
        Self { place, autoencoder: None, half: false }
    }

    /// The same model with the autoencoder at `path`: its folder, that of a model, or a single file.
    pub fn with_autoencoder(self, path: PathBuf) -> Result<Self, FilesError> {
        let autoencoder = if path.is_dir() {
            let inside = path.join("vae");
            let holds = |folder: &Path| folder.join("config.json").is_file();
            // A model's folder may have a `config.json` of its own, which is another part's.
            let folder = [inside, path.clone()].into_iter().find(|folder| holds(folder));
            AutoencoderFiles::Folder(folder.ok_or(FilesError::NoAutoencoder { folder: path })?)
        } else if path.is_file() {
            AutoencoderFiles::SingleFile { section: single_file::autoencoder(&path)?, file: path }
        } else {
            return Err(FilesError::NoFile { path });
        };
        Ok(Self { autoencoder: Some(autoencoder), ..self })
    }

    /// The same model, whose half-precision weights are taken where a part has them beside the others. Without it they
    /// are taken where there is nothing else.
    pub fn in_half_precision(self) -> Self {
        Self { half: true, ..self }
    }

    /// The family of a single file.
    pub fn family(&self) -> Option<single_file::Family> {
        match &self.place {
            Place::SingleFile(file) => Some(file.family()),
            Place::Embedded | Place::Folder(_) => None,
        }
    }

    /// The text of a file such as `unet/config.json`; `None` where the model has none.
    pub fn text(&self, path: &str) -> Result<Option<String>, FilesError> {
        const AUTOENCODER: &str = "vae/config.json";
        if let (AUTOENCODER, Some(AutoencoderFiles::Folder(folder))) = (path, &self.autoencoder) {
            return folder::text(folder, "config.json");
        }
        let own = match &self.place {
            Place::Embedded => Ok(embedded::text(path).map(str::to_owned)),
            Place::Folder(folder) => folder::text(folder, path),
            Place::SingleFile(file) => file.text(path),
        }?;
        match (path, &self.autoencoder) {
            // A file of weights has the latents of the model that it is made for; only the tiny kind has another form.
            (AUTOENCODER, Some(AutoencoderFiles::SingleFile { section, .. })) => {
                Ok(own.map(|text| single_file::fitting_autoencoder(text, *section)))
            }
            _ => Ok(own),
        }
    }

    /// Where a file such as `unet/config.json` is or would be; `None` for a built-in model, which has no files.
    pub fn path(&self, path: &str) -> Option<PathBuf> {
        if let ("vae/config.json", Some(AutoencoderFiles::Folder(folder))) = (path, &self.autoencoder) {
            return Some(folder.join("config.json"));
        }
        match &self.place {
            Place::Embedded => None,
            Place::Folder(folder) => Some(folder.join(path)),
            Place::SingleFile(file) => Some(file.beside(path)),
        }
    }

    /// The weight files of a part: `unet`, `text_encoder`, `text_encoder_2` or `vae`. A part that is cut into shards has
    /// several.
    pub fn weights(&self, part: &str) -> Result<Vec<Weights>, FilesError> {
        match (part, &self.autoencoder) {
            ("vae", Some(AutoencoderFiles::Folder(folder))) => return folder::weights(folder, "", part, self.half),
            ("vae", Some(AutoencoderFiles::SingleFile { file, section })) => {
                return Ok(vec![Weights::Section { file: file.clone(), section: *section }]);
            }
            _ => {}
        }
        match &self.place {
            #[cfg(feature = "engine")]
            Place::Embedded => Ok(embedded::weights(part).map(Weights::Embedded).into_iter().collect()),
            #[cfg(not(feature = "engine"))]
            Place::Embedded => Ok(Vec::new()),
            Place::Folder(folder) => folder::weights(folder, part, part, self.half),
            Place::SingleFile(file) => file.weights(part),
        }
    }
}

/// Whether a name is one that whole checkpoints have.
fn is_checkpoint(path: &Path) -> bool {
    let ending = path.extension();
    ending.is_some_and(|ending| {
        ["safetensors", "ckpt", "pt", "pth"].iter().any(|known| ending.eq_ignore_ascii_case(known))
    })
}
