//! Attention: softmax(Q K^T / sqrt(d)) V for each head (Vaswani et al., arXiv 1706.03762, eq. 1).

use candle_core::{Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::Built;
use super::layers::{Linear, expand_rows, wide};
use crate::engine::checkpoint::Parameters;

/// Scores computed at once, over all rows and heads: 64 MiB of f32. Longer queries are taken in pieces.
const SCORES: usize = 1 << 24;

/// Which positions see which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mask {
    /// All see all.
    None,
    /// A position sees itself and those before it.
    Causal,
}

/// How scores are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Precision {
    /// In f32, whatever the type of the queries.
    pub(super) upcast: bool,
}

/// The keys and values of all heads, `[rows * heads, positions, width / heads]` each.
#[derive(Clone)]
pub(super) struct KeyValue {
    keys: Tensor,
    values: Tensor,
    heads: usize,
}

impl KeyValue {
    /// From `[rows, positions, width]`.
    pub(super) fn new(keys: &Tensor, values: &Tensor, heads: usize) -> Result<Self> {
        Ok(Self { keys: split_heads(keys, heads)?, values: split_heads(values, heads)?, heads })
    }

    /// The number of rows.
    pub(super) fn rows(&self) -> Result<usize> {
        Ok(self.keys.dim(0)? / self.heads)
    }

    /// These rows in this order, by an index tensor.
    pub(super) fn select(&self, rows: &Tensor) -> Result<Self> {
        let pick = |x: &Tensor| {
            let (all, positions, width) = x.dims3()?;
            let x = x.reshape((all / self.heads, self.heads, positions, width))?.index_select(rows, 0)?;
            x.reshape(((), positions, width))
        };
        Ok(Self { keys: pick(&self.keys)?, values: pick(&self.values)?, heads: self.heads })
    }

    /// `queries` `[rows or 1, positions, width]` to `[rows, positions, width]`; a single row asks for all rows.
    pub(super) fn attend(&self, queries: &Tensor, mask: Mask, precision: Precision) -> Result<Tensor> {
        let rows = self.rows()?;
        let (_, positions, width) = queries.dims3()?;
        let queries = expand_rows(&split(queries, self.heads)?, rows)?.contiguous()?;
        let queries = queries.reshape((rows * self.heads, positions, width / self.heads))?;
        let queries = (queries / ((width / self.heads) as f64).sqrt())?;

        let chunk = (SCORES / (rows * self.heads * self.keys.dim(1)?).max(1)).clamp(1, positions);
        let mut pieces = Vec::with_capacity(positions.div_ceil(chunk));
        for start in (0..positions).step_by(chunk) {
            let length = chunk.min(positions - start);
            pieces.push(self.attend_piece(&queries.narrow(1, start, length)?, start, mask, precision)?);
        }
        let attended = if pieces.len() == 1 { pieces.remove(0) } else { Tensor::cat(&pieces, 1)? };
        attended
            .reshape((rows, self.heads, positions, width / self.heads))?
            .transpose(1, 2)?
            .reshape((rows, positions, width))
    }

    fn attend_piece(&self, queries: &Tensor, start: usize, mask: Mask, precision: Precision) -> Result<Tensor> {
        let keys = self.keys.transpose(1, 2)?;
        let scores = if precision.upcast { wide(queries)?.matmul(&wide(&keys)?)? } else { queries.matmul(&keys)? };
        let scores = match mask {
            Mask::None => scores,
            Mask::Causal => {
                let (_, length, all) = scores.dims3()?;
                scores.broadcast_add(&causal_mask(start, length, all, &scores)?)?
            }
        };
        softmax_last_dim(&scores)?.to_dtype(self.values.dtype())?.matmul(&self.values)
    }
}

/// 0 where a position may look, minus infinity where it may not: `[length, all]`.
fn causal_mask(start: usize, length: usize, all: usize, like: &Tensor) -> Result<Tensor> {
    let entry = |row: usize, column: usize| if column > start + row { f32::NEG_INFINITY } else { 0.0 };
    let mask: Vec<f32> = (0..length).flat_map(|row| (0..all).map(move |column| entry(row, column))).collect();
    Tensor::from_vec(mask, (length, all), like.device())?.to_dtype(like.dtype())
}

/// `[rows, positions, width]` to `[rows, heads, positions, width / heads]`.
fn split(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, positions, width) = x.dims3()?;
    x.reshape((rows, positions, heads, width / heads))?.transpose(1, 2)
}

fn split_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (_, positions, width) = x.dims3()?;
    split(x, heads)?.contiguous()?.reshape(((), positions, width / heads))
}

/// The names of an attention's four layers in a checkpoint.
pub(super) struct Names {
    query: &'static str,
    key: &'static str,
    value: &'static str,
    out: &'static str,
}

impl Names {
    /// diffusers' names.
    pub(super) const DIFFUSERS: Self = Self { query: "to_q", key: "to_k", value: "to_v", out: "to_out.0" };
    /// The names in autoencoders that diffusers wrote before version 0.18.
    pub(super) const DEPRECATED: Self = Self { query: "query", key: "key", value: "value", out: "proj_attn" };
    /// The names in CLIP.
    pub(super) const CLIP: Self = Self { query: "q_proj", key: "k_proj", value: "v_proj", out: "out_proj" };
}

/// Attention of positions to each other.
pub(super) struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    heads: usize,
    mask: Mask,
    precision: Precision,
}

impl SelfAttention {
    /// With biases everywhere, or for the output alone.
    pub(super) fn new(width: usize, heads: usize, names: &Names, biased: bool, at: &Parameters) -> Built<Self> {
        let project = if biased { Linear::new } else { Linear::without_bias };
        Ok(Self {
            query: project(width, width, &at.pp(names.query))?,
            key: project(width, width, &at.pp(names.key))?,
            value: project(width, width, &at.pp(names.value))?,
            out: Linear::new(width, width, &at.pp(names.out))?,
            heads,
            mask: Mask::None,
            precision: Precision { upcast: false },
        })
    }

    pub(super) fn mask(self, mask: Mask) -> Self {
        Self { mask, ..self }
    }

    pub(super) fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// `[rows, positions, width]` to the same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let memory = KeyValue::new(&self.key.forward(x)?, &self.value.forward(x)?, self.heads)?;
        self.out.forward(&memory.attend(&self.query.forward(x)?, self.mask, self.precision)?)
    }
}

/// Where keys and values that do not change during a render come from.
pub(super) struct TextProjection {
    key: Linear,
    value: Linear,
    heads: usize,
}

impl TextProjection {
    /// `[rows, tokens, text width]` to keys and values.
    pub(super) fn forward(&self, text: &Tensor) -> Result<KeyValue> {
        KeyValue::new(&self.key.forward(text)?, &self.value.forward(text)?, self.heads)
    }
}

/// The projections of all cross-attentions of a network, in the order in which they were built.
#[derive(Default)]
pub(super) struct TextProjections(pub(super) Vec<TextProjection>);

/// Attention of positions to a text. The keys and values are made once for a render, so their layers are kept apart,
/// under the number `slot`.
pub(super) struct CrossAttention {
    query: Linear,
    out: Linear,
    slot: usize,
    precision: Precision,
}

impl CrossAttention {
    pub(super) fn new(
        width: usize,
        text_width: usize,
        heads: usize,
        precision: Precision,
        projections: &mut TextProjections,
        at: &Parameters,
    ) -> Built<Self> {
        let names = Names::DIFFUSERS;
        let slot = projections.0.len();
        projections.0.push(TextProjection {
            key: Linear::without_bias(text_width, width, &at.pp(names.key))?,
            value: Linear::without_bias(text_width, width, &at.pp(names.value))?,
            heads,
        });
        Ok(Self {
            query: Linear::without_bias(width, width, &at.pp(names.query))?,
            out: Linear::new(width, width, &at.pp(names.out))?,
            slot,
            precision,
        })
    }

    /// `x` `[rows or 1, positions, width]` and the text's keys and values for all slots to `[rows, positions, width]`.
    pub(super) fn forward(&self, x: &Tensor, text: &[KeyValue]) -> Result<Tensor> {
        let attended = text[self.slot].attend(&self.query.forward(x)?, Mask::None, self.precision)?;
        self.out.forward(&attended)
    }
}
