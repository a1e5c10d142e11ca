//! Sums of tensors with factors.

use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{DType, Result, Shape, Tensor};

use super::{Placed, a_thread_each, launch, pointer, room, small, tensor};
use crate::engine::combine::Arguments;

// SAFETY: a `repr(C)` value of numbers, which is what the kernel takes.
unsafe impl DeviceRepr for Arguments {}

/// Does what `combine` does.
pub(in crate::engine) fn combine(mut arguments: Arguments, operands: &[&Tensor], sums: usize) -> Result<Vec<Tensor>> {
    let Some(like) = operands.first() else { candle_core::bail!("there is nothing to combine") };
    let operands = operands.iter().map(|operand| operand.contiguous()).collect::<Result<Vec<_>>>()?;
    for (pointer, operand) in arguments.operand.iter_mut().zip(&operands) {
        if operand.dims() != like.dims() || operand.dtype() != DType::F32 {
            candle_core::bail!("operands of {:?} and {:?} cannot be combined", like.shape(), operand.shape())
        }
        *pointer = Placed::of(operand)?.pointer()?;
    }
    let mut dims = vec![sums];
    dims.extend(like.dims());
    let shape = Shape::from(dims);
    let place = Placed::of(&operands[0])?;
    let device = place.device()?;
    let made = room(device, &shape, DType::F32)?;
    let (to, count) = (pointer(&made, 0)?, small(like.elem_count())?);
    launch!(device, "combine", "combine", a_thread_each(like.elem_count())?, &arguments, &to, &count);
    let made = tensor(made, shape);
    (0..sums).map(|sum| made.get(sum)).collect()
}
