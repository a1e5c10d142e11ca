//! Writing files whole or not at all.

use std::io::{ErrorKind, Write};
use std::path::Path;

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

/// Whether a file could be written now: tells before a long render what would fail after it.
pub fn may_write(path: &Path, existing: Existing) -> Result<(), ArtifactError> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(ArtifactError::NoFolder { path: path.to_owned(), folder: folder.to_owned() });
    }
    if existing == Existing::Keep && path.symlink_metadata().is_ok() {
        return Err(ArtifactError::Exists { path: path.to_owned() });
    }
    Ok(())
}

/// Writes a file under a temporary name in its own folder, and gives it its name when it is complete and on disk.
///
/// Where anything fails, the temporary file is removed and what stood under the name before still does.
pub fn write_atomically(
    path: &Path,
    existing: Existing,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), ArtifactError> {
    may_write(path, existing)?;
    let failed = |cause: std::io::Error| match cause.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ArtifactError::Full { path: path.to_owned() },
        ErrorKind::AlreadyExists => ArtifactError::Exists { path: path.to_owned() },
        _ => ArtifactError::Refused { path: path.to_owned(), cause },
    };
    let mut temporary = create_beside(path).map_err(failed)?;
    write(&mut temporary).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    match existing {
        Existing::Keep => temporary.persist_noclobber(path),
        Existing::Replace => temporary.persist(path),
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
