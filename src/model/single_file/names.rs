//! The names of the original code's layout (LDM for Stable Diffusion 1 and 2, SGM for XL) as diffusers' names.
//!
//! Pure text: which tensor of a file is which tensor of a part, and what is to be done with it on the way. Nothing is
//! converted before a tensor is asked for, and then only that one.

/// How the names of a part are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// The U-Net of the original code: blocks counted through.
    UNet,
    /// The autoencoder of the original code.
    Autoencoder,
    /// CLIP's text encoder as transformers writes it.
    Clip,
    /// The text encoder of OpenCLIP, which keeps query, key and value in one matrix.
    OpenClip,
    /// Those of diffusers.
    Diffusers,
}

/// The tensors of one part in a file that holds several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// What stands before each of their names.
    pub prefix: &'static str,
    /// How they go on.
    pub naming: Naming,
}

/// Where a tensor comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name in the file.
    pub stored: String,
    /// Which third of the stored rows it is, if not all of them.
    pub third: Option<usize>,
    /// Whether sides of length 1 at the end of the stored shape are left out: a 1x1 convolution as a matrix.
    pub point: bool,
    /// Whether it is a matrix that is stored with rows and columns exchanged.
    pub transposed: bool,
}

impl Origin {
    /// A tensor as it is stored.
    pub fn plain(stored: &str) -> Self {
        Self { stored: stored.to_owned(), third: None, point: false, transposed: false }
    }
}

impl Section {
    /// diffusers' names of the part's tensors, of those stored in a file. Tensors that no part of a model needs (a
    /// position's number, a loss) are left out.
    pub fn names<'a>(&self, stored: impl Iterator<Item = &'a str> + Clone) -> Vec<(String, Origin)> {
        let own = stored.filter_map(|name| Some((name, name.strip_prefix(self.prefix)?)));
        match self.naming {
            Naming::UNet => {
                let layers = residual_blocks(own.clone().map(|(_, name)| name));
                own.filter_map(|(stored, name)| Some((unet(name, layers)?, Origin::plain(stored)))).collect()
            }
            Naming::Autoencoder => {
                let levels = own.clone().filter_map(|(_, name)| number_behind(name, "decoder.up.")).max();
                let levels = levels.map_or(0, |last| last.saturating_add(1));
                own.filter_map(|(stored, name)| {
                    let point = name.contains(".attn_1.") && name.ends_with(".weight") && !name.contains(".norm.");
                    Some((autoencoder(name, levels)?, Origin { point, ..Origin::plain(stored) }))
                })
                .collect()
            }
            Naming::Clip => own.map(|(stored, name)| (clip(name), Origin::plain(stored))).collect(),
            Naming::OpenClip => own.flat_map(|(stored, name)| open_clip(stored, name)).collect(),
            Naming::Diffusers => own.map(|(stored, name)| (name.to_owned(), Origin::plain(stored))).collect(),
        }
    }
}

/// The number that follows `before` in a name that starts so.
fn number_behind(name: &str, before: &str) -> Option<usize> {
    name.strip_prefix(before)?.split('.').next()?.parse().ok()
}

/// A leading number and what follows its dot.
fn numbered(name: &str) -> Option<(usize, &str)> {
    let (number, rest) = name.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

/// The first alternative whose left side starts the name, exchanged for its right side.
fn exchange(name: &str, alternatives: &[(&str, &str)]) -> Option<String> {
    alternatives.iter().find_map(|(old, new)| Some(format!("{new}{}", name.strip_prefix(old)?)))
}

/// The residual blocks of a level of the U-Net. Block 0 is the first convolution, and the first downsampling ends the
/// first level.
fn residual_blocks<'a>(names: impl Iterator<Item = &'a str> + Clone) -> usize {
    let blocks = |name| number_behind(name, "input_blocks.");
    let downsampling = names.clone().filter(|name| name.ends_with(".0.op.weight")).filter_map(blocks).min();
    let last = || names.clone().filter_map(blocks).max().unwrap_or(1);
    downsampling.map_or_else(last, |block| block.saturating_sub(1)).max(1)
}

fn unet(name: &str, layers: usize) -> Option<String> {
    const OUTSIDE: [(&str, &str); 7] = [
        ("time_embed.0.", "time_embedding.linear_1."),
        ("time_embed.2.", "time_embedding.linear_2."),
        ("label_emb.0.0.", "add_embedding.linear_1."),
        ("label_emb.0.2.", "add_embedding.linear_2."),
        ("input_blocks.0.0.", "conv_in."),
        ("out.0.", "conv_norm_out."),
        ("out.2.", "conv_out."),
    ];
    if let Some(name) = exchange(name, &OUTSIDE) {
        return Some(name);
    }
    if let Some(rest) = name.strip_prefix("middle_block.") {
        let (part, rest) = numbered(rest)?;
        return match part {
            0 => Some(format!("mid_block.resnets.0.{}", resnet(rest)?)),
            1 => Some(format!("mid_block.attentions.0.{rest}")),
            2 => Some(format!("mid_block.resnets.1.{}", resnet(rest)?)),
            _ => None,
        };
    }
    let place = |block: usize| (block / (layers + 1), block % (layers + 1));
    if let Some(rest) = name.strip_prefix("input_blocks.") {
        let (block, rest) = numbered(rest)?;
        let (level, at) = place(block.checked_sub(1)?);
        return match numbered(rest)? {
            (0, rest) if rest.starts_with("op.") => {
                Some(format!("down_blocks.{level}.downsamplers.0.conv.{}", &rest["op.".len()..]))
            }
            (0, rest) => Some(format!("down_blocks.{level}.resnets.{at}.{}", resnet(rest)?)),
            (1, rest) => Some(format!("down_blocks.{level}.attentions.{at}.{rest}")),
            _ => None,
        };
    }
    let (block, rest) = numbered(name.strip_prefix("output_blocks.")?)?;
    let (level, at) = place(block);
    match numbered(rest)? {
        (0, rest) => Some(format!("up_blocks.{level}.resnets.{at}.{}", resnet(rest)?)),
        // The upsampling stands behind the transformer where there is one.
        (1 | 2, rest) if rest.starts_with("conv.") => Some(format!("up_blocks.{level}.upsamplers.0.{rest}")),
        (1, rest) => Some(format!("up_blocks.{level}.attentions.{at}.{rest}")),
        _ => None,
    }
}

/// The tensors of one of the U-Net's residual blocks.
fn resnet(name: &str) -> Option<String> {
    const NAMES: [(&str, &str); 6] = [
        ("in_layers.0.", "norm1."),
        ("in_layers.2.", "conv1."),
        ("emb_layers.1.", "time_emb_proj."),
        ("out_layers.0.", "norm2."),
        ("out_layers.3.", "conv2."),
        ("skip_connection.", "conv_shortcut."),
    ];
    exchange(name, &NAMES)
}

fn autoencoder(name: &str, levels: usize) -> Option<String> {
    const ATTENTION: [(&str, &str); 5] =
        [("norm.", "group_norm."), ("q.", "to_q."), ("k.", "to_k."), ("v.", "to_v."), ("proj_out.", "to_out.0.")];
    if name.starts_with("quant_conv.") || name.starts_with("post_quant_conv.") {
        return Some(name.to_owned());
    }
    let (side, rest) = name.split_once('.').filter(|(side, _)| matches!(*side, "encoder" | "decoder"))?;
    if let Some(rest) =
        exchange(rest, &[("conv_in.", "conv_in."), ("conv_out.", "conv_out."), ("norm_out.", "conv_norm_out.")])
    {
        return Some(format!("{side}.{rest}"));
    }
    let resnet = |rest: &str| exchange(rest, &[("nin_shortcut.", "conv_shortcut.")]).unwrap_or_else(|| rest.to_owned());
    if let Some(rest) = rest.strip_prefix("mid.") {
        let (part, rest) = rest.split_once('.')?;
        return match part {
            "block_1" => Some(format!("{side}.mid_block.resnets.0.{}", resnet(rest))),
            "block_2" => Some(format!("{side}.mid_block.resnets.1.{}", resnet(rest))),
            "attn_1" => Some(format!("{side}.mid_block.attentions.0.{}", exchange(rest, &ATTENTION)?)),
            _ => None,
        };
    }
    let (way, rest) = rest.split_once('.')?;
    let (level, rest) = numbered(rest)?;
    // The original code counts the decoder's levels from the finest, diffusers in the order of evaluation.
    let (blocks, level, sampling) = match way {
        "down" => ("down_blocks", level, ("downsample.", "downsamplers.0.")),
        "up" => ("up_blocks", levels.checked_sub(level.checked_add(1)?)?, ("upsample.", "upsamplers.0.")),
        _ => return None,
    };
    let rest = match exchange(rest, &[sampling]) {
        Some(rest) => rest,
        None => {
            let (at, rest) = numbered(rest.strip_prefix("block.")?)?;
            format!("resnets.{at}.{}", resnet(rest))
        }
    };
    Some(format!("{side}.{blocks}.{level}.{rest}"))
}

/// Some files lack the `text_model.` that transformers wrote before version 5.
fn clip(name: &str) -> String {
    if name.starts_with("embeddings.") || name.starts_with("encoder.") || name.starts_with("final_layer_norm.") {
        format!("text_model.{name}")
    } else {
        name.to_owned()
    }
}

fn open_clip(stored: &str, name: &str) -> Vec<(String, Origin)> {
    const OUTSIDE: [(&str, &str); 3] = [
        ("token_embedding.", "text_model.embeddings.token_embedding."),
        ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
        ("ln_final.", "text_model.final_layer_norm."),
    ];
    const LAYER: [(&str, &str); 5] = [
        ("ln_1.", "layer_norm1."),
        ("ln_2.", "layer_norm2."),
        ("mlp.c_fc.", "mlp.fc1."),
        ("mlp.c_proj.", "mlp.fc2."),
        ("attn.out_proj.", "self_attn.out_proj."),
    ];
    let plain = Origin::plain(stored);
    if let Some(name) = exchange(name, &OUTSIDE) {
        return vec![(name, plain)];
    }
    // x P here, P^T as the weight of a layer there.
    if name == "text_projection" {
        return vec![("text_projection.weight".to_owned(), Origin { transposed: true, ..plain })];
    }
    let Some((layer, rest)) = name.strip_prefix("transformer.resblocks.").and_then(numbered) else {
        return Vec::new();
    };
    let at = format!("text_model.encoder.layers.{layer}");
    if let Some(kind) = rest.strip_prefix("attn.in_proj_") {
        let third = |(third, side)| {
            (format!("{at}.self_attn.{side}_proj.{kind}"), Origin { third: Some(third), ..plain.clone() })
        };
        return ["q", "k", "v"].into_iter().enumerate().map(third).collect();
    }
    exchange(rest, &LAYER).map(|rest| (format!("{at}.{rest}"), plain)).into_iter().collect()
}
