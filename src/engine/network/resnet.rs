//! Residual blocks, and the steps between levels.

use candle_core::{Result, Tensor};

use super::Built;
use super::layers::{Conv2d, GroupNorm, Linear, upsample};
use crate::engine::checkpoint::Parameters;

/// What the norms and the time input of residual blocks have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResnetShape {
    /// The groups of the norms.
    pub(super) groups: usize,
    /// The epsilon of the norms.
    pub(super) epsilon: f64,
    /// The width of the timestep's embedding, if the block sees one.
    pub(super) time_width: Option<usize>,
    /// The output is divided by it.
    pub(super) scale_factor: f64,
}

/// x + conv2(silu(norm2(conv1(silu(norm1(x))) + time))), with a 1x1 convolution of x where the channels change.
pub(super) struct Resnet {
    norm1: GroupNorm,
    conv1: Conv2d,
    time: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    shortcut: Option<Conv2d>,
    scale_factor: f64,
}

impl Resnet {
    pub(super) fn new(inputs: usize, outputs: usize, shape: ResnetShape, at: &Parameters) -> Built<Self> {
        let ResnetShape { groups, epsilon, time_width, scale_factor } = shape;
        let time = time_width.map(|width| Linear::new(width, outputs, &at.pp("time_emb_proj"))).transpose()?;
        let shortcut =
            (inputs != outputs).then(|| Conv2d::new(inputs, outputs, 1, &at.pp("conv_shortcut"))).transpose()?;
        Ok(Self {
            norm1: GroupNorm::new(groups, inputs, epsilon, &at.pp("norm1"))?,
            conv1: Conv2d::new(inputs, outputs, 3, &at.pp("conv1"))?,
            time,
            norm2: GroupNorm::new(groups, outputs, epsilon, &at.pp("norm2"))?,
            conv2: Conv2d::new(outputs, outputs, 3, &at.pp("conv2"))?,
            shortcut,
            scale_factor,
        })
    }

    /// `x` `[rows, inputs, height, width]` and `time`, the activated embedding `[1, time width]`, to
    /// `[rows, outputs, height, width]`.
    pub(super) fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Result<Tensor> {
        let hidden = self.norm1.forward(x)?.silu()?;
        let hidden = match (&self.time, time) {
            (Some(project), Some(time)) => {
                let shift = project.forward(time)?.unsqueeze(2)?.unsqueeze(3)?;
                self.conv1.forward_shifted(&hidden, &shift)?
            }
            _ => self.conv1.forward(&hidden)?,
        };
        let hidden = self.conv2.forward(&self.norm2.forward(&hidden)?.silu()?)?;
        let sum = match &self.shortcut {
            Some(shortcut) => (shortcut.forward(x)? + hidden)?,
            None => (x + hidden)?,
        };
        if self.scale_factor == 1.0 { Ok(sum) } else { sum / self.scale_factor }
    }
}

/// A convolution that halves the size: rounding up, or down where the padding is 0.
pub(super) struct Downsample {
    conv: Conv2d,
    padding: usize,
}

impl Downsample {
    pub(super) fn new(channels: usize, padding: usize, at: &Parameters) -> Built<Self> {
        let conv = Conv2d::halving(channels, 3, padding, &at.pp("conv"))?;
        Ok(Self { conv, padding })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.padding == 0 {
            let (_, _, height, width) = x.dims4()?;
            if height < 2 || width < 2 {
                candle_core::bail!(
                    "a side of 1 cannot be halved without padding: the picture is too small for this model"
                )
            }
            // A row below and a column to the right only.
            self.conv.forward(&x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?)
        } else {
            self.conv.forward(x)
        }
    }
}

/// Twice the size (or the given height and width) by nearest neighbours, then a convolution.
pub(super) struct Upsample(Conv2d);

impl Upsample {
    pub(super) fn new(channels: usize, at: &Parameters) -> Built<Self> {
        Ok(Self(Conv2d::new(channels, channels, 3, &at.pp("conv"))?))
    }

    pub(super) fn forward(&self, x: &Tensor, size: Option<(usize, usize)>) -> Result<Tensor> {
        self.0.forward(&upsample(x, size)?)
    }
}
