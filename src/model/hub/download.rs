//! One file into the cache: fetched under a temporary name, checked, and only then given its own.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checksum::{Checksum, add};
use super::client::{ATTEMPTS, Client, Fault, Opened, pause};
use super::{Cache, HubError, HubId, Progress, Watch};

/// How long the holder of a lock is waited for before looking again.
const GLANCE: Duration = Duration::from_millis(100);

/// A file that is to be in the cache.
pub(super) struct Download<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) cache: &'a Cache,
    pub(super) id: &'a HubId,
    pub(super) commit: &'a str,
    pub(super) file: &'a str,
}

impl Download<'_> {
    /// Makes sure that the file is in its snapshot, and returns its place there.
    pub(super) fn run(&self, watch: &mut Watch) -> Result<PathBuf, HubError> {
        let place = self.cache.snapshot(self.id, self.commit).join(self.file);
        if place.is_file() {
            return Ok(place);
        }
        let opened = self
            .client
            .again(self.id, self.file, watch, &mut |_| self.client.open(self.id, self.commit, self.file, 0))?;
        let blob = self.cache.blob(self.id, &opened.etag);
        let _lock = self.lock(&opened.etag, watch)?;
        if !blob.is_file() {
            self.fetch(opened, &blob, watch)?;
        }
        link(&blob, &place)?;
        self.tell(Progress::Done { file: self.file }, watch)?;
        Ok(place)
    }

    /// The right to fetch the file, which one process has at a time.
    fn lock(&self, etag: &str, watch: &mut Watch) -> Result<File, HubError> {
        let path = self.cache.lock(self.id, etag);
        create_folder_of(&path)?;
        let failed = |cause| HubError::of(&path, cause);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {}
                // Some file systems have no locks; there the temporary names of two processes must do.
                Err(TryLockError::Error(cause)) if cause.kind() == ErrorKind::Unsupported => return Ok(file),
                Err(TryLockError::Error(cause)) => return Err(failed(cause)),
            }
            self.tell(Progress::Waiting { file: self.file }, watch)?;
            std::thread::sleep(GLANCE);
        }
    }

    /// Fetches the file, going on with what an earlier attempt left.
    fn fetch(&self, first: Opened, blob: &Path, watch: &mut Watch) -> Result<(), HubError> {
        let temporary = blob.with_file_name(format!("{}.incomplete", first.etag));
        create_folder_of(&temporary)?;
        let failed = |cause| HubError::of(&temporary, cause);
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&temporary).map_err(failed)?;
        let (etag, length) = (first.etag.clone(), first.length);
        let resumed = file.metadata().map_err(failed)?.len() > 0;
        self.receive(&mut file, &temporary, first, watch)?;
        let found = match difference(&mut file, &etag, length).map_err(failed)? {
            // What was left there may have been anybody's: once more, all of it.
            Some(_) if resumed => {
                file.set_len(0).map_err(failed)?;
                let opened = self
                    .client
                    .again(self.id, self.file, watch, &mut |_| self.client.open(self.id, self.commit, self.file, 0))?;
                self.receive(&mut file, &temporary, opened, watch)?;
                difference(&mut file, &etag, length).map_err(failed)?
            }
            found => found,
        };
        if let Some(found) = found {
            drop(file);
            fs::remove_file(&temporary).map_err(failed)?;
            let (id, file) = (self.id.clone().into(), self.file.to_owned());
            return Err(HubError::WrongChecksum { id, file, expected: etag, found });
        }
        file.sync_all().map_err(failed)?;
        drop(file);
        fs::rename(&temporary, blob).map_err(failed)
    }

    /// Receives what is missing, over as many connections as it takes.
    fn receive(&self, file: &mut File, path: &Path, first: Opened, watch: &mut Watch) -> Result<(), HubError> {
        let failed = |cause| HubError::of(path, cause);
        let (etag, length) = (first.etag.clone(), first.length);
        let mut have = file.metadata().map_err(failed)?.len();
        if length.is_some_and(|length| have > length) {
            have = 0;
        }
        let mut next = (have == 0).then_some(first);
        let mut fruitless = 0;
        let mut furthest = have;
        while length != Some(have) || length.is_none() {
            let mut attempt = || -> Result<(), Fault> {
                let opened = match next.take() {
                    Some(opened) => opened,
                    None => self.client.open(self.id, self.commit, self.file, have)?,
                };
                let lasting = |cause| Fault::Lasting(failed(cause));
                if opened.etag != etag || opened.start > have {
                    let cause = "the file changes while it is fetched".to_owned();
                    return Err(Fault::Passing { cause, pause: None });
                }
                // A server that knows no ranges starts anew.
                have = opened.start;
                file.set_len(have).map_err(lasting)?;
                file.seek(SeekFrom::Start(have)).map_err(lasting)?;
                let mut body = opened.body.into_reader();
                let mut buffer = vec![0; 1 << 16];
                loop {
                    if watch(Progress::Bytes { file: self.file, done: have, total: length }) == ControlFlow::Break(()) {
                        return Err(Fault::Lasting(HubError::Interrupted));
                    }
                    let count = match body.read(&mut buffer) {
                        Ok(0) => break,
                        Ok(count) => count,
                        Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                        Err(error) => return Err(Fault::Passing { cause: error.to_string(), pause: None }),
                    };
                    file.write_all(&buffer[..count]).map_err(lasting)?;
                    have += count as u64;
                    if length.is_some_and(|length| have > length) {
                        break;
                    }
                }
                match length {
                    Some(length) if have < length => {
                        let cause = format!("the connection was dropped after {have} of {length} bytes");
                        Err(Fault::Passing { cause, pause: None })
                    }
                    _ => Ok(()),
                }
            };
            let (cause, asked) = match attempt() {
                Ok(()) => return Ok(()),
                Err(Fault::Lasting(error)) => return Err(error),
                Err(Fault::Passing { cause, pause }) => (cause, pause),
            };
            // Only attempts that bring nothing are counted: a bad line brings the file in the end.
            fruitless = if have > furthest { 1 } else { fruitless + 1 };
            furthest = furthest.max(have);
            if fruitless == ATTEMPTS {
                let (id, endpoint) = (self.id.clone().into(), self.client.settings.endpoint.clone());
                return Err(HubError::Failing { id, endpoint, cause });
            }
            let asked = asked.map(|seconds| Duration::from_secs(seconds.min(60)));
            pause(self.file, asked.unwrap_or(Duration::from_millis(125 << fruitless)), watch)?;
        }
        Ok(())
    }

    fn tell(&self, progress: Progress<'_>, watch: &mut Watch) -> Result<(), HubError> {
        match watch(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(HubError::Interrupted),
        }
    }
}

/// How a file differs from what is announced, if it does.
fn difference(file: &mut File, etag: &str, length: Option<u64>) -> std::io::Result<Option<String>> {
    file.seek(SeekFrom::Start(0))?;
    let own = file.metadata()?.len();
    let mut sum = Checksum::of(etag, Some(own));
    add(&mut sum, file)?;
    Ok(match length {
        Some(length) if own != length => Some(format!("that of {own} bytes instead of {length}")),
        _ => sum.differs(etag),
    })
}

fn create_folder_of(path: &Path) -> Result<(), HubError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|cause| HubError::of(folder, cause))
}

/// Puts a blob into a snapshot: as a relative link, which whoever moves the cache does not break, or where the system has
/// none, as a copy.
fn link(blob: &Path, place: &Path) -> Result<(), HubError> {
    create_folder_of(place)?;
    let failed = |cause| HubError::of(place, cause);
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let temporary = place.with_file_name(format!(".{name}-{}", std::process::id()));
    #[cfg(unix)]
    let linked = {
        let depth = |path: &Path| path.components().count();
        let repository = blob.parent().and_then(Path::parent).unwrap_or(Path::new(""));
        let up = "../".repeat(depth(place) - depth(repository) - 1);
        let target = format!("{up}blobs/{}", blob.file_name().unwrap_or_default().to_string_lossy());
        std::os::unix::fs::symlink(target, &temporary)
    };
    #[cfg(not(unix))]
    let linked = fs::hard_link(blob, &temporary).or_else(|_| fs::copy(blob, &temporary).map(drop));
    match linked {
        Err(cause) if cause.kind() != ErrorKind::AlreadyExists => return Err(failed(cause)),
        _ => {}
    }
    fs::rename(&temporary, place).map_err(failed)
}
