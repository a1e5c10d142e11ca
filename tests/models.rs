//! The embedded model for the other tests.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use sega::model::card::{Card, CardTexts};
use sega::model::files::ModelFiles;

/// mini's files.
pub(crate) fn mini() -> ModelFiles {
    ModelFiles::locate("mini", Path::new(".")).unwrap()
}

/// mini's card, its scheduler's configuration changed by `change`.
pub(crate) fn card_with(change: impl Fn(&str) -> String) -> Card {
    let files = mini();
    let mut texts = CardTexts::gather(|path| files.text(path)).unwrap();
    texts.scheduler = texts.scheduler.map(|text| change(&text));
    Card::new(&texts).unwrap()
}

/// mini's card.
pub(crate) fn card() -> Card {
    card_with(str::to_owned)
}
