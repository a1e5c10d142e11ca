//! Residual blocks, and the steps between levels.

use candle_core::{Result, Tensor};

use super::Built;
use super::layers::{After, Conv2d, GroupNorm, Linear};
use super::strips::Strips;
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

    /// `x` `[1 or rows, inputs, height, width]` and `time`, the activated embedding `[1 or rows, time width]`, to
    /// `[rows, outputs, height, width]`.
    pub(super) fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Result<Tensor> {
        let time = match (&self.time, time) {
            (Some(project), Some(time)) => Some(project.forward(time)?),
            _ => None,
        };
        let normed = self.norm1.forward_silu(x)?;
        let hidden = match &time {
            Some(shifts) => self.conv1.forward_shifted(&normed, shifts)?,
            None => self.conv1.forward(&normed)?,
        };
        let residual = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x)?,
            None => x.clone(),
        };
        let after = After { residual: Some(&residual), ..After::default() };
        let sum = self.conv2.forward_and(&self.norm2.forward_silu(&hidden)?, after)?;
        self.scaled(sum)
    }

    /// The same without a time, of a picture in strips.
    pub(super) fn forward_strips(&self, x: Strips) -> Result<Strips> {
        if let Some(whole) = x.on_card() {
            return Ok(Strips::one(self.forward(whole, None)?, x.bytes()));
        }
        let hidden = x.normed_and_convolved(&self.norm1, &self.conv1)?;
        let moments = hidden.moments(&self.norm2)?;
        hidden.merge(x, |hidden, x| {
            let residual = match &self.shortcut {
                Some(shortcut) => shortcut.forward(&x.own)?,
                None => x.own,
            };
            let normed = self.norm2.forward_silu_by(&hidden.parts(), &moments)?;
            let after = After { residual: Some(&residual), ..After::default() };
            self.scaled(self.conv2.forward_part(&normed, hidden.left_out(1), after)?)
        })
    }

    fn scaled(&self, sum: Tensor) -> Result<Tensor> {
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
        // Without padding, a line below and a column to the right only.
        let sides = if padding == 0 { (0, 1) } else { (padding, padding) };
        let conv = Conv2d::halving(channels, 3, sides, &at.pp("conv"))?;
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
        }
        self.conv.forward(x)
    }
}

/// Twice the size (or the given height and width) by nearest neighbours, then a convolution.
pub(super) struct Upsample(Conv2d);

impl Upsample {
    pub(super) fn new(channels: usize, at: &Parameters) -> Built<Self> {
        Ok(Self(Conv2d::new(channels, channels, 3, &at.pp("conv"))?))
    }

    pub(super) fn forward(&self, x: &Tensor, size: Option<(usize, usize)>) -> Result<Tensor> {
        self.0.forward_enlarged(x, size, (0, 0))
    }

    /// Twice the size, of a picture in strips.
    pub(super) fn forward_strips(&self, x: Strips) -> Result<Strips> {
        x.enlarged_and_convolved(&self.0)
    }
}
