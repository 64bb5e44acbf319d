//! The documents of a store that were in force last, on disk: for documents that are wrong from the start, and for a
//! store that does not answer at the start.
//!
//! One file for each store, replaced as a whole. A file that cannot be used is as if there were none, and says why.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{Version, Versions, read};

/// Changes whenever a file of the one would be misread by a pilot of the other.
const FORMAT: &str = "pilot-rules 1";

/// Where the documents of one store are kept.
#[derive(Clone, Debug)]
pub struct SavedRules {
    folder: PathBuf,
    store: Arc<str>,
    kind: &'static str,
    max_bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    store: String,
    kind: String,
    documents: Vec<Saved>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    place: String,
    age: Option<u64>,
    namespace: String,
    source: String,
}

impl SavedRules {
    /// The place in that folder for a store of that name and kind. Larger files are refused.
    pub fn new(folder: impl Into<PathBuf>, store: &str, kind: &'static str, max_bytes: u64) -> Self {
        Self { folder: folder.into(), store: store.into(), kind, max_bytes }
    }

    /// The file. Its name is unlike that of any registry.
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.rules", self.store))
    }

    /// Writes these documents, in place of what is there.
    ///
    /// # Errors
    /// The file cannot be written, or would be too large. What was there before is there still.
    pub fn save(&self, documents: &Versions) -> io::Result<()> {
        let documents = documents.values().map(|version| Saved {
            place: version.place.to_string(),
            age: version.age,
            namespace: version.id.namespace.clone(),
            source: version.source.to_string(),
        });
        let (store, kind) = (self.store.to_string(), self.kind.to_owned());
        let content = Content { store, kind, documents: documents.collect() };
        let body = serde_json::to_vec(&content).map_err(io::Error::other)?;
        if body.len() as u64 > self.max_bytes {
            let why = format!("{} bytes, and [state] max_file_bytes allows {}", body.len(), self.max_bytes);
            return Err(io::Error::new(ErrorKind::FileTooLarge, why));
        }
        let prefix = format!(".{}.rules-", self.store);
        let mut beside = tempfile::Builder::new().prefix(&prefix).tempfile_in(&self.folder)?;
        writeln!(beside, "{FORMAT} {:016x}", xxh3_64(&body))?;
        beside.write_all(&body)?;
        beside.as_file().sync_all()?;
        beside.persist(self.path()).map_err(|error| error.error)?;
        fs::File::open(&self.folder)?.sync_all()
    }

    /// Reads what was written last; `None` = nothing was. That the store had no document is something.
    ///
    /// # Errors
    /// There is a file, and it cannot be used.
    pub fn load(&self) -> io::Result<Option<Vec<Arc<Version>>>> {
        let path = self.path();
        match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(found) if !found.is_file() || found.len() > self.max_bytes.saturating_add(64) => {
                let why = "it is no file, or larger than [state] max_file_bytes";
                return Err(io::Error::new(ErrorKind::InvalidData, why));
            }
            Ok(_) => {}
        }
        let content = self.content(&path)?;
        let version = |saved: Saved| {
            let document = read(&saved.source, &saved.namespace).into_iter().next()?;
            let (id, spec) = document.id.zip(document.spec)?;
            let place = saved.place.into();
            Some(Arc::new(Version { id, spec, place, age: saved.age, source: document.source }))
        };
        // What an earlier pilot took and this one refuses is not in force.
        Ok(Some(content.documents.into_iter().filter_map(version).collect()))
    }

    fn content(&self, path: &Path) -> io::Result<Content> {
        let invalid = |why: &str| io::Error::new(ErrorKind::InvalidData, why.to_owned());
        let bytes = fs::read(path)?;
        let end = bytes.iter().take(64).position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| invalid("it is no file of pilot's"))?;
        let (head, body) = (&bytes[..end], &bytes[end + 1..]);
        if head != format!("{FORMAT} {:016x}", xxh3_64(body)).as_bytes() {
            return Err(invalid("it is damaged, or of another pilot"));
        }
        let content: Content = serde_json::from_slice(body).map_err(|error| invalid(&error.to_string()))?;
        match *content.store == *self.store && content.kind == self.kind {
            true => Ok(content),
            false => Err(invalid("it is of another store")),
        }
    }
}

#[cfg(test)]
mod tests {
    use pilot_registry::{Text, Texts};

    use super::*;
    use crate::rules::{DEFAULT_NAMESPACE, Library};

    fn library(host: &str) -> Library {
        let text = format!(
            "{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: a, namespace: apps}}, spec: \
             {{host: {host}}}}}"
        );
        let mut library = Library::default();
        let text = Text { text: text.into(), age: Some(7), namespace: None };
        let texts: Texts = [("a.yaml".into(), Arc::new(text))].into_iter().collect();
        library.take(&texts, DEFAULT_NAMESPACE);
        library
    }

    #[test]
    fn what_is_in_force_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let saved = SavedRules::new(folder.path(), "local", "file", 10_000);
        assert_eq!(saved.load().unwrap(), None);
        saved.save(Library::default().in_force()).unwrap();
        assert_eq!(saved.load().unwrap(), Some(Vec::new()), "known to be empty");
        saved.save(library("a").in_force()).unwrap();
        let found = saved.load().unwrap().unwrap();
        let expected: Vec<_> = library("a").in_force().values().cloned().collect();
        assert_eq!(found, expected);
        let other = SavedRules::new(folder.path(), "local", "etcd", 10_000);
        assert!(other.load().unwrap_err().to_string().contains("another store"));
        let mut bytes = fs::read(saved.path()).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(saved.path(), bytes).unwrap();
        assert!(saved.load().unwrap_err().to_string().contains("damaged"));
        let small = SavedRules::new(folder.path(), "local", "file", 10);
        assert!(small.save(library("a").in_force()).unwrap_err().to_string().contains("max_file_bytes"));
    }
}
