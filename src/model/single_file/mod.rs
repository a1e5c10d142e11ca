//! A whole checkpoint in one `.safetensors` file, in the layout of the code that Stable Diffusion was trained with.
//!
//! Which family it is of shows in its names. The file is not converted: [`Section::names`] says which of its tensors is
//! which of a part's, and they are read where they lie. What the file does not carry, the configurations and the
//! tokenizer, is the family's; a folder of the file's name beside it, in diffusers layout, replaces any of it.

mod configuration;
mod names;

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::files::{FilesError, Weights};
use super::header::{Header, HeaderError};
use super::training::Prediction;

pub use configuration::Family;
pub use names::{Naming, Origin, Section};

const UNET: &str = "model.diffusion_model.";
const AUTOENCODER: &str = "first_stage_model.";
const SCHEDULER: &str = "scheduler/scheduler_config.json";
const UNET_CONFIG: &str = "unet/config.json";

/// A file that is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum SingleFileError {
    /// Its header cannot be had.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A pickle.
    #[error(
        "`{}` is in PyTorch's pickle format, which can run any program when it is read, so it is not read: get the `.safetensors` of the same model, or convert it",
        path.display()
    )]
    Pickle {
        /// The file.
        path: PathBuf,
    },
    /// Something else.
    #[error("`{}` is {what}; {remedy}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// A checkpoint in one file.
#[derive(Debug, Clone)]
pub struct SingleFile {
    path: PathBuf,
    family: Family,
    autoencoder: bool,
    scheduler: SchedulerNotes,
}

/// What the file says of its training, as far as it says anything.
#[derive(Debug, Clone, Copy, Default)]
struct SchedulerNotes {
    prediction: Option<Prediction>,
    zero_snr: bool,
}

impl SingleFile {
    /// Reads the file's header and recognises its family.
    pub fn open(path: &Path) -> Result<Self, SingleFileError> {
        refuse_pickle(path)?;
        let header = Header::read(path)?;
        let family = recognise(&header).map_err(|(what, remedy)| other(path, what, remedy))?;
        let scheduler = SchedulerNotes {
            prediction: prediction(path, &header, family)?,
            zero_snr: header.tensors.contains_key("ztsnr"),
        };
        Ok(Self { path: path.to_owned(), family, autoencoder: header.has_prefix(AUTOENCODER), scheduler })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The family that it is of.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Where a file that replaces one of the family's would be.
    pub fn beside(&self, path: &str) -> PathBuf {
        self.path.with_extension("").join(path)
    }

    /// The text of a file such as `unet/config.json`: that of the folder beside, or else the family's.
    pub fn text(&self, path: &str) -> Result<Option<String>, FilesError> {
        let beside = self.beside(path);
        match std::fs::read_to_string(&beside) {
            Ok(text) => return Ok(Some(text)),
            Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(cause) => return Err(FilesError::Unreadable { path: beside, cause }),
        }
        let text = self.family.text(path);
        Ok(text.map(|text| match path {
            SCHEDULER => with(text, &self.scheduler.changes()),
            // The models of this family that estimate noise are those of 512 pixels.
            UNET_CONFIG if self.family == Family::Second && self.scheduler.prediction == Some(Prediction::Epsilon) => {
                with(text, &[("sample_size", json!(64))])
            }
            _ => text.to_owned(),
        }))
    }

    /// Where the weights of a part are.
    pub fn weights(&self, part: &str) -> Result<Vec<Weights>, FilesError> {
        let section = |prefix, naming| Section { prefix, naming };
        let section = match (part, self.family) {
            ("unet", _) => section(UNET, Naming::UNet),
            ("vae", _) if self.autoencoder => section(AUTOENCODER, Naming::Autoencoder),
            ("vae", _) => {
                let what = "a checkpoint without an autoencoder".to_owned();
                return Err(other(&self.path, what, "give it one with `vae`").into());
            }
            ("text_encoder", Family::First) => section("cond_stage_model.transformer.", Naming::Clip),
            ("text_encoder", Family::Second) => section("cond_stage_model.model.", Naming::OpenClip),
            ("text_encoder", Family::Xl) => section("conditioner.embedders.0.transformer.", Naming::Clip),
            ("text_encoder_2", Family::Xl) => section("conditioner.embedders.1.model.", Naming::OpenClip),
            _ => return Ok(Vec::new()),
        };
        Ok(vec![Weights::Section { file: self.path.clone(), section }])
    }
}

impl SchedulerNotes {
    fn changes(self) -> Vec<(&'static str, Value)> {
        let prediction = self.prediction.map(|prediction| ("prediction_type", json!(prediction.name())));
        let zero_snr = [("rescale_betas_zero_snr", json!(true)), ("timestep_spacing", json!("trailing"))];
        prediction.into_iter().chain(zero_snr.into_iter().filter(|_| self.zero_snr)).collect()
    }
}

/// Where the tensors of an autoencoder are in a file that holds one, alone or in a checkpoint.
pub fn autoencoder(path: &Path) -> Result<Section, SingleFileError> {
    refuse_pickle(path)?;
    let header = Header::read(path)?;
    let section = |prefix, naming| Ok(Section { prefix, naming });
    if header.has_prefix("first_stage_model.decoder.mid.") {
        section(AUTOENCODER, Naming::Autoencoder)
    } else if header.has_prefix("decoder.mid.") {
        section("", Naming::Autoencoder)
    } else if header.has_prefix("decoder.mid_block.") || header.has_prefix("decoder.layers.") {
        section("", Naming::Diffusers)
    } else {
        let what = describe(&header).unwrap_or("no autoencoder");
        Err(other(path, what.to_owned(), "give the file of an autoencoder, or of a checkpoint that has one"))
    }
}

/// The configuration of a model's own autoencoder, `text`, as it fits one of these names: its latents stay what the
/// model was trained with. Where the model's own is of the tiny kind, the form is that of every Stable Diffusion.
pub(super) fn fitting_autoencoder(text: String, section: Section) -> String {
    let tiny = serde_json::from_str::<Value>(&text).is_ok_and(|own| own["_class_name"] == "AutoencoderTiny");
    match Family::First.text("vae/config.json") {
        Some(usual) if tiny && section.naming == Naming::Autoencoder => usual.to_owned(),
        _ => text,
    }
}

fn other(path: &Path, what: String, remedy: &'static str) -> SingleFileError {
    SingleFileError::Other { path: path.to_owned(), what, remedy }
}

fn refuse_pickle(path: &Path) -> Result<(), SingleFileError> {
    let pickled =
        |ending: &std::ffi::OsStr| ["ckpt", "pt", "pth", "bin"].iter().any(|old| ending.eq_ignore_ascii_case(old));
    match path.extension() {
        Some(ending) if pickled(ending) => Err(SingleFileError::Pickle { path: path.to_owned() }),
        _ => Ok(()),
    }
}

/// The family that shows in the names; or what the file is instead, and what to do.
fn recognise(header: &Header) -> Result<Family, (String, &'static str)> {
    const OTHER_MODEL: &str = "Stable Diffusion 1.x, 2.x and XL are supported";
    let Some(first) = header.shape("model.diffusion_model.input_blocks.0.0.weight") else {
        let what = describe(header).unwrap_or("no checkpoint of Stable Diffusion, or one without its U-Net");
        return Err((what.to_owned(), "give a checkpoint of Stable Diffusion 1.x, 2.x or XL"));
    };
    if let [_, channels, ..] = first
        && *channels != 4
    {
        let what = format!(
            "a checkpoint whose network takes {channels} channels: one for inpainting, depth or editing pictures"
        );
        return Err((what, "use one that makes pictures from text alone"));
    }
    if header.tensors.contains_key("edm_mean") {
        return Err(("a checkpoint of Playground 2.5".to_owned(), OTHER_MODEL));
    }
    if header.has_prefix("conditioner.embedders.1.model.") {
        Ok(Family::Xl)
    } else if header.has_prefix("conditioner.embedders.0.model.") {
        let what = "the refiner of Stable Diffusion XL, which only reworks finished pictures".to_owned();
        Err((what, "use the base model"))
    } else if header.has_prefix("cond_stage_model.model.") {
        Ok(Family::Second)
    } else if header.has_prefix("cond_stage_model.transformer.") {
        Ok(Family::First)
    } else {
        Err(("a checkpoint without a text encoder".to_owned(), "get the whole checkpoint"))
    }
}

/// What a file without a U-Net of the original layout is, as far as it is known.
fn describe(header: &Header) -> Option<&'static str> {
    let names = || header.tensors.keys().map(String::as_str);
    let any = |words: &[&str]| names().any(|name| words.iter().any(|word| name.contains(word)));
    if any(&["lora_down.", "lora_up.", ".lora_A.", ".lora_B.", "lora.down.", "lora.up."]) {
        Some("a LoRA, not a model")
    } else if any(&["joint_blocks.", "double_blocks.", "single_transformer_blocks."]) {
        Some("a checkpoint of another architecture (Stable Diffusion 3, Flux)")
    } else if header.has_prefix("decoder.mid") || header.has_prefix("first_stage_model.") {
        Some("an autoencoder alone (`vae` can use it)")
    } else if header.has_prefix("down_blocks.") {
        Some("a U-Net alone, in diffusers layout")
    } else if header.has_prefix("input_blocks.") {
        Some("a U-Net alone")
    } else if header.has_prefix("control_model.") {
        Some("a ControlNet")
    } else {
        None
    }
}

/// What the network estimates, if the file or the `.yaml` beside it tells. Where nothing does, the family's usual holds;
/// for Stable Diffusion 2 that is the velocity, as diffusers assumes.
fn prediction(path: &Path, header: &Header, family: Family) -> Result<Option<Prediction>, SingleFileError> {
    if let Ok(text) = std::fs::read_to_string(path.with_extension("yaml")) {
        let mut lines = text.lines().map(str::trim);
        let velocity = lines.any(|line| {
            line.strip_prefix("parameterization:").is_some_and(|value| value.trim().trim_matches(['"', '\'']) == "v")
        });
        return Ok(Some(if velocity { Prediction::Velocity } else { Prediction::Epsilon }));
    }
    match header.metadata.get("modelspec.predict_key").map(String::as_str) {
        Some("v") => return Ok(Some(Prediction::Velocity)),
        Some("epsilon") => return Ok(Some(Prediction::Epsilon)),
        _ => {}
    }
    if header.tensors.contains_key("v_pred") {
        return Ok(Some(Prediction::Velocity));
    }
    // The step at which Stability stopped training the base model of 2.x, by which diffusers tells it.
    const BASE: i64 = 875_000;
    let is_base = family == Family::Second && whole_number(path, header, "global_step")? == Some(BASE);
    Ok(is_base.then_some(Prediction::Epsilon))
}

/// The number in a tensor that holds a single whole one.
fn whole_number(path: &Path, header: &Header, name: &str) -> Result<Option<i64>, SingleFileError> {
    let Some(info) = header.tensors.get(name).filter(|info| info.dtype == "I64") else { return Ok(None) };
    let (start, end) = info.data_offsets;
    if end - start != size_of::<i64>() {
        return Ok(None);
    }
    let mut bytes = [0; size_of::<i64>()];
    let mut read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(header.data_start + start as u64))?;
        file.read_exact(&mut bytes)
    };
    read().map_err(|cause| HeaderError::Unreadable { path: path.to_owned(), cause })?;
    Ok(Some(i64::from_le_bytes(bytes)))
}

/// A JSON object with some of its values replaced.
fn with(text: &str, changes: &[(&'static str, Value)]) -> String {
    let Ok(mut object) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    for (key, value) in changes {
        object[*key] = value.clone();
    }
    object.to_string()
}
