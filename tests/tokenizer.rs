//! Texts as tokens, against transformers' tokenizer.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use sega::model::emphasis::Reading;
use sega::model::files::ModelFiles;
use sega::model::prompt::{Chunk, Tokenizers};
use sega::model::tokenizer::{Tokenizer, TokenizerError};
use serde::Deserialize;
use serde_json::Value;

use crate::models;

/// What `tools/reference/tokenizer.py` writes.
#[derive(Deserialize)]
struct Reference {
    config: Value,
    special: Value,
    length: usize,
    pad: u32,
    ids: Vec<Vec<u32>>,
    dropped: Vec<Option<String>>,
}

#[derive(Deserialize)]
struct Texts {
    texts: Vec<String>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tokenizer")
}

fn reference(file: &Path) -> Reference {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn compare(tokenizer: &Tokenizer, reference: &Reference) {
    let Texts { texts } = serde_json::from_str(&fs::read_to_string(fixtures().join("texts.json")).unwrap()).unwrap();
    assert!(texts.len() > 50 && texts.len() == reference.ids.len() && texts.len() == reference.dropped.len());
    assert!(reference.dropped.iter().flatten().count() > 3, "texts that are too long are among them");
    assert_eq!(tokenizer.length(), reference.length);
    for ((text, ids), dropped) in texts.iter().zip(&reference.ids).zip(&reference.dropped) {
        let mut ids = ids.clone();
        ids.resize(reference.length, reference.pad);
        let tokens = tokenizer.encode(text).unwrap();
        assert_eq!(tokens.ids, ids, "{text:?}");
        assert_eq!(&tokens.dropped, dropped, "{text:?}");
    }
}

/// A model's folder with the reduced vocabulary of CLIP and these files beside it.
fn folder(files: &[(&str, String)]) -> (tempfile::TempDir, ModelFiles) {
    let folder = tempfile::tempdir().unwrap();
    let beside = folder.path().join("tokenizer");
    fs::create_dir(&beside).unwrap();
    fs::write(folder.path().join("model_index.json"), "{}").unwrap();
    for file in ["vocab.json", "merges.txt"] {
        fs::copy(fixtures().join("reduced").join(file), beside.join(file)).unwrap();
    }
    for (file, text) in files {
        fs::write(beside.join(file), text).unwrap();
    }
    let files = ModelFiles::locate(folder.path().to_str().unwrap(), Path::new("")).unwrap();
    (folder, files)
}

/// The reduced vocabulary with the settings that the reference had.
fn check(name: &str) {
    let reference = reference(&fixtures().join(format!("{name}.json")));
    let settings = [("tokenizer_config.json", &reference.config), ("special_tokens_map.json", &reference.special)];
    let settings: Vec<_> =
        settings.iter().filter(|(_, value)| !value.is_null()).map(|(file, value)| (*file, value.to_string())).collect();
    let (_folder, files) = folder(&settings);
    compare(&Tokenizer::read(&files, 77).unwrap(), &reference);
}

#[test]
fn mini() {
    let files = ModelFiles::locate("mini", Path::new("")).unwrap();
    compare(&Tokenizer::read(&files, 77).unwrap(), &reference(&fixtures().join("mini.json")));
}

/// Padding is the end token, as in Stable Diffusion 1.
#[test]
fn padded_with_the_end() {
    check("sd1");
}

/// Padding is `!`, as in Stable Diffusion 2, and only `special_tokens_map.json` says so.
#[test]
fn padded_with_an_exclamation_mark() {
    check("sd2");
}

/// `added_tokens_decoder` makes `special_tokens_map.json` obsolete.
#[test]
fn newer_settings() {
    check("newer");
}

#[test]
fn no_settings() {
    check("bare");
}

/// The library's own form of the same tokenizer, `tokenizer.json`, says the same, whichever files lie beside it.
#[test]
fn one_file_or_two() {
    let whole = ModelFiles::locate("mini", Path::new("")).unwrap();
    let text = |file: &str| whole.text(&format!("tokenizer/{file}")).unwrap().unwrap();
    let parts: Vec<_> = ["vocab.json", "merges.txt", "tokenizer_config.json"].map(|file| (file, text(file))).into();
    let (_folder, parts) = folder(&parts);
    let reference = reference(&fixtures().join("mini.json"));
    compare(&Tokenizer::read(&parts, 32).unwrap(), &reference);
    assert!(parts.text("tokenizer/tokenizer.json").unwrap().is_none());

    // Padding that the file does not know comes from the settings beside it.
    let marked =
        [("tokenizer.json", text("tokenizer.json")), ("special_tokens_map.json", r#"{"pad_token": "!"}"#.into())];
    let (_folder, files) = folder(&marked);
    let tokens = Tokenizer::read(&files, 8).unwrap().encode("a!").unwrap();
    let mark = tokens.ids[2];
    assert_eq!(tokens.ids[3..], [1, mark, mark, mark, mark]);
}

/// The length is the smaller of the tokenizer's and the text encoder's; what is cut off is told, and the end stays.
#[test]
fn length() {
    let files = ModelFiles::locate("mini", Path::new("")).unwrap();
    let check = |max_tokens: usize, length: usize, kept: &str, dropped: Option<&str>| {
        let tokenizer = Tokenizer::read(&files, max_tokens).unwrap();
        let tokens = tokenizer.encode("a woman,  With GLASSES ").unwrap();
        assert_eq!(tokens.ids.len(), length);
        assert_eq!(tokens.ids, tokenizer.encode(kept).unwrap().ids);
        assert_eq!(tokens.ids[if dropped.is_some() { length - 1 } else { 6 }], 1, "the end token");
        assert_eq!(tokens.dropped.as_deref(), dropped);
    };
    check(77, 32, "a woman, with glasses", None);
    check(7, 7, "a woman, with glasses", None);
    check(6, 6, "a woman, with", Some("GLASSES "));
    check(4, 4, "a woman", Some(",  With GLASSES "));
    check(2, 2, "", Some("a woman,  With GLASSES "));
}

/// Files that are not a tokenizer's: errors that name file and remedy.
#[test]
fn malformed() {
    let message = |files: &[(&str, &str)], max_tokens: usize| {
        let files: Vec<_> = files.iter().map(|(file, text)| (*file, (*text).to_owned())).collect();
        let (_folder, files) = folder(&files);
        Tokenizer::read(&files, max_tokens).unwrap_err().to_string()
    };
    for (file, text, expected) in [
        ("tokenizer.json", "{}", "tokenizer/tokenizer.json"),
        ("vocab.json", "[1]", "tokenizer/vocab.json"),
        ("vocab.json", "{}", "out of vocabulary"),
        ("merges.txt", "#version: 0.2\nab\n", "tokenizer/merges.txt"),
        ("merges.txt", "qq zz\n", "tokenizer/merges.txt"),
        ("tokenizer_config.json", "{", "tokenizer/tokenizer_config.json"),
        ("tokenizer_config.json", r#"{"model_max_length": 1}"#, "no room"),
        ("tokenizer_config.json", r#"{"model_max_length": "77"}"#, "`model_max_length` is not a number"),
        ("special_tokens_map.json", "no", "tokenizer/special_tokens_map.json"),
        ("special_tokens_map.json", r#"{"pad_token": "<pad>"}"#, "`<pad>` is not in the vocabulary"),
    ] {
        let message = message(&[(file, text)], 77);
        assert!(message.contains(expected) && message.ends_with("fetch the model again"), "{file} {text}: {message}");
    }
    assert!(message(&[], 1).contains("no room"));

    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("model_index.json"), "{}").unwrap();
    let files = ModelFiles::locate(empty.path().to_str().unwrap(), Path::new("")).unwrap();
    assert!(matches!(Tokenizer::read(&files, 77), Err(TokenizerError::Missing { .. })));
}

/// The whole vocabulary, which is in the program for single files. To compare a checkpoint's own: `tools/reference/tokenizer.py
/// --model` makes the reference of any.
#[test]
fn whole_vocabulary() {
    let (_here, files) = crate::single_file::without_tokenizer();
    assert!(files.text("tokenizer/vocab.json").unwrap().is_none());
    compare(&Tokenizer::read(&files, 77).unwrap(), &reference(&fixtures().join("clip.json")));
}

/// The chunks of a text for mini, whose text encoder takes 30 tokens at once: their lengths without padding, and all weights
/// that are not 1.
fn chunks(text: &str, reading: Reading) -> (Vec<usize>, Vec<f32>, Option<String>) {
    let (files, card) = (models::mini(), models::card());
    let (tokens, dropped) = Tokenizers::read(&files, &card).unwrap().encode(text, reading).unwrap();
    let [chunks] = &tokens.0[..] else { panic!("mini has one text encoder") };
    let end = Tokenizer::read(&files, 77).unwrap().encode("").unwrap().ids[1];
    let length = |chunk: &Chunk| chunk.ids.iter().position(|id| *id == end).unwrap() - 1;
    let weights = chunks.iter().flat_map(|chunk| chunk.weights.iter().copied()).filter(|weight| *weight != 1.0);
    assert!(chunks.iter().all(|chunk| chunk.ids.len() == 32 && chunk.weights.len() == 32));
    (chunks.iter().map(length).collect(), weights.collect(), dropped)
}

#[test]
fn long_texts_are_cut_into_chunks() {
    let weighted = |text: &str| chunks(text, Reading::Weighted);
    assert_eq!(weighted("a woman"), (vec![2], vec![], None));
    assert_eq!(weighted("a (woman:1.5)"), (vec![2], vec![1.5], None));
    assert_eq!(weighted("a BREAK woman").0, [1, 1]);
    assert_eq!(weighted("a woman BREAK").0, [2, 0]);
    assert_eq!(weighted(&"woman ".repeat(30)).0, [30]);
    assert_eq!(weighted(&"woman ".repeat(65)).0, [30, 30, 5]);
    // A clause that would be cut goes into the next chunk whole, if it is not too long.
    assert_eq!(weighted(&format!("{}, {}", "woman ".repeat(19), "man ".repeat(15))).0, [20, 15]);
    assert_eq!(weighted(&format!("{}, {}", "woman ".repeat(5), "man ".repeat(30))).0, [30, 6]);

    assert!(chunks("a (woman:1.5)", Reading::Literal).1.is_empty());
    let (lengths, _, dropped) = chunks(&"woman ".repeat(31), Reading::Literal);
    assert_eq!((lengths, dropped.as_deref()), (vec![30], Some("woman ")));
}
