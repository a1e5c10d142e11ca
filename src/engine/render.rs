//! From a plan, tokens and a seed to a picture.

use std::ops::ControlFlow;

use candle_core::{Device, Tensor};

use super::kernel::BLOCKS;
use super::limits::{Limits, Stop};
use super::loading::Loading;
use super::network::{Condition, Decoder, TextVectors};
use super::noise::NoiseStream;
use super::sampler::{State, sample};
use super::{EngineError, Model, ModelWeights, Precision};
use crate::artifact::Picture;
use crate::model::card::{AutoencoderCard, Card};
use crate::model::files::Weights;
use crate::plan::Plan;

/// A model on its device, ready to render.
pub struct Painter {
    model: Model,
    device: Device,
    /// What a second decoder is made of, should the first overflow.
    autoencoder: (AutoencoderCard, Vec<Weights>),
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
    /// Whether the decoder overflowed in the painter's precision, so that the picture was decoded in f32.
    pub overflowed: bool,
    /// How many rows the network evaluates at once since the device had not the memory for more.
    pub reduced_rows: Option<usize>,
    /// The state at the end.
    pub state: State,
}

impl Painter {
    /// Reads a model's weights.
    pub fn load(card: &Card, weights: &ModelWeights, loading: &Loading<'_>) -> Result<Self, EngineError> {
        let model = Model::load(card, weights, loading)?;
        let autoencoder = (card.autoencoder.clone(), weights.vae.clone());
        Ok(Self { model, device: loading.device.clone(), autoencoder })
    }

    /// What the network is to be asked: one row for each text of a plan, given as what the text encoders make of it.
    pub fn condition(&self, plan: &Plan, texts: &[TextVectors]) -> Result<Condition, EngineError> {
        self.model.unet.condition(texts, plan.size, plan.guidance)
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
        self.render_from(plan, condition, self.begin(plan, seed)?, watch, Limits::NONE)
    }

    /// Renders a plan from a state of it.
    ///
    /// `watch` is called before every evaluation of the network, before the latents are decoded, and when the picture is
    /// there; a break ends the render with [`EngineError::Interrupted`].
    pub fn render_from(
        &self,
        plan: &Plan,
        condition: &Condition,
        state: State,
        watch: &mut dyn FnMut(&State) -> ControlFlow<()>,
        limits: Limits<'_>,
    ) -> Result<Rendered, EngineError> {
        let _trim = Trim;
        let stop = limits.stop;
        let mut network = |latents: &Tensor, timestep: f64, rows: &[usize]| {
            self.model.unet.forward_within(limits, latents, timestep, condition, rows)
        };
        let state = sample(plan, &mut network, state, watch)?;
        let mut go_on = || match watch(&state) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(EngineError::Interrupted),
        };
        go_on()?;
        let mut picture = decoded(&self.model.decoder, state.latents(), stop)?;
        let overflowed = picture.is_none() && self.model.decoder.is_half();
        if overflowed {
            go_on()?;
            let (card, weights) = &self.autoencoder;
            let loading = Loading::new(Precision::F32).on(&self.device).until(stop);
            picture = decoded(&Model::decoder(card, weights, &loading)?, state.latents(), stop)?;
        }
        go_on()?;
        let picture = picture
            .ok_or_else(|| EngineError::NonFinite { what: "the decoded picture".to_owned(), step: plan.steps.len() })?;
        let [channels, height, width] = plan.latents;
        Ok(Rendered {
            latents: state.latents().flatten_all()?.to_vec1()?,
            latents_shape: [1, channels, height, width],
            picture,
            overflowed,
            reduced_rows: self.model.unet.reduced_rows(),
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
        decoded(&self.model.decoder, latents, Stop::NEVER)
    }
}

/// Has blocks that were kept for the next step given back when a render ends, however it does.
struct Trim;

impl Drop for Trim {
    fn drop(&mut self) {
        BLOCKS.trim();
    }
}

/// The picture that a decoder makes of some latents; `None` where it is not finite.
fn decoded(decoder: &Decoder, latents: &Tensor, stop: Stop<'_>) -> Result<Option<Picture>, EngineError> {
    let image = decoder.decode_until(stop, latents)?;
    let (_, _, height, width) = image.dims4()?;
    let planes: Vec<f32> = image.flatten_all()?.to_vec1()?;
    let finite = planes.iter().all(|value| value.is_finite());
    Ok(finite.then(|| Picture::from_planes(width, height, &planes)))
}
