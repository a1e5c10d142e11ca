//! Weights by name: safetensors files, mapped into memory or embedded in the binary, as the parameters of a network.
//!
//! Three borrows deep, so that nothing is copied before a tensor is asked for: a [`Checkpoint`] holds the bytes, its
//! [`Tensors`] the headers, and [`Parameters`] a position among the names.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs::File;

use candle_core::safetensors::{Load, MmapedFile};
use candle_core::{DType, Device, Shape, Tensor};
use safetensors::{Dtype, SafeTensors};

use super::EngineError;
use super::kernel::Isa;
use super::lora::Patch;
use crate::model::files::Weights;

/// The bytes of one part's weights.
pub struct Checkpoint {
    sources: Vec<Source>,
}

struct Source {
    name: String,
    bytes: Bytes,
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
        let mut shard_of = HashMap::new();
        for (index, shard) in shards.iter().enumerate() {
            for name in shard.tensors.names() {
                shard_of.insert(name.to_owned(), index);
            }
        }
        Ok(Tensors { shards, shard_of, patches: Vec::new() })
    }

    /// The header of each shard.
    pub(super) fn headers(&self) -> impl Iterator<Item = Result<SafeTensors<'_>, EngineError>> {
        self.sources.iter().map(Source::header)
    }
}

impl Source {
    fn open(weights: &Weights) -> Result<Self, EngineError> {
        match weights {
            Weights::Embedded(bytes) => {
                Ok(Self { name: "the embedded model".to_owned(), bytes: Bytes::Embedded(bytes) })
            }
            Weights::File(path) => {
                let name = path.display().to_string();
                // Opened once for the system's own words, which candle's error would bury.
                File::open(path).map_err(|source| EngineError::Open { file: name.clone(), source })?;
                // SAFETY: the map is only read. Should another program change the file meanwhile, the numbers read
                // are wrong, or the process is stopped where the file was cut; every reader of mapped weights lives
                // with that, and checkpoints are written once.
                let file = unsafe { MmapedFile::new(path) }
                    .map_err(|source| EngineError::Map { file: name.clone(), source: cause(source) })?;
                Ok(Self { name, bytes: Bytes::Mapped(file) })
            }
        }
    }

    fn header(&self) -> Result<SafeTensors<'_>, EngineError> {
        let corrupt = |reason| EngineError::Corrupt { file: self.name.clone(), reason };
        match &self.bytes {
            Bytes::Embedded(bytes) => SafeTensors::deserialize(bytes).map_err(corrupt),
            Bytes::Mapped(file) => file.deserialize().map_err(|error| match cause(error) {
                candle_core::Error::SafeTensor(reason) => corrupt(reason),
                other => EngineError::Tensor(other),
            }),
        }
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
    shard_of: HashMap<String, usize>,
    patches: Vec<Patch<'a>>,
}

impl<'s> Tensors<'s> {
    /// The same with what LoRAs do to them.
    pub(super) fn patched(self, patches: Vec<Patch<'s>>) -> Self {
        Self { patches, ..self }
    }

    /// The names of all tensors.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.shard_of.keys().map(String::as_str)
    }

    /// The shape of a tensor, if it is there.
    pub(super) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let shard = &self.shards[*self.shard_of.get(name)?];
        Some(shard.tensors.tensor(name).ok()?.shape().to_vec())
    }

    /// The root of the names; tensors will be loaded onto `device` as numbers of type `dtype`. In f32 on the CPU, layers
    /// use the kernels of the instruction set `isa`; without one, and elsewhere, they are made of candle's operations.
    pub fn parameters<'a>(&'a self, device: &'a Device, dtype: DType, isa: Option<Isa>) -> Parameters<'a> {
        let isa = isa.filter(|_| device.is_cpu() && dtype == DType::F32);
        Parameters { tensors: self, prefix: String::new(), device, dtype, isa }
    }

    fn load(&self, name: &str, expected: &Shape, device: &Device, dtype: DType) -> Result<Tensor, EngineError> {
        let shard = self.shard_of.get(name).map(|index| &self.shards[*index]);
        let (shard, view) = shard
            .and_then(|shard| Some((shard, shard.tensors.tensor(name).ok()?)))
            .ok_or_else(|| EngineError::MissingTensor { files: self.describe(), tensor: name.to_owned() })?;
        if view.shape() != expected.dims() {
            return Err(EngineError::WrongShape {
                file: shard.name.to_owned(),
                tensor: name.to_owned(),
                found: view.shape().to_vec(),
                expected: expected.dims().to_vec(),
            });
        }
        if !matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64) {
            return Err(EngineError::WrongType {
                file: shard.name.to_owned(),
                tensor: name.to_owned(),
                found: view.dtype(),
            });
        }
        let mut tensor = view.load(device)?;
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
        self.tensors.shard_of.contains_key(&self.path(name))
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
