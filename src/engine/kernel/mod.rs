//! The layers of the network on the CPU, in f32: as fast as the machine multiplies.
//!
//! Each has a plain twin made of candle's operations in the network's layers, which computes on every device and in
//! every type, and against which it is tested. What makes these faster: weights are packed once into the order in which
//! they are read, inputs are read where they lie, what follows a product is done before its outputs leave the
//! registers, and a product's outer loops keep to the caches. All unsafe code of the crate is here and
//! where kernels for CUDA are launched.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over const bounds that index several arrays are unrolled as they stand"
)]

#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
mod blocks;
mod convolution;
mod grid;
mod math;
mod moments;
mod norm;
mod numbers;
mod pairs;
mod product;
mod reading;
mod simd;
mod stored;
mod strassen;
mod sums;
#[cfg(test)]
mod tests;
mod threads;
mod tiles;
mod winograd;

pub use attention::attention;
pub(super) use blocks::KEPT;
pub use blocks::{BLOCKS, KeepBlocks};
pub use convolution::{After, Conv2d, Geometry, Linear};
pub(super) use moments::Moments;
pub use norm::Norm;
pub(super) use numbers::channels_last;
pub(super) use reading::{Format, read_numbers};
pub use simd::Isa;
