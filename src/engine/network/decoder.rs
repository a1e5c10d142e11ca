//! From latents to pixels, by whichever autoencoder the card describes.

use candle_core::{DType, Result, Tensor};

use super::Built;
use super::kl::KlDecoder;
use super::tiny::TinyDecoder;
use crate::engine::checkpoint::Parameters;
use crate::engine::device::reclaim;
use crate::engine::limits::Stop;
use crate::model::card::AutoencoderCard;

/// The decoder of an autoencoder.
pub struct Decoder {
    decoder: Kind,
    scaling_factor: f64,
    /// Standard deviation and mean of each channel, `[1, channels, 1, 1]`.
    statistics: Option<(Tensor, Tensor)>,
    dtype: DType,
    strip: usize,
}

/// What is worked on at once.
const STRIP: usize = 32 << 20;
/// The same on a graphics card, which is slow in small pieces.
const CARD_STRIP: usize = 1 << 30;

enum Kind {
    Kl(Box<KlDecoder>),
    Tiny(TinyDecoder),
}

impl Decoder {
    /// Builds the decoder that `card` describes from the weights at `at`.
    pub fn new(card: &AutoencoderCard, at: &Parameters) -> Built<Self> {
        let decoder = match card {
            AutoencoderCard::Kl(card) => Kind::Kl(Box::new(KlDecoder::new(card, at)?)),
            AutoencoderCard::Tiny(card) => Kind::Tiny(TinyDecoder::new(card, at)?),
        };
        let column = |values: &[f64]| {
            let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
            Tensor::new(values, at.device())?.reshape((1, (), 1, 1))
        };
        let statistics = card.statistics().map(|own| Result::Ok((column(&own.deviation)?, column(&own.mean)?)));
        Ok(Self {
            decoder,
            scaling_factor: card.scaling_factor(),
            statistics: statistics.transpose()?,
            dtype: at.dtype(),
            strip: if at.device().is_cpu() { STRIP } else { CARD_STRIP },
        })
    }

    /// Has the decoder compute in strips of so many bytes instead of 32 MiB (1 GiB on a graphics card): the same picture, to the rounding of sums.
    pub fn strips_of(self, bytes: usize) -> Self {
        Self { strip: bytes, ..self }
    }

    /// Whether it computes with numbers of 16 bits, which may overflow where f32 does not.
    pub fn is_half(&self) -> bool {
        self.dtype != DType::F32
    }

    /// Whether it is of the small kind, which takes a hundredth of the other's time.
    pub fn is_tiny(&self) -> bool {
        matches!(self.decoder, Kind::Tiny(_))
    }

    /// Latents as the U-Net sees them, `[rows, channels, height, width]`, as pixels in f32, nominally from 0 to 1:
    /// `[rows, 3, 8 height, 8 width]`. What lies outside is left, so that an overflow can be told from white.
    pub fn decode(&self, latents: &Tensor) -> Built<Tensor> {
        self.decode_until(Stop::NEVER, latents)
    }

    /// The same until `stop`, which is asked between the parts of a decoder that takes its time.
    pub fn decode_until(&self, stop: Stop<'_>, latents: &Tensor) -> Built<Tensor> {
        let latents = match &self.statistics {
            Some((deviation, mean)) => {
                (latents.broadcast_mul(deviation)? / self.scaling_factor)?.broadcast_add(mean)?.to_dtype(self.dtype)?
            }
            None => (latents.to_dtype(self.dtype)? / self.scaling_factor)?,
        };
        let pixels = match self.pixels(&latents, self.strip, stop) {
            // In small pieces, before it is given up.
            Err(error) if error.is_out_of_memory() && self.strip > STRIP => {
                reclaim(latents.device());
                self.pixels(&latents, STRIP, stop)
            }
            pixels => pixels,
        };
        let pixels = pixels.map_err(|error| error.while_doing("decoding the picture"))?;
        // Both give -1 to 1.
        Ok(pixels.to_dtype(DType::F32)?.affine(0.5, 0.5)?)
    }

    /// From -1 to 1, in pieces of at most so many bytes.
    fn pixels(&self, latents: &Tensor, strip: usize, stop: Stop<'_>) -> Built<Tensor> {
        match &self.decoder {
            Kind::Kl(decoder) => {
                let picture = |row| decoder.forward(&latents.narrow(0, row, 1)?, strip, stop);
                Ok(Tensor::cat(&(0..latents.dim(0)?).map(picture).collect::<Built<Vec<_>>>()?, 0)?)
            }
            Kind::Tiny(decoder) => Ok(decoder.forward(latents)?),
        }
    }
}
