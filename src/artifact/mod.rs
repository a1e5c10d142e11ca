//! What a render leaves on disk: pictures that carry their recipe, and latents. Files are written whole or not at all.

pub mod png;
mod write;

pub use write::{Existing, Prepared, may_write, write_atomically};

use std::path::PathBuf;

use safetensors::tensor::{Dtype, TensorView};

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The file is there already.
    #[error(
        "`{}` exists and is kept: give another name, replace it with `--force`, or say `overwrite yes` in the recipe",
        path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The folder is not there.
    #[error("cannot write `{}`: there is no folder `{}`; make it or give another name", path.display(), folder.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// The name is that of a folder or a device.
    #[error("cannot write `{}`: it is a folder or a device; give the name of a file", path.display())]
    NotAFile {
        /// The name.
        path: PathBuf,
    },
    /// The file may not be changed.
    #[error("cannot write `{}`: the file is read-only; make it writable or give another name", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full, or the user's share of it.
    #[error("cannot write `{}`: the disk is full; nothing was left behind: free some space or give another place", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses for another reason.
    #[error("cannot write `{}`; nothing was left behind", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// The picture cannot be encoded.
    #[error("cannot encode the picture")]
    Encoding(#[from] ::png::EncodingError),
    /// The latents cannot be encoded.
    #[error("cannot encode the latents")]
    Latents(#[from] safetensors::SafeTensorError),
}

/// A picture of 8-bit sRGB values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Row by row, three values a pixel; `3 * width * height` of them.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// A picture from its red, green and blue planes of values in 0 to 1, one after the other. Values are clamped and
    /// rounded to the nearest of 255 levels, halves to even, as numpy rounds.
    ///
    /// Of `planes` that are too short the missing pixels are black.
    pub fn from_planes(width: usize, height: usize, planes: &[f32]) -> Self {
        let pixels = width * height;
        let level = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
        let value = |plane: usize, pixel: usize| planes.get(plane * pixels + pixel).copied().unwrap_or(0.0);
        let rgb = (0..pixels).flat_map(|pixel| [0, 1, 2].map(|plane| level(value(plane, pixel)))).collect();
        Self { width, height, rgb }
    }
}

/// Latents as a safetensors file: one f32 tensor `latents` of the given shape.
pub fn latents(shape: [usize; 4], values: &[f32]) -> Result<Vec<u8>, ArtifactError> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes)?;
    Ok(safetensors::serialize([("latents", view)], None)?)
}
