//! What a checkpoint's JSON says: everything that building the network, the text encoder, the autoencoder and the
//! schedule needs, typed and checked.
//!
//! The layout is that of diffusers: `unet/config.json`, `text_encoder/config.json` (and `text_encoder_2/config.json`),
//! `vae/config.json` and `scheduler/scheduler_config.json`, with `model_index.json` on top. A key that is absent has the default that
//! diffusers gives it. A key that asks for something unknown here is an error that names file, key and what is known:
//! a picture from half a network is worse than none.

mod autoencoder;
mod scheduler;
mod text;
mod unet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::training::SchedulerConfig;
use crate::quantity::Size;

pub use autoencoder::{AutoencoderCard, KlCard, LatentStatistics, TinyCard};
pub use text::{TextActivation, TextCard};
pub use unet::{AddedCard, DownCard, MidCard, TransformerCard, UNetCard, UpCard};

const INDEX: &str = "model_index.json";
const UNET: &str = "unet/config.json";
const TEXT: &str = "text_encoder/config.json";
const TEXT_2: &str = "text_encoder_2/config.json";
const VAE: &str = "vae/config.json";
const SCHEDULER: &str = "scheduler/scheduler_config.json";

/// The JSON texts of a checkpoint; `None` where the checkpoint lacks the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CardTexts {
    /// `model_index.json`, which may be absent.
    pub index: Option<String>,
    /// `unet/config.json`.
    pub unet: Option<String>,
    /// `text_encoder/config.json`.
    pub text_encoder: Option<String>,
    /// `text_encoder_2/config.json`, which models with one text encoder lack.
    pub text_encoder_2: Option<String>,
    /// `vae/config.json`.
    pub vae: Option<String>,
    /// `scheduler/scheduler_config.json`.
    pub scheduler: Option<String>,
}

impl CardTexts {
    /// Reads each file with `read`, which is given its path inside the checkpoint.
    pub fn gather<E>(read: impl Fn(&str) -> Result<Option<String>, E>) -> Result<Self, E> {
        Ok(Self {
            index: read(INDEX)?,
            unet: read(UNET)?,
            text_encoder: read(TEXT)?,
            text_encoder_2: read(TEXT_2)?,
            vae: read(VAE)?,
            scheduler: read(SCHEDULER)?,
        })
    }
}

/// Whose vectors a network sees of its text encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextLayer {
    /// The layer, counted from the last, which is 1.
    pub from_last: usize,
    /// Whether the final norm is applied to its vectors.
    pub normed: bool,
}

/// A checkpoint without its tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// The noise-estimating network.
    pub unet: UNetCard,
    /// The text encoder.
    pub text: TextCard,
    /// The second text encoder, if there is one: its vectors stand behind the first's, and the whole text's vector is
    /// its own.
    pub text_2: Option<TextCard>,
    /// Which layer's vectors the network was trained to see.
    pub text_layer: TextLayer,
    /// Whether the empty text is nothing at all (vectors of zeros) rather than encoded.
    pub zero_empty_text: bool,
    /// The autoencoder, of which only the decoder is used.
    pub autoencoder: AutoencoderCard,
    /// How the model was trained to see noise, and its own scheduler.
    pub scheduler: SchedulerConfig,
    /// The size of picture that the model was trained on.
    pub default_size: Size,
}

impl Card {
    /// Reads and checks a checkpoint's texts.
    pub fn new(texts: &CardTexts) -> Result<Self, CardError> {
        let index: Index = texts.index.as_deref().map_or(Ok(Index::default()), |index| parse(index, INDEX))?;
        index.check()?;
        let unet = unet::read(required(&texts.unet, UNET)?)?;
        if unet.added.is_some() && texts.text_encoder.is_none() && texts.text_encoder_2.is_some() {
            return Err(CardError::Refiner { file: TEXT_2 });
        }
        let text = text::read(required(&texts.text_encoder, TEXT)?, TEXT, false)?;
        // A second text encoder that the network has no use for, left by a converter, is not looked at.
        let text_2 = match unet.added {
            Some(_) => Some(text::read(required(&texts.text_encoder_2, TEXT_2)?, TEXT_2, true)?),
            None => None,
        };
        let autoencoder = autoencoder::read(required(&texts.vae, VAE)?)?;
        let scheduler = scheduler::read(required(&texts.scheduler, SCHEDULER)?)?;

        let latent = autoencoder.latent_channels();
        if unet.in_channels > latent && unet.out_channels == latent {
            return Err(CardError::OtherTask { channels: unet.in_channels, latent });
        }
        for (key, found) in [("in_channels", unet.in_channels), ("out_channels", unet.out_channels)] {
            agree(UNET, key, found, VAE, "latent_channels", latent)?;
        }
        let text_width = text.width + text_2.as_ref().map_or(0, |text| text.width);
        for width in unet.transformers().map(|transformer| transformer.text_width) {
            match &text_2 {
                None => agree(UNET, "cross_attention_dim", width, TEXT, "hidden_size", text.width)?,
                Some(_) if width == text_width => {}
                Some(_) => return Err(CardError::TextWidths { width, text_width }),
            }
        }
        if let (Some(added), Some(text)) = (unet.added, &text_2) {
            let (expected, width) = (text.projection.unwrap_or(0), added.text_width);
            let key = "projection_class_embeddings_input_dim";
            let measures = added.width() - width;
            agree(UNET, key, added.width(), TEXT_2, "6 addition_time_embed_dim + projection_dim", measures + expected)?;
        }
        if let Some(second) = &text_2 {
            agree(
                TEXT,
                "max_position_embeddings",
                text.max_tokens,
                TEXT_2,
                "max_position_embeddings",
                second.max_tokens,
            )?;
        }
        let least_layers = text_2.iter().fold(text.layers, |least, text| least.min(text.layers));
        let text_layer = match text_2 {
            Some(_) => TextLayer { from_last: 2, normed: false },
            None => TextLayer { from_last: 1, normed: true },
        };
        if text_layer.from_last > least_layers {
            return Err(unsupported(TEXT, "num_hidden_layers", least_layers, "numbers from 2"));
        }
        let (height, width) = unet.sample_size;
        let pixels = |side: usize| u32::try_from(side.saturating_mul(autoencoder.downscale())).unwrap_or(u32::MAX);
        let default_size = Size::new(pixels(width), pixels(height)).ok_or_else(|| {
            unsupported(
                UNET,
                "sample_size",
                format!("{width}x{height}"),
                "sizes that give pictures of 8 to 8192 pixels",
            )
        })?;
        let zero_empty_text = text_2.is_some() && index.force_zeros_for_empty_prompt.unwrap_or(true);
        Ok(Self { unet, text, text_2, text_layer, zero_empty_text, autoencoder, scheduler, default_size })
    }

    /// The channels of the latents: 4 in every Stable Diffusion.
    pub fn latent_channels(&self) -> usize {
        self.autoencoder.latent_channels()
    }

    /// How many pixels a side of a latent stands for: 8 in every Stable Diffusion.
    pub fn downscale(&self) -> usize {
        self.autoencoder.downscale()
    }

    /// The text encoders, in the order of their vectors.
    pub fn text_encoders(&self) -> impl Iterator<Item = &TextCard> {
        [Some(&self.text), self.text_2.as_ref()].into_iter().flatten()
    }

    /// The length of an encoded text in tokens, with its first and last: 77 in every CLIP.
    pub fn max_tokens(&self) -> usize {
        self.text.max_tokens
    }
}

/// A checkpoint that cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// A file is not there.
    #[error("the checkpoint has no `{file}`; Stable Diffusion 1.x, 2.x and XL in diffusers layout are supported")]
    MissingFile {
        /// The path inside the checkpoint.
        file: &'static str,
    },
    /// A file is not a JSON object.
    #[error("`{file}` cannot be read: {source}; fetch it again")]
    Malformed {
        /// The path inside the checkpoint.
        file: &'static str,
        /// What is wrong, and where in the file.
        source: serde_json::Error,
    },
    /// A key has a value of the wrong type.
    #[error("`{file}`: `{key}`: {source}")]
    WrongType {
        /// The path inside the checkpoint.
        file: &'static str,
        /// The key.
        key: String,
        /// What was found and what is expected.
        source: serde_json::Error,
    },
    /// A key asks for something unknown here.
    #[error("`{file}`: `{key}` is `{value}`; supported: {supported}")]
    Unsupported {
        /// The path inside the checkpoint.
        file: &'static str,
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The values that are supported.
        supported: String,
    },
    /// The checkpoint refines pictures of another.
    #[error(
        "this is a refiner of Stable Diffusion XL (`{file}`), which only finishes another model's pictures; use the base model"
    )]
    Refiner {
        /// The path inside the checkpoint that shows it.
        file: &'static str,
    },
    /// The network and its text encoders do not belong together.
    #[error(
        "`{UNET}`: `cross_attention_dim` is {width}, but the vectors of `{TEXT}` and `{TEXT_2}` together have {text_width}; the parts belong to different models"
    )]
    TextWidths {
        /// The width that the network expects.
        width: usize,
        /// The width that the text encoders give.
        text_width: usize,
    },
    /// The network takes more than latents.
    #[error(
        "the network takes {channels} channels (`{UNET}`: `in_channels`), {latent} of latents and others besides: this is a checkpoint for inpainting, depth or editing pictures; use one that makes pictures from text alone"
    )]
    OtherTask {
        /// The channels that the network takes.
        channels: usize,
        /// The channels of the latents.
        latent: usize,
    },
    /// A list has not one entry for each block.
    #[error("`{file}`: `{key}` has {found} entries, but there are {expected} blocks")]
    Length {
        /// The path inside the checkpoint.
        file: &'static str,
        /// The key.
        key: &'static str,
        /// The length of its list.
        found: usize,
        /// The number of blocks.
        expected: usize,
    },
    /// Channels cannot be shared out evenly.
    #[error("`{file}`: {channels} channels cannot be divided by `{key}`, which is {divisor}")]
    Indivisible {
        /// The path inside the checkpoint.
        file: &'static str,
        /// The key of the divisor.
        key: &'static str,
        /// The channels.
        channels: usize,
        /// The divisor.
        divisor: usize,
    },
    /// Two files contradict each other.
    #[error(
        "`{file}`: `{key}` is {value}, but `{other_file}`: `{other_key}` is {other_value}; the parts belong to different models"
    )]
    Disagreement {
        /// The path of one file inside the checkpoint.
        file: &'static str,
        /// The key in it.
        key: &'static str,
        /// Its value.
        value: usize,
        /// The other file.
        other_file: &'static str,
        /// The key in the other file.
        other_key: &'static str,
        /// Its value.
        other_value: usize,
    },
}

/// The parts that `model_index.json` lists, as far as they matter here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Index {
    #[serde(deserialize_with = "switch")]
    requires_aesthetics_score: bool,
    force_zeros_for_empty_prompt: Option<bool>,
}

impl Index {
    fn check(&self) -> Result<(), CardError> {
        if self.requires_aesthetics_score { Err(CardError::Refiner { file: INDEX }) } else { Ok(()) }
    }
}

fn required<'a>(text: &'a Option<String>, file: &'static str) -> Result<&'a str, CardError> {
    text.as_deref().ok_or(CardError::MissingFile { file })
}

fn agree(
    file: &'static str,
    key: &'static str,
    value: usize,
    other_file: &'static str,
    other_key: &'static str,
    other_value: usize,
) -> Result<(), CardError> {
    if value == other_value {
        Ok(())
    } else {
        Err(CardError::Disagreement { file, key, value, other_file, other_key, other_value })
    }
}

fn unsupported(file: &'static str, key: &'static str, value: impl ToString, supported: impl Into<String>) -> CardError {
    CardError::Unsupported { file, key, value: value.to_string(), supported: supported.into() }
}

/// `` `a`, `b` or `c` ``.
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Reads a file whose every key has a default.
fn parse<T: DeserializeOwned>(text: &str, file: &'static str) -> Result<T, CardError> {
    let object: Map<String, Value> =
        serde_json::from_str(&without_python_numbers(text)).map_err(|source| CardError::Malformed { file, source })?;
    serde_json::from_value(Value::Object(object.clone())).map_err(|source| {
        // The key at fault is the one that is an error alone.
        let alone = |(key, value): (String, Value)| {
            let error = serde_json::from_value::<T>(Value::Object(Map::from_iter([(key.clone(), value)]))).err()?;
            Some(CardError::WrongType { file, key, source: error })
        };
        object.into_iter().find_map(alone).unwrap_or(CardError::Malformed { file, source })
    })
}

/// Python writes infinities and NaN as bare words, which JSON does not know; diffusers' own files have them
/// (`"lambda_min_clipped": -Infinity`). They become `null`, which for that key means the same.
fn without_python_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let (mut quoted, mut escaped) = (false, false);
    while let Some(first) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| !quoted && rest.starts_with(word));
        if let Some(word) = word {
            out.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        match first {
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && first == '\\' && !escaped;
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    out
}

/// A switch in Python's sense, where `null` is off: older converters wrote it for switches that nobody had set.
fn switch<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or(false))
}

/// A setting that is one value for all blocks or a list with a value for each.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "neither one value nor a list with a value for each block")]
enum PerBlock<T> {
    All(T),
    Each(Vec<T>),
}

impl<T: Clone> PerBlock<T> {
    fn spread(self, blocks: usize, file: &'static str, key: &'static str) -> Result<Vec<T>, CardError> {
        match self {
            Self::All(value) => Ok(vec![value; blocks]),
            Self::Each(values) if values.len() == blocks => Ok(values),
            Self::Each(values) => Err(CardError::Length { file, key, found: values.len(), expected: blocks }),
        }
    }
}

fn divides(file: &'static str, key: &'static str, channels: usize, divisor: usize) -> Result<(), CardError> {
    if divisor > 0 && channels > 0 && channels.is_multiple_of(divisor) {
        Ok(())
    } else {
        Err(CardError::Indivisible { file, key, channels, divisor })
    }
}

/// Refuses numbers that no model has, before anything is reserved or multiplied by them.
fn at_most(file: &'static str, key: &'static str, value: usize, limit: usize) -> Result<(), CardError> {
    if value <= limit { Ok(()) } else { Err(unsupported(file, key, value, format!("numbers up to {limit}"))) }
}

/// Refuses latents that no autoencoder has.
fn check_latent_channels(channels: usize) -> Result<(), CardError> {
    const MOST: usize = 64;
    if (1..=MOST).contains(&channels) {
        Ok(())
    } else {
        Err(unsupported(VAE, "latent_channels", channels, format!("numbers from 1 to {MOST}")))
    }
}

/// The most channels of a level.
const MOST_CHANNELS: usize = 1 << 16;
/// The most residual blocks or transformer layers of a level.
const MOST_LAYERS: usize = 1 << 10;

/// Refuses lists of channels that no model has.
fn check_channels(file: &'static str, key: &'static str, channels: &[usize]) -> Result<(), CardError> {
    const MOST_LEVELS: usize = 12;
    if channels.len() > MOST_LEVELS {
        return Err(unsupported(
            file,
            key,
            format!("a list of {}", channels.len()),
            format!("up to {MOST_LEVELS} levels"),
        ));
    }
    channels.iter().try_for_each(|&channels| at_most(file, key, channels, MOST_CHANNELS))
}
