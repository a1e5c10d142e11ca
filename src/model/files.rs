//! Where a model's files are, and their bytes.

use std::path::{Path, PathBuf};

/// The weights of one part of a model.
#[derive(Debug, Clone)]
pub enum Weights {
    /// In the binary.
    Embedded(&'static [u8]),
    /// A `.safetensors` file.
    File(PathBuf),
}
