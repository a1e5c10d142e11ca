//! Live editing: the program watches while the tests edit.

#![allow(clippy::unwrap_used)]

mod page;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const RECIPE: &str = r#"sega 1
model   "mini"
prompt  "a portrait of a woman"
seed    42
size    64x64
steps   8

plus glasses "glasses" { steps 4.., warmup 0, strength 5 }
"#;

/// Long enough for a busy machine; nothing waits for it that comes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder, and a program that watches in it.
struct Watch {
    folder: TempDir,
    child: Child,
    events: Receiver<Value>,
}

impl Watch {
    /// Watches `a.sega` with this text.
    fn new(recipe: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.sega"), recipe).unwrap();
        Self::begin(folder, &["a.sega", "--no-page"])
    }

    fn begin(folder: TempDir, arguments: &[&str]) -> Self {
        let (child, events) = spawn(&folder, arguments);
        Self { folder, child, events }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, text: &str) {
        fs::write(self.path("a.sega"), text).unwrap();
    }

    /// Waits for an event of this kind; those before it are passed over.
    fn event(&self, kind: &str) -> Value {
        wait(&self.events, kind)
    }

    /// Ends it as Ctrl-C does, and says with which code.
    fn interrupt(&mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into()).collect();
        names.sort();
        names
    }

    /// The file that `sega run` writes for a recipe.
    fn run(&self, recipe: &str) -> Vec<u8> {
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("a.sega"), recipe).unwrap();
        let status = Command::new(env!("CARGO_BIN_EXE_sega"))
            .args(["run", "a.sega"])
            .current_dir(elsewhere.path())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        fs::read(elsewhere.path().join("a.png")).unwrap()
    }

    fn picture(&self) -> Vec<u8> {
        fs::read(self.path("a.png")).unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &TempDir, arguments: &[&str]) -> (Child, Receiver<Value>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sega"))
        .args(["watch", "--json"])
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, events) = channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            assert_eq!(event["format_version"], 1);
            assert_eq!(event["command"], "watch");
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    (child, events)
}

fn wait(events: &Receiver<Value>, kind: &str) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(event) if event["event"] == kind => return event,
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => panic!("no event `{kind}`"),
            Err(RecvTimeoutError::Disconnected) => panic!("the program ended before an event `{kind}`"),
        }
    }
}

#[test]
fn an_edit_costs_what_it_changes_and_gives_what_run_gives() {
    let watch = Watch::new(RECIPE);
    let first = watch.event("rendered");
    assert_eq!((&first["resumed_at"], &first["steps"], &first["file"]), (&0.into(), &8.into(), &"a.png".into()));
    let original = watch.run(RECIPE);
    assert_eq!(watch.picture(), original);

    let stronger = RECIPE.replace("strength 5", "strength 9");
    watch.write(&stronger);
    let edited = watch.event("rendered");
    assert_eq!(edited["resumed_at"], 4);
    let change = serde_json::json!([{ "what": "glasses.strength", "before": "5", "after": "9" }]);
    assert_eq!(edited["changes"], change);
    assert_eq!(watch.picture(), watch.run(&stronger));

    watch.write(RECIPE);
    let undone = watch.event("rendered");
    assert_eq!((&undone["resumed_at"], &undone["unchanged"]), (&8.into(), &false.into()));
    assert_eq!(watch.picture(), original);

    let renamed = RECIPE.replace("plus glasses", "# a comment\nplus spectacles");
    watch.write(&renamed);
    let same = watch.event("rendered");
    assert_eq!((&same["resumed_at"], &same["unchanged"]), (&8.into(), &true.into()));
    // The picture carries the recipe as it is now.
    assert_eq!(watch.picture(), watch.run(&renamed));
}

#[test]
fn a_broken_recipe_leaves_the_picture_and_a_mended_one_takes_over() {
    let watch = Watch::new(RECIPE);
    watch.event("rendered");
    let picture = watch.picture();
    watch.write(&RECIPE.replace("strength", "strenght"));
    let diagnostics = watch.event("diagnostics");
    assert!(diagnostics["diagnostics"][0]["help"].as_str().unwrap().contains("strength"), "{diagnostics}");
    watch.event("broken");
    // What only the model can tell.
    watch.write(&RECIPE.replace("64x64", "64x65"));
    watch.event("broken");
    assert_eq!(watch.picture(), picture);
    let mended = RECIPE.replace("strength 5", "strength 6");
    watch.write(&mended);
    watch.event("mended");
    watch.event("rendered");
    assert_eq!(watch.picture(), watch.run(&mended));
}

#[test]
fn it_begins_with_a_broken_recipe_and_does_not_end() {
    let watch = Watch::new("sega 1\nprompt 3\n");
    watch.event("broken");
    watch.write(&RECIPE.replace("\"mini\"", "\"./nowhere\""));
    let failed = watch.event("failed");
    assert!(failed["message"].as_str().unwrap().contains("nowhere"), "{failed}");
    watch.write(RECIPE);
    watch.event("mended");
    watch.event("rendered");
}

#[test]
fn a_deleted_recipe_may_come_back() {
    let watch = Watch::new(RECIPE);
    watch.event("rendered");
    fs::remove_file(watch.path("a.sega")).unwrap();
    watch.event("missing");
    assert!(watch.path("a.png").exists());
    watch.write(&RECIPE.replace("strength 5", "strength 6"));
    watch.event("mended");
    assert_eq!(watch.event("rendered")["resumed_at"], 4);
}

#[test]
fn a_deleted_folder_may_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("a.sega"), RECIPE).unwrap();
    let watch = Watch::begin(folder, &["inner/a.sega", "--no-page"]);
    watch.event("rendered");
    fs::remove_dir_all(&inner).unwrap();
    watch.event("missing");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("a.sega"), RECIPE.replace("strength 5", "strength 6")).unwrap();
    watch.event("rendered");
    // The new folder is watched as the old one was.
    fs::write(inner.join("a.sega"), RECIPE.replace("strength 5", "strength 7")).unwrap();
    watch.event("rendered");
}

#[test]
#[cfg(unix)]
fn editors_save_in_many_ways() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("real")).unwrap();
    fs::write(folder.path().join("real/recipe"), RECIPE).unwrap();
    std::os::unix::fs::symlink("real/recipe", folder.path().join("a.sega")).unwrap();
    let watch = Watch::begin(folder, &["a.sega", "--no-page"]);
    watch.event("rendered");
    let with = |strength: u32| RECIPE.replace("strength 5", &format!("strength {strength}"));
    let changed_to = |strength: u32| {
        let event = watch.event("rendered");
        assert_eq!(event["changes"][0]["after"], strength.to_string(), "{event}");
    };
    // Through the link, in place.
    watch.write(&with(6));
    changed_to(6);
    // The link's target is replaced by another file of its name, as sed and vim do.
    fs::write(watch.path("real/recipe.new"), with(7)).unwrap();
    fs::rename(watch.path("real/recipe.new"), watch.path("real/recipe")).unwrap();
    changed_to(7);
    // The link itself is replaced by a file.
    fs::write(watch.path("a.sega.new"), with(8)).unwrap();
    fs::rename(watch.path("a.sega.new"), watch.path("a.sega")).unwrap();
    changed_to(8);
    // The old file is moved out of the way first, as emacs does.
    fs::rename(watch.path("a.sega"), watch.path("a.sega~")).unwrap();
    watch.write(&with(9));
    changed_to(9);
}

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

#[test]
fn a_folder_of_recipes_and_what_comes_into_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.sega"), RECIPE).unwrap();
    fs::write(folder.path().join("b.sega"), RECIPE.replace("42", "[1, 2]")).unwrap();
    let watch = Watch::begin(folder, &[".", "--no-page"]);
    for _ in 0..3 {
        watch.event("rendered");
    }
    fs::write(watch.path("c.sega"), RECIPE.replace("steps   8", "steps 5")).unwrap();
    let event = watch.event("rendered");
    assert!(event["recipe"].as_str().unwrap().ends_with("c.sega"), "{event}");
    let pictures: Vec<String> = watch.files().into_iter().filter(|name| name.ends_with(".png")).collect();
    assert_eq!(pictures, ["a.png", "b-1.png", "b-2.png", "c.png"]);
}

#[test]
fn a_file_that_is_no_picture_of_ours_stays() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.sega"), RECIPE).unwrap();
    fs::write(folder.path().join("a.png"), "mine").unwrap();
    let watch = Watch::begin(folder, &["a.sega", "--no-page"]);
    let message = watch.event("unwritten");
    assert!(message["message"].as_str().unwrap().contains("a.png"), "{message}");
    assert_eq!(watch.event("rendered")["file"], Value::Null);
    assert_eq!(watch.picture(), b"mine");
    watch.write(&format!("{RECIPE}overwrite yes\n"));
    watch.event("rendered");
    assert_ne!(watch.picture(), b"mine");
}

/// Where nothing can be written, as in a read-only folder: here the folder has gone, and a file stands in its place.
#[test]
fn a_place_that_cannot_be_written_to_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.sega"), RECIPE).unwrap();
    fs::write(folder.path().join("out"), "").unwrap();
    let watch = Watch::begin(folder, &["a.sega", "--no-page", "-o", "out/a.png"]);
    watch.event("unwritten");
    assert_eq!(watch.event("rendered")["file"], Value::Null);
    // It goes on, and writes as soon as it can.
    fs::remove_file(watch.path("out")).unwrap();
    fs::create_dir(watch.path("out")).unwrap();
    watch.write(&RECIPE.replace("strength 5", "strength 6"));
    assert_eq!(watch.event("rendered")["file"], "out/a.png");
}

#[test]
fn two_watchers_agree() {
    let watch = Watch::new(RECIPE);
    let (mut child, events) = spawn(&watch.folder, &["a.sega", "--no-page"]);
    for strength in ["5", "6", "7"] {
        let text = RECIPE.replace("strength 5", &format!("strength {strength}"));
        watch.write(&text);
        watch.event("rendered");
        wait(&events, "rendered");
        assert_eq!(watch.picture(), watch.run(&text));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[cfg(unix)]
fn an_interrupted_watch_leaves_whole_files() {
    let mut watch = Watch::new(RECIPE);
    watch.event("rendered");
    // In the middle of a long render.
    watch.write(&RECIPE.replace("steps   8", "steps 900"));
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(watch.interrupt(), Some(130));
    assert_eq!(watch.files(), ["a.png", "a.sega"]);
    assert_eq!(watch.picture(), watch.run(RECIPE));
}

/// Edits as fast as the disk takes them, valid and broken: the last valid one is what remains, and nothing else.
fn storm(edits: u32) {
    let mut watch = Watch::new(RECIPE);
    watch.event("rendered");
    let (handles, threads) = resources(watch.child.id());
    for edit in 0..edits {
        let text = match edit % 4 {
            0 => RECIPE.replace("strength 5", &format!("strength {}", 1 + edit % 19)),
            1 => RECIPE.replace("steps   8", &format!("steps {}", 9 + edit % 5)),
            2 => RECIPE[..RECIPE.len() - (edit as usize % 90)].to_owned(),
            _ => format!("# {edit}\n{RECIPE}"),
        };
        watch.write(&text);
    }
    let last = RECIPE.replace("strength 5", "strength 19.5");
    watch.write(&last);
    let until = Instant::now() + PATIENCE;
    while watch.event("rendered")["changes"].to_string().find("19.5").is_none() {
        assert!(Instant::now() < until);
    }
    assert_eq!(watch.picture(), watch.run(&last));
    // Nothing comes after it.
    std::thread::sleep(Duration::from_millis(600));
    assert!(watch.events.try_iter().all(|event| event["event"] != "rendered"));
    let (handles_now, threads_now) = resources(watch.child.id());
    assert!(handles_now <= handles + 2, "{handles} handles became {handles_now}");
    assert!(threads_now <= threads + 1, "{threads} threads became {threads_now}");
    assert_eq!(watch.interrupt(), Some(130));
    assert_eq!(watch.files(), ["a.png", "a.sega"]);
}

/// How many handles and threads a process has; nothing where the system does not tell.
fn resources(process: u32) -> (usize, usize) {
    let count = |what: &str| fs::read_dir(format!("/proc/{process}/{what}")).map_or(0, Iterator::count);
    (count("fd"), count("task"))
}

#[test]
#[cfg(unix)]
fn a_storm_of_edits() {
    storm(400);
}

#[test]
#[cfg(unix)]
#[ignore = "takes minutes"]
fn ten_thousand_edits() {
    storm(10_000);
}
