//! What the page shows, as it is sent to it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::plan::key::Key;

/// Everything.
#[derive(Debug, Default, Serialize)]
pub(super) struct View {
    /// Another one means that the program was started again.
    pub(super) instance: String,
    pub(super) paused: bool,
    pub(super) recipes: Vec<RecipeView>,
}

/// How a recipe stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Standing {
    /// Its turn has not come.
    #[default]
    Waiting,
    /// It is being rendered.
    Rendering,
    /// Its picture is there.
    Done,
    /// The render failed.
    Failed,
}

/// One recipe.
#[derive(Debug, Default, Serialize)]
pub(super) struct RecipeView {
    pub(super) name: String,
    pub(super) standing: Standing,
    /// Why the file as it is now cannot be rendered; the picture is then of an earlier one.
    pub(super) problem: Option<Problem>,
    /// What of its model is on its way here; the picture is then of an earlier state.
    pub(super) fetching: Option<Fetching>,
    /// What is probably not meant.
    pub(super) warnings: Vec<String>,
    /// What the last render changed.
    pub(super) changes: Vec<ChangeView>,
    /// Whether no setting has changed, or no pixel.
    pub(super) note: Option<String>,
    pub(super) pictures: Vec<PictureView>,
}

/// A download.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Fetching {
    pub(super) model: String,
    /// The file that comes now.
    pub(super) file: String,
    /// In bytes.
    pub(super) done: u64,
    /// In bytes, if the hub says.
    pub(super) total: Option<u64>,
    /// What hinders it.
    pub(super) note: Option<&'static str>,
}

/// Why a recipe cannot be rendered.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Problem {
    pub(super) title: String,
    pub(super) diagnostics: Vec<Value>,
}

/// A setting that an edit changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ChangeView {
    pub(super) what: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// One seed's picture.
#[derive(Debug, Default, Serialize)]
pub(super) struct PictureView {
    pub(super) seed: u64,
    pub(super) file: String,
    /// In pixels.
    pub(super) width: usize,
    pub(super) height: usize,
    /// Steps in the recipe.
    pub(super) steps: usize,
    /// The step that is next.
    pub(super) step: usize,
    /// The step that the render began at: those before were there already.
    pub(super) resumed: usize,
    pub(super) rendering: bool,
    /// How long the render took.
    pub(super) seconds: Option<f64>,
    pub(super) preview: Option<Image>,
    pub(super) current: Option<Image>,
    pub(super) previous: Option<Image>,
    pub(super) effects: Vec<EffectView>,
    /// Previews that may just be on their way to a browser.
    #[serde(skip)]
    pub(super) recent: VecDeque<Image>,
}

/// Where a concept acted.
#[derive(Debug, Clone, Serialize)]
pub(super) struct EffectView {
    pub(super) name: String,
    pub(super) direction: &'static str,
    /// Its strength over all places, of all concepts' together.
    pub(super) share: f64,
    pub(super) image: Image,
}

/// A picture as a file.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Image {
    pub(super) id: u64,
    #[serde(skip)]
    pub(super) png: Arc<Vec<u8>>,
}

impl Image {
    /// A picture whose number stands for what is in the file: a browser that has had it, as after an undo, need not fetch it
    /// again.
    pub(super) fn new(png: Vec<u8>) -> Self {
        // JavaScript's numbers have 53 bits.
        const BITS: u32 = 53;
        let id = Key::of(&png).bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
            >> (u64::BITS - BITS);
        Self { id, png: Arc::new(png) }
    }
}

/// Previews are fetched a moment after they are told of.
const RECENT: usize = 8;

impl PictureView {
    /// Shows a preview; the last few can still be fetched.
    pub(super) fn show_preview(&mut self, image: Image) {
        self.show_no_preview();
        self.preview = Some(image);
    }

    /// Shows the picture again; the last few previews can still be fetched.
    pub(super) fn show_no_preview(&mut self) {
        self.recent.extend(self.preview.take());
        while self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    fn images(&self) -> impl Iterator<Item = &Image> {
        let effects = self.effects.iter().map(|effect| &effect.image);
        [&self.preview, &self.current, &self.previous].into_iter().flatten().chain(effects).chain(&self.recent)
    }
}

impl View {
    /// The picture of a number, if it is still shown.
    pub(super) fn image(&self, id: u64) -> Option<&Image> {
        self.recipes
            .iter()
            .flat_map(|recipe| &recipe.pictures)
            .flat_map(PictureView::images)
            .find(|image| image.id == id)
    }
}
