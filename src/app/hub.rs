//! Names of models as their files: what is here, and what a hub has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Failure;
use super::report::Report;
use crate::model::files::{FilesError, Found, ModelFiles};
use crate::model::hub::{HubId, HubSettings, Wanted};
#[cfg(feature = "engine")]
use crate::model::lora::LoraFile;
use crate::recipe::Recipe;

/// The hub that is asked where `HF_ENDPOINT` names no other.
const ENDPOINT: &str = "https://huggingface.co";
/// How long a silent hub is waited for where `HF_HUB_DOWNLOAD_TIMEOUT` does not say.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the environment says of the hub and its cache: the variables of Python's `huggingface_hub`.
pub(super) fn settings() -> HubSettings {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let path = |name: &str| variable(name).map(PathBuf::from);
    let home = || std::env::home_dir().unwrap_or_default();
    let shared = || path("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache")).join("huggingface");
    let hub_home = path("HF_HOME").unwrap_or_else(shared);
    let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| hub_home.join("hub"));
    let in_file = || {
        let file = path("HF_TOKEN_PATH").unwrap_or_else(|| hub_home.join("token"));
        std::fs::read_to_string(file).ok()
    };
    let token = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN")).or_else(in_file);
    let token = token.map(|token| token.trim().to_owned()).filter(|token| {
        // Anything else could not be sent.
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let yes = |value: String| ["1", "on", "yes", "true"].iter().any(|yes| value.trim().eq_ignore_ascii_case(yes));
    let seconds = variable("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|value| value.trim().parse::<u64>().ok());
    HubSettings {
        cache,
        endpoint: variable("HF_ENDPOINT")
            .unwrap_or_else(|| ENDPOINT.to_owned())
            .trim()
            .trim_end_matches('/')
            .to_owned(),
        token,
        offline: variable("HF_HUB_OFFLINE").or_else(|| variable("TRANSFORMERS_OFFLINE")).is_some_and(yes),
        patience: seconds.map_or(PATIENCE, |seconds| Duration::from_secs(seconds.max(1))),
    }
}

/// Finds the files of a recipe's model, with the autoencoder that the recipe gives it. What the cache lacks is fetched;
/// `interrupted` may end that.
pub(super) fn find(
    recipe: &Recipe,
    folder: &Path,
    wanted: Wanted,
    report: &mut Report,
    interrupted: &dyn Fn() -> bool,
) -> Result<ModelFiles, Failure> {
    find_with(recipe, folder, wanted, &mut |id, wanted| get(id, wanted, Asked::Once, report, interrupted))
}

/// The same, with what is on a hub as `get` has it.
pub(super) fn find_with(
    recipe: &Recipe,
    folder: &Path,
    wanted: Wanted,
    get: &mut dyn FnMut(&HubId, Wanted) -> Result<PathBuf, Failure>,
) -> Result<ModelFiles, Failure> {
    let files = match ModelFiles::find(&recipe.model.value, folder)? {
        Found::Here(files) => files,
        Found::OnHub(id) => {
            let path = get(&id, wanted)?;
            if id.file.is_some() { ModelFiles::in_file(&path)? } else { ModelFiles::in_folder(path)? }
        }
    };
    let half = matches!(wanted, Wanted::Model { half: true });
    let files = if half { files.in_half_precision() } else { files };
    let Some(vae) = &recipe.vae else { return Ok(files) };
    let path = folder.join(&vae.value);
    let on_hub = HubId::parse(&vae.value).filter(|_| !path.exists());
    let path = match on_hub {
        // A plan needs nothing of it: latents are the model's own, whoever decodes them.
        Some(_) if wanted == Wanted::Texts => return Ok(files),
        Some(id) => get(&id, Wanted::Autoencoder { half })?,
        None => path,
    };
    files.with_autoencoder(path).map_err(|error: FilesError| error.into())
}

/// Finds the LoRAs that a recipe names: a file or a folder, relative to the recipe's own, or else a hub's.
#[cfg(feature = "engine")]
pub(super) fn find_loras(
    recipe: &Recipe,
    folder: &Path,
    report: &mut Report,
    interrupted: &dyn Fn() -> bool,
) -> Result<Vec<LoraFile>, Failure> {
    find_loras_with(recipe, folder, &mut |id, wanted| get(id, wanted, Asked::Once, report, interrupted))
}

/// The same, with what is on a hub as `get` has it.
#[cfg(feature = "engine")]
pub(super) fn find_loras_with(
    recipe: &Recipe,
    folder: &Path,
    get: &mut dyn FnMut(&HubId, Wanted) -> Result<PathBuf, Failure>,
) -> Result<Vec<LoraFile>, Failure> {
    let mut loras = Vec::with_capacity(recipe.loras.len());
    for lora in &recipe.loras {
        let (name, strength) = (&lora.source.value, lora.strength.get());
        let on_hub = HubId::parse(name).filter(|_| !folder.join(name).exists());
        loras.push(match on_hub {
            Some(id) => LoraFile { path: get(&id, Wanted::Lora)?, strength },
            None => LoraFile::locate(name, folder, strength)?,
        });
    }
    Ok(loras)
}

/// Whether what is in the cache will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// It will.
    Once,
    /// The newest state is wanted.
    #[cfg_attr(not(feature = "hub"), expect(dead_code, reason = "nothing is fetched"))]
    Anew,
}

/// What is wanted of a repository, from the cache or from the hub.
#[cfg(feature = "hub")]
pub(super) fn get(
    id: &HubId,
    wanted: Wanted,
    asked: Asked,
    report: &mut Report,
    interrupted: &dyn Fn() -> bool,
) -> Result<PathBuf, Failure> {
    use std::ops::ControlFlow;

    let mut bars = report.downloads();
    let path = get_watched(id, wanted, asked, &mut |progress| {
        bars.show(progress);
        if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bars.finish();
    path
}

/// The same; `watch` sees how far it is, and may end it.
#[cfg(feature = "hub")]
pub(super) fn get_watched(
    id: &HubId,
    wanted: Wanted,
    asked: Asked,
    watch: &mut crate::model::hub::Watch<'_>,
) -> Result<PathBuf, Failure> {
    use crate::model::hub::{Hub, HubError};

    let settings = settings();
    let hub = Hub::new(&settings);
    let path = match asked {
        Asked::Once => hub.get(id, wanted, watch),
        Asked::Anew => hub.fetch(id, wanted, watch),
    };
    path.map_err(|error| match error {
        HubError::Interrupted => Failure::Interrupted,
        error => error.into(),
    })
}

/// What is wanted of a repository, if the cache has all of it.
#[cfg(feature = "watch")]
pub(super) fn cached(id: &HubId, wanted: Wanted) -> Option<PathBuf> {
    crate::model::hub::Cache::at(settings().cache).find(id, wanted)
}

/// What is wanted of a repository, from the cache.
#[cfg(not(feature = "hub"))]
pub(super) fn get(
    id: &HubId,
    wanted: Wanted,
    _: Asked,
    _: &mut Report,
    _: &dyn Fn() -> bool,
) -> Result<PathBuf, Failure> {
    from_cache(id, wanted)
}

/// The same.
#[cfg(all(feature = "watch", not(feature = "hub")))]
pub(super) fn get_watched(
    id: &HubId,
    wanted: Wanted,
    _: Asked,
    _: &mut crate::model::hub::Watch<'_>,
) -> Result<PathBuf, Failure> {
    from_cache(id, wanted)
}

#[cfg(not(feature = "hub"))]
fn from_cache(id: &HubId, wanted: Wanted) -> Result<PathBuf, Failure> {
    use crate::model::hub::{Cache, HubError};
    let cache = Cache::at(settings().cache);
    let missing = || HubError::NoClient { id: id.clone().into(), cache: cache.root().to_owned() };
    Ok(cache.find(id, wanted).ok_or_else(missing)?)
}
