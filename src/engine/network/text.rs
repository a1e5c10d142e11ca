//! CLIP's text encoder (Radford et al., arXiv 2103.00020).

use candle_core::{Device, Result, Tensor};

use super::Built;
use super::attention::{Mask, Names, SelfAttention};
use super::layers::{LayerNorm, Linear};
use crate::engine::EngineError;
use crate::engine::checkpoint::Parameters;
use crate::model::card::{TextActivation, TextCard, TextLayer};

/// From token ids to the vectors that the U-Net attends to.
pub struct TextEncoder {
    tokens: Tensor,
    positions: Tensor,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    projection: Option<Linear>,
    end_token: Option<u32>,
    device: Device,
}

/// What a text encoder makes of texts.
#[derive(Debug, Clone)]
pub struct TextVectors {
    /// A vector for each token, `[rows, tokens, width]`.
    pub tokens: Tensor,
    /// A vector for each whole text, `[rows, projected width]`, if the encoder makes them.
    pub whole: Option<Tensor>,
}

impl TextVectors {
    /// The memory that they take.
    pub fn bytes(&self) -> usize {
        let tensors = std::iter::once(&self.tokens).chain(&self.whole);
        tensors.map(|tensor| tensor.elem_count() * tensor.dtype().size_in_bytes()).sum()
    }
}

impl TextEncoder {
    /// Builds the encoder that `card` describes from the weights at `root`, with or without the prefix `text_model`
    /// that transformers wrote before version 5.
    pub fn new(card: &TextCard, root: &Parameters) -> Built<Self> {
        const TOKENS: &str = "embeddings.token_embedding.weight";
        let prefixed = root.pp("text_model");
        let at = if prefixed.contains(TOKENS) { &prefixed } else { root };
        let project = |width| Linear::without_bias(card.width, width, &root.pp("text_projection"));
        let layers =
            (0..card.layers).map(|layer| Layer::new(card, &at.pp("encoder.layers").pp(layer))).collect::<Built<_>>()?;
        Ok(Self {
            tokens: at.pp("embeddings.token_embedding").layer(|| at.get((card.vocabulary, card.width), TOKENS))?,
            positions: at.get((card.max_tokens, card.width), "embeddings.position_embedding.weight")?,
            layers,
            final_norm: LayerNorm::new(card.width, card.norm_epsilon, &at.pp("final_layer_norm"))?,
            projection: card.projection.map(project).transpose()?,
            end_token: card.end_token,
            device: at.device().clone(),
        })
    }

    /// The vectors that the given layer makes of rows of token ids, all of one length. `layer` must be one of the
    /// encoder's own.
    pub fn encode(&self, rows: &[Vec<u32>], layer: TextLayer) -> Built<TextVectors> {
        let max_tokens = self.positions.dim(0)?;
        let length = rows.first().map_or(0, Vec::len);
        if length == 0 || length > max_tokens || rows.iter().any(|row| row.len() != length) {
            return Err(EngineError::TokenCount { lengths: rows.iter().map(Vec::len).collect(), max_tokens });
        }
        let vocabulary = self.tokens.dim(0)?;
        if let Some(&token) = rows.iter().flatten().find(|token| **token as usize >= vocabulary) {
            return Err(EngineError::UnknownToken { token, vocabulary });
        }
        Ok(self.evaluate(rows, length, layer)?)
    }

    fn evaluate(&self, rows: &[Vec<u32>], length: usize, wanted: TextLayer) -> Result<TextVectors> {
        let Some(last) = (self.layers.len() + 1).checked_sub(wanted.from_last.max(1)) else {
            candle_core::bail!("the text encoder has {} layers, and not {}", self.layers.len(), wanted.from_last)
        };
        let ids = Tensor::new(rows.concat(), &self.device)?;
        let embedded = self.tokens.index_select(&ids, 0)?.reshape((rows.len(), length, ()))?;
        let mut x = embedded.broadcast_add(&self.positions.narrow(0, 0, length)?)?;
        for layer in &self.layers[..last] {
            x = layer.forward(&x)?;
        }
        let tokens = if wanted.normed { self.final_norm.forward(&x)? } else { x.clone() };
        let Some(projection) = &self.projection else { return Ok(TextVectors { tokens, whole: None }) };
        for layer in &self.layers[last..] {
            x = layer.forward(&x)?;
        }
        let x = self.final_norm.forward(&x)?;
        let ends =
            rows.iter().enumerate().map(|(row, ids)| x.narrow(0, row, 1)?.narrow(1, self.end(ids), 1)?.squeeze(1));
        let ends = Tensor::cat(&ends.collect::<Result<Vec<_>>>()?, 0)?;
        Ok(TextVectors { tokens, whole: Some(projection.forward(&ends)?) })
    }

    /// Where a text ends.
    fn end(&self, ids: &[u32]) -> usize {
        let end = self.end_token.or(ids.iter().max().copied());
        ids.iter().position(|id| Some(*id) == end).unwrap_or(0)
    }
}

/// One layer: attention to earlier tokens, feed-forward; each behind a norm and added to what it saw.
struct Layer {
    norm1: LayerNorm,
    attention: SelfAttention,
    norm2: LayerNorm,
    linear1: Linear,
    activation: TextActivation,
    linear2: Linear,
}

impl Layer {
    fn new(card: &TextCard, at: &Parameters) -> Built<Self> {
        let attention = SelfAttention::new(card.width, card.heads, &Names::CLIP, true, &at.pp("self_attn"))?;
        Ok(Self {
            norm1: LayerNorm::new(card.width, card.norm_epsilon, &at.pp("layer_norm1"))?,
            attention: attention.mask(Mask::Causal),
            norm2: LayerNorm::new(card.width, card.norm_epsilon, &at.pp("layer_norm2"))?,
            linear1: Linear::new(card.width, card.inner_width, &at.pp("mlp.fc1"))?,
            activation: card.activation,
            linear2: Linear::new(card.inner_width, card.width, &at.pp("mlp.fc2"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.attention.forward_added(&self.norm1.forward(x)?, x)?;
        let inner = self.linear1.forward(&self.norm2.forward(&x)?)?;
        let inner = match self.activation {
            TextActivation::QuickGelu => (&inner * candle_nn::ops::sigmoid(&(&inner * 1.702)?)?)?,
            TextActivation::Gelu => inner.gelu_erf()?,
        };
        self.linear2.forward_added(&inner, &x)
    }
}
