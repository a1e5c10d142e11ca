//! The decoder of `AutoencoderTiny`: TAESD, by Ollin Boer Bohan.

use candle_core::{Result, Tensor};

use super::Built;
use super::layers::{After, Conv2d};
use crate::engine::checkpoint::Parameters;
use crate::model::card::TinyCard;

/// Latents are squeezed softly into -3 to 3 first.
const RANGE: f64 = 3.0;

const RELU: After<'static> = After { shift: None, residual: None, relu: true };

pub(super) struct TinyDecoder {
    conv_in: Conv2d,
    stages: Vec<Stage>,
}

/// Residual blocks, then twice the size unless it is the last stage, then a convolution.
struct Stage {
    blocks: Vec<Block>,
    last: bool,
    conv: Conv2d,
}

impl TinyDecoder {
    pub(super) fn new(card: &TinyCard, root: &Parameters) -> Built<Self> {
        let at = root.pp("decoder.layers");
        let channels = card.channels;
        let conv_in = Conv2d::new(card.latent_channels, channels, 3, &at.pp(0))?;
        // The checkpoint numbers all layers in one row, those without weights too: 1 is the first activation.
        let mut number = 2;
        let mut stages = Vec::with_capacity(card.stages.len());
        for (index, &count) in card.stages.iter().enumerate() {
            let last = index + 1 == card.stages.len();
            let blocks = (number..number + count).map(|n| Block::new(channels, &at.pp(n))).collect::<Built<_>>()?;
            number += count + usize::from(!last);
            let conv = if last {
                Conv2d::new(channels, card.out_channels, 3, &at.pp(number))?
            } else {
                Conv2d::without_bias(channels, channels, 3, &at.pp(number))?
            };
            number += 1;
            stages.push(Stage { blocks, last, conv });
        }
        Ok(Self { conv_in, stages })
    }

    /// `[rows, latent channels, height, width]` to `[rows, 3, ..]`, from -1 to 1.
    pub(super) fn forward(&self, latents: &Tensor) -> Result<Tensor> {
        let latents = ((latents / RANGE)?.tanh()? * RANGE)?;
        let mut x = self.conv_in.forward_and(&latents, RELU)?;
        for stage in &self.stages {
            for block in &stage.blocks {
                x = block.forward(&x)?;
            }
            x = if stage.last { stage.conv.forward(&x)? } else { stage.conv.forward_enlarged(&x, None, (0, 0))? };
        }
        x.affine(2.0, -1.0)
    }
}

/// relu(x + three convolutions of x, with relu between).
struct Block([Conv2d; 3]);

impl Block {
    fn new(channels: usize, at: &Parameters) -> Built<Self> {
        let conv = |index: usize| Conv2d::new(channels, channels, 3, &at.pp("conv").pp(index));
        Ok(Self([conv(0)?, conv(2)?, conv(4)?]))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [first, second, third] = &self.0;
        let hidden = second.forward_and(&first.forward_and(x, RELU)?, RELU)?;
        third.forward_and(&hidden, After { residual: Some(x), ..RELU })
    }
}
