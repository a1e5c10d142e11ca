//! Attention: softmax(Q K^T / sqrt(d)) V for each head (Vaswani et al., arXiv 1706.03762, eq. 1).

use candle_core::{Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::Built;
use super::layers::{Linear, computable, expand_rows, wide};
use crate::engine::checkpoint::Parameters;
use crate::engine::kernel::{self, Isa};

/// Scores computed at once on the CPU, over all rows and heads: 64 MiB of f32. Longer queries are taken in pieces.
const SCORES: usize = 1 << 24;
/// The same on a graphics card, which is slow in small pieces: 512 MiB in 16 bits.
const CARD_SCORES: usize = 1 << 28;

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

/// Keys and values, `[rows, positions, width]` each, the heads side by side.
#[derive(Clone)]
pub(super) struct KeyValue {
    keys: Tensor,
    values: Tensor,
    heads: usize,
    isa: Option<Isa>,
}

impl KeyValue {
    /// The rows of all, one after the other.
    pub(super) fn join(parts: &[&Self]) -> Result<Self> {
        let [first, ..] = parts else { candle_core::bail!("no rows to join") };
        let join = |of: fn(&Self) -> &Tensor| Tensor::cat(&parts.iter().map(|part| of(part)).collect::<Vec<_>>(), 0);
        Ok(Self { keys: join(|part| &part.keys)?, values: join(|part| &part.values)?, ..**first })
    }

    /// The memory that they take.
    pub(super) fn bytes(&self) -> usize {
        let bytes = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        bytes(&self.keys) + bytes(&self.values)
    }

    /// The number of rows.
    pub(super) fn rows(&self) -> Result<usize> {
        self.keys.dim(0)
    }

    /// These rows in this order, by an index tensor.
    pub(super) fn select(&self, rows: &Tensor) -> Result<Self> {
        let (keys, values) = (self.keys.index_select(rows, 0)?, self.values.index_select(rows, 0)?);
        Ok(Self { keys, values, ..*self })
    }

    /// `queries` `[rows or 1, positions, width]` to `[rows, positions, width]`; a single row asks for all rows.
    pub(super) fn attend(&self, queries: &Tensor, mask: Mask, precision: Precision) -> Result<Tensor> {
        #[cfg(feature = "flash-attn")]
        if self.suits_one_kernel(queries)? {
            return self.attend_by_one_kernel(queries, mask);
        }
        match self.isa {
            Some(isa) if mask == Mask::None => kernel::attention(isa, queries, &self.keys, &self.values, self.heads),
            _ => self.attend_plainly(queries, mask, precision),
        }
    }

    /// Whether one kernel can do it all: in 16 bits on a CUDA device, with heads that fit it.
    #[cfg(feature = "flash-attn")]
    fn suits_one_kernel(&self, queries: &Tensor) -> Result<bool> {
        use candle_core::DType;
        // Of the models that are known; what is wider is seldom and takes long to compile.
        const WIDEST: usize = 160;
        let width = queries.dim(2)? / self.heads;
        let half = matches!(queries.dtype(), DType::F16 | DType::BF16) && self.keys.dtype() == queries.dtype();
        Ok(queries.device().is_cuda() && half && width.is_multiple_of(8) && width <= WIDEST)
    }

    /// Without a matrix of scores in memory (Dao, arXiv 2307.08691); sums are in f32.
    #[cfg(feature = "flash-attn")]
    fn attend_by_one_kernel(&self, queries: &Tensor, mask: Mask) -> Result<Tensor> {
        let rows = self.rows()?;
        let (_, positions, width) = queries.dims3()?;
        let by_heads = |x: &Tensor| {
            let (rows, positions, _) = x.dims3()?;
            x.contiguous()?.reshape((rows, positions, self.heads, width / self.heads))
        };
        // A single row of queries is read again for every row of keys.
        let queries = expand_rows(&by_heads(queries)?, rows)?;
        let (keys, values) = (by_heads(&self.keys)?, by_heads(&self.values)?);
        let scale = 1.0 / ((width / self.heads) as f32).sqrt();
        let attended = candle_flash_attn::flash_attn(&queries, &keys, &values, scale, mask == Mask::Causal)?;
        attended.reshape((rows, positions, width))
    }

    fn attend_plainly(&self, queries: &Tensor, mask: Mask, precision: Precision) -> Result<Tensor> {
        let rows = self.rows()?;
        let (_, positions, width) = queries.dims3()?;
        let queries = split_heads(&expand_rows(queries, rows)?, self.heads)?;
        let queries = (queries / ((width / self.heads) as f64).sqrt())?;
        let keys = split_heads(&self.keys, self.heads)?.transpose(1, 2)?;
        let values = split_heads(&self.values, self.heads)?;

        let scores = if queries.device().is_cpu() { SCORES } else { CARD_SCORES };
        let chunk = (scores / (rows * self.heads * self.keys.dim(1)?).max(1)).clamp(1, positions);
        let mut pieces = Vec::with_capacity(positions.div_ceil(chunk));
        for start in (0..positions).step_by(chunk) {
            let queries = queries.narrow(1, start, chunk.min(positions - start))?;
            pieces.push(attend_piece(&queries, &keys, &values, start, mask, precision)?);
        }
        let attended = if pieces.len() == 1 { pieces.remove(0) } else { Tensor::cat(&pieces, 1)? };
        attended
            .reshape((rows, self.heads, positions, width / self.heads))?
            .transpose(1, 2)?
            .reshape((rows, positions, width))
    }
}

/// `queries` from position `start` on, and `values`, are `[rows * heads, positions, width / heads]`, `keys` transposed.
fn attend_piece(
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    start: usize,
    mask: Mask,
    precision: Precision,
) -> Result<Tensor> {
    let scores = match precision.upcast {
        true => wide(queries)?.matmul(&wide(keys)?)?,
        false => computable(queries)?.matmul(&computable(keys)?)?,
    };
    let scores = match mask {
        Mask::None => scores,
        Mask::Causal => {
            let (_, length, all) = scores.dims3()?;
            scores.broadcast_add(&causal_mask(start, length, all, &scores)?)?
        }
    };
    let shares = softmax_last_dim(&scores)?.to_dtype(values.dtype())?;
    computable(&shares)?.matmul(&computable(values)?)?.to_dtype(values.dtype())
}

/// 0 where a position may look, minus infinity where it may not: `[length, all]`.
fn causal_mask(start: usize, length: usize, all: usize, like: &Tensor) -> Result<Tensor> {
    let entry = |row: usize, column: usize| if column > start + row { f32::NEG_INFINITY } else { 0.0 };
    let mask: Vec<f32> = (0..length).flat_map(|row| (0..all).map(move |column| entry(row, column))).collect();
    Tensor::from_vec(mask, (length, all), like.device())?.to_dtype(like.dtype())
}

/// `[rows, positions, width]` to `[rows * heads, positions, width / heads]`.
fn split_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, positions, width) = x.dims3()?;
    let x = x.contiguous()?.reshape((rows, positions, heads, width / heads))?;
    x.transpose(1, 2)?.contiguous()?.reshape((rows * heads, positions, width / heads))
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
    /// Queries, keys and values one after another.
    input: Linear,
    out: Linear,
    heads: usize,
    mask: Mask,
    precision: Precision,
    isa: Option<Isa>,
}

impl SelfAttention {
    /// With biases everywhere, or for the output alone.
    pub(super) fn new(width: usize, heads: usize, names: &Names, biased: bool, at: &Parameters) -> Built<Self> {
        let inputs = [names.query, names.key, names.value].map(|name| at.pp(name));
        Ok(Self {
            input: Linear::side_by_side(width, biased, &inputs)?,
            out: Linear::new(width, width, &at.pp(names.out))?,
            heads,
            mask: Mask::None,
            precision: Precision { upcast: false },
            isa: at.isa(),
        })
    }

    pub(super) fn mask(self, mask: Mask) -> Self {
        Self { mask, ..self }
    }

    pub(super) fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// `x` `[rows, positions, width]` to the same shape, plus `residual`.
    pub(super) fn forward_added(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let width = x.dim(2)?;
        let inputs = self.input.forward(x)?;
        let part = |index: usize| inputs.narrow(2, index * width, width);
        let memory = KeyValue { keys: part(1)?, values: part(2)?, heads: self.heads, isa: self.isa };
        self.out.forward_added(&memory.attend(&part(0)?, self.mask, self.precision)?, residual)
    }
}

/// Where keys and values that do not change during a render come from.
pub(super) struct TextProjection {
    key: Linear,
    value: Linear,
    heads: usize,
    isa: Option<Isa>,
}

impl TextProjection {
    /// `[rows, tokens, text width]` to keys and values.
    pub(super) fn forward(&self, text: &Tensor) -> Result<KeyValue> {
        let (keys, values) = (self.key.forward(text)?, self.value.forward(text)?);
        Ok(KeyValue { keys, values, heads: self.heads, isa: self.isa })
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
            isa: at.isa(),
        });
        Ok(Self {
            query: Linear::without_bias(width, width, &at.pp(names.query))?,
            out: Linear::new(width, width, &at.pp(names.out))?,
            slot,
            precision,
        })
    }

    /// `x` `[rows or 1, positions, width]` and the text's keys and values for all slots to `[rows, positions, width]`,
    /// plus `residual`, like `x`.
    pub(super) fn forward_added(&self, x: &Tensor, text: &[KeyValue], residual: &Tensor) -> Result<Tensor> {
        let attended = text[self.slot].attend(&self.query.forward(x)?, Mask::None, self.precision)?;
        self.out.forward_added(&attended, residual)
    }
}
