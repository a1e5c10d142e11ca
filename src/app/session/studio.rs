//! Renders that reuse what earlier ones came to.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use super::identity::adapted;
use super::kept::Kept;
use super::{EncodedText, KnownModel, TextReader, loading, remarks, rows_at_once, weights};
use crate::app::Failure;
use crate::app::device::Network;
use crate::artifact::Picture;
use crate::artifact::png::Compressed;
use crate::engine::ModelWeights;
use crate::engine::limits::{Limits, Stop};
use crate::engine::loading::{Layer, Loading, Shelf};
use crate::engine::network::{Condition, TextVectors};
use crate::engine::preview::{EffectMap, LinearDecoder, effect_maps};
use crate::engine::render::Painter;
use crate::engine::sampler::State;
use crate::model::emphasis::Reading;
use crate::model::lora::LoraFile;
use crate::model::prompt::Tokenizers;
use crate::plan::Plan;
use crate::plan::key::{Key, keys};
use crate::quantity::Size;

/// A render that is to be done.
pub(in crate::app) struct Order {
    known: KnownModel,
    loras: Vec<LoraFile>,
    pub(in crate::app) network: Network,
    /// Stands for the model without its LoRAs.
    base: Key,
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
        let base = known.identity(network.precision)?;
        Ok(Self { base, identity: adapted(base, &loras), known, loras, network, plan, warnings })
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

/// What models that differ in their LoRAs alone have in common. Also of a model whose loading was given up: the next time
/// goes on from there.
#[derive(Default)]
struct Base {
    layers: Layers,
    tokenizers: OnceCell<Rc<Tokenizers>>,
    /// The coarse decoder; `None` where there is none.
    linear: OnceCell<Option<LinearDecoder>>,
}

/// Layers by name.
#[derive(Default)]
struct Layers(RefCell<HashMap<String, Layer>>);

impl Shelf for Layers {
    fn layer(&self, name: &str) -> Option<Layer> {
        self.0.borrow().get(name).cloned()
    }

    fn put(&self, name: &str, layer: Layer) {
        self.0.borrow_mut().insert(name.to_owned(), layer);
    }
}

/// A model. Its text encoders stay in memory, as the next edit may bring a new text.
pub(in crate::app) struct StudioModel {
    base: Rc<Base>,
    reader: TextReader,
    painter: Painter,
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
        let linear = &self.base.linear;
        if linear.get().is_none() {
            let _ = linear.set(painter.linear_decoder(self.channels)?);
        }
        match linear.get().and_then(Option::as_ref) {
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
    bases: Recent<Rc<Base>>,
    models: Recent<Rc<StudioModel>>,
    /// The bytes that may be kept beside models.
    keep: usize,
    texts: Kept<TextKey, Rc<EncodedText>>,
    conditions: Kept<ConditionKey, Rc<Condition>>,
    checkpoints: Kept<Key, Checkpoint>,
}

/// How many models stay in memory, unless the user bounds it.
const MODELS: usize = 2;

/// A few large things, of which the one goes that was used the longest time ago.
struct Recent<T>(Vec<(Key, T)>);

impl<T: Clone> Recent<T> {
    fn get(&mut self, key: Key) -> Option<T> {
        let at = self.0.iter().position(|(known, _)| *known == key)?;
        // The last used is the last to go.
        let known = self.0.remove(at);
        self.0.push(known);
        self.0.last().map(|(_, value)| value.clone())
    }

    /// Makes room for one of `most`.
    fn make_room(&mut self, most: usize) {
        self.0.drain(..(self.0.len() + 1).saturating_sub(most));
    }
}

/// What the last state of a render is worth among its checkpoints: most, as its picture is what an undo shows.
const END: u32 = u32::MAX;

impl Studio {
    /// A studio that keeps at most so many bytes of checkpoints and texts.
    pub(in crate::app) fn new(keep: usize) -> Self {
        let texts = keep / 8;
        Self {
            bases: Recent(Vec::new()),
            models: Recent(Vec::new()),
            keep,
            texts: Kept::new(texts),
            conditions: Kept::new(texts),
            checkpoints: Kept::new(keep - 2 * texts),
        }
    }

    /// Whether the picture of an order with the noise of a seed is there already.
    pub(in crate::app) fn knows(&mut self, order: &Order, seed: u64) -> bool {
        let end = order.keys(seed).pop();
        end.and_then(|end| self.checkpoints.get(&end)).is_some_and(|checkpoint| checkpoint.picture.is_some())
    }

    /// Renders an order with the noise of a seed, from the first evaluation that no earlier render has done.
    ///
    /// `watch` is called before every evaluation, before the decoder and behind it; a break ends the render as interrupted,
    /// and so does `stop`, which is also asked while weights are read and between the layers of the networks. What it came
    /// to is kept.
    pub(in crate::app) fn paint(
        &mut self,
        order: &Order,
        seed: u64,
        watch: &mut dyn FnMut(&StudioModel, &State) -> ControlFlow<()>,
        stop: Stop<'_>,
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

        let weights = weights(&order.known, order.loras.clone())?;
        let loading = loading(&order.network, stop);
        let keeps = Some(self.keep as u64);
        let rows = rows_at_once(&order.known, &weights, &order.plan, &order.network, &loading, keeps)?;
        let model = self.model(order, &weights, loading)?;
        let texts = self.texts(order, &model, stop)?;
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
        let mut watch = |state: &State| {
            let checkpoint = Checkpoint { state: state.clone(), picture: None, warnings: Vec::new() };
            let worth = if state.done() + 1 == keys.len() { END } else { state.done().trailing_zeros() };
            checkpoints.put(keys[state.done()], checkpoint, state.bytes(), worth);
            watch(&model, state)
        };
        let rendered = painter.render_from(&order.plan, &condition, begin, &mut watch, Limits { rows, stop })?;
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
    fn model(
        &mut self,
        order: &Order,
        weights: &ModelWeights,
        loading: Loading<'_>,
    ) -> Result<Rc<StudioModel>, Failure> {
        let base = self.bases.get(order.base);
        if let Some(known) = self.models.get(order.identity) {
            return Ok(known);
        }
        // Room first: two large models may not fit where one does.
        let most = if order.network.memory.is_some() { 1 } else { MODELS };
        self.models.make_room(most);
        let base = base.unwrap_or_else(|| {
            self.bases.make_room(most);
            let base = Rc::new(Base::default());
            self.bases.0.push((order.base, base.clone()));
            base
        });
        // What is not to be had again is not worth keeping.
        self.models.0.retain(|(_, model)| self.bases.0.iter().any(|(_, base)| Rc::ptr_eq(base, &model.base)));
        let KnownModel { files, card } = &order.known;
        let tokenizers = match base.tokenizers.get() {
            Some(known) => known.clone(),
            None => Rc::new(Tokenizers::read(files, card)?),
        };
        let _ = base.tokenizers.set(tokenizers.clone());
        let loading = loading.sharing(&base.layers);
        let model = StudioModel {
            reader: TextReader::load(&order.known, tokenizers, weights, &loading)?,
            painter: Painter::load(card, weights, &loading)?,
            channels: card.latent_channels(),
            base: base.clone(),
        };
        let model = Rc::new(model);
        self.models.0.push((order.identity, model.clone()));
        Ok(model)
    }

    /// The texts of an order's plan as its model's text encoders see them.
    fn texts(&mut self, order: &Order, model: &StudioModel, stop: Stop<'_>) -> Result<Vec<Rc<EncodedText>>, Failure> {
        let mut texts = Vec::new();
        for key in text_keys(order) {
            if let Some(known) = self.texts.get(&key) {
                texts.push(known.clone());
                continue;
            }
            stop.check()?;
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::ops::ControlFlow;
    use std::path::Path;

    use super::{Order, Studio};
    use crate::app::Failure;
    use crate::app::device::Network;
    use crate::app::session::{KnownModel, plan_or_mistake};
    use crate::engine::Precision;
    use crate::engine::device::Device;
    use crate::engine::limits::Stop;
    use crate::model::hub::Wanted;
    use crate::recipe;
    use crate::source::Source;

    const RECIPE: &str = "sega 1\nmodel \"mini\"\nprompt \"a portrait of a woman\"\nseed 1\nsize 32x32\nsteps 3\nplus glasses \"glasses\"\n";

    fn order(text: &str) -> Order {
        let checked = recipe::parse(&Source::new("a.sega", text));
        let (recipe, file) = (checked.recipe.unwrap(), checked.file);
        let wanted = Wanted::Model { half: false };
        let known = KnownModel::read_with(&recipe, Path::new("."), wanted, &mut |_, _| Err(Failure::Recipe)).unwrap();
        let plan = plan_or_mistake(&recipe, &known, &file).unwrap();
        let network = Network { device: Device::Cpu, precision: Precision::F32, rows: None, memory: None };
        Order::new(known, Vec::new(), network, plan, Vec::new()).unwrap()
    }

    /// Paints until it was asked so often whether to go on.
    fn paint(studio: &mut Studio, order: &Order, end: usize) -> (Result<Vec<u8>, Failure>, usize) {
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() == end
        };
        let painted = studio.paint(order, 1, &mut |_, _| ControlFlow::Continue(()), Stop::when(&stop));
        (painted.map(|painted| painted.picture.rgb.clone()), asked.get())
    }

    /// Whatever it is at, it ends at once, and what was done is not done again.
    #[test]
    fn a_render_can_be_ended_at_any_moment() {
        let order = order(RECIPE);
        let mut studio = Studio::new(1 << 28);
        let (picture, all) = paint(&mut studio, &order, 0);
        let picture = picture.unwrap();
        // Known, nothing is asked.
        assert_eq!(paint(&mut studio, &order, 1).1, 0);
        for end in [1, all / 3, all / 2, all - 20, all] {
            let mut studio = Studio::new(1 << 28);
            let (ended, asked) = paint(&mut studio, &order, end);
            assert!(matches!(ended, Err(Failure::Interrupted)), "at question {end} of {all}");
            assert_eq!(asked, end);
            let (again, asked) = paint(&mut studio, &order, 0);
            assert_eq!(again.unwrap(), picture);
            assert!(end < all / 3 || asked < all - end / 4, "after {end} of {all} questions {asked} more");
        }
    }
}
