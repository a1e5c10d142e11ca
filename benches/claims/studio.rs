//! From a recipe's text to a picture, by the program's own pipeline.

use std::ops::ControlFlow;
use std::path::Path;

use sega::artifact::Picture;
use sega::engine::device::DeviceChoice;
use sega::engine::loading::Loading;
use sega::engine::render::Painter;
use sega::engine::texts::TextEncoders;
use sega::engine::{ModelWeights, Precision};
use sega::model::card::{Card, CardTexts};
use sega::model::embedded::TEXTS;
use sega::model::files::{ModelFiles, Weights};
use sega::model::prompt::{TextTokens, Tokenizers};
use sega::plan::Plan;
use sega::recipe::Recipe;
use sega::source::Source;

use crate::Fault;

/// A model, ready to paint.
pub(crate) struct Studio {
    card: Card,
    tokenizers: Tokenizers,
    encoders: TextEncoders,
    painter: Painter,
    /// A digest of the model's files.
    pub(crate) identity: String,
}

impl Studio {
    /// Loads the model that recipes name as `model`.
    pub(crate) fn open(model: &str, device: DeviceChoice, precision: Precision) -> Result<Self, Fault> {
        let files = ModelFiles::locate(model, Path::new("."))?;
        let card = Card::new(&CardTexts::gather(|path| files.text(path))?)?;
        let tokenizers = Tokenizers::read(&files, &card)?;
        let weights = ModelWeights {
            unet: files.weights("unet")?,
            text_encoder: files.weights("text_encoder")?,
            vae: files.weights("vae")?,
            ..ModelWeights::default()
        };
        let loading = Loading::new(precision).on(&device.open()?);
        let encoders = TextEncoders::load(&card, &weights, &loading)?;
        let painter = Painter::load(&card, &weights, &loading)?;
        Ok(Self { card, tokenizers, encoders, painter, identity: identity(&files, &weights, device, precision)? })
    }

    /// The scheduler of recipes that name none.
    pub(crate) fn scheduler(&self) -> Option<&'static str> {
        self.card.scheduler.kind.as_ref().ok().map(|kind| kind.name())
    }

    /// Paints a recipe that has one seed.
    pub(crate) fn paint(&self, text: &str) -> Result<Picture, Fault> {
        let (recipe, plan) = self.plan(text)?;
        let texts = self.encoders.encode(&self.tokens(&plan)?, plan.text_layer)?;
        let condition = self.painter.condition(&plan, &texts)?;
        let seed = recipe.seeds.first().ok_or("a recipe has no seed")?.0;
        Ok(self.painter.render(&plan, &condition, seed, &mut |_| ControlFlow::Continue(()))?.picture)
    }

    /// Goes as far with a recipe as can be gone without the network.
    pub(crate) fn check(&self, text: &str) -> Result<(), Fault> {
        self.tokens(&self.plan(text)?.1).map(drop)
    }

    /// A plan's texts as tokens; what the model cannot take in whole is refused.
    fn tokens(&self, plan: &Plan) -> Result<Vec<TextTokens>, Fault> {
        let mut rows = Vec::new();
        for text in &plan.texts {
            let (tokens, _) = self.tokenizers.encode(text, plan.reading)?;
            if tokens.0.iter().any(|chunks| chunks.len() > 1) {
                return Err(format!("`{text}` is longer than the texts that the model was trained on").into());
            }
            rows.push(tokens);
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
fn identity(
    files: &ModelFiles,
    weights: &ModelWeights,
    device: DeviceChoice,
    precision: Precision,
) -> Result<String, Fault> {
    let mut hasher = blake3::Hasher::new();
    if (device, precision) != (DeviceChoice::Cpu, Precision::F32) {
        hasher.update(format!("{device} {}", precision.name()).as_bytes());
    }
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
