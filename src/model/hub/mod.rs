//! Models on a hub, and the cache that they are kept in: the one that Python's `huggingface_hub` keeps, so that neither
//! fetches what the other has.
//!
//! [`Cache`] knows the layout and finds what is there; [`Hub`] fetches what is not. A model that is whole in the cache
//! is used as it is, without a request: only who asks for it gets a branch's newest state.

mod cache;
#[cfg(feature = "hub")]
mod checksum;
#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod download;
#[cfg(feature = "hub")]
mod fetch;
mod id;
#[cfg(feature = "hub")]
mod needed;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use super::files::FilesError;

pub use cache::{Cache, CachedModel, Snapshot};
#[cfg(feature = "hub")]
pub use checksum::{Verdict, verify};
#[cfg(feature = "hub")]
pub use fetch::Hub;
pub use id::HubId;

/// Where the hub and its cache are, and how to speak to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// The folder of the cache.
    pub cache: PathBuf,
    /// The hub's address, such as `https://huggingface.co`, without a slash at its end.
    pub endpoint: String,
    /// What shows the hub who asks.
    pub token: Option<String>,
    /// Whether no request may be made.
    pub offline: bool,
    /// How long a silent connection is waited for.
    pub patience: Duration,
}

/// What is wanted of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A model's texts: its configurations and tokenizer.
    Texts,
    /// A model's texts and weights.
    Model {
        /// Whether weights in half precision serve better than others.
        half: bool,
    },
    /// An autoencoder.
    Autoencoder {
        /// Whether weights in half precision serve better than others.
        half: bool,
    },
    /// A LoRA: the file that the id names, or the one that there is.
    Lora,
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Bytes of a file have come.
    Bytes {
        /// The file, by its path in the repository.
        file: &'a str,
        /// The bytes that are there.
        done: u64,
        /// The bytes that there will be, if the hub says.
        total: Option<u64>,
    },
    /// A file is there.
    Done {
        /// The file, by its path in the repository.
        file: &'a str,
    },
    /// Another process is fetching a file, which is waited for.
    Waiting {
        /// The file, by its path in the repository.
        file: &'a str,
    },
    /// The connection is lost, and a new one is tried soon.
    Retrying {
        /// The file, by its path in the repository.
        file: &'a str,
    },
}

/// Sees how far a download is, and ends it by a break. It is called several times a second.
pub type Watch<'a> = dyn FnMut(Progress<'_>) -> ControlFlow<()> + 'a;

/// Why a model is not to be had from a hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Not in the cache, and no request may be made.
    #[error(
        "`{id}` is not in the cache at `{}` as a whole, and `HF_HUB_OFFLINE` forbids fetching it; unset it and run `sega models add {id}`",
        cache.display()
    )]
    Offline {
        /// The model.
        id: Box<HubId>,
        /// The cache.
        cache: PathBuf,
    },
    /// Not in the cache, and the program cannot fetch.
    #[error(
        "`{id}` is not in the cache at `{}` as a whole, and this build of the program cannot fetch: it is made without the feature `hub`",
        cache.display()
    )]
    NoClient {
        /// The model.
        id: Box<HubId>,
        /// The cache.
        cache: PathBuf,
    },
    /// The hub does not let this user see it.
    #[error(
        "{endpoint} refuses `{id}` (status {status}): it is private, its terms are not accepted yet, or there is no such model; check the name, accept the terms at {endpoint}/{}, and give a token with access in `HF_TOKEN`{}",
        id.repository(), if *with_token { " (the one that was given has none)" } else { "" }
    )]
    Refused {
        /// The model.
        id: Box<HubId>,
        /// The hub.
        endpoint: String,
        /// The status of its answer.
        status: u16,
        /// Whether a token was shown.
        with_token: bool,
    },
    /// The hub has no such repository, revision or file.
    #[error("{endpoint} has no {what} (of `{id}`); check the name")]
    NotFound {
        /// The model.
        id: Box<HubId>,
        /// The hub.
        endpoint: String,
        /// What it has not.
        what: String,
    },
    /// The hub does not answer as it should, again and again.
    #[error(
        "{endpoint} fails for `{id}` ({cause}); nothing of the cache is lost: run the same command again later, and it goes on where it was"
    )]
    Failing {
        /// The model.
        id: Box<HubId>,
        /// The hub.
        endpoint: String,
        /// What happens.
        cause: String,
    },
    /// An answer that no hub gives.
    #[error("{endpoint} gives an answer about `{id}` that is not understood: {reason}; check `HF_ENDPOINT`")]
    BadAnswer {
        /// The model.
        id: Box<HubId>,
        /// The hub.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What came is not what the hub announced.
    #[error(
        "`{file}` of `{id}` came damaged: its checksum is {found}, but {expected} is announced; nothing of it is kept, run the same command again"
    )]
    WrongChecksum {
        /// The model.
        id: Box<HubId>,
        /// The file.
        file: String,
        /// The checksum announced.
        expected: String,
        /// The checksum of what came.
        found: String,
    },
    /// The repository has a part as a pickle only.
    #[error(
        "`{id}` has its {part} only as `{file}`, in PyTorch's pickle format, which can run any program when it is read, so it is not read: look for a revision (`{}@refs/pr/1`) or another model with `.safetensors` files",
        id.repository()
    )]
    Pickle {
        /// The model.
        id: Box<HubId>,
        /// The part.
        part: &'static str,
        /// The file.
        file: String,
    },
    /// The repository holds something else.
    #[error("`{id}` holds no {what} in diffusers layout{hint}")]
    NotAModel {
        /// The repository.
        id: Box<HubId>,
        /// What was looked for.
        what: &'static str,
        /// What it holds instead, and what to do.
        hint: String,
    },
    /// The disk is full.
    #[error("there is no room left for `{}`: free some, or give another folder in `HF_HUB_CACHE`; what has come is kept", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The cache cannot be written to or read.
    #[error("cannot use the cache: `{}`: {cause}", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A file of the model is not what it should be.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The download was ended from outside.
    #[error("interrupted")]
    Interrupted,
}

impl HubError {
    /// A refusal of the system.
    fn of(path: &std::path::Path, cause: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let path = path.to_owned();
        match cause.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::Full { path },
            _ => Self::Cache { path, cause },
        }
    }
}
