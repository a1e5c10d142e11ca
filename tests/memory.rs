//! Estimates of memory, and what of a model is read for what.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use sega::engine::loading::Loading;
use sega::engine::memory::Needs;
use sega::engine::render::Painter;
use sega::engine::texts::TextEncoders;
use sega::engine::{EngineError, ModelWeights, Precision};
use sega::model::files::Weights;
use sega::model::lora::LoraFile;
use sega::model::prompt::TextTokens;

use crate::models;
use crate::network::{card_in, folder, generated, listed, serialized};

fn weights() -> ModelWeights {
    let part = |name: &str| models::mini().weights(name).unwrap();
    ModelWeights { unet: part("unet"), text_encoder: part("text_encoder"), vae: part("vae"), ..ModelWeights::default() }
}

fn needs(side: usize, precision: Precision) -> Needs {
    Needs::of(&models::card(), &weights(), [4, side, side], &Loading::new(precision)).unwrap()
}

#[test]
fn needs_follow_size_rows_and_precision() {
    let (small, large) = (needs(16, Precision::F32), needs(32, Precision::F32));
    assert!(large.row > 3 * small.row && large.decoding == 4 * small.decoding);
    assert_eq!((large.texts, large.networks), (small.texts, small.networks));
    // The weights as they are in the files, in half precision; in f32 all that is multiplied stays so.
    let half = needs(16, Precision::F16);
    assert!(half.networks < small.networks && small.networks < half.networks * 21 / 20, "{half:?}, {small:?}");
    assert!(half.texts < small.texts && small.texts <= 2 * half.texts, "{half:?}, {small:?}");
    let by_candle = Loading::new(Precision::F32).by(None);
    let plain = Needs::of(&models::card(), &weights(), [4, 16, 16], &by_candle).unwrap();
    assert_eq!((plain.texts, plain.networks), (2 * half.texts, 2 * half.networks));
    let stored: u64 = ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"]
        .map(|file| Path::new("models/mini").join(format!("{file}.safetensors")).metadata().unwrap().len())
        .iter()
        .sum();
    assert!(half.networks <= stored && half.networks > stored / 2);
    assert!((1..8).all(|rows| large.with_rows(rows) <= large.with_rows(rows + 1)));
}

/// Weights of full precision are as large in memory as in the file, and so is what a LoRA changes.
#[test]
fn needs_follow_the_types_of_weights() {
    let card = card_in(&folder("pair"));
    let (full, none) = (Loading::new(Precision::F32), Vec::new());
    let needs = |loras, loading: &Loading<'_>| {
        Needs::of(&card, &ModelWeights { loras, ..generated("pair") }, [4, 16, 16], loading).unwrap()
    };
    let numbers = |part: &str| -> usize {
        let tensors = listed("pair", part).into_iter().filter(|(name, _)| !name.starts_with("encoder."));
        tensors.map(|(_, shape)| shape.iter().product::<usize>()).sum()
    };
    let wide = needs(none.clone(), &full);
    assert_eq!(wide.networks, 4 * (numbers("unet") + numbers("vae")) as u64);
    assert_eq!(wide.texts, 4 * (numbers("text_encoder") + numbers("text_encoder_2")) as u64);
    let narrow = needs(none, &Loading::new(Precision::BF16));
    assert!(narrow.networks < wide.networks * 11 / 20 && narrow.row == wide.row, "{narrow:?}");
    let kept = narrow.keeping(7);
    assert_eq!((kept.texts, kept.networks), (0, narrow.networks + narrow.texts + 7));

    let half = tempfile::tempdir().unwrap();
    let lora = half.path().join("lora.safetensors");
    let key = "lora_unet_time_embedding_linear_2";
    let matrices = [
        (format!("{key}.lora_down.weight"), vec![1, 256], vec![0.0; 256]),
        (format!("{key}.lora_up.weight"), vec![256, 1], vec![0.0; 256]),
    ];
    std::fs::write(&lora, serialized(&matrices)).unwrap();
    let of_mini = |loras| {
        let weights = ModelWeights { loras, ..weights() };
        Needs::of(&models::card(), &weights, [4, 16, 16], &full).unwrap().networks
    };
    let adapted = of_mini(vec![LoraFile { path: lora, strength: 1.0 }]);
    assert_eq!(adapted - of_mini(Vec::new()), 2 * 256 * 256);
}

#[test]
fn as_many_rows_as_fit() {
    const MIB: u64 = 1 << 20;
    let needs = Needs { texts: 10 * MIB, networks: 1000 * MIB, row: 100 * MIB, decoding: 50 * MIB };
    let five = needs.with_rows(5);
    assert_eq!(needs.rows_within(five, 8), Some(5));
    assert_eq!(needs.rows_within(five - 1, 8), Some(4));
    assert_eq!(needs.rows_within(u64::MAX, 8), Some(8));
    assert_eq!(needs.rows_within(needs.with_rows(1) - 1, 8), None);
}

/// Text encoders are loaded without the other networks, and these without them: no file of theirs is even opened.
#[test]
fn what_is_not_needed_is_not_read() {
    let card = models::card();
    let loading = Loading::new(Precision::F32);
    let nowhere = || vec![Weights::File("/nowhere/x.safetensors".into())];
    let texts_alone = ModelWeights { unet: nowhere(), vae: nowhere(), ..weights() };
    let encoders = TextEncoders::load(&card, &texts_alone, &loading).unwrap();
    assert_eq!(encoders.encode(&[TextTokens::default()], None).unwrap().len(), 1);
    assert!(matches!(Painter::load(&card, &texts_alone, &loading), Err(EngineError::Open { .. })));
    let networks_alone = ModelWeights { text_encoder: nowhere(), ..weights() };
    assert!(Painter::load(&card, &networks_alone, &loading).is_ok());
    assert!(matches!(TextEncoders::load(&card, &networks_alone, &loading), Err(EngineError::Open { .. })));
}
