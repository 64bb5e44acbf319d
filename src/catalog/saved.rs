//! The last known good of a registry, on disk: what pilot starts with when the registry does not answer.
//!
//! One file for each registry, replaced as a whole (written beside it, synced, renamed), so that at any time
//! and after any crash there is one that is whole. Several pilots may share a folder: the last one to write
//! wins, and what any of them wrote is whole.
//!
//! A file that is damaged, of another registry or of a newer pilot is never believed. It is set aside under
//! another name, for a person to look at. Nothing here is async: callers are on threads that may wait.

mod file;
mod folder;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use folder::{Unwritable, prepare, probe, try_hold};
use pilot_registry::Snapshot;

/// Of the files that were set aside, the newest so many stay, for each registry.
const SET_ASIDE_MAX: usize = 3;
/// A file that was being written so long ago never will be whole.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Where the last known good of one registry is.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    folder: PathBuf,
    registry: Arc<str>,
    kind: &'static str,
    max_bytes: u64,
}

/// What was on disk.
#[derive(Clone, Debug)]
pub struct Saved {
    /// What the registry said.
    pub snapshot: Arc<Snapshot>,
    /// When that was written.
    pub saved_at: SystemTime,
}

/// A file that is there and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be read. It stays where it is.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not believed.
    #[error("{} is not used: {why}; {aside}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// Where it is now.
        aside: String,
    },
}

impl SnapshotFile {
    /// The place in that folder for a registry of that name and kind. Larger files are refused.
    pub fn new(folder: impl Into<PathBuf>, registry: &str, kind: &'static str, max_bytes: u64) -> Self {
        Self { folder: folder.into(), registry: registry.into(), kind, max_bytes }
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(self.file_name())
    }

    fn file_name(&self) -> String {
        // The names of pilot.toml are such already.
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        format!("{}.snapshot", self.registry.chars().map(plain).collect::<String>())
    }

    /// Writes what the registry says now.
    ///
    /// # Errors
    /// The file cannot be written, or would be too large. What was there before is there still.
    pub fn save(&self, snapshot: &Snapshot, saved_at: SystemTime) -> io::Result<()> {
        let bytes = file::encode(&self.registry, self.kind, saved_at, snapshot);
        let size = bytes.len() as u64;
        if size > self.max_bytes {
            let why = format!("{size} bytes, and [state] max_file_bytes allows {}", self.max_bytes);
            return Err(io::Error::new(ErrorKind::FileTooLarge, why));
        }
        self.remove_abandoned();
        let mut beside = tempfile::Builder::new().prefix(&self.prefix()).tempfile_in(&self.folder)?;
        beside.write_all(&bytes)?;
        beside.as_file().sync_all()?;
        beside.persist(self.path()).map_err(|error| error.error)?;
        // A rename lasts once its folder has been written too.
        File::open(&self.folder)?.sync_all()
    }

    /// Reads what was written last, if anything was.
    ///
    /// # Errors
    /// There is a file, and it cannot be used. If that is for what is in it, it is set aside.
    pub fn load(&self) -> Result<Option<Saved>, LoadError> {
        let bytes = match self.read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LoadError::Read { path: self.path(), source }),
        };
        if bytes.len() as u64 > self.max_bytes {
            let why = format!("it is larger than [state] max_file_bytes, {}", self.max_bytes);
            return Err(self.refuse(why));
        }
        match file::decode(&self.registry, self.kind, &bytes) {
            Ok((snapshot, saved_at)) => Ok(Some(Saved { snapshot: Arc::new(snapshot), saved_at })),
            Err(why) => Err(self.refuse(why.to_string())),
        }
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        // Looked at before it is opened: a pipe would be waited for.
        if !fs::metadata(self.path())?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a file"));
        }
        let mut bytes = Vec::new();
        File::open(self.path())?.take(self.max_bytes + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn refuse(&self, why: String) -> LoadError {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let aside = self.folder.join(format!("{}.damaged-{at:013}", self.file_name()));
        let aside = match fs::rename(self.path(), &aside) {
            Ok(()) => format!("set aside as {}", aside.display()),
            Err(error) => format!("setting it aside failed: {error}"),
        };
        self.remove_oldest_set_aside();
        LoadError::Refused { path: self.path(), why, aside }
    }

    fn remove_oldest_set_aside(&self) {
        let mut files = self.files(&format!("{}.damaged-", self.file_name()));
        files.sort();
        for old in files.iter().rev().skip(SET_ASIDE_MAX) {
            self.remove(old);
        }
    }

    /// What a pilot was writing when it was killed.
    fn remove_abandoned(&self) {
        for name in self.files(&self.prefix()) {
            let modified = fs::metadata(self.folder.join(&name)).and_then(|it| it.modified());
            let age = modified.ok().and_then(|modified| modified.elapsed().ok());
            if age.is_some_and(|age| age > ABANDONED) {
                self.remove(&name);
            }
        }
    }

    fn prefix(&self) -> String {
        format!(".{}-", self.file_name())
    }

    fn files(&self, prefix: &str) -> Vec<OsString> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name());
        names.filter(|name| name.to_str().is_some_and(|name| name.starts_with(prefix))).collect()
    }

    fn remove(&self, name: &OsString) {
        let path = self.folder.join(name);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "a file that is of no use cannot be removed");
        }
    }
}
