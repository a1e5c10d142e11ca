//! Numbers that a device has been told to compute, and that the processor reads once they are there.

#[cfg(feature = "cuda")]
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

#[cfg(feature = "cuda")]
use super::cuda::{CopyStream, Mark};

/// How numbers come from a device.
#[derive(Debug, Clone)]
pub(super) struct Arrivals {
    #[cfg(feature = "cuda")]
    copies: Option<Arc<CopyStream>>,
}

impl Arrivals {
    /// From this device.
    pub(super) fn from(device: &Device) -> Result<Self> {
        #[cfg(feature = "cuda")]
        return Ok(Self {
            copies: match device {
                Device::Cuda(device) => Some(Arc::new(CopyStream::new(device)?)),
                _ => None,
            },
        });
        #[cfg(not(feature = "cuda"))]
        {
            let _ = device;
            Ok(Self {})
        }
    }

    /// A tensor that the device has just been told to compute, in f32.
    pub(super) fn expect(&self, tensor: &Tensor) -> Result<Arrival> {
        let tensor = tensor.contiguous()?;
        #[cfg(feature = "cuda")]
        let mark = match (tensor.device(), &self.copies) {
            (Device::Cuda(device), Some(copies)) => Some((Mark::now(device)?, copies.clone())),
            _ => None,
        };
        Ok(Arrival {
            tensor,
            #[cfg(feature = "cuda")]
            mark,
        })
    }
}

/// A tensor that may not have been computed yet. Reading it waits for it, but never for what the device was told afterwards.
///
/// On the CPU everything is there at once; on Metal a read waits for all that the device was told.
#[derive(Debug)]
pub(super) struct Arrival {
    tensor: Tensor,
    #[cfg(feature = "cuda")]
    mark: Option<(Mark, Arc<CopyStream>)>,
}

impl Arrival {
    /// The tensor on its device.
    pub(super) fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// Its numbers, as soon as they are there.
    pub(super) fn read(&self) -> Result<Vec<f32>> {
        #[cfg(feature = "cuda")]
        if let Some((mark, copies)) = &self.mark {
            return mark.read(&self.tensor, copies);
        }
        self.tensor.flatten_all()?.to_vec1()
    }
}

/// How many evaluations may be on their way to a device while the next is prepared: enough that it never waits for the
/// processor, and few enough that an interruption or a fault shows soon.
pub(super) fn ahead(device: &Device) -> usize {
    if device.is_cuda() { 2 } else { 0 }
}
