//! What stays known between renders: a model's files, card, tokenizer and network; encoded texts; the states that renders
//! went through. The only owner of caches.

use std::path::Path;

use super::Failure;
use super::report::Report;
use crate::diagnostic::{Code, Diagnostic};
use crate::model::card::{Card, CardTexts};
use crate::model::files::ModelFiles;
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
    /// Finds the model that a recipe names and reads its card.
    pub(super) fn read(name: &str, folder: &Path) -> Result<Self, Failure> {
        let files = ModelFiles::locate(name, folder)?;
        let texts = CardTexts::gather(|path| files.text(path))?;
        let card = Card::new(&texts).map_err(|error| UnusableModel { model: name.to_owned(), source: error.into() })?;
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
    plan_or_mistake(recipe, known, file).map_err(|mistake| {
        report.diagnostics(source, &mistake.into());
        Failure::Recipe
    })
}

/// Plans a recipe for a model, or tells what the model cannot do.
pub(super) fn plan_or_mistake(recipe: &Recipe, known: &KnownModel, file: &File) -> Result<Plan, Diagnostic> {
    plan::build(recipe, &known.card).map_err(|error| {
        let span = error.settings().iter().find_map(|key| setting_span(file, key)).unwrap_or(recipe.model.span);
        let here = format!("with the model `{}`", recipe.model.value);
        Diagnostic::new(Code::UnfitForModel, error.to_string()).at(span, here).help(error.remedy())
    })
}

/// Where a setting of the top level stands.
fn setting_span(file: &File, key: &str) -> Option<Span> {
    file.entries.iter().find_map(|entry| match entry {
        Entry::Setting(setting) if setting.key.value == key => Some(setting.span),
        _ => None,
    })
}

#[cfg(feature = "watch")]
mod identity;
#[cfg(feature = "watch")]
mod kept;
#[cfg(feature = "watch")]
mod studio;

#[cfg(feature = "watch")]
pub(super) use identity::Stamp;
#[cfg(feature = "engine")]
pub(super) use loaded::LoadedModel;
#[cfg(feature = "watch")]
use loaded::{EncodedText, warnings};
#[cfg(feature = "watch")]
pub(super) use studio::{Order, Painted, Studio, StudioModel};

#[cfg(feature = "engine")]
mod loaded {
    use std::borrow::Borrow;

    use super::{Failure, KnownModel, Report};
    use crate::engine::ModelWeights;
    use crate::engine::network::Condition;
    use crate::engine::render::Painter;
    use crate::model::tokenizer::Tokenizer;
    use crate::plan::Plan;

    /// The first words of a text.
    fn beginning(text: &str) -> String {
        const SHOWN: usize = 40;
        let mut words = text.chars();
        let shown: String = words.by_ref().take(SHOWN).collect();
        if words.next().is_some() { format!("{}\u{2026}", shown.trim_end()) } else { shown }
    }

    /// A text as the network sees it.
    pub(in crate::app) struct EncodedText {
        pub(in crate::app) condition: Condition,
        /// What of the text has no effect, as it is too long for the model.
        dropped: Option<String>,
    }

    /// What the model cannot read of a plan's texts.
    pub(in crate::app) fn warnings<T: Borrow<EncodedText>>(plan: &Plan, texts: &[T]) -> impl Iterator<Item = String> {
        texts.iter().enumerate().filter_map(|(row, text)| {
            let dropped = text.borrow().dropped.as_ref()?;
            Some(format!(
                "{} is too long for the model: what comes from `{}` on has no effect; shorten it",
                plan.row_name(row),
                beginning(dropped.trim())
            ))
        })
    }

    /// A model with its weights.
    pub(in crate::app) struct LoadedModel {
        tokenizer: Tokenizer,
        pub(in crate::app) painter: Painter,
    }

    impl LoadedModel {
        /// Reads the weights of a known model.
        pub(in crate::app) fn load(known: &KnownModel) -> Result<Self, Failure> {
            let KnownModel { files, card } = known;
            let tokenizer = Tokenizer::read(files, card.max_tokens())?;
            let weights = ModelWeights {
                unet: files.weights("unet")?,
                text_encoder: files.weights("text_encoder")?,
                vae: files.weights("vae")?,
            };
            let painter = Painter::load(card, &weights)?;
            Ok(Self { tokenizer, painter })
        }

        /// Encodes a plan's texts, and warns of what the model cannot read of them.
        pub(in crate::app) fn condition(&self, plan: &Plan, report: &mut Report) -> Result<Condition, Failure> {
            let texts = plan.texts.iter().map(|text| self.text(text)).collect::<Result<Vec<_>, _>>()?;
            warnings(plan, &texts).for_each(|warning| report.warning(&warning));
            Ok(Condition::join(&texts.iter().map(|text| &text.condition).collect::<Vec<_>>())?)
        }

        /// Encodes one text.
        pub(in crate::app) fn text(&self, text: &str) -> Result<EncodedText, Failure> {
            let tokens = self.tokenizer.encode(text)?;
            Ok(EncodedText { condition: self.painter.text(&tokens.ids)?, dropped: tokens.dropped })
        }
    }
}
