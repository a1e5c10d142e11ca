//! Texts as a model's text encoders take them: chunks of token ids with weights, for each encoder.

use super::card::Card;
use super::emphasis::{Fragment, Reading, fragments};
use super::files::ModelFiles;
use super::tokenizer::{Tokenizer, TokenizerError};

/// As much of a text as a text encoder takes at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// The beginning, tokens, the end, and padding.
    pub ids: Vec<u32>,
    /// How much each of them counts.
    pub weights: Vec<f32>,
}

impl Chunk {
    /// A chunk in which every token counts the same.
    pub fn plain(ids: Vec<u32>) -> Self {
        Self { weights: vec![1.0; ids.len()], ids }
    }
}

/// A text in tokens: for each of the model's text encoders its chunks, as many for one as for another. Without any it is
/// nothing, and its vectors are zeros.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TextTokens(pub Vec<Vec<Chunk>>);

/// A model's tokenizers, one for each of its text encoders.
#[derive(Debug, Clone)]
pub struct Tokenizers {
    all: Vec<Tokenizer>,
    zero_empty_text: bool,
}

impl Tokenizers {
    /// Reads the tokenizers of the model that `card` describes.
    pub fn read(files: &ModelFiles, card: &Card) -> Result<Self, TokenizerError> {
        let folders = ["tokenizer", "tokenizer_2"];
        let all = folders.iter().zip(card.text_encoders());
        let all = all.map(|(folder, text)| Tokenizer::read_from(files, folder, text.max_tokens));
        Ok(Self { all: all.collect::<Result<_, _>>()?, zero_empty_text: card.zero_empty_text })
    }

    /// Cuts a text into tokens, and gives the end of it that is left out, as written.
    pub fn encode(&self, text: &str, reading: Reading) -> Result<(TextTokens, Option<String>), TokenizerError> {
        if text.is_empty() && self.zero_empty_text {
            return Ok((TextTokens::default(), None));
        }
        let mut dropped = None;
        let mut encoders = Vec::with_capacity(self.all.len());
        for tokenizer in &self.all {
            encoders.push(match reading {
                Reading::Weighted => weighted(tokenizer, text)?,
                Reading::Literal => {
                    let tokens = tokenizer.encode(text)?;
                    dropped = dropped.or(tokens.dropped);
                    vec![Chunk::plain(tokens.ids)]
                }
            });
        }
        let most = encoders.iter().map(Vec::len).max().unwrap_or(0);
        for (chunks, tokenizer) in encoders.iter_mut().zip(&self.all) {
            chunks.resize_with(most, || tokenizer.chunk(Vec::new()));
        }
        Ok((TextTokens(encoders), dropped))
    }
}

/// A chunk that is full before its last clause is over ends with the comma before, if that is no further back than this.
const CLAUSE: usize = 20;

/// The chunks of a text with weights, cut where AUTOMATIC1111's web interface cuts it.
fn weighted(tokenizer: &Tokenizer, text: &str) -> Result<Vec<Chunk>, TokenizerError> {
    let room = tokenizer.length() - 2;
    if room == 0 {
        return Ok(vec![tokenizer.chunk(Vec::new())]);
    }
    let comma = tokenizer.ids(",")?;
    let mut chunks = Vec::new();
    let mut open: Vec<(u32, f32)> = Vec::new();
    let mut last_comma = None;
    let mut broken = false;
    for fragment in fragments(text) {
        let (text, weight) = match fragment {
            Fragment::Text(text, weight) => (text, weight as f32),
            Fragment::Break => {
                chunks.push(tokenizer.chunk(std::mem::take(&mut open)));
                (last_comma, broken) = (None, true);
                continue;
            }
        };
        for token in tokenizer.ids(&text)? {
            let full = open.len() == room;
            if comma == [token] {
                last_comma = Some(open.len());
            } else if full && let Some(at) = last_comma.filter(|at| open.len() - at <= CLAUSE) {
                let clause = open.split_off(at + 1);
                chunks.push(tokenizer.chunk(std::mem::replace(&mut open, clause)));
                last_comma = None;
            }
            if open.len() == room {
                chunks.push(tokenizer.chunk(std::mem::take(&mut open)));
                last_comma = None;
            }
            open.push((token, weight));
            broken = false;
        }
    }
    if !open.is_empty() || chunks.is_empty() || broken {
        chunks.push(tokenizer.chunk(open));
    }
    Ok(chunks)
}
