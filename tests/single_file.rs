//! Checkpoints in one file: the same tensors under the names of the original code give the same numbers.
//!
//! The names here are made the other way round than the program makes them: diffusers' tensors are put into a file as the
//! original code would have stored them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sega::engine::checkpoint::Checkpoint;
use sega::engine::loading::Loading;
use sega::engine::{ModelWeights, Precision};
use sega::model::card::{Card, CardTexts};
use sega::model::files::{ModelFiles, Weights};
use sega::model::single_file::{Family, Naming, Section};
use sega::model::training::Prediction;

use crate::network::{input, listed, load, texts, weight};

/// A tensor's type, shape and bytes.
type Stored = (Dtype, Vec<usize>, Vec<u8>);
type File = BTreeMap<String, Stored>;

fn write(path: &Path, file: &File, metadata: &[(&str, &str)]) {
    let views =
        file.iter().map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    fs::write(path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
}

fn tiny(shape: &[usize]) -> Stored {
    let count: usize = shape.iter().product();
    (Dtype::F32, shape.to_vec(), vec![0; 4 * count])
}

/// A part of the embedded model.
fn of_mini(part: &str) -> File {
    let files = ModelFiles::locate("mini", Path::new("")).unwrap();
    let [Weights::Embedded(bytes)] = files.weights(part).unwrap()[..] else { panic!("mini is embedded") };
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let stored = |view: TensorView| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    tensors.tensors().into_iter().map(|(name, view)| (name, stored(view))).collect()
}

/// An autoencoder of Stable Diffusion's kind.
fn autoencoder() -> File {
    let numbers = |name: &str, shape: &[usize]| weight(name, shape).into_iter().flat_map(f32::to_le_bytes).collect();
    let tensors = listed("lists", "vae").into_iter();
    tensors.map(|(name, shape)| (name.clone(), (Dtype::F32, shape.clone(), numbers(&name, &shape)))).collect()
}

/// A name with the first left side that starts it exchanged for its right side.
fn exchange(name: &str, table: &[(String, String)]) -> String {
    let found = table.iter().find_map(|(new, old)| Some(format!("{old}{}", name.strip_prefix(new.as_str())?)));
    found.unwrap_or_else(|| panic!("no name of the original layout for {name}"))
}

fn table(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(new, old)| ((*new).to_owned(), (*old).to_owned())).collect()
}

/// The U-Net's names of the original code, for so many residual blocks in a level of the way down.
fn unet(name: &str, layers: usize) -> String {
    let mut names = table(&[
        ("conv_in.", "input_blocks.0.0."),
        ("time_embedding.linear_1.", "time_embed.0."),
        ("time_embedding.linear_2.", "time_embed.2."),
        ("add_embedding.linear_1.", "label_emb.0.0."),
        ("add_embedding.linear_2.", "label_emb.0.2."),
        ("conv_norm_out.", "out.0."),
        ("conv_out.", "out.2."),
        ("mid_block.resnets.0.", "middle_block.0."),
        ("mid_block.attentions.0.", "middle_block.1."),
        ("mid_block.resnets.1.", "middle_block.2."),
    ]);
    for level in 0..3 {
        for at in 0..layers {
            let block = (layers + 1) * level + at + 1;
            names.push((format!("down_blocks.{level}.resnets.{at}."), format!("input_blocks.{block}.0.")));
            names.push((format!("down_blocks.{level}.attentions.{at}."), format!("input_blocks.{block}.1.")));
        }
        let block = (layers + 1) * (level + 1);
        names.push((format!("down_blocks.{level}.downsamplers.0.conv."), format!("input_blocks.{block}.0.op.")));
        for at in 0..=layers {
            let block = (layers + 1) * level + at;
            names.push((format!("up_blocks.{level}.resnets.{at}."), format!("output_blocks.{block}.0.")));
            names.push((format!("up_blocks.{level}.attentions.{at}."), format!("output_blocks.{block}.1.")));
        }
        // mini has transformers on all but its last level upwards, where nothing is upsampled.
        let block = (layers + 1) * level + layers;
        names.push((format!("up_blocks.{level}.upsamplers.0."), format!("output_blocks.{block}.2.")));
    }
    let name = exchange(name, &names);
    [
        (".norm1.", ".in_layers.0."),
        (".conv1.", ".in_layers.2."),
        (".time_emb_proj.", ".emb_layers.1."),
        (".norm2.", ".out_layers.0."),
        (".conv2.", ".out_layers.3."),
        (".conv_shortcut.", ".skip_connection."),
    ]
    .iter()
    .filter(|_| !name.contains("transformer_blocks"))
    .fold(name.clone(), |name, (new, old)| name.replace(new, old))
}

/// The autoencoder in the original layout: names, and 1x1 convolutions instead of matrices.
fn original_autoencoder(part: &File, levels: usize) -> File {
    let convert = |(name, (dtype, shape, data)): (&String, &Stored)| {
        let mut shape = shape.clone();
        let mut old = name.clone();
        for level in 0..levels {
            let up = levels - 1 - level;
            old = old.replace(&format!("up_blocks.{level}.resnets."), &format!("up.{up}.block."));
            old = old.replace(&format!("up_blocks.{level}.upsamplers.0."), &format!("up.{up}.upsample."));
        }
        for (new, original) in [
            ("mid_block.resnets.0.", "mid.block_1."),
            ("mid_block.resnets.1.", "mid.block_2."),
            ("mid_block.attentions.0.group_norm.", "mid.attn_1.norm."),
            ("mid_block.attentions.0.to_q.", "mid.attn_1.q."),
            ("mid_block.attentions.0.to_k.", "mid.attn_1.k."),
            ("mid_block.attentions.0.to_v.", "mid.attn_1.v."),
            ("mid_block.attentions.0.to_out.0.", "mid.attn_1.proj_out."),
            ("conv_norm_out.", "norm_out."),
            ("conv_shortcut.", "nin_shortcut."),
        ] {
            old = old.replace(new, original);
        }
        if old.contains(".attn_1.") && shape.len() == 2 {
            shape.extend([1, 1]);
        }
        (old, (*dtype, shape, data.clone()))
    };
    part.iter().map(convert).collect()
}

/// A text encoder of transformers as OpenCLIP stores it.
fn open_clip(part: &File) -> File {
    let names = table(&[
        ("embeddings.token_embedding.weight", "token_embedding.weight"),
        ("embeddings.position_embedding.weight", "positional_embedding"),
        ("final_layer_norm.", "ln_final."),
        ("encoder.layers.", "transformer.resblocks."),
    ]);
    let mut file = File::new();
    for (name, stored) in part {
        let old = exchange(name.strip_prefix("text_model.").unwrap_or(name), &names)
            .replace("layer_norm1", "ln_1")
            .replace("layer_norm2", "ln_2")
            .replace("mlp.fc1", "mlp.c_fc")
            .replace("mlp.fc2", "mlp.c_proj")
            .replace("self_attn.out_proj", "attn.out_proj");
        let Some((layer, projection)) = old.split_once("self_attn.") else {
            file.insert(old, stored.clone());
            continue;
        };
        let (_, kind) = projection.split_once('.').unwrap();
        let at = |side: &str| &part[&name.replace(projection.split('.').next().unwrap(), &format!("{side}_proj"))];
        let (dtype, mut shape, _) = stored.clone();
        shape[0] *= 3;
        let data = ["q", "k", "v"].iter().flat_map(|side| at(side).2.clone()).collect();
        file.insert(format!("{layer}attn.in_proj_{kind}"), (dtype, shape, data));
    }
    file
}

fn prefixed(prefix: &str, part: File) -> impl Iterator<Item = (String, Stored)> {
    part.into_iter().map(move |(name, stored)| (format!("{prefix}{name}"), stored))
}

/// mini with an autoencoder of Stable Diffusion's kind, in one file.
fn whole(openclip: bool) -> File {
    let network = of_mini("unet").into_iter().map(|(name, stored)| (unet(&name, 1), stored)).collect();
    let text = of_mini("text_encoder");
    let text: File = if openclip {
        prefixed("cond_stage_model.model.", open_clip(&text)).collect()
    } else {
        prefixed("cond_stage_model.transformer.", text).collect()
    };
    prefixed("model.diffusion_model.", network)
        .chain(text)
        .chain(prefixed("first_stage_model.", original_autoencoder(&autoencoder(), 2)))
        .chain([("alphas_cumprod".to_owned(), tiny(&[1000]))])
        .collect()
}

/// The same model as a folder in diffusers layout without its weights.
fn configuration(folder: &Path) {
    let mini = ModelFiles::locate("mini", Path::new("")).unwrap();
    let vae = fs::read_to_string("tests/reference/network/lists/vae/config.json").unwrap();
    for part in ["unet", "vae", "text_encoder", "scheduler", "tokenizer"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    fs::write(folder.join("vae/config.json"), vae).unwrap();
    for path in [
        "unet/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
    ] {
        fs::write(folder.join(path), mini.text(path).unwrap().unwrap()).unwrap();
    }
}

fn card(files: &ModelFiles) -> Card {
    Card::new(&CardTexts::gather(|path| files.text(path)).unwrap()).unwrap()
}

/// What the networks make of the same input.
fn outputs(files: &ModelFiles) -> [Vec<f32>; 3] {
    let card = card(files);
    let weights = ModelWeights {
        unet: files.weights("unet").unwrap(),
        text_encoder: files.weights("text_encoder").unwrap(),
        vae: files.weights("vae").unwrap(),
        ..ModelWeights::default()
    };
    let networks = load(&card, &weights).unwrap();
    let numbers = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let text = networks.encode(&texts(&card)).unwrap();
    let latents = input("latents", (1, 4, 8, 8));
    let condition = networks.condition(&card);
    let estimate = networks.model.unet.forward(&latents, 500.0, &condition, &[0, 1]).unwrap();
    let pixels = networks.model.decoder.decode(&latents).unwrap();
    [numbers(&text[1].tokens), numbers(&estimate), numbers(&pixels)]
}

/// The folder, and the file, of the same model.
fn both(openclip: bool) -> (tempfile::TempDir, ModelFiles, ModelFiles) {
    let here = tempfile::tempdir().unwrap();
    let folder = here.path().join("folder");
    configuration(&folder);
    write(&folder.join("unet/diffusion_pytorch_model.safetensors"), &of_mini("unet"), &[]);
    write(&folder.join("text_encoder/model.safetensors"), &of_mini("text_encoder"), &[]);
    write(&folder.join("vae/diffusion_pytorch_model.safetensors"), &autoencoder(), &[]);
    configuration(&here.path().join("single"));
    write(&here.path().join("single.safetensors"), &whole(openclip), &[]);
    let [folder, file] = ["folder", "single.safetensors"].map(|name| ModelFiles::locate(name, here.path()).unwrap());
    (here, folder, file)
}

#[test]
fn a_file_is_its_folder() {
    let (_here, folder, file) = both(false);
    assert_eq!(file.family(), Some(Family::First));
    assert!(outputs(&folder) == outputs(&file));
}

#[test]
fn fused_projections_are_taken_apart() {
    let (_here, folder, file) = both(true);
    assert_eq!(file.family(), Some(Family::Second));
    assert!(outputs(&folder) == outputs(&file));
}

/// The autoencoder of one model in another: as a folder, a model's folder, a file in either layout, a checkpoint.
#[test]
fn an_autoencoder_is_replaced() {
    let (here, folder, _) = both(false);
    let at = |name: &str| here.path().join(name);
    fs::create_dir(at("vae")).unwrap();
    for file in ["config.json", "diffusion_pytorch_model.safetensors"] {
        fs::copy(at("folder/vae").join(file), at("vae").join(file)).unwrap();
    }
    write(&at("old.safetensors"), &original_autoencoder(&autoencoder(), 2), &[]);
    write(&at("new.safetensors"), &autoencoder(), &[]);
    // A model whose own autoencoder has other weights.
    let other: File = autoencoder()
        .into_iter()
        .map(|(name, (dtype, shape, data))| (name, (dtype, shape, vec![0; data.len()])))
        .collect();
    let wanted = outputs(&folder);
    write(&at("folder/vae/diffusion_pytorch_model.safetensors"), &other, &[]);
    assert!(outputs(&folder)[2] != wanted[2]);
    for name in ["vae", "old.safetensors", "new.safetensors", "single.safetensors"] {
        let replaced = folder.clone().with_autoencoder(at(name)).unwrap();
        assert!(outputs(&replaced) == wanted, "{name}");
    }
    fs::copy(at("new.safetensors"), at("folder/vae/diffusion_pytorch_model.safetensors")).unwrap();
    let replaced = ModelFiles::locate("single.safetensors", here.path()).unwrap();
    assert!(outputs(&replaced.with_autoencoder(at("folder")).unwrap()) == wanted);

    let refused = |name: &str| folder.clone().with_autoencoder(at(name)).unwrap_err().to_string();
    assert!(refused("nowhere").contains("there is no file"));
    assert!(refused("folder/unet/diffusion_pytorch_model.safetensors").contains("a U-Net alone, in diffusers layout"));
    assert!(refused("folder/scheduler").contains("is no autoencoder"));
    // mini's own is of another kind; the usual configuration takes its place.
    let mini = ModelFiles::locate("mini", Path::new("")).unwrap().with_autoencoder(at("old.safetensors")).unwrap();
    assert!(mini.text("vae/config.json").unwrap().unwrap().contains("AutoencoderKL"));
}

/// The names that make each family recognisable, and as little else as possible.
fn sketch(family: &[&str]) -> File {
    let mut file = File::from([("model.diffusion_model.input_blocks.0.0.weight".to_owned(), tiny(&[32, 4, 3, 3]))]);
    file.extend(family.iter().map(|name| ((*name).to_owned(), tiny(&[2, 2]))));
    file
}

const FIRST: &str = "cond_stage_model.transformer.text_model.final_layer_norm.weight";
const SECOND: &str = "cond_stage_model.model.ln_final.weight";
const XL: &str = "conditioner.embedders.1.model.ln_final.weight";

fn located(path: PathBuf) -> Result<ModelFiles, String> {
    ModelFiles::locate(path.to_str().unwrap(), Path::new("")).map_err(|error| error.to_string())
}

#[test]
fn families_are_recognised_and_configured() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("a.safetensors");
    let check = |names: &[&str], family: Family| {
        write(&path, &sketch(names), &[]);
        let files = located(path.clone()).unwrap();
        assert_eq!(files.family(), Some(family));
        files
    };
    let first = card(&check(&[FIRST], Family::First));
    assert_eq!((first.default_size.width(), first.scheduler.prediction), (512, Prediction::Epsilon));
    assert_eq!((first.text.width, first.text.layers, first.downscale()), (768, 12, 8));
    let second = card(&check(&[SECOND], Family::Second));
    assert_eq!((second.default_size.width(), second.scheduler.prediction), (768, Prediction::Velocity));
    assert_eq!((second.text.width, second.text.layers), (1024, 23));
    let xl = check(&[XL], Family::Xl);
    for path in ["text_encoder_2/config.json", "tokenizer_2/merges.txt", "tokenizer_2/tokenizer_config.json"] {
        assert!(xl.text(path).unwrap().is_some(), "{path}");
    }
    let [Weights::Section { section, .. }] = &xl.weights("text_encoder_2").unwrap()[..] else { panic!("one section") };
    assert_eq!(*section, Section { prefix: "conditioner.embedders.1.model.", naming: Naming::OpenClip });
}

/// What only XL has: the embedding of sizes and pooled text, the projection that is stored the other way round, deeper
/// transformers, and two text encoders side by side.
#[test]
fn the_names_of_xl() {
    let stored = [
        "model.diffusion_model.input_blocks.0.0.weight",
        "model.diffusion_model.input_blocks.3.0.op.weight",
        "model.diffusion_model.label_emb.0.0.weight",
        "model.diffusion_model.label_emb.0.2.bias",
        "model.diffusion_model.input_blocks.8.1.transformer_blocks.9.attn2.to_k.weight",
        "model.diffusion_model.output_blocks.2.2.conv.weight",
        "model.diffusion_model.output_blocks.8.0.skip_connection.weight",
        "conditioner.embedders.0.transformer.text_model.encoder.layers.11.mlp.fc1.weight",
        "conditioner.embedders.1.model.text_projection",
        "conditioner.embedders.1.model.logit_scale",
        "conditioner.embedders.1.model.positional_embedding",
        "conditioner.embedders.1.model.transformer.resblocks.31.attn.in_proj_bias",
    ];
    let names = |prefix, naming| {
        let section = Section { prefix, naming };
        section.names(stored.into_iter()).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(
        names("model.diffusion_model.", Naming::UNet),
        [
            "conv_in.weight",
            "down_blocks.0.downsamplers.0.conv.weight",
            "add_embedding.linear_1.weight",
            "add_embedding.linear_2.bias",
            "down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_k.weight",
            "up_blocks.0.upsamplers.0.conv.weight",
            "up_blocks.2.resnets.2.conv_shortcut.weight",
        ]
    );
    assert_eq!(
        names("conditioner.embedders.0.transformer.", Naming::Clip),
        ["text_model.encoder.layers.11.mlp.fc1.weight"]
    );
    assert_eq!(
        names("conditioner.embedders.1.model.", Naming::OpenClip),
        [
            "text_projection.weight",
            "text_model.embeddings.position_embedding.weight",
            "text_model.encoder.layers.31.self_attn.q_proj.bias",
            "text_model.encoder.layers.31.self_attn.k_proj.bias",
            "text_model.encoder.layers.31.self_attn.v_proj.bias",
        ]
    );
}

/// A matrix that is stored with rows and columns exchanged is read the right way round, and only if its shape fits.
#[test]
fn projections_are_turned() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("a.safetensors");
    let numbers: Vec<u8> = (0..6).flat_map(|number| (number as f32).to_le_bytes()).collect();
    let stored = (Dtype::F32, vec![2, 3], numbers);
    write(&path, &File::from([("text_projection".to_owned(), stored)]), &[]);
    let section = Section { prefix: "", naming: Naming::OpenClip };
    let checkpoint = Checkpoint::open(&[Weights::Section { file: path, section }]).unwrap();
    let tensors = checkpoint.tensors();
    let loading = Loading::new(Precision::F32).by(None);
    let parameters = tensors.parameters("text_encoder_2", &loading);
    let turned = parameters.get((3, 2), "text_projection.weight").unwrap();
    assert_eq!(turned.to_vec2::<f32>().unwrap(), [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]);
    let message = parameters.get((2, 3), "text_projection.weight").unwrap_err().to_string();
    assert!(message.contains("`text_projection`") && message.contains("a.safetensors"), "{message}");
}

/// A file of Stable Diffusion 1, which has no tokenizer of its own.
pub(crate) fn without_tokenizer() -> (tempfile::TempDir, ModelFiles) {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("a.safetensors");
    write(&path, &sketch(&[FIRST]), &[]);
    let files = located(path).unwrap();
    (here, files)
}

/// Padding is a family's own; a file beside replaces it.
#[test]
fn files_without_a_tokenizer_have_one() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("a.safetensors");
    write(&path, &sketch(&[SECOND]), &[]);
    let files = located(path).unwrap();
    let encode =
        || sega::model::tokenizer::Tokenizer::read(&files, 77).unwrap().encode("a photo of a cat").unwrap().ids;
    assert_eq!(encode()[..8], [49406, 320, 1125, 539, 320, 2368, 49407, 0]);
    fs::create_dir_all(here.path().join("a/tokenizer")).unwrap();
    fs::write(here.path().join("a/tokenizer/tokenizer_config.json"), r#"{"model_max_length": 9}"#).unwrap();
    assert_eq!(encode(), [49406, 320, 1125, 539, 320, 2368, 49407, 49407, 49407]);
}

#[test]
fn the_prediction_is_as_the_file_says() {
    let check = |names: &[&str], file: &str, metadata: &[(&str, &str)], beside: Option<&str>| {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("a.safetensors");
        let mut tensors = sketch(names);
        if let Some(step) = file.strip_prefix("global_step=") {
            let data = step.parse::<i64>().unwrap().to_le_bytes().to_vec();
            tensors.insert("global_step".to_owned(), (Dtype::I64, vec![], data));
        } else if !file.is_empty() {
            tensors.insert(file.to_owned(), (Dtype::F32, vec![0], vec![]));
        }
        write(&path, &tensors, metadata);
        if let Some(text) = beside {
            fs::write(here.path().join("a.yaml"), text).unwrap();
        }
        let card = card(&located(path).unwrap());
        (card.scheduler.prediction, card.default_size.width())
    };
    use Prediction::{Epsilon, Velocity};
    assert_eq!(check(&[SECOND], "", &[], None), (Velocity, 768));
    assert_eq!(check(&[SECOND], "global_step=875000", &[], None), (Epsilon, 512));
    assert_eq!(check(&[SECOND], "global_step=140000", &[], None), (Velocity, 768));
    assert_eq!(check(&[SECOND], "", &[("modelspec.predict_key", "epsilon")], None), (Epsilon, 512));
    assert_eq!(check(&[FIRST], "", &[("modelspec.predict_key", "v")], None), (Velocity, 512));
    assert_eq!(check(&[FIRST], "v_pred", &[], None), (Velocity, 512));
    let yaml = "model:\n  params:\n    parameterization: \"v\"\n";
    assert_eq!(check(&[FIRST], "", &[], Some(yaml)), (Velocity, 512));
    assert_eq!(check(&[SECOND], "", &[], Some("model:\n  params: {}\n")), (Epsilon, 512));
}

/// What is no checkpoint, or not one that can be used, is told for what it is.
#[test]
fn what_is_no_checkpoint_is_refused() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("a.safetensors");
    let refusal = |file: File| {
        write(&path, &file, &[]);
        located(path.clone()).unwrap_err().replace(here.path().to_str().unwrap(), "/HERE")
    };
    let only = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), tiny(&[2, 2]))).collect::<File>();
    let mut inpainting = sketch(&[FIRST]);
    inpainting.insert("model.diffusion_model.input_blocks.0.0.weight".to_owned(), tiny(&[32, 9, 3, 3]));
    let pickled = here.path().join("old.ckpt");
    fs::write(&pickled, "PK").unwrap();
    let mut messages = vec![
        refusal(sketch(&["conditioner.embedders.0.model.ln_final.weight"])),
        refusal(inpainting),
        refusal(sketch(&[XL, "edm_mean"])),
        refusal(sketch(&[])),
        refusal(only(&["lora_unet_down_blocks_0.lora_down.weight"])),
        refusal(only(&["decoder.mid.block_1.norm1.weight"])),
        refusal(only(&["down_blocks.0.resnets.0.norm1.weight"])),
        refusal(only(&["model.diffusion_model.double_blocks.0.img_attn.qkv.weight"])),
        refusal(only(&["something"])),
        refusal(File::new()),
        located(pickled).unwrap_err().replace(here.path().to_str().unwrap(), "/HERE"),
    ];
    // The autoencoder may come from elsewhere.
    write(&path, &sketch(&[FIRST]), &[]);
    let without = located(path.clone()).unwrap().weights("vae").unwrap_err().to_string();
    messages.push(without.replace(here.path().to_str().unwrap(), "/HERE"));
    insta::assert_snapshot!(messages.join("\n"));
}
