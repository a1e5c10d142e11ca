//! `unet/config.json`: the network that estimates noise.

use serde::Deserialize;
use serde_json::Value;

use super::{
    CardError, MOST_CHANNELS, MOST_LAYERS, PerBlock, UNET, at_most, check_channels, divides, one_of, parse, switch,
    unsupported,
};

/// A U-Net: residual blocks with transformers, coarser level by level and back, with skips between.
#[derive(Debug, Clone, PartialEq)]
pub struct UNetCard {
    /// The channels of the latents.
    pub in_channels: usize,
    /// The channels of the estimate.
    pub out_channels: usize,
    /// Height and width of the latents that the model was trained on.
    pub sample_size: (usize, usize),
    /// Whether latents are moved from [0, 1] to [-1, 1] first.
    pub center_input: bool,
    /// The kernel of the first convolution.
    pub conv_in_kernel: usize,
    /// The kernel of the last convolution.
    pub conv_out_kernel: usize,
    /// The width of the timestep's sinusoidal embedding.
    pub time_channels: usize,
    /// The width of the embedding that the blocks see.
    pub time_width: usize,
    /// What else the timestep's embedding tells, if the network wants it.
    pub added: Option<AddedCard>,
    /// The width of the guidance scale's sinusoidal embedding, if the network is told the scale (and so needs no
    /// unconditional estimate beside the prompt's).
    pub guidance_channels: Option<usize>,
    /// Whether cosines stand before sines.
    pub flip_sin_to_cos: bool,
    /// Subtracted from the number of frequencies when they are spread.
    pub freq_shift: f64,
    /// The groups of the norms.
    pub groups: usize,
    /// The epsilon of the residual blocks' norms.
    pub norm_epsilon: f64,
    /// The padding of the downsampling convolutions.
    pub downsample_padding: usize,
    /// Whether a transformer's outer projections are stored as linear layers, not as 1x1 convolutions.
    pub linear_projection: bool,
    /// Whether attention scores are computed in f32 whatever the network's type.
    pub upcast_attention: bool,
    /// The levels downwards, the finest first.
    pub down: Vec<DownCard>,
    /// The middle, if there is one.
    pub mid: Option<MidCard>,
    /// The levels upwards, the coarsest first.
    pub up: Vec<UpCard>,
}

/// What is added to the timestep's embedding (`text_time`): the whole text's vector and the picture's measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedCard {
    /// The width of each measure's sinusoidal embedding.
    pub measure_channels: usize,
    /// The width of the whole text's vector.
    pub text_width: usize,
}

impl AddedCard {
    /// Height and width of the original, top and left of the crop, height and width of the picture.
    pub const MEASURES: usize = 6;
    /// The width of the vector that is embedded.
    pub fn width(&self) -> usize {
        Self::MEASURES * self.measure_channels + self.text_width
    }
}

/// The transformers of a level.
#[derive(Debug, Clone, PartialEq)]
pub struct TransformerCard {
    /// The number of attention heads. (In these files it is the key `attention_head_dim` that says so.)
    pub heads: usize,
    /// The number of transformer layers in each transformer.
    pub layers: usize,
    /// The width of the text's vectors.
    pub text_width: usize,
    /// Whether what would be self-attention attends to the text too.
    pub only_cross_attention: bool,
}

/// A level downwards.
#[derive(Debug, Clone, PartialEq)]
pub struct DownCard {
    /// The level's channels.
    pub channels: usize,
    /// The number of residual blocks.
    pub layers: usize,
    /// The transformer after each residual block, if the level has them.
    pub transformer: Option<TransformerCard>,
    /// Whether a downsampling ends the level.
    pub downsample: bool,
}

/// The middle: a residual block, and with a transformer also that and another residual block.
#[derive(Debug, Clone, PartialEq)]
pub struct MidCard {
    /// The transformer between the residual blocks.
    pub transformer: Option<TransformerCard>,
    /// The residual blocks' outputs are divided by it.
    pub scale_factor: f64,
}

/// A level upwards.
#[derive(Debug, Clone, PartialEq)]
pub struct UpCard {
    /// The level's channels.
    pub channels: usize,
    /// The number of residual blocks.
    pub layers: usize,
    /// The transformer after each residual block, if the level has them.
    pub transformer: Option<TransformerCard>,
    /// Whether an upsampling ends the level.
    pub upsample: bool,
}

impl UNetCard {
    /// All transformers' cards, in the order of evaluation.
    pub fn transformers(&self) -> impl Iterator<Item = &TransformerCard> {
        let down = self.down.iter().filter_map(|level| level.transformer.as_ref());
        let mid = self.mid.iter().filter_map(|mid| mid.transformer.as_ref());
        let up = self.up.iter().filter_map(|level| level.transformer.as_ref());
        down.chain(mid).chain(up)
    }
}

/// The file, with the defaults of diffusers' `UNet2DConditionModel`. Keys from `num_attention_heads` on are only
/// read to see that they ask for nothing.
#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    _diffusers_version: Option<String>,
    sample_size: Option<PerBlock<usize>>,
    in_channels: usize,
    out_channels: usize,
    #[serde(deserialize_with = "switch")]
    center_input_sample: bool,
    #[serde(deserialize_with = "switch")]
    flip_sin_to_cos: bool,
    freq_shift: f64,
    down_block_types: Vec<String>,
    mid_block_type: Option<String>,
    up_block_types: Vec<String>,
    only_cross_attention: PerBlock<bool>,
    block_out_channels: Vec<usize>,
    layers_per_block: PerBlock<usize>,
    downsample_padding: usize,
    mid_block_scale_factor: f64,
    act_fn: String,
    norm_num_groups: Option<usize>,
    norm_eps: f64,
    cross_attention_dim: PerBlock<usize>,
    transformer_layers_per_block: PerBlock<usize>,
    reverse_transformer_layers_per_block: Option<Vec<usize>>,
    attention_head_dim: PerBlock<usize>,
    #[serde(deserialize_with = "switch")]
    use_linear_projection: bool,
    #[serde(deserialize_with = "switch")]
    upcast_attention: bool,
    time_embedding_dim: Option<usize>,
    conv_in_kernel: usize,
    conv_out_kernel: usize,
    addition_embed_type: Option<String>,
    addition_time_embed_dim: Option<usize>,
    projection_class_embeddings_input_dim: Option<usize>,
    time_cond_proj_dim: Option<usize>,

    num_attention_heads: Option<Value>,
    encoder_hid_dim: Option<Value>,
    encoder_hid_dim_type: Option<Value>,
    class_embed_type: Option<Value>,
    num_class_embeds: Option<Value>,
    time_embedding_act_fn: Option<Value>,
    timestep_post_act: Option<Value>,
    cross_attention_norm: Option<Value>,
    dual_cross_attention: Option<Value>,
    class_embeddings_concat: Option<Value>,
    resnet_skip_time_act: Option<Value>,
    resnet_time_scale_shift: String,
    resnet_out_scale_factor: f64,
    time_embedding_type: String,
    attention_type: String,
}

impl Default for Raw {
    fn default() -> Self {
        let cross = "CrossAttnDownBlock2D".to_owned();
        let up = "CrossAttnUpBlock2D".to_owned();
        Self {
            _diffusers_version: None,
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: vec![cross.clone(), cross.clone(), cross, "DownBlock2D".to_owned()],
            mid_block_type: Some("UNetMidBlock2DCrossAttn".to_owned()),
            up_block_types: vec!["UpBlock2D".to_owned(), up.clone(), up.clone(), up],
            only_cross_attention: PerBlock::All(false),
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: PerBlock::All(2),
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            act_fn: "silu".to_owned(),
            norm_num_groups: Some(32),
            norm_eps: 1e-5,
            cross_attention_dim: PerBlock::All(1280),
            transformer_layers_per_block: PerBlock::All(1),
            reverse_transformer_layers_per_block: None,
            attention_head_dim: PerBlock::All(8),
            use_linear_projection: false,
            upcast_attention: false,
            time_embedding_dim: None,
            conv_in_kernel: 3,
            conv_out_kernel: 3,
            addition_embed_type: None,
            addition_time_embed_dim: None,
            projection_class_embeddings_input_dim: None,
            time_cond_proj_dim: None,
            num_attention_heads: None,
            encoder_hid_dim: None,
            encoder_hid_dim_type: None,
            class_embed_type: None,
            num_class_embeds: None,
            time_embedding_act_fn: None,
            timestep_post_act: None,
            cross_attention_norm: None,
            dual_cross_attention: None,
            class_embeddings_concat: None,
            resnet_skip_time_act: None,
            resnet_time_scale_shift: "default".to_owned(),
            resnet_out_scale_factor: 1.0,
            time_embedding_type: "positional".to_owned(),
            attention_type: "default".to_owned(),
        }
    }
}

const DOWN: [&str; 2] = ["DownBlock2D", "CrossAttnDownBlock2D"];
const UP: [&str; 2] = ["UpBlock2D", "CrossAttnUpBlock2D"];
const MID: [&str; 2] = ["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"];

pub(super) fn read(text: &str) -> Result<UNetCard, CardError> {
    let raw: Raw = parse(text, UNET)?;
    check_unsupported(&raw)?;
    let added = added(&raw)?;

    let blocks = raw.block_out_channels.len();
    for (key, found) in [("down_block_types", raw.down_block_types.len()), ("up_block_types", raw.up_block_types.len())]
    {
        if found != blocks || blocks == 0 {
            return Err(CardError::Length { file: UNET, key, found, expected: blocks });
        }
    }
    check_channels(UNET, "block_out_channels", &raw.block_out_channels)?;
    let groups = raw.norm_num_groups.ok_or_else(|| unsupported(UNET, "norm_num_groups", "null", "a number"))?;
    for &channels in &raw.block_out_channels {
        divides(UNET, "norm_num_groups", channels, groups)?;
    }
    let down_attention = kinds(&raw.down_block_types, "down_block_types", DOWN)?;
    let up_attention = kinds(&raw.up_block_types, "up_block_types", UP)?;

    let heads = raw.attention_head_dim.spread(blocks, UNET, "attention_head_dim")?;
    let text_width = raw.cross_attention_dim.spread(blocks, UNET, "cross_attention_dim")?;
    let only_cross = raw.only_cross_attention.spread(blocks, UNET, "only_cross_attention")?;
    let layers = raw.layers_per_block.spread(blocks, UNET, "layers_per_block")?;
    let depth = raw.transformer_layers_per_block.spread(blocks, UNET, "transformer_layers_per_block")?;
    let up_depth = match raw.reverse_transformer_layers_per_block {
        None => depth.iter().rev().copied().collect(),
        Some(depth) => PerBlock::Each(depth).spread(blocks, UNET, "reverse_transformer_layers_per_block")?,
    };
    layers.iter().try_for_each(|&layers| at_most(UNET, "layers_per_block", layers, MOST_LAYERS))?;
    let transformer = |block: usize, layers: usize| -> Result<TransformerCard, CardError> {
        divides(UNET, "attention_head_dim", raw.block_out_channels[block], heads[block])?;
        Ok(TransformerCard {
            heads: heads[block],
            layers,
            text_width: text_width[block],
            only_cross_attention: only_cross[block],
        })
    };

    let last = blocks - 1;
    let down = (0..blocks)
        .map(|block| {
            Ok(DownCard {
                channels: raw.block_out_channels[block],
                layers: layers[block],
                transformer: down_attention[block].then(|| transformer(block, depth[block])).transpose()?,
                downsample: block != last,
            })
        })
        .collect::<Result<_, CardError>>()?;
    let up = (0..blocks)
        .map(|step| {
            let block = last - step;
            Ok(UpCard {
                channels: raw.block_out_channels[block],
                layers: layers[block] + 1,
                transformer: up_attention[step].then(|| transformer(block, up_depth[step])).transpose()?,
                upsample: step != last,
            })
        })
        .collect::<Result<_, CardError>>()?;
    // diffusers does not hand `only_cross_attention` on to this kind of middle.
    let mid_transformer =
        || transformer(last, depth[last]).map(|card| TransformerCard { only_cross_attention: false, ..card });
    let scale_factor = raw.mid_block_scale_factor;
    let mid = match raw.mid_block_type.as_deref() {
        None => None,
        Some("UNetMidBlock2DCrossAttn") => Some(MidCard { transformer: Some(mid_transformer()?), scale_factor }),
        Some("UNetMidBlock2D") => Some(MidCard { transformer: None, scale_factor }),
        Some(other) => return Err(unsupported(UNET, "mid_block_type", other, one_of(&MID))),
    };

    Ok(UNetCard {
        in_channels: raw.in_channels,
        out_channels: raw.out_channels,
        added,
        sample_size: sample_size(raw.sample_size, raw._diffusers_version.as_deref())?,
        center_input: raw.center_input_sample,
        conv_in_kernel: raw.conv_in_kernel,
        conv_out_kernel: raw.conv_out_kernel,
        time_channels: raw.block_out_channels[0],
        time_width: raw.time_embedding_dim.unwrap_or(4 * raw.block_out_channels[0]),
        guidance_channels: guidance_channels(raw.time_cond_proj_dim)?,
        flip_sin_to_cos: raw.flip_sin_to_cos,
        freq_shift: raw.freq_shift,
        groups,
        norm_epsilon: raw.norm_eps,
        downsample_padding: raw.downsample_padding,
        linear_projection: raw.use_linear_projection,
        upcast_attention: raw.upcast_attention,
        down,
        mid,
        up,
    })
}

/// For each block whether it has transformers. Older files write the same names behind `UNetRes`.
fn kinds(names: &[String], key: &'static str, [plain, cross]: [&str; 2]) -> Result<Vec<bool>, CardError> {
    names
        .iter()
        .map(|name| match name.strip_prefix("UNetRes").unwrap_or(name) {
            known if known == plain => Ok(false),
            known if known == cross => Ok(true),
            _ => Err(unsupported(UNET, key, name, one_of(&[plain, cross]))),
        })
        .collect()
}

/// What `addition_embed_type` asks for.
fn added(raw: &Raw) -> Result<Option<AddedCard>, CardError> {
    match raw.addition_embed_type.as_deref() {
        None => return Ok(None),
        Some("text_time") => {}
        Some(other) => return Err(unsupported(UNET, "addition_embed_type", other, one_of(&["text_time"]))),
    }
    let needed = |key: &'static str, value: Option<usize>| {
        let value = value.ok_or_else(|| unsupported(UNET, key, "null", "a number"))?;
        at_most(UNET, key, value, MOST_CHANNELS).map(|()| value)
    };
    let measure_channels = needed("addition_time_embed_dim", raw.addition_time_embed_dim)?;
    let width = needed("projection_class_embeddings_input_dim", raw.projection_class_embeddings_input_dim)?;
    let text_width = width.checked_sub(AddedCard::MEASURES * measure_channels).filter(|width| *width > 0);
    let text_width = text_width.ok_or_else(|| {
        let supported = format!("numbers above 6 times `addition_time_embed_dim`, which is {measure_channels}");
        unsupported(UNET, "projection_class_embeddings_input_dim", width, supported)
    })?;
    Ok(Some(AddedCard { measure_channels, text_width }))
}

/// The width of the guidance scale's embedding, half of it sines.
fn guidance_channels(raw: Option<usize>) -> Result<Option<usize>, CardError> {
    match raw {
        Some(channels) if !channels.is_multiple_of(2) || !(4..=MOST_CHANNELS).contains(&channels) => {
            Err(unsupported(UNET, "time_cond_proj_dim", channels, format!("even numbers from 4 to {MOST_CHANNELS}")))
        }
        channels => Ok(channels),
    }
}

fn sample_size(raw: Option<PerBlock<usize>>, version: Option<&str>) -> Result<(usize, usize), CardError> {
    match raw {
        // Files that early releases wrote may have lost their sample size; diffusers takes 64 then.
        Some(PerBlock::All(side)) if side < 64 && version.is_some_and(before_0_9) => Ok((64, 64)),
        Some(PerBlock::All(side)) => Ok((side, side)),
        Some(PerBlock::Each(sides)) => match sides[..] {
            [height, width] => Ok((height, width)),
            _ => Err(unsupported(UNET, "sample_size", format!("{sides:?}"), "a number, or height and width")),
        },
        None => Err(unsupported(UNET, "sample_size", "null", "a number, or height and width")),
    }
}

fn before_0_9(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(0), Some(minor)) if minor < 9)
}

fn check_unsupported(raw: &Raw) -> Result<(), CardError> {
    if !matches!(raw.act_fn.as_str(), "silu" | "swish") {
        return Err(unsupported(UNET, "act_fn", &raw.act_fn, one_of(&["silu"])));
    }
    let words = [
        ("resnet_time_scale_shift", &raw.resnet_time_scale_shift, "default"),
        ("time_embedding_type", &raw.time_embedding_type, "positional"),
        ("attention_type", &raw.attention_type, "default"),
    ];
    for (key, value, only) in words {
        if value != only {
            return Err(unsupported(UNET, key, value, one_of(&[only])));
        }
    }
    if raw.resnet_out_scale_factor != 1.0 {
        return Err(unsupported(UNET, "resnet_out_scale_factor", raw.resnet_out_scale_factor, "`1`"));
    }
    if !raw.mid_block_scale_factor.is_normal() {
        return Err(unsupported(UNET, "mid_block_scale_factor", raw.mid_block_scale_factor, "numbers other than 0"));
    }
    for (key, kernel) in [("conv_in_kernel", raw.conv_in_kernel), ("conv_out_kernel", raw.conv_out_kernel)] {
        if kernel.is_multiple_of(2) {
            return Err(unsupported(UNET, key, kernel, "odd numbers"));
        }
    }
    if raw.downsample_padding > 1 {
        return Err(unsupported(UNET, "downsample_padding", raw.downsample_padding, "`0` or `1`"));
    }
    let absent = [
        ("num_attention_heads", &raw.num_attention_heads),
        ("encoder_hid_dim", &raw.encoder_hid_dim),
        ("encoder_hid_dim_type", &raw.encoder_hid_dim_type),
        ("class_embed_type", &raw.class_embed_type),
        ("num_class_embeds", &raw.num_class_embeds),
        ("time_embedding_act_fn", &raw.time_embedding_act_fn),
        ("timestep_post_act", &raw.timestep_post_act),
        ("cross_attention_norm", &raw.cross_attention_norm),
    ];
    for (key, value) in absent {
        if let Some(value) = value {
            return Err(unsupported(UNET, key, plain(value), "`null`"));
        }
    }
    let off = [
        ("dual_cross_attention", &raw.dual_cross_attention),
        ("class_embeddings_concat", &raw.class_embeddings_concat),
        ("resnet_skip_time_act", &raw.resnet_skip_time_act),
    ];
    for (key, value) in off {
        if let Some(value) = value.as_ref().filter(|value| **value != Value::Bool(false)) {
            return Err(unsupported(UNET, key, plain(value), "`false`"));
        }
    }
    Ok(())
}

/// A value as a message shows it: words without their quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
