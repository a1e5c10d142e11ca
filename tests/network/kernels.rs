//! The kernels of each instruction set against candle's operations.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use sega::engine::kernel::Isa;
use sega::engine::{Model, ModelWeights};
use sega::model::card::Card;
use sega::model::files::Weights;

use super::{Networks, card_in, difference, folder, generated, input, on_disk, texts};

/// The model that candle's operations make, and one for each instruction set of this machine, with its name.
fn twins(card: &Card, weights: &ModelWeights) -> (Networks, Vec<(String, Networks)>) {
    let load = |isa| Networks::load_for(card, weights, isa).unwrap();
    let kernels = Isa::available().into_iter().map(|isa| (format!("{isa:?}"), load(Some(isa)))).collect();
    (load(None), kernels)
}

/// Compares kernels with candle's operations, for texts, one to eight rows, odd sizes and pixels.
fn check_twins(card: &Card, weights: &ModelWeights, sizes: &[(usize, usize)]) {
    const TOLERANCE: f32 = 1e-5;
    let (plain, kernels) = twins(card, weights);
    let tokens = |networks: &Networks| {
        let all = networks.encode(&texts(card)).unwrap();
        Tensor::cat(&all.iter().map(|text| &text.tokens).collect::<Vec<_>>(), 0).unwrap()
    };
    let (text, condition) = (tokens(&plain), plain.condition(card));
    let plain = plain.model;
    for (name, networks) in kernels {
        let near = |ours: &Tensor, theirs: &Tensor, what: &str| {
            let difference = difference(ours, theirs);
            assert!(difference <= TOLERANCE, "{name}: {what} differs by {difference:e}");
        };
        near(&tokens(&networks), &text, "text");
        let own_condition = networks.condition(card);
        let model = networks.model;
        for (size, rows) in sizes.iter().flat_map(|size| [1, 2, 3, 8].map(|rows| (*size, rows))) {
            let (height, width) = size;
            let rows: Vec<usize> = (0..rows).map(|row| row % 3).collect();
            let shared = input("latents", (1, card.latent_channels(), height, width));
            let separate = input("separate", (rows.len(), card.latent_channels(), height, width));
            for latents in [shared, separate] {
                let estimate =
                    |model: &Model, condition| model.unet.forward(&latents, 500.0, condition, &rows).unwrap();
                let what = format!("the estimate of {} rows at {size:?}", rows.len());
                near(&estimate(&model, &own_condition), &estimate(&plain, &condition), &what);
            }
        }
        let latents = input("decoded", (2, card.latent_channels(), 5, 7));
        near(&model.decoder.decode(&latents).unwrap(), &plain.decoder.decode(&latents).unwrap(), "pixels");
    }
}

#[test]
fn every_instruction_set_computes_what_candle_computes() {
    for case in ["lists", "rare", "pair"] {
        check_twins(&card_in(&folder(case)), &generated(case), &[(6, 7), (5, 9)]);
    }
}

/// The same weights otherwise.
fn changed(weights: &[Weights], change: impl Fn(&Tensor) -> Tensor) -> Vec<Weights> {
    let folder = tempfile::tempdir().unwrap();
    let change = |weights: &Weights| {
        let Weights::File(path) = weights else { panic!("these are files") };
        let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        let tensors: HashMap<String, Tensor> = tensors.iter().map(|(name, x)| (name.clone(), change(x))).collect();
        let path = folder.path().join("changed.safetensors");
        candle_core::safetensors::save(&tensors, &path).unwrap();
        Weights::Embedded(std::fs::read(path).unwrap().leak())
    };
    weights.iter().map(change).collect()
}

/// Weights are kept in the narrowest type that holds them, and take as many parts in a matrix unit.
#[test]
fn every_type_of_weights_and_number_of_threads_computes_what_candle_computes() {
    let folder = Path::new("models/mini");
    let (card, stored) = (card_in(folder), on_disk(folder));
    let full = |x: &Tensor| (x.to_dtype(DType::F32).unwrap() * 1.0001).unwrap();
    let bf16 = |x: &Tensor| x.to_dtype(DType::BF16).unwrap();
    let other = |change: &dyn Fn(&Tensor) -> Tensor| ModelWeights {
        unet: changed(&stored.unet, change),
        vae: changed(&stored.vae, change),
        ..stored.clone()
    };
    for (threads, weights) in [(1, &stored), (3, &stored), (3, &other(&full)), (3, &other(&bf16))] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| check_twins(&card, weights, &[(9, 14)]));
    }
}
