//! A folder in diffusers layout: which of its files a part's weights are.

use std::io::ErrorKind;
use std::path::Path;

use super::{FilesError, Weights};

/// The text of a file in a folder; `None` where there is none.
pub(super) fn text(folder: &Path, path: &str) -> Result<Option<String>, FilesError> {
    let path = folder.join(path);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(FilesError::Unreadable { path, cause }),
    }
}

/// What the weight files of a part are called, without variant and ending.
pub(in crate::model) fn stem(part: &str) -> &'static str {
    if part.starts_with("text_encoder") { "model" } else { "diffusion_pytorch_model" }
}

/// The weight files of a part that lies in `inside` of a folder.
pub(super) fn weights(folder: &Path, inside: &str, part: &str, half: bool) -> Result<Vec<Weights>, FilesError> {
    let stem = stem(part);
    let beside = folder.join(inside);
    for variant in if half { [".fp16", ""] } else { ["", ".fp16"] } {
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
    let pickled = if part.starts_with("text_encoder") { "pytorch_model" } else { stem };
    let old = ["bin", "fp16.bin", "bin.index.json"].map(|ending| beside.join(format!("{pickled}.{ending}")));
    let hint = if let Some(old) = old.iter().find(|old| old.exists()) {
        format!(
            ", and `{}` is in PyTorch's pickle format, which is not safe to read: convert it to safetensors",
            old.display()
        )
    } else {
        "; fetch the model again".to_owned()
    };
    let expected = Path::new(inside).join(format!("{stem}.safetensors")).display().to_string();
    Err(FilesError::NoWeights { folder: folder.to_owned(), part: part.to_owned(), expected, hint })
}

/// The files that an index of shards names, each once.
fn shards(index: &Path) -> Result<Vec<Weights>, FilesError> {
    let folder = index.parent().unwrap_or(Path::new("."));
    let missing = |name: &str| FilesError::BadIndex { path: index.to_owned(), reason: format!("`{name}` is missing") };
    let file = |name: String| Some(folder.join(&name)).filter(|path| path.is_file()).ok_or_else(|| missing(&name));
    shard_names(index)?.into_iter().map(|name| file(name).map(Weights::File)).collect()
}

/// The names in an index of shards, each once: files beside it.
pub(in crate::model) fn shard_names(index: &Path) -> Result<Vec<String>, FilesError> {
    let text =
        std::fs::read_to_string(index).map_err(|cause| FilesError::Unreadable { path: index.to_owned(), cause })?;
    let bad = |reason: String| FilesError::BadIndex { path: index.to_owned(), reason };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let map = value["weight_map"].as_object().ok_or_else(|| bad("it has no `weight_map`".to_owned()))?;
    let mut names: Vec<String> = map.values().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    if names.len() < map.len() || names.is_empty() {
        return Err(bad("its `weight_map` does not name a file for each tensor".to_owned()));
    }
    names.sort_unstable();
    names.dedup();
    let plain = |name: &str| Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    match names.iter().find(|name| !plain(name)) {
        Some(name) => Err(bad(format!("`{name}` is no file beside it"))),
        None => Ok(names),
    }
}
