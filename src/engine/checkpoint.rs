//! Weights by name: safetensors files, or those embedded in the binary, as the parameters of a network.
//!
//! A [`Checkpoint`] holds the files and their headers, its [`Tensors`] the names, and [`Parameters`] a position among
//! them. A tensor's numbers are read when it is asked for, and nothing else is kept: files are not mapped into memory, whose
//! pages would count beside those of the network that is made from them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use candle_core::{DType, Device, Shape, Tensor};

use super::kernel::Isa;
use super::lora::Patch;
use super::{EngineError, Precision};
use crate::model::files::Weights;
use crate::model::header::{Header, HeaderError, TensorInfo};
use crate::model::single_file::{Origin, Section};

/// The files of one part's weights.
pub struct Checkpoint {
    sources: Vec<Source>,
}

/// One of them.
pub(super) struct Source {
    name: String,
    bytes: Bytes,
    header: Header,
    /// Which of the file's tensors they are, where it holds others too.
    section: Option<Section>,
}

enum Bytes {
    Embedded(&'static [u8]),
    File(File),
}

impl Checkpoint {
    /// Opens all shards of a part and reads their headers.
    pub fn open(weights: &[Weights]) -> Result<Self, EngineError> {
        let sources = weights.iter().map(Source::open).collect::<Result<_, _>>()?;
        Ok(Self { sources })
    }

    /// The tensors of all shards. One that two shards hold is taken from the last.
    pub fn tensors(&self) -> Tensors<'_> {
        let mut places = HashMap::new();
        for (index, source) in self.sources.iter().enumerate() {
            let stored = source.header.tensors.keys().map(String::as_str);
            let names = match source.section {
                Some(section) => section.names(stored),
                None => stored.map(|name| (name.to_owned(), Origin::plain(name))).collect(),
            };
            places.extend(names.into_iter().map(|(name, origin)| (name, (index, origin))));
        }
        Tensors { sources: &self.sources, places, patches: Vec::new() }
    }

    /// The shards.
    pub(super) fn sources(&self) -> &[Source] {
        &self.sources
    }
}

impl Source {
    fn open(weights: &Weights) -> Result<Self, EngineError> {
        let (path, section) = match weights {
            Weights::Embedded(bytes) => {
                let name = "the embedded model".to_owned();
                let header = Header::parse(bytes)
                    .map_err(|fault| EngineError::Corrupt { file: name.clone(), fault: fault.to_string() })?;
                return Ok(Self { name, bytes: Bytes::Embedded(bytes), header, section: None });
            }
            Weights::File(path) => (path, None),
            Weights::Section { file, section } => (file, Some(*section)),
        };
        let name = path.display().to_string();
        let header = Header::read(path).map_err(|error| match error {
            HeaderError::Unreadable { cause, .. } => EngineError::Open { file: name.clone(), source: cause },
            HeaderError::Corrupt { fault, .. } => EngineError::Corrupt { file: name.clone(), fault: fault.to_string() },
        })?;
        let file = File::open(path).map_err(|source| EngineError::Open { file: name.clone(), source })?;
        Ok(Self { name, bytes: Bytes::File(file), header, section })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// The tensor of this name, as it is stored.
    pub(super) fn tensor(&self, name: &str, device: &Device) -> Result<Tensor, EngineError> {
        let missing = || EngineError::MissingTensor { files: format!("`{}`", self.name), tensor: name.to_owned() };
        self.read(name, self.header.tensors.get(name).ok_or_else(missing)?, device)
    }

    /// The numbers that `info` describes; `name` is for messages.
    fn read(&self, name: &str, info: &TensorInfo, device: &Device) -> Result<Tensor, EngineError> {
        let dtype = match info.dtype.as_str() {
            "F64" => DType::F64,
            "F32" => DType::F32,
            "F16" => DType::F16,
            "BF16" => DType::BF16,
            _ => {
                let (file, tensor) = (self.name.clone(), name.to_owned());
                return Err(EngineError::WrongType { file, tensor, found: info.dtype.clone() });
            }
        };
        let (start, end) = info.data_offsets;
        let bytes = self.bytes(start, end - start).map_err(|source| self.unreadable(source))?;
        Ok(Tensor::from_raw_buffer(&bytes, dtype, &info.shape, device)?)
    }

    /// Bytes of the tensors' numbers.
    fn bytes(&self, start: usize, length: usize) -> std::io::Result<Cow<'static, [u8]>> {
        let at = self.header.data_start + start as u64;
        match &self.bytes {
            // The header was checked against the length.
            Bytes::Embedded(all) => Ok(Cow::Borrowed(&all[at as usize..][..length])),
            Bytes::File(file) => {
                let mut file = file;
                let mut bytes = Vec::with_capacity(length);
                file.seek(SeekFrom::Start(at))?;
                file.take(length as u64).read_to_end(&mut bytes)?;
                if bytes.len() < length {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                Ok(Cow::Owned(bytes))
            }
        }
    }

    fn unreadable(&self, source: std::io::Error) -> EngineError {
        EngineError::Open { file: self.name.clone(), source }
    }
}

/// The names, types and shapes of one part's weights, and where their bytes are.
pub struct Tensors<'a> {
    sources: &'a [Source],
    /// For each name the shard that has the tensor, and what it is there.
    places: HashMap<String, (usize, Origin)>,
    patches: Vec<Patch<'a>>,
}

impl<'s> Tensors<'s> {
    /// The same with what LoRAs do to them.
    pub(super) fn patched(self, patches: Vec<Patch<'s>>) -> Self {
        Self { patches, ..self }
    }

    /// How many numbers they have together.
    pub(super) fn numbers(&self) -> u64 {
        let of = |name: &str| self.shape(name).map_or(0, |shape| shape.iter().map(|side| *side as u64).product());
        self.names().map(of).sum()
    }

    /// The names of all tensors.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// The shape of a tensor, if it is there.
    pub(super) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let (source, origin) = self.places.get(name)?;
        let stored = self.sources[*source].header.tensors.get(&origin.stored)?;
        let mut shape = take(stored, origin)?.shape;
        if origin.transposed {
            shape.reverse();
        }
        Some(shape)
    }

    /// The root of the names; tensors will be loaded onto `device` for computing in `precision`, on the CPU with the
    /// kernels of the instruction set `isa` where there are any, and otherwise with candle's operations.
    pub fn parameters<'a>(&'a self, device: &'a Device, precision: Precision, isa: Option<Isa>) -> Parameters<'a> {
        let (dtype, isa) = precision.computed(device, isa);
        Parameters { tensors: self, prefix: String::new(), device, dtype, isa }
    }

    fn load(&self, name: &str, expected: &Shape, device: &Device, dtype: DType) -> Result<Tensor, EngineError> {
        let missing = || EngineError::MissingTensor { files: self.describe(), tensor: name.to_owned() };
        let (index, origin) = self.places.get(name).ok_or_else(missing)?;
        let source = &self.sources[*index];
        let stored = source.header.tensors.get(&origin.stored).ok_or_else(missing)?;
        let wrong_shape = |found: &[usize]| EngineError::WrongShape {
            file: source.name.clone(),
            tensor: origin.stored.clone(),
            found: found.to_vec(),
            expected: expected.dims().to_vec(),
        };
        let taken = take(stored, origin).ok_or_else(|| wrong_shape(&stored.shape))?;
        let mut shape = taken.shape.clone();
        if origin.transposed {
            shape.reverse();
        }
        if shape != expected.dims() {
            return Err(wrong_shape(&shape));
        }
        let mut tensor = source.read(&origin.stored, &taken, device)?;
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
        let names: Vec<String> = self.sources.iter().map(|source| format!("`{}`", source.name)).collect();
        names.join(" and ")
    }
}

/// The tensor that `origin` makes of a stored one, where it lies and still as it lies; `None` where the stored one has
/// not the shape for that.
fn take(stored: &TensorInfo, origin: &Origin) -> Option<TensorInfo> {
    let (mut shape, (mut start, mut end)) = (stored.shape.clone(), stored.data_offsets);
    if origin.point && shape.len() > 2 && shape[2..].iter().all(|side| *side == 1) {
        shape.truncate(2);
    }
    if let Some(third) = origin.third {
        let rows = shape.first_mut().filter(|rows| rows.is_multiple_of(3))?;
        *rows /= 3;
        let length = (end - start) / 3;
        (start, end) = (start + third * length, start + (third + 1) * length);
    }
    if origin.transposed && shape.len() != 2 {
        return None;
    }
    Some(TensorInfo { dtype: stored.dtype.clone(), shape, data_offsets: (start, end) })
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
