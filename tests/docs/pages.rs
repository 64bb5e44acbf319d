//! The pages of the repository, and those among them that are generated.

use std::fs;
use std::path::{Path, PathBuf};

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// All pages of the repository, by their paths in it.
pub(crate) fn all() -> Vec<String> {
    let mut found = Vec::new();
    collect(root(), &mut found);
    let name = |path: PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = found.into_iter().map(name).collect();
    names.sort();
    assert!(names.len() > 20, "{names:?}");
    names
}

/// Those below a folder.
pub(crate) fn below(folder: &str) -> Vec<String> {
    all().into_iter().filter(|page| page.starts_with(folder)).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            // What is built, what is hidden, and links to elsewhere.
            if name != "target" && !name.starts_with('.') && !path.is_symlink() {
                collect(&path, found);
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// Compares a generated page with what is in the repository, or writes it where `UPDATE_DOCS` asks for that.
pub(crate) fn assert_generated(page: &str, text: &str) {
    let path = root().join(page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(path, text).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    let differs = written.lines().zip(text.lines()).find(|(old, new)| old != new);
    assert!(
        written == text,
        "{page} is not what the code says: UPDATE_DOCS=1 cargo test --test docs rewrites it\n\
         first difference (the page, the code): {differs:#?}"
    );
}
