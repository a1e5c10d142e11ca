//! What the network is told of a render beside latents and timestep, made once for all steps.

use candle_core::{DType, Device, Result, Tensor};

use super::Built;
use super::attention::{KeyValue, TextProjection, TextProjections};
use super::layers::Linear;
use super::text::TextVectors;
use super::time::{Sinusoids, TwoLayers};
use crate::engine::EngineError;
use crate::engine::checkpoint::Parameters;
use crate::model::card::{AddedCard, UNetCard};
use crate::quantity::Size;

/// What the network makes of the texts of a render, once: the keys and values of every attention to the text, and what is
/// added to the timestep's embedding.
pub struct Condition {
    /// Texts of as many tokens together.
    groups: Vec<Group>,
    /// For each row its group, and its place in it.
    places: Vec<(usize, usize)>,
    /// Added to the timestep's embedding: `[rows, time width]`.
    added: Option<Tensor>,
    /// Added to the timestep's sinusoids: `[1, time channels]`.
    pub(super) guidance: Option<Tensor>,
}

struct Group {
    layers: Vec<KeyValue>,
    rows: usize,
}

/// Rows that are evaluated at once.
pub(super) struct Batch {
    /// Their places among the rows asked for.
    pub(super) places: Vec<usize>,
    pub(super) text: Vec<KeyValue>,
    pub(super) added: Option<Tensor>,
}

impl Condition {
    pub(super) fn new(
        projections: &TextProjections,
        added: Option<Tensor>,
        guidance: Option<Tensor>,
        texts: &[TextVectors],
        dtype: DType,
    ) -> Result<Self> {
        let lengths = texts.iter().map(|text| text.tokens.dim(1)).collect::<Result<Vec<_>>>()?;
        let mut distinct = lengths.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let mut places = vec![(0, 0); texts.len()];
        let mut groups = Vec::with_capacity(distinct.len());
        for (number, &length) in distinct.iter().enumerate() {
            let rows: Vec<usize> = (0..texts.len()).filter(|&row| lengths[row] == length).collect();
            for (place, &row) in rows.iter().enumerate() {
                places[row] = (number, place);
            }
            // Every text by itself: what becomes of it depends on no other, to the bit.
            let tokens = rows.iter().map(|&row| texts[row].tokens.to_dtype(dtype)).collect::<Result<Vec<_>>>()?;
            let layer = |projection: &TextProjection| {
                let rows = tokens.iter().map(|tokens| projection.forward(tokens)).collect::<Result<Vec<_>>>()?;
                KeyValue::join(&rows.iter().collect::<Vec<_>>())
            };
            let layers = projections.0.iter().map(layer).collect::<Result<_>>()?;
            groups.push(Group { layers, rows: rows.len() });
        }
        Ok(Self { groups, places, added, guidance })
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> usize {
        let layers = self.groups.iter().flat_map(|group| &group.layers).map(KeyValue::bytes).sum::<usize>();
        let others = [&self.added, &self.guidance].into_iter().flatten();
        layers + others.map(|tensor| tensor.elem_count() * tensor.dtype().size_in_bytes()).sum::<usize>()
    }

    /// The rows asked for, in batches of at most `most` rows whose texts are of one length.
    pub(super) fn batches(&self, rows: &[usize], most: usize, device: &Device) -> Result<Vec<Batch>> {
        let mut batches = Vec::new();
        for (number, group) in self.groups.iter().enumerate() {
            let own: Vec<usize> = (0..rows.len()).filter(|&place| self.places[rows[place]].0 == number).collect();
            for places in own.chunks(most.max(1)) {
                let at: Vec<usize> = places.iter().map(|&place| self.places[rows[place]].1).collect();
                let text = if at.iter().copied().eq(0..group.rows) {
                    group.layers.clone()
                } else {
                    let at = index(&at, device)?;
                    group.layers.iter().map(|layer| layer.select(&at)).collect::<Result<_>>()?
                };
                let all: Vec<usize> = places.iter().map(|&place| rows[place]).collect();
                let added =
                    self.added.as_ref().map(|added| added.index_select(&index(&all, device)?, 0)).transpose()?;
                batches.push(Batch { places: places.to_vec(), text, added });
            }
        }
        Ok(batches)
    }
}

/// Numbers of rows as a tensor.
pub(super) fn index(rows: &[usize], device: &Device) -> Result<Tensor> {
    Tensor::new(rows.iter().map(|row| *row as u32).collect::<Vec<_>>(), device)
}

/// W2 silu(W1 [t, e(h), e(w), ..]), with t the whole text's vector and e the sinusoids of the picture's measures
/// (Podell et al., arXiv 2307.01952, section 2.2).
pub(super) struct AddedEmbedding {
    sinusoids: Sinusoids,
    layers: TwoLayers,
}

impl AddedEmbedding {
    pub(super) fn new(card: &UNetCard, added: &AddedCard, at: &Parameters) -> Built<Self> {
        let sinusoids = Sinusoids::new(added.measure_channels, card.flip_sin_to_cos, card.freq_shift);
        Ok(Self { sinusoids, layers: TwoLayers::new(added.width(), card.time_width, &at.pp("add_embedding"))? })
    }

    /// `[rows, time width]`. The picture is its own original, not cropped.
    pub(super) fn forward(&self, texts: &[TextVectors], size: Size, device: &Device, dtype: DType) -> Built<Tensor> {
        let (height, width) = (size.height() as f32, size.width() as f32);
        let measures: [f32; AddedCard::MEASURES] = [height, width, 0.0, 0.0, height, width];
        let embedded: Vec<f32> = measures.iter().flat_map(|measure| self.sinusoids.of(*measure)).collect();
        let embedded = Tensor::new(embedded, device)?.unsqueeze(0)?.to_dtype(dtype)?;
        // Every text by itself, as above.
        let row = |text: &TextVectors| {
            let whole = text.whole.as_ref().ok_or(EngineError::NoWholeText)?.to_dtype(dtype)?;
            Ok(self.layers.forward(&Tensor::cat(&[&whole, &embedded], 1)?)?)
        };
        let rows = texts.iter().map(row).collect::<Built<Vec<_>>>()?;
        Ok(Tensor::cat(&rows, 0)?)
    }
}

/// W e(w), with e the sinusoids of 1000 (w - 1) for a guidance scale w (Meng et al., arXiv 2210.03142).
pub(super) struct GuidanceEmbedding {
    sinusoids: Sinusoids,
    project: Linear,
}

impl GuidanceEmbedding {
    pub(super) fn new(card: &UNetCard, channels: usize, at: &Parameters) -> Built<Self> {
        let project = Linear::without_bias(channels, card.time_channels, &at.pp("time_embedding.cond_proj"))?;
        Ok(Self { sinusoids: Sinusoids::new(channels, false, 1.0), project })
    }

    /// `[1, time channels]`.
    pub(super) fn forward(&self, guidance: f64, device: &Device, dtype: DType) -> Result<Tensor> {
        let embedded = self.sinusoids.of(((guidance - 1.0) as f32) * 1000.0);
        self.project.forward(&Tensor::new(embedded, device)?.unsqueeze(0)?.to_dtype(dtype)?)
    }
}
