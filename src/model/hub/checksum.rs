//! The checksums that a hub announces, which are also the names of the cache's blobs.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{CachedModel, HubError};

/// The checksum of bytes that come one after the other, of the kind that an ETag is of.
pub(super) enum Checksum {
    /// A large file's: SHA-256.
    Sha256(Sha256),
    /// A small file's, as git counts it: SHA-1 of its length and bytes.
    Git(Sha1),
    /// Of a kind that is not known: only the length can be checked.
    Unknown,
}

impl Checksum {
    /// The kind that `etag` is of, for a file of `length` bytes.
    pub(super) fn of(etag: &str, length: Option<u64>) -> Self {
        match (etag.len(), length) {
            _ if !is_checksum(etag) => Self::Unknown,
            (64, _) => Self::Sha256(Sha256::new()),
            (40, Some(length)) => {
                let mut sum = Sha1::new();
                sum.update(format!("blob {length}\0"));
                Self::Git(sum)
            }
            _ => Self::Unknown,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(sum) => sum.update(bytes),
            Self::Git(sum) => sum.update(bytes),
            Self::Unknown => {}
        }
    }

    /// What was found, if it is not `etag`.
    pub(super) fn differs(self, etag: &str) -> Option<String> {
        let found = match self {
            Self::Sha256(sum) => hexadecimal(&sum.finalize()),
            Self::Git(sum) => hexadecimal(&sum.finalize()),
            Self::Unknown => return None,
        };
        (!found.eq_ignore_ascii_case(etag)).then_some(found)
    }
}

/// Whether an ETag is a checksum of a kind that is known.
pub(super) fn is_checksum(etag: &str) -> bool {
    [40, 64].contains(&etag.len()) && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the check of a cached file finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is what the hub announced.
    Sound,
    /// It is not.
    Damaged,
    /// Nothing tells.
    Unknown,
}

/// Checks every blob of a cached repository against its name. `watch` sees each, and may end the check.
pub fn verify(model: &CachedModel, watch: &mut dyn FnMut(&Path, Verdict) -> bool) -> Result<(), HubError> {
    let folder = model.folder.join("blobs");
    let entries = std::fs::read_dir(&folder).map_err(|cause| HubError::of(&folder, cause))?;
    let mut blobs: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    blobs.sort();
    for path in blobs.into_iter().filter(|path| path.extension().is_none() && path.is_file()) {
        let verdict = check(&path).map_err(|cause| HubError::of(&path, cause))?;
        if !watch(&path, verdict) {
            return Err(HubError::Interrupted);
        }
    }
    Ok(())
}

fn check(path: &Path) -> std::io::Result<Verdict> {
    let mut file = File::open(path)?;
    let etag = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut sum = Checksum::of(&etag, Some(file.metadata()?.len()));
    if let Checksum::Unknown = sum {
        return Ok(Verdict::Unknown);
    }
    add(&mut sum, &mut file)?;
    Ok(if sum.differs(&etag).is_some() { Verdict::Damaged } else { Verdict::Sound })
}

/// Adds all that can be read.
pub(super) fn add(sum: &mut Checksum, from: &mut dyn Read) -> std::io::Result<u64> {
    let mut buffer = vec![0; 1 << 18];
    let mut length = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(length),
            count => {
                sum.update(&buffer[..count]);
                length += count as u64;
            }
        }
    }
}
