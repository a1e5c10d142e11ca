//! The transformer between residual blocks: places become positions, attend to each other and to the text.

use candle_core::{Result, Tensor};

use super::Built;
use super::attention::{CrossAttention, KeyValue, Names, Precision, SelfAttention, TextProjections};
use super::layers::{GatedLinear, GroupNorm, LayerNorm, Linear, picture, positions};
use crate::engine::checkpoint::Parameters;
use crate::engine::limits::Stop;
use crate::model::card::{TransformerCard, UNetCard};

/// The first attention of a layer.
enum FirstAttention {
    Positions(SelfAttention),
    Text(CrossAttention),
}

/// One layer: attention, attention to the text, feed-forward; each behind a norm and added to what it saw.
struct Layer {
    norm1: LayerNorm,
    attention1: FirstAttention,
    norm2: LayerNorm,
    attention2: CrossAttention,
    norm3: LayerNorm,
    feed_forward: FeedForward,
}

impl Layer {
    fn new(
        width: usize,
        card: &TransformerCard,
        precision: Precision,
        projections: &mut TextProjections,
        at: &Parameters,
    ) -> Built<Self> {
        let mut cross =
            |name: &str| CrossAttention::new(width, card.text_width, card.heads, precision, projections, &at.pp(name));
        let attention1 = if card.only_cross_attention {
            FirstAttention::Text(cross("attn1")?)
        } else {
            let attention = SelfAttention::new(width, card.heads, &Names::DIFFUSERS, false, &at.pp("attn1"))?;
            FirstAttention::Positions(attention.precision(precision))
        };
        Ok(Self {
            attention1,
            attention2: cross("attn2")?,
            norm1: LayerNorm::new(width, 1e-5, &at.pp("norm1"))?,
            norm2: LayerNorm::new(width, 1e-5, &at.pp("norm2"))?,
            norm3: LayerNorm::new(width, 1e-5, &at.pp("norm3"))?,
            feed_forward: FeedForward::new(width, &at.pp("ff.net"))?,
        })
    }

    fn forward(&self, x: &Tensor, text: &[KeyValue]) -> Result<Tensor> {
        let normed = self.norm1.forward(x)?;
        let x = match &self.attention1 {
            FirstAttention::Positions(attention) => attention.forward_added(&normed, x)?,
            FirstAttention::Text(attention) => attention.forward_added(&normed, text, x)?,
        };
        let x = self.attention2.forward_added(&self.norm2.forward(&x)?, text, &x)?;
        self.feed_forward.forward_added(&self.norm3.forward(&x)?, &x)
    }
}

/// W2 (a * gelu(g)) with [a, g] = W1 x, the gated unit of Shazeer (arXiv 2002.05202), gelu in its exact form.
struct FeedForward {
    inner: GatedLinear,
    out: Linear,
}

impl FeedForward {
    fn new(width: usize, at: &Parameters) -> Built<Self> {
        let inner = GatedLinear::new(width, 4 * width, &at.pp("0.proj"))?;
        Ok(Self { inner, out: Linear::new(4 * width, width, &at.pp("2"))? })
    }

    fn forward_added(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.out.forward_added(&self.inner.forward(x)?, residual)
    }
}

/// A transformer over the places of `[rows, channels, height, width]`, added to what it saw.
pub(super) struct SpatialTransformer {
    norm: GroupNorm,
    project_in: Linear,
    layers: Vec<Layer>,
    project_out: Linear,
}

impl SpatialTransformer {
    pub(super) fn new(
        channels: usize,
        card: &TransformerCard,
        unet: &UNetCard,
        projections: &mut TextProjections,
        at: &Parameters,
    ) -> Built<Self> {
        let project = if unet.linear_projection { Linear::new } else { Linear::from_convolution };
        let precision = Precision { upcast: unet.upcast_attention };
        let layers = (0..card.layers)
            .map(|layer| Layer::new(channels, card, precision, projections, &at.pp("transformer_blocks").pp(layer)))
            .collect::<Built<_>>()?;
        Ok(Self {
            norm: GroupNorm::new(unet.groups, channels, 1e-6, &at.pp("norm"))?,
            project_in: project(channels, channels, &at.pp("proj_in"))?,
            layers,
            project_out: project(channels, channels, &at.pp("proj_out"))?,
        })
    }

    /// `x` may have a single row for all rows of the text: it is only multiplied where the text comes in.
    /// An error of `stop` is its end.
    pub(super) fn forward(&self, x: &Tensor, text: &[KeyValue], stop: Stop<'_>) -> Built<Tensor> {
        let mut hidden = self.project_in.forward(&positions(&self.norm.forward(x)?)?)?;
        for layer in &self.layers {
            stop.check()?;
            hidden = layer.forward(&hidden, text)?;
        }
        Ok(picture(&self.project_out.forward_added(&hidden, &positions(x)?)?, x)?)
    }
}
