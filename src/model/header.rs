//! The header of a safetensors file: what tensors it holds, read and checked without their numbers.
//!
//! Files come from strangers. Everything that the header claims is checked against the length of the file before anybody
//! relies on it, and a fault is told with the tensor that has it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// The bytes that hold the header's length.
const LENGTH: usize = 8;
/// The longest header that any reader takes, in bytes.
const LONGEST: u64 = 100_000_000;

/// Where a tensor's numbers lie, and what they are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TensorInfo {
    /// The type of its numbers, as the file names it: `F16`.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The first byte of its numbers and the first behind them, counted from the end of the header.
    pub data_offsets: (usize, usize),
}

/// What a safetensors file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The tensors by name.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// What the file's maker wrote of it.
    pub metadata: BTreeMap<String, String>,
    /// The byte of the file at which the tensors' numbers start.
    pub data_start: u64,
}

/// A file whose header cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The system refuses.
    #[error("cannot read `{}`: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The file is cut short, damaged, or of another kind.
    #[error("`{}` is incomplete or not a safetensors file: {fault}; fetch it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with a file that should be a safetensors file.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Too short for anything.
    #[error("it has {0} bytes")]
    TooShort(u64),
    /// The header would be longer than the file, or than any header.
    #[error("its header would have {claimed} bytes, and the whole file has {length}")]
    HeaderLength {
        /// The length that the file claims.
        claimed: u64,
        /// The file's own.
        length: u64,
    },
    /// The header is not what a header is.
    #[error("its header cannot be read ({0})")]
    NoHeader(String),
    /// A name stands twice in the header.
    #[error("it has two tensors `{0}`")]
    Twice(String),
    /// A type that the format does not have.
    #[error("the tensor `{tensor}` holds numbers of the unknown type `{dtype}`")]
    UnknownType {
        /// The tensor.
        tensor: String,
        /// The type.
        dtype: String,
    },
    /// More bytes or fewer than shape and type ask for.
    #[error("the tensor `{tensor}` has shape {shape:?} of {dtype}, which does not take {bytes} bytes")]
    WrongLength {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its type.
        dtype: String,
        /// The bytes that it has.
        bytes: usize,
    },
    /// Tensors overlap, or there is a gap between them.
    #[error("the tensor `{tensor}` starts at byte {start}, where {expected} is the first free one")]
    Misplaced {
        /// The tensor.
        tensor: String,
        /// Where it starts.
        start: usize,
        /// Where it should.
        expected: usize,
    },
    /// The file ends too early or too late.
    #[error("its tensors take {expected} bytes, and it has {found}")]
    WrongSize {
        /// The bytes that the tensors take.
        expected: u64,
        /// The bytes that there are.
        found: u64,
    },
}

impl Header {
    /// Reads the header of a file, and nothing else of it.
    pub fn read(path: &Path) -> Result<Self, HeaderError> {
        let unreadable = |cause| HeaderError::Unreadable { path: path.to_owned(), cause };
        let corrupt = |fault| HeaderError::Corrupt { path: path.to_owned(), fault };
        let mut file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut first = [0; LENGTH];
        if length < LENGTH as u64 {
            return Err(corrupt(Fault::TooShort(length)));
        }
        file.read_exact(&mut first).map_err(unreadable)?;
        let claimed = header_length(first, length).map_err(corrupt)?;
        let mut text = vec![0; claimed];
        file.read_exact(&mut text).map_err(unreadable)?;
        Self::check(&text, length).map_err(corrupt)
    }

    /// Reads the header of a file whose bytes these are.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let length = bytes.len() as u64;
        let first = bytes.first_chunk::<LENGTH>().ok_or(Fault::TooShort(length))?;
        let claimed = header_length(*first, length)?;
        Self::check(&bytes[LENGTH..LENGTH + claimed], length)
    }

    /// Reads the text of the header of a file of so many bytes.
    fn check(text: &[u8], length: u64) -> Result<Self, Fault> {
        let Entries { tensors, metadata, twice } =
            serde_json::from_slice(text).map_err(|error| Fault::NoHeader(error.to_string()))?;
        if let Some(name) = twice {
            return Err(Fault::Twice(name));
        }
        let mut in_order: Vec<(&String, &TensorInfo)> = tensors.iter().collect();
        in_order.sort_by_key(|(_, info)| info.data_offsets);
        let mut free = 0;
        for (name, info) in in_order {
            info.check(name)?;
            let (start, end) = info.data_offsets;
            if start != free {
                return Err(Fault::Misplaced { tensor: name.clone(), start, expected: free });
            }
            free = end;
        }
        let data_start = (LENGTH + text.len()) as u64;
        let (expected, found) = (free as u64, length - data_start);
        if expected != found {
            return Err(Fault::WrongSize { expected, found });
        }
        Ok(Self { tensors, metadata, data_start })
    }

    /// The shape of a tensor, if there is one of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|info| info.shape.as_slice())
    }

    /// Whether a tensor's name starts so.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.tensors.range(prefix.to_owned()..).next().is_some_and(|(name, _)| name.starts_with(prefix))
    }
}

impl TensorInfo {
    fn check(&self, name: &str) -> Result<(), Fault> {
        let bits: usize = match self.dtype.as_str() {
            "F4" => 4,
            "F6_E2M3" | "F6_E3M2" => 6,
            "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => 8,
            "I16" | "U16" | "F16" | "BF16" => 16,
            "I32" | "U32" | "F32" => 32,
            "I64" | "U64" | "F64" | "C64" => 64,
            _ => return Err(Fault::UnknownType { tensor: name.to_owned(), dtype: self.dtype.clone() }),
        };
        let (start, end) = self.data_offsets;
        let needed = self.shape.iter().try_fold(bits, |product, side| product.checked_mul(*side));
        if end.checked_sub(start).and_then(|bytes| bytes.checked_mul(8)).is_some_and(|bits| Some(bits) == needed) {
            return Ok(());
        }
        Err(Fault::WrongLength {
            tensor: name.to_owned(),
            shape: self.shape.clone(),
            dtype: self.dtype.clone(),
            bytes: end.saturating_sub(start),
        })
    }
}

/// The length of the header, if a file of `length` bytes can have it.
fn header_length(first: [u8; LENGTH], length: u64) -> Result<usize, Fault> {
    let claimed = u64::from_le_bytes(first);
    let fits = claimed <= LONGEST && claimed <= length - LENGTH as u64;
    usize::try_from(claimed).ok().filter(|_| fits).ok_or(Fault::HeaderLength { claimed, length })
}

/// The header's JSON object, in which a name that stands twice is not lost.
#[derive(Default)]
struct Entries {
    tensors: BTreeMap<String, TensorInfo>,
    metadata: BTreeMap<String, String>,
    twice: Option<String>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object with a tensor for each name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Entries::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        entries.metadata = map.next_value()?;
                    } else if entries.tensors.insert(name.clone(), map.next_value()?).is_some() {
                        entries.twice.get_or_insert(name);
                    }
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Object)
    }
}
