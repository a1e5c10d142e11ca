//! From a recipe's text to a picture, by the program's own pipeline.

use std::ops::ControlFlow;
use std::path::Path;

use sega::artifact::Picture;
use sega::engine::ModelWeights;
use sega::engine::render::Painter;
use sega::model::card::{Card, CardTexts};
use sega::model::embedded::TEXTS;
use sega::model::files::{ModelFiles, Weights};
use sega::model::tokenizer::Tokenizer;
use sega::plan::Plan;
use sega::recipe::Recipe;
use sega::source::Source;

use crate::Fault;

/// A model, ready to paint.
pub(crate) struct Studio {
    card: Card,
    tokenizer: Tokenizer,
    painter: Painter,
    /// A digest of the model's files.
    pub(crate) identity: String,
}

impl Studio {
    /// Loads the model that recipes name as `model`.
    pub(crate) fn open(model: &str) -> Result<Self, Fault> {
        let files = ModelFiles::locate(model, Path::new("."))?;
        let card = Card::new(&CardTexts::gather(|path| files.text(path))?)?;
        let tokenizer = Tokenizer::read(&files, card.max_tokens())?;
        let weights = ModelWeights {
            unet: files.weights("unet")?,
            text_encoder: files.weights("text_encoder")?,
            vae: files.weights("vae")?,
        };
        let painter = Painter::load(&card, &weights)?;
        Ok(Self { card, tokenizer, painter, identity: identity(&files, &weights)? })
    }

    /// The scheduler of recipes that name none.
    pub(crate) fn scheduler(&self) -> Option<&'static str> {
        self.card.scheduler.kind.as_ref().ok().map(|kind| kind.name())
    }

    /// Paints a recipe that has one seed.
    pub(crate) fn paint(&self, text: &str) -> Result<Picture, Fault> {
        let (recipe, plan) = self.plan(text)?;
        let condition = self.painter.condition(&self.tokens(&plan)?)?;
        let seed = recipe.seeds.first().ok_or("a recipe has no seed")?.0;
        Ok(self.painter.render(&plan, &condition, seed, &mut |_| ControlFlow::Continue(()))?.picture)
    }

    /// Goes as far with a recipe as can be gone without the network.
    pub(crate) fn check(&self, text: &str) -> Result<(), Fault> {
        self.tokens(&self.plan(text)?.1).map(drop)
    }

    /// A plan's texts as tokens; what the model cannot take in whole is refused.
    fn tokens(&self, plan: &Plan) -> Result<Vec<Vec<u32>>, Fault> {
        let mut rows = Vec::new();
        for text in &plan.texts {
            let tokens = self.tokenizer.encode(text)?;
            if let Some(dropped) = tokens.dropped {
                return Err(format!("`{text}` is too long for the model: `{dropped}` would be lost").into());
            }
            rows.push(tokens.ids);
        }
        Ok(rows)
    }

    /// Parses and plans a recipe.
    fn plan(&self, text: &str) -> Result<(Recipe, Plan), Fault> {
        let source = Source::new("claims.sega", text.to_owned());
        let checked = sega::recipe::parse(&source);
        let recipe = checked.recipe.ok_or_else(|| format!("{:?}\nin the recipe\n{text}", checked.diagnostics))?;
        let plan = sega::plan::build(&recipe, &self.card)?;
        Ok((recipe, plan))
    }
}

/// A digest of all that the pictures of a model depend on.
fn identity(files: &ModelFiles, weights: &ModelWeights) -> Result<String, Fault> {
    let mut hasher = blake3::Hasher::new();
    for path in TEXTS {
        hasher.update(files.text(path)?.unwrap_or_default().as_bytes()).update(&[0]);
    }
    for part in [&weights.unet, &weights.text_encoder, &weights.vae].into_iter().flatten() {
        match part {
            Weights::Embedded(bytes) => hasher.update(bytes),
            Weights::File(path) | Weights::Section { file: path, .. } => hasher.update(&std::fs::read(path)?),
        };
    }
    Ok(hasher.finalize().to_hex().to_string())
}
