//! `text_encoder/config.json` and `text_encoder_2/config.json`: CLIP's text model, the second with a projection.

use serde::Deserialize;

use serde_json::Value;

use super::{CardError, MOST_CHANNELS, MOST_LAYERS, at_most, divides, one_of, parse, unsupported};

/// The activation between the two layers of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextActivation {
    /// x sigmoid(1.702 x): OpenAI's CLIP, hence Stable Diffusion 1.x.
    QuickGelu,
    /// x Phi(x): OpenCLIP, hence Stable Diffusion 2.x.
    Gelu,
}

/// A CLIP text encoder: token and position embeddings, pre-norm transformer layers with a causal mask, a final norm.
#[derive(Debug, Clone, PartialEq)]
pub struct TextCard {
    /// The number of token ids.
    pub vocabulary: usize,
    /// The width of a token's vector.
    pub width: usize,
    /// The width inside a feed-forward block.
    pub inner_width: usize,
    /// The number of layers.
    pub layers: usize,
    /// The number of attention heads.
    pub heads: usize,
    /// The number of positions, hence the length of every encoded text.
    pub max_tokens: usize,
    /// The activation.
    pub activation: TextActivation,
    /// The epsilon of the norms.
    pub norm_epsilon: f64,
    /// The width of the whole text's vector, if the encoder has one: a projection of what the last layer says of the
    /// end token.
    pub projection: Option<usize>,
    /// The id of the end token; where `None`, it is the greatest in a text.
    pub end_token: Option<u32>,
}

/// The file, with the defaults of transformers' `CLIPTextConfig`.
#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    projection_dim: Option<usize>,
    eos_token_id: Value,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            model_type: "clip_text_model".to_owned(),
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: "quick_gelu".to_owned(),
            layer_norm_eps: 1e-5,
            projection_dim: Some(512),
            eos_token_id: Value::from(49407),
        }
    }
}

/// The `eos_token_id` of files that were written before transformers read it.
const OUTDATED_END: u64 = 2;

/// Reads the file `file`; `projected` tells whether the network needs the whole text's vector of this encoder.
pub(super) fn read(text: &str, file: &'static str, projected: bool) -> Result<TextCard, CardError> {
    let raw: Raw = parse(text, file)?;
    if raw.model_type != "clip_text_model" {
        return Err(unsupported(file, "model_type", raw.model_type, one_of(&["clip_text_model"])));
    }
    let activation = match raw.hidden_act.as_str() {
        "quick_gelu" => TextActivation::QuickGelu,
        "gelu" => TextActivation::Gelu,
        other => return Err(unsupported(file, "hidden_act", other, one_of(&["quick_gelu", "gelu"]))),
    };
    at_most(file, "num_hidden_layers", raw.num_hidden_layers, MOST_LAYERS)?;
    at_most(file, "hidden_size", raw.hidden_size, MOST_CHANNELS)?;
    at_most(file, "projection_dim", raw.projection_dim.unwrap_or(0), MOST_CHANNELS)?;
    divides(file, "num_attention_heads", raw.hidden_size, raw.num_attention_heads)?;
    let projection = match (projected, raw.projection_dim) {
        (false, _) => None,
        (true, Some(width)) => Some(width),
        (true, None) => return Err(unsupported(file, "projection_dim", "null", "a number")),
    };
    Ok(TextCard {
        vocabulary: raw.vocab_size,
        width: raw.hidden_size,
        inner_width: raw.intermediate_size,
        layers: raw.num_hidden_layers,
        heads: raw.num_attention_heads,
        max_tokens: raw.max_position_embeddings,
        activation,
        norm_epsilon: raw.layer_norm_eps,
        projection,
        end_token: raw.eos_token_id.as_u64().filter(|&id| id != OUTDATED_END).and_then(|id| u32::try_from(id).ok()),
    })
}
