//! LoRAs: which tensors their keys mean, and what they do to weights. How diffusers merges them is compared by
//! `tools/reference/parity.py`.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use sega::model::lora::{Adapted, LoraError, LoraFile, Part, resolve};

/// Some tensors of a small model, with or without a second text encoder.
fn tensors(two: bool) -> Vec<(Part, String)> {
    let unet = [
        "conv_in.weight",
        "conv_out.weight",
        "time_embedding.linear_1.weight",
        "down_blocks.0.resnets.0.conv1.weight",
        "down_blocks.0.resnets.1.conv1.weight",
        "down_blocks.0.downsamplers.0.conv.weight",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0.weight",
        "down_blocks.1.resnets.1.time_emb_proj.weight",
        "down_blocks.1.resnets.1.time_emb_proj.bias",
        "mid_block.resnets.1.conv2.weight",
        "mid_block.attentions.0.proj_in.weight",
        "up_blocks.0.attentions.2.transformer_blocks.1.ff.net.0.proj.weight",
        "up_blocks.0.resnets.2.conv_shortcut.weight",
        "up_blocks.0.upsamplers.0.conv.weight",
    ];
    let mut all: Vec<(Part, String)> = unet.iter().map(|name| (Part::UNet, (*name).to_owned())).collect();
    let text = "encoder.layers.1.self_attn.q_proj.weight";
    all.push((Part::TextEncoder, text.to_owned()));
    if two {
        all.push((Part::TextEncoder2, format!("text_model.{text}")));
    }
    all
}

/// The one tensor that a module of this name and ending means.
fn place(module: &str, endings: [&str; 2]) -> (Part, String) {
    let keys = endings.map(|ending| format!("{module}{ending}"));
    let found = resolve("a.safetensors", keys.iter().map(String::as_str), tensors(true)).unwrap();
    assert_eq!(found.len(), 1);
    let (place, adapted) = found.into_iter().next().unwrap();
    assert_eq!(adapted, Adapted { down: keys[0].clone(), up: keys[1].clone(), alpha: None });
    place
}

#[test]
fn every_layout_is_understood() {
    const KOHYA: [&str; 2] = [".lora_down.weight", ".lora_up.weight"];
    const PEFT: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];
    const OLD: [&str; 2] = ["_lora.down.weight", "_lora.up.weight"];
    const LINEAR: [&str; 2] = [".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"];
    let query = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight";
    let out = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0.weight";
    let cases = [
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q", KOHYA, query),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", KOHYA, query),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_out_0", KOHYA, out),
        ("lora_unet_input_blocks_1_0_in_layers_2", KOHYA, "down_blocks.0.resnets.0.conv1.weight"),
        ("lora_unet_input_blocks_3_0_op", KOHYA, "down_blocks.0.downsamplers.0.conv.weight"),
        ("lora_unet_input_blocks_5_0_emb_layers_1", KOHYA, "down_blocks.1.resnets.1.time_emb_proj.weight"),
        ("lora_unet_middle_block_2_out_layers_3", KOHYA, "mid_block.resnets.1.conv2.weight"),
        ("lora_unet_middle_block_1_proj_in", KOHYA, "mid_block.attentions.0.proj_in.weight"),
        (
            "lora_unet_output_blocks_2_1_transformer_blocks_1_ff_net_0_proj",
            KOHYA,
            "up_blocks.0.attentions.2.transformer_blocks.1.ff.net.0.proj.weight",
        ),
        ("lora_unet_output_blocks_2_0_skip_connection", KOHYA, "up_blocks.0.resnets.2.conv_shortcut.weight"),
        ("lora_unet_output_blocks_2_2_conv", KOHYA, "up_blocks.0.upsamplers.0.conv.weight"),
        ("lora_unet_input_blocks_0_0", KOHYA, "conv_in.weight"),
        ("lora_unet_out_2", KOHYA, "conv_out.weight"),
        ("lora_unet_time_embed_0", KOHYA, "time_embedding.linear_1.weight"),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", PEFT, query),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0", PEFT, out),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q", OLD, query),
        ("down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_out", OLD, out),
    ];
    for (module, endings, tensor) in cases {
        assert_eq!(place(module, endings), (Part::UNet, tensor.to_owned()), "{module}");
    }
    let (first, second) =
        ("encoder.layers.1.self_attn.q_proj.weight", "text_model.encoder.layers.1.self_attn.q_proj.weight");
    let texts = [
        ("lora_te_text_model_encoder_layers_1_self_attn_q_proj", KOHYA, Part::TextEncoder),
        ("lora_te1_text_model_encoder_layers_1_self_attn_q_proj", KOHYA, Part::TextEncoder),
        ("lora_te2_text_model_encoder_layers_1_self_attn_q_proj", KOHYA, Part::TextEncoder2),
        ("text_encoder.text_model.encoder.layers.1.self_attn.q_proj", PEFT, Part::TextEncoder),
        ("text_encoder_2.text_model.encoder.layers.1.self_attn.q_proj", PEFT, Part::TextEncoder2),
        ("text_encoder.encoder.layers.1.self_attn.q_proj", PEFT, Part::TextEncoder),
        ("text_encoder.text_model.encoder.layers.1.self_attn.q_proj", LINEAR, Part::TextEncoder),
        ("text_encoder.text_model.encoder.layers.1.self_attn.to_q", OLD, Part::TextEncoder),
    ];
    for (module, endings, part) in texts {
        let tensor = if part == Part::TextEncoder { first } else { second };
        assert_eq!(place(module, endings), (part, tensor.to_owned()), "{module}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let refusal = |keys: &[&str], two: bool| {
        resolve("grain.safetensors", keys.iter().copied(), tensors(two)).unwrap_err().to_string()
    };
    let attention = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q";
    let (down, up) = (format!("{attention}.lora_down.weight"), format!("{attention}.lora_up.weight"));
    let messages = [
        refusal(&[&down, &up, "lora_unet_nowhere.lora_down.weight", "lora_unet_nowhere.lora_up.weight"], true),
        refusal(&["lora_te2_text_model_x.lora_down.weight", "lora_te2_text_model_x.lora_up.weight"], false),
        refusal(&[&down, &up, "something.weight"], true),
        refusal(&[&down], true),
        refusal(&["a.hada_w1_a", "a.hada_w1_b"], true),
        refusal(&[&down, &up, &format!("{attention}.dora_scale")], true),
        refusal(&["model.weight"], true),
        refusal(&[], true),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_lora_is_found_beside_its_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    };
    ["grain.safetensors", "old.ckpt", "hub/pytorch_lora_weights.safetensors", "empty/x"].into_iter().for_each(write);
    let locate = |name: &str| LoraFile::locate(name, folder.path(), 0.5);
    assert_eq!(locate("grain.safetensors").unwrap().path, folder.path().join("grain.safetensors"));
    assert_eq!(locate("hub").unwrap().path, folder.path().join("hub/pytorch_lora_weights.safetensors"));
    assert!(matches!(locate("old.ckpt"), Err(LoraError::WrongFormat { .. })));
    assert!(matches!(locate("empty"), Err(LoraError::EmptyFolder { .. })));
    assert!(matches!(locate("nowhere.safetensors"), Err(LoraError::Unknown { .. })));
    assert!(LoraFile::locate("x", Path::new("/nowhere"), 1.0).is_err());
}
