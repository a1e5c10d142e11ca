//! Our kernels for CUDA devices: a file each, compiled by the build script, beside the code that launches it.
//!
//! Each does what a function that runs on every device does by candle's operations, and is held to it by the tests: compiled
//! as plain C++ on any machine, and on a card where there is one.
//!
//! A device is used by one thread, whose stream everything goes through in order: a pointer that a kernel is given is good
//! until the kernel is done, as memory is given back in the stream's order, too.

mod combine;
mod guide;
mod keep_largest;
mod layers;
mod mark;
mod pool;

pub(super) use combine::combine;
pub(super) use guide::guide;
pub(super) use keep_largest::keep_largest;
pub(super) use layers::{finished, gated, group_norm};
pub(super) use mark::{CopyStream, Mark};
pub(super) use pool::{peak_memory, settle, trim};

use candle_core::backend::BackendDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr, LaunchConfig};
use candle_core::cuda_backend::{CudaStorageSlice, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Error, Result, Shape, Storage, StorageRef, Tensor};

/// The compiled text of a file of kernels.
macro_rules! ptx {
    ($name:literal) => {
        include_str!(concat!(env!("OUT_DIR"), "/", $name, ".ptx"))
    };
}
use ptx;

/// Threads of a block of kernels that give each number a thread.
const THREADS: u32 = 256;

/// As many blocks as give each of `count` numbers a thread.
fn a_thread_each(count: usize) -> Result<LaunchConfig> {
    blocks(count.div_ceil(THREADS as usize), THREADS)
}

/// So many blocks of so many threads.
fn blocks(count: usize, threads: u32) -> Result<LaunchConfig> {
    Ok(LaunchConfig { grid_dim: (small(count)?, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 })
}

/// A count as kernels take it.
fn small(count: usize) -> Result<u32> {
    u32::try_from(count).map_err(Error::wrap)
}

/// A tensor whose numbers lie on a CUDA device, one behind the other.
struct Placed<'a> {
    storage: StorageRef<'a>,
    start: usize,
}

impl<'a> Placed<'a> {
    fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        match layout.contiguous_offsets() {
            Some((start, _)) => Ok(Self { storage, start }),
            None => candle_core::bail!("a kernel needs numbers that lie one behind the other"),
        }
    }

    fn storage(&self) -> Result<&CudaStorage> {
        match &*self.storage {
            Storage::Cuda(storage) => Ok(storage),
            _ => candle_core::bail!("a kernel needs numbers on a CUDA device"),
        }
    }

    fn device(&self) -> Result<&CudaDevice> {
        use candle_core::backend::BackendStorage;
        Ok(self.storage()?.device())
    }

    /// Where they lie.
    fn pointer(&self) -> Result<u64> {
        pointer(self.storage()?, self.start)
    }
}

/// Where a storage's numbers lie, from this one on.
fn pointer(storage: &CudaStorage, start: usize) -> Result<u64> {
    fn of<T: DeviceRepr>(slice: &CudaSlice<T>, start: usize) -> u64 {
        let stream = slice.stream();
        let view = slice.slice(start..);
        // One stream: there is nothing to wait for, and nobody to tell.
        let (pointer, _all_in_order) = view.device_ptr(stream);
        pointer
    }
    match &storage.slice {
        CudaStorageSlice::F32(slice) => Ok(of(slice, start)),
        CudaStorageSlice::F16(slice) => Ok(of(slice, start)),
        CudaStorageSlice::BF16(slice) => Ok(of(slice, start)),
        CudaStorageSlice::U32(slice) => Ok(of(slice, start)),
        _ => candle_core::bail!("a kernel needs numbers in f32, f16, bf16 or u32"),
    }
}

/// The ending of the kernels' names for a type of numbers.
fn ending(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::F32 => Ok("f32"),
        DType::F16 => Ok("f16"),
        DType::BF16 => Ok("bf16"),
        other => candle_core::bail!("there is no kernel for {other:?}"),
    }
}

/// Room for a tensor that a kernel will write whole.
fn room(device: &CudaDevice, shape: &Shape, dtype: DType) -> Result<CudaStorage> {
    // SAFETY: every kernel here writes all of its outputs before anything reads them.
    unsafe { device.alloc_uninit(shape, dtype) }
}

/// What a kernel wrote, as a tensor.
fn tensor(storage: CudaStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

/// Launches a kernel with these arguments, which must be those that it takes.
macro_rules! launch {
    ($device:expr, $file:literal, $name:expr, $shape:expr, $($argument:expr),+ $(,)?) => {{
        use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
        let kernel = $device.get_or_load_custom_func($name, concat!("sega_", $file), crate::engine::cuda::ptx!($file))?;
        let mut launch = kernel.builder();
        $(launch.arg($argument);)+
        // SAFETY: the arguments are those of the kernel, of these types in this order; the pointers are to as many numbers as
        // the kernel reads and writes for them.
        crate::engine::cuda::WrapErr::w(unsafe { launch.launch($shape) })?;
    }};
}
use launch;
