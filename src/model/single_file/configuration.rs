//! What a single file does not carry, because every model of its family has the same: the configurations of its parts,
//! and CLIP's vocabulary.

/// A family of models that is handed around as single files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1.x.
    First,
    /// Stable Diffusion 2.x.
    Second,
    /// Stable Diffusion XL.
    Xl,
}

macro_rules! texts {
    ($folder:literal, $path:expr; $($name:literal),+ $(,)?) => {
        match $path {
            $($name => Some(include_str!(concat!("../../../models/", $folder, "/", $name))),)+
            _ => None,
        }
    };
}

/// The byte pairs of CLIP, from which its vocabulary follows.
const MERGES: &str = include_str!("../../../models/clip/merges.txt");

impl Family {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "Stable Diffusion 1.x",
            Self::Second => "Stable Diffusion 2.x",
            Self::Xl => "Stable Diffusion XL",
        }
    }

    /// The text of a file of a model in diffusers layout, by its path inside the model; `None` where there is none.
    pub(super) fn text(self, path: &str) -> Option<&'static str> {
        match (self, path) {
            (_, "tokenizer/merges.txt") | (Self::Xl, "tokenizer_2/merges.txt") => Some(MERGES),
            (Self::First, path) => texts!("sd1", path;
                "model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
                "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"),
            (Self::Second, path) => texts!("sd2", path;
                "model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
                "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"),
            (Self::Xl, path) => texts!("sdxl", path;
                "model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
                "text_encoder_2/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json",
                "tokenizer_2/tokenizer_config.json"),
        }
    }
}
