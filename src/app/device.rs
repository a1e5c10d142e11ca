//! How networks compute, and where.

use super::Failure;
use super::cli::NetworkArgs;
use crate::engine::device::{Device, DeviceChoice};
use crate::engine::{EngineError, Precision};

/// How the networks of a render compute. Its clones are of one device, as what computes together must be.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) device: Device,
    pub(super) precision: Precision,
    /// The most rows that are evaluated at once.
    pub(super) rows: Option<u32>,
    /// The bytes that a render may take.
    pub(super) memory: Option<u64>,
}

impl Network {
    /// Opens a device to compute as the command line says, and in the device's own precision where it does not.
    pub(super) fn open(args: NetworkArgs, choice: DeviceChoice) -> Result<Self, EngineError> {
        let device = choice.open()?;
        let precision = args.precision.unwrap_or_else(|| Precision::usual_on(&device));
        Ok(Self { device, precision, rows: args.rows, memory: args.memory })
    }
}

/// Has cuDNN compute with numbers in f32 as such. It would round them to TF32, ten bits, where nobody says otherwise by this variable, which
/// it reads when it begins. There must be no other thread yet.
#[cfg(feature = "cudnn")]
pub(super) fn forbid_tf32() {
    const VARIABLE: &str = "NVIDIA_TF32_OVERRIDE";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: no other thread reads the environment, as there is none.
        unsafe { std::env::set_var(VARIABLE, "0") };
    }
}

/// Has this thread compute, together with as many others as are allowed. It is one of them, so that none waits while another
/// computes for it.
pub(super) fn compute_here(args: NetworkArgs) -> Result<(), Failure> {
    Ok(threads(args).use_current_thread().build_global()?)
}

/// The processor's threads that compute.
pub(super) fn threads(args: NetworkArgs) -> rayon::ThreadPoolBuilder {
    rayon::ThreadPoolBuilder::new().num_threads(args.threads.unwrap_or(0).into())
}
