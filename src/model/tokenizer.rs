//! How a model's text encoder cuts a text into tokens: the byte-pair encoding of CLIP (arXiv 2103.00020).

use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::Split;
use tokenizers::{
    AddedToken, Encoding, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer as Inner,
};

use std::collections::HashMap;

use serde_json::Value;

use super::files::{FilesError, ModelFiles};
use super::prompt::Chunk;

const WHOLE: &str = "tokenizer.json";
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const CONFIG: &str = "tokenizer_config.json";
const SPECIAL: &str = "special_tokens_map.json";

/// The regular expression that cuts a text into words before pairs are merged (CLIP's own).
const WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

const BEGIN: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// Why a tokenizer cannot be had or used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// Its files cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// It has no vocabulary.
    #[error("the model has no tokenizer: expected `{folder}/tokenizer.json`, or `{folder}/merges.txt`")]
    Missing {
        /// The folder inside the model.
        folder: String,
    },
    /// A file is not what it should be.
    #[error("`{path}` is not what a CLIP tokenizer needs: {reason}; fetch the model again")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A text cannot be encoded.
    #[error("the text cannot be encoded: {reason}")]
    Encoding {
        /// What the library says.
        reason: String,
    },
}

/// A text as the text encoder takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The beginning, the text's tokens, the end, and padding: always as many as the tokenizer's length.
    pub ids: Vec<u32>,
    /// The end of the text that does not fit, as written.
    pub dropped: Option<String>,
}

/// A model's tokenizer.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: Inner,
    length: usize,
    begin: u32,
    end: u32,
    pad: u32,
}

impl Tokenizer {
    /// Reads a model's tokenizer, that in its folder `tokenizer`: see [`Self::read_from`].
    pub fn read(files: &ModelFiles, max_tokens: usize) -> Result<Self, TokenizerError> {
        Self::read_from(files, "tokenizer", max_tokens)
    }

    /// Reads the tokenizer in a folder of a model: `tokenizer.json`, or the vocabulary and merges that it is made of.
    ///
    /// Texts become as many tokens as `model_max_length` of `tokenizer_config.json` says, at most `max_tokens`, which
    /// is the number of positions that the text encoder has.
    pub fn read_from(files: &ModelFiles, folder: &str, max_tokens: usize) -> Result<Self, TokenizerError> {
        Self::read_in(&Folder { files, name: folder }, max_tokens).map_err(|error| match error {
            TokenizerError::Malformed { path, reason } => {
                TokenizerError::Malformed { path: format!("{folder}/{path}"), reason }
            }
            other => other,
        })
    }

    fn read_in(folder: &Folder<'_>, max_tokens: usize) -> Result<Self, TokenizerError> {
        let (path, mut inner) = match folder.text(WHOLE)? {
            Some(text) => (WHOLE, from_whole(&text)?),
            None => (VOCABULARY, from_vocabulary(folder)?),
        };
        // Padding and truncation are ours: the end of an over-long text must be told, and its end token kept.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| malformed(path, error))?;

        let config: Value = folder.text(CONFIG)?.map_or(Ok(Value::Null), |text| json(CONFIG, &text))?;
        let special = SpecialTokens::read(folder, &config)?;
        let known: Vec<String> = inner.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
        let new = special.added(&config).into_iter().filter(|token| !known.contains(&token.content));
        for token in new {
            if inner.token_to_id(&token.content).is_none() {
                return Err(malformed(path, format!("the special token `{}` is not in the vocabulary", token.content)));
            }
            inner.add_special_tokens([token]).map_err(|error| malformed(path, error))?;
        }
        let id = |token: &AddedToken| {
            let missing = || malformed(path, format!("the special token `{}` is not in the vocabulary", token.content));
            inner.token_to_id(&token.content).ok_or_else(missing)
        };
        let (begin, end, pad) = (id(&special.begin)?, id(&special.end)?, id(&special.pad)?);

        let given = match &config["model_max_length"] {
            Value::Null => f64::INFINITY, // the text encoder's limit alone
            length => length.as_f64().ok_or_else(|| malformed(CONFIG, "its `model_max_length` is not a number"))?,
        };
        let length = given.min(max_tokens as f64) as usize;
        if length < 2 {
            return Err(malformed(CONFIG, format!("a text of {length} tokens has no room for its beginning and end")));
        }
        Ok(Self { inner, length, begin, end, pad })
    }

    /// How many tokens every encoded text has.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Encodes a text. What does not fit is left out at its end; the end token stays.
    pub fn encode(&self, text: &str) -> Result<Tokens, TokenizerError> {
        let encoding = self.encoding(text)?;
        let room = self.length - 2;
        let kept = encoding.get_ids().iter().take(room).map(|&id| (id, 1.0)).collect();
        let dropped =
            encoding.get_offsets().get(room).map(|&(start, _)| text.get(start..).unwrap_or_default().to_owned());
        Ok(Tokens { ids: self.chunk(kept).ids, dropped })
    }

    /// The tokens of a text alone, however many.
    pub(super) fn ids(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        Ok(self.encoding(text)?.get_ids().to_vec())
    }

    /// Tokens with weights, as many as there is room for, between a beginning and an end, and padding.
    pub(super) fn chunk(&self, tokens: Vec<(u32, f32)>) -> Chunk {
        let (mut ids, mut weights) = (vec![self.begin], vec![1.0]);
        for (id, weight) in tokens {
            ids.push(id);
            weights.push(weight);
        }
        ids.push(self.end);
        ids.resize(self.length, self.pad);
        weights.resize(self.length, 1.0);
        Chunk { ids, weights }
    }

    fn encoding(&self, text: &str) -> Result<Encoding, TokenizerError> {
        self.inner.encode(text, false).map_err(|error| TokenizerError::Encoding { reason: error.to_string() })
    }
}

/// One of a model's folders.
struct Folder<'a> {
    files: &'a ModelFiles,
    name: &'a str,
}

impl Folder<'_> {
    fn text(&self, file: &str) -> Result<Option<String>, FilesError> {
        self.files.text(&format!("{}/{file}", self.name))
    }
}

fn malformed(path: &'static str, reason: impl ToString) -> TokenizerError {
    TokenizerError::Malformed { path: path.to_owned(), reason: reason.to_string() }
}

fn json<T: serde::de::DeserializeOwned>(path: &'static str, text: &str) -> Result<T, TokenizerError> {
    serde_json::from_str(text).map_err(|error| malformed(path, error))
}

/// The tokens that stand for no text. Wherever one is written in a text, it is that token: with `!` as padding (as in
/// Stable Diffusion 2) exclamation marks become padding, which is what the model was trained with.
struct SpecialTokens {
    begin: AddedToken,
    end: AddedToken,
    unknown: AddedToken,
    pad: AddedToken,
}

impl SpecialTokens {
    /// What `special_tokens_map.json` says, or else `tokenizer_config.json`, or else CLIP's own. A configuration with
    /// `added_tokens_decoder` is of the newer form, which makes the map obsolete.
    fn read(folder: &Folder<'_>, config: &Value) -> Result<Self, TokenizerError> {
        let map: Value = match folder.text(SPECIAL)? {
            Some(text) if config["added_tokens_decoder"].is_null() => json(SPECIAL, &text)?,
            _ => Value::Null,
        };
        let token = |key: &str, default: &str| {
            token(&map[key])
                .or_else(|| token(&config[key]))
                .unwrap_or_else(|| AddedToken::from(default, true).normalized(false))
        };
        Ok(Self {
            begin: token("bos_token", BEGIN),
            end: token("eos_token", END),
            unknown: token("unk_token", END),
            pad: token("pad_token", END),
        })
    }

    /// Each once. Where the same text has several definitions, the last holds.
    fn added(&self, config: &Value) -> Vec<AddedToken> {
        let mut all: Vec<AddedToken> = Vec::new();
        let decoder =
            config["added_tokens_decoder"].as_object().into_iter().flat_map(|tokens| tokens.values()).filter_map(token);
        let own = [&self.begin, &self.end, &self.unknown, &self.pad].map(Clone::clone);
        let own = own.into_iter().filter(|token| !token.content.is_empty());
        for token in own.chain(decoder) {
            all.retain(|other| other.content != token.content);
            all.push(token);
        }
        all
    }
}

/// A token given as its text, or as an object with its text and how it is found.
fn token(value: &Value) -> Option<AddedToken> {
    if let Some(text) = value.as_str() {
        return Some(AddedToken::from(text, true).normalized(false));
    }
    let flag = |key: &str| value[key].as_bool().unwrap_or(false);
    let token = AddedToken::from(value["content"].as_str()?, true);
    Some(
        token
            .normalized(flag("normalized"))
            .lstrip(flag("lstrip"))
            .rstrip(flag("rstrip"))
            .single_word(flag("single_word")),
    )
}

/// The vocabulary that CLIP's way of numbering makes of its pairs: every byte, every byte as the end of a word, every
/// pair, and the two special tokens.
fn vocabulary_of(pairs: &[(String, String)]) -> HashMap<String, u32> {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    // Bytes that do not print stand behind the others, as the characters from 256 on.
    let others = (0..256).filter(|byte| !printable(byte)).zip(256..).map(|(_, stand_in)| stand_in);
    let bytes: Vec<String> =
        (0..256).filter(printable).chain(others).filter_map(char::from_u32).map(String::from).collect();
    let ends = bytes.iter().map(|byte| format!("{byte}</w>"));
    let pairs = pairs.iter().map(|(first, second)| format!("{first}{second}"));
    let special = [BEGIN, END].map(str::to_owned);
    bytes.iter().cloned().chain(ends).chain(pairs).chain(special).zip(0..).collect()
}

/// A tokenizer from the one file that describes it whole.
///
/// A decoder, which texts in do not need, is left out: the library panics where it finds one that it cannot read.
fn from_whole(text: &str) -> Result<Inner, TokenizerError> {
    let mut whole: Value = json(WHOLE, text)?;
    if let Some(decoder) = whole.get_mut("decoder") {
        decoder.take();
    }
    serde_json::from_value(whole).map_err(|error| malformed(WHOLE, error))
}

/// CLIP's tokenizer from its two files, or from its pairs alone.
fn from_vocabulary(folder: &Folder<'_>) -> Result<Inner, TokenizerError> {
    let missing = || TokenizerError::Missing { folder: folder.name.to_owned() };
    let merges = folder.text(MERGES)?.ok_or_else(missing)?;
    let vocabulary = folder.text(VOCABULARY)?;
    let pairs = merges.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty());
    let pairs: Vec<(String, String)> = pairs
        .map(|line| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.trim_end().to_owned())))
        .collect::<Option<_>>()
        .ok_or_else(|| malformed(MERGES, "a line holds no pair"))?;
    let vocabulary: HashMap<String, u32> = match vocabulary {
        Some(vocabulary) => json(VOCABULARY, &vocabulary)?,
        None => vocabulary_of(&pairs),
    };
    let model = BPE::builder()
        .vocab_and_merges(vocabulary.into_iter().collect::<tokenizers::models::bpe::Vocab>(), pairs)
        .unk_token("<|endoftext|>".to_owned())
        .continuing_subword_prefix(String::new())
        .end_of_word_suffix("</w>".to_owned())
        .build()
        .map_err(|error| malformed(MERGES, error))?;
    let pattern = |expression: &str| tokenizers::normalizers::replace::ReplacePattern::Regex(expression.to_owned());
    let spaces = Replace::new(pattern(r"\s+"), " ").map_err(|error| malformed(VOCABULARY, error))?;
    let words = tokenizers::pre_tokenizers::split::SplitPattern::Regex(WORDS.to_owned());
    let split =
        Split::new(words, SplitDelimiterBehavior::Removed, true).map_err(|error| malformed(VOCABULARY, error))?;
    let mut inner = Inner::new(model);
    inner
        .with_normalizer(Some(Normalizers::new(vec![
            NormalizerWrapper::NFC(NFC),
            NormalizerWrapper::Replace(spaces),
            NormalizerWrapper::Lowercase(Lowercase),
        ])))
        .map_err(|error| malformed(VOCABULARY, error))?
        .with_pre_tokenizer(Some(PreTokenizers::new(vec![
            PreTokenizerWrapper::Split(split),
            PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
        ])));
    Ok(inner)
}
