//! From a plan, tokens and a seed to a picture.

use std::ops::ControlFlow;

use candle_core::{Device, Tensor};

use super::network::{Condition, TextVectors};
use super::noise::NoiseStream;
use super::sampler::sample;
use super::{EngineError, Model, ModelWeights, Precision};
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
}

impl Painter {
    /// Reads a model's weights.
    pub fn load(card: &Card, weights: &ModelWeights, precision: Precision) -> Result<Self, EngineError> {
        let device = Device::Cpu;
        Ok(Self { model: Model::load(card, weights, &device, precision)?, device })
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
        let image = self.model.decoder.decode(&latents)?;
        go_on()?;
        let (_, _, height, width) = image.dims4()?;
        let planes: Vec<f32> = image.flatten_all()?.to_vec1()?;
        if planes.iter().any(|value| !value.is_finite()) {
            return Err(EngineError::NonFinite { what: "the decoded picture".to_owned(), step: plan.steps.len() });
        }
        let [channels, latent_height, latent_width] = plan.latents;
        Ok(Rendered {
            latents: latents.flatten_all()?.to_vec1()?,
            latents_shape: [1, channels, latent_height, latent_width],
            picture: Picture::from_planes(width, height, &planes),
        })
    }
}
