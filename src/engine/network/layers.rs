//! The layers that everything is made of, each by the machine's own kernels or, on other devices and in other types, by
//! candle's operations.

use std::sync::Arc;

use candle_core::{D, Result, Tensor};

use super::Built;
use crate::engine::checkpoint::Parameters;
pub(super) use crate::engine::fused::wide;
use crate::engine::fused::{self, Finish};
use crate::engine::kernel::{self, Geometry, Isa};
pub(super) use crate::engine::kernel::{After, Moments};

/// y = x W^T + b over the last dimension.
#[derive(Clone)]
pub(super) enum Linear {
    Packed(Arc<kernel::Linear>),
    Plain {
        /// `[out, in]`.
        weight: Tensor,
        bias: Option<Tensor>,
    },
}

impl Linear {
    pub(super) fn new(inputs: usize, outputs: usize, at: &Parameters) -> Built<Self> {
        at.layer(|| {
            let (weight, bias) = (at.get((outputs, inputs), "weight")?, at.get(outputs, "bias")?);
            Ok(Self::from_tensors(&weight, Some(bias), at.isa())?)
        })
    }

    pub(super) fn without_bias(inputs: usize, outputs: usize, at: &Parameters) -> Built<Self> {
        at.layer(|| Ok(Self::from_tensors(&at.get((outputs, inputs), "weight")?, None, at.isa())?))
    }

    /// A 1x1 convolution's weights as a layer over channels-last vectors.
    pub(super) fn from_convolution(inputs: usize, outputs: usize, at: &Parameters) -> Built<Self> {
        at.layer(|| {
            let weight = at.get((outputs, inputs, 1, 1), "weight")?.reshape((outputs, inputs))?;
            Ok(Self::from_tensors(&weight, Some(at.get(outputs, "bias")?), at.isa())?)
        })
    }

    /// Several layers with the same input as one, their outputs one after another.
    pub(super) fn side_by_side(width: usize, biased: bool, at: &[Parameters]) -> Built<Self> {
        Parameters::layer_of(at, || {
            let weights = at.iter().map(|at| at.get((width, width), "weight")).collect::<Built<Vec<_>>>()?;
            let bias = if biased {
                let biases = at.iter().map(|at| at.get(width, "bias")).collect::<Built<Vec<_>>>()?;
                Some(Tensor::cat(&biases, 0)?)
            } else {
                None
            };
            Ok(Self::from_tensors(&Tensor::cat(&weights, 0)?, bias, at[0].isa())?)
        })
    }

    /// From `[out, in]` and `[out]`.
    fn from_tensors(weight: &Tensor, bias: Option<Tensor>, isa: Option<Isa>) -> Result<Self> {
        Ok(match isa {
            Some(isa) => Self::Packed(kernel::Linear::new(isa, weight, bias.as_ref())?.into()),
            None => Self::Plain { weight: weight.clone(), bias },
        })
    }

    /// `[.., in]` to `[.., out]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Packed(layer) => layer.forward(x, After::default()),
            Self::Plain { weight, bias } => fused::finished_last(&product(x, weight)?, bias.as_ref(), None),
        }
    }

    /// Plus `residual`, which may have a single row for all rows.
    pub(super) fn forward_added(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        match self {
            Self::Packed(layer) => layer.forward(x, After { residual: Some(residual), ..After::default() }),
            Self::Plain { weight, bias } => fused::finished_last(&product(x, weight)?, bias.as_ref(), Some(residual)),
        }
    }
}

/// x W^T over the last dimension.
fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let inputs = shape.pop().unwrap_or(1);
    shape.push(weight.dim(0)?);
    let y = computable(&x.reshape(((), inputs))?)?.matmul(&computable(weight)?.t()?)?;
    y.to_dtype(x.dtype())?.reshape(shape)
}

/// a * gelu(g) with `[a, g]` = x W^T + b over the last dimension.
#[derive(Clone)]
pub(super) enum GatedLinear {
    Packed(Arc<kernel::Linear>),
    /// On the CPU, where the halves by themselves take less memory.
    Halves {
        value: Linear,
        gate: Linear,
    },
    /// On a graphics card: one product, `[2 out, in]` and `[2 out]`.
    Whole {
        weight: Tensor,
        bias: Tensor,
    },
}

impl GatedLinear {
    /// `outputs` counts the values alone.
    pub(super) fn new(inputs: usize, outputs: usize, at: &Parameters) -> Built<Self> {
        at.layer(|| {
            let (weight, bias) = (at.get((2 * outputs, inputs), "weight")?, at.get(2 * outputs, "bias")?);
            if let Some(isa) = at.isa() {
                return Ok(Self::Packed(kernel::Linear::gated(isa, &weight, Some(&bias))?.into()));
            }
            if !at.device().is_cpu() {
                return Ok(Self::Whole { weight, bias });
            }
            let half = |start| {
                Linear::from_tensors(&weight.narrow(0, start, outputs)?, Some(bias.narrow(0, start, outputs)?), None)
            };
            Ok(Self::Halves { value: half(0)?, gate: half(outputs)? })
        })
    }

    /// `[.., in]` to `[.., out]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Packed(layer) => layer.forward(x, After::default()),
            Self::Halves { value, gate } => value.forward(x)? * gate.forward(x)?.gelu_erf()?,
            Self::Whole { weight, bias } => fused::gated(&product(x, weight)?, bias),
        }
    }
}

/// A two-dimensional convolution.
#[derive(Clone)]
pub(super) enum Conv2d {
    Packed(Arc<kernel::Conv2d>),
    Plain {
        kernel: Kernel,
        /// `[out]`.
        bias: Option<Tensor>,
    },
}

/// A convolution's weights, laid out for the way in which it is computed.
#[derive(Clone)]
pub(super) enum Kernel {
    /// `[out, in]`: a matrix product at each place.
    Point(Tensor),
    /// `[out, size * size * in]`, stride 1: one matrix product with all patches.
    Patches { weight: Tensor, size: usize, padding: usize },
    /// `[out, in, size, size]`: candle's convolution.
    Direct { weight: Tensor, geometry: Geometry },
}

impl Conv2d {
    /// With as much padding as keeps the size.
    pub(super) fn new(inputs: usize, outputs: usize, size: usize, at: &Parameters) -> Built<Self> {
        Self::load([outputs, inputs], Geometry { size, stride: 1, padding: (size / 2, size / 2) }, true, at)
    }

    /// With as much padding as keeps the size.
    pub(super) fn without_bias(inputs: usize, outputs: usize, size: usize, at: &Parameters) -> Built<Self> {
        Self::load([outputs, inputs], Geometry { size, stride: 1, padding: (size / 2, size / 2) }, false, at)
    }

    /// With a stride of 2; `padding` before the first pixel and behind the last.
    pub(super) fn halving(channels: usize, size: usize, padding: (usize, usize), at: &Parameters) -> Built<Self> {
        Self::load([channels; 2], Geometry { size, stride: 2, padding }, true, at)
    }

    fn load([outputs, inputs]: [usize; 2], geometry: Geometry, biased: bool, at: &Parameters) -> Built<Self> {
        at.layer(|| {
            let weight = at.get((outputs, inputs, geometry.size, geometry.size), "weight")?;
            let bias = biased.then(|| at.get(outputs, "bias")).transpose()?;
            Ok(Self::from_tensors(&weight, bias, geometry, at.isa())?)
        })
    }

    fn from_tensors(weight: &Tensor, bias: Option<Tensor>, geometry: Geometry, isa: Option<Isa>) -> Result<Self> {
        if let Some(isa) = isa {
            return Ok(Self::Packed(kernel::Conv2d::new(isa, weight, bias.as_ref(), geometry)?.into()));
        }
        let (outputs, inputs, size, _) = weight.dims4()?;
        let kernel = if size == 1 {
            Kernel::Point(weight.reshape((outputs, inputs))?)
        } else if weight.device().is_cpu() && geometry.stride == 1 {
            // The place in the kernel first, so that the patches of a place are blocks to copy.
            let weight = weight.permute((0, 2, 3, 1))?.reshape((outputs, size * size * inputs))?;
            Kernel::Patches { weight, size, padding: geometry.padding.0 }
        } else {
            Kernel::Direct { weight: weight.clone(), geometry }
        };
        Ok(Self::Plain { kernel, bias })
    }

    /// `[rows, in, height, width]` to `[rows, out, height / stride, width / stride]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_and(x, After::default())
    }

    /// The same, and what is to be done to the outputs.
    pub(super) fn forward_and(&self, x: &Tensor, after: After<'_>) -> Result<Tensor> {
        self.forward_part(x, (0, 0), after)
    }

    /// The same without so many lines of the outputs above and below.
    pub(super) fn forward_part(&self, x: &Tensor, left_out: (usize, usize), after: After<'_>) -> Result<Tensor> {
        match self {
            Self::Packed(layer) => layer.forward(x, None, left_out, after),
            Self::Plain { kernel, bias } => {
                let shift = after.shift.map(|shift| shift.unsqueeze(0)).transpose()?;
                let finish =
                    Finish { bias: bias.as_ref(), shift: shift.as_ref(), residual: after.residual, relu: after.relu };
                let mut y = kernel.forward(x)?;
                if left_out != (0, 0) {
                    y = y.narrow(2, left_out.0, y.dim(2)? - left_out.0 - left_out.1)?.contiguous()?;
                }
                fused::finished(&y, finish)
            }
        }
    }

    /// [`Self::forward`] plus a number for each row and channel, `[rows, out]`, of which a single row stands for all; `x` may have a
    /// single row, too.
    pub(super) fn forward_shifted(&self, x: &Tensor, shifts: &Tensor) -> Result<Tensor> {
        match self {
            // Of all rows alike: done while the convolution's outputs are at hand.
            _ if shifts.dim(0)? == 1 => {
                self.forward_and(x, After { shift: Some(&shifts.squeeze(0)?), ..After::default() })
            }
            Self::Packed(_) => shift_rows(&self.forward(x)?, shifts),
            Self::Plain { kernel, bias } => {
                let y = expand_rows(&kernel.forward(x)?, shifts.dim(0)?)?;
                fused::finished(&y, Finish { bias: bias.as_ref(), shift: Some(shifts), ..Finish::default() })
            }
        }
    }

    /// Of `x` enlarged to `size` (height, width), or to twice its size, by nearest neighbours; without so many lines of the
    /// outputs above and below.
    pub(super) fn forward_enlarged(
        &self,
        x: &Tensor,
        size: Option<(usize, usize)>,
        left_out: (usize, usize),
    ) -> Result<Tensor> {
        let size = size.unwrap_or((2 * x.dim(D::Minus2)?, 2 * x.dim(D::Minus1)?));
        match self {
            Self::Packed(layer) => layer.forward(x, Some(size), left_out, After::default()),
            Self::Plain { .. } => self.forward_part(&x.upsample_nearest2d(size.0, size.1)?, left_out, After::default()),
        }
    }
}

impl Kernel {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Point(weight) => {
                let (outputs, inputs) = weight.dims2()?;
                let (rows, _, height, width) = x.dims4()?;
                let weight = weight.unsqueeze(0)?.broadcast_as((rows, outputs, inputs))?;
                let y = computable(&weight)?.matmul(&computable(&x.flatten_from(2)?)?)?.to_dtype(x.dtype())?;
                y.reshape((rows, outputs, height, width))
            }
            Self::Patches { weight, size, padding } => convolve_by_matmul(x, weight, *size, *padding),
            Self::Direct { weight, geometry: Geometry { stride, padding: (before, behind), .. } } => {
                let (dtype, x, weight) = (x.dtype(), computable(x)?, computable(weight)?);
                let y = if before == behind {
                    x.conv2d(&weight, *before, *stride, 1, 1)?
                } else {
                    let x = x.pad_with_zeros(2, *before, *behind)?.pad_with_zeros(3, *before, *behind)?;
                    x.conv2d(&weight, 0, *stride, 1, 1)?
                };
                y.to_dtype(dtype)
            }
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
    let (dtype, x, weight) = (x.dtype(), computable(x)?, computable(weight)?);
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
        let y = weight.matmul(&patches)?.to_dtype(dtype)?;
        strips.push(y.reshape((outputs, rows, length, out_width))?);
    }
    let y = if strips.len() == 1 { strips.remove(0) } else { Tensor::cat(&strips, 2)? };
    y.transpose(0, 1)?.contiguous()
}

/// Normalisation over groups of channels and all places, then a scale and a shift for each channel
/// (Wu and He, arXiv 1803.08494).
pub(super) struct GroupNorm {
    groups: usize,
    kind: GroupNormKind,
}

enum GroupNormKind {
    Packed(kernel::Norm),
    Plain {
        epsilon: f64,
        /// `[channels]`.
        scale: Tensor,
        /// `[channels]`.
        shift: Tensor,
    },
}

impl GroupNorm {
    pub(super) fn new(groups: usize, channels: usize, epsilon: f64, at: &Parameters) -> Built<Self> {
        let (scale, shift) = (at.get(channels, "weight")?, at.get(channels, "bias")?);
        let kind = match at.isa() {
            Some(isa) => GroupNormKind::Packed(kernel::Norm::new(isa, epsilon, &scale, &shift)?),
            None => GroupNormKind::Plain { epsilon, scale, shift },
        };
        Ok(Self { groups, kind })
    }

    /// `[rows, channels, height, width]` to the same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.normed(x, false)
    }

    /// The same and then silu.
    pub(super) fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        self.normed(x, true)
    }

    fn normed(&self, x: &Tensor, activated: bool) -> Result<Tensor> {
        match &self.kind {
            GroupNormKind::Packed(norm) => norm.group(x, self.groups, activated),
            GroupNormKind::Plain { epsilon, scale, shift } => {
                fused::group_norm(x, self.groups, *epsilon, scale, shift, activated)
            }
        }
    }

    /// The moments of a part of a picture, `[1, channels, height, width]`.
    pub(super) fn moments(&self, x: &Tensor) -> Result<Moments> {
        match &self.kind {
            GroupNormKind::Packed(norm) => Ok(norm.moments(x)?.remove(0)),
            GroupNormKind::Plain { .. } => {
                let channels = wide(&x.flatten_from(2)?.squeeze(0)?)?;
                let (_, pixels) = channels.dims2()?;
                let mean = (channels.sum_keepdim(1)? / pixels as f64)?;
                let squares: Vec<f32> = channels.broadcast_sub(&mean)?.sqr()?.sum(1)?.to_vec1()?;
                let means: Vec<f32> = mean.flatten_all()?.to_vec1()?;
                let both = means.iter().zip(&squares).map(|(mean, squares)| (f64::from(*mean), f64::from(*squares)));
                Ok(Moments::new(pixels, both.collect()))
            }
        }
    }

    /// Of parts of a picture, one below the other, by the moments of the whole, and then silu.
    pub(super) fn forward_silu_by(&self, parts: &[&Tensor], moments: &Moments) -> Result<Tensor> {
        match &self.kind {
            GroupNormKind::Packed(norm) => norm.group_joined(parts, moments, self.groups, true),
            GroupNormKind::Plain { epsilon, scale, shift } => {
                let x = &join_rows(parts)?;
                let column = |values: Vec<f32>| Tensor::new(values, x.device())?.reshape((1, (), 1, 1));
                let (means, factors): (Vec<f32>, Vec<f32>) =
                    moments.of_groups(self.groups, *epsilon).map(|(m, f)| (m as f32, f as f32)).unzip();
                let normed = wide(x)?.broadcast_sub(&column(means)?)?.broadcast_mul(&column(factors)?)?;
                let normed = normed.to_dtype(x.dtype())?;
                let column = |numbers: &Tensor| numbers.reshape((1, (), 1, 1));
                normed.broadcast_mul(&column(scale)?)?.broadcast_add(&column(shift)?)?.silu()
            }
        }
    }
}

/// Normalisation over the last dimension, then a scale and a shift for each of its places (arXiv 1607.06450).
pub(super) enum LayerNorm {
    Packed(kernel::Norm),
    Plain(candle_nn::LayerNorm),
}

impl LayerNorm {
    pub(super) fn new(width: usize, epsilon: f64, at: &Parameters) -> Built<Self> {
        let (scale, shift) = (at.get(width, "weight")?, at.get(width, "bias")?);
        Ok(match at.isa() {
            Some(isa) => Self::Packed(kernel::Norm::new(isa, epsilon, &scale, &shift)?),
            None => Self::Plain(candle_nn::LayerNorm::new(scale, shift, epsilon)),
        })
    }

    /// `[.., width]` to the same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Packed(norm) => norm.layer(x),
            Self::Plain(norm) => candle_nn::Module::forward(norm, x),
        }
    }
}

/// Numbers as products take them: on the CPU those of half precision as f32, as candle's products of them are slow (f16) or
/// missing (bf16). What is stored and passed on stays half as large, and sums are exact.
pub(super) fn computable(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { wide(x) } else { Ok(x.clone()) }
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

/// A picture `[1 or rows, channels, height, width]` plus a number for each row and channel, `[rows, channels]`.
fn shift_rows(x: &Tensor, shifts: &Tensor) -> Result<Tensor> {
    x.permute((0, 2, 3, 1))?.broadcast_add(&shifts.unsqueeze(1)?.unsqueeze(1)?)?.permute((0, 3, 1, 2))
}

/// A picture `[rows, channels, height, width]` as positions `[rows, height * width, channels]`.
pub(super) fn positions(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 2, 3, 1))?.flatten(1, 2)?.contiguous()
}

/// Positions as a picture that lies in memory as the picture `like` does, and has its size.
pub(super) fn picture(positions: &Tensor, like: &Tensor) -> Result<Tensor> {
    let (_, channels, height, width) = like.dims4()?;
    let x = positions.reshape(((), height, width, channels))?.permute((0, 3, 1, 2))?;
    if like.is_contiguous() { x.contiguous() } else { Ok(x) }
}

/// The channels of `x`, then those of `skip`, of which a single row stands for all rows.
pub(super) fn join_channels(x: &Tensor, skip: &Tensor) -> Result<Tensor> {
    let skip = expand_rows(skip, x.dim(0)?)?;
    if x.is_contiguous() {
        return Tensor::cat(&[x, &skip.contiguous()?], 1);
    }
    // Channels last.
    Tensor::cat(&[kernel::channels_last(x)?, kernel::channels_last(&skip)?], 3)?.permute((0, 3, 1, 2))
}

/// Pictures of one width, one below the other, as the first lies in memory.
pub(super) fn join_rows(parts: &[&Tensor]) -> Result<Tensor> {
    match parts {
        [whole] => Ok((*whole).clone()),
        [first, ..] if first.stride()[1] == 1 => {
            let parts = parts.iter().map(|part| kernel::channels_last(part)).collect::<Result<Vec<_>>>()?;
            Tensor::cat(&parts, 1)?.permute((0, 3, 1, 2))
        }
        _ => {
            let parts = parts.iter().map(|part| part.contiguous()).collect::<Result<Vec<_>>>()?;
            Tensor::cat(&parts, 2)
        }
    }
}
