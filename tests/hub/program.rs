//! The program with models of a hub.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use sega::model::hub::Wanted;

use super::server::{COMMIT, sha256};
use super::{FULL, Scene, UNET, noise, printed, repository};

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_told_and_survived() {
    let scene = Scene::new(repository());
    // A limit on the size of files, in blocks of 512 or 1024 bytes, refuses writes as a full disk does.
    let mut limited = Command::new("sh");
    let command = scene.sega(&["models", "add", "owner/name"]);
    limited.arg("-c").arg(format!("ulimit -f 64; exec {} models add owner/name", env!("CARGO_BIN_EXE_sega")));
    limited.current_dir(scene.folder.path());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let output = limited.output().unwrap();
    let message = printed(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("there is no room left") && message.contains("HF_HUB_CACHE"), "{message}");
    scene.assert_sound();
    let output = scene.sega(&["models", "add", "owner/name"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    scene.assert_sound();
}

/// The whole way: a recipe that names a hub's model paints what the same model paints from elsewhere.
#[cfg(feature = "engine")]
#[test]
fn a_recipe_paints_with_a_model_of_the_hub() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
    let scene = Scene::new(files_of(&source));
    let recipe = |model: &str| format!("sega 1\nmodel \"{model}\"\nprompt \"a woman\"\nseed 1\nsize 64x64\nsteps 2\n");
    fs::write(scene.folder.path().join("hub.sega"), recipe("owner/name")).unwrap();
    fs::write(scene.folder.path().join("own.sega"), recipe("mini")).unwrap();
    let run = |arguments: &[&str], code: i32| {
        let output = scene.sega(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", printed(&output));
        printed(&output)
    };
    let plan = run(&["plan", "hub.sega"], 0);
    assert!(plan.contains("fetching unet/config.json") && plan.contains("4 network evaluations"), "{plan}");
    assert!(scene.server.requests().iter().all(|request| !request.storage), "a plan needs no weights");
    run(&["run", "hub.sega", "--latents", "hub.safetensors"], 0);
    run(&["run", "own.sega", "--latents", "own.safetensors"], 0);
    let latents = |name: &str| fs::read(scene.folder.path().join(name)).unwrap();
    assert!(latents("hub.safetensors") == latents("own.safetensors"));
    scene.server.requests();
    run(&["run", "hub.sega", "--force"], 0);
    assert_eq!(scene.server.paths(), [""; 0]);
}

#[test]
fn the_cache_is_listed_checked_and_cleared() {
    let mut files = repository();
    files.insert("unet/config.json".to_owned(), br#"{"cross_attention_dim": 768}"#.to_vec());
    let scene = Scene::new(files);
    let run = |arguments: &[&str], code: i32, words: &[&str]| {
        let output = scene.sega(arguments).output().unwrap();
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        for word in words {
            assert!(text.contains(word), "no `{word}` in: {text}");
        }
        text
    };
    run(&["models"], 0, &["no models in", "sega models add owner/name"]);
    run(&["models", "add", "nonsense"], 2, &["`nonsense` is no hub id"]);
    run(
        &["models", "add", "owner/name"],
        0,
        &["`owner/name` is in", "fetching unet/diffusion_pytorch_model.safetensors, 150 kB"],
    );
    run(&["models"], 0, &["owner/name", "450 kB", "Stable Diffusion 1.x"]);
    let document: serde_json::Value = serde_json::from_str(&run(&["models", "--json"], 0, &[])).unwrap();
    assert_eq!(document["models"][0]["snapshots"][0]["commit"], COMMIT);
    assert_eq!(document["models"][0]["snapshots"][0]["names"][0], "main");
    assert_eq!(document["models"][0]["snapshots"][0]["whole"], true);
    run(&["models", "verify"], 0, &["owner/name: 11 sound, 0 damaged"]);
    let blob = scene.repository().join("blobs").join(sha256(&repository()[UNET]));
    fs::write(&blob, noise(150_000, 7)).unwrap();
    run(&["models", "verify", "owner/name"], 2, &["10 sound, 1 damaged", "models remove"]);
    run(&["models", "verify", "owner/other"], 2, &["`owner/other` is not in the cache"]);
    run(&["models", "remove", "owner/other"], 2, &["`owner/other` is not in the cache"]);
    run(&["models", "remove", "owner/name"], 0, &["removed `owner/name`"]);
    assert!(!scene.repository().exists());
    run(&["models"], 0, &["no models in"]);

    // One state of several: what only it has goes.
    run(&["models", "add", "owner/name"], 0, &[]);
    let later = "f".repeat(40);
    scene.server.commit(&later, UNET, b"new");
    run(&["models", "add", "owner/name"], 0, &[]);
    run(&["models"], 0, &[&format!("owner/name@{COMMIT}")]);
    run(&["models", "remove", &format!("owner/name@{COMMIT}")], 0, &[]);
    assert!(!blob.exists());
    scene.assert_sound();
    assert!(scene.get("owner/name", FULL).unwrap().ends_with(&later));
}

/// The files of a folder by their names, and theirs that it holds.
fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for part in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let inside =
            if part.is_dir() { fs::read_dir(&part).unwrap().map(|e| e.unwrap().path()).collect() } else { vec![part] };
        for path in inside {
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/");
            files.insert(name, fs::read(&path).unwrap());
        }
    }
    files
}

/// A LoRA of one matrix of the built-in model.
fn lora() -> Vec<u8> {
    let width = 128;
    let values: Vec<u8> = (0..width).flat_map(|at| (at as f32 / 40.0).to_le_bytes()).collect();
    let module = "lora_te_text_model_encoder_layers_0_self_attn_q_proj";
    let view = |shape: [usize; 2]| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), &values).unwrap()
    };
    let views = [
        (format!("{module}.lora_down.weight"), view([1, width])),
        (format!("{module}.lora_up.weight"), view([width, 1])),
    ];
    safetensors::serialize(views, None).unwrap()
}

#[cfg(feature = "engine")]
#[test]
fn a_lora_of_the_hub_is_fetched_once() {
    let files = |name: &str| BTreeMap::from([(name.to_owned(), lora()), ("README.md".to_owned(), b"a LoRA".to_vec())]);
    let both = files("pytorch_lora_weights.safetensors").into_iter().chain(files("other.safetensors")).collect();
    let recipe = |id: &str| {
        let lora = format!("lora grain \"{id}\" {{ strength 1 }}\n");
        format!("sega 1\nmodel \"mini\"\nprompt \"a woman\"\nseed 1\nsize 32x32\nsteps 1\n{lora}")
    };
    let latents = |scene: &Scene, id: &str| {
        let path = |name: &str| scene.folder.path().join(name);
        fs::write(path("a.sega"), recipe(id)).unwrap();
        let output = scene.sega(&["run", "a.sega", "--force", "--latents", "a.safetensors"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
        fs::read(path("a.safetensors")).unwrap()
    };
    let here = Scene::new(BTreeMap::new());
    fs::write(here.folder.path().join("here.safetensors"), lora()).unwrap();
    let wanted = latents(&here, "here.safetensors");
    let cases: [(BTreeMap<_, _>, &str, &str); 3] = [
        (files("detail.safetensors"), "owner/name", "detail.safetensors"),
        (both, "owner/name", "pytorch_lora_weights.safetensors"),
        (files("detail.safetensors"), "owner/name/detail.safetensors", "detail.safetensors"),
    ];
    for (files, id, fetched) in cases {
        let scene = Scene::new(files);
        assert!(latents(&scene, id) == wanted, "{id}");
        assert!(scene.server.requests().iter().all(|request| !request.path.contains("README")));
        assert!(scene.get(id, Wanted::Lora).unwrap().ends_with(fetched));
        assert!(latents(&scene, id) == wanted, "{id}");
        assert_eq!(scene.server.paths(), [""; 0], "{id}");
        let listed = printed(&scene.sega(&["models"]).output().unwrap());
        assert!(listed.contains("LoRA") && !listed.contains("no model"), "{listed}");
    }
    let two = files("a.safetensors").into_iter().chain(files("b.safetensors")).collect();
    let refusal = Scene::new(two).get("owner/name", Wanted::Lora).unwrap_err().to_string();
    assert!(refusal.contains("no LoRA") && refusal.contains("owner/name/a.safetensors"), "{refusal}");
}
