//! How networks compute, and where.

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
}

impl Network {
    /// Opens a device to compute as the command line says, and in the device's own precision where it does not.
    pub(super) fn open(args: NetworkArgs, choice: DeviceChoice) -> Result<Self, EngineError> {
        let device = choice.open()?;
        let precision = args.precision.unwrap_or_else(|| Precision::usual_on(&device));
        Ok(Self { device, precision, rows: args.rows })
    }
}
