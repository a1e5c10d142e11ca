//! From latents to pixels, by whichever autoencoder the card describes.

use candle_core::{DType, Tensor};

use super::kl::KlDecoder;
use super::tiny::TinyDecoder;
use crate::engine::EngineError;
use crate::engine::checkpoint::Parameters;
use crate::model::card::AutoencoderCard;

/// The decoder of an autoencoder.
pub struct Decoder {
    decoder: Kind,
    scaling_factor: f64,
    dtype: DType,
}

enum Kind {
    Kl(Box<KlDecoder>),
    Tiny(TinyDecoder),
}

impl Decoder {
    /// Builds the decoder that `card` describes from the weights at `at`.
    pub fn new(card: &AutoencoderCard, at: &Parameters) -> Result<Self, EngineError> {
        let decoder = match card {
            AutoencoderCard::Kl(card) => Kind::Kl(Box::new(KlDecoder::new(card, at)?)),
            AutoencoderCard::Tiny(card) => Kind::Tiny(TinyDecoder::new(card, at)?),
        };
        Ok(Self { decoder, scaling_factor: card.scaling_factor(), dtype: at.dtype() })
    }

    /// Whether it is of the small kind, which takes a hundredth of the other's time.
    pub fn is_tiny(&self) -> bool {
        matches!(self.decoder, Kind::Tiny(_))
    }

    /// Latents as the U-Net sees them, `[rows, channels, height, width]`, as pixels in f32, nominally from 0 to 1:
    /// `[rows, 3, 8 height, 8 width]`. What lies outside is left, so that an overflow can be told from white.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor, EngineError> {
        let latents = (latents.to_dtype(self.dtype)? / self.scaling_factor)?;
        let pixels = match &self.decoder {
            Kind::Kl(decoder) => decoder.forward(&latents)?,
            Kind::Tiny(decoder) => decoder.forward(&latents)?,
        };
        // Both give -1 to 1.
        Ok(pixels.to_dtype(DType::F32)?.affine(0.5, 0.5)?)
    }
}
