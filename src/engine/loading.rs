//! How networks come into memory: onto which device, as which numbers, and with which layers that are there already.

use std::any::{Any, type_name};
use std::sync::Arc;

use candle_core::{DType, Device};

use super::kernel::Isa;
use super::limits::Stop;
use super::{EngineError, Precision};

/// Layers by name that outlive their network, so that another of the same weights need not make them again.
pub trait Shelf {
    /// The layer that was put under this name.
    fn layer(&self, name: &str) -> Option<Layer>;
    /// Puts a layer under a name.
    fn put(&self, name: &str, layer: Layer);
}

/// A layer of any kind. Clones share its weights.
#[derive(Clone)]
pub struct Layer(Arc<dyn Any + Send + Sync>);

/// How networks are to be loaded.
#[derive(Clone)]
pub struct Loading<'a> {
    pub(super) device: Device,
    pub(super) precision: Precision,
    pub(super) isa: Option<Isa>,
    pub(super) stop: Stop<'a>,
    shelf: Option<&'a dyn Shelf>,
}

impl<'a> Loading<'a> {
    /// Onto the CPU, to compute in this precision with the kernels of the fastest instruction set that the machine has.
    pub fn new(precision: Precision) -> Self {
        Self { device: Device::Cpu, precision, isa: Some(Isa::best()), stop: Stop::NEVER, shelf: None }
    }

    /// Onto another device, where layers are made of candle's operations.
    pub fn on(self, device: &Device) -> Self {
        Self { device: device.clone(), ..self }
    }

    /// With the kernels of an instruction set of the caller's choice, or with none: layers are then made of candle's
    /// operations.
    pub fn by(self, isa: Option<Isa>) -> Self {
        Self { isa, ..self }
    }

    /// Until this says to stop, which is asked before every tensor.
    pub fn until(self, stop: Stop<'a>) -> Self {
        Self { stop, ..self }
    }

    /// With the layers of a shelf, as far as no LoRA changes them; others are put there. All that is loaded with one shelf
    /// must be of the same weights and the same precision, on the same device.
    pub fn sharing(self, shelf: &'a dyn Shelf) -> Self {
        Self { shelf: Some(shelf), ..self }
    }

    /// The same in another precision, whose layers are not shared.
    pub(super) fn in_precision(&self, precision: Precision) -> Self {
        let shelf = self.shelf.filter(|_| precision == self.precision);
        Self { precision, shelf, ..self.clone() }
    }

    /// The type of tensors, and the kernels that layers use, of those that may be used. The kernels are for f32 on the CPU,
    /// and round to bf16 what they multiply where that is wanted; elsewhere layers are made of candle's operations.
    pub(super) fn computed(&self) -> (DType, Option<Isa>) {
        match (self.precision, self.isa.filter(|_| self.device.is_cpu())) {
            (Precision::F32, isa) => (DType::F32, isa),
            (Precision::BF16, Some(isa)) => (DType::F32, Some(isa.rounding())),
            (Precision::BF16, None) => (DType::BF16, None),
            (Precision::F16, _) => (DType::F16, None),
        }
    }

    /// The layer of a name on the shelf, or a new one, which is put there.
    pub(super) fn shared<T: Clone + Send + Sync + 'static>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let Some(shelf) = self.shelf else { return make() };
        let name = format!("{name} {}", type_name::<T>());
        if let Some(known) = shelf.layer(&name).as_ref().and_then(|Layer(known)| known.downcast_ref::<T>()) {
            return Ok(known.clone());
        }
        let layer = make()?;
        shelf.put(&name, Layer(Arc::new(layer.clone())));
        Ok(layer)
    }
}
