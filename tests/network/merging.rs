//! LoRAs that are merged while weights are read.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::Path;

use sega::engine::loading::{Layer, Loading, Shelf};
use sega::engine::{ModelWeights, Precision};
use sega::model::files::Weights;
use sega::model::lora::LoraFile;

use super::{Networks, card_in, difference, fault, folder, generated, input, listed, load, serialized, weight};

/// A LoRA's matrices for a tensor: `[rank, inputs]` and `[outputs, rank]`.
fn matrices(tensor: &str, shape: &[usize], rank: usize) -> [Vec<f32>; 2] {
    let inputs = shape[1..].iter().product();
    [weight(&format!("{tensor} down"), &[rank, inputs]), weight(&format!("{tensor} up"), &[shape[0], rank])]
}

/// A shelf that counts what is put on it.
#[derive(Default)]
struct Counted {
    layers: RefCell<HashMap<String, Layer>>,
    put: Cell<usize>,
}

impl Shelf for Counted {
    fn layer(&self, name: &str) -> Option<Layer> {
        self.layers.borrow().get(name).cloned()
    }

    fn put(&self, name: &str, layer: Layer) {
        self.put.set(self.put.get() + 1);
        self.layers.borrow_mut().insert(name.to_owned(), layer);
    }
}

#[test]
fn loras_are_merged() {
    const RANK: usize = 3;
    const ALPHA: f32 = 1.5;
    const STRENGTH: f64 = -0.7;
    let card = card_in(&folder("pair"));
    // A linear layer, one of a text encoder each, a convolution, and a convolution of single places.
    let adapted = [
        (
            "unet",
            "mid_block.attentions.0.transformer_blocks.1.attn2.to_k.weight",
            "lora_unet_middle_block_1_transformer_blocks_1_attn2_to_k",
        ),
        ("unet", "down_blocks.1.resnets.0.conv1.weight", "lora_unet_down_blocks_1_resnets_0_conv1"),
        ("unet", "down_blocks.1.resnets.0.conv_shortcut.weight", "lora_unet_input_blocks_3_0_skip_connection"),
        (
            "text_encoder",
            "encoder.layers.0.self_attn.v_proj.weight",
            "lora_te1_text_model_encoder_layers_0_self_attn_v_proj",
        ),
        (
            "text_encoder_2",
            "text_model.encoder.layers.1.mlp.fc1.weight",
            "lora_te2_text_model_encoder_layers_1_mlp_fc1",
        ),
    ];
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    let mut merged = generated("pair");
    let lists = [
        ("unet", &mut merged.unet),
        ("text_encoder", &mut merged.text_encoder),
        ("text_encoder_2", &mut merged.text_encoder_2),
    ];
    for (part, weights) in lists {
        let mut all: Vec<(String, Vec<usize>, Vec<f32>)> = listed("pair", part)
            .into_iter()
            .map(|(name, shape)| (name.clone(), shape.clone(), weight(&name, &shape)))
            .collect();
        for (_, tensor, module) in adapted.iter().filter(|(of, ..)| *of == part) {
            let (_, shape, values) = all.iter_mut().find(|(name, ..)| name == tensor).unwrap();
            let [down, up] = matrices(tensor, shape, RANK);
            let inputs: usize = shape[1..].iter().product();
            for (at, value) in values.iter_mut().enumerate() {
                let (row, column) = (at / inputs, at % inputs);
                let product: f64 =
                    (0..RANK).map(|r| f64::from(up[row * RANK + r]) * f64::from(down[r * inputs + column])).sum();
                *value += (STRENGTH * f64::from(ALPHA) / RANK as f64 * product) as f32;
            }
            let mut places = shape[2..].to_vec();
            let down_shape = [vec![RANK, shape[1]], places.clone()].concat();
            places.fill(1);
            tensors.push((format!("{module}.lora_down.weight"), down_shape, down));
            tensors.push((format!("{module}.lora_up.weight"), [vec![shape[0], RANK], places].concat(), up));
            tensors.push((format!("{module}.alpha"), Vec::new(), vec![ALPHA]));
        }
        *weights = vec![Weights::Embedded(serialized(&all).leak())];
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lora.safetensors");
    std::fs::write(&path, serialized(&tensors)).unwrap();
    let with = |path: &Path, strength| ModelWeights {
        loras: vec![LoraFile { path: path.to_owned(), strength }],
        ..generated("pair")
    };
    let estimate = |weights: &ModelWeights| {
        let networks = load(&card, weights).unwrap();
        let latents = input("latents", (1, 4, 6, 7));
        networks.model.unet.forward(&latents, 500.0, &networks.condition(&card), &[0, 1, 2]).unwrap()
    };
    let (ours, wanted, without) = (estimate(&with(&path, STRENGTH)), estimate(&merged), estimate(&generated("pair")));
    assert!(difference(&ours, &wanted) < 1e-5);
    assert!(difference(&without, &wanted) > 1e-2, "the LoRA must matter for this test to mean something");
    assert!(difference(&without, &estimate(&with(&path, 0.0))) == 0.0);

    // Another strength: only the layers that the LoRA adapts are made anew.
    let shelf = Counted::default();
    let shared = |strength| {
        shelf.put.set(0);
        let loading = Loading::new(Precision::F32).sharing(&shelf);
        let networks = Networks::load_by(&card, &with(&path, strength), &loading).unwrap();
        let latents = input("latents", (1, 4, 6, 7));
        networks.model.unet.forward(&latents, 500.0, &networks.condition(&card), &[0, 1, 2]).unwrap()
    };
    assert_eq!(difference(&shared(0.3), &estimate(&with(&path, 0.3))), 0.0);
    let others = shelf.put.get();
    assert!(others > 50, "{others} layers");
    assert_eq!(difference(&shared(STRENGTH), &ours), 0.0);
    assert_eq!(shelf.put.get(), 0, "layers that were there were made again");
    // Without it the adapted ones come to the others.
    assert_eq!(difference(&shared(0.0), &without), 0.0);
    assert_eq!(shelf.put.get(), adapted.len());
    assert_eq!(difference(&shared(STRENGTH), &ours), 0.0);

    // For another model: a matrix of another width.
    let (_, shape, values) = &mut tensors[0];
    shape[1] += 1;
    values.resize(shape.iter().product(), 0.0);
    std::fs::write(&path, serialized(&tensors)).unwrap();
    let error = fault(&card, &with(&path, 1.0)).to_string();
    assert!(
        error.contains("does not fit the model: `lora_unet_middle_block_1") && error.contains("[3, 41]"),
        "{error}"
    );
}
