//! Finding and reading files, within limits. Plain blocking IO; what cannot be read says why.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pilot_registry::{ErrorKind, RegistryError};

use crate::document::Format;
use crate::{Config, Problem};

/// A file or folder that gives no services, and what kind of trouble that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) kind: ErrorKind,
    pub(crate) problem: Problem,
}

impl Trouble {
    pub(crate) fn malformed(problem: Problem) -> Self {
        Self { kind: ErrorKind::Malformed, problem }
    }

    /// The same as the registry's error.
    pub(crate) fn error(&self) -> RegistryError {
        RegistryError::new(self.kind, self.problem.to_string())
    }

    fn io(path: &Path, tried: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Unavailable,
        };
        Self { kind, problem: Problem::of_file(path, format!("{tried}: {}", plain(error))) }
    }
}

/// The system's words; the commonest ones in ours, without the error's number.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        // ELOOP; the standard library's name for it is not stable.
        _ if error.raw_os_error() == Some(40) => "its symbolic links form a cycle".to_owned(),
        _ => error.to_string(),
    }
}

/// The files that the configuration means, in the order in which they count.
///
/// # Errors
/// There is neither a file nor a folder, or the folder has too many files.
pub(crate) fn list(config: &Config) -> Result<Vec<PathBuf>, Trouble> {
    let path = &config.path;
    let metadata = std::fs::metadata(path).map_err(|error| Trouble::io(path, "cannot be read", &error))?;
    if !metadata.is_dir() {
        return Ok(vec![path.clone()]);
    }
    let failed = |error| Trouble::io(path, "the folder cannot be listed", &error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = path.join(entry.map_err(failed)?.file_name());
        if is_candidate(&file) {
            files.push(file);
        }
        if files.len() > config.max_files {
            let message =
                format!("the folder has more files than the {} that max_files allows", config.max_files);
            return Err(Trouble::malformed(Problem::of_file(path, message)));
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file of a folder is read, by its name: not hidden, and one of the known formats.
pub(crate) fn is_candidate(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && Format::of(path).is_some()
}

/// The whole text of a file.
pub(crate) fn read(path: &Path, max_bytes: u64) -> Result<String, Trouble> {
    let failed = |error: io::Error| Trouble::io(path, "cannot be read", &error);
    let malformed = |message: String| Err(Trouble::malformed(Problem::of_file(path, message)));
    let metadata = std::fs::metadata(path).map_err(failed)?;
    // Also because opening a pipe waits for a writer, for ever.
    if !metadata.is_file() {
        return malformed("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    if metadata.len() <= max_bytes {
        let file = File::open(path).map_err(failed)?;
        file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    }
    // A file may grow while it is read.
    let size = metadata.len().max(bytes.len() as u64);
    if size > max_bytes {
        return malformed(format!(
            "the file has {size} bytes, more than the {max_bytes} that max_file_bytes allows"
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let offset = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count();
            let mut problem = Problem::of_file(path, format!("byte {offset} is not UTF-8"));
            problem.line = Some(line);
            Err(Trouble::malformed(problem))
        }
    }
}
