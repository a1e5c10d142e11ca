//! What the architecture says is absent is absent.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// Every file of a folder, recursively.
fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

/// The Rust files under `src`, each with its module path (`engine/network/unet.rs`) and its code without comments.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    paths.sort();
    assert!(paths.len() > 20);
    paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
            let text = std::fs::read_to_string(path).unwrap();
            let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (name, code.join("\n"))
        })
        .collect()
}

/// The layer that a file belongs to.
fn layer(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

/// For each layer, the layers that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("source", &[]),
    ("diagnostic", &["source"]),
    ("quantity", &["source"]),
    ("model", &["source", "quantity"]),
    ("syntax", &["source", "diagnostic", "quantity", "model"]),
    ("artifact", &["source", "diagnostic", "quantity", "model"]),
    ("recipe", &["source", "diagnostic", "quantity", "model", "syntax", "artifact"]),
    ("plan", &["source", "diagnostic", "quantity", "model", "syntax", "artifact", "recipe"]),
    ("engine", &["quantity", "model", "artifact", "plan"]),
];

#[test]
fn layers_use_only_what_stands_left_of_them() {
    let layers: Vec<&str> = MAY_USE.iter().map(|(layer, _)| *layer).chain(["app"]).collect();
    for (file, code) in sources() {
        let Some((own, allowed)) = MAY_USE.iter().find(|(name, _)| *name == layer(&file)) else { continue };
        for other in &layers {
            if other != own && !allowed.contains(other) {
                assert!(!code.contains(&format!("crate::{other}")), "{file} uses `{other}`");
                assert!(!code.contains(&format!("sega::{other}")), "{file} uses `{other}`");
            }
        }
        assert!(
            !code.contains("use crate::{"),
            "{file}: name each layer in a `use` of its own, so that this test sees it"
        );
    }
}

/// `words` occur only in files for which `home` holds.
fn only_in(words: &[&str], home: impl Fn(&str) -> bool) {
    let sources = sources();
    for word in words {
        let mut found_at_home = false;
        for (file, _) in sources.iter().filter(|(_, code)| code.contains(word)) {
            assert!(home(file), "{file} names `{word}`");
            found_at_home = true;
        }
        assert!(found_at_home, "nothing names `{word}` any more: this test has lost its object");
    }
}

#[test]
fn only_lowering_knows_the_parser_generator() {
    only_in(&["pest"], |file| file == "syntax/lower.rs");
}

#[test]
fn only_the_engine_knows_tensors() {
    only_in(&["candle"], |file| layer(file) == "engine");
}

#[test]
fn only_the_report_prints() {
    only_in(&["::stdout()", "::stderr()"], |file| file == "app/report.rs");
    for (file, code) in sources() {
        for word in ["println!", "eprintln!", "print!(", "eprint!(", "dbg!"] {
            assert!(!code.contains(word), "{file} prints");
        }
    }
}

#[test]
fn only_the_commands_read_clock_environment_and_arguments() {
    only_in(&["std::env", "Instant::now", "clap::"], |file| layer(file) == "app");
    for (file, code) in sources() {
        assert!(layer(&file) == "app" || !code.contains("SystemTime"), "{file} reads the clock");
    }
}

/// The system's clock may jump: it is asked for nothing but to tell files apart. What is measured is measured by a clock
/// that only goes forward.
#[test]
fn only_stamps_of_files_know_the_time_of_day() {
    only_in(&["SystemTime", ".modified()"], |file| file == "app/session/identity.rs");
}

#[test]
fn a_plan_holds_no_span_path_or_tensor() {
    for (file, code) in sources().iter().filter(|(file, _)| layer(file) == "plan") {
        for word in ["Span", "Path", "Tensor"] {
            // The builder reads spanned names of concepts; what it makes holds the names alone.
            assert!(!code.contains(word), "{file} names `{word}`");
        }
    }
}

#[test]
fn the_engine_asks_for_no_family() {
    for (file, code) in sources().iter().filter(|(file, _)| layer(file) == "engine") {
        let code = code.to_lowercase();
        for word in ["sdxl", "sd15", "sd21", "stable diffusion", "family", "\"mini\""] {
            assert!(!code.contains(word), "{file} asks for `{word}`");
        }
    }
}

#[test]
fn guidance_has_no_state() {
    let (_, code) = sources().into_iter().find(|(file, _)| file == "engine/guidance.rs").unwrap();
    for word in ["&mut self", "\nstatic ", "Cell<"] {
        assert!(!code.contains(word), "guidance keeps state (`{word}`)");
    }
}

#[test]
fn nothing_below_the_commands_caches() {
    // The allocator keeps memory, and nothing of what was in it.
    let may = |file: &str| layer(file) == "app" || file == "engine/kernel/blocks.rs";
    for (file, code) in sources().iter().filter(|(file, _)| !may(file)) {
        for word in ["OnceCell", "OnceLock", "LazyLock", "LazyCell", "thread_local!", "static mut", "Mutex", "RefCell"]
        {
            assert!(!code.contains(word), "{file} keeps state (`{word}`)");
        }
    }
}

#[test]
fn files_stay_short() {
    for (file, _) in sources() {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(&file)).unwrap();
        assert!(text.lines().count() <= 520, "{file} has {} lines", text.lines().count());
    }
}

#[test]
fn reference_files_stay_small() {
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference"), &mut paths);
    assert!(!paths.is_empty());
    for path in paths {
        let length = path.metadata().unwrap().len();
        assert!(length <= 20 * 1024, "{} has {length} bytes", path.display());
    }
}
