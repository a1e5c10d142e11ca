//! What is known of a model without tensors: where its files are, what its JSON says, how its tokenizer cuts text.

pub mod card;
pub mod embedded;
pub mod emphasis;
pub mod files;
pub mod header;
pub mod hub;
pub mod lora;
#[cfg(feature = "engine")]
pub mod prompt;
pub mod single_file;
#[cfg(feature = "engine")]
pub mod tokenizer;
pub mod training;
