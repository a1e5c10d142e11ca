//! Models from a hub: fetched, kept, resumed, refused; and never a cache that is not sound.

#![allow(clippy::unwrap_used)]

mod ids;
mod program;
mod replies;
pub(crate) mod server;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use sega::model::files::{ModelFiles, Weights};
use sega::model::hub::{Cache, Hub, HubError, HubId, HubSettings, Progress, Verdict, Wanted, verify};
use server::{Behaviour, COMMIT, Server, git, sha256};
use tempfile::TempDir;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const FULL: Wanted = Wanted::Model { half: false };
const HALF: Wanted = Wanted::Model { half: true };

/// Bytes that differ from place to place.
fn noise(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ seed).collect()
}

/// A repository as they are: a model, and much that nobody needs here.
fn repository() -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = [
        "model_index.json",
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer_config.json",
    ]
    .into_iter()
    .map(|path| (path.to_owned(), format!("{{\"of\": \"{path}\"}}").into_bytes()))
    .collect();
    for (seed, path) in [
        UNET,
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/pytorch_model.bin",
        "safety_checker/model.safetensors",
        "v1-5-pruned.safetensors",
        "README.md",
        "picture.png",
    ]
    .into_iter()
    .enumerate()
    {
        files.insert(path.to_owned(), noise(150_000 + seed, seed as u8));
    }
    files
}

fn is_checksum(name: &str) -> bool {
    [40, 64].contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

struct Scene {
    server: Server,
    folder: TempDir,
}

impl Scene {
    fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { server: Server::new(files), folder: tempfile::tempdir().unwrap() }
    }

    fn settings(&self) -> HubSettings {
        HubSettings {
            cache: self.folder.path().join("hub"),
            endpoint: self.server.endpoint.clone(),
            token: None,
            offline: false,
            patience: Duration::from_secs(20),
        }
    }

    /// For a server that may be silent. A busy machine may be as silent: what comes of it depends on that.
    fn impatient(&self) -> HubSettings {
        HubSettings { patience: Duration::from_secs(1), ..self.settings() }
    }

    fn get(&self, id: &str, wanted: Wanted) -> Result<PathBuf, HubError> {
        Hub::new(&self.settings()).get(&HubId::parse(id).unwrap(), wanted, &mut |_| ControlFlow::Continue(()))
    }

    fn refusal(&self, id: &str) -> String {
        let message = self.get(id, FULL).unwrap_err().to_string();
        message.replace(&self.server.endpoint, "HUB").replace(self.folder.path().to_str().unwrap(), "/HERE")
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("hub/models--owner--name")
    }

    /// Every file that a checksum names is what it says; nothing temporary has a place among them. An ETag of another kind
    /// (where a digit of it became a letter) says nothing of its file.
    fn assert_sound(&self) {
        let Ok(blobs) = fs::read_dir(self.repository().join("blobs")) else { return };
        for blob in blobs.map(|entry| entry.unwrap().path()) {
            let name = blob.file_name().unwrap().to_str().unwrap().to_owned();
            let bytes = fs::read(&blob).unwrap();
            if is_checksum(&name) {
                assert!([sha256(&bytes), git(&bytes)].contains(&name), "{name}");
            }
        }
        for model in Cache::at(self.folder.path().join("hub")).models().unwrap() {
            verify(&model, &mut |path, verdict| {
                let name = path.file_name().unwrap().to_str().unwrap();
                let expected = if is_checksum(name) { Verdict::Sound } else { Verdict::Unknown };
                assert_eq!(verdict, expected, "{}", path.display());
                true
            })
            .unwrap();
        }
    }

    /// The program, with the environment that leads it here.
    fn sega(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sega"));
        command.args(arguments).current_dir(self.folder.path());
        for variable in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_TOKEN_PATH"] {
            command.env_remove(variable);
        }
        command.env("HF_HOME", self.folder.path()).env("HF_ENDPOINT", &self.server.endpoint);
        command
    }
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_model_is_fetched_once() {
    let scene = Scene::new(repository());
    let folder = scene.get("owner/name", FULL).unwrap();
    assert_eq!(folder, scene.repository().join("snapshots").join(COMMIT));
    // The files that are needed, in full precision, and no others.
    let mut wanted: Vec<String> = repository().into_keys().filter(|path| !path.contains("fp16")).collect();
    wanted.retain(|path| {
        let other = ["non_ema", ".bin", "safety_checker", "v1-5", "README", ".png"];
        !other.iter().any(|other| path.contains(other))
    });
    for path in &wanted {
        assert!(fs::read(folder.join(path)).unwrap() == repository()[path], "{path}");
    }
    assert_eq!(fs::read_dir(scene.repository().join("blobs")).unwrap().count(), wanted.len());
    assert_eq!(fs::read_to_string(scene.repository().join("refs/main")).unwrap(), COMMIT);
    let link = fs::read_link(folder.join(UNET)).unwrap();
    assert_eq!(link, Path::new("../../../blobs").join(sha256(&repository()[UNET])));
    let link = fs::read_link(folder.join("model_index.json")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(git(&repository()["model_index.json"])));
    scene.assert_sound();
    assert!(scene.server.requests().len() > wanted.len());

    // From now on nothing is asked, by whichever name.
    for id in ["owner/name".to_owned(), "owner/name@main".to_owned(), format!("owner/name@{COMMIT}")] {
        assert_eq!(scene.get(&id, FULL).unwrap(), folder);
        assert_eq!(scene.get(&id, Wanted::Texts).unwrap(), folder);
    }
    let offline = HubSettings { offline: true, endpoint: "http://127.0.0.1:1".to_owned(), ..scene.settings() };
    let id = HubId::parse("owner/name").unwrap();
    assert_eq!(Hub::new(&offline).get(&id, FULL, &mut |_| ControlFlow::Continue(())).unwrap(), folder);
    assert_eq!(scene.server.paths(), [""; 0]);

    // Asked anew, the hub says that nothing has changed, and is asked nothing else.
    let settings = scene.settings();
    Hub::new(&settings).fetch(&id, FULL, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(scene.server.paths(), ["/api/models/owner/name/revision/main"]);

    // A new commit brings the file that it changes.
    let later = "f".repeat(40);
    scene.server.commit(&later, UNET, b"new");
    assert_eq!(scene.get("owner/name", FULL).unwrap(), folder);
    let newer = Hub::new(&settings).fetch(&id, FULL, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(newer, scene.repository().join("snapshots").join(&later));
    assert_eq!(fs::read(newer.join(UNET)).unwrap(), b"new");
    assert_eq!(scene.get("owner/name", FULL).unwrap(), newer);
    assert_eq!(scene.get(&format!("owner/name@{COMMIT}"), FULL).unwrap(), folder);
    assert_eq!(fs::read_dir(scene.repository().join("blobs")).unwrap().count(), wanted.len() + 1);
    scene.assert_sound();
}

#[test]
fn texts_alone_are_enough_to_plan() {
    let scene = Scene::new(repository());
    let folder = scene.get("owner/name", Wanted::Texts).unwrap();
    assert!(folder.join("unet/config.json").is_file() && !folder.join(UNET).exists());
    assert!(scene.server.requests().iter().all(|request| !request.storage));
    assert!(scene.get("owner/name", FULL).unwrap().join(UNET).is_file());
}

#[test]
fn half_precision_where_it_serves() {
    let scene = Scene::new(repository());
    let folder = scene.get("owner/name", HALF).unwrap();
    assert!(!folder.join(UNET).exists());
    let files = ModelFiles::in_folder(folder).unwrap().in_half_precision();
    let weights = |part: &str| match &files.weights(part).unwrap()[..] {
        [Weights::File(path)] => path.file_name().unwrap().to_str().unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(weights("unet"), "diffusion_pytorch_model.fp16.safetensors");
    assert_eq!(weights("text_encoder"), "model.fp16.safetensors");
    assert_eq!(weights("vae"), "diffusion_pytorch_model.safetensors");
}

#[test]
fn shards_and_second_encoders_belong_to_the_model() {
    let mut files = repository();
    files.remove(UNET);
    files.remove("unet/diffusion_pytorch_model.fp16.safetensors");
    let index = r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#;
    files.insert(format!("{UNET}.index.json"), index.as_bytes().to_vec());
    files.insert("unet/one.safetensors".to_owned(), noise(1000, 1));
    files.insert("unet/two.safetensors".to_owned(), noise(1000, 2));
    files.insert("unet/three.safetensors".to_owned(), noise(1000, 3));
    files.insert("model_index.json".to_owned(), br#"{"text_encoder_2": ["transformers", "X"]}"#.to_vec());
    files.insert("text_encoder_2/config.json".to_owned(), b"{}".to_vec());
    files.insert("text_encoder_2/model.safetensors".to_owned(), noise(1000, 4));
    files.insert("tokenizer_2/merges.txt".to_owned(), b"a b".to_vec());
    let scene = Scene::new(files);
    let folder = scene.get("owner/name", FULL).unwrap();
    let has = |path: &str| folder.join(path).is_file();
    assert!(has("unet/one.safetensors") && has("unet/two.safetensors") && !has("unet/three.safetensors"));
    assert!(has("text_encoder_2/model.safetensors") && has("tokenizer_2/merges.txt"));
    scene.server.requests();
    // A part that is lost makes the model incomplete, and only that part is fetched.
    fs::remove_file(folder.join("unet/two.safetensors").canonicalize().unwrap()).unwrap();
    scene.get("owner/name", FULL).unwrap();
    let fetched: Vec<_> = scene.server.requests().into_iter().filter(|request| request.storage).collect();
    assert_eq!(fetched.len(), 1);
    assert!(fetched[0].path.ends_with("two.safetensors"));
}

#[test]
fn single_files_and_autoencoders() {
    let scene = Scene::new(repository());
    let file = scene.get("owner/name/v1-5-pruned.safetensors", FULL).unwrap();
    assert!(fs::read(&file).unwrap() == repository()["v1-5-pruned.safetensors"]);
    assert_eq!(fs::read_dir(scene.repository().join("blobs")).unwrap().count(), 1);
    let vae = scene.get("owner/name", Wanted::Autoencoder { half: false }).unwrap();
    assert!(vae.join("config.json").is_file() && vae.join("diffusion_pytorch_model.safetensors").is_file());
    assert_eq!(fs::read_dir(scene.repository().join("blobs")).unwrap().count(), 3);
    scene.server.requests();
    assert_eq!(scene.get("owner/name", Wanted::Autoencoder { half: false }).unwrap(), vae);
    assert_eq!(scene.server.paths(), [""; 0]);

    // Alone in its repository.
    let alone = BTreeMap::from([
        ("config.json".to_owned(), b"{}".to_vec()),
        ("diffusion_pytorch_model.safetensors".to_owned(), noise(10, 1)),
    ]);
    let scene = Scene::new(alone);
    let vae = scene.get("owner/name", Wanted::Autoencoder { half: false }).unwrap();
    assert!(vae.join("diffusion_pytorch_model.safetensors").is_file());
}

#[test]
fn the_token_is_for_the_hub_alone() {
    let scene = Scene::new(repository());
    let settings = HubSettings { token: Some("secret".to_owned()), ..scene.settings() };
    let id = HubId::parse("owner/name").unwrap();
    Hub::new(&settings).get(&id, FULL, &mut |_| ControlFlow::Continue(())).unwrap();
    let requests = scene.server.requests();
    assert!(requests.iter().any(|request| request.storage));
    assert!(requests.iter().all(|request| request.token != request.storage));
}

#[test]
fn refusals_say_what_to_do() {
    let scene = Scene::new(repository());
    let with = |status: u16, headers: &'static str| {
        scene.server.behave(move |_| Behaviour::Status(status, headers));
        let refusal = scene.refusal("owner/name");
        scene.assert_sound();
        refusal
    };
    let answer = |text: &str| {
        let text = text.to_owned();
        scene.server.behave(move |_| Behaviour::Answer(text.clone()));
        scene.refusal("owner/name")
    };
    let mut messages = vec![
        with(401, ""),
        with(403, "X-Error-Code: GatedRepo\r\n"),
        with(404, "X-Error-Code: RepoNotFound\r\n"),
        with(404, "X-Error-Code: RevisionNotFound\r\n"),
        with(404, ""),
        with(429, "Retry-After: 0\r\n"),
        with(500, ""),
        with(418, ""),
        with(302, ""),
        with(302, "Location: /again\r\n"),
        answer("<html>"),
        answer("{}"),
        answer(r#"{"sha": "../../../etc"}"#),
        answer(&format!(r#"{{"sha": "{COMMIT}"}}"#)),
        answer(&format!(r#"{{"sha": "{COMMIT}", "siblings": []}}"#)),
        answer(&format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "a.safetensors"}}]}}"#)),
    ];
    scene.server.behave(|_| Behaviour::Right);
    messages.push(scene.refusal("owner/name/nowhere.safetensors"));
    let settings = HubSettings { offline: true, ..scene.settings() };
    let id = HubId::parse("owner/name").unwrap();
    let offline = Hub::new(&settings).get(&id, FULL, &mut |_| ControlFlow::Continue(())).unwrap_err();
    messages.push(offline.to_string().replace(scene.folder.path().to_str().unwrap(), "/HERE"));

    let mut files = repository();
    files.retain(|path, _| !path.starts_with("text_encoder/model"));
    messages.push(Scene::new(files.clone()).refusal("owner/name"));
    files.remove("text_encoder/pytorch_model.bin");
    messages.push(Scene::new(files.clone()).refusal("owner/name"));
    files.remove("vae/config.json");
    messages.push(Scene::new(files).refusal("owner/name"));
    insta::assert_snapshot!(messages.join("\n"));

    let gone = HubSettings { endpoint: "http://127.0.0.1:1".to_owned(), ..scene.settings() };
    let error = Hub::new(&gone).get(&id, FULL, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(error.contains("http://127.0.0.1:1 fails") && error.contains("run the same command again"), "{error}");
}

/// A hub that fails for a while is asked again.
#[test]
fn what_passes_is_waited_for() {
    for status in [429, 500, 503] {
        let scene = Scene::new(repository());
        let mut count = 0;
        scene.server.behave(move |_| {
            count += 1;
            if count % 3 == 1 { Behaviour::Status(status, "Retry-After: 0\r\n") } else { Behaviour::Right }
        });
        scene.get("owner/name", FULL).unwrap();
        scene.assert_sound();
    }
}

#[test]
fn a_silent_connection_is_given_up() {
    let scene = Scene::new(repository());
    let mut first = true;
    scene.server.behave(move |request| {
        let stalls = request.storage && std::mem::take(&mut first);
        if stalls { Behaviour::StallAfter(1000) } else { Behaviour::Right }
    });
    let id = HubId::parse("owner/name").unwrap();
    Hub::new(&scene.impatient()).get(&id, FULL, &mut |_| ControlFlow::Continue(())).unwrap();
    scene.assert_sound();
    assert!(scene.server.requests().iter().any(|request| request.range == Some(1000)));
}

#[test]
fn damaged_files_are_not_kept() {
    let scene = Scene::new(repository());
    scene.server.behave(|request| if request.storage { Behaviour::Damaged } else { Behaviour::Right });
    let refusal = scene.refusal("owner/name");
    assert!(refusal.contains("came damaged") && refusal.contains("nothing of it is kept"), "{refusal}");
    scene.assert_sound();
    let left = fs::read_dir(scene.repository().join("blobs")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| name.len() == 40), "only the small files, which came well");
    scene.server.behave(|request| if request.storage { Behaviour::Right } else { Behaviour::Damaged });
    fs::remove_dir_all(scene.repository()).unwrap();
    assert!(scene.refusal("owner/name").contains("came damaged"), "small files are checked too");
    scene.server.behave(|_| Behaviour::Right);
    scene.get("owner/name", FULL).unwrap();
    scene.assert_sound();
}

/// What an earlier process left under the temporary name is used if it is the beginning, and not if it is not.
#[test]
fn leftovers_are_taken_up() {
    let bytes = repository()[UNET].clone();
    let long = noise(200_000, 9);
    for (left, start) in
        [(&bytes[..70_000], Some(70_000)), (&long[..70_000], Some(70_000)), (&bytes[..], None), (&long[..], None)]
    {
        let scene = Scene::new(repository());
        let blobs = scene.repository().join("blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.incomplete", sha256(&bytes))), left).unwrap();
        let folder = scene.get("owner/name", FULL).unwrap();
        assert!(fs::read(folder.join(UNET)).unwrap() == bytes);
        let ranges: Vec<_> = scene.server.requests().into_iter().filter_map(|request| request.range).collect();
        assert_eq!(ranges.first().copied(), start);
        scene.assert_sound();
    }
}

#[test]
fn a_server_without_ranges_starts_anew() {
    let scene = Scene::new(repository());
    let mut count = 0;
    scene.server.behave(move |request| {
        count += usize::from(request.storage);
        match count {
            1 if request.storage => Behaviour::DropAfter(100_000),
            _ => Behaviour::WholeAlways,
        }
    });
    scene.get("owner/name", FULL).unwrap();
    scene.assert_sound();
}

proptest! {
    #![proptest_config(crate::cases::cases(12))]

    /// Connections that break at any byte bring the model in the end, and each byte but those under way once.
    #[test]
    fn dropped_connections_are_resumed(drops in prop::collection::vec(0_usize..160_000, 1..6)) {
        let scene = Scene::new(repository());
        let mut left = drops.clone();
        scene.server.behave(move |request| match request.storage.then(|| left.pop()).flatten() {
            Some(count) => Behaviour::DropAfter(count),
            None => Behaviour::Right,
        });
        let folder = scene.get("owner/name", FULL).unwrap();
        prop_assert!(fs::read(folder.join(UNET)).unwrap() == repository()[UNET]);
        scene.assert_sound();
    }
}

/// A process that ends in the middle leaves what another goes on with; until then there is no model.
#[test]
fn an_end_in_the_middle_is_no_harm() {
    let scene = Scene::new(repository());
    let settings = scene.settings();
    let id = HubId::parse("owner/name").unwrap();
    let mut stop_at_weights = |progress: Progress<'_>| match progress {
        Progress::Bytes { file: UNET, done: 50_000.., .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let ended = Hub::new(&settings).get(&id, FULL, &mut stop_at_weights);
    assert!(matches!(ended, Err(HubError::Interrupted)));
    scene.assert_sound();
    assert!(Cache::at(settings.cache.clone()).find(&id, FULL).is_none());
    assert!(!scene.repository().join("refs/main").exists());
    scene.server.requests();
    scene.get("owner/name", FULL).unwrap();
    assert!(scene.server.requests().iter().any(|request| request.range.is_some_and(|start| start >= 50_000)));
    scene.assert_sound();
}

#[test]
fn two_at_once_fetch_once() {
    let scene = Scene::new(repository());
    let outputs: Vec<Output> = std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..3).map(|_| scope.spawn(|| scene.sega(&["models", "add", "owner/name"]).output().unwrap())).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for output in outputs {
        assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    }
    scene.assert_sound();
    assert!(scene.get("owner/name", FULL).unwrap().join(UNET).is_file());
    assert!(
        fs::read_dir(scene.repository().join("blobs"))
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_string_lossy().contains("incomplete") })
    );
}

/// An adversary's listing or ETag leads nowhere outside of the cache.
#[test]
fn names_from_outside_stay_inside() {
    let scene = Scene::new(repository());
    for name in
        ["../../evil.safetensors", "/evil.safetensors", "unet/../../evil.safetensors", "a\\..\\evil.safetensors"]
    {
        let answer = serde_json::json!({ "sha": COMMIT, "siblings": [{ "rfilename": name }] }).to_string();
        scene.server.behave(move |_| Behaviour::Answer(answer.clone()));
        scene.refusal("owner/name");
    }
    let evil = "Location: /x\r\nX-Linked-Etag: \"../../../../evil\"\r\n";
    let calls = AtomicUsize::new(0);
    scene.server.behave(move |request| {
        let storm = request.path.contains("/resolve/") && calls.fetch_add(1, Ordering::Relaxed) == 0;
        if storm { Behaviour::Status(302, evil) } else { Behaviour::Right }
    });
    let refusal = scene.refusal("owner/name");
    assert!(refusal.contains("HUB has no file") || refusal.contains("no usable ETag"), "{refusal}");
    let mut left: Vec<_> = fs::read_dir(scene.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| name != "hub");
    assert!(left.is_empty(), "{left:?}");
}
