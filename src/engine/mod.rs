//! Everything that touches tensors. It is told what to do by plain values (a card, a plan) and knows no recipe.

mod arrival;
pub mod checkpoint;
pub mod combine;
#[cfg(feature = "cuda")]
mod cuda;
pub mod device;
pub mod fused;
pub mod guidance;
pub mod kernel;
pub mod limits;
pub mod loading;
mod lora;
pub mod memory;
pub mod network;
pub mod noise;
pub mod preview;
pub mod render;
pub mod room;
pub mod sampler;
pub mod texts;

use crate::model::card::{AutoencoderCard, Card};
use crate::model::files::Weights;
use crate::model::lora::{LoraError, LoraFile, Part};
use candle_core::Device;
use checkpoint::Checkpoint;
use loading::Loading;
use lora::Loras;
use network::{Decoder, UNet};

/// A fault while weights are read or tensors are computed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A weight file cannot be opened or read.
    #[error("cannot read the weights in `{file}`: {source}")]
    Open {
        /// The file.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A weight file is cut short or is not a safetensors file.
    #[error("`{file}` is incomplete or not a safetensors file: {fault}; fetch it again")]
    Corrupt {
        /// The file.
        file: String,
        /// What is wrong with it.
        fault: String,
    },
    /// The weights lack a tensor.
    #[error("{files} has no tensor `{tensor}`; its weights do not belong to its `config.json`, or a shard is missing")]
    MissingTensor {
        /// The file or files that were searched, quoted.
        files: String,
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor has another shape than the card says.
    #[error(
        "`{file}`: the tensor `{tensor}` has shape {found:?}, but `config.json` asks for {expected:?}; the two belong to different models"
    )]
    WrongShape {
        /// The file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the network needs.
        expected: Vec<usize>,
    },
    /// A tensor holds something other than floating-point numbers.
    #[error("`{file}`: the tensor `{tensor}` holds {found} numbers; weights in F32, F16 or BF16 are supported")]
    WrongType {
        /// The file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A tokenized text that the text encoder cannot take.
    #[error(
        "the text encoder takes rows of up to {max_tokens} tokens, all of one length; it was given rows of {lengths:?}"
    )]
    TokenCount {
        /// The lengths given.
        lengths: Vec<usize>,
        /// The longest that is allowed.
        max_tokens: usize,
    },
    /// A token id that the text encoder does not know.
    #[error(
        "token {token} is outside the text encoder's vocabulary of {vocabulary}; `tokenizer` and `text_encoder` belong to different models"
    )]
    UnknownToken {
        /// The id.
        token: u32,
        /// The number of ids.
        vocabulary: usize,
    },
    /// A LoRA does not fit the model.
    #[error(transparent)]
    Lora(#[from] LoraError),
    /// A network that wants vectors of whole texts was given texts without them.
    #[error("the network wants a vector for each whole text, and the text encoders make none")]
    NoWholeText,
    /// A computation overflowed.
    #[error(
        "{what} is not finite at step {step}: its numbers overflowed, or the weights are damaged; lower the strengths and the guidance scale, or fetch the model again"
    )]
    NonFinite {
        /// Whose numbers.
        what: String,
        /// The step, from 0.
        step: usize,
    },
    /// A device that is not there.
    #[error("there is no device `{wanted}`: {why}; take `--device cpu`, or leave the choice to the program")]
    NoDevice {
        /// As the user named it.
        wanted: String,
        /// Why not.
        why: String,
    },
    /// The device has not the memory, whatever is tried.
    #[error(
        "the device has not enough memory for {what}; take `--precision f16`, a smaller size or fewer concepts at once, end other programs that use the device, or take `--device cpu`"
    )]
    OutOfMemory {
        /// What it was doing.
        what: &'static str,
    },
    /// The render was ended from outside.
    #[error("interrupted")]
    Interrupted,
    /// A tensor operation failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// The numbers that networks compute with. Noise, guidance and updates are always in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits, of which 5 for the exponent.
    F16,
    /// 16 bits, of which 8 for the exponent.
    BF16,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::BF16];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
        }
    }

    /// The precision of this word.
    pub fn from_name(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.name() == word)
    }

    /// What a device computes in where nobody says otherwise: graphics cards are made for 16 bits.
    pub fn usual_on(device: &Device) -> Self {
        if device.is_cpu() { Self::F32 } else { Self::F16 }
    }
}

/// Where the weights of each part are. A part that is cut into shards has several.
#[derive(Debug, Clone, Default)]
pub struct ModelWeights {
    /// The U-Net's.
    pub unet: Vec<Weights>,
    /// The text encoder's.
    pub text_encoder: Vec<Weights>,
    /// The second text encoder's, if there is one.
    pub text_encoder_2: Vec<Weights>,
    /// The autoencoder's.
    pub vae: Vec<Weights>,
    /// The LoRAs that are merged into the others, in this order.
    pub loras: Vec<LoraFile>,
}

/// The networks of a model that paint, their weights in memory. Its text encoders are [`texts::TextEncoders`].
pub struct Model {
    /// From latents, timestep and vectors to a noise estimate.
    pub unet: UNet,
    /// From latents to pixels.
    pub decoder: Decoder,
}

impl Model {
    /// Builds the networks that `card` describes and reads their weights. The decoder stays in f32 where its card says that
    /// it overflows in half precision.
    pub fn load(card: &Card, weights: &ModelWeights, loading: &Loading<'_>) -> Result<Self, EngineError> {
        Self::read(card, weights, loading).map_err(|error| error.while_doing("the model's weights"))
    }

    fn read(card: &Card, weights: &ModelWeights, loading: &Loading<'_>) -> Result<Self, EngineError> {
        let unet = Checkpoint::open(&weights.unet)?;
        let loras = Loras::open(weights)?;
        let tensors = unet.tensors().patched(loras.patches(Part::UNet));
        let unet = UNet::new(&card.unet, &tensors.parameters("unet", loading))?;
        let upcast = card.autoencoder.force_upcast();
        let precision = if upcast { Precision::F32 } else { loading.precision };
        let decoder = Self::decoder(&card.autoencoder, &weights.vae, &loading.in_precision(precision))?;
        // On a card, which thread uses it next makes no difference then.
        loading.device.synchronize()?;
        Ok(Self { unet, decoder })
    }

    /// The decoder alone.
    fn decoder(card: &AutoencoderCard, weights: &[Weights], loading: &Loading<'_>) -> Result<Decoder, EngineError> {
        let vae = Checkpoint::open(weights)?;
        Decoder::new(card, &vae.tensors().parameters("vae", loading))
    }
}
