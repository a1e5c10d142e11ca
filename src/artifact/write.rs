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

/// A file that is complete and on disk under a temporary name in the folder of its own. Dropped, it is gone.
#[derive(Debug)]
pub struct Prepared {
    path: PathBuf,
    target: PathBuf,
    existing: Existing,
    temporary: NamedTempFile,
}

impl Prepared {
    /// Writes the file under its temporary name.
    pub fn write(
        path: &Path,
        existing: Existing,
        write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<Self, ArtifactError> {
        let failed = |cause| failed(path, cause);
        let (mut temporary, target) = create_for(path, existing)?;
        write(&mut temporary).map_err(failed)?;
        temporary.as_file().sync_all().map_err(failed)?;
        Ok(Self { path: path.to_owned(), target, existing, temporary })
    }

    /// Gives the file its name. A link is followed: what it leads to is replaced, not the link.
    pub fn keep(self) -> Result<(), ArtifactError> {
        match self.existing {
            Existing::Keep => self.temporary.persist_noclobber(&self.target),
            Existing::Replace => self.temporary.persist(&self.target),
        }
        .map(drop)
        .map_err(|error| failed(&self.path, error.error))
    }
}

/// Writes a file whole or not at all: where anything fails, what stood under the name before still does.
pub fn write_atomically(
    path: &Path,
    existing: Existing,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), ArtifactError> {
    Prepared::write(path, existing, write)?.keep()
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
    let metadata = target.metadata().ok();
    let names_a_folder = path.as_os_str().to_string_lossy().ends_with(std::path::is_separator);
    if names_a_folder || metadata.as_ref().is_some_and(|metadata| !metadata.is_file()) {
        return Err(ArtifactError::NotAFile { path: path.to_owned() });
    }
    if metadata.is_some_and(|metadata| metadata.permissions().readonly()) {
        return Err(ArtifactError::ReadOnly { path: path.to_owned() });
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
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            ArtifactError::Full { path: path.to_owned() }
        }
        ErrorKind::AlreadyExists => ArtifactError::Exists { path: path.to_owned() },
        // Without the temporary name, which the cause may hold and which says nothing to anybody.
        kind => ArtifactError::Refused { path: path.to_owned(), cause: kind.into() },
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
