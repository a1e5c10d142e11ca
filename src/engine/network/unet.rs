//! The U-Net (Ronneberger et al., arXiv 1505.04597) with timestep and text (Rombach et al., arXiv 2112.10752).

use candle_core::{DType, Device, Tensor};

use super::Built;
use super::attention::{KeyValue, TextProjections};
use super::condition::{AddedEmbedding, Condition, GuidanceEmbedding, index};
use super::layers::{Conv2d, GroupNorm, expand_rows, join_channels};
use super::resnet::{Downsample, Resnet, ResnetShape, Upsample};
use super::text::TextVectors;
use super::time::TimeEmbedding;
use super::transformer::SpatialTransformer;
use crate::engine::checkpoint::Parameters;
use crate::engine::device::reclaim;
use crate::engine::limits::{Limits, Stop};
use crate::engine::room::RowLimit;
use crate::model::card::{MidCard, TransformerCard, UNetCard};
use crate::quantity::Size;

/// The network that estimates noise.
pub struct UNet {
    center_input: bool,
    time: TimeEmbedding,
    added: Option<AddedEmbedding>,
    guidance: Option<GuidanceEmbedding>,
    conv_in: Conv2d,
    down: Vec<DownLevel>,
    mid: Option<Mid>,
    up: Vec<UpLevel>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
    projections: TextProjections,
    limit: RowLimit,
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
            added: card.added.as_ref().map(|added| AddedEmbedding::new(card, added, at)).transpose()?,
            guidance: card.guidance_channels.map(|channels| GuidanceEmbedding::new(card, channels, at)).transpose()?,
            limit: RowLimit::new(None),
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

    /// How many rows it evaluates at once since the device had not the memory for more.
    pub fn reduced_rows(&self) -> Option<usize> {
        self.limit.reduced()
    }

    /// What the network makes of the texts, the size of the picture and the guidance scale, to be used in every step.
    pub fn condition(&self, texts: &[TextVectors], size: Size, guidance: f64) -> Built<Condition> {
        let added =
            self.added.as_ref().map(|added| added.forward(texts, size, &self.device, self.dtype)).transpose()?;
        let guidance = self.guidance.as_ref().map(|layer| layer.forward(guidance, &self.device, self.dtype));
        Ok(Condition::new(&self.projections, added, guidance.transpose()?, texts, self.dtype)?)
    }

    /// The network's output for the texts in `rows` of `condition`, in that order: `[rows, channels, height, width]`.
    ///
    /// `latents` are `[1, channels, height, width]`, the same for all texts, or `[rows, ..]`. If they are the same,
    /// everything before the first text comes in is computed once. The output has the latents' number type, whatever
    /// the network computes in. `condition` must be this network's own. Where the device has not the memory for all rows at
    /// once they are evaluated in chunks.
    pub fn forward(&self, latents: &Tensor, timestep: f64, condition: &Condition, rows: &[usize]) -> Built<Tensor> {
        self.forward_within(Limits::NONE, latents, timestep, condition, rows)
    }

    /// The same within limits.
    pub fn forward_within(
        &self,
        limits: Limits<'_>,
        latents: &Tensor,
        timestep: f64,
        condition: &Condition,
        rows: &[usize],
    ) -> Built<Tensor> {
        self.limit.evaluate(limits.rows.min(rows.len()), |rows_at_once| {
            let limits = Limits { rows: rows_at_once, ..limits };
            self.in_chunks(limits, latents, timestep, condition, rows).inspect_err(|error| {
                if error.is_out_of_memory() {
                    reclaim(&self.device);
                }
            })
        })
    }

    fn in_chunks(
        &self,
        limits: Limits<'_>,
        latents: &Tensor,
        timestep: f64,
        condition: &Condition,
        rows: &[usize],
    ) -> Built<Tensor> {
        let inner = latents.to_dtype(self.dtype)?;
        let mut order = Vec::with_capacity(rows.len());
        let mut outputs = Vec::new();
        for batch in condition.batches(rows, limits.rows, &self.device)? {
            let latents = if inner.dim(0)? == 1 || batch.places.len() == rows.len() && outputs.is_empty() {
                inner.clone()
            } else {
                inner.index_select(&index(&batch.places, &self.device)?, 0)?
            };
            let time = self.time.forward(timestep, condition.guidance.as_ref(), batch.added.as_ref(), &inner)?;
            let given = Given { time: &time, text: &batch.text, stop: limits.stop };
            outputs.push(self.evaluate(&latents, given, batch.places.len())?);
            order.extend(batch.places);
        }
        let output = if outputs.len() == 1 { outputs.remove(0) } else { Tensor::cat(&outputs, 0)? };
        let output = if order.is_sorted() {
            output
        } else {
            let mut back = vec![0; order.len()];
            order.iter().enumerate().for_each(|(at, &place)| back[place] = at);
            output.index_select(&index(&back, &self.device)?, 0)?
        };
        Ok(output.to_dtype(latents.dtype())?)
    }

    fn evaluate(&self, latents: &Tensor, given: Given<'_>, rows: usize) -> Built<Tensor> {
        let latents = if self.center_input { latents.affine(2.0, -1.0)? } else { latents.clone() };
        let mut x = self.conv_in.forward(&latents)?;
        let mut skips = vec![x.clone()];
        for level in &self.down {
            for block in &level.blocks {
                x = block.forward(&x, given)?;
                skips.push(x.clone());
            }
            if let Some(downsample) = &level.downsample {
                x = downsample.forward(&x)?;
                skips.push(x.clone());
            }
        }
        if let Some(mid) = &self.mid {
            x = mid.forward(&x, given)?;
        }
        for level in &self.up {
            for block in &level.blocks {
                if let Some(skip) = skips.pop() {
                    x = join_channels(&x, &skip)?;
                }
                x = block.forward(&x, given)?;
            }
            if let Some(upsample) = &level.upsample {
                // Twice the size, except that a level of odd size has lost nothing on its way down.
                let size = skips.last().map(|skip| skip.dims4()).transpose()?.map(|(_, _, h, w)| (h, w));
                x = upsample.forward(&x, size)?;
            }
        }
        let x = self.conv_out.forward(&self.norm_out.forward_silu(&x)?)?;
        Ok(expand_rows(&x, rows)?.contiguous()?)
    }
}

/// What all blocks are given beside the picture.
#[derive(Clone, Copy)]
struct Given<'a> {
    /// The activated embedding, `[1 or rows, time width]`.
    time: &'a Tensor,
    text: &'a [KeyValue],
    stop: Stop<'a>,
}

/// A residual block and the transformer behind it.
struct Block {
    resnet: Resnet,
    transformer: Option<SpatialTransformer>,
}

impl Block {
    fn forward(&self, x: &Tensor, Given { time, text, stop }: Given<'_>) -> Built<Tensor> {
        stop.check()?;
        let x = self.resnet.forward(x, Some(time))?;
        match &self.transformer {
            Some(transformer) => transformer.forward(&x, text, stop),
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

    fn forward(&self, x: &Tensor, given: Given<'_>) -> Built<Tensor> {
        let x = self.first.forward(x, given)?;
        match &self.second {
            Some(resnet) => Ok(resnet.forward(&x, Some(given.time))?),
            None => Ok(x),
        }
    }
}
