//! Keys of LoRAs, line by line: an error, or a place for each pair of matrices.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sega::model::lora::{Part, resolve};

const UNET: [&str; 8] = [
    "conv_in.weight",
    "down_blocks.0.resnets.0.conv1.weight",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0.weight",
    "down_blocks.0.downsamplers.0.conv.weight",
    "mid_block.attentions.0.proj_in.weight",
    "up_blocks.0.resnets.2.conv_shortcut.weight",
    "up_blocks.0.attentions.2.transformer_blocks.1.ff.net.0.proj.weight",
];

fuzz_target!(|text: &str| {
    let text_encoder = "encoder.layers.1.self_attn.q_proj.weight";
    let tensors = UNET.map(|name| (Part::UNet, name.to_owned())).into_iter();
    let tensors = tensors.chain([(Part::TextEncoder, text_encoder.to_owned()), (Part::TextEncoder2, format!("text_model.{text_encoder}"))]);
    if let Ok(adapted) = resolve("a.safetensors", text.lines(), tensors) {
        assert!(adapted.values().all(|of| text.contains(&of.down) && text.contains(&of.up)));
    }
});
