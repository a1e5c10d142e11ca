//! Estimates of memory, and what of a model is read for what.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use sega::engine::memory::Needs;
use sega::engine::render::Painter;
use sega::engine::texts::TextEncoders;
use sega::engine::{EngineError, ModelWeights, Precision};
use sega::model::files::Weights;
use sega::model::prompt::TextTokens;

use crate::models;

fn weights() -> ModelWeights {
    let part = |name: &str| models::mini().weights(name).unwrap();
    ModelWeights { unet: part("unet"), text_encoder: part("text_encoder"), vae: part("vae"), ..ModelWeights::default() }
}

fn needs(side: usize, precision: Precision) -> Needs {
    Needs::of(&models::card(), &weights(), [4, side, side], precision).unwrap()
}

#[test]
fn needs_follow_size_rows_and_precision() {
    let (small, large) = (needs(16, Precision::F32), needs(32, Precision::F32));
    assert!(large.row > 3 * small.row && large.decoding == 4 * small.decoding);
    assert_eq!((large.texts, large.networks), (small.texts, small.networks));
    // The weights as they are in the files, in half precision.
    let half = needs(16, Precision::F16);
    assert_eq!((half.texts, half.networks), (small.texts / 2, small.networks / 2));
    let stored: u64 = ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"]
        .map(|file| Path::new("models/mini").join(format!("{file}.safetensors")).metadata().unwrap().len())
        .iter()
        .sum();
    assert!(half.networks <= stored && half.networks > stored / 2);
    assert!((1..8).all(|rows| large.with_rows(rows) <= large.with_rows(rows + 1)));
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
    let nowhere = || vec![Weights::File("/nowhere/x.safetensors".into())];
    let texts_alone = ModelWeights { unet: nowhere(), vae: nowhere(), ..weights() };
    let encoders = TextEncoders::load(&card, &texts_alone, Precision::F32).unwrap();
    assert_eq!(encoders.encode(&[TextTokens::default()], None).unwrap().len(), 1);
    assert!(matches!(Painter::load(&card, &texts_alone, Precision::F32), Err(EngineError::Open { .. })));
    let networks_alone = ModelWeights { text_encoder: nowhere(), ..weights() };
    assert!(Painter::load(&card, &networks_alone, Precision::F32).is_ok());
    assert!(matches!(TextEncoders::load(&card, &networks_alone, Precision::F32), Err(EngineError::Open { .. })));
}
