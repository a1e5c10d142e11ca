//! Chains of operations on the networks' numbers, each done by one kernel on a CUDA device and by candle's operations on the
//! others.
//!
//! What is stored is of the type of `x`; what is computed on the way is f32 in the kernels, and in candle's operations where
//! sums would overflow.

use candle_core::{DType, Result, Tensor};

#[cfg(feature = "cuda")]
use super::cuda;

/// What follows a product.
#[derive(Clone, Copy, Default)]
pub struct Finish<'a> {
    /// Plus a number for each channel, `[channels]`.
    pub bias: Option<&'a Tensor>,
    /// Plus a number for each row and channel, `[1 or rows, channels]`.
    pub shift: Option<&'a Tensor>,
    /// Plus a picture like `x`, of which a single row may stand for all.
    pub residual: Option<&'a Tensor>,
    /// Then the larger of it and 0.
    pub relu: bool,
}

/// Normalisation over groups of channels and all places of `[rows, channels, ..]`, then a scale and a shift for each channel,
/// `[channels]` (Wu and He, arXiv 1803.08494), and then silu if `activated`.
pub fn group_norm(
    x: &Tensor,
    groups: usize,
    epsilon: f64,
    scale: &Tensor,
    shift: &Tensor,
    activated: bool,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::group_norm(&x.contiguous()?, groups, epsilon, scale, shift, activated);
    }
    let (rows, channels) = (x.dim(0)?, x.dim(1)?);
    let count = x.elem_count() / (rows * groups);
    // Sums of half-precision numbers overflow.
    let grouped = wide(&x.reshape((rows, groups, count))?)?;
    let mean = (grouped.sum_keepdim(2)? / count as f64)?;
    let centred = grouped.broadcast_sub(&mean)?;
    let variance = (centred.sqr()?.sum_keepdim(2)? / count as f64)?;
    let factor = (variance + epsilon)?.sqrt()?.recip()?;
    let normed = centred.broadcast_mul(&factor)?.to_dtype(x.dtype())?.reshape((rows, channels, ()))?;
    let normed = normed.broadcast_mul(&scale.reshape((1, (), 1))?)?.broadcast_add(&shift.reshape((1, (), 1))?)?;
    let normed = normed.reshape(x.shape())?;
    if activated { normed.silu() } else { Ok(normed) }
}

/// a * gelu(g) with `[a, g]` = x + bias over the last dimension (Shazeer, arXiv 2002.05202), gelu in its exact form:
/// `[.., 2 width]` and `[2 width]` to `[.., width]`.
pub fn gated(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::gated(&x.contiguous()?, bias);
    }
    let sum = x.broadcast_add(bias)?;
    let (last, width) = (sum.rank() - 1, bias.dim(0)? / 2);
    sum.narrow(last, 0, width)? * sum.narrow(last, width, width)?.gelu_erf()?
}

/// `x` `[rows, channels, ..]` plus what `finish` says.
pub fn finished(x: &Tensor, finish: Finish<'_>) -> Result<Tensor> {
    let Finish { bias, shift, residual, relu } = finish;
    if bias.is_none() && shift.is_none() && residual.is_none() && !relu {
        return Ok(x.clone());
    }
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::finished(&x.contiguous()?, finish);
    }
    // As a column for each channel.
    let column = |numbers: &Tensor| {
        let mut shape = vec![1; x.rank()];
        (shape[0], shape[1]) = (numbers.elem_count() / x.dim(1)?, x.dim(1)?);
        numbers.reshape(shape)
    };
    let (bias, shift) = (bias.map(column).transpose()?, shift.map(column).transpose()?);
    let mut y = match (bias, shift) {
        // The two in one go.
        (Some(bias), Some(shift)) => x.broadcast_add(&bias.broadcast_add(&shift)?)?,
        (Some(one), None) | (None, Some(one)) => x.broadcast_add(&one)?,
        (None, None) => x.clone(),
    };
    if let Some(residual) = residual {
        y = y.broadcast_add(residual)?;
    }
    if relu { y.relu() } else { Ok(y) }
}

/// `x` `[.., channels]` plus a number for each channel and a residual like `x`, of which a single row may stand for all.
pub fn finished_last(x: &Tensor, bias: Option<&Tensor>, residual: Option<&Tensor>) -> Result<Tensor> {
    if bias.is_none() && residual.is_none() {
        return Ok(x.clone());
    }
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        let flat = x.contiguous()?.reshape(((), x.dim(candle_core::D::Minus1)?))?;
        return cuda::finished(&flat, Finish { bias, residual, ..Finish::default() })?.reshape(x.shape());
    }
    let y = bias.map_or_else(|| Ok(x.clone()), |bias| x.broadcast_add(bias))?;
    residual.map_or_else(|| Ok(y.clone()), |residual| y.broadcast_add(residual))
}

/// Half-precision numbers as f32.
pub(super) fn wide(x: &Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.to_dtype(DType::F32),
        _ => Ok(x.clone()),
    }
}
