//! Models from strangers: whatever their files say, there is an error that names the file, or a model; never a panic, and
//! nothing is reserved because a file says so.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;
use sega::model::card::{Card, CardTexts};
use sega::model::files::ModelFiles;
use serde_json::{Map, Value, json};

const CONFIGURATIONS: [&str; 4] =
    ["unet/config.json", "text_encoder/config.json", "vae/config.json", "scheduler/scheduler_config.json"];

fn mini() -> ModelFiles {
    ModelFiles::locate("mini", Path::new("")).unwrap()
}

/// Values that no configuration has.
fn nonsense() -> impl Strategy<Value = Value> {
    let single = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec![0_i64, 1, -1, 2, 3, 7, 1 << 20, i64::MAX, i64::MIN]).prop_map(Value::from),
        prop::sample::select(vec![0.0, -0.5, 1e-320, 1e308]).prop_map(Value::from),
        Just(json!(u64::MAX)),
        "[a-zA-Z0-9_]{0,12}".prop_map(Value::from),
        Just(json!({})),
        Just(json!({"a": [1]})),
    ];
    prop_oneof![single.clone(), prop::collection::vec(single, 0..5).prop_map(Value::from)]
}

/// A configuration of mini with some of its values replaced.
fn lied(path: &str, lies: &[(prop::sample::Index, Value)]) -> String {
    let mut object: Map<String, Value> = serde_json::from_str(&mini().text(path).unwrap().unwrap()).unwrap();
    let keys: Vec<String> = object.keys().cloned().collect();
    for (at, lie) in lies {
        object.insert(keys[at.index(keys.len())].clone(), lie.clone());
    }
    Value::Object(object).to_string()
}

proptest! {
    #![proptest_config(crate::cases::cases(1500))]

    /// A configuration that lies is refused with its file, or gives a card that the weights are then compared with.
    #[test]
    fn configurations_that_lie(
        which in prop::sample::select(&CONFIGURATIONS[..]),
        lies in prop::collection::vec((any::<prop::sample::Index>(), nonsense()), 1..4),
    ) {
        let text = lied(which, &lies);
        let files = mini();
        let texts = CardTexts::gather(|path| {
            if path == which { Ok::<_, sega::model::files::FilesError>(Some(text.clone())) } else { files.text(path) }
        }).unwrap();
        if let Err(error) = Card::new(&texts) {
            let message = error.to_string();
            prop_assert!(message.contains("config.json") || message.contains("network takes"), "{}", message);
        }
    }

    #[test]
    fn configurations_that_are_cut(which in prop::sample::select(&CONFIGURATIONS[..]), cut in any::<prop::sample::Index>()) {
        let files = mini();
        let text = files.text(which).unwrap().unwrap();
        let part = text[..text.floor_char_boundary(cut.index(text.trim_end().len()))].to_owned();
        let texts = CardTexts::gather(|path| {
            if path == which { Ok::<_, sega::model::files::FilesError>(Some(part.clone())) } else { files.text(path) }
        }).unwrap();
        prop_assert!(Card::new(&texts).unwrap_err().to_string().contains(which));
    }
}

#[cfg(feature = "engine")]
mod with_engine {
    use std::fs;

    use super::*;
    use sega::engine::ModelWeights;
    use sega::model::files::Weights;
    use sega::model::tokenizer::Tokenizer;

    /// A folder whose tokenizer has these files.
    fn tokenizer(files: &[(&str, &[u8])]) -> Result<Tokenizer, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model_index.json"), "{}").unwrap();
        fs::create_dir(folder.path().join("tokenizer")).unwrap();
        for (file, bytes) in files {
            fs::write(folder.path().join("tokenizer").join(file), bytes).unwrap();
        }
        let files = ModelFiles::locate(folder.path().to_str().unwrap(), Path::new("")).unwrap();
        Tokenizer::read(&files, 77).map_err(|error| error.to_string())
    }

    /// If there is a tokenizer, it gives as many tokens as it says, for any text.
    fn uses(tokenizer: Result<Tokenizer, String>) -> Result<(), TestCaseError> {
        match tokenizer {
            Ok(tokenizer) => {
                for text in ["", "a woman, with glasses", "\u{0}\u{10ffff} e\u{301} \u{200d}", "<|endoftext|>!!!"] {
                    if let Ok(tokens) = tokenizer.encode(text) {
                        prop_assert_eq!(tokens.ids.len() % tokenizer.length(), 0);
                    }
                }
            }
            Err(message) => prop_assert!(message.contains("tokenizer"), "{}", message),
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(crate::cases::cases(300))]

        #[test]
        fn tokenizers_with_wrong_bytes(
            file in prop::sample::select(vec!["tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"]),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
            cut in any::<prop::sample::Index>(), whole in any::<bool>(),
        ) {
            let files = mini();
            let text = |file: &str| files.text(&format!("tokenizer/{file}")).unwrap().unwrap().into_bytes();
            let mut bytes = text(file);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if !whole {
                bytes.truncate(cut.index(bytes.len()));
            }
            let others = ["vocab.json", "merges.txt", "tokenizer_config.json"].map(|other| (other, text(other)));
            let mut all: Vec<(&str, &[u8])> =
                others.iter().filter(|(other, _)| *other != file).map(|(other, bytes)| (*other, &bytes[..])).collect();
            all.push((file, &bytes));
            uses(tokenizer(&all))?;
        }

        #[test]
        fn tokenizers_of_nonsense(text in "\\PC{0,80}", pairs in prop::collection::vec("[a-c]{0,2} ?[a-c]{0,2}(</w>)?", 0..8)) {
            uses(tokenizer(&[("tokenizer.json", text.as_bytes())]))?;
            uses(tokenizer(&[("merges.txt", text.as_bytes())]))?;
            uses(tokenizer(&[("merges.txt", pairs.join("\n").as_bytes())]))?;
            uses(tokenizer(&[("merges.txt", b"a b"), ("vocab.json", text.as_bytes())]))?;
        }
    }

    /// A LoRA of two modules of mini, in one of the layouts.
    fn lora(peft: bool) -> Vec<u8> {
        let (prefix, down, up) =
            if peft { ("unet.", "lora_A", "lora_B") } else { ("lora_unet_", "lora_down", "lora_up") };
        let module = |name: &str| {
            let name = if peft { name.to_owned() } else { name.replace('.', "_") };
            format!("{prefix}{name}")
        };
        let tensors: Vec<(String, Vec<usize>, Vec<f32>)> = ["time_embedding.linear_2", "conv_in"]
            .into_iter()
            .flat_map(|name| {
                let inputs = if name == "conv_in" { vec![2, 4, 3, 3] } else { vec![2, 256] };
                let outputs = if name == "conv_in" { vec![64, 2, 1, 1] } else { vec![256, 2] };
                let module = module(name);
                [(down, inputs), (up, outputs)].map(|(matrix, shape)| {
                    let count = shape.iter().product();
                    (format!("{module}.{matrix}.weight"), shape, vec![0.01; count])
                })
            })
            .collect();
        crate::network::serialized(&tensors)
    }

    proptest! {
        #![proptest_config(crate::cases::cases(60))]

        /// A LoRA of which some bytes are others, in the header or behind it: an error that names the file, or weights.
        #[test]
        fn loras_with_wrong_bytes(
            peft in any::<bool>(), in_header in any::<bool>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
            cut in any::<prop::sample::Index>(), whole in any::<bool>(),
        ) {
            let files = mini();
            let card = Card::new(&CardTexts::gather(|path| files.text(path)).unwrap()).unwrap();
            let mut bytes = lora(peft);
            let header = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
            for (at, byte) in changes {
                let at = at.index(if in_header { header } else { bytes.len() });
                bytes[at] = byte;
            }
            if !whole {
                bytes.truncate(cut.index(bytes.len()));
            }
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x.safetensors");
            fs::write(&path, bytes).unwrap();
            let weights = |part| files.weights(part).unwrap();
            let weights = ModelWeights {
                unet: weights("unet"),
                text_encoder: weights("text_encoder"),
                vae: weights("vae"),
                loras: vec![sega::model::lora::LoraFile { path, strength: 1.0 }],
                ..ModelWeights::default()
            };
            if let Err(error) = sega::engine::Model::load(&card, &weights, &sega::engine::loading::Loading::new(sega::engine::Precision::F32)) {
                prop_assert!(error.to_string().contains("x.safetensors"), "{}", error);
            }
        }

        /// An index of shards of nonsense.
        #[test]
        fn indices_of_nonsense(text in "\\PC{0,60}", names in prop::collection::vec("[a-z./\\\\]{0,12}", 0..4)) {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("unet")).unwrap();
            fs::write(folder.path().join("unet/config.json"), "{}").unwrap();
            let map: Map<String, Value> = names.iter().enumerate().map(|(at, name)| (at.to_string(), name.as_str().into())).collect();
            for index in [text, json!({ "weight_map": map }).to_string(), json!({ "weight_map": names }).to_string()] {
                fs::write(folder.path().join("unet/diffusion_pytorch_model.safetensors.index.json"), index).unwrap();
                let files = ModelFiles::in_folder(folder.path().to_owned()).unwrap();
                match files.weights("unet") {
                    // Only files beside it.
                    Ok(weights) => for weights in weights {
                        let Weights::File(path) = weights else { panic!("{weights:?}") };
                        prop_assert!(path.parent() == Some(&folder.path().join("unet")), "{}", path.display());
                    },
                    Err(error) => prop_assert!(error.to_string().contains("diffusion_pytorch_model"), "{}", error),
                }
            }
        }
    }

    /// A decoder is no use to us, so that one which cannot be read is no reason to fail.
    #[test]
    fn a_decoder_that_is_none() {
        let files = mini();
        let text = |file: &str| files.text(&format!("tokenizer/{file}")).unwrap().unwrap();
        let mut whole: serde_json::Value = serde_json::from_str(&text("tokenizer.json")).unwrap();
        whole["decoder"] = serde_json::json!({ "type": [7] });
        let config = text("tokenizer_config.json");
        let read = tokenizer(&[
            ("tokenizer.json", whole.to_string().as_bytes()),
            ("tokenizer_config.json", config.as_bytes()),
        ]);
        let tokens = |tokenizer: &Tokenizer| tokenizer.encode("a woman with glasses").unwrap().ids;
        assert_eq!(tokens(&read.unwrap()), tokens(&Tokenizer::read(&files, 77).unwrap()));
    }

    /// The networks of a card with these weights of the U-Net, and a model's others.
    fn load(card: &Card, unet: Vec<Weights>, files: &ModelFiles) -> Result<(), String> {
        let weights = |part| files.weights(part).unwrap();
        let (text_encoder, vae) = (weights("text_encoder"), weights("vae"));
        let weights = ModelWeights { unet, text_encoder, vae, ..ModelWeights::default() };
        crate::network::load(card, &weights).map(drop).map_err(|error| error.to_string())
    }

    /// Shapes that the configuration makes up are compared with the file's before anything of their size is reserved.
    #[test]
    fn shapes_that_are_not_the_files() {
        let files = mini();
        for (which, key, lie) in [
            ("unet/config.json", "block_out_channels", json!([64, 96, 65536])),
            ("unet/config.json", "layers_per_block", json!(1024)),
            ("unet/config.json", "transformer_layers_per_block", json!(1024)),
            ("text_encoder/config.json", "vocab_size", json!(1_u64 << 40)),
            ("text_encoder/config.json", "intermediate_size", json!(1_u64 << 50)),
            ("text_encoder/config.json", "num_hidden_layers", json!(1_u64 << 40)),
            ("vae/config.json", "num_decoder_blocks", json!([1024, 1024, 1024, 1024])),
        ] {
            let mut object: Map<String, Value> = serde_json::from_str(&files.text(which).unwrap().unwrap()).unwrap();
            object.insert(key.to_owned(), lie);
            let text = Value::Object(object).to_string();
            let texts = CardTexts::gather(|path| {
                if path == which {
                    Ok::<_, sega::model::files::FilesError>(Some(text.clone()))
                } else {
                    files.text(path)
                }
            })
            .unwrap();
            let message = match Card::new(&texts) {
                Err(error) => error.to_string(),
                Ok(card) => load(&card, files.weights("unet").unwrap(), &files).err().unwrap(),
            };
            assert!(message.contains("tensor `") || message.contains(which), "{which}: {key}: {message}");
        }
    }

    /// A file whose tensors have another type or shape than they should, under a header that is right.
    #[test]
    fn tensors_of_the_wrong_kind_are_named() {
        use safetensors::tensor::TensorView;
        let files = mini();
        let card = Card::new(&CardTexts::gather(|path| files.text(path)).unwrap()).unwrap();
        let [Weights::Embedded(bytes)] = files.weights("unet").unwrap()[..] else { panic!("mini is embedded") };
        let own = safetensors::SafeTensors::deserialize(bytes).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let fault = |name: &str, dtype: safetensors::Dtype, shape: Vec<usize>, data: &[u8]| {
            let views = own.tensors().into_iter().map(|(own, view)| {
                let other = TensorView::new(dtype, shape.clone(), data).unwrap();
                let view = if own == name { other } else { view };
                (own, view)
            });
            fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
            load(&card, vec![Weights::File(path.clone())], &files).err().unwrap()
        };
        use safetensors::Dtype::{F8_E4M3, F32, I64};
        for message in [
            fault("conv_in.bias", I64, vec![64], &[0; 512]),
            fault("conv_in.bias", F8_E4M3, vec![64], &[0; 64]),
            fault("conv_in.bias", F32, vec![32, 2], &[0; 256]),
            fault("conv_in.bias", F32, vec![0], &[]),
            fault("conv_in.bias", F32, vec![], &[0; 4]),
        ] {
            assert!(message.contains("x.safetensors") && message.contains("`conv_in.bias`"), "{message}");
        }
    }
}
