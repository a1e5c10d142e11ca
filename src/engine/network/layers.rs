//! The layers that everything is made of.

use candle_core::{D, DType, Result, Tensor};

use super::Built;
use crate::engine::checkpoint::Parameters;

/// y = x W^T + b over the last dimension.
pub(super) struct Linear {
    /// `[in, out]`, a view of the stored `[out, in]`.
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub(super) fn new(inputs: usize, outputs: usize, at: &Parameters) -> Built<Self> {
        let unbiased = Self::without_bias(inputs, outputs, at)?;
        Ok(Self { bias: Some(at.get(outputs, "bias")?), ..unbiased })
    }

    pub(super) fn without_bias(inputs: usize, outputs: usize, at: &Parameters) -> Built<Self> {
        Ok(Self { weight: at.get((outputs, inputs), "weight")?.t()?, bias: None })
    }

    /// A 1x1 convolution's weights as a layer over channels-last vectors.
    pub(super) fn from_convolution(inputs: usize, outputs: usize, at: &Parameters) -> Built<Self> {
        let weight = at.get((outputs, inputs, 1, 1), "weight")?.reshape((outputs, inputs))?.t()?;
        Ok(Self { weight, bias: Some(at.get(outputs, "bias")?) })
    }

    /// Two layers that share this one's outputs between them, first half and second half.
    pub(super) fn halves(self) -> Result<(Self, Self)> {
        let half = self.weight.dim(1)? / 2;
        let part = |start| -> Result<Self> {
            let bias = self.bias.as_ref().map(|bias| bias.narrow(0, start, half)).transpose()?;
            Ok(Self { weight: self.weight.narrow(1, start, half)?, bias })
        };
        Ok((part(0)?, part(half)?))
    }

    /// `[.., in]` to `[.., out]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let inputs = shape.pop().unwrap_or(1);
        shape.push(self.weight.dim(1)?);
        let y = x.reshape(((), inputs))?.matmul(&self.weight)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        y.reshape(shape)
    }
}

/// A two-dimensional convolution.
pub(super) struct Conv2d {
    kernel: Kernel,
    /// `[1, out, 1, 1]`.
    bias: Option<Tensor>,
}

/// A convolution's weights, laid out for the way in which it is computed.
enum Kernel {
    /// `[out, in]`: a matrix product at each place.
    Point(Tensor),
    /// `[out, size * size * in]`, stride 1: one matrix product with all patches.
    Patches { weight: Tensor, size: usize, padding: usize },
    /// `[out, in, size, size]`: candle's convolution.
    Plain { weight: Tensor, stride: usize, padding: usize },
}

impl Conv2d {
    /// With as much padding as keeps the size.
    pub(super) fn new(inputs: usize, outputs: usize, size: usize, at: &Parameters) -> Built<Self> {
        let unbiased = Self::without_bias(inputs, outputs, size, at)?;
        let bias = at.get(outputs, "bias")?.reshape((1, outputs, 1, 1))?;
        Ok(Self { bias: Some(bias), ..unbiased })
    }

    /// With as much padding as keeps the size.
    pub(super) fn without_bias(inputs: usize, outputs: usize, size: usize, at: &Parameters) -> Built<Self> {
        let weight = at.get((outputs, inputs, size, size), "weight")?;
        let padding = size / 2;
        let kernel = if size == 1 {
            Kernel::Point(weight.reshape((outputs, inputs))?)
        } else if weight.device().is_cpu() {
            // The place in the kernel first, so that the patches of a place are blocks to copy.
            let weight = weight.permute((0, 2, 3, 1))?.reshape((outputs, size * size * inputs))?;
            Kernel::Patches { weight, size, padding }
        } else {
            Kernel::Plain { weight, stride: 1, padding }
        };
        Ok(Self { kernel, bias: None })
    }

    /// With a stride of 2.
    pub(super) fn halving(channels: usize, size: usize, padding: usize, at: &Parameters) -> Built<Self> {
        let weight = at.get((channels, channels, size, size), "weight")?;
        let bias = at.get(channels, "bias")?.reshape((1, channels, 1, 1))?;
        Ok(Self { kernel: Kernel::Plain { weight, stride: 2, padding }, bias: Some(bias) })
    }

    /// `[rows, in, height, width]` to `[rows, out, height / stride, width / stride]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.forward_unbiased(x)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }

    /// Without the bias, plus `shift` `[1, out, 1, 1]` and the bias in one go.
    pub(super) fn forward_shifted(&self, x: &Tensor, shift: &Tensor) -> Result<Tensor> {
        let shift = match &self.bias {
            Some(bias) => (bias + shift)?,
            None => shift.clone(),
        };
        self.forward_unbiased(x)?.broadcast_add(&shift)
    }

    fn forward_unbiased(&self, x: &Tensor) -> Result<Tensor> {
        match &self.kernel {
            Kernel::Point(weight) => {
                let (outputs, inputs) = weight.dims2()?;
                let (rows, _, height, width) = x.dims4()?;
                let weight = weight.unsqueeze(0)?.broadcast_as((rows, outputs, inputs))?;
                weight.matmul(&x.flatten_from(2)?)?.reshape((rows, outputs, height, width))
            }
            Kernel::Patches { weight, size, padding } => convolve_by_matmul(x, weight, *size, *padding),
            Kernel::Plain { weight, stride, padding } => x.conv2d(weight, *padding, *stride, 1, 1),
        }
    }
}

/// Elements of the matrix of patches that exist at once; larger pictures are taken in strips.
const PATCHES: usize = 1 << 21;

/// A convolution of stride 1 as one product of the kernels with a matrix of patches, several times as fast on a CPU as
/// candle's own. `x` is `[rows, in, height, width]`, `weight` `[out, kernel * kernel * in]`.
fn convolve_by_matmul(x: &Tensor, weight: &Tensor, kernel: usize, padding: usize) -> Result<Tensor> {
    let (rows, inputs, height, width) = x.dims4()?;
    let outputs = weight.dim(0)?;
    let out_height = height + 2 * padding + 1 - kernel;
    let out_width = width + 2 * padding + 1 - kernel;
    // Channels first: the patches of all rows then make one matrix.
    let x =
        x.transpose(0, 1)?.contiguous()?.pad_with_zeros(2, padding, padding)?.pad_with_zeros(3, padding, padding)?;

    let strip = (PATCHES / (kernel * kernel * inputs * rows * out_width)).clamp(1, out_height);
    let mut strips = Vec::with_capacity(out_height.div_ceil(strip));
    for start in (0..out_height).step_by(strip) {
        let length = strip.min(out_height - start);
        let mut places = Vec::with_capacity(kernel * kernel);
        for y in 0..kernel {
            let lines = x.narrow(2, start + y, length)?;
            for x in 0..kernel {
                places.push(lines.narrow(3, x, out_width)?);
            }
        }
        let patches = Tensor::cat(&places, 0)?.reshape((kernel * kernel * inputs, rows * length * out_width))?;
        strips.push(weight.matmul(&patches)?.reshape((outputs, rows, length, out_width))?);
    }
    let y = if strips.len() == 1 { strips.remove(0) } else { Tensor::cat(&strips, 2)? };
    y.transpose(0, 1)?.contiguous()
}

/// Normalisation over groups of channels and all places, then a scale and a shift for each channel
/// (Wu and He, arXiv 1803.08494).
pub(super) struct GroupNorm {
    groups: usize,
    epsilon: f64,
    /// `[1, channels, 1]`.
    scale: Tensor,
    /// `[1, channels, 1]`.
    shift: Tensor,
}

impl GroupNorm {
    pub(super) fn new(groups: usize, channels: usize, epsilon: f64, at: &Parameters) -> Built<Self> {
        let scale = at.get(channels, "weight")?.reshape((1, channels, 1))?;
        let shift = at.get(channels, "bias")?.reshape((1, channels, 1))?;
        Ok(Self { groups, epsilon, scale, shift })
    }

    /// `[rows, channels, ..]` to the same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, channels) = (x.dim(0)?, x.dim(1)?);
        let count = x.elem_count() / (rows * self.groups);
        // Sums of half-precision numbers overflow.
        let grouped = wide(&x.reshape((rows, self.groups, count))?)?;
        let mean = (grouped.sum_keepdim(2)? / count as f64)?;
        let centred = grouped.broadcast_sub(&mean)?;
        let variance = (centred.sqr()?.sum_keepdim(2)? / count as f64)?;
        let factor = (variance + self.epsilon)?.sqrt()?.recip()?;
        let normed = centred.broadcast_mul(&factor)?.to_dtype(x.dtype())?.reshape((rows, channels, ()))?;
        normed.broadcast_mul(&self.scale)?.broadcast_add(&self.shift)?.reshape(x.shape())
    }
}

/// Normalisation over the last dimension, then a scale and a shift for each of its places (arXiv 1607.06450).
pub(super) struct LayerNorm(candle_nn::LayerNorm);

impl LayerNorm {
    pub(super) fn new(width: usize, epsilon: f64, at: &Parameters) -> Built<Self> {
        Ok(Self(candle_nn::LayerNorm::new(at.get(width, "weight")?, at.get(width, "bias")?, epsilon)))
    }

    /// `[.., width]` to the same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::Module::forward(&self.0, x)
    }
}

/// Half-precision numbers as f32.
pub(super) fn wide(x: &Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.to_dtype(DType::F32),
        _ => Ok(x.clone()),
    }
}

/// Every pixel becomes a square of 2x2, or as much as fills `size` (height, width): nearest neighbours.
pub(super) fn upsample(x: &Tensor, size: Option<(usize, usize)>) -> Result<Tensor> {
    let (height, width) = size.unwrap_or((2 * x.dim(D::Minus2)?, 2 * x.dim(D::Minus1)?));
    x.upsample_nearest2d(height, width)
}

/// As many rows as `rows`: a single row stands for all.
pub(super) fn expand_rows(x: &Tensor, rows: usize) -> Result<Tensor> {
    if x.dim(0)? == rows {
        return Ok(x.clone());
    }
    let mut shape = x.dims().to_vec();
    shape[0] = rows;
    x.broadcast_as(shape)
}
