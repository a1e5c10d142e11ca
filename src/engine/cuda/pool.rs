//! A device's memory.

use std::ffi::c_void;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::sys::{
    CUmemPool_attribute, CUmemoryPool, cuDeviceGetDefaultMemPool, cuMemPoolGetAttribute, cuMemPoolSetAttribute,
    cuMemPoolTrimTo,
};
use candle_core::{CudaDevice, Device, Result};

/// Sets a device up for one thread that computes on it again and again.
pub(in crate::engine) fn settle(device: &Device) -> Result<()> {
    let Device::Cuda(device) = device else { return Ok(()) };
    // SAFETY: all tensors are made, used and given back in the one stream of one thread, in its order; without events that
    // nobody waits for each costs less. (What is read beside it is read after a mark: see `mark.rs`.)
    unsafe { device.disable_event_tracking() };
    if !device.cuda_stream().context().has_async_alloc() {
        return Ok(());
    }
    // What is given back stays with the program: otherwise it is unmapped at every wait, and mapped again.
    let mut all = u64::MAX;
    let value = std::ptr::from_mut(&mut all).cast::<c_void>();
    // SAFETY: the pool is the device's own, and the attribute is a number of 64 bits.
    unsafe { cuMemPoolSetAttribute(pool(device)?, CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, value) }
        .result()
        .w()
}

/// The most bytes that tensors on a device have taken at once; `None` where the device does not count them.
pub(in crate::engine) fn peak_memory(device: &Device) -> Result<Option<u64>> {
    let Device::Cuda(device) = device else { return Ok(None) };
    if !device.cuda_stream().context().has_async_alloc() {
        return Ok(None);
    }
    let mut most = 0u64;
    let value = std::ptr::from_mut(&mut most).cast::<c_void>();
    // SAFETY: as above.
    unsafe { cuMemPoolGetAttribute(pool(device)?, CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, value) }
        .result()
        .w()?;
    Ok(Some(most))
}

/// Gives back to the driver what no tensor has. What is in the pool in pieces is then there again as a whole, and for the libraries, whose
/// memory is not the pool's.
pub(in crate::engine) fn trim(device: &Device) -> Result<()> {
    let Device::Cuda(device) = device else { return Ok(()) };
    if !device.cuda_stream().context().has_async_alloc() {
        return Ok(());
    }
    // What is still computed is no tensor's any more when it is done.
    device.cuda_stream().synchronize().w()?;
    // SAFETY: the pool is the device's own.
    unsafe { cuMemPoolTrimTo(pool(device)?, 0) }.result().w()
}

/// The pool that a device's tensors come from.
fn pool(device: &CudaDevice) -> Result<CUmemoryPool> {
    let stream = device.cuda_stream();
    let context = stream.context();
    context.bind_to_thread().w()?;
    let mut pool: CUmemoryPool = std::ptr::null_mut();
    // SAFETY: the device is there, and the answer is written to where it belongs.
    unsafe { cuDeviceGetDefaultMemPool(&mut pool, context.cu_device()) }.result().w()?;
    Ok(pool)
}
