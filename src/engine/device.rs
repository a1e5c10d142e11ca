//! Where networks compute.

use std::fmt;

pub use candle_core::Device;

use super::EngineError;

/// A device as a user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    /// The first graphics card that the program can use, or the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number, from 0.
    Cuda(usize),
    /// The Metal device of this number, from 0.
    Metal(usize),
}

impl DeviceChoice {
    /// The choice of a word: `auto`, `cpu`, `cuda`, `cuda:N`, `metal` or `metal:N`.
    pub fn from_word(word: &str) -> Option<Self> {
        let (kind, number) = word.split_once(':').map_or((word, None), |(kind, number)| (kind, Some(number)));
        let number = number.map(|number| number.parse::<usize>().ok());
        match (kind, number) {
            ("auto", None) => Some(Self::Auto),
            ("cpu", None) => Some(Self::Cpu),
            ("cuda", None) => Some(Self::Cuda(0)),
            ("cuda", Some(number)) => number.map(Self::Cuda),
            ("metal", None) => Some(Self::Metal(0)),
            ("metal", Some(number)) => number.map(Self::Metal),
            _ => None,
        }
    }

    /// The device. What is to compute together must be on clones of one: opened again, a device knows nothing of the
    /// tensors that it has.
    pub fn open(self) -> Result<Device, EngineError> {
        let missing = |kind: &'static str, error: candle_core::Error| EngineError::NoDevice {
            wanted: self.to_string(),
            why: match first_line(&error) {
                words if words.contains(NO_DRIVER) => format!("this machine has no driver for {kind}"),
                words => format!("{kind} says: {words}"),
            },
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => {
                let cuda = || open_cuda(0).ok().filter(|_| cfg!(feature = "cuda"));
                let metal = || Device::new_metal(0).ok().filter(|_| cfg!(feature = "metal"));
                Ok(cuda().or_else(metal).unwrap_or(Device::Cpu))
            }
            Self::Cuda(number) if cfg!(feature = "cuda") => open_cuda(number).map_err(|error| missing("CUDA", error)),
            Self::Metal(number) if cfg!(feature = "metal") => {
                Device::new_metal(number).map_err(|error| missing("Metal", error))
            }
            Self::Cuda(_) => Err(self.not_built("cuda")),
            Self::Metal(_) => Err(self.not_built("metal")),
        }
    }

    fn not_built(self, feature: &str) -> EngineError {
        let why = format!("this program was built without it (`cargo build --release --features {feature}`)");
        EngineError::NoDevice { wanted: self.to_string(), why }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal(number) => write!(f, "metal:{number}"),
        }
    }
}

fn open_cuda(number: usize) -> candle_core::Result<Device> {
    let device = Device::new_cuda(number)?;
    #[cfg(feature = "cuda")]
    super::cuda::settle(&device)?;
    Ok(device)
}

/// The most memory that tensors on a device have taken at once, in bytes, where that is known: on CUDA devices.
pub fn peak_memory(device: &Device) -> Option<u64> {
    #[cfg(feature = "cuda")]
    return super::cuda::peak_memory(device).ok().flatten();
    #[cfg(not(feature = "cuda"))]
    {
        let _ = device;
        None
    }
}

/// After an attempt for which a device had no memory left: has it begin the next with all that no tensor takes.
pub(super) fn reclaim(device: &Device) {
    // Whatever is wrong with a device shows again, where it matters.
    #[cfg(feature = "cuda")]
    let _ = super::cuda::trim(device);
    #[cfg(not(feature = "cuda"))]
    let _ = device;
}

/// What CUDA says where there is no driver, but a stand-in for it.
const NO_DRIVER: &str = "CUDA_ERROR_STUB_LIBRARY";

/// What an error says, without the traces that may follow.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().trim().to_owned()
}
