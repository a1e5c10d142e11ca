//! The commands that need no engine: check, fmt, plan, explain.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const GOOD: &str = "sega 1\n\nmodel     \"mini\"\nprompt    \"a portrait\"\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// The worked examples. Beside them lie the pictures of those that somebody has run.
pub(crate) fn examples() -> Vec<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let recipes: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ending| ending == "sega")).collect();
    assert!(recipes.len() >= 3);
    recipes
}

fn sega(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sega")).args(arguments).current_dir(folder.path()).output().unwrap()
}

/// Runs `arguments`, expects the exit code and `words` in what is printed.
fn check(folder: &TempDir, arguments: &[&str], code: i32, words: &[&str]) {
    let output = sega(folder, arguments);
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{printed}");
    for word in words {
        assert!(printed.contains(word), "no `{word}` in: {printed}");
    }
}

#[test]
fn check_reports_every_file() {
    let folder = folder(&[("good.sega", GOOD), ("bad.sega", "sega 1\nmodel \"mini\"\n")]);
    check(&folder, &["check", "good.sega"], 0, &["good.sega: no mistakes"]);
    check(&folder, &["check", "good.sega", "bad.sega"], 1, &["good.sega: no mistakes", "bad.sega: 1 error", "prompt"]);
    check(&folder, &["check", "nowhere.sega"], 2, &["nowhere.sega"]);
    // Those behind one that cannot be read are heard all the same.
    check(&folder, &["check", "nowhere.sega", "bad.sega", "good.sega"], 2, &["nowhere.sega", "1 error", "no mistakes"]);
}

#[test]
fn check_speaks_json() {
    let folder = folder(&[("bad.sega", "sega 1\nmodel \"mini\"\nprompt \"x\"\nstepz 3\n")]);
    let output = sega(&folder, &["check", "--json", "bad.sega"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["format_version"], 1);
    assert_eq!(document["exit_code"], 1);
    assert_eq!(document["files"][0]["errors"], 1);
    insta::assert_snapshot!("json_diagnostic", format!("{:#}", document["diagnostics"]));
}

#[test]
fn a_file_that_is_not_text_is_no_recipe() {
    let folder = folder(&[]);
    fs::write(folder.path().join("a.sega"), [b's', 0xff, 0xfe]).unwrap();
    check(&folder, &["check", "a.sega"], 2, &["UTF-8"]);
}

#[test]
fn fmt_rewrites_and_checks() {
    let untidy = "sega   1\nmodel \"mini\"\n   prompt    \"a portrait\"";
    let folder = folder(&[("a.sega", untidy)]);
    check(&folder, &["fmt", "--check", "a.sega"], 1, &["a.sega"]);
    assert_eq!(fs::read_to_string(folder.path().join("a.sega")).unwrap(), untidy);
    check(&folder, &["fmt", "a.sega"], 0, &["formatted"]);
    check(&folder, &["fmt", "--check", "a.sega"], 0, &[]);
    let text = fs::read_to_string(folder.path().join("a.sega")).unwrap();
    assert!(text.contains("model     \"mini\"\n"), "{text}");
}

#[test]
#[cfg(unix)]
fn fmt_follows_links() {
    let folder = folder(&[("a.sega", "sega   1\nmodel \"mini\"\nprompt \"x\"\n")]);
    let link = folder.path().join("link.sega");
    std::os::unix::fs::symlink("a.sega", &link).unwrap();
    check(&folder, &["fmt", "link.sega"], 0, &["formatted"]);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    check(&folder, &["fmt", "--check", "a.sega"], 0, &[]);
}

#[test]
fn fmt_leaves_what_is_no_recipe() {
    for text in ["Dear John,\nI will come on 5 May\n", "sega 2\nfancy  1\n", "model \"mini\"\n"] {
        let folder = folder(&[("a.sega", text)]);
        check(&folder, &["fmt", "a.sega"], 1, &["a.sega: left as it is"]);
        assert_eq!(fs::read_to_string(folder.path().join("a.sega")).unwrap(), text);
    }
    check(&folder(&[("a.sega", "\n\n# nothing yet\n")]), &["fmt", "a.sega"], 0, &["formatted"]);
}

#[test]
#[cfg(unix)]
fn fmt_leaves_what_is_read_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder(&[("a.sega", "sega   1\n")]);
    let path = folder.path().join("a.sega");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    check(&folder, &["fmt", "a.sega"], 2, &["a.sega", "read-only"]);
    assert_eq!(fs::read_to_string(path).unwrap(), "sega   1\n");
}

#[test]
#[cfg(target_os = "linux")]
fn a_result_that_cannot_be_written_is_a_failure() {
    let folder = folder(&[("a.sega", GOOD)]);
    for arguments in [&["plan", "a.sega"][..], &["explain"], &["fmt", "-"], &["check", "--json", "a.sega"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_sega"))
            .args(arguments)
            .current_dir(folder.path())
            .stdin(fs::File::open(folder.path().join("a.sega")).unwrap())
            .stdout(fs::File::options().write(true).open("/dev/full").unwrap())
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains("cannot write to the standard output"), "{message}");
    }
}

#[test]
fn a_wrong_command_line_speaks_json_too() {
    let folder = folder(&[]);
    for arguments in [&["--json", "frobnicate"][..], &["check", "--json"]] {
        let output = sega(&folder, arguments);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&document["format_version"], &document["exit_code"]), (&1.into(), &2.into()));
        assert!(document["error"].as_str().unwrap().contains("--help"));
        assert_eq!(output.status.code(), Some(2));
    }
    check(&folder, &["--help"], 0, &["Usage"]);
}

#[test]
fn nothing_that_is_printed_steers_a_terminal() {
    let folder = folder(&[("a\u{1b}.sega", "sega 1\nmodel \"\\u{1b}]0;x\\u{7}\"\nprompt \"a\"\n")]);
    for command in ["check", "plan", "fmt"] {
        let output = sega(&folder, &[command, "a\u{1b}.sega"]);
        let printed = [output.stdout, output.stderr].concat();
        assert!(!printed.contains(&0x1b) && !printed.contains(&7), "{command}: {}", String::from_utf8_lossy(&printed));
    }
}

#[test]
fn fmt_refuses_what_it_cannot_read() {
    let broken = "sega 1\nmodel \"mini\nprompt \"x\"\n";
    let folder = folder(&[("a.sega", broken)]);
    check(&folder, &["fmt", "a.sega"], 1, &["a.sega"]);
    assert_eq!(fs::read_to_string(folder.path().join("a.sega")).unwrap(), broken);
}

#[test]
fn the_standard_input_is_a_file_too() {
    let folder = folder(&[]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_sega"))
        .args(["fmt", "-"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"sega 1\nmodel \"mini\"").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "sega 1\nmodel     \"mini\"\n");
}

#[test]
fn plan_shows_the_schedule() {
    let folder = folder(&[("a.sega", GOOD)]);
    check(&folder, &["plan", "a.sega"], 0, &["timestep", "unconditional prompt", "60 network evaluations", "ddim"]);
    let output = sega(&folder, &["plan", "--json", "a.sega"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["plan"]["steps"].as_array().unwrap().len(), 30);
    assert_eq!(document["plan"]["network_evaluations"], 60);
}

#[test]
fn what_a_model_cannot_do_is_shown_at_its_place() {
    let folder = folder(&[("a.sega", &format!("{GOOD}scheduler dpmpp-2m\nsteps     1000\nspacing   leading\n"))]);
    let words = ["step 1 of 1000 has the same noise level", "a.sega:6:1", "with the model `mini`", "lower `steps`"];
    check(&folder, &["plan", "a.sega"], 1, &words);
}

#[test]
fn explain_knows_settings_commands_and_codes() {
    let folder = folder(&[]);
    check(&folder, &["explain", "threshold"], 0, &["threshold", "90%"]);
    check(&folder, &["explain", "fmt"], 0, &["canonical"]);
    check(&folder, &["explain"], 0, &["threshold", "E0101"]);
    check(&folder, &["explain", "treshold"], 1, &["treshold", "`threshold`"]);
    for code in sega::diagnostic::Code::ALL {
        check(&folder, &["explain", code.as_str()], 0, &[code.as_str()]);
    }
}

#[test]
fn every_example_is_right_and_canonical() {
    let folder = folder(&[]);
    for path in examples() {
        let path = path.to_str().unwrap();
        check(&folder, &["check", path], 0, &["no mistakes"]);
        check(&folder, &["fmt", "--check", path], 0, &[]);
        check(&folder, &["plan", path], 0, &["network evaluations"]);
    }
}
