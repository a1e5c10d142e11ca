//! sega: a recipe language and interpreter for Semantic Guidance.

pub mod diagnostic;
#[cfg(feature = "engine")]
pub mod engine;
pub mod model;
pub mod plan;
pub mod quantity;
pub mod recipe;
pub mod source;
pub mod syntax;
