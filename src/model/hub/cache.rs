//! The cache on disk: `models--owner--name` with `refs` (a branch's commit), `snapshots` (a commit's files, as links) and
//! `blobs` (the files themselves, under their checksums).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{HubError, HubId, Wanted};
use crate::model::files::{Found, ModelFiles};
use crate::model::header::Header;
use crate::model::lora::LORA_IN_FOLDER;
use crate::model::single_file::{Family, SingleFile};

/// The parts that have weights.
pub(super) const PARTS: [&str; 4] = ["unet", "vae", "text_encoder", "text_encoder_2"];

/// The configurations without which there is no model.
pub(super) const REQUIRED: [&str; 4] =
    ["unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json"];

/// A cache.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// A repository in the cache.
#[derive(Debug, Clone)]
pub struct CachedModel {
    /// Its name, without a revision.
    pub id: HubId,
    /// Its folder.
    pub folder: PathBuf,
    /// The bytes that it takes.
    pub bytes: u64,
    /// Its snapshots.
    pub snapshots: Vec<Snapshot>,
}

/// One state of a repository in the cache.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The commit.
    pub commit: String,
    /// The branches and tags that are there.
    pub names: Vec<String>,
    /// Its folder.
    pub folder: PathBuf,
    /// The family of the model, or `LoRA`, if it is one.
    pub family: Option<&'static str>,
    /// Whether it can be used without fetching anything.
    pub whole: bool,
}

impl Cache {
    /// The cache in a folder, which need not be there.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a repository.
    pub fn repository(&self, id: &HubId) -> PathBuf {
        self.root.join(folder_name(id))
    }

    /// The folder of a commit's files.
    pub(super) fn snapshot(&self, id: &HubId, commit: &str) -> PathBuf {
        self.repository(id).join("snapshots").join(commit)
    }

    /// The file under a checksum.
    #[cfg(feature = "hub")]
    pub(super) fn blob(&self, id: &HubId, etag: &str) -> PathBuf {
        self.repository(id).join("blobs").join(etag)
    }

    /// The file whose lock is held by who fetches a file of this checksum: Python's.
    #[cfg(feature = "hub")]
    pub(super) fn lock(&self, id: &HubId, etag: &str) -> PathBuf {
        self.root.join(".locks").join(folder_name(id)).join(format!("{etag}.lock"))
    }

    /// The file that says which commit a branch or tag is.
    pub(super) fn reference(&self, id: &HubId) -> PathBuf {
        self.repository(id).join("refs").join(id.revision())
    }

    /// What is wanted of a repository, if all of it is here: a folder, or a file.
    pub fn find(&self, id: &HubId, wanted: Wanted) -> Option<PathBuf> {
        let folder = self.find_snapshot(id)?;
        match &id.file {
            Some(file) => Some(folder.join(file)).filter(|path| path.is_file()),
            None if wanted == Wanted::Lora => {
                let names: Vec<String> = entries(&folder).ok()?.iter().filter_map(|path| name_of(path)).collect();
                lora_file(&names).map(|name| folder.join(name))
            }
            None => is_whole(&folder, wanted).then(|| match wanted {
                Wanted::Autoencoder { .. } if folder.join("vae/config.json").is_file() => folder.join("vae"),
                _ => folder,
            }),
        }
    }

    fn find_snapshot(&self, id: &HubId) -> Option<PathBuf> {
        let named = fs::read_to_string(self.reference(id)).ok().map(|text| text.trim().to_owned());
        let commit = named.or_else(|| Some(id.revision().to_owned())).filter(|commit| is_commit(commit))?;
        Some(self.snapshot(id, &commit)).filter(|folder| folder.is_dir())
    }

    /// Every repository of models that is here, by name.
    pub fn models(&self) -> Result<Vec<CachedModel>, HubError> {
        let mut models = Vec::new();
        for folder in folders(&self.root)? {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let id = name.strip_prefix("models--").map(|name| name.replacen("--", "/", 1));
            let Some(id) = id.as_deref().and_then(HubId::parse) else { continue };
            models.push(CachedModel::read(id, folder)?);
        }
        models.sort_by_key(|model| model.id.repository().to_lowercase());
        Ok(models)
    }

    /// Takes a repository out of the cache, or one state of it; says whether there was anything.
    pub fn remove(&self, id: &HubId) -> Result<bool, HubError> {
        let repository = self.repository(id);
        if !repository.is_dir() {
            return Ok(false);
        }
        let Some(revision) = &id.revision else {
            // Renamed first: nobody ever finds half of it.
            let gone = self.root.join(format!(".removed-{}-{}", folder_name(id), std::process::id()));
            fs::rename(&repository, &gone).map_err(|cause| HubError::of(&repository, cause))?;
            fs::remove_dir_all(&gone).map_err(|cause| HubError::of(&gone, cause))?;
            return Ok(true);
        };
        let reference = self.reference(id);
        let named = fs::read_to_string(&reference).ok().map(|commit| commit.trim().to_owned());
        let removed = |path: &Path, result: std::io::Result<()>| result.map_err(|cause| HubError::of(path, cause));
        if named.is_some() {
            removed(&reference, fs::remove_file(&reference))?;
        }
        let commit = named.clone().unwrap_or_else(|| revision.clone());
        let others = references(&repository)?;
        let snapshot = self.snapshot(id, &commit);
        let there = is_commit(&commit) && snapshot.is_dir();
        if there && (named.is_none() || !others.values().any(|other| *other == commit)) {
            removed(&snapshot, fs::remove_dir_all(&snapshot))?;
            for (name, other) in others {
                let path = repository.join("refs").join(name);
                if other == commit {
                    removed(&path, fs::remove_file(&path))?;
                }
            }
            self.remove_unused_blobs(&repository)?;
        }
        Ok(there || named.is_some())
    }

    fn remove_unused_blobs(&self, repository: &Path) -> Result<(), HubError> {
        let mut used = Vec::new();
        for file in files(&repository.join("snapshots"))? {
            used.extend(file.canonicalize().ok());
        }
        for blob in files(&repository.join("blobs"))? {
            if !blob.canonicalize().is_ok_and(|path| used.contains(&path)) {
                fs::remove_file(&blob).map_err(|cause| HubError::of(&blob, cause))?;
            }
        }
        Ok(())
    }
}

impl CachedModel {
    fn read(id: HubId, folder: PathBuf) -> Result<Self, HubError> {
        let references = references(&folder)?;
        let size = |path: PathBuf| {
            path.symlink_metadata().map_or(0, |metadata| if metadata.is_file() { metadata.len() } else { 0 })
        };
        let bytes = files(&folder)?.into_iter().map(size).sum();
        let mut snapshots: Vec<Snapshot> = folders(&folder.join("snapshots"))?
            .into_iter()
            .map(|folder| {
                let commit = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let names = references.iter().filter(|(_, other)| **other == commit).map(|(name, _)| name.clone());
                let (family, whole) = describe(&folder);
                Snapshot { names: names.collect(), commit, family, whole, folder }
            })
            .collect();
        snapshots.sort_by(|a, b| a.commit.cmp(&b.commit));
        Ok(Self { id, folder, bytes, snapshots })
    }
}

/// The family of the model in a snapshot, and whether it is whole.
fn describe(folder: &Path) -> (Option<&'static str>, bool) {
    let network = fs::read_to_string(folder.join("unet/config.json")).ok();
    if let Some(network) = network.and_then(|text| serde_json::from_str::<Value>(&text).ok()) {
        let width = network["cross_attention_dim"].as_u64();
        let family = match (network["addition_embed_type"].as_str(), width) {
            (Some("text_time"), _) => Some(Family::Xl),
            (None, Some(768)) => Some(Family::First),
            (None, Some(1024)) => Some(Family::Second),
            _ => None,
        };
        return (family.map(Family::name), is_whole(folder, Wanted::Model { half: false }));
    }
    let files = files(folder).unwrap_or_default();
    let single = || files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "safetensors"));
    match single().find_map(|file| SingleFile::open(file).ok()) {
        Some(file) => (Some(file.family().name()), true),
        None if single().any(|file| is_lora(file)) => (Some("LoRA"), true),
        None => (None, false),
    }
}

/// Whether all that is wanted is in a snapshot.
fn is_whole(folder: &Path, wanted: Wanted) -> bool {
    let has = |path: &str| folder.join(path).is_file();
    if let Wanted::Autoencoder { .. } = wanted {
        let mini = ModelFiles::find("mini", Path::new(""));
        let Ok(Found::Here(any)) = mini else { return false };
        return any.with_autoencoder(folder.to_owned()).is_ok_and(|files| files.weights("vae").is_ok());
    }
    let tokenizer =
        |tokenizer: &str| has(&format!("{tokenizer}/tokenizer.json")) || has(&format!("{tokenizer}/merges.txt"));
    let index = fs::read_to_string(folder.join("model_index.json")).ok();
    let second = lists(index.as_deref(), "text_encoder_2");
    let parts = PARTS.iter().filter(|part| second || **part != "text_encoder_2");
    REQUIRED.iter().all(|path| has(path))
        && tokenizer("tokenizer")
        && (!second || (tokenizer("tokenizer_2") && has("text_encoder_2/config.json")))
        && match wanted {
            Wanted::Texts | Wanted::Autoencoder { .. } | Wanted::Lora => true,
            Wanted::Model { .. } => ModelFiles::in_folder(folder.to_owned())
                .is_ok_and(|files| parts.into_iter().all(|part| files.weights(part).is_ok())),
        }
}

/// The LoRA among the files of a repository: the one of diffusers' name, or the only `.safetensors` at the top.
pub(super) fn lora_file(files: &[String]) -> Option<&String> {
    let mut single = files.iter().filter(|file| file.ends_with(".safetensors") && !file.contains('/'));
    files.iter().find(|file| *file == LORA_IN_FOLDER).or_else(|| single.next().filter(|_| single.next().is_none()))
}

fn name_of(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

/// Whether a file holds a LoRA, as far as the names of its tensors tell.
fn is_lora(path: &Path) -> bool {
    let header = Header::read(path).ok();
    header.is_some_and(|header| header.tensors.keys().any(|name| name.contains(".lora_") || name.contains("_lora.")))
}

/// Whether `model_index.json` lists a part.
fn lists(index: Option<&str>, part: &str) -> bool {
    let index = index.and_then(|text| serde_json::from_str::<Value>(text).ok());
    index.is_some_and(|index| index[part].as_array().is_some_and(|names| names.iter().any(|name| !name.is_null())))
}

fn folder_name(id: &HubId) -> String {
    format!("models--{}--{}", id.owner, id.name)
}

/// Whether a text is the name of a commit.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commits of all branches and tags.
fn references(repository: &Path) -> Result<BTreeMap<String, String>, HubError> {
    let root = repository.join("refs");
    let mut found = BTreeMap::new();
    for file in files(&root)? {
        let name = file.strip_prefix(&root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        let commit = fs::read_to_string(&file).map(|commit| commit.trim().to_owned()).unwrap_or_default();
        if is_commit(&commit) {
            found.insert(name, commit);
        }
    }
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, HubError> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect()),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(HubError::of(folder, cause)),
    }
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, HubError> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// All files below a folder; links are not followed to folders.
fn files(folder: &Path) -> Result<Vec<PathBuf>, HubError> {
    let mut found = Vec::new();
    for path in entries(folder)? {
        let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        if is_folder { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}
