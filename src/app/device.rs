//! The device of a choice, opened once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::engine::EngineError;
use crate::engine::device::{Device, DeviceChoice};

/// Opens a device, or gives the one that it was opened as before: text encoders and networks must be on the same.
pub(super) fn opened(choice: DeviceChoice) -> Result<Device, EngineError> {
    static OPENED: Mutex<Option<HashMap<DeviceChoice, Device>>> = Mutex::new(None);
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let opened = opened.get_or_insert_default();
    if let Some(device) = opened.get(&choice) {
        return Ok(device.clone());
    }
    let device = choice.open()?;
    opened.insert(choice, device.clone());
    Ok(device)
}
