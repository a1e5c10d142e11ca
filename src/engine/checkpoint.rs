//! Weights by name: safetensors files, or those embedded in the binary, as the parameters of a network.
//!
//! A [`Checkpoint`] holds the files and their headers, its [`Tensors`] the names, and [`Parameters`] a position among
//! them. A tensor's numbers are read when it is asked for, and nothing else is kept: files are not mapped into memory, whose
//! pages would count beside those of the network that is made from them.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs::File;

use candle_core::{DType, Device, Shape, Tensor};

use super::EngineError;
use super::kernel::{Format, Isa, read_numbers};
use super::loading::Loading;
use super::lora::Patch;
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
        let mut bytes = vec![0; end - start];
        self.fill(&mut bytes, start).map_err(|source| self.unreadable(source))?;
        Ok(Tensor::from_raw_buffer(&bytes, dtype, &info.shape, device)?)
    }

    /// The same as f32 on the CPU.
    fn read_wide(&self, isa: Isa, name: &str, info: &TensorInfo) -> Result<Tensor, EngineError> {
        let format = match info.dtype.as_str() {
            "F32" => Format::F32,
            "F16" => Format::F16,
            "BF16" => Format::BF16,
            _ => return Ok(self.read(name, info, &Device::Cpu)?.to_dtype(DType::F32)?),
        };
        let (start, _) = info.data_offsets;
        let read = |at: usize, bytes: &mut [u8]| self.fill(bytes, start + at);
        let numbers = read_numbers(isa, format, info.shape.iter().product(), read);
        let numbers = numbers.map_err(|source| self.unreadable(source))?;
        Ok(Tensor::from_vec(numbers, info.shape.as_slice(), &Device::Cpu)?)
    }

    /// Reads bytes of the tensors' numbers from `start` on.
    fn fill(&self, bytes: &mut [u8], start: usize) -> std::io::Result<()> {
        let at = self.header.data_start + start as u64;
        match &self.bytes {
            // The header was checked against the length.
            Bytes::Embedded(all) => bytes.copy_from_slice(&all[at as usize..][..bytes.len()]),
            Bytes::File(file) => read_exact_at(file, bytes, at)?,
        }
        Ok(())
    }

    fn unreadable(&self, source: std::io::Error) -> EngineError {
        EngineError::Open { file: self.name.clone(), source }
    }
}

/// Reads bytes of a file, which other threads may read as well.
#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// Reads bytes of a file, which other threads may read as well.
#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, bytes, at)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        (bytes, at) = (&mut bytes[count..], at + count as u64);
    }
    Ok(())
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

    /// Whether a LoRA changes the tensor of this name.
    pub(super) fn adapts(&self, name: &str) -> bool {
        self.patches.iter().any(|patch| patch.adapts(name))
    }

    /// The names of all tensors.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// The shape of a tensor, if it is there.
    pub(super) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.stored(name).map(|(shape, _)| shape)
    }

    /// The shape of a tensor and the type of its numbers in the file, if it is there.
    pub(super) fn stored(&self, name: &str) -> Option<(Vec<usize>, &str)> {
        let (source, origin) = self.places.get(name)?;
        let stored = self.sources[*source].header.tensors.get(&origin.stored)?;
        let mut shape = take(stored, origin)?.shape;
        if origin.transposed {
            shape.reverse();
        }
        Some((shape, &stored.dtype))
    }

    /// The root of the names of a part of a model, from which layers are loaded.
    pub fn parameters<'a>(&'a self, part: &'a str, loading: &'a Loading<'a>) -> Parameters<'a> {
        let (dtype, isa) = loading.computed();
        Parameters { tensors: self, part, prefix: String::new(), loading, dtype, isa }
    }

    fn load(
        &self,
        name: &str,
        expected: &Shape,
        device: &Device,
        dtype: DType,
        isa: Option<Isa>,
    ) -> Result<Tensor, EngineError> {
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
        let mut tensor = match isa {
            Some(isa) => source.read_wide(isa, &origin.stored, &taken)?,
            None => source.read(&origin.stored, &taken, device)?,
        };
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
    part: &'a str,
    prefix: String,
    loading: &'a Loading<'a>,
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
        self.loading.stop.check()?;
        self.tensors.load(&self.path(name), &shape.into(), self.device(), self.dtype, self.isa)
    }

    /// The layer that `make` makes of the tensors here, unless it is there already.
    pub(super) fn layer<T: Clone + Send + Sync + 'static>(
        &self,
        make: impl FnOnce() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        Self::layer_of(std::slice::from_ref(self), make)
    }

    /// The same of the tensors at several positions.
    pub(super) fn layer_of<T: Clone + Send + Sync + 'static>(
        positions: &[Self],
        make: impl FnOnce() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let adapted = |at: &Self| at.tensors.adapts(&at.path("weight"));
        match positions {
            [first, ..] if !positions.iter().any(adapted) => {
                let names: Vec<&str> = positions.iter().map(|at| at.prefix.as_str()).collect();
                first.loading.shared(&format!("{} {}", first.part, names.join(" ")), make)
            }
            _ => make(),
        }
    }

    /// Where tensors are loaded onto.
    pub fn device(&self) -> &Device {
        &self.loading.device
    }

    /// The type that tensors are loaded as.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    fn path(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}
