//! Thresholds on a CUDA device.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{LaunchConfig, PushKernelArg};
use candle_core::{CudaStorage, Layout, Result, Shape};

/// `keep_largest.cu`, compiled by the build script.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/keep_largest.ptx"));
const THREADS: u32 = 256;

/// Of each channel's elements `[images, channels, height, width]`, f32 and contiguous, keeps those whose absolute value
/// reaches the value of this `rank`, and sets the others to 0.
pub(super) fn keep_largest(storage: &CudaStorage, layout: &Layout, rank: usize) -> Result<(CudaStorage, Shape)> {
    let (images, channels, height, width) = layout.shape().dims4()?;
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("keep-largest needs a contiguous tensor")
    };
    let device = storage.device().clone();
    let edit = storage.as_cuda_slice::<f32>()?.slice(start..end);
    // SAFETY: the kernel writes every element before any is read.
    let kept = unsafe { device.alloc::<f32>(end - start)? };
    let places = u32::try_from(height * width).map_err(candle_core::Error::wrap)?;
    let rank = u32::try_from(rank.min(height * width - 1)).map_err(candle_core::Error::wrap)?;
    let blocks = u32::try_from(images * channels).map_err(candle_core::Error::wrap)?;
    let kernel = device.get_or_load_custom_func("keep_largest", "sega_guidance", PTX)?;
    let mut launch = kernel.builder();
    launch.arg(&edit).arg(&kept).arg(&places).arg(&rank);
    let shape = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the arguments are those of the kernel; it stays within `blocks * places` elements, which both slices have.
    unsafe { launch.launch(shape) }.w()?;
    Ok((CudaStorage::wrap_cuda_slice(kept, device), layout.shape().clone()))
}
