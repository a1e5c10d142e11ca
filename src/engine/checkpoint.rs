//! Weights by name: safetensors files, mapped into memory or embedded in the binary, as the parameters of a network.
//!
//! Three borrows deep, so that nothing is copied before a tensor is asked for: a [`Checkpoint`] holds the bytes, its
//! [`Tensors`] the headers, and [`Parameters`] a position among the names.

use std::collections::HashMap;
use std::fmt::Display;

use candle_core::safetensors::{Load, MmapedFile};
use candle_core::{DType, Device, Shape, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::EngineError;
use super::kernel::Isa;
use super::lora::Patch;
use crate::model::files::Weights;
use crate::model::header::{Header, HeaderError};
use crate::model::single_file::{Origin, Section};

/// The bytes of one part's weights.
pub struct Checkpoint {
    sources: Vec<Source>,
}

struct Source {
    name: String,
    bytes: Bytes,
    /// Which of the file's tensors they are, where it holds others too.
    section: Option<Section>,
}

enum Bytes {
    Embedded(&'static [u8]),
    Mapped(MmapedFile),
}

impl Checkpoint {
    /// Opens all shards of a part.
    pub fn open(weights: &[Weights]) -> Result<Self, EngineError> {
        let sources = weights.iter().map(Source::open).collect::<Result<_, _>>()?;
        Ok(Self { sources })
    }

    /// Reads the headers. A tensor that two shards hold is taken from the last.
    pub fn tensors(&self) -> Result<Tensors<'_>, EngineError> {
        let shards = self
            .sources
            .iter()
            .map(|source| Ok(Shard { name: &source.name, tensors: source.header()? }))
            .collect::<Result<Vec<_>, EngineError>>()?;
        let mut places = HashMap::new();
        for (index, (shard, source)) in shards.iter().zip(&self.sources).enumerate() {
            let stored = shard.tensors.names();
            let names = match source.section {
                Some(section) => section.names(stored.into_iter()),
                None => stored.into_iter().map(|name| (name.to_owned(), Origin::plain(name))).collect(),
            };
            places.extend(names.into_iter().map(|(name, origin)| (name, (index, origin))));
        }
        Ok(Tensors { shards, places, patches: Vec::new() })
    }

    /// The header of each shard.
    pub(super) fn headers(&self) -> impl Iterator<Item = Result<SafeTensors<'_>, EngineError>> {
        self.sources.iter().map(Source::header)
    }
}

impl Source {
    fn open(weights: &Weights) -> Result<Self, EngineError> {
        let (path, section) = match weights {
            Weights::Embedded(bytes) => {
                let name = "the embedded model".to_owned();
                return Ok(Self { name, bytes: Bytes::Embedded(bytes), section: None });
            }
            Weights::File(path) => (path, None),
            Weights::Section { file, section } => (file, Some(*section)),
        };
        let name = path.display().to_string();
        // Read here first: the libraries' own words bury the system's, and do not say which tensor is at fault.
        Header::read(path).map_err(|error| match error {
            HeaderError::Unreadable { cause, .. } => EngineError::Open { file: name.clone(), source: cause },
            HeaderError::Corrupt { fault, .. } => EngineError::Corrupt { file: name.clone(), fault: fault.to_string() },
        })?;
        // SAFETY: the map is only read. Should another program change the file meanwhile, the numbers read
        // are wrong, or the process is stopped where the file was cut; every reader of mapped weights lives
        // with that, and checkpoints are written once.
        let file = unsafe { MmapedFile::new(path) }
            .map_err(|source| EngineError::Map { file: name.clone(), source: cause(source) })?;
        Ok(Self { name, bytes: Bytes::Mapped(file), section })
    }

    fn header(&self) -> Result<SafeTensors<'_>, EngineError> {
        match &self.bytes {
            Bytes::Embedded(bytes) => SafeTensors::deserialize(bytes).map_err(|reason| self.corrupt(reason)),
            Bytes::Mapped(file) => file.deserialize().map_err(|error| match cause(error) {
                candle_core::Error::SafeTensor(reason) => self.corrupt(reason),
                other => EngineError::Tensor(other),
            }),
        }
    }

    fn corrupt(&self, fault: impl Display) -> EngineError {
        EngineError::Corrupt { file: self.name.clone(), fault: fault.to_string() }
    }
}

/// The error inside candle's wrappings (path, backtrace), which would drown the message.
fn cause(error: candle_core::Error) -> candle_core::Error {
    use candle_core::Error::{Context, WithBacktrace, WithPath};
    match error {
        WithPath { inner, .. } | WithBacktrace { inner, .. } | Context { inner, .. } => cause(*inner),
        other => other,
    }
}

struct Shard<'a> {
    name: &'a str,
    tensors: SafeTensors<'a>,
}

/// The names, types and shapes of one part's weights, and where their bytes are.
pub struct Tensors<'a> {
    shards: Vec<Shard<'a>>,
    /// For each name the shard that has the tensor, and what it is there.
    places: HashMap<String, (usize, Origin)>,
    patches: Vec<Patch<'a>>,
}

impl<'s> Tensors<'s> {
    /// The same with what LoRAs do to them.
    pub(super) fn patched(self, patches: Vec<Patch<'s>>) -> Self {
        Self { patches, ..self }
    }

    /// The names of all tensors.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// The shape of a tensor, if it is there.
    pub(super) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let (shard, origin) = self.places.get(name)?;
        let stored = self.shards[*shard].tensors.tensor(&origin.stored).ok()?;
        let mut shape = take(&stored, origin)?.shape().to_vec();
        if origin.transposed {
            shape.reverse();
        }
        Some(shape)
    }

    /// The root of the names; tensors will be loaded onto `device` as numbers of type `dtype`. In f32 on the CPU, layers
    /// use the kernels of the instruction set `isa`; without one, and elsewhere, they are made of candle's operations.
    pub fn parameters<'a>(&'a self, device: &'a Device, dtype: DType, isa: Option<Isa>) -> Parameters<'a> {
        let isa = isa.filter(|_| device.is_cpu() && dtype == DType::F32);
        Parameters { tensors: self, prefix: String::new(), device, dtype, isa }
    }

    fn load(&self, name: &str, expected: &Shape, device: &Device, dtype: DType) -> Result<Tensor, EngineError> {
        let missing = || EngineError::MissingTensor { files: self.describe(), tensor: name.to_owned() };
        let (index, origin) = self.places.get(name).ok_or_else(missing)?;
        let shard = &self.shards[*index];
        let stored = shard.tensors.tensor(&origin.stored).map_err(|_| missing())?;
        let wrong_shape = |found: &[usize]| EngineError::WrongShape {
            file: shard.name.to_owned(),
            tensor: origin.stored.clone(),
            found: found.to_vec(),
            expected: expected.dims().to_vec(),
        };
        let view = take(&stored, origin).ok_or_else(|| wrong_shape(stored.shape()))?;
        let mut shape = view.shape().to_vec();
        if origin.transposed {
            shape.reverse();
        }
        if shape != expected.dims() {
            return Err(wrong_shape(&shape));
        }
        if !matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64) {
            return Err(EngineError::WrongType {
                file: shard.name.to_owned(),
                tensor: origin.stored.clone(),
                found: view.dtype(),
            });
        }
        let mut tensor = view.load(device)?;
        if origin.transposed {
            tensor = tensor.t()?.contiguous()?;
        }
        for patch in &self.patches {
            if let Some(difference) = patch.difference(name, expected.dims(), device)? {
                tensor = (tensor.to_dtype(DType::F32)? + difference)?;
            }
        }
        Ok(tensor.to_dtype(dtype)?)
    }

    fn describe(&self) -> String {
        let names: Vec<String> = self.shards.iter().map(|shard| format!("`{}`", shard.name)).collect();
        names.join(" and ")
    }
}

/// The tensor that `origin` makes of a stored one, where it lies and still as it lies; `None` where the stored one has
/// not the shape for that.
fn take<'a>(stored: &TensorView<'a>, origin: &Origin) -> Option<TensorView<'a>> {
    let (mut shape, mut data) = (stored.shape().to_vec(), stored.data());
    if origin.point && shape.len() > 2 && shape[2..].iter().all(|side| *side == 1) {
        shape.truncate(2);
    }
    if let Some(third) = origin.third {
        let rows = shape.first_mut().filter(|rows| rows.is_multiple_of(3))?;
        *rows /= 3;
        let length = data.len() / 3;
        data = &data[third * length..(third + 1) * length];
    }
    if origin.transposed && shape.len() != 2 {
        return None;
    }
    TensorView::new(stored.dtype(), shape, data).ok()
}

/// A position among the names of a part's weights, from which a layer takes its tensors.
#[derive(Clone)]
pub struct Parameters<'a> {
    tensors: &'a Tensors<'a>,
    prefix: String,
    device: &'a Device,
    dtype: DType,
    isa: Option<Isa>,
}

impl Parameters<'_> {
    /// The instruction set of the kernels that layers are to use.
    pub(super) fn isa(&self) -> Option<Isa> {
        self.isa
    }

    /// The position one name further down.
    pub fn pp(&self, name: impl Display) -> Self {
        Self { prefix: self.path(name), ..self.clone() }
    }

    /// Whether there is a tensor of this name here.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.places.contains_key(&self.path(name))
    }

    /// The tensor of this name here, if it has this shape.
    pub fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor, EngineError> {
        self.tensors.load(&self.path(name), &shape.into(), self.device, self.dtype)
    }

    /// Where tensors are loaded onto.
    pub fn device(&self) -> &Device {
        self.device
    }

    /// The type that tensors are loaded as.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    fn path(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}
