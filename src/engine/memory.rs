//! How much memory a render takes: estimates from the card, the size of the picture and the headers of the weights.

use super::checkpoint::{Checkpoint, Tensors};
use super::kernel::KEPT;
use super::loading::Loading;
use super::lora::Loras;
use super::{EngineError, ModelWeights, Precision};
use crate::model::card::{AutoencoderCard, Card, KlCard, TextCard, TinyCard, UNetCard};
use crate::model::files::Weights;
use crate::model::lora::Part;

/// What the program and its threads take by themselves, what is worked on at once by layers that go through a picture in
/// pieces, and blocks that were freed and are kept for the next of their size.
const ALWAYS: u64 = (320 << 20) + KEPT as u64;

/// The bytes that the stages of a render take, beside each other in no case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Of the text encoders, which are gone when the other networks come.
    pub texts: u64,
    /// Of the weights of the U-Net and the decoder.
    pub networks: u64,
    /// What the U-Net takes for a row.
    pub row: u64,
    /// What the decoder takes.
    pub decoding: u64,
}

impl Needs {
    /// What a render of latents `[channels, height, width]` needs by networks that are loaded so.
    pub fn of(
        card: &Card,
        weights: &ModelWeights,
        [_, height, width]: [usize; 3],
        loading: &Loading<'_>,
    ) -> Result<Self, EngineError> {
        let loras = Loras::open(weights)?;
        let of_part = |files: &[Weights], part, loading: &Loading<'_>, tables: Option<&TextCard>| {
            let checkpoint = Checkpoint::open(files)?;
            let tensors = checkpoint.tensors();
            let tensors = match part {
                Some(part) => tensors.patched(loras.patches(part)),
                None => tensors,
            };
            Ok::<u64, EngineError>(of_weights(&tensors, loading, tables))
        };
        let parts = [(Part::TextEncoder, &weights.text_encoder), (Part::TextEncoder2, &weights.text_encoder_2)];
        let mut texts = 0;
        for (text, (part, files)) in card.text_encoders().zip(parts) {
            texts += of_part(files, Some(part), loading, Some(text))?;
        }
        let upcast = card.autoencoder.force_upcast();
        let for_decoder = if upcast { loading.in_precision(Precision::F32) } else { loading.clone() };
        let networks = of_part(&weights.unet, Some(Part::UNet), loading, None)?;
        let decoder = of_part(&weights.vae, None, &for_decoder, None)?;
        let decoding = match &card.autoencoder {
            AutoencoderCard::Kl(card) => of_decoder(card, height, width),
            AutoencoderCard::Tiny(card) => of_tiny(card, height, width),
        };
        Ok(Self {
            texts,
            networks: networks + decoder,
            row: between(loading) * of_row(&card.unet, height, width),
            decoding: between(&for_decoder) * decoding,
        })
    }

    /// The same of a program that keeps the text encoders, and so many bytes of other things.
    pub fn keeping(self, bytes: u64) -> Self {
        Self { texts: 0, networks: self.networks + self.texts + bytes, ..self }
    }

    /// What a render takes that evaluates so many rows at once.
    pub fn with_rows(&self, rows: usize) -> u64 {
        let held = self.texts.max(self.networks + (self.row * rows as u64).max(self.decoding));
        // While weights are packed, the allocator keeps some of what was freed: 4 % of XL's, as measured.
        held + self.networks / 20 + ALWAYS
    }

    /// How many of `rows` can be evaluated at once within so many bytes; `None` where not even one can.
    pub fn rows_within(&self, bytes: u64, rows: usize) -> Option<usize> {
        (1..=rows).rev().find(|&rows| self.with_rows(rows) <= bytes)
    }
}

/// The bytes of a number between the layers. Where only what is multiplied is rounded to bf16, it is an f32.
fn between(loading: &Loading<'_>) -> u64 {
    loading.computed().0.size_in_bytes() as u64
}

/// The bytes that weights take in memory, those of an encoder of pictures, which nobody reads, left out. The kernels keep
/// what they multiply in the narrowest type that holds it exactly: what a file has in 16 bits, unless a LoRA changes it.
/// Tables of a text encoder are not multiplied.
fn of_weights(tensors: &Tensors<'_>, loading: &Loading<'_>, tables: Option<&TextCard>) -> u64 {
    let (dtype, isa) = loading.computed();
    let of = |name: &str| {
        let (shape, stored) = tensors.stored(name)?;
        let numbers: u64 = shape.iter().map(|side| *side as u64).product();
        let is_table =
            |text: &TextCard| shape == [text.vocabulary, text.width] || shape == [text.max_tokens, text.width];
        let multiplied = isa.is_some() && shape.len() > 1 && !tables.is_some_and(is_table);
        let narrow = loading.precision == Precision::BF16 || matches!(stored, "F16" | "BF16") && !tensors.adapts(name);
        Some(numbers * if multiplied && narrow { 2 } else { dtype.size_in_bytes() as u64 })
    };
    tensors.names().filter(|name| !name.starts_with("encoder.")).filter_map(of).sum()
}

/// The numbers that exist at once while the U-Net evaluates a row: all skips, and what its widest block works on.
fn of_row(card: &UNetCard, height: usize, width: usize) -> u64 {
    let places = |level: usize| (height.div_ceil(1 << level) * width.div_ceil(1 << level)) as u64;
    let first = card.time_channels as u64;
    let mut skips = vec![(first, 0)];
    let mut widest = 0;
    let (mut channels, mut level) = (first, 0);
    for down in &card.down {
        for _ in 0..down.layers {
            widest = widest.max(of_block(channels, down.channels as u64, down.transformer.is_some()) * places(level));
            channels = down.channels as u64;
            skips.push((channels, level));
        }
        if down.downsample {
            level += 1;
            skips.push((channels, level));
        }
    }
    let all: u64 = skips.iter().map(|(channels, level)| channels * places(*level)).sum();
    for up in &card.up {
        for _ in 0..up.layers {
            let inputs = channels + skips.pop().map_or(0, |(channels, _)| channels);
            widest = widest.max(of_block(inputs, up.channels as u64, up.transformer.is_some()) * places(level));
            channels = up.channels as u64;
        }
        if up.upsample {
            level = level.saturating_sub(1);
        }
    }
    all + widest
}

/// Numbers for each place of a residual block (its input twice, what lies between, the output and its residual), or of the
/// transformer behind it (its input, a residual, queries, keys and values, and what the widest layer gives).
fn of_block(inputs: u64, outputs: u64, transformer: bool) -> u64 {
    let resnet = 2 * inputs + 3 * outputs;
    if transformer { resnet.max(10 * outputs) } else { resnet }
}

/// The numbers that exist at once while a picture is decoded in strips: of a level the input of a residual block and what
/// lies between its convolutions, or what the enlargement takes and gives.
fn of_decoder(card: &KlCard, height: usize, width: usize) -> u64 {
    let mut places = (height * width) as u64;
    let mut inputs = card.channels.last().copied().unwrap_or(0) as u64;
    // The middle is decoded as a whole: with norms, queries, keys and values.
    let mut most = 8 * inputs * places;
    for (level, &outputs) in card.channels.iter().rev().enumerate() {
        let outputs = outputs as u64;
        most = most.max((inputs + outputs) * places).max(2 * outputs * places);
        if level + 1 < card.channels.len() {
            most = most.max(5 * outputs * places);
            places *= 4;
        }
        inputs = outputs;
    }
    most.max(6 * places)
}

/// The same of the small kind, which is decoded as a whole: its widest block's input, two outputs and the enlarged picture.
fn of_tiny(card: &TinyCard, height: usize, width: usize) -> u64 {
    let finest = 1u64 << (2 * (card.stages.len().saturating_sub(1)) as u64);
    5 * card.channels as u64 * finest * (height * width) as u64
}
