//! What is known of a model without tensors: where its files are, what its JSON says, how its tokenizer cuts text.

pub mod card;
pub mod embedded;
pub mod emphasis;
pub mod files;
pub mod lora;
#[cfg(feature = "engine")]
pub mod prompt;
#[cfg(feature = "engine")]
pub mod tokenizer;
pub mod training;
