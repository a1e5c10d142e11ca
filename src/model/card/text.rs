//! `text_encoder/config.json`: CLIP's text model.

use serde::Deserialize;

use super::{CardError, TEXT, divides, one_of, parse, unsupported};

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
        }
    }
}

pub(super) fn read(text: &str) -> Result<TextCard, CardError> {
    let raw: Raw = parse(text, TEXT)?;
    if raw.model_type != "clip_text_model" {
        return Err(unsupported(TEXT, "model_type", raw.model_type, one_of(&["clip_text_model"])));
    }
    let activation = match raw.hidden_act.as_str() {
        "quick_gelu" => TextActivation::QuickGelu,
        "gelu" => TextActivation::Gelu,
        other => return Err(unsupported(TEXT, "hidden_act", other, one_of(&["quick_gelu", "gelu"]))),
    };
    divides(TEXT, "num_attention_heads", raw.hidden_size, raw.num_attention_heads)?;
    Ok(TextCard {
        vocabulary: raw.vocab_size,
        width: raw.hidden_size,
        inner_width: raw.intermediate_size,
        layers: raw.num_hidden_layers,
        heads: raw.num_attention_heads,
        max_tokens: raw.max_position_embeddings,
        activation,
        norm_epsilon: raw.layer_norm_eps,
    })
}
