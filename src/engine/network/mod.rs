//! The networks of latent diffusion, built from a card; the names of their parts are those of the checkpoint.
//!
//! - [`TextEncoder`]: token ids to vectors, `[rows, tokens, width]`.
//! - [`UNet`]: latents, a timestep and vectors to noise estimates, `[rows, 4, height, width]`.
//! - [`Decoder`]: latents to pixels, `[1, 3, 8 height, 8 width]`.
//!
//! They compute what diffusers computes, to the rounding of the sums. No network asks which model it belongs to.

mod attention;
mod condition;
mod decoder;
mod kl;
mod layers;
mod resnet;
mod strips;
mod text;
mod time;
mod tiny;
mod transformer;
mod unet;

use super::EngineError;

/// What building a layer gives; computing with it gives candle's `Result`.
type Built<T> = Result<T, EngineError>;

pub use condition::Condition;
pub use decoder::Decoder;
pub use text::{TextEncoder, TextVectors};
pub use unet::UNet;
