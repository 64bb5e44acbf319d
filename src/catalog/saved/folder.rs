//! The folder of the last known good: made, tried and held before anything is kept in it.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Nothing can be kept in the folder.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be written in ({why}): expected a folder of pilot's own", folder.display())]
pub struct Unwritable {
    folder: PathBuf,
    /// The path that is in the way, and the system's reason.
    why: String,
}

/// Makes the folder where there is none, and tries to write in it.
///
/// # Errors
/// It cannot be made, or not be written in.
pub fn prepare(folder: &Path) -> Result<(), Unwritable> {
    probe(folder)?;
    // What a registry says may be nobody else's business.
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.and_then(|()| write_in(folder)).map_err(|error| Unwritable::new(folder, folder, &error))
}

/// Whether [`prepare`] would succeed. It leaves nothing behind.
///
/// # Errors
/// The folder cannot be written in, or is missing and cannot be made.
pub fn probe(folder: &Path) -> Result<(), Unwritable> {
    // What may not be looked at counts as missing: nothing can be made there either.
    let there = folder.ancestors().find(|above| above.symlink_metadata().is_ok());
    let there = there.unwrap_or(if folder.is_absolute() { Path::new("/") } else { Path::new(".") });
    if !there.is_dir() {
        let why = format!("{} is not a folder", there.display());
        return Err(Unwritable { folder: folder.to_owned(), why });
    }
    let tried = if there == folder { write_in(there) } else { make_in(there) };
    tried.map_err(|error| Unwritable::new(folder, there, &error))
}

/// Holds the folder for as long as the file lives that this gives; `None` = another pilot holds it.
///
/// # Errors
/// It cannot be opened, or its file system has no locks.
pub fn try_hold(folder: &Path) -> io::Result<Option<File>> {
    let held = File::open(folder)?;
    match held.try_lock() {
        Ok(()) => Ok(Some(held)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

fn write_in(folder: &Path) -> io::Result<()> {
    tempfile::Builder::new().prefix(PROBE).tempfile_in(folder).map(drop)
}

fn make_in(folder: &Path) -> io::Result<()> {
    tempfile::Builder::new().prefix(PROBE).tempdir_in(folder)?.close()
}

/// What is made to see whether it can be made. No services file: those that begin so are hidden.
const PROBE: &str = ".probe-";

impl Unwritable {
    fn new(folder: &Path, there: &Path, error: &io::Error) -> Self {
        let reason = match error.kind() {
            ErrorKind::PermissionDenied => "permission denied".to_owned(),
            ErrorKind::ReadOnlyFilesystem => "it is read-only".to_owned(),
            // As /proc says it.
            ErrorKind::NotFound => "nothing can be made there".to_owned(),
            // tempfile names the probe, too.
            _ => {
                error.get_ref().and_then(Error::source).map_or_else(|| error.to_string(), ToString::to_string)
            }
        };
        Self { folder: folder.to_owned(), why: format!("{}: {reason}", there.display()) }
    }
}
