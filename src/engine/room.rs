//! Devices whose memory is too small.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::EngineError;

/// What the drivers and libraries say when a device has no memory left.
const SIGNS: [&str; 5] = [
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "kIOGPUCommandBufferCallbackErrorOutOfMemory",
    "Failed to create metal resource: Buffer",
];

impl EngineError {
    /// Whether a device had no memory left.
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Self::OutOfMemory { .. } => true,
            Self::Tensor(error) => {
                let text = error.to_string();
                SIGNS.iter().any(|sign| text.contains(sign))
            }
            _ => false,
        }
    }

    /// The same error; where a device had no memory left while it did `what`, one that says what to try.
    pub(super) fn while_doing(self, what: &'static str) -> Self {
        if self.is_out_of_memory() { Self::OutOfMemory { what } } else { self }
    }
}

/// How many rows a network evaluates at once: as many as it was told at most, and fewer once more have turned out to be too
/// many for the device.
#[derive(Debug)]
pub struct RowLimit {
    most: AtomicUsize,
    told: usize,
}

impl RowLimit {
    /// At most so many; all that there are where `None`.
    pub fn new(most: Option<usize>) -> Self {
        let told = most.unwrap_or(usize::MAX).max(1);
        Self { most: AtomicUsize::new(told), told }
    }

    /// How many it has come down to, if it was told more.
    pub fn reduced(&self) -> Option<usize> {
        let most = self.most.load(Ordering::Relaxed);
        (most < self.told).then_some(most)
    }

    /// What `attempt` makes of `rows` rows, of which it is told how many to evaluate at once. Where the device has not the
    /// memory it tries again with half as many, from then on; where it has not even for one, that is the error.
    pub fn evaluate<T>(
        &self,
        rows: usize,
        mut attempt: impl FnMut(usize) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        loop {
            let most = self.most.load(Ordering::Relaxed).min(rows).max(1);
            match attempt(most) {
                Err(error) if error.is_out_of_memory() && most > 1 => {
                    self.most.store(most.div_ceil(2), Ordering::Relaxed);
                }
                result => return result.map_err(|error| error.while_doing("evaluating a single text")),
            }
        }
    }
}
