//! Thresholds.

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, DType, Layout, Result, Shape};

use super::{THREADS, blocks, launch, pointer, room, small};

/// Of each channel's elements `[images, channels, height, width]`, f32 and contiguous, keeps those whose absolute value
/// reaches the value of this `rank`, and sets the others to 0.
pub(in crate::engine) fn keep_largest(
    storage: &CudaStorage,
    layout: &Layout,
    rank: usize,
) -> Result<(CudaStorage, Shape)> {
    let (images, channels, height, width) = layout.shape().dims4()?;
    let Some((start, _)) = layout.contiguous_offsets() else {
        candle_core::bail!("keep-largest needs a contiguous tensor")
    };
    if storage.dtype() != DType::F32 {
        candle_core::bail!("keep-largest needs numbers in f32")
    }
    let device = storage.device();
    let kept = room(device, layout.shape(), DType::F32)?;
    let (places, rank) = (small(height * width)?, small(rank.min(height * width - 1))?);
    let (from, to) = (pointer(storage, start)?, pointer(&kept, 0)?);
    let shape = blocks(images * channels, THREADS)?;
    launch!(device, "keep_largest", "keep_largest", shape, &from, &to, &places, &rank);
    Ok((kept, layout.shape().clone()))
}
