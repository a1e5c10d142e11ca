//! The embedding of the timestep.

use candle_core::{Result, Tensor};

use super::Built;
use super::layers::Linear;
use crate::engine::checkpoint::Parameters;
use crate::model::card::UNetCard;

/// The sines and cosines of a number at frequencies 10000^(-i / (n - shift)), i < n (Vaswani et al., arXiv 1706.03762,
/// section 3.5).
pub(super) struct Sinusoids {
    /// In f32 and rounded as PyTorch rounds them: at timesteps near 1000 the last bit of a frequency shows.
    frequencies: Vec<f32>,
    flip_sin_to_cos: bool,
    odd: bool,
}

impl Sinusoids {
    pub(super) fn new(channels: usize, flip_sin_to_cos: bool, shift: f64) -> Self {
        let half = channels / 2;
        let spread = (half as f64 - shift) as f32;
        let frequencies = (0..half)
            .map(|index| {
                let exponent = -(10000f64.ln() as f32) * index as f32 / spread;
                f64::from(exponent).exp() as f32
            })
            .collect();
        Self { frequencies, flip_sin_to_cos, odd: !channels.is_multiple_of(2) }
    }

    /// As many numbers as there are channels.
    pub(super) fn of(&self, value: f32) -> Vec<f32> {
        let angles = self.frequencies.iter().map(|frequency| f64::from(value * frequency));
        let sines = angles.clone().map(|angle| angle.sin() as f32);
        let cosines = angles.map(|angle| angle.cos() as f32);
        let mut embedding: Vec<f32> =
            if self.flip_sin_to_cos { cosines.chain(sines).collect() } else { sines.chain(cosines).collect() };
        if self.odd {
            embedding.push(0.0);
        }
        embedding
    }
}

/// W2 silu(W1 x).
pub(super) struct TwoLayers {
    linear1: Linear,
    linear2: Linear,
}

impl TwoLayers {
    pub(super) fn new(inputs: usize, outputs: usize, at: &Parameters) -> Built<Self> {
        Ok(Self {
            linear1: Linear::new(inputs, outputs, &at.pp("linear_1"))?,
            linear2: Linear::new(outputs, outputs, &at.pp("linear_2"))?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.linear2.forward(&self.linear1.forward(x)?.silu()?)
    }
}

/// silu(W2 silu(W1 (e(t) + g)) + a), with e(t) the sinusoids of the timestep, g what tells the guidance scale and a what is
/// added of text and picture, each where the network has it. Every block starts with the outer silu, so it is taken
/// here, once.
pub(super) struct TimeEmbedding {
    sinusoids: Sinusoids,
    layers: TwoLayers,
}

impl TimeEmbedding {
    pub(super) fn new(card: &UNetCard, at: &Parameters) -> Built<Self> {
        let sinusoids = Sinusoids::new(card.time_channels, card.flip_sin_to_cos, card.freq_shift);
        Ok(Self { sinusoids, layers: TwoLayers::new(card.time_channels, card.time_width, &at.pp("time_embedding"))? })
    }

    /// `[1 or rows, time width]`, of the type and on the device of `like`; `guidance` is `[1, time channels]`, `added`
    /// `[rows, time width]`.
    pub(super) fn forward(
        &self,
        timestep: f64,
        guidance: Option<&Tensor>,
        added: Option<&Tensor>,
        like: &Tensor,
    ) -> Result<Tensor> {
        let embedding = self.sinusoids.of(timestep as f32);
        let embedding = Tensor::new(embedding, like.device())?.unsqueeze(0)?.to_dtype(like.dtype())?;
        let embedding = match guidance {
            Some(guidance) => (embedding + guidance)?,
            None => embedding,
        };
        let embedding = self.layers.forward(&embedding)?;
        match added {
            Some(added) => embedding.broadcast_add(added)?.silu(),
            None => embedding.silu(),
        }
    }
}
