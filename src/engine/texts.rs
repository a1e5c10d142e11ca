//! From tokens to what the network is told of each text.

use candle_core::{DType, Device, Result, Tensor};

use super::checkpoint::Checkpoint;
use super::loading::Loading;
use super::lora::Loras;
use super::network::{TextEncoder, TextVectors};
use super::{EngineError, ModelWeights};
use crate::model::card::{Card, TextLayer};
use crate::model::lora::Part;
use crate::model::prompt::{Chunk, TextTokens};

/// What reading weights and encoding gives; computing with tensors gives candle's `Result`.
type Built<T> = std::result::Result<T, EngineError>;

/// A model's text encoders. Once a render's texts are encoded they may be dropped.
pub struct TextEncoders {
    encoders: Vec<TextEncoder>,
    layer: TextLayer,
    /// The widths of a token's vector and of a whole text's.
    widths: (usize, Option<usize>),
    max_tokens: usize,
    device: Device,
    dtype: DType,
}

impl TextEncoders {
    /// Reads the weights of the text encoders that `card` describes.
    pub fn load(card: &Card, weights: &ModelWeights, loading: &Loading<'_>) -> Built<Self> {
        let mut encoders = Vec::new();
        let loras = Loras::open(weights)?;
        let parts = [
            ("text_encoder", Part::TextEncoder, &weights.text_encoder),
            ("text_encoder_2", Part::TextEncoder2, &weights.text_encoder_2),
        ];
        for (text, (name, part, files)) in card.text_encoders().zip(parts) {
            let checkpoint = Checkpoint::open(files)?;
            let tensors = checkpoint.tensors().patched(loras.patches(part));
            encoders.push(TextEncoder::new(text, &tensors.parameters(name, loading))?);
        }
        loading.device.synchronize()?;
        Ok(Self {
            encoders,
            layer: card.text_layer,
            widths: (
                card.text_encoders().map(|text| text.width).sum(),
                card.text_encoders().filter_map(|text| text.projection).last(),
            ),
            max_tokens: card.max_tokens(),
            device: loading.device.clone(),
            dtype: loading.computed().0,
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.encoders.len()
    }

    /// The vectors of each text: `[1, tokens, width]`, the encoders' side by side, the chunks' one behind the other. The
    /// whole text's is that of its first chunk. Every text is encoded by itself: what becomes of it depends on no other,
    /// to the bit.
    ///
    /// `from_last` is the layer to take them from, counted from the last; the model's own where `None`.
    pub fn encode(&self, texts: &[TextTokens], from_last: Option<usize>) -> Built<Vec<TextVectors>> {
        let layer = TextLayer { from_last: from_last.unwrap_or(self.layer.from_last), ..self.layer };
        texts.iter().map(|text| self.encode_one(text, layer)).collect()
    }

    fn encode_one(&self, text: &TextTokens, layer: TextLayer) -> Built<TextVectors> {
        let mut of_encoders = Vec::with_capacity(self.encoders.len());
        for (encoder, chunks) in self.encoders.iter().zip(&text.0).filter(|(_, chunks)| !chunks.is_empty()) {
            let rows: Vec<Vec<u32>> = chunks.iter().map(|chunk| chunk.ids.clone()).collect();
            let vectors = encoder.encode(&rows, layer)?;
            of_encoders.push(TextVectors { tokens: weigh(&vectors.tokens, chunks)?, whole: vectors.whole });
        }
        Ok(if of_encoders.is_empty() { self.nothing()? } else { side_by_side(&of_encoders)? })
    }

    /// The vectors of a text that is nothing.
    fn nothing(&self) -> Result<TextVectors> {
        let (width, whole) = self.widths;
        let zeros = |shape: &[usize]| Tensor::zeros(shape, self.dtype, &self.device);
        Ok(TextVectors {
            tokens: zeros(&[1, self.max_tokens, width])?,
            whole: whole.map(|width| zeros(&[1, width])).transpose()?,
        })
    }
}

/// The vectors of a text's chunks as those of one text.
fn side_by_side(of_encoders: &[TextVectors]) -> Result<TextVectors> {
    let tokens = of_encoders.iter().map(|vectors| {
        let (count, length, width) = vectors.tokens.dims3()?;
        vectors.tokens.reshape((1, count * length, width))
    });
    let tokens = Tensor::cat(&tokens.collect::<Result<Vec<_>>>()?, 2)?;
    let whole = of_encoders.iter().rev().find_map(|vectors| vectors.whole.as_ref());
    Ok(TextVectors { tokens, whole: whole.map(|whole| whole.narrow(0, 0, 1)).transpose()? })
}

/// The vectors of each chunk times the weights of its tokens, and then scaled so that their mean stays what it was: the
/// way of AUTOMATIC1111's web interface.
fn weigh(vectors: &Tensor, chunks: &[Chunk]) -> Result<Tensor> {
    if chunks.iter().all(|chunk| chunk.weights.iter().all(|weight| *weight == 1.0)) {
        return Ok(vectors.clone());
    }
    let rows = chunks.iter().enumerate().map(|(row, chunk)| {
        let before = vectors.narrow(0, row, 1)?.to_dtype(DType::F32)?;
        if chunk.weights.iter().all(|weight| *weight == 1.0) {
            return Ok(before);
        }
        let weights = Tensor::new(chunk.weights.as_slice(), vectors.device())?.reshape((1, (), 1))?;
        let after = before.broadcast_mul(&weights)?;
        let mean = |x: &Tensor| x.mean_all()?.to_scalar::<f32>();
        let ratio = f64::from(mean(&before)?) / f64::from(mean(&after)?);
        if ratio.is_finite() { after * ratio } else { Ok(after) }
    });
    Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)?.to_dtype(vectors.dtype())
}
