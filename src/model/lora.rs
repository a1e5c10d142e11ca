//! Adaptations of a model's weights by matrices of low rank (LoRA: Hu et al., arXiv 2106.09685): where they are, and which
//! tensor each of a file's keys means.
//!
//! Two layouts are in use: that of kohya's scripts (`lora_unet_mid_block_attentions_0_proj_in.lora_down.weight`, in the
//! names of diffusers or of the original code), and that of diffusers and PEFT
//! (`unet.mid_block.attentions.0.proj_in.lora_A.weight`), of which older releases wrote several forms.

mod names;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Where a LoRA is and how much of it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraFile {
    /// The `.safetensors` file.
    pub path: PathBuf,
    /// How much of it is added to the weights.
    pub strength: f64,
}

/// The part of a model that a tensor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The U-Net.
    UNet,
    /// The text encoder.
    TextEncoder,
    /// The second text encoder.
    TextEncoder2,
}

/// What a LoRA has for one tensor of a model: the keys of its matrices and of its alpha.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapted {
    /// The key of A, `[rank, inputs]`.
    pub down: String,
    /// The key of B, `[outputs, rank]`.
    pub up: String,
    /// The key of alpha, which divided by the rank scales the product; where there is none, it is the rank.
    pub alpha: Option<String>,
}

/// A LoRA that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoraError {
    /// The file is not there.
    #[error("there is no LoRA `{name}`: neither the file nor the folder `{}`", path.display())]
    Unknown {
        /// The name in the recipe.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is of another kind.
    #[error("the LoRA `{}` is no `.safetensors` file; other formats may hold programs and are not read: convert it", path.display())]
    WrongFormat {
        /// The file.
        path: PathBuf,
    },
    /// A folder without a LoRA.
    #[error("the folder `{}` holds no LoRA: expected `{LORA_IN_FOLDER}`; name the file itself", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Keys that belong to nothing.
    #[error(
        "`{file}` does not fit the model: {unknown} of its {all} parts have no place in it, the first `{first}`; {hint}"
    )]
    NoPlace {
        /// The file.
        file: String,
        /// How many modules are unknown.
        unknown: usize,
        /// How many modules there are.
        all: usize,
        /// The first unknown key.
        first: String,
        /// What to do.
        hint: &'static str,
    },
    /// Keys of another method than LoRA.
    #[error("`{file}` is no plain LoRA: its key `{key}` belongs to {method}, which is not supported")]
    OtherMethod {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// The method.
        method: &'static str,
    },
    /// One matrix without the other.
    #[error("`{file}` is incomplete: `{key}` has no partner; fetch it again")]
    Incomplete {
        /// The file.
        file: String,
        /// The key that is alone.
        key: String,
    },
    /// Matrices that do not fit the tensor.
    #[error(
        "`{file}` does not fit the model: `{key}` and its partner have shapes {:?} and {:?}, and `{tensor}` has {:?}; it was made for another model",
        .shapes[0], .shapes[1], .shapes[2]
    )]
    WrongShape {
        /// The file.
        file: String,
        /// The key of the first matrix.
        key: String,
        /// The tensor's name.
        tensor: String,
        /// The shapes of the two matrices and of the tensor.
        shapes: Box<[Vec<usize>; 3]>,
    },
    /// A file without any.
    #[error("`{file}` holds no LoRA: no key of it is known")]
    Empty {
        /// The file.
        file: String,
    },
}

/// The file that a folder is looked for.
pub(crate) const LORA_IN_FOLDER: &str = "pytorch_lora_weights.safetensors";

impl LoraFile {
    /// Finds the LoRA that a recipe names where it is here: a `.safetensors` file, or a folder that holds one under diffusers' name; a
    /// relative path starts from `beside`, the recipe's own folder.
    pub fn locate(name: &str, beside: &Path, strength: f64) -> Result<Self, LoraError> {
        let mut path = beside.join(name);
        if path.is_dir() {
            let inside = path.join(LORA_IN_FOLDER);
            if !inside.is_file() {
                return Err(LoraError::EmptyFolder { path });
            }
            path = inside;
        }
        if !path.is_file() {
            return Err(LoraError::Unknown { name: name.to_owned(), path });
        }
        if path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("safetensors")) {
            return Err(LoraError::WrongFormat { path });
        }
        Ok(Self { path, strength })
    }
}

/// What a key of a LoRA's file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Down,
    Up,
    Alpha,
}

/// The ends of keys. The longer stand before those that they end with.
const ENDINGS: &[(&str, Role)] = &[
    (".lora_down.weight", Role::Down),
    (".lora_up.weight", Role::Up),
    (".lora_A.default.weight", Role::Down),
    (".lora_B.default.weight", Role::Up),
    (".lora_A.weight", Role::Down),
    (".lora_B.weight", Role::Up),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    (".lora.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    ("_lora.down.weight", Role::Down),
    ("_lora.up.weight", Role::Up),
    (".alpha", Role::Alpha),
];

/// Parts of keys that belong to relatives of LoRA.
const OTHER_METHODS: &[(&str, &str)] = &[
    (".hada_", "LoHa"),
    (".lokr_", "LoKr"),
    (".dora_scale", "DoRA"),
    (".lora_magnitude_vector", "DoRA"),
    (".lora_mid.", "LoCon with a third matrix"),
    (".oft_", "OFT"),
    (".diff", "full differences"),
];

/// For each tensor that a LoRA of these `keys` adapts, what it has for it. `tensors` are the names of the tensors of the
/// model's parts as they are in its files; the same names are given back.
pub fn resolve<'k>(
    file: &str,
    keys: impl IntoIterator<Item = &'k str>,
    tensors: impl IntoIterator<Item = (Part, String)>,
) -> Result<BTreeMap<(Part, String), Adapted>, LoraError> {
    let places = names::places(tensors);
    let mut modules: BTreeMap<&str, [Option<&str>; 3]> = BTreeMap::new();
    let mut unread = Vec::new();
    for key in keys {
        if let Some((_, method)) = OTHER_METHODS.iter().find(|(sign, _)| key.contains(sign)) {
            return Err(LoraError::OtherMethod { file: file.to_owned(), key: key.to_owned(), method });
        }
        match ENDINGS.iter().find_map(|(ending, role)| Some((key.strip_suffix(ending)?, *role))) {
            Some((module, role)) => modules.entry(module).or_default()[role as usize] = Some(key),
            None => unread.push(key),
        }
    }
    if modules.is_empty() {
        return Err(LoraError::Empty { file: file.to_owned() });
    }
    let mut adapted: BTreeMap<(Part, String), Adapted> = BTreeMap::new();
    let mut lost = Vec::new();
    let all = modules.len() + unread.len();
    // The alpha of older files of diffusers stands under another form of the module's name than its matrices.
    let mut alphas = HashMap::new();
    for (module, [down, up, alpha]) in &modules {
        if let ([None, None, Some(alpha)], Some(place)) = ([down, up, alpha], names::find(&places, module)) {
            alphas.insert(place, *alpha);
        }
    }
    for (module, [down, up, alpha]) in modules {
        let Some(place) = names::find(&places, module) else {
            lost.push(down.or(up).or(alpha).unwrap_or(module));
            continue;
        };
        match (down, up) {
            (Some(down), Some(up)) => {
                let alpha = alpha.or_else(|| alphas.get(&place).copied()).map(str::to_owned);
                let own = Adapted { down: down.to_owned(), up: up.to_owned(), alpha };
                adapted.insert(place.clone(), own);
            }
            (None, None) => {}
            (Some(alone), None) | (None, Some(alone)) => {
                return Err(LoraError::Incomplete { file: file.to_owned(), key: alone.to_owned() });
            }
        }
    }
    lost.extend(unread);
    if let Some(first) = lost.first() {
        let hint = hint(&lost, &places);
        return Err(LoraError::NoPlace {
            file: file.to_owned(),
            unknown: lost.len(),
            all,
            first: (*first).to_owned(),
            hint,
        });
    }
    Ok(adapted)
}

/// What to say of keys without a place.
fn hint(lost: &[&str], places: &names::Places) -> &'static str {
    let two = places.values().any(|(part, _)| *part == Part::TextEncoder2);
    let for_two = lost.iter().any(|key| key.starts_with("lora_te2_") || key.starts_with("text_encoder_2."));
    match (two, for_two) {
        (false, true) => {
            "it was made for a model with two text encoders (Stable Diffusion XL), and this one has one: take a LoRA \
             for this model, or another model"
        }
        _ => "it was made for another model: take a LoRA for this model, or another model",
    }
}
