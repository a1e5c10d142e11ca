//! From a plan, tokens and a seed to a picture.

use std::ops::ControlFlow;

use candle_core::{DType, Device, Tensor};

use super::network::Condition;
use super::noise::NoiseStream;
use super::sampler::{State, sample};
use super::{EngineError, Model, ModelWeights};
use crate::artifact::Picture;
use crate::model::card::Card;
use crate::plan::Plan;

/// A model on its device, ready to render.
pub struct Painter {
    model: Model,
    device: Device,
}

/// A finished render.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The final latents as the network sees them (not divided by the autoencoder's scaling factor).
    pub latents: Vec<f32>,
    /// Their shape: `[1, channels, height, width]`.
    pub latents_shape: [usize; 4],
    /// The picture that they decode to.
    pub picture: Picture,
    /// The state at the end.
    pub state: State,
}

impl Painter {
    /// Reads a model's weights.
    pub fn load(card: &Card, weights: &ModelWeights) -> Result<Self, EngineError> {
        let device = Device::Cpu;
        Ok(Self { model: Model::load(card, weights, &device, DType::F32)?, device })
    }

    /// What the network is to be asked: one row for each text of a plan, given as token ids.
    pub fn condition(&self, tokens: &[Vec<u32>]) -> Result<Condition, EngineError> {
        let rows = tokens.iter().map(|tokens| self.text(tokens)).collect::<Result<Vec<_>, _>>()?;
        Ok(Condition::join(&rows.iter().collect::<Vec<_>>())?)
    }

    /// What the network is to be asked for one text, given as token ids.
    ///
    /// Every text is encoded by itself: what it becomes depends on no other, to the bit.
    pub fn text(&self, tokens: &[u32]) -> Result<Condition, EngineError> {
        let embedding = self.model.text.encode(&[tokens.to_vec()])?;
        self.model.unet.condition(&embedding)
    }

    /// The beginning of a plan with the noise of a seed.
    pub fn begin(&self, plan: &Plan, seed: u64) -> Result<State, EngineError> {
        State::begin(plan, NoiseStream::new(seed), &self.device)
    }

    /// Renders a plan with the noise of a seed: [`Self::render_from`] its beginning.
    pub fn render(
        &self,
        plan: &Plan,
        condition: &Condition,
        seed: u64,
        watch: &mut dyn FnMut(&State) -> ControlFlow<()>,
    ) -> Result<Rendered, EngineError> {
        self.render_from(plan, condition, self.begin(plan, seed)?, watch)
    }

    /// Renders a plan from a state of it.
    ///
    /// `watch` is called before every evaluation of the network, before the latents are decoded and when the picture is
    /// there; a break ends the render with [`EngineError::Interrupted`].
    pub fn render_from(
        &self,
        plan: &Plan,
        condition: &Condition,
        state: State,
        watch: &mut dyn FnMut(&State) -> ControlFlow<()>,
    ) -> Result<Rendered, EngineError> {
        let mut network = |latents: &Tensor, timestep: f64, rows: &[usize]| {
            self.model.unet.forward(latents, timestep, condition, rows)
        };
        let state = sample(plan, &mut network, state, watch)?;
        let mut go_on = || match watch(&state) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(EngineError::Interrupted),
        };
        go_on()?;
        let picture = self.decode(state.latents())?;
        go_on()?;
        let picture = picture
            .ok_or_else(|| EngineError::NonFinite { what: "the decoded picture".to_owned(), step: plan.steps.len() })?;
        let [channels, height, width] = plan.latents;
        Ok(Rendered {
            latents: state.latents().flatten_all()?.to_vec1()?,
            latents_shape: [1, channels, height, width],
            picture,
            state,
        })
    }

    /// Where its tensors are.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Whether pictures are decoded so quickly that every step of a render may show one.
    pub fn decodes_quickly(&self) -> bool {
        self.model.decoder.is_tiny()
    }

    /// The picture of some latents, `[1, channels, height, width]`; `None` where it is not finite.
    pub fn decode(&self, latents: &Tensor) -> Result<Option<Picture>, EngineError> {
        let image = self.model.decoder.decode(latents)?;
        let (_, _, height, width) = image.dims4()?;
        let planes: Vec<f32> = image.flatten_all()?.to_vec1()?;
        let finite = planes.iter().all(|value| value.is_finite());
        Ok(finite.then(|| Picture::from_planes(width, height, &planes)))
    }
}
