//! Each kernel of each instruction set against candle's operations.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::{After, Conv2d, Geometry, Isa, Linear, attention};

/// Numbers in [-1, 1) that follow from `seed` (SplitMix64) and are bf16 exactly: products of them are the same whether
/// they are rounded or not.
pub(super) fn numbers(seed: u64, shape: &[usize]) -> Result<Tensor> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let all: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_vec(all, shape, &Device::Cpu)?.to_dtype(DType::BF16)?.to_dtype(DType::F32)
}

/// The largest difference as a share of the largest value.
fn difference(ours: &Tensor, twin: &Tensor) -> Result<f32> {
    let largest = |x: Tensor| x.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
    Ok(largest((ours - twin)?)? / largest(twin.clone())?)
}

/// Every set, with and without rounding.
fn sets() -> Vec<(String, Isa)> {
    let both = |isa: Isa| [(format!("{isa:?}"), isa), (format!("{isa:?}, rounding"), isa.rounding())];
    Isa::available().into_iter().flat_map(both).collect()
}

#[test]
fn linear_layers_are_candles() -> Result<()> {
    for (positions, inputs, outputs) in [(50, 64, 40), (33, 10, 70), (100, 320, 96), (3, 7, 9), (1, 2, 1)] {
        let (x, weight) = (numbers(1, &[positions, inputs])?, numbers(2, &[outputs, inputs])?);
        let (bias, residual) = (numbers(3, &[outputs])?, numbers(4, &[positions, outputs])?);
        let twin = (x.matmul(&weight.t()?)?.broadcast_add(&bias)? + &residual)?;
        for (name, isa) in sets() {
            let after = After { residual: Some(&residual), ..After::default() };
            let ours = Linear::new(isa, &weight, Some(&bias))?.forward(&x, after)?;
            let difference = difference(&ours, &twin)?;
            assert!(difference < 1e-5, "{name}: {inputs} to {outputs} differs by {difference:e}");
        }
    }
    Ok(())
}

#[test]
fn convolutions_are_candles() -> Result<()> {
    for (inputs, outputs, stride) in [(10, 40, 1), (64, 33, 1), (10, 32, 2), (3, 5, 2)] {
        let (x, weight) = (numbers(1, &[2, inputs, 9, 7])?, numbers(2, &[outputs, inputs, 3, 3])?);
        let twin = x.conv2d(&weight, 1, stride, 1, 1)?;
        for (name, isa) in sets() {
            let geometry = Geometry { size: 3, stride, padding: (1, 1) };
            let ours = Conv2d::new(isa, &weight, None, geometry)?.forward(&x, None, (0, 0), After::default())?;
            let difference = difference(&ours.contiguous()?, &twin)?;
            assert!(difference < 1e-5, "{name}: {inputs} to {outputs} differs by {difference:e}");
        }
    }
    Ok(())
}

/// Attention with its matrix of scores.
fn plain_attention(queries: &Tensor, keys: &Tensor, values: &Tensor, heads: usize) -> Result<Tensor> {
    let split = |x: &Tensor| {
        let (rows, positions, width) = x.dims3()?;
        x.reshape((rows, positions, heads, width / heads))?.transpose(1, 2)?.contiguous()
    };
    let (rows, positions, width) = queries.dims3()?;
    let scores = split(queries)?.matmul(&split(keys)?.t()?.contiguous()?)?;
    let shares = softmax_last_dim(&(scores / ((width / heads) as f64).sqrt())?)?;
    shares.matmul(&split(values)?)?.transpose(1, 2)?.reshape((rows, positions, width))
}

#[test]
fn attention_is_candles() -> Result<()> {
    // Rows, rows of queries, positions, keys, heads, width of a head.
    for (rows, query_rows, positions, count, heads, width) in [
        (2, 2, 45, 77, 3, 40),
        (2, 1, 64, 64, 2, 8),
        (1, 1, 70, 400, 1, 5),
        (3, 1, 17, 9, 2, 4),
        (1, 1, 150, 339, 2, 160),
        (1, 1, 1, 1, 1, 1),
    ] {
        let queries = numbers(1, &[query_rows, positions, heads * width])?;
        // Large scores, of which few count.
        let keys = (numbers(2, &[rows, count, heads * width])? * 4.0)?;
        let values = numbers(3, &[rows, count, heads * width])?;
        let all = queries.broadcast_as((rows, positions, heads * width))?.contiguous()?;
        let twin = plain_attention(&all, &keys, &values, heads)?;
        for (name, isa) in sets() {
            let difference = difference(&attention(isa, &queries, &keys, &values, heads)?, &twin)?;
            // Where products are of bf16, queries and weights are rounded after they were scaled.
            let bound = if isa.pairs(width) { 1e-2 } else { 1e-5 };
            assert!(difference < bound, "{name}: {positions} to {count} of {width} differs by {difference:e}");
        }
    }
    Ok(())
}
