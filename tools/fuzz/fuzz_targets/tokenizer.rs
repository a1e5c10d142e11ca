//! Tokenizer files: an error, or a tokenizer that gives as many tokens as it says.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sega::model::files::ModelFiles;
use sega::model::tokenizer::Tokenizer;

const FILES: [&str; 4] = ["tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"];

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let file = FILES[usize::from(*which) % FILES.len()];
    let folder = std::env::temp_dir().join(format!("sega-fuzz-{}", std::process::id()));
    let mini = ModelFiles::locate("mini", Path::new("")).expect("mini is embedded");
    std::fs::create_dir_all(folder.join("tokenizer")).expect("the folder for temporary files is there");
    std::fs::write(folder.join("model_index.json"), "{}").expect("as above");
    for other in FILES {
        let path = folder.join("tokenizer").join(other);
        if other == file {
            std::fs::write(path, bytes).expect("as above");
        } else if other == "tokenizer.json" {
            // It would be read instead of the others.
            let _ = std::fs::remove_file(path);
        } else {
            let text = mini.text(&format!("tokenizer/{other}")).expect("mini is embedded").unwrap_or_default();
            std::fs::write(path, text).expect("as above");
        }
    }
    let files = ModelFiles::in_folder(folder).expect("it is a model's folder");
    if let Ok(tokenizer) = Tokenizer::read(&files, 77) {
        for text in ["", "a woman, with glasses", "\u{0}\u{10ffff} e\u{301}", "<|endoftext|>!!!"] {
            if let Ok(tokens) = tokenizer.encode(text) {
                assert_eq!(tokens.ids.len() % tokenizer.length(), 0);
            }
        }
    }
});
