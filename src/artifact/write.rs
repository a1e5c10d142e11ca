//! Writing files whole or not at all.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::ArtifactError;

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the new one is refused.
    Keep,
    /// The new one takes its place.
    Replace,
}

/// Whether a file could be written now: tells before a long render what would fail after it. A temporary file is made
/// in the folder and removed, as nothing else tells for certain.
pub fn may_write(path: &Path, existing: Existing) -> Result<(), ArtifactError> {
    create_for(path, existing).map(drop)
}

/// Writes a file under a temporary name in its own folder, and gives it its name when it is complete and on disk.
///
/// Where anything fails, the temporary file is removed and what stood under the name before still does. A link is
/// followed: what it leads to is replaced, not the link.
pub fn write_atomically(
    path: &Path,
    existing: Existing,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), ArtifactError> {
    let failed = |cause| failed(path, cause);
    let (mut temporary, target) = create_for(path, existing)?;
    write(&mut temporary).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    match existing {
        Existing::Keep => temporary.persist_noclobber(&target),
        Existing::Replace => temporary.persist(&target),
    }
    .map(drop)
    .map_err(|error| failed(error.error))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A temporary file for `path`, and the name that it is to get.
fn create_for(path: &Path, existing: Existing) -> Result<(NamedTempFile, PathBuf), ArtifactError> {
    let target = match existing {
        Existing::Keep if path.symlink_metadata().is_ok() => {
            return Err(ArtifactError::Exists { path: path.to_owned() });
        }
        Existing::Keep => path.to_owned(),
        Existing::Replace => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
    };
    if target.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(ArtifactError::NotAFile { path: path.to_owned() });
    }
    let folder = folder_of(&target);
    if !folder.is_dir() {
        return Err(ArtifactError::NoFolder { path: path.to_owned(), folder: folder.to_owned() });
    }
    let temporary = create_beside(&target).map_err(|cause| failed(path, cause))?;
    Ok((temporary, target))
}

fn failed(path: &Path, cause: std::io::Error) -> ArtifactError {
    match cause.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ArtifactError::Full { path: path.to_owned() },
        ErrorKind::AlreadyExists => ArtifactError::Exists { path: path.to_owned() },
        _ => ArtifactError::Refused { path: path.to_owned(), cause },
    }
}

/// A temporary file in the folder of `path`, with the permissions that any new file has there: a replaced file's own,
/// or what the user's mask leaves.
fn create_beside(path: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".sega-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let temporary = builder.tempfile_in(folder_of(path))?;
    if let Ok(metadata) = path.metadata() {
        temporary.as_file().set_permissions(metadata.permissions())?;
    }
    Ok(temporary)
}
