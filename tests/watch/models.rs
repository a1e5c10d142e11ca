//! Models, and what belongs to them.

use std::fs;

use super::{RECIPE, Watch};

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

#[test]
fn a_lora_belongs_to_what_is_watched() {
    let recipe = format!("{RECIPE}lora grain \"grain.safetensors\"\n");
    let watch = Watch::new(&recipe);
    watch.event("failed");
    // It comes, and the recipe with it.
    let write = |value: f32| {
        fs::write(watch.path("new"), lora(value)).unwrap();
        fs::rename(watch.path("new"), watch.path("grain.safetensors")).unwrap();
    };
    write(0.05);
    watch.event("mended");
    watch.event("rendered");
    let first = watch.picture();
    write(0.2);
    let second = watch.event("rendered");
    assert_eq!((&second["resumed_at"], &second["unchanged"]), (&0.into(), &false.into()));
    assert_ne!(watch.picture(), first);
    let weaker = recipe.replace("\"grain.safetensors\"", "\"grain.safetensors\" { strength 0.5 }");
    watch.write(&weaker);
    let third = watch.event("rendered");
    assert_eq!((&third["resumed_at"], &third["unchanged"]), (&0.into(), &false.into()));
}

/// A model on a hub: nothing waits for it but the recipes that name it.
#[test]
#[cfg(feature = "hub")]
fn a_download_holds_nothing_back() {
    use std::collections::BTreeMap;
    use std::path::Path;
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

#[cfg(feature = "hub")]
fn pixels(png: &[u8]) -> Vec<u8> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels
}
