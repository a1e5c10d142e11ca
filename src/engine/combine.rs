//! Sums of tensors with factors: what a solver's update is.

use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use super::cuda;

/// Operands that the kernel takes at once; more are left to candle's operations.
pub const OPERANDS: usize = 8;
/// Sums that it takes at once.
pub const SUMS: usize = 8;

/// A sum: operands by their place, each with its factor. One of factor 0 is left out.
pub type Sum = Vec<(usize, f64)>;

/// The kernel's argument: `Sums` in `cuda/combine.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Arguments {
    operands: u32,
    sums: u32,
    /// Where they lie on the device.
    pub operand: [u64; OPERANDS],
    factor: [[f32; OPERANDS]; SUMS],
}

const _: () =
    assert!(size_of::<Arguments>() == 8 + 8 * OPERANDS + 4 * OPERANDS * SUMS, "there is room between the numbers");

impl Arguments {
    /// Of so many operands; `None` where there is more than the kernel takes.
    pub fn new(operands: usize, sums: &[&Sum]) -> Option<Self> {
        if operands > OPERANDS || sums.len() > SUMS {
            return None;
        }
        let mut factor = [[0.0; OPERANDS]; SUMS];
        for (factors, sum) in factor.iter_mut().zip(sums) {
            for &(operand, factor) in *sum {
                factors[operand] += factor as f32;
            }
        }
        Some(Self { operands: operands as u32, sums: sums.len() as u32, operand: [0; OPERANDS], factor })
    }
}

/// Sums of the same operands, which are all of one shape and in f32. A sum that is an operand as it is shares its numbers. On
/// a CUDA device all others are computed by one kernel.
pub fn combine(operands: &[&Tensor], sums: &[Sum]) -> Result<Vec<Tensor>> {
    let Some(like) = operands.first() else { candle_core::bail!("there is nothing to combine") };
    let as_it_is = |sum: &Sum| match sum.as_slice() {
        [(operand, 1.0)] => Some(operands[*operand].clone()),
        _ => None,
    };
    let work: Vec<&Sum> = sums.iter().filter(|sum| as_it_is(sum).is_none()).collect();
    let mut made = computed(operands, like, &work)?.into_iter();
    sums.iter()
        .map(|sum| match as_it_is(sum).or_else(|| made.next()) {
            Some(tensor) => Ok(tensor),
            None => candle_core::bail!("a sum was not computed"),
        })
        .collect()
}

fn computed(operands: &[&Tensor], like: &Tensor, sums: &[&Sum]) -> Result<Vec<Tensor>> {
    #[cfg(feature = "cuda")]
    if like.device().is_cuda()
        && !sums.is_empty()
        && let Some(arguments) = Arguments::new(operands.len(), sums)
    {
        return cuda::combine(arguments, operands, sums.len());
    }
    sums.iter().map(|sum| plainly(operands, like, sum)).collect()
}

/// By candle's operations, on any device.
fn plainly(operands: &[&Tensor], like: &Tensor, sum: &Sum) -> Result<Tensor> {
    let mut total: Option<Tensor> = None;
    for &(operand, factor) in sum.iter().filter(|(_, factor)| *factor != 0.0) {
        let part = if factor == 1.0 { operands[operand].clone() } else { (operands[operand] * factor)? };
        total = Some(match total {
            Some(total) => (total + part)?,
            None => part,
        });
    }
    total.map_or_else(|| like.zeros_like(), Ok)
}
