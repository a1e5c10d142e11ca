//! Everything that touches tensors. It is told what to do by plain values (a card, a plan) and knows no recipe.

pub mod checkpoint;
pub mod guidance;
pub mod kernel;
pub mod network;
pub mod noise;
pub mod preview;
pub mod render;
pub mod sampler;

use candle_core::{DType, Device};

use crate::model::card::Card;
use crate::model::files::Weights;
use checkpoint::Checkpoint;
use kernel::Isa;
use network::{Decoder, TextEncoder, UNet};

/// A fault while weights are read or tensors are computed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A weight file cannot be opened.
    #[error("cannot read the weights in `{file}`: {source}")]
    Open {
        /// The file.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A weight file is cut short or is not a safetensors file.
    #[error("`{file}` is incomplete or not a safetensors file ({reason}); fetch it again")]
    Corrupt {
        /// The file.
        file: String,
        /// What the reader says.
        reason: safetensors::SafeTensorError,
    },
    /// The system refuses to map a weight file into memory.
    #[error("cannot map `{file}` into memory: {source}")]
    Map {
        /// The file.
        file: String,
        /// What candle says.
        source: candle_core::Error,
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
    #[error("`{file}`: the tensor `{tensor}` holds {found:?} numbers; weights in F32, F16 or BF16 are supported")]
    WrongType {
        /// The file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// Its type.
        found: safetensors::Dtype,
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
    /// The render was ended from outside.
    #[error("interrupted")]
    Interrupted,
    /// A tensor operation failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// Where the weights of each part are. A part that is cut into shards has several.
#[derive(Debug, Clone)]
pub struct ModelWeights {
    /// The U-Net's.
    pub unet: Vec<Weights>,
    /// The text encoder's.
    pub text_encoder: Vec<Weights>,
    /// The autoencoder's.
    pub vae: Vec<Weights>,
}

/// A model whose weights are in memory.
pub struct Model {
    /// From tokens to vectors.
    pub text: TextEncoder,
    /// From latents, timestep and vectors to a noise estimate.
    pub unet: UNet,
    /// From latents to pixels.
    pub decoder: Decoder,
}

impl Model {
    /// Builds the three networks that `card` describes and reads their weights as numbers of type `dtype`. The decoder
    /// stays in f32 where its card says that it overflows in half precision. In f32 on the CPU the layers use the
    /// kernels of the fastest instruction set that the machine has.
    pub fn load(card: &Card, weights: &ModelWeights, device: &Device, dtype: DType) -> Result<Self, EngineError> {
        Self::load_for(card, weights, device, dtype, Some(Isa::best()))
    }

    /// Like [`load`](Self::load) with the kernels of an instruction set of the caller's choice, or with none: the layers
    /// are then made of candle's operations.
    pub fn load_for(
        card: &Card,
        weights: &ModelWeights,
        device: &Device,
        dtype: DType,
        isa: Option<Isa>,
    ) -> Result<Self, EngineError> {
        let unet = Checkpoint::open(&weights.unet)?;
        let text = Checkpoint::open(&weights.text_encoder)?;
        let vae = Checkpoint::open(&weights.vae)?;
        let decoder_type = if card.autoencoder.force_upcast() { DType::F32 } else { dtype };
        Ok(Self {
            text: TextEncoder::new(&card.text, &text.tensors()?.parameters(device, dtype, isa))?,
            unet: UNet::new(&card.unet, &unet.tensors()?.parameters(device, dtype, isa))?,
            decoder: Decoder::new(&card.autoencoder, &vae.tensors()?.parameters(device, decoder_type, isa))?,
        })
    }
}
