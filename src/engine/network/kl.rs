//! The decoder of `AutoencoderKL` (Rombach et al., arXiv 2112.10752).

use candle_core::{Result, Tensor};

use super::Built;
use super::attention::{Names, SelfAttention};
use super::layers::{Conv2d, GroupNorm, picture, positions};
use super::resnet::{Resnet, ResnetShape, Upsample};
use super::strips::Strips;
use crate::engine::checkpoint::Parameters;
use crate::engine::limits::Stop;
use crate::model::card::KlCard;

/// The epsilon of every norm in it.
const EPSILON: f64 = 1e-6;

pub(super) struct KlDecoder {
    post_quant: Option<Conv2d>,
    conv_in: Conv2d,
    mid_resnets: [Resnet; 2],
    mid_attention: Option<PlaceAttention>,
    levels: Vec<Level>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

struct Level {
    resnets: Vec<Resnet>,
    upsample: Option<Upsample>,
}

impl KlDecoder {
    pub(super) fn new(card: &KlCard, root: &Parameters) -> Built<Self> {
        let latent = card.latent_channels;
        let shape = ResnetShape { groups: card.groups, epsilon: EPSILON, time_width: None, scale_factor: 1.0 };
        let at = root.pp("decoder");
        let finest = card.channels[0];
        let mut channels = card.channels[card.channels.len() - 1];

        let conv_in = Conv2d::new(latent, channels, 3, &at.pp("conv_in"))?;
        let mid = at.pp("mid_block");
        let mid_resnet = |index: usize| Resnet::new(channels, channels, shape, &mid.pp("resnets").pp(index));
        let mid_resnets = [mid_resnet(0)?, mid_resnet(1)?];
        let mid_attention = card
            .mid_attention
            .then(|| PlaceAttention::new(channels, card.groups, &mid.pp("attentions.0")))
            .transpose()?;

        let mut levels = Vec::with_capacity(card.channels.len());
        for (index, &outputs) in card.channels.iter().rev().enumerate() {
            let at = at.pp("up_blocks").pp(index);
            let resnets = (0..=card.layers)
                .map(|layer| {
                    let inputs = if layer == 0 { channels } else { outputs };
                    Resnet::new(inputs, outputs, shape, &at.pp("resnets").pp(layer))
                })
                .collect::<Built<_>>()?;
            let last = index + 1 == card.channels.len();
            let upsample = (!last).then(|| Upsample::new(outputs, &at.pp("upsamplers.0"))).transpose()?;
            levels.push(Level { resnets, upsample });
            channels = outputs;
        }
        Ok(Self {
            post_quant: card
                .post_quant_conv
                .then(|| Conv2d::new(latent, latent, 1, &root.pp("post_quant_conv")))
                .transpose()?,
            conv_in,
            mid_resnets,
            mid_attention,
            levels,
            norm_out: GroupNorm::new(card.groups, finest, EPSILON, &at.pp("conv_norm_out"))?,
            conv_out: Conv2d::new(finest, card.out_channels, 3, &at.pp("conv_out"))?,
        })
    }

    /// `[1, latent channels, height, width]` to `[1, 3, ..]`, from -1 to 1. What is larger than `strip` bytes is computed
    /// in strips, until `stop`, which is asked between the blocks.
    pub(super) fn forward(&self, latents: &Tensor, strip: usize, stop: Stop<'_>) -> Built<Tensor> {
        let latents = match &self.post_quant {
            Some(conv) => conv.forward(latents)?,
            None => latents.clone(),
        };
        let [before, after] = &self.mid_resnets;
        let mut x = before.forward(&self.conv_in.forward(&latents)?, None)?;
        if let Some(attention) = &self.mid_attention {
            x = attention.forward(&x)?;
        }
        let mut x = Strips::cut(&after.forward(&x, None)?, strip)?;
        for level in &self.levels {
            for resnet in &level.resnets {
                stop.check()?;
                x = resnet.forward_strips(x)?;
            }
            if let Some(upsample) = &level.upsample {
                stop.check()?;
                x = upsample.forward_strips(x)?;
            }
        }
        stop.check()?;
        Ok(x.normed_and_convolved(&self.norm_out, &self.conv_out)?.whole()?)
    }
}

/// Attention of places to each other with a single head, added to what it saw.
struct PlaceAttention {
    norm: GroupNorm,
    attention: SelfAttention,
}

impl PlaceAttention {
    fn new(channels: usize, groups: usize, at: &Parameters) -> Built<Self> {
        let deprecated = at.contains("query.weight");
        let names = if deprecated { Names::DEPRECATED } else { Names::DIFFUSERS };
        Ok(Self {
            norm: GroupNorm::new(groups, channels, EPSILON, &at.pp("group_norm"))?,
            attention: SelfAttention::new(channels, 1, &names, true, at)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let normed = positions(&self.norm.forward(x)?)?;
        picture(&self.attention.forward_added(&normed, &positions(x)?)?, x)
    }
}
