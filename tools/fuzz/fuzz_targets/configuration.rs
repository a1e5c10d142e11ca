//! A configuration that lies: an error, or a card that a recipe is planned for.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sega::model::card::{Card, CardTexts};
use sega::model::files::{FilesError, ModelFiles};
use sega::plan;
use sega::plan::key::{Key, keys};
use sega::source::Source;

const FILES: [&str; 5] = [
    "unet/config.json",
    "text_encoder/config.json",
    "vae/config.json",
    "scheduler/scheduler_config.json",
    "text_encoder_2/config.json",
];

const RECIPES: [&str; 2] = [
    "sega 1\nmodel \"mini\"\nprompt \"a\"\nseed 1\nsteps 4\nplus b \"b\" { strength 4, threshold 90% }\n",
    "sega 1\nmodel \"mini\"\nprompt \"a\"\nseed 1\nsize 64x64\nsteps 3\nscheduler euler\nsigmas karras\nclip-skip 2\n",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((which, text)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let file = FILES[usize::from(*which) % FILES.len()];
    let mini = ModelFiles::locate("mini", Path::new("")).expect("mini is embedded");
    let texts = CardTexts::gather(|path| {
        if path == file { Ok::<_, FilesError>(Some(text.to_owned())) } else { mini.text(path) }
    });
    let Ok(card) = Card::new(&texts.expect("mini is embedded")) else { return };
    for recipe in RECIPES {
        let recipe = sega::recipe::parse(&Source::new("a.sega", recipe)).recipe.expect("the recipe is right");
        if let Ok(plan) = plan::build(&recipe, &card) {
            assert!(!keys(&plan, Key::of(b""), 1).is_empty());
        }
    }
});
