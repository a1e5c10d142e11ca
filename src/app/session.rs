//! What stays known between renders: a model's files, card, tokenizer and network; encoded texts; the states that renders
//! went through. The only owner of caches.

use std::path::Path;
#[cfg(feature = "watch")]
use std::path::PathBuf;

use super::Failure;
use super::hub::find;
#[cfg(feature = "watch")]
use super::hub::find_with;
use super::report::Report;
use crate::diagnostic::{Code, Diagnostic};
use crate::model::card::{Card, CardTexts};
use crate::model::files::ModelFiles;
#[cfg(feature = "watch")]
use crate::model::hub::HubId;
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
        Self::of(recipe, find(recipe, folder, wanted, report, interrupted)?)
    }

    /// The same; what is on a hub is as `get` has it.
    #[cfg(feature = "watch")]
    pub(super) fn read_with(
        recipe: &Recipe,
        folder: &Path,
        wanted: Wanted,
        get: &mut dyn FnMut(&HubId, Wanted) -> Result<PathBuf, Failure>,
    ) -> Result<Self, Failure> {
        Self::of(recipe, find_with(recipe, folder, wanted, get)?)
    }

    fn of(recipe: &Recipe, files: ModelFiles) -> Result<Self, Failure> {
        let name = &recipe.model.value;
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
    let plan = plan_or_mistake(recipe, known, file).map_err(|mistake| {
        report.diagnostics(source, &mistake.into());
        Failure::Recipe
    })?;
    size_warning(recipe, known, &plan).iter().for_each(|warning| report.warning(warning));
    Ok(plan)
}

/// What to say of a size that is far from the model's own.
pub(super) fn size_warning(recipe: &Recipe, known: &KnownModel, plan: &Plan) -> Option<String> {
    let own = plan::far_from(plan.size, known.card.default_size)?;
    Some(format!(
        "the model `{}` was trained on {own}: pictures of {} may fall apart or repeat themselves",
        recipe.model.value, plan.size
    ))
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
#[cfg(feature = "watch")]
use loaded::{EncodedText, TextReader, loading, rows_at_once, warnings, weights};
#[cfg(feature = "engine")]
pub(super) use loaded::{LoadedModel, remarks};
#[cfg(feature = "watch")]
pub(super) use studio::{Order, Painted, Studio, StudioModel};

#[cfg(feature = "engine")]
mod loaded {
    use std::rc::Rc;

    use super::{Failure, KnownModel};
    use crate::app::device::Network;
    use crate::engine::limits::Stop;
    use crate::engine::loading::Loading;
    use crate::engine::memory::Needs;
    use crate::engine::network::{Condition, TextVectors};
    use crate::engine::render::Painter;
    use crate::engine::texts::TextEncoders;
    use crate::engine::{ModelWeights, Precision};
    use crate::model::files::FilesError;
    use crate::model::lora::LoraFile;
    use crate::model::prompt::Tokenizers;
    use crate::plan::Plan;

    /// A render that does not fit the memory that it may take.
    #[derive(Debug, thiserror::Error)]
    #[error("`--memory` allows {given}, and this render takes about {needed} even with one text at a time; {hint}")]
    struct TooLittleMemory {
        given: String,
        needed: String,
        hint: &'static str,
    }

    /// The first words of a text.
    fn beginning(text: &str) -> String {
        const SHOWN: usize = 40;
        let mut words = text.chars();
        let shown: String = words.by_ref().take(SHOWN).collect();
        if words.next().is_some() { format!("{}\u{2026}", shown.trim_end()) } else { shown }
    }

    /// What to say of how a picture came to be: of a decoder that overflowed, and of texts that did not fit the device at
    /// once.
    pub(in crate::app) fn remarks(
        precision: Precision,
        overflowed: bool,
        reduced_rows: Option<usize>,
    ) -> impl Iterator<Item = String> {
        let overflow = format!("the autoencoder overflows in {}: the picture was decoded in f32", precision.name());
        let reduced = reduced_rows.map(|rows| {
            format!(
                "the device has not the memory for all texts at once: they are evaluated {rows} at a time; `--rows {rows}` \
                 does so from the beginning"
            )
        });
        overflowed.then_some(overflow).into_iter().chain(reduced)
    }

    /// A text as the text encoders see it.
    pub(in crate::app) struct EncodedText {
        pub(in crate::app) vectors: TextVectors,
        /// What of the text has no effect, as it is too long for the model.
        dropped: Option<String>,
    }

    /// What the model cannot read of a plan's texts.
    pub(in crate::app) fn warnings<'a>(
        plan: &Plan,
        texts: impl IntoIterator<Item = &'a EncodedText>,
    ) -> impl Iterator<Item = String> {
        texts.into_iter().enumerate().filter_map(|(row, text)| {
            let dropped = text.dropped.as_ref()?;
            Some(format!(
                "{} is too long for the model: what comes from `{}` on has no effect; shorten it",
                plan.row_name(row),
                beginning(dropped.trim())
            ))
        })
    }

    /// A model's tokenizers and text encoders.
    pub(in crate::app) struct TextReader {
        tokenizers: Rc<Tokenizers>,
        encoders: TextEncoders,
    }

    impl TextReader {
        pub(in crate::app) fn load(
            known: &KnownModel,
            tokenizers: Rc<Tokenizers>,
            weights: &ModelWeights,
            loading: &Loading<'_>,
        ) -> Result<Self, Failure> {
            Ok(Self { tokenizers, encoders: TextEncoders::load(&known.card, weights, loading)? })
        }

        /// Encodes a text as a plan has it read.
        pub(in crate::app) fn encode(&self, text: &str, plan: &Plan) -> Result<EncodedText, Failure> {
            let (tokens, dropped) = self.tokenizers.encode(text, plan.reading)?;
            let mut vectors = self.encoders.encode(&[tokens], plan.text_layer)?;
            Ok(EncodedText { vectors: vectors.remove(0), dropped })
        }
    }

    /// A model with its weights, and what it was told of a plan's texts.
    pub(in crate::app) struct LoadedModel {
        pub(in crate::app) painter: Painter,
        pub(in crate::app) condition: Condition,
        /// How many rows may be evaluated at once.
        pub(in crate::app) rows: usize,
    }

    impl LoadedModel {
        /// Reads the weights of a known model. Its text encoders are gone from memory before the network comes.
        pub(in crate::app) fn load(
            known: &KnownModel,
            plan: &Plan,
            loras: Vec<LoraFile>,
            network: &Network,
            stop: Stop<'_>,
            warn: &mut dyn FnMut(&str),
        ) -> Result<Self, Failure> {
            let weights = weights(known, loras)?;
            let loading = loading(network, stop);
            let rows = rows_at_once(known, &weights, plan, network, &loading, None)?;
            let tokenizers = Tokenizers::read(&known.files, &known.card)?;
            let reader = TextReader::load(known, tokenizers.into(), &weights, &loading)?;
            let mut texts = Vec::with_capacity(plan.texts.len());
            for text in &plan.texts {
                stop.check()?;
                texts.push(reader.encode(text, plan)?);
            }
            drop(reader);
            warnings(plan, &texts).for_each(|warning| warn(&warning));
            let texts: Vec<TextVectors> = texts.into_iter().map(|text| text.vectors).collect();
            let painter = Painter::load(&known.card, &weights, &loading)?;
            let condition = painter.condition(plan, &texts)?;
            Ok(Self { painter, condition, rows })
        }
    }

    /// How networks are loaded until somebody wants its end.
    pub(in crate::app) fn loading<'a>(network: &Network, stop: Stop<'a>) -> Loading<'a> {
        Loading::new(network.precision).on(&network.device).until(stop)
    }

    /// How many rows of a plan may be evaluated at once: as many as the user says, or as fit into the memory that the user
    /// allows. A program that keeps its text encoders says what else it keeps, in bytes.
    pub(in crate::app) fn rows_at_once(
        known: &KnownModel,
        weights: &ModelWeights,
        plan: &Plan,
        network: &Network,
        loading: &Loading<'_>,
        keeps: Option<u64>,
    ) -> Result<usize, Failure> {
        let Some(memory) = network.memory else { return Ok(network.rows.map_or(usize::MAX, |rows| rows as usize)) };
        let needs = Needs::of(&known.card, weights, plan.latents, loading)?;
        let needs = keeps.map_or(needs, |bytes| needs.keeping(bytes));
        let most = plan.steps.iter().map(|step| step.rows.len()).max().unwrap_or(1);
        let rows = needs.rows_within(memory, most);
        let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
        let (given, needed) = (gib(memory), gib(needs.with_rows(1)));
        let hint = match network.precision {
            Precision::F32 => "give more, take a smaller size, or take `--precision bf16`, which halves the weights",
            Precision::F16 | Precision::BF16 => "give more, or take a smaller size",
        };
        rows.ok_or_else(|| TooLittleMemory { given, needed, hint }.into())
    }

    /// Where the weights of a model are.
    pub(in crate::app) fn weights(known: &KnownModel, loras: Vec<LoraFile>) -> Result<ModelWeights, FilesError> {
        let KnownModel { files, card } = known;
        Ok(ModelWeights {
            unet: files.weights("unet")?,
            text_encoder: files.weights("text_encoder")?,
            text_encoder_2: card.text_2.as_ref().map_or(Ok(Vec::new()), |_| files.weights("text_encoder_2"))?,
            vae: files.weights("vae")?,
            loras,
        })
    }
}
