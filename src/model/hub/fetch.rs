//! Models from a hub into the cache.

use std::path::{Path, PathBuf};

use super::cache::{PARTS, REQUIRED, lora_file};
use super::client::{Client, Listing};
use super::download::Download;
use super::needed::{self, PartFiles};
use super::{Cache, HubError, HubId, HubSettings, Wanted, Watch};
use crate::model::files::shard_names;

/// A hub, and the cache before it.
pub struct Hub<'a> {
    client: Client<'a>,
    cache: Cache,
}

impl<'a> Hub<'a> {
    /// The hub that the settings name. Nothing is asked of it yet.
    pub fn new(settings: &'a HubSettings) -> Self {
        Self { client: Client::new(settings), cache: Cache::at(settings.cache.clone()) }
    }

    /// What is wanted of a repository: from the cache if all of it is there, or else from the hub. Returns the folder of
    /// the model (or of the autoencoder), or the file that the id names (or that is the LoRA).
    pub fn get(&self, id: &HubId, wanted: Wanted, watch: &mut Watch) -> Result<PathBuf, HubError> {
        match self.cache.find(id, wanted) {
            Some(path) => Ok(path),
            None => self.fetch(id, wanted, watch),
        }
    }

    /// Asks the hub for the newest state of what is wanted, and fetches what of it is not in the cache.
    pub fn fetch(&self, id: &HubId, wanted: Wanted, watch: &mut Watch) -> Result<PathBuf, HubError> {
        if self.client.settings.offline {
            return Err(HubError::Offline { id: id.clone().into(), cache: self.cache.root().to_owned() });
        }
        let listing = self.client.listing(id, watch)?;
        let path = match &id.file {
            Some(file) if !listing.files.contains(file) => {
                let (endpoint, what) = (self.client.settings.endpoint.clone(), format!("file `{file}`"));
                return Err(HubError::NotFound { id: id.clone().into(), endpoint, what });
            }
            Some(file) => self.download(id, &listing, file, watch)?,
            None => self.parts(id, &listing, wanted, watch)?,
        };
        // Only now is the branch what it is: whoever looked at it before found its last whole state.
        if id.revision() != listing.commit {
            self.name(id, &listing.commit)?;
        }
        Ok(path)
    }

    fn parts(&self, id: &HubId, listing: &Listing, wanted: Wanted, watch: &mut Watch) -> Result<PathBuf, HubError> {
        let folder = self.cache.snapshot(id, &listing.commit);
        if let Wanted::Autoencoder { half } = wanted {
            let Some(inside) = needed::autoencoder_folder(&listing.files) else {
                return Err(not_a_model(id, listing, "autoencoder"));
            };
            self.texts(id, listing, wanted, watch)?;
            self.weights(id, listing, (inside, "vae"), half, watch)?;
            return Ok(folder.join(inside));
        }
        if wanted == Wanted::Lora {
            return match lora_file(&listing.files) {
                Some(file) => self.download(id, listing, file, watch),
                None => Err(not_a_model(id, listing, "LoRA")),
            };
        }
        if let Some(missing) = REQUIRED.iter().find(|path| !listing.files.iter().any(|file| file == *path)) {
            let has_unet = listing.files.iter().any(|file| file == REQUIRED[0]);
            return Err(match has_unet {
                true => HubError::NotAModel {
                    id: id.clone().into(),
                    what: "model",
                    hint: format!(": `{missing}` is missing"),
                },
                false => not_a_model(id, listing, "model"),
            });
        }
        // What cannot be used is refused before anything large is fetched.
        let half = matches!(wanted, Wanted::Model { half: true });
        let weighty = !matches!(wanted, Wanted::Texts);
        let parts: Vec<&'static str> = PARTS
            .into_iter()
            .filter(|part| listing.files.iter().any(|file| *file == format!("{part}/config.json")))
            .collect();
        if weighty {
            for part in &parts {
                check(id, part, &needed::weights(&listing.files, &format!("{part}/"), part, half))?;
            }
        }
        self.texts(id, listing, wanted, watch)?;
        if weighty {
            for part in parts {
                self.weights(id, listing, (&format!("{part}/"), part), half, watch)?;
            }
        }
        Ok(folder)
    }

    fn texts(&self, id: &HubId, listing: &Listing, wanted: Wanted, watch: &mut Watch) -> Result<(), HubError> {
        needed::texts(&listing.files, wanted)
            .iter()
            .try_for_each(|file| self.download(id, listing, file, watch).map(drop))
    }

    fn weights(
        &self,
        id: &HubId,
        listing: &Listing,
        (folder, part): (&str, &'static str),
        half: bool,
        watch: &mut Watch,
    ) -> Result<(), HubError> {
        let files = needed::weights(&listing.files, folder, part, half);
        check(id, part, &files)?;
        match files {
            PartFiles::Whole(file) => self.download(id, listing, &file, watch).map(drop),
            PartFiles::Index(file) => {
                let index = self.download(id, listing, &file, watch)?;
                let beside = |name: &String| format!("{folder}{name}");
                shard_names(&index)?
                    .iter()
                    .try_for_each(|name| self.download(id, listing, &beside(name), watch).map(drop))
            }
            PartFiles::Pickle(_) | PartFiles::None => Ok(()),
        }
    }

    fn download(&self, id: &HubId, listing: &Listing, file: &str, watch: &mut Watch) -> Result<PathBuf, HubError> {
        let Self { client, cache } = self;
        Download { client, cache, id, commit: &listing.commit, file }.run(watch)
    }

    /// Notes which commit a branch or tag is.
    fn name(&self, id: &HubId, commit: &str) -> Result<(), HubError> {
        let path = self.cache.reference(id);
        let folder = path.parent().unwrap_or(Path::new("."));
        let failed = |cause| HubError::of(&path, cause);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = tempfile::Builder::new().prefix(".sega-").tempfile_in(folder).map_err(failed)?;
        std::io::Write::write_all(&mut file, commit.as_bytes()).map_err(failed)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
        }
        file.persist(&path).map(drop).map_err(|error| failed(error.error))
    }
}

/// Refuses weights that cannot be read.
fn check(id: &HubId, part: &'static str, files: &PartFiles) -> Result<(), HubError> {
    match files {
        PartFiles::Whole(_) | PartFiles::Index(_) => Ok(()),
        PartFiles::Pickle(file) => Err(HubError::Pickle { id: id.clone().into(), part, file: file.clone() }),
        PartFiles::None => {
            let hint = format!(": it has no weights for its {part}");
            Err(HubError::NotAModel { id: id.clone().into(), what: "whole model", hint })
        }
    }
}

fn not_a_model(id: &HubId, listing: &Listing, what: &'static str) -> HubError {
    let single: Vec<&String> =
        listing.files.iter().filter(|file| file.ends_with(".safetensors") && !file.contains('/')).collect();
    let hint = match single.first() {
        Some(file) => format!(", but {} `.safetensors`; name one: `{id}/{file}`", single.len()),
        None => "; check the name".to_owned(),
    };
    HubError::NotAModel { id: id.clone().into(), what, hint }
}
