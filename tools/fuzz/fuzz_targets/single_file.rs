//! Checkpoints in one file: recognised, or refused with a reason.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sega::model::card::{Card, CardTexts};
use sega::model::files::ModelFiles;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("sega-fuzz-{}.safetensors", std::process::id()));
    std::fs::write(&path, bytes).expect("the folder for temporary files is there");
    if let Ok(files) = ModelFiles::in_file(&path) {
        let texts = CardTexts::gather(|path| files.text(path)).expect("the texts are in the program");
        Card::new(&texts).expect("the family's card is right");
        for part in ["unet", "vae", "text_encoder", "text_encoder_2"] {
            let _ = files.weights(part);
        }
    }
});
