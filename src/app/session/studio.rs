//! Renders that reuse what earlier ones came to.

use std::cell::OnceCell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use super::kept::Kept;
use super::{EncodedText, KnownModel, TextReader, load_painter, remarks, weights};
use crate::app::Failure;
use crate::app::device::Network;
use crate::artifact::Picture;
use crate::artifact::png::Compressed;
use crate::engine::EngineError;
use crate::engine::network::{Condition, TextVectors};
use crate::engine::preview::{EffectMap, LinearDecoder, effect_maps};
use crate::engine::render::Painter;
use crate::engine::sampler::State;
use crate::model::emphasis::Reading;
use crate::model::lora::LoraFile;
use crate::plan::Plan;
use crate::plan::key::{Key, keys};
use crate::quantity::Size;

/// A render that is to be done.
pub(in crate::app) struct Order {
    known: KnownModel,
    loras: Vec<LoraFile>,
    pub(in crate::app) network: Network,
    /// Stands for the model in keys.
    identity: Key,
    pub(in crate::app) plan: Plan,
    /// What is to be said of the plan.
    warnings: Vec<String>,
}

impl Order {
    /// A plan for a model with its LoRAs.
    pub(in crate::app) fn new(
        known: KnownModel,
        loras: Vec<LoraFile>,
        network: Network,
        plan: Plan,
        warnings: Vec<String>,
    ) -> Result<Self, Failure> {
        Ok(Self { identity: known.identity(&loras, network.precision)?, known, loras, network, plan, warnings })
    }

    /// The keys of the render with the noise of a seed.
    pub(in crate::app) fn keys(&self, seed: u64) -> Vec<Key> {
        keys(&self.plan, self.identity, seed)
    }
}

/// A finished render.
pub(in crate::app) struct Painted {
    pub(in crate::app) picture: Arc<Picture>,
    /// Its pixels for its file.
    pub(in crate::app) compressed: Arc<Compressed>,
    /// Where each concept acted, in the order of the plan's `acting`.
    pub(in crate::app) effects: Vec<EffectMap>,
    /// How many evaluations an earlier render had done already.
    pub(in crate::app) reused: usize,
    /// What the model cannot read of the texts.
    pub(in crate::app) warnings: Vec<String>,
}

/// What is kept of a place in a render.
#[derive(Clone)]
struct Checkpoint {
    state: State,
    /// At the end.
    picture: Option<(Arc<Picture>, Arc<Compressed>)>,
    warnings: Vec<String>,
}

/// A model and its coarse decoder. Its text encoders stay in memory, as the next edit may bring a new text.
pub(in crate::app) struct StudioModel {
    reader: TextReader,
    painter: Painter,
    linear: OnceCell<Option<LinearDecoder>>,
    channels: usize,
}

impl StudioModel {
    /// Whether previews by the model's own decoder come at a price that can be paid now and then.
    pub(in crate::app) fn decodes_quickly(&self) -> bool {
        self.painter.decodes_quickly()
    }

    /// What a render will become, by the model's own decoder or by the coarse one; `None` where there is nothing to show
    /// yet.
    pub(in crate::app) fn preview(&self, state: &State, sharp: bool) -> Result<Option<Picture>, Failure> {
        let painter = &self.painter;
        if sharp {
            return Ok(painter.preview(state, None)?);
        }
        if self.linear.get().is_none() {
            let _ = self.linear.set(painter.linear_decoder(self.channels)?);
        }
        match self.linear.get().and_then(Option::as_ref) {
            Some(linear) => Ok(painter.preview(state, Some(linear))?),
            None => Ok(None),
        }
    }
}

/// All that a text's vectors depend on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct TextKey {
    model: Key,
    reading: Reading,
    layer: Option<usize>,
    text: String,
}

/// All that the condition of a plan depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ConditionKey {
    texts: Vec<TextKey>,
    size: Size,
    /// The bits of the guidance scale.
    guidance: u64,
}

/// Everything that renders leave behind for later ones. There is no invalidation: what is kept is found by what it was
/// made from.
pub(in crate::app) struct Studio {
    models: Vec<(Key, Rc<StudioModel>)>,
    texts: Kept<TextKey, Rc<EncodedText>>,
    conditions: Kept<ConditionKey, Rc<Condition>>,
    checkpoints: Kept<Key, Checkpoint>,
}

/// How many models stay in memory.
const MODELS: usize = 2;

/// What the last state of a render is worth among its checkpoints: most, as its picture is what an undo shows.
const END: u32 = u32::MAX;

impl Studio {
    /// A studio that keeps at most so many bytes of checkpoints and texts.
    pub(in crate::app) fn new(keep: usize) -> Self {
        let texts = keep / 8;
        Self {
            models: Vec::new(),
            texts: Kept::new(texts),
            conditions: Kept::new(texts),
            checkpoints: Kept::new(keep - 2 * texts),
        }
    }

    /// Renders an order with the noise of a seed, from the first evaluation that no earlier render has done.
    ///
    /// `watch` is called before every evaluation, before the decoder and behind it; a break ends the render as interrupted,
    /// and what it came to is kept.
    pub(in crate::app) fn paint(
        &mut self,
        order: &Order,
        seed: u64,
        watch: &mut dyn FnMut(&StudioModel, &State) -> ControlFlow<()>,
    ) -> Result<Painted, Failure> {
        let keys = order.keys(seed);
        let end = keys[keys.len() - 1];
        self.texts.begin();
        self.conditions.begin();
        self.checkpoints.begin();
        // All of them count as used now, so that what this render shares with earlier ones outlives what it does not.
        let mut reached: Option<State> = None;
        for key in &keys {
            if let Some(checkpoint) = self.checkpoints.get(key) {
                reached = Some(checkpoint.state.clone());
            }
        }
        if let Some(Checkpoint { state, picture: Some(picture), warnings }) = self.checkpoints.get(&end) {
            let ((picture, compressed), warnings) = (picture.clone(), warnings.clone());
            let effects = effect_maps(state)?;
            return Ok(Painted { picture, compressed, effects, reused: state.done(), warnings });
        }

        let model = self.model(order)?;
        let texts = self.texts(order, &model)?;
        let mut warnings: Vec<String> = order.warnings.clone();
        warnings.extend(super::warnings(&order.plan, texts.iter().map(Rc::as_ref)));
        let condition = self.condition(order, &model, &texts)?;
        let painter = &model.painter;
        let begin = match reached {
            Some(state) => state,
            None => painter.begin(&order.plan, seed)?,
        };
        let reused = begin.done();
        let checkpoints = &mut self.checkpoints;
        let rendered = painter.render_from(&order.plan, &condition, begin, &mut |state| {
            let checkpoint = Checkpoint { state: state.clone(), picture: None, warnings: Vec::new() };
            let worth = if state.done() + 1 == keys.len() { END } else { state.done().trailing_zeros() };
            checkpoints.put(keys[state.done()], checkpoint, state.bytes(), worth);
            watch(&model, state)
        });
        let rendered = rendered.map_err(|error| match error {
            EngineError::Interrupted => Failure::Interrupted,
            error => error.into(),
        })?;
        warnings.extend(remarks(order.network.precision, rendered.overflowed, rendered.reduced_rows));
        let compressed = Arc::new(Compressed::new(&rendered.picture)?);
        let picture = Arc::new(rendered.picture);
        let bytes = rendered.state.bytes() + picture.rgb.len() + compressed.bytes();
        let effects = effect_maps(&rendered.state)?;
        let both = Some((picture.clone(), compressed.clone()));
        let checkpoint = Checkpoint { state: rendered.state, picture: both, warnings: warnings.clone() };
        self.checkpoints.put(end, checkpoint, bytes, END);
        Ok(Painted { picture, compressed, effects, reused, warnings })
    }

    /// The weights of an order's model.
    fn model(&mut self, order: &Order) -> Result<Rc<StudioModel>, Failure> {
        if let Some(at) = self.models.iter().position(|(identity, _)| *identity == order.identity) {
            // The last used is the last to go.
            let known = self.models.remove(at);
            self.models.push(known);
        } else {
            // Room first: two large models may not fit where one does.
            if self.models.len() == MODELS {
                self.models.remove(0);
            }
            let weights = weights(&order.known, order.loras.clone())?;
            let model = StudioModel {
                reader: TextReader::load(&order.known, &weights, &order.network)?,
                painter: load_painter(&order.known, &weights, &order.network)?,
                linear: OnceCell::new(),
                channels: order.known.card.latent_channels(),
            };
            self.models.push((order.identity, Rc::new(model)));
        }
        Ok(self.models[self.models.len() - 1].1.clone())
    }

    /// The texts of an order's plan as its model's text encoders see them.
    fn texts(&mut self, order: &Order, model: &StudioModel) -> Result<Vec<Rc<EncodedText>>, Failure> {
        let mut texts = Vec::new();
        for key in text_keys(order) {
            if let Some(known) = self.texts.get(&key) {
                texts.push(known.clone());
                continue;
            }
            let encoded = Rc::new(model.reader.encode(&key.text, &order.plan)?);
            texts.push(encoded.clone());
            self.texts.put(key, encoded.clone(), encoded.vectors.bytes(), 0);
        }
        Ok(texts)
    }

    /// What the network is told of an order's plan.
    fn condition(
        &mut self,
        order: &Order,
        model: &StudioModel,
        texts: &[Rc<EncodedText>],
    ) -> Result<Rc<Condition>, Failure> {
        let plan = &order.plan;
        let texts_of_key = text_keys(order).collect();
        let key = ConditionKey { texts: texts_of_key, size: plan.size, guidance: plan.guidance.to_bits() };
        if let Some(known) = self.conditions.get(&key) {
            return Ok(known.clone());
        }
        let vectors: Vec<TextVectors> = texts.iter().map(|text| text.vectors.clone()).collect();
        let condition = Rc::new(model.painter.condition(plan, &vectors)?);
        self.conditions.put(key, condition.clone(), condition.bytes(), 0);
        Ok(condition)
    }
}

fn text_keys(order: &Order) -> impl Iterator<Item = TextKey> {
    let Plan { texts, reading, text_layer, .. } = &order.plan;
    texts.iter().map(|text| TextKey {
        model: order.identity,
        reading: *reading,
        layer: *text_layer,
        text: text.clone(),
    })
}
