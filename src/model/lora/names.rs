//! The names under which LoRAs speak of a model's tensors.

use std::collections::HashMap;

use super::Part;

/// For each name of a module its tensor.
pub(super) type Places = HashMap<String, (Part, String)>;

/// All names of the modules whose weights these tensors are.
pub(super) fn places(tensors: impl IntoIterator<Item = (Part, String)>) -> Places {
    let mut places = Places::new();
    let all: Vec<(Part, String)> = tensors.into_iter().collect();
    let layers = blocks_of_a_level(&all);
    for (part, tensor) in all {
        let Some(module) = tensor.strip_suffix(".weight") else { continue };
        let place = || (part, tensor.clone());
        let mut add = |name: String| {
            places.entry(name).or_insert_with(place);
        };
        match part {
            Part::UNet => {
                add(format!("unet.{module}"));
                add(module.to_owned());
                add(format!("lora_unet_{}", flat(module)));
                if let Some(original) = original_name(module, layers) {
                    add(format!("lora_unet_{}", flat(&original)));
                }
            }
            Part::TextEncoder | Part::TextEncoder2 => {
                let (name, kohya): (_, &[&str]) = match part {
                    Part::TextEncoder => ("text_encoder", &["lora_te", "lora_te1"]),
                    _ => ("text_encoder_2", &["lora_te2"]),
                };
                // With or without the prefix in the model's file; keys mostly have it.
                let short = module.strip_prefix("text_model.").unwrap_or(module);
                for form in [short.to_owned(), format!("text_model.{short}")] {
                    add(format!("{name}.{form}"));
                    for prefix in kohya {
                        add(format!("{prefix}_{}", flat(&form)));
                    }
                }
            }
        }
    }
    places
}

/// The tensor of a module as a key names it.
pub(super) fn find(places: &Places, module: &str) -> Option<(Part, String)> {
    let found = |name: &str| places.get(name).cloned();
    found(module).or_else(|| found(&renewed(module)))
}

/// The name of a module that diffusers' older releases wrote in other words.
fn renewed(module: &str) -> String {
    let module = module.replace(".processor", "");
    let text = module.starts_with("text_encoder");
    let last = match module.rsplit_once('.') {
        Some((before, last)) => (before, last.strip_suffix("_lora").unwrap_or(last)),
        None => return module,
    };
    let (before, last) = last;
    let last = match (text, last) {
        (true, "to_q") => "q_proj",
        (true, "to_k") => "k_proj",
        (true, "to_v") => "v_proj",
        (true, "to_out") => "out_proj",
        (false, "to_out") => "to_out.0",
        (_, last) => last,
    };
    format!("{before}.{last}")
}

fn flat(module: &str) -> String {
    module.replace('.', "_")
}

/// The number of residual blocks of a level downwards: one more is the distance of levels in the original numbering.
fn blocks_of_a_level(tensors: &[(Part, String)]) -> usize {
    let resnets = tensors.iter().filter(|(part, _)| *part == Part::UNet).filter_map(|(_, name)| {
        let rest = name.strip_prefix("down_blocks.0.resnets.")?;
        rest.split('.').next()?.parse::<usize>().ok()
    });
    resnets.max().map_or(0, |last| last + 1)
}

/// The name of a U-Net's module in the code that Stable Diffusion came from, in which all blocks downwards have one
/// numbering, and all upwards.
fn original_name(module: &str, layers: usize) -> Option<String> {
    let parts: Vec<&str> = module.split('.').collect();
    let number = |at: usize| parts.get(at)?.parse::<usize>().ok();
    let rest = |from: usize| parts[from.min(parts.len())..].join(".");
    let resnet = |block: String, from: usize| {
        let inner = match *parts.get(from)? {
            "conv1" => "in_layers.2",
            "conv2" => "out_layers.3",
            "time_emb_proj" => "emb_layers.1",
            "conv_shortcut" => "skip_connection",
            _ => return None,
        };
        Some(format!("{block}.{inner}"))
    };
    match parts.first().copied()? {
        "conv_in" => Some("input_blocks.0.0".to_owned()),
        "conv_out" => Some("out.2".to_owned()),
        "time_embedding" | "add_embedding" => {
            let inner = match *parts.get(1)? {
                "linear_1" => "0",
                "linear_2" => "2",
                _ => return None,
            };
            let outer = if parts[0] == "time_embedding" { "time_embed" } else { "label_emb.0" };
            Some(format!("{outer}.{inner}"))
        }
        "down_blocks" => {
            let (level, kind, index) = (number(1)?, *parts.get(2)?, number(3)?);
            let block = 1 + level * (layers + 1) + index;
            match kind {
                "resnets" => resnet(format!("input_blocks.{block}.0"), 4),
                "attentions" => Some(format!("input_blocks.{block}.1.{}", rest(4))),
                "downsamplers" => Some(format!("input_blocks.{}.0.op", (level + 1) * (layers + 1))),
                _ => None,
            }
        }
        "mid_block" => {
            let (kind, index) = (*parts.get(1)?, number(2)?);
            match kind {
                "resnets" => resnet(format!("middle_block.{}", 2 * index), 3),
                "attentions" => Some(format!("middle_block.1.{}", rest(3))),
                _ => None,
            }
        }
        "up_blocks" => {
            let (level, kind, index) = (number(1)?, *parts.get(2)?, number(3)?);
            let block = level * (layers + 1) + index;
            match kind {
                "resnets" => resnet(format!("output_blocks.{block}.0"), 4),
                "attentions" => Some(format!("output_blocks.{block}.1.{}", rest(4))),
                // Behind a residual block and a transformer: levels without transformers are the last in such models.
                "upsamplers" => Some(format!("output_blocks.{}.2.conv", level * (layers + 1) + layers)),
                _ => None,
            }
        }
        _ => None,
    }
}
