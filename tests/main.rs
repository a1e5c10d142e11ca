//! One test binary; a file for each stage of the pipeline.

mod card;
#[cfg(feature = "engine")]
mod network;
