//! One test binary; a file for each stage of the pipeline.

mod adversarial;
mod architecture;
mod artifact;
mod card;
mod cases;
mod changes;
mod check;
mod commands;
#[cfg(feature = "engine")]
mod device;
mod diagnostic;
mod emphasis;
mod explain;
mod files;
mod format;
#[cfg(feature = "engine")]
mod guidance;
mod header;
#[cfg(feature = "hub")]
mod hub;
#[cfg(all(feature = "engine", unix))]
mod kernels;
mod lora;
#[cfg(feature = "engine")]
mod memory;
mod models;
#[cfg(feature = "engine")]
mod network;
#[cfg(feature = "engine")]
mod noise;
mod plan;
#[cfg(feature = "engine")]
mod renders;
#[cfg(feature = "engine")]
mod resume;
#[cfg(feature = "engine")]
mod run;
mod schedulers;
#[cfg(feature = "engine")]
mod single_file;
mod syntax;
#[cfg(feature = "engine")]
mod tokenizer;
#[cfg(feature = "watch")]
mod watch;
