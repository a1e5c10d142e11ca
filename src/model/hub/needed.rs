//! Which files of a repository a model is made of. Repositories hold much else: other formats, other precisions, pictures.

use super::Wanted;
use super::cache::REQUIRED;
use crate::model::files::stem;

/// The texts that a model may have besides.
const OPTIONAL: [&str; 12] = [
    "model_index.json",
    "text_encoder_2/config.json",
    "tokenizer/tokenizer.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
    "tokenizer_2/tokenizer.json",
    "tokenizer_2/vocab.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/special_tokens_map.json",
];

/// The weights of one part, as a listing of files tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PartFiles {
    /// One file.
    Whole(String),
    /// An index that names several.
    Index(String),
    /// Only a pickle.
    Pickle(String),
    /// Nothing.
    None,
}

/// The folder of an autoencoder in a repository: that of its own, or a model's.
pub(super) fn autoencoder_folder(listing: &[String]) -> Option<&'static str> {
    let has = |path: &str| listing.iter().any(|file| file == path);
    if has("vae/config.json") {
        Some("vae/")
    } else if has("config.json") {
        Some("")
    } else {
        None
    }
}

/// The texts to fetch.
pub(super) fn texts(listing: &[String], wanted: Wanted) -> Vec<String> {
    let wanted_here = |path: &str| match wanted {
        Wanted::Autoencoder { .. } => {
            autoencoder_folder(listing).is_some_and(|folder| path == format!("{folder}config.json"))
        }
        Wanted::Lora => false,
        Wanted::Texts | Wanted::Model { .. } => REQUIRED.contains(&path) || OPTIONAL.contains(&path),
    };
    listing.iter().filter(|path| wanted_here(path)).cloned().collect()
}

/// The weights of a part that lies in `folder` (which ends with a slash, or is empty).
pub(super) fn weights(listing: &[String], folder: &str, part: &str, half: bool) -> PartFiles {
    let stem = stem(part);
    let find = |name: String| listing.iter().find(|file| **file == format!("{folder}{name}")).cloned();
    for variant in if half { [".fp16", ""] } else { ["", ".fp16"] } {
        if let Some(file) = find(format!("{stem}{variant}.safetensors")) {
            return PartFiles::Whole(file);
        }
        let indices =
            [format!("{stem}.safetensors.index{variant}.json"), format!("{stem}.safetensors{variant}.index.json")];
        if let Some(file) = indices.into_iter().find_map(find) {
            return PartFiles::Index(file);
        }
    }
    let in_folder = |file: &&String| {
        file.strip_prefix(folder)
            .is_some_and(|name| !name.contains('/') && (name.ends_with(".bin") || name.ends_with(".ckpt")))
    };
    listing.iter().find(in_folder).map_or(PartFiles::None, |file| PartFiles::Pickle(file.clone()))
}
