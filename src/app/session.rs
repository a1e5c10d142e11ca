//! What stays known between renders: a model's files, card, tokenizer and network. The only owner of caches.

use std::path::Path;

use super::Failure;
use super::hub::find;
use super::report::Report;
use crate::diagnostic::{Code, Diagnostic};
use crate::model::card::{Card, CardTexts};
use crate::model::files::ModelFiles;
use crate::model::hub::Wanted;
use crate::plan::{self, Plan};
use crate::recipe::Recipe;
use crate::source::{Source, Span};
use crate::syntax::{Entry, File};

/// A model as far as its JSON tells.
pub(super) struct KnownModel {
    #[cfg_attr(not(feature = "engine"), expect(dead_code, reason = "weights are for the engine"))]
    pub(super) files: ModelFiles,
    pub(super) card: Card,
}

/// A model whose files contradict what is known of models.
#[derive(Debug, thiserror::Error)]
#[error("the model `{model}` cannot be used")]
struct UnusableModel {
    model: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl KnownModel {
    /// Finds the model that a recipe names, fetches what is wanted of it and not here, and reads its card.
    pub(super) fn read(
        recipe: &Recipe,
        folder: &Path,
        wanted: Wanted,
        report: &mut Report,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Self, Failure> {
        let name = &recipe.model.value;
        let files = find(recipe, folder, wanted, report, interrupted)?;
        let texts = CardTexts::gather(|path| files.text(path))?;
        let card = Card::new(&texts).map_err(|error| UnusableModel { model: name.clone(), source: error.into() })?;
        Ok(Self { files, card })
    }
}

/// Plans a recipe for a model. What the model cannot do is a mistake of the recipe: it is reported with its place.
pub(super) fn plan_for(
    recipe: &Recipe,
    known: &KnownModel,
    file: &File,
    source: &Source,
    report: &mut Report,
) -> Result<Plan, Failure> {
    let plan = plan::build(recipe, &known.card).map_err(|error| {
        let span = error.settings().iter().find_map(|key| setting_span(file, key)).unwrap_or(recipe.model.span);
        let here = format!("with the model `{}`", recipe.model.value);
        let diagnostic = Diagnostic::new(Code::UnfitForModel, error.to_string()).at(span, here).help(error.remedy());
        report.diagnostics(source, &diagnostic.into());
        Failure::Recipe
    })?;
    if let Some(own) = plan::far_from(plan.size, known.card.default_size) {
        report.warning(&format!(
            "the model `{}` was trained on {own}: pictures of {} may fall apart or repeat themselves",
            recipe.model.value, plan.size
        ));
    }
    Ok(plan)
}

/// Where a setting of the top level stands.
fn setting_span(file: &File, key: &str) -> Option<Span> {
    file.entries.iter().find_map(|entry| match entry {
        Entry::Setting(setting) if setting.key.value == key => Some(setting.span),
        _ => None,
    })
}

#[cfg(feature = "engine")]
pub(super) use loaded::LoadedModel;

#[cfg(feature = "engine")]
mod loaded {
    use super::{Failure, KnownModel, Report};
    use crate::app::cli::RunArgs;
    use crate::engine::network::{Condition, TextVectors};
    use crate::engine::render::Painter;
    use crate::engine::texts::TextEncoders;
    use crate::engine::{ModelWeights, Precision};
    use crate::model::card::Card;
    use crate::model::files::{FilesError, ModelFiles};
    use crate::model::lora::LoraFile;
    use crate::model::prompt::Tokenizers;
    use crate::plan::Plan;

    /// The first words of a text.
    fn beginning(text: &str) -> String {
        const SHOWN: usize = 40;
        let mut words = text.chars();
        let shown: String = words.by_ref().take(SHOWN).collect();
        if words.next().is_some() { format!("{}\u{2026}", shown.trim_end()) } else { shown }
    }

    /// A model with its weights, and what it was told of a plan's texts.
    pub(in crate::app) struct LoadedModel {
        pub(in crate::app) painter: Painter,
        pub(in crate::app) condition: Condition,
    }

    impl LoadedModel {
        /// Reads the weights of a known model. Its text encoders are gone from memory before the network comes.
        pub(in crate::app) fn load(
            known: &KnownModel,
            plan: &Plan,
            loras: Vec<LoraFile>,
            args: &RunArgs,
            report: &mut Report,
        ) -> Result<Self, Failure> {
            let KnownModel { files, card } = known;
            let weights = ModelWeights { loras, ..weights(files, card)? };
            let texts = encode(known, &weights, plan, args.precision, report)?;
            let painter = Painter::load(card, &weights, args.precision)?.most_rows(args.rows);
            let condition = painter.condition(plan, &texts)?;
            Ok(Self { painter, condition })
        }
    }

    /// Where the weights of a model are.
    fn weights(files: &ModelFiles, card: &Card) -> Result<ModelWeights, FilesError> {
        Ok(ModelWeights {
            unet: files.weights("unet")?,
            text_encoder: files.weights("text_encoder")?,
            text_encoder_2: card.text_2.as_ref().map_or(Ok(Vec::new()), |_| files.weights("text_encoder_2"))?,
            vae: files.weights("vae")?,
            loras: Vec::new(),
        })
    }

    /// Encodes a plan's texts, and warns of what the model cannot read of them.
    fn encode(
        known: &KnownModel,
        weights: &ModelWeights,
        plan: &Plan,
        precision: Precision,
        report: &mut Report,
    ) -> Result<Vec<TextVectors>, Failure> {
        let tokenizers = Tokenizers::read(&known.files, &known.card)?;
        let mut texts = Vec::new();
        for (row, text) in plan.texts.iter().enumerate() {
            let (tokens, dropped) = tokenizers.encode(text, plan.reading)?;
            if let Some(dropped) = dropped {
                report.warning(&format!(
                    "{} is too long for the model: what comes from `{}` on has no effect; shorten it",
                    plan.row_name(row),
                    beginning(dropped.trim())
                ));
            }
            texts.push(tokens);
        }
        Ok(TextEncoders::load(&known.card, weights, precision)?.encode(&texts, plan.text_layer)?)
    }
}
