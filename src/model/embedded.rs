//! The model inside the program. Its texts are always there; its weights only where there is an engine to use them.

/// The names of the built-in models.
pub const NAMES: &[&str] = &["mini"];

macro_rules! texts {
    ($($path:literal),+ $(,)?) => {
        /// The texts of a model, as paths inside it; all that is read of one but its weights.
        pub const TEXTS: &[&str] = &[$($path),+];

        /// The text of one of mini's files; `None` where it has none of this name.
        pub fn text(path: &str) -> Option<&'static str> {
            match path {
                $($path => Some(include_str!(concat!("../../models/mini/", $path))),)+
                _ => None,
            }
        }
    };
}

texts!(
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "vae/config.json",
);

/// The weights of one of mini's parts, as a safetensors file.
#[cfg(feature = "engine")]
pub fn weights(part: &str) -> Option<&'static [u8]> {
    /// Aligned bytes: tensors are read in place.
    #[repr(C, align(64))]
    struct Aligned<T: ?Sized>(T);

    macro_rules! weights {
        ($path:literal) => {{
            static BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!("../../models/mini/", $path)));
            Some(&BYTES.0)
        }};
    }
    match part {
        "unet" => weights!("unet/diffusion_pytorch_model.safetensors"),
        "text_encoder" => weights!("text_encoder/model.safetensors"),
        "vae" => weights!("vae/diffusion_pytorch_model.safetensors"),
        _ => None,
    }
}
