//! Between candle's tensors and plain numbers.
//!
//! Pictures are kept channels-last: a tensor `[rows, channels, height, width]` in the eyes of candle, of which the
//! channels of a pixel lie side by side in memory. The vectors that linear layers see are then the same memory.

use candle_core::{CpuStorage, Device, Result, Storage, Tensor, bail};

/// Gives `work` the numbers of a tensor from its first element on; their order is the caller's business.
pub(super) fn with_numbers<T>(x: &Tensor, work: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(numbers)) => work(&numbers[layout.start_offset()..]),
        _ => bail!("the kernels are for f32 on the CPU"),
    }
}

/// Gives `work` the numbers of a contiguous tensor.
pub(super) fn with_contiguous<T>(x: &Tensor, work: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let x = x.contiguous()?;
    with_numbers(&x, |numbers| work(&numbers[..x.elem_count()]))
}

/// Like [`with_contiguous`], for a tensor that may be missing.
pub(super) fn with_optional<T>(x: Option<&Tensor>, work: impl FnOnce(Option<&[f32]>) -> Result<T>) -> Result<T> {
    match x {
        Some(x) => with_contiguous(x, |numbers| work(Some(numbers))),
        None => work(None),
    }
}

/// `[rows, channels, height, width]` as `[rows, height, width, channels]`, in this order in memory.
pub(in crate::engine) fn channels_last(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 2, 3, 1))?.contiguous()
}

/// Numbers in the order `[rows, height, width, channels]` as a picture.
pub(super) fn picture(numbers: Vec<f32>, [rows, channels, height, width]: [usize; 4]) -> Result<Tensor> {
    Tensor::from_vec(numbers, (rows, height, width, channels), &Device::Cpu)?.permute((0, 3, 1, 2))
}
