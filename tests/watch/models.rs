//! Models, and what belongs to them.

use std::fs;
use std::path::Path;

use super::{RECIPE, Watch};
use crate::network::{folder, listed, serialized, weight};

/// A LoRA of rank 1 for a layer of mini, as a file.
fn lora(value: f32) -> Vec<u8> {
    let bytes =
        |count: usize, value: f32| -> Vec<u8> { vec![value; count].iter().flat_map(|x| x.to_le_bytes()).collect() };
    let (down, up) = (bytes(256, 0.05), bytes(256, value));
    let view =
        |shape: [usize; 2], bytes| safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.into(), bytes);
    let module = "lora_unet_time_embedding_linear_2";
    let tensors = [
        (format!("{module}.lora_down.weight"), view([1, 256], &down).unwrap()),
        (format!("{module}.lora_up.weight"), view([256, 1], &up).unwrap()),
    ];
    safetensors::serialize(tensors, None).unwrap()
}

/// A model with two text encoders, random weights, and the tokenizer of mini.
fn write_pair(to: &Path) {
    let mini = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let copy = |from: &Path, name: &str| {
        fs::create_dir_all(to.join(name).parent().unwrap()).unwrap();
        fs::copy(from, to.join(name)).unwrap();
    };
    copy(&mini.join("model_index.json"), "model_index.json");
    copy(&folder("pair").join("scheduler/scheduler_config.json"), "scheduler/scheduler_config.json");
    for tokenizer in ["tokenizer", "tokenizer_2"] {
        for file in ["tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"] {
            copy(&mini.join("tokenizer").join(file), &format!("{tokenizer}/{file}"));
        }
    }
    // As many tokens as mini has, and as long a text; a network that is not told the guidance scale.
    let (vocabulary, length) = (362, 32);
    for (part, file) in [
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
        ("text_encoder_2", "model"),
    ] {
        let text = fs::read_to_string(folder("pair").join(part).join("config.json")).unwrap();
        let mut config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        config.remove("time_cond_proj_dim");
        if part.starts_with("text") {
            config.insert("vocab_size".to_owned(), vocabulary.into());
            config.insert("max_position_embeddings".to_owned(), length.into());
        }
        let tensors = listed("pair", part).into_iter().map(|(name, mut shape)| {
            if name.contains("token_embedding") {
                shape[0] = vocabulary;
            } else if name.contains("position_embedding") {
                shape[0] = length;
            }
            let values = weight(&name, &shape);
            (name, shape, values)
        });
        fs::create_dir_all(to.join(part)).unwrap();
        fs::write(to.join(part).join("config.json"), serde_json::Value::from(config).to_string()).unwrap();
        let tensors = serialized(&tensors.collect::<Vec<_>>());
        fs::write(to.join(part).join(format!("{file}.safetensors")), tensors).unwrap();
    }
}

#[test]
fn a_model_with_two_text_encoders_is_edited() {
    let here = tempfile::tempdir().unwrap();
    let model = here.path().join("pair");
    write_pair(&model);
    let recipe = RECIPE.replace("\"mini\"", &format!("{model:?}")).replace("64x64", "32x32");
    let watch = Watch::new(&recipe);
    assert_eq!(watch.event("rendered")["resumed_at"], 0);
    let first = watch.picture();
    assert_eq!(first, watch.run(&recipe));
    let stronger = recipe.replace("strength 5", "strength 9");
    watch.write(&stronger);
    assert_eq!(watch.event("rendered")["resumed_at"], 4);
    assert_eq!(watch.picture(), watch.run(&stronger));
    assert_ne!(pixels(&watch.picture()), pixels(&first));
    watch.write(&recipe);
    assert_eq!(watch.event("rendered")["resumed_at"], 8);
    assert_eq!(watch.picture(), first);
    // Weights that change are read again.
    let weights = model.join("unet/diffusion_pytorch_model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let end = bytes.len();
    bytes[end - 64..].fill(0);
    fs::write(model.join("new"), bytes).unwrap();
    fs::rename(model.join("new"), weights).unwrap();
    assert_eq!(watch.event("rendered")["resumed_at"], 0);
    assert_eq!(watch.picture(), watch.run(&recipe));
}

#[test]
fn a_lora_belongs_to_what_is_watched() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("grain.safetensors");
    let recipe = format!("{RECIPE}lora grain {file:?}\n");
    let watch = Watch::new(&recipe);
    watch.event("failed");
    // It comes, and the recipe with it.
    let write = |value: f32| {
        fs::write(here.path().join("new"), lora(value)).unwrap();
        fs::rename(here.path().join("new"), &file).unwrap();
    };
    write(0.05);
    watch.event("mended");
    watch.event("rendered");
    let first = watch.picture();
    write(0.2);
    let second = watch.event("rendered");
    assert_eq!((&second["resumed_at"], &second["unchanged"]), (&0.into(), &false.into()));
    assert_ne!(watch.picture(), first);
    let weaker = recipe.trim_end().to_owned() + " { strength 0.5 }\n";
    watch.write(&weaker);
    let third = watch.event("rendered");
    assert_eq!((&third["resumed_at"], &third["unchanged"]), (&0.into(), &false.into()));
    // What is not read anew is what it would be.
    assert_eq!(watch.picture(), watch.run(&weaker));
    watch.write(RECIPE);
    watch.event("rendered");
    assert_eq!(watch.picture(), watch.run(RECIPE));
}

/// A model on a hub: nothing waits for it but the recipes that name it.
#[test]
#[cfg(feature = "hub")]
fn a_download_holds_nothing_back() {
    use std::collections::BTreeMap;
    use std::process::Command;
    use std::sync::mpsc::channel;

    use crate::hub::server::{Behaviour, Server};

    let mini = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(&mini).unwrap().map(|entry| entry.unwrap().path()) {
        let inside = if entry.is_dir() {
            fs::read_dir(&entry).unwrap().map(|e| e.unwrap().path()).collect()
        } else {
            vec![entry]
        };
        for file in inside {
            files.insert(file.strip_prefix(&mini).unwrap().to_str().unwrap().to_owned(), fs::read(&file).unwrap());
        }
    }
    let server = Server::new(files);
    let (release, gate) = channel::<()>();
    let mut opened = false;
    server.behave(move |request| {
        if request.path.contains("unet") && request.path.ends_with(".safetensors") && !opened {
            opened = gate.recv().is_ok();
        }
        if request.path.contains("owner/gone") { Behaviour::Status(404, "") } else { Behaviour::Right }
    });

    let folder = tempfile::tempdir().unwrap();
    let from_hub = RECIPE.replace("\"mini\"", "\"owner/name\"");
    fs::write(folder.path().join("a.sega"), &from_hub).unwrap();
    let (cache, endpoint) = (folder.path().join("cache"), server.endpoint.clone());
    let mut command = Command::new(env!("CARGO_BIN_EXE_sega"));
    command.args(["watch", "--json", "--no-page", "a.sega"]).env("HF_HUB_CACHE", cache).env("HF_ENDPOINT", endpoint);
    command.env("HF_HUB_DOWNLOAD_TIMEOUT", "100");
    let watch = Watch::of(folder, command.env_remove("HF_HUB_OFFLINE").env_remove("HF_TOKEN"));
    let fetching = watch.event("fetching");
    assert_eq!(fetching["model"], "owner/name", "{fetching}");
    // It is broken, mended, and renders something else meanwhile.
    watch.write(&from_hub.replace("strength", "strenght"));
    watch.event("broken");
    watch.write(&from_hub);
    watch.event("mended");
    watch.write(RECIPE);
    assert_eq!(watch.event("rendered")["resumed_at"], 0);
    let here = watch.picture();
    // Back to the model, which comes now.
    watch.write(&from_hub);
    release.send(()).unwrap();
    watch.event("fetched");
    watch.event("rendered");
    assert_eq!(pixels(&watch.picture()), pixels(&here));
    // One that is not there is told, and does no harm.
    watch.write(&RECIPE.replace("\"mini\"", "\"owner/gone\""));
    assert!(watch.event("failed")["message"].as_str().unwrap().contains("owner/gone"));
    watch.write(RECIPE);
    watch.event("mended");
    assert_eq!(watch.event("rendered")["resumed_at"], 8);
}

fn pixels(png: &[u8]) -> Vec<u8> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels
}
