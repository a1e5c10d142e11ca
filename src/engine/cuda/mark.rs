//! Moments of a device's stream, and reads that wait for them alone.

use std::sync::Arc;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::result::stream::{self, StreamKind};
use candle_core::cuda_backend::cudarc::driver::sys::CUstream;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaEvent, result};
use candle_core::{CudaDevice, DType, Result, Tensor};

use super::Placed;

/// A stream of copies beside that of the computations. It is the driver's and not one of cudarc: that would have an event
/// recorded for every use of every tensor.
#[derive(Debug)]
pub(in crate::engine) struct CopyStream {
    stream: CUstream,
    context: Arc<CudaContext>,
}

// SAFETY: the driver lets any thread use a stream; nothing is read through the pointer here.
unsafe impl Send for CopyStream {}
// SAFETY: as above.
unsafe impl Sync for CopyStream {}

impl CopyStream {
    /// One on this device.
    pub(in crate::engine) fn new(device: &CudaDevice) -> Result<Self> {
        let context = device.cuda_stream().context().clone();
        context.bind_to_thread().w()?;
        // One that does not wait for others by itself.
        Ok(Self { stream: stream::create(StreamKind::NonBlocking).w()?, context })
    }
}

impl Drop for CopyStream {
    fn drop(&mut self) {
        // SAFETY: the stream is this value's own, and every copy in it was waited for.
        let destroyed = self.context.bind_to_thread().and_then(|()| unsafe { stream::destroy(self.stream) });
        self.context.record_err(destroyed);
    }
}

/// A moment in a device's stream: all that the device was told before it is done when it is reached.
#[derive(Debug)]
pub(in crate::engine) struct Mark(CudaEvent);

impl Mark {
    /// This moment.
    pub(in crate::engine) fn now(device: &CudaDevice) -> Result<Self> {
        Ok(Self(device.cuda_stream().record_event(None).w()?))
    }

    /// The numbers of a tensor in f32 that was computed before this moment.
    pub(in crate::engine) fn read(&self, tensor: &Tensor, copies: &CopyStream) -> Result<Vec<f32>> {
        if tensor.dtype() != DType::F32 {
            candle_core::bail!("only numbers in f32 are read so")
        }
        let place = Placed::of(tensor)?;
        copies.context.bind_to_thread().w()?;
        self.0.synchronize().w()?;
        let mut numbers = vec![0f32; tensor.elem_count()];
        let from = place.pointer()?;
        // SAFETY: the tensor has as many numbers, which are computed and which nothing changes; both ends are there until the
        // copy is done.
        unsafe {
            result::memcpy_dtoh_async(&mut numbers, from, copies.stream).w()?;
            stream::synchronize(copies.stream).w()?;
        }
        Ok(numbers)
    }
}
