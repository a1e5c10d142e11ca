//! The U-Net (Ronneberger et al., arXiv 1505.04597) with timestep and text (Rombach et al., arXiv 2112.10752).

use candle_core::{DType, Device, Result, Tensor};

use super::Built;
use super::attention::{KeyValue, TextProjections};
use super::layers::{Conv2d, GroupNorm, Linear, expand_rows, join_channels};
use super::resnet::{Downsample, Resnet, ResnetShape, Upsample};
use super::transformer::SpatialTransformer;
use crate::engine::checkpoint::Parameters;
use crate::model::card::{MidCard, TransformerCard, UNetCard};

/// What the network makes of the texts of a render, once: the keys and values of every attention to the text.
pub struct Condition {
    layers: Vec<KeyValue>,
    rows: usize,
}

impl Condition {
    /// The texts of all, one after the other. All must be of one network.
    pub fn join(parts: &[&Self]) -> Result<Self> {
        let layers = parts.iter().map(|part| part.layers.len()).min().unwrap_or(0);
        let layer = |layer: usize| KeyValue::join(&parts.iter().map(|part| &part.layers[layer]).collect::<Vec<_>>());
        Ok(Self {
            layers: (0..layers).map(layer).collect::<Result<_>>()?,
            rows: parts.iter().map(|part| part.rows).sum(),
        })
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(KeyValue::bytes).sum()
    }

    /// The texts in `rows` alone, in that order.
    fn select(&self, rows: &[usize], device: &Device) -> Result<Vec<KeyValue>> {
        if rows.iter().copied().eq(0..self.rows) {
            return Ok(self.layers.clone());
        }
        let index: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
        let index = Tensor::new(index, device)?;
        self.layers.iter().map(|layer| layer.select(&index)).collect()
    }
}

/// The network that estimates noise.
pub struct UNet {
    center_input: bool,
    time: TimeEmbedding,
    conv_in: Conv2d,
    down: Vec<DownLevel>,
    mid: Option<Mid>,
    up: Vec<UpLevel>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
    projections: TextProjections,
    device: Device,
    dtype: DType,
}

impl UNet {
    /// Builds the network that `card` describes from the weights at `at`.
    pub fn new(card: &UNetCard, at: &Parameters) -> Built<Self> {
        let mut projections = TextProjections::default();
        let first = card.time_channels;
        let conv_in = Conv2d::new(card.in_channels, first, card.conv_in_kernel, &at.pp("conv_in"))?;

        // The channels of the skips, in the order in which they are made.
        let mut skips = vec![first];
        let mut channels = first;
        let mut down = Vec::with_capacity(card.down.len());
        for (index, level) in card.down.iter().enumerate() {
            let at = at.pp("down_blocks").pp(index);
            let inputs: Vec<usize> =
                (0..level.layers).map(|l| if l == 0 { channels } else { level.channels }).collect();
            channels = level.channels;
            let blocks = blocks(&inputs, channels, &level.transformer, card, &mut projections, &at)?;
            skips.extend(inputs.iter().map(|_| channels));
            let downsample = level
                .downsample
                .then(|| Downsample::new(channels, card.downsample_padding, &at.pp("downsamplers.0")))
                .transpose()?;
            skips.extend(downsample.as_ref().map(|_| channels));
            down.push(DownLevel { blocks, downsample });
        }

        let at_mid = at.pp("mid_block");
        let mid = card.mid.as_ref().map(|mid| Mid::new(channels, mid, card, &mut projections, &at_mid)).transpose()?;

        let mut up = Vec::with_capacity(card.up.len());
        for (index, level) in card.up.iter().enumerate() {
            let at = at.pp("up_blocks").pp(index);
            let mut inputs = Vec::with_capacity(level.layers);
            for _ in 0..level.layers {
                // The down levels made as many skips as the up levels take: both come from the same lists.
                inputs.push(channels + skips.pop().unwrap_or_default());
                channels = level.channels;
            }
            let blocks = blocks(&inputs, channels, &level.transformer, card, &mut projections, &at)?;
            let upsample = level.upsample.then(|| Upsample::new(channels, &at.pp("upsamplers.0"))).transpose()?;
            up.push(UpLevel { blocks, upsample });
        }

        Ok(Self {
            center_input: card.center_input,
            time: TimeEmbedding::new(card, at)?,
            conv_in,
            down,
            mid,
            up,
            norm_out: GroupNorm::new(card.groups, channels, card.norm_epsilon, &at.pp("conv_norm_out"))?,
            conv_out: Conv2d::new(channels, card.out_channels, card.conv_out_kernel, &at.pp("conv_out"))?,
            projections,
            device: at.device().clone(),
            dtype: at.dtype(),
        })
    }

    /// What the network makes of the encoded texts `[rows, tokens, width]`, to be used in every step.
    pub fn condition(&self, text: &Tensor) -> Built<Condition> {
        let text = text.to_dtype(self.dtype)?;
        let layers = self.projections.0.iter().map(|projection| projection.forward(&text)).collect::<Result<_>>()?;
        Ok(Condition { layers, rows: text.dim(0)? })
    }

    /// The network's output for the texts in `rows` of `condition`, in that order: `[rows, channels, height, width]`.
    ///
    /// `latents` are `[1, channels, height, width]`, the same for all texts, or `[rows, ..]`. If they are the same,
    /// everything before the first text comes in is computed once. The output has the latents' number type, whatever
    /// the network computes in. `condition` must be this network's own.
    pub fn forward(&self, latents: &Tensor, timestep: f64, condition: &Condition, rows: &[usize]) -> Built<Tensor> {
        let text = condition.select(rows, &self.device)?;
        let inner = latents.to_dtype(self.dtype)?;
        let time = self.time.forward(timestep, &inner)?;
        Ok(self.evaluate(&inner, &time, &text, rows.len())?.to_dtype(latents.dtype())?)
    }

    fn evaluate(&self, latents: &Tensor, time: &Tensor, text: &[KeyValue], rows: usize) -> Result<Tensor> {
        let latents = if self.center_input { latents.affine(2.0, -1.0)? } else { latents.clone() };
        let mut x = self.conv_in.forward(&latents)?;
        let mut skips = vec![x.clone()];
        for level in &self.down {
            for block in &level.blocks {
                x = block.forward(&x, time, text)?;
                skips.push(x.clone());
            }
            if let Some(downsample) = &level.downsample {
                x = downsample.forward(&x)?;
                skips.push(x.clone());
            }
        }
        if let Some(mid) = &self.mid {
            x = mid.forward(&x, time, text)?;
        }
        for level in &self.up {
            for block in &level.blocks {
                if let Some(skip) = skips.pop() {
                    x = join_channels(&x, &skip)?;
                }
                x = block.forward(&x, time, text)?;
            }
            if let Some(upsample) = &level.upsample {
                // Twice the size, except that a level of odd size has lost nothing on its way down.
                let size = skips.last().map(|skip| skip.dims4()).transpose()?.map(|(_, _, h, w)| (h, w));
                x = upsample.forward(&x, size)?;
            }
        }
        let x = self.conv_out.forward(&self.norm_out.forward_silu(&x)?)?;
        expand_rows(&x, rows)?.contiguous()
    }
}

/// A residual block and the transformer behind it.
struct Block {
    resnet: Resnet,
    transformer: Option<SpatialTransformer>,
}

impl Block {
    fn forward(&self, x: &Tensor, time: &Tensor, text: &[KeyValue]) -> Result<Tensor> {
        let x = self.resnet.forward(x, Some(time))?;
        match &self.transformer {
            Some(transformer) => transformer.forward(&x, text),
            None => Ok(x),
        }
    }
}

struct DownLevel {
    blocks: Vec<Block>,
    downsample: Option<Downsample>,
}

struct UpLevel {
    blocks: Vec<Block>,
    upsample: Option<Upsample>,
}

/// The blocks of a level; `inputs` are the channels that each is given.
fn blocks(
    inputs: &[usize],
    channels: usize,
    transformer: &Option<TransformerCard>,
    card: &UNetCard,
    projections: &mut TextProjections,
    at: &Parameters,
) -> Built<Vec<Block>> {
    let mut blocks = Vec::with_capacity(inputs.len());
    for (index, &inputs) in inputs.iter().enumerate() {
        let resnet = Resnet::new(inputs, channels, resnet_shape(card, 1.0), &at.pp("resnets").pp(index))?;
        let transformer = transformer
            .as_ref()
            .map(|transformer| {
                SpatialTransformer::new(channels, transformer, card, projections, &at.pp("attentions").pp(index))
            })
            .transpose()?;
        blocks.push(Block { resnet, transformer });
    }
    Ok(blocks)
}

fn resnet_shape(card: &UNetCard, scale_factor: f64) -> ResnetShape {
    ResnetShape { groups: card.groups, epsilon: card.norm_epsilon, time_width: Some(card.time_width), scale_factor }
}

/// The coarsest level's turning point.
struct Mid {
    first: Block,
    second: Option<Resnet>,
}

impl Mid {
    fn new(
        channels: usize,
        mid: &MidCard,
        card: &UNetCard,
        projections: &mut TextProjections,
        at: &Parameters,
    ) -> Built<Self> {
        let shape = resnet_shape(card, mid.scale_factor);
        let resnet = |index: usize| Resnet::new(channels, channels, shape, &at.pp("resnets").pp(index));
        let transformer = mid
            .transformer
            .as_ref()
            .map(|transformer| {
                SpatialTransformer::new(channels, transformer, card, projections, &at.pp("attentions.0"))
            })
            .transpose()?;
        let second = transformer.is_some().then(|| resnet(1)).transpose()?;
        Ok(Self { first: Block { resnet: resnet(0)?, transformer }, second })
    }

    fn forward(&self, x: &Tensor, time: &Tensor, text: &[KeyValue]) -> Result<Tensor> {
        let x = self.first.forward(x, time, text)?;
        match &self.second {
            Some(resnet) => resnet.forward(&x, Some(time)),
            None => Ok(x),
        }
    }
}

/// silu(W2 silu(W1 e(t))), with e(t) the sines and cosines of t at frequencies 10000^(-i / (n - shift)), i < n
/// (Vaswani et al., arXiv 1706.03762, section 3.5). Every block starts with the outer silu, so it is taken here, once.
struct TimeEmbedding {
    /// In f32 and rounded as PyTorch rounds them: at timesteps near 1000 the last bit of a frequency shows.
    frequencies: Vec<f32>,
    flip_sin_to_cos: bool,
    odd: bool,
    linear1: Linear,
    linear2: Linear,
}

impl TimeEmbedding {
    fn new(card: &UNetCard, at: &Parameters) -> Built<Self> {
        let half = card.time_channels / 2;
        let spread = (half as f64 - card.freq_shift) as f32;
        let frequencies = (0..half)
            .map(|index| {
                let exponent = -(10000f64.ln() as f32) * index as f32 / spread;
                f64::from(exponent).exp() as f32
            })
            .collect();
        let at = at.pp("time_embedding");
        Ok(Self {
            frequencies,
            flip_sin_to_cos: card.flip_sin_to_cos,
            odd: !card.time_channels.is_multiple_of(2),
            linear1: Linear::new(card.time_channels, card.time_width, &at.pp("linear_1"))?,
            linear2: Linear::new(card.time_width, card.time_width, &at.pp("linear_2"))?,
        })
    }

    /// `[1, time width]`, of the type and on the device of `like`.
    fn forward(&self, timestep: f64, like: &Tensor) -> Result<Tensor> {
        let angles = self.frequencies.iter().map(|frequency| f64::from(timestep as f32 * frequency));
        let sines = angles.clone().map(|angle| angle.sin() as f32);
        let cosines = angles.map(|angle| angle.cos() as f32);
        let mut embedding: Vec<f32> =
            if self.flip_sin_to_cos { cosines.chain(sines).collect() } else { sines.chain(cosines).collect() };
        if self.odd {
            embedding.push(0.0);
        }
        let embedding = Tensor::new(embedding, like.device())?.unsqueeze(0)?.to_dtype(like.dtype())?;
        self.linear2.forward(&self.linear1.forward(&embedding)?.silu()?)?.silu()
    }
}
