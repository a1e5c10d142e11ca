//! `vae/config.json`: the decoder from latents to pixels.

use serde::Deserialize;

use super::{
    CardError, MOST_LAYERS, VAE, at_most, check_channels, check_latent_channels, divides, one_of, parse, switch,
    unsupported,
};

/// An autoencoder's decoder.
#[derive(Debug, Clone, PartialEq)]
pub enum AutoencoderCard {
    /// `AutoencoderKL`, that of Stable Diffusion.
    Kl(KlCard),
    /// `AutoencoderTiny`: TAESD, small and fast.
    Tiny(TinyCard),
}

impl AutoencoderCard {
    /// The channels of the latents.
    pub fn latent_channels(&self) -> usize {
        match self {
            Self::Kl(card) => card.latent_channels,
            Self::Tiny(card) => card.latent_channels,
        }
    }

    /// How many pixels a side of a latent stands for.
    pub fn downscale(&self) -> usize {
        match self {
            Self::Kl(card) => 1 << (card.channels.len() - 1),
            Self::Tiny(card) => card.upscale.pow(card.stages.len() as u32 - 1),
        }
    }

    /// Latents are this many times what the decoder takes.
    pub fn scaling_factor(&self) -> f64 {
        match self {
            Self::Kl(card) => card.scaling_factor,
            Self::Tiny(card) => card.scaling_factor,
        }
    }

    /// The statistics of the latents, if the decoder wants them put back.
    pub fn statistics(&self) -> Option<&LatentStatistics> {
        match self {
            Self::Kl(card) => card.statistics.as_ref(),
            Self::Tiny(_) => None,
        }
    }

    /// Whether the decoder overflows in half precision.
    pub fn force_upcast(&self) -> bool {
        match self {
            Self::Kl(card) => card.force_upcast,
            Self::Tiny(_) => false,
        }
    }
}

/// The decoder of `AutoencoderKL`: a middle with attention, then residual blocks that double the size level by level.
#[derive(Debug, Clone, PartialEq)]
pub struct KlCard {
    /// The channels of the latents.
    pub latent_channels: usize,
    /// The channels of the picture.
    pub out_channels: usize,
    /// The channels of each level, the finest first.
    pub channels: Vec<usize>,
    /// The encoder's residual blocks in a level; the decoder has one more.
    pub layers: usize,
    /// The groups of the norms.
    pub groups: usize,
    /// Latents are this many times what the decoder takes.
    pub scaling_factor: f64,
    /// What is added to each channel of latents that the decoder takes, and what they are multiplied by first;
    /// without it, nothing and 1.
    pub statistics: Option<LatentStatistics>,
    /// Whether a 1x1 convolution stands before the decoder.
    pub post_quant_conv: bool,
    /// Whether the middle has attention.
    pub mid_attention: bool,
    /// Whether the decoder overflows in half precision.
    pub force_upcast: bool,
}

/// The mean and the standard deviation of each channel of latents as the decoder takes them.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentStatistics {
    /// The means.
    pub mean: Vec<f64>,
    /// The standard deviations.
    pub deviation: Vec<f64>,
}

/// The decoder of `AutoencoderTiny`: stages of residual blocks, with an upsampling between any two.
#[derive(Debug, Clone, PartialEq)]
pub struct TinyCard {
    /// The channels of the latents.
    pub latent_channels: usize,
    /// The channels of the picture.
    pub out_channels: usize,
    /// The channels of every stage.
    pub channels: usize,
    /// The number of residual blocks of each stage, the coarsest first.
    pub stages: Vec<usize>,
    /// How much larger each stage is than the one before.
    pub upscale: usize,
    /// Latents are this many times what the decoder takes.
    pub scaling_factor: f64,
}

#[derive(Deserialize)]
struct Class {
    #[serde(rename = "_class_name")]
    class: Option<String>,
}

/// The defaults of diffusers' `AutoencoderKL`.
#[derive(Deserialize)]
#[serde(default)]
struct RawKl {
    out_channels: usize,
    up_block_types: Vec<String>,
    block_out_channels: Vec<usize>,
    layers_per_block: usize,
    act_fn: String,
    latent_channels: usize,
    norm_num_groups: usize,
    scaling_factor: f64,
    shift_factor: Option<f64>,
    latents_mean: Option<Vec<f64>>,
    latents_std: Option<Vec<f64>>,
    #[serde(deserialize_with = "switch")]
    force_upcast: bool,
    #[serde(deserialize_with = "switch")]
    use_post_quant_conv: bool,
    #[serde(deserialize_with = "switch")]
    mid_block_add_attention: bool,
}

impl Default for RawKl {
    fn default() -> Self {
        Self {
            out_channels: 3,
            up_block_types: vec!["UpDecoderBlock2D".to_owned()],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: "silu".to_owned(),
            latent_channels: 4,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            latents_mean: None,
            latents_std: None,
            force_upcast: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

/// The defaults of diffusers' `AutoencoderTiny`. Its `latent_magnitude` and `latent_shift` only pack latents into
/// bytes; no decoder reads them.
#[derive(Deserialize)]
#[serde(default)]
struct RawTiny {
    out_channels: usize,
    decoder_block_out_channels: Vec<usize>,
    act_fn: String,
    upsample_fn: String,
    latent_channels: usize,
    upsampling_scaling_factor: usize,
    num_decoder_blocks: Vec<usize>,
    scaling_factor: f64,
    shift_factor: Option<f64>,
}

impl Default for RawTiny {
    fn default() -> Self {
        Self {
            out_channels: 3,
            decoder_block_out_channels: vec![64; 4],
            act_fn: "relu".to_owned(),
            upsample_fn: "nearest".to_owned(),
            latent_channels: 4,
            upsampling_scaling_factor: 2,
            num_decoder_blocks: vec![3, 3, 3, 1],
            scaling_factor: 1.0,
            shift_factor: None,
        }
    }
}

pub(super) fn read(text: &str) -> Result<AutoencoderCard, CardError> {
    let class: Class = parse(text, VAE)?;
    match class.class.as_deref() {
        Some("AutoencoderKL") | None => read_kl(parse(text, VAE)?).map(AutoencoderCard::Kl),
        Some("AutoencoderTiny") => read_tiny(parse(text, VAE)?).map(AutoencoderCard::Tiny),
        Some(other) => Err(unsupported(VAE, "_class_name", other, one_of(&["AutoencoderKL", "AutoencoderTiny"]))),
    }
}

fn read_kl(raw: RawKl) -> Result<KlCard, CardError> {
    check_common(raw.out_channels, raw.scaling_factor, raw.shift_factor)?;
    if let Some(other) = raw.up_block_types.iter().find(|name| *name != "UpDecoderBlock2D") {
        return Err(unsupported(VAE, "up_block_types", other, one_of(&["UpDecoderBlock2D"])));
    }
    let (found, expected) = (raw.up_block_types.len(), raw.block_out_channels.len());
    if found != expected || expected == 0 {
        return Err(CardError::Length { file: VAE, key: "up_block_types", found, expected });
    }
    if !matches!(raw.act_fn.as_str(), "silu" | "swish") {
        return Err(unsupported(VAE, "act_fn", raw.act_fn, one_of(&["silu"])));
    }
    check_latent_channels(raw.latent_channels)?;
    let statistics = match (raw.latents_mean, raw.latents_std) {
        (Some(mean), Some(deviation)) => {
            for (key, list) in [("latents_mean", &mean), ("latents_std", &deviation)] {
                let (found, expected) = (list.len(), raw.latent_channels);
                if found != expected {
                    return Err(unsupported(VAE, key, format!("a list of {found}"), format!("{expected} numbers")));
                }
            }
            Some(LatentStatistics { mean, deviation })
        }
        // One without the other is nothing, as in diffusers.
        _ => None,
    };
    check_channels(VAE, "block_out_channels", &raw.block_out_channels)?;
    at_most(VAE, "layers_per_block", raw.layers_per_block, MOST_LAYERS)?;
    for &channels in &raw.block_out_channels {
        divides(VAE, "norm_num_groups", channels, raw.norm_num_groups)?;
    }
    Ok(KlCard {
        latent_channels: raw.latent_channels,
        out_channels: raw.out_channels,
        channels: raw.block_out_channels,
        layers: raw.layers_per_block,
        groups: raw.norm_num_groups,
        scaling_factor: raw.scaling_factor,
        statistics,
        post_quant_conv: raw.use_post_quant_conv,
        mid_attention: raw.mid_block_add_attention,
        force_upcast: raw.force_upcast,
    })
}

fn read_tiny(raw: RawTiny) -> Result<TinyCard, CardError> {
    check_common(raw.out_channels, raw.scaling_factor, raw.shift_factor)?;
    if raw.act_fn != "relu" {
        return Err(unsupported(VAE, "act_fn", raw.act_fn, one_of(&["relu"])));
    }
    if raw.upsample_fn != "nearest" {
        return Err(unsupported(VAE, "upsample_fn", raw.upsample_fn, one_of(&["nearest"])));
    }
    if raw.upsampling_scaling_factor != 2 {
        return Err(unsupported(VAE, "upsampling_scaling_factor", raw.upsampling_scaling_factor, "`2`"));
    }
    let (found, expected) = (raw.num_decoder_blocks.len(), raw.decoder_block_out_channels.len());
    if found != expected || expected == 0 {
        return Err(CardError::Length { file: VAE, key: "num_decoder_blocks", found, expected });
    }
    check_latent_channels(raw.latent_channels)?;
    check_channels(VAE, "decoder_block_out_channels", &raw.decoder_block_out_channels)?;
    raw.num_decoder_blocks.iter().try_for_each(|&blocks| at_most(VAE, "num_decoder_blocks", blocks, MOST_LAYERS))?;
    let channels = raw.decoder_block_out_channels[0];
    if let Some(other) = raw.decoder_block_out_channels.iter().find(|other| **other != channels) {
        let supported = format!("the same channels in every stage (the first has {channels})");
        return Err(unsupported(VAE, "decoder_block_out_channels", other, supported));
    }
    Ok(TinyCard {
        latent_channels: raw.latent_channels,
        out_channels: raw.out_channels,
        channels,
        stages: raw.num_decoder_blocks,
        upscale: raw.upsampling_scaling_factor,
        scaling_factor: raw.scaling_factor,
    })
}

fn check_common(out_channels: usize, scaling_factor: f64, shift_factor: Option<f64>) -> Result<(), CardError> {
    if out_channels != 3 {
        return Err(unsupported(VAE, "out_channels", out_channels, "`3`"));
    }
    if !scaling_factor.is_normal() {
        return Err(unsupported(VAE, "scaling_factor", scaling_factor, "numbers other than 0"));
    }
    // Stable Diffusion's pipelines do not shift latents; a model that was trained with a shift would come out wrong.
    match shift_factor {
        None | Some(0.0) => Ok(()),
        Some(shift) => Err(unsupported(VAE, "shift_factor", shift, "`null` or `0`")),
    }
}
