//! The program as its user meets it: renders, refusals, interruptions.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const QUICK: &str = r#"sega 1
model   "mini"
prompt  "a portrait of a woman"
seed    42
size    64x64
steps   3

plus glasses "glasses" { warmup 0 }
"#;

struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new(recipe: &str) -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(scene.path("a.sega"), recipe).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sega(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sega"));
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    /// The names of all files, so that nothing half-written goes unseen.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into())
            .collect();
        names.sort();
        names
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A picture without what is written in it.
fn pixels(path: &Path) -> Vec<u8> {
    let file = BufReader::new(fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels
}

/// Runs `arguments`, expects the exit code and every one of `words` in the message.
fn check(scene: &Scene, arguments: &[&str], code: i32, words: &[&str]) {
    let output = scene.sega(arguments);
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(code), "{message}");
    for word in words {
        assert!(message.contains(word), "no `{word}` in: {message}");
    }
}

#[test]
fn a_picture_carries_its_recipe() {
    let scene = Scene::new(QUICK);
    check(&scene, &["run", "a.sega", "--latents", "a.safetensors"], 0, &["wrote a.png", "64x64", "steps/s"]);
    assert_eq!(scene.files(), ["a.png", "a.safetensors", "a.sega"]);
    let png = fs::read(scene.path("a.png")).unwrap();
    assert_eq!(sega::artifact::png::recipe(&png).unwrap().unwrap(), QUICK);
    let bytes = fs::read(scene.path("a.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("latents").unwrap().shape(), [1, 4, 8, 8]);
}

#[test]
fn a_picture_repeats() {
    let scene = Scene::new(QUICK);
    check(&scene, &["run", "a.sega", "-o", "1.png"], 0, &[]);
    check(&scene, &["run", "a.sega", "-o", "2.png"], 0, &[]);
    assert_eq!(fs::read(scene.path("1.png")).unwrap(), fs::read(scene.path("2.png")).unwrap());
}

#[test]
fn existing_files_are_kept_unless_one_says_so() {
    let scene = Scene::new(QUICK);
    fs::write(scene.path("a.png"), "mine").unwrap();
    check(&scene, &["run", "a.sega"], 2, &["a.png", "--force", "overwrite yes"]);
    assert_eq!(fs::read(scene.path("a.png")).unwrap(), b"mine");
    check(&scene, &["run", "a.sega", "--force"], 0, &["wrote"]);
    assert_ne!(fs::read(scene.path("a.png")).unwrap(), b"mine");

    fs::write(scene.path("a.png"), "mine").unwrap();
    fs::write(scene.path("b.sega"), QUICK.replace("steps ", "overwrite yes\nsteps ")).unwrap();
    check(&scene, &["run", "b.sega", "-o", "a.png"], 0, &["wrote"]);
}

#[test]
fn what_could_not_be_written_is_refused_before_the_render() {
    let scene = Scene::new(QUICK);
    fs::create_dir(scene.path("folder")).unwrap();
    let before = scene.files();
    check(&scene, &["run", "a.sega", "-o", "folder", "--force"], 2, &["folder", "a folder or a device"]);
    check(&scene, &["run", "a.sega", "-o", "a.sega", "--force"], 2, &["a.sega", "the recipe itself"]);
    check(&scene, &["run", "a.sega", "-o", "b", "--latents", "./b", "--force"], 2, &["`./b`", "different names"]);
    check(&scene, &["run", "a.sega", "-o", "nowhere/b.png"], 2, &["no folder `nowhere`"]);
    check(&scene, &["run", "a.sega", "-o", "new/"], 2, &["`new/`", "a folder or a device"]);
    check(&scene, &["run", "a.sega", "-o", "-"], 2, &["to files"]);
    assert_eq!(scene.files(), before);
    assert_eq!(fs::read_to_string(scene.path("a.sega")).unwrap(), QUICK);
}

#[test]
fn each_seed_has_its_picture() {
    let scene = Scene::new(&QUICK.replace("42", "[1, 2]"));
    check(&scene, &["run", "a.sega"], 0, &["a-1.png", "a-2.png"]);
    let recipe = sega::artifact::png::recipe(&fs::read(scene.path("a-2.png")).unwrap()).unwrap().unwrap();
    assert!(recipe.contains("seed    2\n"), "{recipe}");
}

#[test]
fn a_missing_seed_is_drawn_printed_and_kept() {
    let scene = Scene::new(&QUICK.replace("seed    42\n", ""));
    let output = scene.sega(&["run", "a.sega"]);
    let message = errors(&output);
    let seed: String = message.split("seed ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let recipe = sega::artifact::png::recipe(&fs::read(scene.path("a.png")).unwrap()).unwrap().unwrap();
    let again = sega::recipe::parse(&sega::source::Source::new("again", recipe)).recipe.unwrap();
    assert_eq!(again.seeds, [sega::quantity::Seed(seed.parse().unwrap())]);
}

#[test]
fn every_example_renders() {
    for path in crate::commands::examples() {
        // Fewer steps and a smaller picture: this is about the recipes, and the full renders are for eyes.
        let text = fs::read_to_string(&path).unwrap();
        let quick: String = text
            .lines()
            .map(|line| if line.starts_with("steps") { "steps 4\nsize 64x64\n".into() } else { format!("{line}\n") })
            .collect();
        let scene = Scene::new(&quick);
        check(&scene, &["run", "a.sega"], 0, &["wrote"]);
    }
}

/// The pictures in the README are what the first recipe paints, with its concept and without. How sums are rounded differs
/// from processor to processor.
#[test]
fn the_pictures_of_the_readme_are_of_the_first_recipe() {
    let first = fs::read_to_string(Path::new(ROOT).join("recipes/first.sega")).unwrap();
    let (plain, _) = first.split_once("\nplus").unwrap();
    for (name, recipe) in [("plain", plain), ("glasses", first.as_str())] {
        let scene = Scene::new(recipe);
        check(&scene, &["run", "a.sega"], 0, &["wrote"]);
        let shown = Path::new(ROOT).join(format!("docs/{name}.png"));
        assert_eq!(sega::artifact::png::recipe(&fs::read(&shown).unwrap()).unwrap().as_deref(), Some(recipe));
        let (ours, shown) = (pixels(&scene.path("a.png")), pixels(&shown));
        assert_eq!(ours.len(), shown.len());
        let apart: u64 = ours.iter().zip(&shown).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!(apart <= ours.len() as u64 / 2, "{name}: {} grey levels in the mean", apart as f64 / ours.len() as f64);
    }
}

#[test]
fn an_over_long_prompt_is_read_in_chunks_but_by_the_reference() {
    let long =
        |end: &str| QUICK.replace("a portrait of a woman", &format!("{}{end}", "a very long prompt, ".repeat(20)));
    let scene = Scene::new(&long("hat"));
    fs::write(scene.path("b.sega"), long("cat")).unwrap();
    for compat in [false, true] {
        let mut pictures = Vec::new();
        for name in ["a", "b"] {
            let (recipe, picture) = (format!("{name}.sega"), format!("{name}-{compat}.png"));
            if compat {
                let text = fs::read_to_string(scene.path(&recipe)).unwrap();
                fs::write(scene.path(&recipe), text + "compat diffusers\n").unwrap();
            }
            let output = scene.sega(&["run", &recipe, "-o", &picture]);
            let message = errors(&output);
            assert_eq!(output.status.code(), Some(0), "{message}");
            assert_eq!(message.contains("the prompt is too long"), compat, "{message}");
            pictures.push(pixels(&scene.path(&picture)));
        }
        assert_eq!(pictures[0] == pictures[1], compat, "the end of the prompt counts");
    }
}

#[test]
fn a_broken_recipe_is_refused_before_anything_is_read() {
    let scene = Scene::new("sega 1\nmodel \"no such folder\"\nprompt \"x\"\nstepz 3\n");
    check(&scene, &["run", "a.sega"], 1, &["stepz", "did you mean `steps`"]);
    assert_eq!(scene.files(), ["a.sega"]);
}

#[test]
fn a_missing_model_is_named() {
    let scene = Scene::new(&QUICK.replace("\"mini\"", "\"./nowhere\""));
    check(&scene, &["run", "a.sega"], 2, &["nowhere"]);
    let scene = Scene::new(&QUICK.replace("\"mini\"", "\"minni\""));
    check(&scene, &["run", "a.sega"], 2, &["minni", "`mini`"]);
    assert_eq!(scene.files(), ["a.sega"]);
}

/// A scene whose recipe names a copy of the embedded model in the folder `copy`.
fn with_copied_model() -> Scene {
    let scene = Scene::new(&QUICK.replace("\"mini\"", "\"copy\""));
    copy_folder(&Path::new(ROOT).join("models/mini"), &scene.path("copy"));
    scene
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_folder_renders_as_the_embedded_model_does() {
    let scene = with_copied_model();
    check(&scene, &["run", "a.sega", "--latents", "copy.safetensors"], 0, &[]);
    fs::write(scene.path("b.sega"), QUICK).unwrap();
    check(&scene, &["run", "b.sega", "--latents", "mini.safetensors"], 0, &[]);
    assert_eq!(fs::read(scene.path("copy.safetensors")).unwrap(), fs::read(scene.path("mini.safetensors")).unwrap());
}

#[test]
fn a_truncated_weights_file_is_named() {
    let scene = with_copied_model();
    let weights = scene.path("copy/unet/diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    check(&scene, &["run", "a.sega"], 2, &["diffusion_pytorch_model.safetensors", "incomplete"]);
    assert_eq!(scene.files(), ["a.sega", "copy"]);
}

#[test]
fn an_unknown_block_type_is_named() {
    let scene = with_copied_model();
    let config = scene.path("copy/unet/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replacen("\"DownBlock2D\"", "\"SpiralBlock2D\"", 1)).unwrap();
    check(&scene, &["run", "a.sega"], 2, &["SpiralBlock2D", "unet/config.json", "CrossAttnDownBlock2D"]);
    check(&scene, &["plan", "a.sega"], 2, &["SpiralBlock2D"]);
}

#[test]
fn weights_that_are_not_numbers_are_named_not_painted_black() {
    let scene = with_copied_model();
    // The last convolution's bias as NaN: every estimate is then NaN, from the first step on.
    let weights = scene.path("copy/unet/diffusion_pytorch_model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let index: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let offset = 8 + header + index["conv_out.bias"]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[offset..offset + 2].copy_from_slice(&half::f16::NAN.to_le_bytes());
    fs::write(&weights, bytes).unwrap();
    check(&scene, &["run", "a.sega"], 2, &["not finite", "step 0"]);
    assert_eq!(scene.files(), ["a.sega", "copy"]);
}

#[test]
#[cfg(unix)]
fn a_file_that_cannot_be_written_whole_leaves_nothing() {
    let scene = Scene::new(QUICK);
    // The system refuses files above 4 KiB, as a full disk would refuse the rest of the picture; the latents are smaller.
    let script = format!("ulimit -f 4; exec '{}' run a.sega --latents a.safetensors", env!("CARGO_BIN_EXE_sega"));
    let output = Command::new("bash").args(["-c", &script]).current_dir(scene.folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    assert!(errors(&output).contains("a.png"), "{}", errors(&output));
    assert_eq!(scene.files(), ["a.sega"]);
}

#[test]
fn less_memory_paints_the_same_picture() {
    let scene = Scene::new(QUICK);
    let latents = |arguments: &[&str]| {
        check(&scene, &[&["run", "a.sega", "--force", "--latents", "a.safetensors"], arguments].concat(), 0, &[]);
        fs::read(scene.path("a.safetensors")).unwrap()
    };
    let wanted = latents(&[]);
    for arguments in [["--memory", "64G"], ["--memory", "1 GiB"], ["--rows", "1"]] {
        assert!(latents(&arguments) == wanted, "{arguments:?}");
    }
    let little = ["run", "a.sega", "--force", "--memory", "0.1g"];
    check(&scene, &little, 2, &["`--memory` allows 0.1 GiB", "--precision bf16"]);
    check(&scene, &["run", "a.sega", "--force", "--memory", "much"], 2, &["as in `8G`"]);
}

#[test]
fn a_device_that_is_not_there() {
    let scene = Scene::new(QUICK);
    check(&scene, &["run", "a.sega", "--device", "cpu"], 0, &[]);
    check(&scene, &["run", "a.sega", "--force"], 0, &[]);
    let missing = if cfg!(feature = "cuda") { "cuda:99" } else { "cuda" };
    check(
        &scene,
        &["run", "a.sega", "--force", "--device", missing],
        2,
        &["there is no device `cuda:", "--device cpu"],
    );
    #[cfg(not(feature = "cuda"))]
    check(&scene, &["run", "a.sega", "--force", "--device", "cuda:1"], 2, &["`cuda:1`", "--features cuda"]);
    #[cfg(not(feature = "metal"))]
    check(&scene, &["run", "a.sega", "--force", "--device", "metal"], 2, &["`metal:0`", "--features metal"]);
    check(&scene, &["run", "a.sega", "--force", "--device", "gpu"], 2, &["take auto, cpu, cuda, cuda:N or metal"]);
}

#[test]
fn several_devices_share_the_seeds_of_a_list() {
    let scene = Scene::new(&QUICK.replace("42", "1 to 5"));
    check(&scene, &["run", "a.sega", "-o", "one.png"], 0, &["wrote one-5.png"]);
    let several = ["run", "a.sega", "-o", "two.png", "--device", "cpu,cpu", "--json"];
    let output = scene.sega(&several);
    assert!(output.status.success(), "{}", errors(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut seeds: Vec<u64> =
        document["pictures"].as_array().unwrap().iter().map(|made| made["seed"].as_u64().unwrap()).collect();
    seeds.sort_unstable();
    assert_eq!(seeds, [1, 2, 3, 4, 5]);
    for seed in seeds {
        let picture = |name: &str| fs::read(scene.path(&format!("{name}-{seed}.png"))).unwrap();
        assert_eq!(picture("one"), picture("two"), "{seed}");
    }
    // All of them must be there.
    check(&scene, &["run", "a.sega", "--force", "--device", "cpu,cuda:99"], 2, &["there is no device `cuda:99`"]);
    check(&scene, &["run", "a.sega", "--force", "--device", "cpu,"], 2, &["take auto, cpu, cuda, cuda:N or metal"]);
    // One thread is enough for all.
    check(
        &scene,
        &["run", "a.sega", "--force", "--device", "cpu,cpu", "--threads", "1"],
        0,
        &["5 pictures on 2 devices"],
    );
}

#[test]
#[cfg(unix)]
fn an_interrupted_render_leaves_nothing() {
    let scene = Scene::new(&QUICK.replace("steps   3", "steps   900").replace("64x64", "128x128"));
    let mut child = scene.command(&["run", "a.sega"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let began = lines.next().unwrap().unwrap();
    assert!(began.contains("rendering a.png"), "{began}");
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(lines.any(|line| line.unwrap().contains("interrupted")));
    assert_eq!(scene.files(), ["a.sega"]);
}

#[test]
#[cfg(unix)]
fn an_interrupted_series_keeps_what_was_finished() {
    let scene = Scene::new(&QUICK.replace("42", "[1, 2]").replace("steps   3", "steps   400"));
    let mut child = scene.command(&["run", "a.sega"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("rendering a-2.png")));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(lines.any(|line| line.contains("interrupted: every file is whole, or as it was before")));
    assert_eq!(scene.files(), ["a-1.png", "a.sega"]);
}

#[test]
fn json_tells_what_was_made() {
    let scene = Scene::new(QUICK);
    let output = scene.sega(&["run", "a.sega", "--json"]);
    assert!(errors(&output).is_empty(), "{}", errors(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["format_version"], 1);
    assert_eq!(document["exit_code"], 0);
    assert_eq!(document["pictures"][0]["file"], "a.png");
    assert_eq!(document["pictures"][0]["seed"], 42);
}

#[test]
fn the_number_of_threads_changes_no_pixel() {
    let scene = Scene::new(QUICK);
    let picture = |threads: &str, file: &str| {
        let output = scene.sega(&["run", "a.sega", "--threads", threads, "-o", file]);
        assert!(output.status.success(), "{}", errors(&output));
        fs::read(scene.path(file)).unwrap()
    };
    assert_eq!(picture("1", "one.png"), picture("3", "three.png"));
    let output = scene.sega(&["run", "a.sega", "--threads", "0"]);
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
}
