//! How a model's text encoder cuts a text into tokens: the byte-pair encoding of CLIP (arXiv 2103.00020).

use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::Split;
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer as Inner};

use super::files::{FilesError, ModelFiles};

/// The regular expression that cuts a text into words before pairs are merged (CLIP's own).
const WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Why a tokenizer cannot be had or used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// Its files cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// It has no vocabulary.
    #[error(
        "the model has no tokenizer: expected `tokenizer/tokenizer.json`, or `tokenizer/vocab.json` and `tokenizer/merges.txt`"
    )]
    Missing,
    /// A file is not what it should be.
    #[error("`{path}` is not what a CLIP tokenizer needs: {reason}; fetch the model again")]
    Malformed {
        /// The file.
        path: &'static str,
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
    /// Reads a model's tokenizer. Texts become as many tokens as its `model_max_length` says, at most `max_tokens`.
    pub fn read(files: &ModelFiles, max_tokens: usize) -> Result<Self, TokenizerError> {
        const CONFIG: &str = "tokenizer/tokenizer_config.json";
        const SPECIAL: &str = "tokenizer/special_tokens_map.json";
        let mut inner = match files.text("tokenizer/tokenizer.json")? {
            Some(json) => json.parse::<Inner>().map_err(|error| malformed("tokenizer/tokenizer.json", error))?,
            None => from_vocabulary(files)?,
        };
        // Padding and truncation are ours: the end of an over-long text must be told, and its end token kept.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| malformed("tokenizer/tokenizer.json", error))?;
        let json = |path: &'static str| -> Result<serde_json::Value, TokenizerError> {
            let text = files.text(path)?.unwrap_or_else(|| "{}".to_owned());
            serde_json::from_str(&text).map_err(|error| malformed(path, error))
        };
        let (config, special) = (json(CONFIG)?, json(SPECIAL)?);
        // A token is given as its text, or as an object with its text.
        let text_of = |value: &serde_json::Value| value.as_str().or(value["content"].as_str()).map(str::to_owned);
        let id = |key: &str, default: &str| {
            let text = text_of(&config[key]).or_else(|| text_of(&special[key])).unwrap_or_else(|| default.to_owned());
            inner
                .token_to_id(&text)
                .ok_or_else(|| malformed(CONFIG, format!("its `{key}` `{text}` is not in the vocabulary")))
        };
        let (begin, end, pad) =
            (id("bos_token", "<|startoftext|>")?, id("eos_token", "<|endoftext|>")?, id("pad_token", "<|endoftext|>")?);
        let given = config["model_max_length"].as_f64().filter(|length| *length >= 2.0).unwrap_or(f64::INFINITY);
        let length = given.min(max_tokens as f64) as usize;
        Ok(Self { inner, length, begin, end, pad })
    }

    /// Encodes a text. What does not fit is left out at its end; the end token stays.
    pub fn encode(&self, text: &str) -> Result<Tokens, TokenizerError> {
        let encoding =
            self.inner.encode(text, false).map_err(|error| TokenizerError::Encoding { reason: error.to_string() })?;
        let room = self.length - 2;
        let mut ids = vec![self.begin];
        ids.extend(encoding.get_ids().iter().take(room));
        ids.push(self.end);
        ids.resize(self.length, self.pad);
        let dropped =
            encoding.get_offsets().get(room).map(|&(start, _)| text.get(start..).unwrap_or_default().to_owned());
        Ok(Tokens { ids, dropped })
    }
}

fn malformed(path: &'static str, reason: impl ToString) -> TokenizerError {
    TokenizerError::Malformed { path, reason: reason.to_string() }
}

/// CLIP's tokenizer from its two files.
fn from_vocabulary(files: &ModelFiles) -> Result<Inner, TokenizerError> {
    const VOCABULARY: &str = "tokenizer/vocab.json";
    const MERGES: &str = "tokenizer/merges.txt";
    let (Some(vocabulary), Some(merges)) = (files.text(VOCABULARY)?, files.text(MERGES)?) else {
        return Err(TokenizerError::Missing);
    };
    let vocabulary: std::collections::HashMap<String, u32> =
        serde_json::from_str(&vocabulary).map_err(|error| malformed(VOCABULARY, error))?;
    let pairs = merges.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty());
    let pairs: Vec<(String, String)> = pairs
        .map(|line| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.trim_end().to_owned())))
        .collect::<Option<_>>()
        .ok_or_else(|| malformed(MERGES, "a line holds no pair"))?;
    let specials = ["<|startoftext|>", "<|endoftext|>"].map(|text| AddedToken::from(text, true).normalized(false));
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
    let normalizer = Normalizers::new(vec![
        NormalizerWrapper::NFC(NFC),
        NormalizerWrapper::Replace(spaces),
        NormalizerWrapper::Lowercase(Lowercase),
    ]);
    let pre_tokenizer = PreTokenizers::new(vec![
        PreTokenizerWrapper::Split(split),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
    ]);
    let fault = |error: tokenizers::Error| malformed(VOCABULARY, error);
    inner.with_normalizer(Some(normalizer)).map_err(fault)?;
    inner.with_pre_tokenizer(Some(pre_tokenizer));
    inner.add_special_tokens(specials).map_err(fault)?;
    Ok(inner)
}
