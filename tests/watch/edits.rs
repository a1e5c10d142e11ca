//! What an edit costs, what it leaves, and what goes wrong with it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{RECIPE, Watch};

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

/// A folder in which this user may not write. The superuser may write everywhere, and watches as somebody else.
#[test]
#[cfg(target_os = "linux")]
fn a_read_only_folder_is_told() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.sega"), RECIPE).unwrap();
    let permit = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    permit(0o555);
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    let program = env!("CARGO_BIN_EXE_sega");
    let mut command = if id == b"0\n" {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
        command
    } else {
        Command::new(program)
    };
    let path = folder.path().to_owned();
    let watch = Watch::of(folder, command.args(["watch", "--json", "--no-page", "a.sega"]));
    let message = watch.event("unwritten")["message"].clone();
    assert!(message.as_str().unwrap().contains("a.png"), "{message}");
    assert_eq!(watch.event("rendered")["file"], Value::Null);
    assert_eq!(watch.files(), ["a.sega"]);
    // It goes on.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    watch.write(&RECIPE.replace("strength 5", "strength 6"));
    assert_eq!(watch.event("rendered")["file"], "a.png");
}

/// Where nothing can be written: here the folder has gone, and a file stands in its place.
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

/// A disk that is full: the system refuses a file of the picture's length.
#[test]
#[cfg(unix)]
fn a_full_disk_is_told_and_leaves_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.sega"), RECIPE).unwrap();
    let script = format!("ulimit -f 1; exec '{}' watch --json --no-page a.sega", env!("CARGO_BIN_EXE_sega"));
    let watch = Watch::of(folder, std::process::Command::new("sh").args(["-c", &script]));
    watch.event("unwritten");
    assert_eq!(watch.event("rendered")["file"], Value::Null);
    assert_eq!(watch.files(), ["a.sega"]);
    // It goes on.
    watch.write(&RECIPE.replace("strength 5", "strength 6"));
    assert_eq!(watch.event("rendered")["resumed_at"], 4);
}

#[test]
fn a_newer_recipe_ends_the_render() {
    let watch = Watch::new(&RECIPE.replace("steps   8", "steps 990"));
    std::thread::sleep(Duration::from_millis(500));
    watch.write(RECIPE);
    // The first one's picture never comes.
    assert_eq!(watch.event("rendered")["steps"], 8);
    assert_eq!(watch.picture(), watch.run(RECIPE));
}

#[test]
fn without_memory_everything_is_rendered_anew() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.sega"), RECIPE).unwrap();
    let watch = Watch::begin(folder, &["a.sega", "--no-page", "--keep", "0"]);
    watch.event("rendered");
    let first = watch.picture();
    for text in [&RECIPE.replace("strength 5", "strength 6"), RECIPE] {
        watch.write(text);
        assert_eq!(watch.event("rendered")["resumed_at"], 0);
    }
    assert_eq!(watch.picture(), first);
}

#[test]
fn a_format_renders_nothing() {
    let watch = Watch::new(RECIPE);
    watch.event("rendered");
    let mut format = Command::new(env!("CARGO_BIN_EXE_sega"));
    format.args(["fmt", "a.sega"]).current_dir(watch.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(format.status().unwrap().success());
    assert_ne!(fs::read_to_string(watch.path("a.sega")).unwrap(), RECIPE);
    let event = watch.event("rendered");
    assert_eq!((&event["unchanged"], &event["changes"]), (&true.into(), &serde_json::json!([])));
}

/// How networks compute is said as to `run`, and gives what that gives.
#[test]
fn precision_memory_and_threads_are_those_of_run() {
    for arguments in [
        &["--precision", "f16"][..],
        &["--precision", "bf16", "--rows", "1"],
        &["--memory", "8G", "--keep", "64", "--threads", "1"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.sega"), RECIPE).unwrap();
        let watch = Watch::begin(folder, &[&["a.sega", "--no-page"], arguments].concat());
        watch.event("rendered");
        let edited = RECIPE.replace("strength 5", "strength 6");
        watch.write(&edited);
        assert_eq!(watch.event("rendered")["resumed_at"], 4);
        let of_run: Vec<&str> = arguments.iter().copied().filter(|word| !["--keep", "64"].contains(word)).collect();
        assert_eq!(watch.picture(), watch.run_with(&edited, &of_run), "{arguments:?}");
        let precise = !arguments.contains(&"--precision");
        assert_eq!(watch.picture() == watch.run(&edited), precise, "{arguments:?}");
    }
}

/// Too little memory is told, and what needs less is rendered all the same.
#[test]
fn too_little_memory_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.sega"), RECIPE.replace("64x64", "2048x2048")).unwrap();
    let watch = Watch::begin(folder, &["a.sega", "--no-page", "--memory", "800M", "--keep", "64"]);
    let message = watch.event("failed")["message"].clone();
    assert!(message.as_str().unwrap().contains("`--memory` allows 0.8 GiB"), "{message}");
    watch.write(RECIPE);
    assert_eq!(watch.event("rendered")["resumed_at"], 0);
}

/// `sega watch --help` lists every event that there is in the program's text.
#[test]
fn events_are_documented() {
    let output = Command::new(env!("CARGO_BIN_EXE_sega")).args(["watch", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let listed: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let mut events = std::collections::BTreeSet::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/app/watch")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        for call in [".say(\"", ".note(\"", ".problem(number, \"", "report.event(\""] {
            events.extend(text.split(call).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    assert!(events.contains("rendered") && events.contains("missing") && events.len() > 10, "{events:?}");
    for event in events {
        assert!(listed.contains(&event.as_str()), "`{event}` is not in the help");
    }
}
