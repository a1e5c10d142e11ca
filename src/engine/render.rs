//! From a plan, tokens and a seed to a picture.

use std::ops::ControlFlow;

use candle_core::{Device, Tensor};

use super::network::{Condition, TextVectors};
use super::noise::NoiseStream;
use super::sampler::sample;
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
}

impl Painter {
    /// Reads a model's weights.
    pub fn load(card: &Card, weights: &ModelWeights, precision: Precision) -> Result<Self, EngineError> {
        let device = Device::Cpu;
        let autoencoder = (card.autoencoder.clone(), weights.vae.clone());
        Ok(Self { model: Model::load(card, weights, &device, precision)?, device, autoencoder })
    }

    /// Has the network evaluate no more than so many rows at once: less memory, the same picture.
    pub fn most_rows(self, rows: Option<u32>) -> Self {
        let Some(rows) = rows else { return self };
        let unet = self.model.unet.most_rows(rows as usize);
        Self { model: Model { unet, ..self.model }, ..self }
    }

    /// What the network is to be asked: one row for each text of a plan, given as what the text encoders make of it.
    pub fn condition(&self, plan: &Plan, texts: &[TextVectors]) -> Result<Condition, EngineError> {
        self.model.unet.condition(texts, plan.size, plan.guidance)
    }

    /// Renders a plan with the noise of a seed.
    ///
    /// `watch` is called before every evaluation of the network, before the latents are decoded and when the picture is
    /// there, with the number of evaluations done; a break ends the render with [`EngineError::Interrupted`].
    pub fn render(
        &self,
        plan: &Plan,
        condition: &Condition,
        seed: u64,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Rendered, EngineError> {
        let mut network = |latents: &Tensor, timestep: f64, rows: &[usize]| {
            self.model.unet.forward(latents, timestep, condition, rows)
        };
        let latents = sample(plan, &mut network, &mut NoiseStream::new(seed), &self.device, watch)?;
        let mut go_on = || match watch(plan.steps.len()) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(EngineError::Interrupted),
        };
        go_on()?;
        let mut planes = Planes::of(&self.model.decoder.decode(&latents)?)?;
        let overflowed = !planes.are_finite() && self.model.decoder.is_half();
        if overflowed {
            go_on()?;
            let (card, weights) = &self.autoencoder;
            planes = Planes::of(&Model::decoder(card, weights, &self.device, Precision::F32)?.decode(&latents)?)?;
        }
        go_on()?;
        if !planes.are_finite() {
            return Err(EngineError::NonFinite { what: "the decoded picture".to_owned(), step: plan.steps.len() });
        }
        let [channels, latent_height, latent_width] = plan.latents;
        Ok(Rendered {
            latents: latents.flatten_all()?.to_vec1()?,
            latents_shape: [1, channels, latent_height, latent_width],
            picture: Picture::from_planes(planes.width, planes.height, &planes.values),
            overflowed,
        })
    }
}

/// A decoded picture as plain numbers.
struct Planes {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Planes {
    fn of(image: &Tensor) -> candle_core::Result<Self> {
        let (_, _, height, width) = image.dims4()?;
        Ok(Self { width, height, values: image.flatten_all()?.to_vec1()? })
    }

    fn are_finite(&self) -> bool {
        self.values.iter().all(|value| value.is_finite())
    }
}
