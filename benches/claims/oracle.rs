//! The oracle: a small network that reads a portrait's attributes from its picture.
//!
//! `oracle.json` describes it (convolutions, one hidden layer, logits of all attributes), `oracle.safetensors` holds its
//! weights, and `accuracy.json`, where there is one, tells how often it is right on portraits that it has not seen.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use sega::artifact::Picture;
use serde::Deserialize;

use crate::Fault;

#[derive(Deserialize)]
struct Description {
    input: Input,
    convolutions: Vec<Convolution>,
    hidden: Layer,
    heads: Heads,
}

/// What is done to a pixel's value before the first layer: `scale * value + shift`, values in 0 to 1.
#[derive(Deserialize)]
struct Input {
    shape: [usize; 3],
    scale: f64,
    shift: f64,
}

#[derive(Deserialize)]
struct Convolution {
    name: String,
    stride: usize,
    padding: usize,
    activation: String,
}

#[derive(Deserialize)]
struct Layer {
    name: String,
    activation: String,
}

#[derive(Deserialize)]
struct Heads {
    name: String,
    out: usize,
    groups: BTreeMap<String, Group>,
}

/// The logits of one attribute.
#[derive(Debug, Clone, Deserialize)]
struct Group {
    start: usize,
    values: Vec<String>,
}

/// The attributes that the oracle reads, and their values.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    groups: BTreeMap<String, Group>,
}

impl Vocabulary {
    /// The attributes' names.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// Whether an attribute has a value; `|` parts values of which any will do.
    pub(crate) fn knows(&self, group: &str, value: &str) -> bool {
        let known = |value: &str| self.groups.get(group).is_some_and(|group| group.values.iter().any(|v| v == value));
        value.split('|').all(known)
    }

    /// The value that the logits show. Empty for an attribute that is not read.
    pub(crate) fn value<'a>(&'a self, logits: &[f32], group: &str) -> &'a str {
        let Some(group) = self.groups.get(group) else { return "" };
        let (place, _) = self
            .logits(logits, group)
            .enumerate()
            .fold((0, f64::NEG_INFINITY), |best, (place, logit)| if logit > best.1 { (place, logit) } else { best });
        &group.values[place]
    }

    /// The logarithm of the odds of a value: its logit against those of all other values together.
    pub(crate) fn log_odds(&self, logits: &[f32], group: &str, value: &str) -> f64 {
        let Some(group) = self.groups.get(group) else { return f64::NAN };
        let (mut own, mut others) = (f64::NAN, Vec::new());
        for (name, logit) in group.values.iter().zip(self.logits(logits, group)) {
            if name == value { own = logit } else { others.push(logit) }
        }
        let most = others.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        own - most - others.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln()
    }

    fn logits(&self, logits: &[f32], group: &Group) -> impl Iterator<Item = f64> {
        let range = group.start..group.start + group.values.len();
        logits.get(range).unwrap_or_default().iter().map(|&logit| f64::from(logit))
    }
}

/// The network.
pub(crate) struct Oracle {
    description: Description,
    weights: HashMap<String, Tensor>,
    /// What it reads.
    pub(crate) vocabulary: Vocabulary,
    /// For each attribute how often it is right on pictures that went through the autoencoder, if that was measured.
    pub(crate) accuracy: BTreeMap<String, f64>,
    /// A digest of its files.
    pub(crate) identity: String,
}

impl Oracle {
    /// Reads an oracle's folder.
    pub(crate) fn load(folder: &Path) -> Result<Self, Fault> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
        };
        let (json, bytes) = (read("oracle.json")?, read("oracle.safetensors")?);
        let description: Description =
            serde_json::from_slice(&json).map_err(|error| format!("the oracle's description: {error}"))?;
        let activations = description.convolutions.iter().map(|layer| &layer.activation);
        if let Some(other) = activations.chain([&description.hidden.activation]).find(|name| *name != "relu") {
            return Err(format!("the oracle's activation `{other}` is not known, only `relu`").into());
        }
        let groups = description.heads.groups.clone();
        let fits =
            |group: &Group| !group.values.is_empty() && group.start + group.values.len() <= description.heads.out;
        if !groups.values().all(fits) {
            return Err("the oracle's description: attributes go beyond its logits".into());
        }
        let mut weights = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?;
        for tensor in weights.values_mut() {
            *tensor = tensor.to_dtype(DType::F32)?;
        }
        let identity = blake3::Hasher::new().update(&json).update(&bytes).finalize().to_hex().to_string();
        let accuracy = read("accuracy.json").ok().and_then(|json| accuracy(&json)).unwrap_or_default();
        Ok(Self { description, weights, vocabulary: Vocabulary { groups }, accuracy, identity })
    }

    /// All logits of a picture.
    pub(crate) fn read(&self, picture: &Picture) -> Result<Vec<f32>, Fault> {
        let Description { input, convolutions, hidden, heads } = &self.description;
        let [_, height, width] = input.shape;
        let planes = planes(picture, width, height)?;
        let mut x = Tensor::from_vec(planes, (1, 3, height, width), &Device::Cpu)?.affine(input.scale, input.shift)?;
        for Convolution { name, stride, padding, .. } in convolutions {
            let bias = self.weight(name, "bias")?;
            let bias = bias.reshape((1, bias.elem_count(), 1, 1))?;
            x = x.conv2d(self.weight(name, "weight")?, *padding, *stride, 1, 1)?.broadcast_add(&bias)?.relu()?;
        }
        let x = self.linear(&hidden.name, &x.flatten_from(1)?)?.relu()?;
        Ok(self.linear(&heads.name, &x)?.flatten_all()?.to_vec1()?)
    }

    fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor, Fault> {
        Ok(x.matmul(&self.weight(name, "weight")?.t()?)?.broadcast_add(self.weight(name, "bias")?)?)
    }

    fn weight(&self, layer: &str, part: &str) -> Result<&Tensor, Fault> {
        let name = format!("{layer}.{part}");
        self.weights.get(&name).ok_or_else(|| format!("the oracle has no tensor `{name}`").into())
    }
}

/// `accuracy.json`'s figures for decoded pictures.
fn accuracy(json: &[u8]) -> Option<BTreeMap<String, f64>> {
    #[derive(Deserialize)]
    struct Accuracy {
        decoded: BTreeMap<String, f64>,
    }
    serde_json::from_slice::<Accuracy>(json).ok().map(|accuracy| accuracy.decoded)
}

/// A picture's planes in 0 to 1, squares of pixels averaged where it is a whole number of times too large.
fn planes(picture: &Picture, width: usize, height: usize) -> Result<Vec<f32>, Fault> {
    let factor = picture.width / width;
    if factor == 0 || picture.width != factor * width || picture.height != factor * height {
        let (w, h) = (picture.width, picture.height);
        return Err(format!("the oracle reads pictures of {width}x{height}, or multiples of it, not of {w}x{h}").into());
    }
    let mut planes = vec![0.0; 3 * width * height];
    let share = 1.0 / (255.0 * (factor * factor) as f32);
    for (place, values) in picture.rgb.chunks_exact(3).enumerate() {
        let (x, y) = (place % picture.width / factor, place / picture.width / factor);
        for (plane, value) in values.iter().enumerate() {
            planes[(plane * height + y) * width + x] += f32::from(*value) * share;
        }
    }
    Ok(planes)
}
