//! LoRAs merged into weights while those are read: W + c (alpha / rank) B A, tensor by tensor.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use super::checkpoint::{Checkpoint, Source};
use super::{EngineError, ModelWeights};
use crate::model::files::Weights;
use crate::model::header::Header;
use crate::model::lora::{Adapted, LoraError, Part, resolve};

/// The LoRAs of a model, each with its place in it.
pub(super) struct Loras {
    all: Vec<Lora>,
}

struct Lora {
    name: String,
    checkpoint: Checkpoint,
    strength: f64,
    /// What the file has for which tensor.
    adapted: BTreeMap<(Part, String), Adapted>,
    /// The alphas that the file's metadata has for all modules of a part.
    alphas: HashMap<Part, f64>,
}

/// What a LoRA does to the tensors of one part.
pub(super) struct Patch<'a> {
    lora: &'a Lora,
    part: Part,
    source: &'a Source,
}

impl Loras {
    /// Opens the LoRAs of a model and finds the place of each of their matrices in it.
    pub(super) fn open(weights: &ModelWeights) -> Result<Self, EngineError> {
        if weights.loras.is_empty() {
            return Ok(Self { all: Vec::new() });
        }
        let parts = [
            (Part::UNet, Checkpoint::open(&weights.unet)?),
            (Part::TextEncoder, Checkpoint::open(&weights.text_encoder)?),
            (Part::TextEncoder2, Checkpoint::open(&weights.text_encoder_2)?),
        ];
        let parts: Vec<_> = parts.iter().map(|(part, checkpoint)| (*part, checkpoint.tensors())).collect();
        let mut all = Vec::with_capacity(weights.loras.len());
        for file in weights.loras.iter().filter(|file| file.strength != 0.0) {
            let checkpoint = Checkpoint::open(&[Weights::File(file.path.clone())])?;
            let mut lora = Lora {
                name: file.path.display().to_string(),
                strength: file.strength,
                adapted: BTreeMap::new(),
                alphas: HashMap::new(),
                checkpoint,
            };
            for source in lora.checkpoint.sources() {
                let header = source.header();
                let names =
                    parts.iter().flat_map(|(part, tensors)| tensors.names().map(|name| (*part, name.to_owned())));
                lora.adapted = resolve(&lora.name, header.tensors.keys().map(String::as_str), names)?;
                for ((part, tensor), adapted) in &lora.adapted {
                    let of_part = parts.iter().find(|(known, _)| known == part);
                    let expected = of_part.and_then(|(_, tensors)| tensors.shape(tensor)).unwrap_or_default();
                    lora.check(header, tensor, adapted, expected)?;
                }
            }
            for source in lora.checkpoint.sources() {
                lora.alphas = metadata_alphas(&lora.name, source.header())?;
            }
            all.push(lora);
        }
        Ok(Self { all })
    }

    /// What the LoRAs do to a part, in the order of the recipe.
    pub(super) fn patches(&self, part: Part) -> Vec<Patch<'_>> {
        let of_lora = |lora| Lora::patches(lora, part);
        self.all.iter().flat_map(of_lora).collect()
    }
}

impl Lora {
    fn patches(&self, part: Part) -> impl Iterator<Item = Patch<'_>> {
        self.checkpoint.sources().iter().map(move |source| Patch { lora: self, part, source })
    }

    /// Whether the product of the matrices has the tensor's form.
    fn check(&self, header: &Header, tensor: &str, adapted: &Adapted, expected: Vec<usize>) -> Result<(), EngineError> {
        let shape = |key: &str| header.shape(key).unwrap_or_default().to_vec();
        let (down, up) = (shape(&adapted.down), shape(&adapted.up));
        let rank = down.first().copied().unwrap_or(0);
        let outputs = up.first().copied().unwrap_or(0);
        let inputs: usize = down.iter().skip(1).product();
        let fits = rank > 0
            && down.len() > 1
            && up.len() > 1
            && up[1..].iter().product::<usize>() == rank
            && Some(&outputs) == expected.first()
            && Some(inputs) == (expected.len() > 1).then(|| expected[1..].iter().product());
        if fits {
            return Ok(());
        }
        Err(LoraError::WrongShape {
            file: self.name.clone(),
            key: adapted.down.clone(),
            tensor: tensor.to_owned(),
            shapes: Box::new([down, up, expected]),
        }
        .into())
    }
}

impl Patch<'_> {
    /// Whether the LoRA has something for the tensor of this name.
    pub(super) fn adapts(&self, tensor: &str) -> bool {
        self.lora.adapted.contains_key(&(self.part, tensor.to_owned()))
    }

    /// What is added to the tensor of this name, in f32 and of its shape; `None` where the LoRA leaves it alone.
    pub(super) fn difference(
        &self,
        tensor: &str,
        shape: &[usize],
        device: &Device,
    ) -> Result<Option<Tensor>, EngineError> {
        let Some(adapted) = self.lora.adapted.get(&(self.part, tensor.to_owned())) else { return Ok(None) };
        let read =
            |key: &str| -> Result<Tensor, EngineError> { Ok(self.source.tensor(key, device)?.to_dtype(DType::F32)?) };
        let (down, up) = (read(&adapted.down)?, read(&adapted.up)?);
        let rank = down.dim(0)?;
        let alpha = match &adapted.alpha {
            Some(key) => f64::from(read(key)?.flatten_all()?.get(0)?.to_scalar::<f32>()?),
            None => self.lora.alphas.get(&self.part).copied().unwrap_or(rank as f64),
        };
        let product = up.reshape(((), rank))?.matmul(&down.reshape((rank, ()))?)?;
        Ok(Some((product * (self.lora.strength * alpha / rank as f64))?.reshape(shape)?))
    }
}

/// The alphas in the metadata that diffusers writes: one for each part, unless there is a pattern, which is not followed.
fn metadata_alphas(file: &str, header: &Header) -> Result<HashMap<Part, f64>, EngineError> {
    let Some(text) = header.metadata.get("lora_adapter_metadata") else { return Ok(HashMap::new()) };
    let values: Value = serde_json::from_str(text).unwrap_or_default();
    let mut alphas = HashMap::new();
    let parts = [(Part::UNet, "unet"), (Part::TextEncoder, "text_encoder"), (Part::TextEncoder2, "text_encoder_2")];
    for (part, name) in parts {
        let value = |key: &str| &values[format!("{name}.{key}")];
        let other = |key: &str, method| {
            let key = format!("{name}.{key}");
            EngineError::Lora(LoraError::OtherMethod { file: file.to_owned(), key, method })
        };
        if value("use_rslora").as_bool() == Some(true) {
            return Err(other("use_rslora", "rank-stabilised LoRA"));
        }
        if value("alpha_pattern").as_object().is_some_and(|pattern| !pattern.is_empty()) {
            return Err(other("alpha_pattern", "alphas by pattern"));
        }
        if let Some(alpha) = value("lora_alpha").as_f64() {
            alphas.insert(part, alpha);
        }
    }
    Ok(alphas)
}
