//! The networks against diffusers and transformers: values that `tools/reference/network.py` wrote.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use sega::engine::kernel::Isa;
use sega::engine::limits::Limits;
use sega::engine::loading::Loading;
use sega::engine::network::{Condition, TextVectors};
use sega::engine::texts::TextEncoders;
use sega::engine::{EngineError, Model, ModelWeights, Precision};
use sega::model::card::{AutoencoderCard, Card, CardTexts};
use sega::model::files::Weights;
use sega::model::prompt::{Chunk, TextTokens};
use sega::quantity::Size;

mod decoding;
mod kernels;
mod merging;

const DEVICE: Device = Device::Cpu;

/// `count` numbers in [-1, 1): FNV-1a of the name seeds SplitMix64, of whose numbers the top 24 bits are taken.
fn uniform(name: &str, count: usize) -> Vec<f64> {
    let mut state =
        name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The weights of the cases that have no weight files: unit gain for matrices and kernels.
pub(crate) fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let fan_in: usize = shape[1..].iter().product();
    let value = |u: f64| match shape.len() {
        1 if name.ends_with("weight") => 1.0 + 0.2 * u,
        1 => 0.2 * u,
        _ => u * (3.0 / fan_in as f64).sqrt(),
    };
    uniform(name, shape.iter().product()).into_iter().map(|u| value(u) as f32).collect()
}

/// Unit-variance input that follows from its name.
pub(crate) fn input(name: &str, shape: (usize, usize, usize, usize)) -> Tensor {
    let count = shape.0 * shape.1 * shape.2 * shape.3;
    let values: Vec<f32> = uniform(name, count).into_iter().map(|u| (u * 3f64.sqrt()) as f32).collect();
    Tensor::from_vec(values, shape, &DEVICE).unwrap()
}

pub(crate) fn folder(case: &str) -> PathBuf {
    Path::new("tests/reference/network").join(case)
}

pub(crate) fn card_in(folder: &Path) -> Card {
    let read = |path: &str| match std::fs::read_to_string(folder.join(path)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    };
    Card::new(&CardTexts::gather(read).unwrap()).unwrap()
}

/// The names and shapes in a listing, in which a number says how many parts a name shares with the one before.
pub(crate) fn listed(case: &str, part: &str) -> Vec<(String, Vec<usize>)> {
    let text = std::fs::read_to_string(folder(case).join(part).join("tensors.txt")).unwrap();
    let mut before = Vec::new();
    let mut tensors = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        before.truncate(words.next().unwrap().parse().unwrap());
        before.extend(words.next().unwrap().split('.').map(str::to_owned));
        tensors.push((before.join("."), words.map(|word| word.parse().unwrap()).collect()));
    }
    tensors
}

/// A part's weights as the bytes of a safetensors file; `stored` gives the name under which each is stored, if at all.
fn bytes(case: &str, part: &str, stored: impl Fn(&str) -> Option<String>) -> &'static [u8] {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = listed(case, part)
        .into_iter()
        .filter_map(|(name, shape)| {
            let data = weight(&name, &shape).into_iter().flat_map(f32::to_le_bytes).collect();
            Some((stored(&name)?, shape, data))
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, data)| (name, TensorView::new(safetensors::Dtype::F32, shape.clone(), data).unwrap()));
    safetensors::serialize(views, None).unwrap().leak()
}

fn has(case: &str, part: &str) -> bool {
    folder(case).join(part).exists()
}

fn embedded(case: &str, part: &str) -> Vec<Weights> {
    vec![Weights::Embedded(bytes(case, part, |name| Some(name.to_owned())))]
}

pub(crate) fn generated(case: &str) -> ModelWeights {
    ModelWeights {
        unet: embedded(case, "unet"),
        text_encoder: embedded(case, "text_encoder"),
        text_encoder_2: if has(case, "text_encoder_2") { embedded(case, "text_encoder_2") } else { Vec::new() },
        vae: embedded(case, "vae"),
        loras: Vec::new(),
    }
}

fn on_disk(folder: &Path) -> ModelWeights {
    let file = |path: &str| vec![Weights::File(folder.join(path))];
    ModelWeights {
        unet: file("unet/diffusion_pytorch_model.safetensors"),
        text_encoder: file("text_encoder/model.safetensors"),
        vae: file("vae/diffusion_pytorch_model.safetensors"),
        ..ModelWeights::default()
    }
}

fn expected(file: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(file, &DEVICE).unwrap()
}

/// The largest difference, as a share of the largest value.
pub(crate) fn difference(ours: &Tensor, theirs: &Tensor) -> f32 {
    assert_eq!(ours.dims(), theirs.dims());
    let largest = |x: &Tensor| x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    largest(&(ours - theirs).unwrap()) / largest(theirs)
}

pub(crate) fn texts(card: &Card) -> Vec<Vec<u32>> {
    let (length, vocabulary) = (card.max_tokens(), card.text.vocabulary);
    (0..3)
        .map(|row| (0..length).map(|at| ((7 + 31 * row + row * row * at + 13 * at) % vocabulary) as u32).collect())
        .collect()
}

/// All networks of a model.
pub(crate) struct Networks {
    encoders: TextEncoders,
    pub(crate) model: Model,
}

impl Networks {
    fn load(card: &Card, weights: &ModelWeights, precision: Precision) -> Result<Self, EngineError> {
        Self::load_by(card, weights, &Loading::new(precision))
    }

    fn load_for(card: &Card, weights: &ModelWeights, isa: Option<Isa>) -> Result<Self, EngineError> {
        Self::load_by(card, weights, &Loading::new(Precision::F32).by(isa))
    }

    fn load_by(card: &Card, weights: &ModelWeights, loading: &Loading<'_>) -> Result<Self, EngineError> {
        let encoders = TextEncoders::load(card, weights, loading)?;
        Ok(Self { encoders, model: Model::load(card, weights, loading)? })
    }

    pub(crate) fn encode(&self, rows: &[Vec<u32>]) -> Result<Vec<TextVectors>, EngineError> {
        let tokens: Vec<TextTokens> =
            rows.iter().map(|row| TextTokens(vec![vec![Chunk::plain(row.clone())]; self.encoders.count()])).collect();
        self.encoders.encode(&tokens, None)
    }

    pub(crate) fn condition(&self, card: &Card) -> Condition {
        let texts = self.encode(&texts(card)).unwrap();
        self.model.unet.condition(&texts, Size::new(48, 40).unwrap(), GUIDANCE).unwrap()
    }
}

/// The guidance scale that networks are told.
const GUIDANCE: f64 = 4.5;

/// Compares text encoders, U-Net and decoder with the reference.
fn check(card: &Card, networks: &Networks, reference: &Path) {
    const TOLERANCE: f32 = 1e-5;
    let expected = expected(reference);
    let size = |name: &str| {
        let size = expected[name].to_dtype(DType::U32).unwrap().to_vec1::<u32>().unwrap();
        (size[0] as usize, size[1] as usize)
    };
    let channels = card.latent_channels();
    let mut differences = Vec::new();

    let text = networks.encode(&texts(card)).unwrap();
    let text = Tensor::cat(&text.iter().map(|text| &text.tokens).collect::<Vec<_>>(), 0).unwrap();
    let (_, _, width) = text.dims3().unwrap();
    let columns: Vec<u32> = (0..width as u32).step_by((width / 16).max(1)).collect();
    let some = text.index_select(&Tensor::new(columns, &DEVICE).unwrap(), 2).unwrap();
    differences.push(("text", difference(&some, &expected["text"])));

    let (height, width) = size("latent_size");
    let latents = input("latents", (1, channels, height, width));
    let Networks { model, .. } = networks;
    let condition = networks.condition(card);
    for (name, timestep) in [("estimate_981.0", 981.0), ("estimate_37.25", 37.25)] {
        let estimate = model.unet.forward(&latents, timestep, &condition, &[0, 1, 2]).unwrap();
        differences.push((name, difference(&estimate, &expected[name])));
    }

    let (height, width) = size("decoded_size");
    let latents = (input("decoded", (1, channels, height, width)) * card.autoencoder.scaling_factor()).unwrap();
    // The reference's pixels are clamped, as those of a picture are.
    let pixels = model.decoder.decode(&latents).unwrap().clamp(0.0, 1.0).unwrap();
    differences.push(("pixels", difference(&pixels, &expected["pixels"])));

    println!("{}: {differences:?}", reference.display());
    for (name, difference) in differences {
        assert!(difference <= TOLERANCE, "{name} of {} differs by {difference:e}", reference.display());
    }
}

pub(crate) fn load(card: &Card, weights: &ModelWeights) -> Result<Networks, EngineError> {
    Networks::load(card, weights, Precision::F32)
}

fn check_generated(case: &str) {
    let card = card_in(&folder(case));
    check(&card, &load(&card, &generated(case)).unwrap(), &folder(case).join("outputs.safetensors"));
}

#[test]
fn mini_equals_the_reference() {
    let folder = Path::new("models/mini");
    let card = card_in(folder);
    let model = load(&card, &on_disk(folder)).unwrap();
    check(&card, &model, Path::new("tests/reference/network/mini.safetensors"));
}

#[test]
fn lists_linear_projections_and_odd_sizes_equal_the_reference() {
    check_generated("lists");
}

#[test]
fn two_text_encoders_and_a_told_guidance_scale_equal_the_reference() {
    check_generated("pair");
}

#[test]
fn rare_options_equal_the_reference() {
    check_generated("rare");
}

#[test]
fn old_names_are_understood() {
    let card = card_in(&folder("lists"));
    let old_vae = |name: &str| {
        let short = name.replace("to_q", "query").replace("to_k", "key").replace("to_v", "value");
        Some(short.replace("to_out.0", "proj_attn"))
    };
    let weights = ModelWeights {
        text_encoder: vec![Weights::Embedded(bytes("lists", "text_encoder", |name| {
            Some(format!("text_model.{name}"))
        }))],
        vae: vec![Weights::Embedded(bytes("lists", "vae", old_vae))],
        ..generated("lists")
    };
    check(&card, &load(&card, &weights).unwrap(), &folder("lists").join("outputs.safetensors"));
}

#[test]
fn shards_are_one_checkpoint() {
    let card = card_in(&folder("rare"));
    let shard = |first: bool| {
        let stored = move |name: &str| (name.starts_with("up_blocks") == first).then(|| name.to_owned());
        Weights::Embedded(bytes("rare", "unet", stored))
    };
    let weights = ModelWeights { unet: vec![shard(true), shard(false)], ..generated("rare") };
    check(&card, &load(&card, &weights).unwrap(), &folder("rare").join("outputs.safetensors"));
}

#[test]
fn rows_do_not_depend_on_each_other() {
    for case in ["lists", "rare", "pair"] {
        let card = card_in(&folder(case));
        let networks = load(&card, &generated(case)).unwrap();
        let (model, condition) = (&networks.model, networks.condition(&card));
        let latents = input("latents", (1, 4, 6, 7));
        let all = model.unet.forward(&latents, 500.0, &condition, &[0, 1, 2]).unwrap();
        let row = |index: usize| all.narrow(0, index, 1).unwrap();
        assert!(difference(&row(0), &row(1)) > 1e-2, "the text must matter for this test to mean something");

        let two = Limits { rows: 2, ..Limits::NONE };
        let by_two = model.unet.forward_within(two, &latents, 500.0, &condition, &[0, 1, 2]).unwrap();
        assert!(difference(&by_two, &all) < 1e-6, "{case}: two rows at once");

        let picked = model.unet.forward(&latents, 500.0, &condition, &[2, 0]).unwrap();
        let wanted = Tensor::cat(&[row(2), row(0)], 0).unwrap();
        assert!(difference(&picked, &wanted) < 1e-6, "{case}: picked rows");

        let repeated = Tensor::cat(&[&latents, &latents, &latents], 0).unwrap();
        let separate = model.unet.forward(&repeated, 500.0, &condition, &[0, 1, 2]).unwrap();
        assert!(difference(&separate, &all) < 1e-6, "{case}: latents for each row");
    }
}

#[test]
fn long_queries_are_taken_in_pieces() {
    // Three rows of 48x48 positions with two heads make more scores than are computed at once, a single row does not.
    let card = card_in(&folder("rare"));
    let networks = load(&card, &generated("rare")).unwrap();
    let (model, condition) = (&networks.model, networks.condition(&card));
    let latents = input("latents", (1, 4, 96, 96));
    let all = model.unet.forward(&latents, 500.0, &condition, &[0, 1, 2]).unwrap();
    for row in 0..3 {
        let alone = model.unet.forward(&latents, 500.0, &condition, &[row]).unwrap();
        assert!(difference(&alone, &all.narrow(0, row, 1).unwrap()) < 2e-6);
    }
}

/// The error of loading, which must be there.
fn fault(card: &Card, weights: &ModelWeights) -> EngineError {
    match load(card, weights) {
        Ok(_) => panic!("loading must fail"),
        Err(error) => error,
    }
}

#[test]
fn a_missing_tensor_is_named() {
    let card = card_in(&folder("rare"));
    let gone = "mid_block.resnets.0.conv1.weight";
    let unet = vec![Weights::Embedded(bytes("rare", "unet", |name| (name != gone).then(|| name.to_owned())))];
    let error = fault(&card, &ModelWeights { unet, ..generated("rare") });
    assert!(matches!(&error, EngineError::MissingTensor { tensor, .. } if tensor == gone), "{error:?}");
    assert_eq!(
        error.to_string(),
        "`the embedded model` has no tensor `mid_block.resnets.0.conv1.weight`; its weights do not belong to its \
         `config.json`, or a shard is missing"
    );
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    let mut card = card_in(&folder("rare"));
    let AutoencoderCard::Kl(vae) = &mut card.autoencoder else { panic!("the case has this kind") };
    vae.channels = vec![8, 8, 32];
    let error = fault(&card, &generated("rare"));
    assert!(
        matches!(&error, EngineError::WrongShape { tensor, found, expected, .. }
            if tensor == "decoder.conv_in.weight" && found == &[16, 4, 3, 3] && expected == &[32, 4, 3, 3]),
        "{error:?}"
    );
}

#[test]
fn integers_are_no_weights() {
    let card = card_in(&folder("rare"));
    let file = bytes("rare", "text_encoder", |name| Some(name.to_owned()));
    let parsed = SafeTensors::deserialize(file).unwrap();
    let views = parsed.tensors().into_iter().map(|(name, view)| {
        let view = TensorView::new(safetensors::Dtype::I32, view.shape().to_vec(), view.data()).unwrap();
        (name, view)
    });
    let text_encoder = vec![Weights::Embedded(safetensors::serialize(views, None).unwrap().leak())];
    let error = fault(&card, &ModelWeights { text_encoder, ..generated("rare") });
    assert!(matches!(&error, EngineError::WrongType { found, .. } if found == "I32"), "{error:?}");
}

#[test]
fn a_torn_file_is_an_error_whatever_its_length() {
    let card = card_in(&folder("rare"));
    let whole = bytes("rare", "text_encoder", |name| Some(name.to_owned()));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    for length in [0, 4, 8, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let text_encoder = vec![Weights::File(path.clone())];
        let error = fault(&card, &ModelWeights { text_encoder, ..generated("rare") });
        assert!(
            matches!(&error, EngineError::Corrupt { file, .. } if *file == path.display().to_string()),
            "{error:?}"
        );
        let message = error.to_string();
        assert!(message.contains("is incomplete or not a safetensors file"), "{message}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let card = card_in(&folder("rare"));
    let unet = vec![Weights::File("nowhere/unet.safetensors".into())];
    let error = fault(&card, &ModelWeights { unet, ..generated("rare") });
    assert!(matches!(&error, EngineError::Open { file, .. } if file == "nowhere/unet.safetensors"), "{error:?}");
}

#[test]
fn tokens_are_checked() {
    let card = card_in(&folder("rare"));
    let model = load(&card, &generated("rare")).unwrap();
    let encode = |rows: &[Vec<u32>]| model.encode(rows).unwrap_err();
    assert!(matches!(encode(&[vec![40]]), EngineError::UnknownToken { token: 40, vocabulary: 40 }));
    assert!(matches!(encode(&[vec![0; 10]]), EngineError::TokenCount { max_tokens: 9, .. }));
    let uneven = TextTokens(vec![[9, 8].map(|length| Chunk::plain(vec![0; length])).into()]);
    assert!(matches!(model.encoders.encode(&[uneven], None).unwrap_err(), EngineError::TokenCount { .. }));
}

pub(crate) fn serialized(tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(.., values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name.as_str(), TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn texts_of_unequal_length_do_not_depend_on_each_other() {
    let card = card_in(&folder("pair"));
    let Networks { encoders, model } = load(&card, &generated("pair")).unwrap();
    let rows = texts(&card);
    let tokens = |chunks: &[usize]| {
        TextTokens(vec![chunks.iter().map(|&row| Chunk::plain(rows[row].clone())).collect(); encoders.count()])
    };
    let all = [tokens(&[0, 1]), tokens(&[2]), TextTokens::default(), tokens(&[1, 0])];
    let latents = input("latents", (1, 4, 6, 7));
    let estimate = |texts: &[TextTokens], rows: &[usize]| {
        let texts = encoders.encode(texts, None).unwrap();
        let condition = model.unet.condition(&texts, card.default_size, GUIDANCE).unwrap();
        model.unet.forward(&latents, 500.0, &condition, rows).unwrap()
    };
    let together = estimate(&all, &[3, 1, 0, 2]);
    for (place, row) in [3, 1, 0, 2].into_iter().enumerate() {
        let alone = estimate(&all[row..=row], &[0]);
        assert!(difference(&together.narrow(0, place, 1).unwrap(), &alone) < 2e-6, "row {row}");
    }
    assert!(difference(&estimate(&all[0..1], &[0]), &estimate(&all[3..4], &[0])) > 1e-3, "the order of chunks counts");
}

#[test]
fn weights_keep_the_mean() {
    let card = card_in(&folder("rare"));
    let encoders = load(&card, &generated("rare")).unwrap().encoders;
    let mut chunk = Chunk::plain(texts(&card)[0].clone());
    let vectors = |chunk: &Chunk| {
        let text = TextTokens(vec![vec![chunk.clone()]]);
        encoders.encode(&[text], None).unwrap().remove(0).tokens.flatten_to(1).unwrap().to_vec2::<f32>().unwrap()
    };
    let plain = vectors(&chunk);
    chunk.weights[3] = 1.5;
    let weighted = vectors(&chunk);
    let mean = |all: &[Vec<f32>]| all.iter().flatten().map(|x| f64::from(*x)).sum::<f64>() / (9.0 * 16.0);
    let mut scaled = plain.clone();
    scaled[3].iter_mut().for_each(|x| *x *= 1.5);
    let ratio = mean(&plain) / mean(&scaled);
    for (ours, theirs) in weighted.iter().flatten().zip(scaled.iter().flatten()) {
        assert!((f64::from(*ours) - f64::from(*theirs) * ratio).abs() < 1e-4, "{ours} {theirs} {ratio}");
    }
}
