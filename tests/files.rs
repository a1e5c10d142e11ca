//! Models' files: what names mean, and folders that are whole, in pieces, or something else.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use sega::model::files::{FilesError, ModelFiles, Weights};
use tempfile::TempDir;

/// A folder with empty files, or with the text after `=`.
fn folder(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let (path, text) = file.split_once('=').unwrap_or((file, ""));
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// What `locate` says of a name beside these files, the folder's own path written as `/HERE`.
fn refusal(files: &[&str], name: &str) -> String {
    let folder = folder(files);
    let message = ModelFiles::locate(name, folder.path()).unwrap_err().to_string();
    message.replace(folder.path().to_str().unwrap(), "/HERE")
}

/// The weights of a part in a folder with these files: their names, or what is wrong.
fn weights(part: &str, files: &[&str]) -> Result<Vec<String>, String> {
    let folder = folder(files);
    fs::write(folder.path().join("model_index.json"), "{}").unwrap();
    let model = ModelFiles::locate(folder.path().to_str().unwrap(), Path::new("/nowhere")).unwrap();
    let here = folder.path().to_str().unwrap();
    let name = |weights: Weights| match weights {
        Weights::File(path) => path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned(),
        Weights::Embedded(_) | Weights::Section { .. } => panic!("a folder has files"),
    };
    let found = model.weights(part).map_err(|error| error.to_string().replace(here, "/HERE"))?;
    Ok(found.into_iter().map(name).collect())
}

#[test]
fn mini_is_built_in() {
    // A folder of the same name does not hide it.
    let folder = folder(&["mini/model_index.json=other"]);
    let mini = ModelFiles::locate("mini", folder.path()).unwrap();
    let index = mini.text("model_index.json").unwrap().unwrap();
    assert!(index.contains("AutoencoderTiny"));
    for file in ["unet/config.json", "text_encoder/config.json", "vae/config.json", "scheduler/scheduler_config.json"] {
        assert!(mini.text(file).unwrap().unwrap().contains("_"), "{file}");
    }
    assert_eq!(mini.text("unet/other.json").unwrap(), None);
}

/// Every file of the model is what the program carries.
#[test]
fn mini_is_whole() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let (mini, folder) =
        ["mini", source.to_str().unwrap()].map(|name| ModelFiles::locate(name, Path::new("")).unwrap()).into();
    let mut seen = 0;
    for part in fs::read_dir(&source).unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.path().is_dir()) {
        for file in fs::read_dir(part.path()).unwrap().map(|entry| entry.unwrap().path()) {
            let name =
                format!("{}/{}", part.file_name().to_str().unwrap(), file.file_name().unwrap().to_str().unwrap());
            if name.ends_with(".json") || name.ends_with(".txt") {
                assert_eq!(mini.text(&name).unwrap(), folder.text(&name).unwrap(), "{name}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 8);
}

#[cfg(feature = "engine")]
#[test]
fn mini_carries_its_weights() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let mini = ModelFiles::locate("mini", Path::new("")).unwrap();
    for (part, file) in [
        ("unet", "diffusion_pytorch_model.safetensors"),
        ("text_encoder", "model.safetensors"),
        ("vae", "diffusion_pytorch_model.safetensors"),
    ] {
        let found = mini.weights(part).unwrap();
        let [Weights::Embedded(bytes)] = found[..] else { panic!("{part}: {found:?}") };
        assert!(fs::read(source.join(part).join(file)).unwrap() == bytes, "{part}");
        assert_eq!(bytes.as_ptr() as usize % 8, 0, "{part}: safetensors' numbers are read in place");
    }
}

#[test]
fn folders_beside_the_recipe() {
    let here = folder(&["models/own/model_index.json=first", "bare/unet/config.json=second"]);
    let text = |name: &str, beside: &Path, file: &str| ModelFiles::locate(name, beside).unwrap().text(file).unwrap();
    assert_eq!(text("models/own", here.path(), "model_index.json").as_deref(), Some("first"));
    assert_eq!(text("./models/own/", here.path(), "model_index.json").as_deref(), Some("first"));
    assert_eq!(text("../own", &here.path().join("models/own"), "model_index.json").as_deref(), Some("first"));
    assert_eq!(text("bare", here.path(), "unet/config.json").as_deref(), Some("second"));
    assert_eq!(text("bare", here.path(), "model_index.json"), None);
    let absolute = here.path().join("bare");
    assert_eq!(text(absolute.to_str().unwrap(), Path::new("/nowhere"), "unet/config.json").as_deref(), Some("second"));
}

#[test]
fn names_that_mean_nothing() {
    insta::assert_snapshot!(
        [
            refusal(&[], "mimi"),
            refusal(&[], "Mini"),
            refusal(&[], "stable-diffusion"),
            refusal(&[], "owner/name"),
            refusal(&[], "owner/name@v1.0"),
            refusal(&[], "./models/own"),
            refusal(&[], "/HERE/models/own"),
            refusal(&[], "model.safetensors"),
            refusal(&["model.safetensors"], "model.safetensors"),
            refusal(&[], "old.ckpt"),
            refusal(&["notes.txt"], "notes.txt"),
            refusal(&["pictures/one.png"], "pictures"),
            refusal(&["owner/name/one.png"], "owner/name"),
            refusal(&[], ""),
        ]
        .join("\n")
    );
}

#[test]
fn whole_weights() {
    let unet = "unet/diffusion_pytorch_model.safetensors";
    assert_eq!(weights("unet", &[unet]).unwrap(), [unet]);
    assert_eq!(
        weights("vae", &[unet, "vae/diffusion_pytorch_model.safetensors"]).unwrap(),
        ["vae/diffusion_pytorch_model.safetensors"]
    );
    assert_eq!(
        weights("text_encoder", &["text_encoder/model.safetensors"]).unwrap(),
        ["text_encoder/model.safetensors"]
    );
    // Half precision where there is nothing else.
    let half = "unet/diffusion_pytorch_model.fp16.safetensors";
    assert_eq!(weights("unet", &[half]).unwrap(), [half]);
    assert_eq!(weights("unet", &[half, unet, "unet/diffusion_pytorch_model.bin"]).unwrap(), [unet]);
}

#[test]
fn weights_in_shards() {
    let shards = ["unet/one.safetensors", "unet/two.safetensors"];
    for index in [
        "diffusion_pytorch_model.safetensors.index.json",
        "diffusion_pytorch_model.safetensors.index.fp16.json",
        "diffusion_pytorch_model.safetensors.fp16.index.json",
    ] {
        let map = r#"{"weight_map": {"a": "two.safetensors", "b": "one.safetensors", "c": "two.safetensors"}}"#;
        let index = format!("unet/{index}={map}");
        assert_eq!(weights("unet", &[&index, shards[0], shards[1]]).unwrap(), shards);
    }
    let refused = |map: &str| {
        let index = format!("unet/diffusion_pytorch_model.safetensors.index.json={map}");
        weights("unet", &[&index, "unet/one.safetensors", "other.safetensors"]).unwrap_err()
    };
    insta::assert_snapshot!(
        [
            refused("{"),
            refused("{}"),
            refused(r#"{"weight_map": {}}"#),
            refused(r#"{"weight_map": {"a": 1, "b": "one.safetensors"}}"#),
            refused(r#"{"weight_map": {"a": "two.safetensors"}}"#),
            refused(r#"{"weight_map": {"a": "../other.safetensors"}}"#),
            refused(r#"{"weight_map": {"a": "/etc/passwd"}}"#),
        ]
        .join("\n")
    );
}

#[test]
fn weights_that_are_not_there() {
    insta::assert_snapshot!(
        [
            weights("unet", &[]).unwrap_err(),
            weights("unet", &["unet/diffusion_pytorch_model.bin"]).unwrap_err(),
            weights("unet", &["unet/diffusion_pytorch_model.bin.index.json"]).unwrap_err(),
            weights("vae", &["vae/diffusion_pytorch_model.fp16.bin"]).unwrap_err(),
            weights("text_encoder", &["text_encoder/pytorch_model.bin"]).unwrap_err(),
        ]
        .join("\n")
    );
}

#[test]
fn texts_that_cannot_be_read() {
    let here = folder(&["model_index.json={}"]);
    fs::create_dir_all(here.path().join("unet")).unwrap();
    fs::write(here.path().join("unet/config.json"), [0xff, 0xfe]).unwrap();
    let files = ModelFiles::locate(here.path().to_str().unwrap(), Path::new("")).unwrap();
    let error = files.text("unet/config.json").unwrap_err();
    assert!(matches!(&error, FilesError::Unreadable { path, .. } if path.ends_with("unet/config.json")), "{error}");
}
