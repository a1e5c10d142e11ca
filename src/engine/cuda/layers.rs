//! Chains of operations of the networks' layers.

use candle_core::{Result, Shape, Tensor};

use super::{Placed, a_thread_each, blocks, ending, launch, pointer, room, small, tensor};
use crate::engine::fused::Finish;

/// As in norm.cu.
const NORM_THREADS: u32 = 512;

/// Does what `group_norm` does.
pub(in crate::engine) fn group_norm(
    x: &Tensor,
    groups: usize,
    epsilon: f64,
    scale: &Tensor,
    shift: &Tensor,
    activated: bool,
) -> Result<Tensor> {
    let (rows, channels) = (x.dim(0)?, x.dim(1)?);
    if !channels.is_multiple_of(groups) || scale.elem_count() != channels || shift.elem_count() != channels {
        candle_core::bail!(
            "{channels} channels have no norm of {groups} groups, {:?} and {:?}",
            scale.shape(),
            shift.shape()
        )
    }
    let places = x.elem_count() / (rows * channels);
    let place = Placed::of(x)?;
    let y = room(place.device()?, x.shape(), x.dtype())?;
    let name = format!("group_norm_{}", ending(x.dtype())?);
    let (scale, shift) = (like(scale, x)?, like(shift, x)?);
    let (from, scale, shift, to) =
        (place.pointer()?, Placed::of(&scale)?.pointer()?, Placed::of(&shift)?.pointer()?, pointer(&y, 0)?);
    // A group's numbers are counted in 32 bits.
    small(channels / groups * places)?;
    let (of_row, places, of_groups, epsilon) = (small(channels)?, small(places)?, small(groups)?, epsilon as f32);
    let (shape, silu) = (blocks(rows * groups, NORM_THREADS)?, i32::from(activated));
    let device = place.device()?;
    launch!(device, "norm", &name, shape, &from, &scale, &shift, &to, &of_row, &places, &of_groups, &epsilon, &silu);
    Ok(tensor(y, x.shape()))
}

/// Does what `gated` does.
pub(in crate::engine) fn gated(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let width = bias.dim(0)? / 2;
    let mut dims = x.dims().to_vec();
    if dims.pop() != Some(2 * width) {
        candle_core::bail!("{:?} and a bias of {} do not belong together", x.shape(), 2 * width)
    }
    dims.push(width);
    let shape = Shape::from(dims);
    let place = Placed::of(x)?;
    let device = place.device()?;
    let y = room(device, &shape, x.dtype())?;
    let name = format!("gate_{}", ending(x.dtype())?);
    let bias = like(bias, x)?;
    let (from, bias, to) = (place.pointer()?, Placed::of(&bias)?.pointer()?, pointer(&y, 0)?);
    let (width, count) = (small(width)?, small(shape.elem_count())?);
    launch!(device, "gate", &name, a_thread_each(shape.elem_count())?, &from, &bias, &to, &width, &count);
    Ok(tensor(y, shape))
}

/// Does what `finished` does.
pub(in crate::engine) fn finished(x: &Tensor, finish: Finish<'_>) -> Result<Tensor> {
    let (rows, channels) = (x.dim(0)?, x.dim(1)?);
    let places = x.elem_count() / (rows * channels).max(1);
    let place = Placed::of(x)?;
    let device = place.device()?;
    let y = room(device, x.shape(), x.dtype())?;
    let name = format!("finish_{}", ending(x.dtype())?);
    // Of whole rows, so many of which are all.
    let part = |part: Option<&Tensor>, of_row: usize, rows: usize| -> Result<(Option<Tensor>, u32)> {
        let Some(part) = part else { return Ok((None, 1)) };
        let count = part.elem_count();
        if count == 0 || !count.is_multiple_of(of_row) || !(rows * of_row).is_multiple_of(count) {
            candle_core::bail!("{:?} cannot be added to {:?}", part.shape(), x.shape())
        }
        Ok((Some(like(part, x)?), small(count)?))
    };
    let (bias, _) = part(finish.bias, channels, 1)?;
    let (shift, shifts) = part(finish.shift, channels, rows)?;
    let (residual, residuals) = part(finish.residual, channels * places, rows)?;
    // No pointer where there is nothing.
    let at = |part: &Option<Tensor>| part.as_ref().map_or(Ok(0), |part| Placed::of(part)?.pointer());
    let (from, bias_at, shift_at, residual_at, to) =
        (place.pointer()?, at(&bias)?, at(&shift)?, at(&residual)?, pointer(&y, 0)?);
    let (of_row, places, count, relu) =
        (small(channels)?, small(places)?, small(x.elem_count())?, i32::from(finish.relu));
    let shape = a_thread_each(x.elem_count())?;
    launch!(
        device,
        "finish",
        &name,
        shape,
        &from,
        &bias_at,
        &shift_at,
        &residual_at,
        &to,
        &of_row,
        &places,
        &shifts,
        &residuals,
        &relu,
        &count,
    );
    Ok(tensor(y, x.shape()))
}

/// Of the type of `x`, its numbers one behind the other.
fn like(part: &Tensor, x: &Tensor) -> Result<Tensor> {
    part.to_dtype(x.dtype())?.contiguous()
}
