//! Finding and reading files, within limits. Plain blocking IO; what cannot be read says why.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pilot_registry::{ErrorKind, RegistryError};

use crate::Problem;
use crate::document::Format;

/// A file or folder that gives nothing, and what kind of trouble that is.
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

/// Which files are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The file, or the folder of them.
    pub(crate) path: &'a Path,
    /// The most files of a folder.
    pub(crate) max_files: usize,
    /// What the names of files in a folder end with.
    pub(crate) formats: &'a [Format],
}

/// The files that are meant, in the order in which they count.
///
/// # Errors
/// There is neither a file nor a folder, or the folder has too many files.
pub(crate) fn list(wanted: Wanted<'_>) -> Result<Vec<PathBuf>, Trouble> {
    let path = wanted.path;
    let metadata = std::fs::metadata(path).map_err(|error| {
        let mut trouble = Trouble::io(path, "cannot be read", &error);
        if let (io::ErrorKind::NotFound, Some(name)) = (error.kind(), meant(path)) {
            trouble.problem.message += &format!("; did you mean {name}?");
        }
        trouble
    })?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let failed = |error| Trouble::io(path, "the folder cannot be listed", &error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = path.join(entry.map_err(failed)?.file_name());
        if is_candidate(&file) && Format::of(&file).is_some_and(|format| wanted.formats.contains(&format)) {
            files.push(file);
        }
        if files.len() > wanted.max_files {
            let message =
                format!("the folder has more files than the {} that max_files allows", wanted.max_files);
            return Err(Trouble::malformed(Problem::of_file(path, message)));
        }
    }
    files.sort();
    Ok(files)
}

/// A folder without files is what is left of one that was unmounted, or what a container gets in the place of a
/// file that does not exist. It says nothing of services.
pub(crate) fn no_services(path: &Path) -> Trouble {
    let meant = match Format::of(path) {
        Some(_) => "it is an empty folder: expected a file",
        None => {
            "the folder has no file that ends in .toml, .yaml, .yml or .json: expected at least one; \
             a file with the line service = [] says that there is no service"
        }
    };
    Trouble { kind: ErrorKind::Unavailable, problem: Problem::of_file(path, meant) }
}

/// A name beside a path that does not exist, like that of a file to read: the user may have meant it.
fn meant(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?.to_lowercase();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = std::fs::read_dir(folder).ok()?.take(MAX_NEIGHBOURS).flatten();
    let near = names.filter_map(|entry| {
        let fits = is_candidate(&entry.path()) || entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name().into_string().ok().filter(|name| fits && !name.starts_with('.'))?;
        let stem = |name: &str| name.rsplit_once('.').map_or(name.to_owned(), |(stem, _)| stem.to_owned());
        let distance = if stem(&name.to_lowercase()) == stem(&wanted) {
            0
        } else {
            strsim::damerau_levenshtein(&name.to_lowercase(), &wanted)
        };
        (distance <= 1 + wanted.len() / 5).then_some((distance, name))
    });
    near.min().map(|(_, name)| name)
}

/// So many names of a folder are looked at to find the one that was meant.
const MAX_NEIGHBOURS: usize = 1000;

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
    if metadata.is_dir() {
        return malformed(
            "it is a folder: expected a file; folders inside of a folder are not read".to_owned(),
        );
    }
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
