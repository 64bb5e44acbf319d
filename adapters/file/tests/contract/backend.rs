//! Services in files, written the way that tools and people write them.
//!
//! ```text
//!  services ──► ..data ──► ..1/ a.local.toml, b.local.toml, …    (as Kubernetes mounts a ConfigMap)
//! ```
//!
//! A put replaces a file by a rename. An outage takes the configured name away; what is written meanwhile
//! is there when it comes back. History is lost by another folder in the place of the first, or by the same
//! one deleted and made again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use pilot_registry::{Address, Hostname, Service, ServiceRegistry, async_trait};
use pilot_registry_file::{Config, registry};
use pilot_registry_testkit::{Backend, BadConfig, Operation};
use tempfile::TempDir;

use crate::document::{malformed, text};

/// As many as the suite puts, and some.
const MAX_FILES: usize = 10_000;

/// The file of a folder that is there whatever else is.
const BASE: &str = "0.toml";

/// Why permissions are not taken away from some users.
pub(crate) const ROOT: &str = "this user reads files of any permission";

/// What the configured path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A folder with a file for each service.
    Folder,
    /// A file with all services.
    OneFile,
}

pub(crate) struct FileBackend {
    root: TempDir,
    layout: Layout,
    services: BTreeMap<Hostname, Arc<Service>>,
    malformed: BTreeSet<String>,
    /// Files with documents of rules, beside those with services.
    documents: BTreeMap<String, Vec<u8>>,
    garbled: bool,
    revoked: bool,
    /// Whether lists are written from last to first.
    backwards: bool,
    generation: u32,
    losses: u32,
    /// Whether a file can be closed to whoever runs this test.
    permissions_matter: bool,
}

impl FileBackend {
    pub(crate) fn new(layout: Layout) -> Result<Self> {
        let backend = Self {
            root: tempfile::tempdir()?,
            layout,
            services: BTreeMap::new(),
            malformed: BTreeSet::new(),
            documents: BTreeMap::new(),
            garbled: false,
            revoked: false,
            backwards: false,
            generation: 1,
            losses: 0,
            permissions_matter: permissions_matter()?,
        };
        fs::create_dir(backend.folder())?;
        symlink("..1", backend.at("..data"))?;
        match layout {
            Layout::Folder => symlink("..data", backend.path())?,
            Layout::OneFile => symlink("..data/services.toml", backend.path())?,
        }
        backend.write_all()?;
        Ok(backend)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// What pilot.toml would say.
    pub(crate) fn path(&self) -> PathBuf {
        match self.layout {
            Layout::Folder => self.at("services"),
            Layout::OneFile => self.at("services.toml"),
        }
    }

    /// Where the files are now.
    fn folder(&self) -> PathBuf {
        self.at(&format!("..{}", self.generation))
    }

    /// The files that there should be, and their content.
    fn files(&self) -> BTreeMap<String, String> {
        let all: Vec<&Service> = self.services.values().map(|service| &**service).collect();
        match self.layout {
            Layout::Folder => {
                let good =
                    all.into_iter().map(|one| (file_of(one.host.as_str()), text(&[one], self.backwards)));
                let bad = self.malformed.iter().map(|entry| (file_of(entry), malformed(entry)));
                // A folder without files says nothing.
                let none = (BASE.to_owned(), text(&[], false));
                good.chain(bad).chain([none]).collect()
            }
            Layout::OneFile => {
                let good = (!all.is_empty() || self.malformed.is_empty()).then(|| text(&all, self.backwards));
                let bad = self.malformed.iter().map(|entry| malformed(entry));
                let content = if self.garbled { "[[service".to_owned() } else { bad.chain(good).collect() };
                BTreeMap::from([("services.toml".to_owned(), content)])
            }
        }
    }

    /// Writes the file that this service or entry is in.
    fn write(&self, name: &str) -> Result<()> {
        if self.layout == Layout::OneFile {
            return self.write_all();
        }
        let file = file_of(name);
        match (self.services.get(name), self.malformed.contains(name)) {
            (Some(service), _) => self.replace(&file, text(&[service], self.backwards).as_bytes()),
            (None, true) => self.replace(&file, malformed(name).as_bytes()),
            (None, false) => self.with_access(|folder| Ok(fs::remove_file(folder.join(file))?)),
        }
    }

    fn write_all(&self) -> Result<()> {
        self.files().iter().try_for_each(|(file, content)| self.replace(file, content.as_bytes()))?;
        self.documents.iter().try_for_each(|(file, content)| self.replace(file, content))
    }

    /// Writes a file of rules, or takes it away.
    pub(crate) fn write_document(&mut self, file: &str, content: Option<&[u8]>) -> Result<()> {
        match content {
            Some(content) => {
                self.documents.insert(file.to_owned(), content.to_owned());
                self.replace(file, content)
            }
            None => {
                self.documents.remove(file);
                self.with_access(|folder| Ok(fs::remove_file(folder.join(file))?))
            }
        }
    }

    /// Puts a file in the place of another, or of none, so that nobody reads half of it.
    fn replace(&self, file: &str, content: &[u8]) -> Result<()> {
        self.with_access(|folder| {
            let new = folder.join(format!(".{file}.new"));
            fs::write(&new, content).with_context(|| format!("writing {}", new.display()))?;
            if self.revoked && self.layout == Layout::OneFile {
                fs::set_permissions(&new, Permissions::from_mode(0o000))?;
            }
            Ok(fs::rename(&new, folder.join(file))?)
        })
    }

    /// The test's own way past [`Backend::revoke`].
    fn with_access(&self, change: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let folder = self.folder();
        let closed = self.revoked && self.layout == Layout::Folder;
        if closed {
            fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        }
        let changed = change(&folder);
        if closed {
            fs::set_permissions(&folder, Permissions::from_mode(0o000))?;
        }
        changed
    }

    /// In turn: another folder swapped into the place of the first, and the same one deleted and made again.
    fn lose(&mut self) -> Result<()> {
        let old = self.folder();
        self.losses += 1;
        if self.losses.is_multiple_of(2) {
            fs::remove_dir_all(&old)?;
            fs::create_dir(&old)?;
            return self.write_all();
        }
        self.generation += 1;
        fs::create_dir(self.folder())?;
        self.write_all()?;
        symlink(format!("..{}", self.generation), self.at("..new"))?;
        fs::rename(self.at("..new"), self.at("..data"))?;
        Ok(fs::remove_dir_all(old)?)
    }

    fn set_revoked(&mut self, revoked: bool) -> Result<()> {
        self.revoked = revoked;
        let (path, open) = match self.layout {
            Layout::Folder => (self.folder(), 0o755),
            Layout::OneFile => (self.folder().join("services.toml"), 0o644),
        };
        Ok(fs::set_permissions(path, Permissions::from_mode(if revoked { 0o000 } else { open }))?)
    }
}

/// Whether a file without any permission is kept from whoever runs this test.
pub(crate) fn permissions_matter() -> Result<bool> {
    let file = tempfile::NamedTempFile::new()?;
    fs::set_permissions(file.path(), Permissions::from_mode(0o000))?;
    Ok(fs::read(file.path()).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied))
}

fn file_of(name: &str) -> String {
    format!("{name}.toml")
}

fn refusal(text: &str) -> Result<(), String> {
    let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
    registry(config).map(drop).map_err(|error| error.to_string())
}

#[async_trait]
impl Backend for FileBackend {
    fn registry(&self) -> Box<dyn ServiceRegistry> {
        let config = Config { max_files: MAX_FILES, ..Config::new(self.path()) };
        Box::new(registry(config).expect("the configuration makes sense"))
    }

    /// A file does not say which ports a Unix socket serves: all of them.
    fn as_seen(&self, service: &Arc<Service>) -> Arc<Service> {
        let mut spec = Service::clone(service).into_spec();
        for endpoint in spec.endpoints.iter_mut().filter(|one| matches!(one.address, Address::Unix(_))) {
            endpoint.ports = service.ports.iter().map(|port| (port.number, port.number)).collect();
        }
        Arc::new(Service::new(spec).expect("it makes sense with more ports, too"))
    }

    fn lacks(&self, operation: Operation) -> Option<&'static str> {
        match operation {
            Operation::Stall => Some("a file is not sent in parts"),
            Operation::CountConnections => Some("the watches of one process are not told apart"),
            Operation::KeepSecrets => Some("there is none"),
            Operation::Garble if self.layout == Layout::Folder => Some("each file stands for itself"),
            Operation::Revoke if !self.permissions_matter => Some(ROOT),
            _ => None,
        }
    }

    fn bad_configs(&self) -> Vec<BadConfig> {
        vec![
            BadConfig { wrong: "no path", mentions: &["path"], outcome: refusal("") },
            BadConfig { wrong: "an empty path", mentions: &["path"], outcome: refusal("path = ''") },
            BadConfig {
                wrong: "an unknown key",
                mentions: &["line 2", "`pathh`", "`path`"],
                outcome: refusal("path = 'services.toml'\npathh = ''"),
            },
        ]
    }

    async fn put(&mut self, service: &Service) -> Result<()> {
        let seen = self.as_seen(&Arc::new(service.clone()));
        self.services.insert(service.host.clone(), seen);
        self.write(service.host.as_str())
    }

    async fn put_all(&mut self, services: &[Arc<Service>]) -> Result<()> {
        let seen: Vec<_> = services.iter().map(|service| self.as_seen(service)).collect();
        self.services.extend(seen.into_iter().map(|service| (service.host.clone(), service)));
        self.write_all()
    }

    async fn delete(&mut self, host: &Hostname) -> Result<()> {
        self.services.remove(host);
        self.write(host.as_str())
    }

    async fn rewrite(&mut self) -> Result<()> {
        self.backwards = !self.backwards;
        self.write_all()
    }

    async fn put_malformed(&mut self, entry: &str) -> Result<()> {
        self.malformed.insert(entry.to_owned());
        self.write(entry)
    }

    async fn delete_malformed(&mut self, entry: &str) -> Result<()> {
        self.malformed.remove(entry);
        self.write(entry)
    }

    async fn disconnect(&mut self) -> Result<()> {
        Ok(fs::rename(self.path(), self.at("away"))?)
    }

    async fn reconnect(&mut self) -> Result<()> {
        Ok(fs::rename(self.at("away"), self.path())?)
    }

    async fn lose_history(&mut self) -> Result<()> {
        let revoked = std::mem::take(&mut self.revoked);
        self.set_revoked(false)?;
        self.lose()?;
        if revoked { self.set_revoked(true) } else { Ok(()) }
    }

    async fn revoke(&mut self) -> Result<()> {
        self.set_revoked(true)
    }

    async fn restore(&mut self) -> Result<()> {
        self.set_revoked(false)
    }

    async fn garble(&mut self) -> Result<()> {
        self.garbled = true;
        self.write_all()
    }

    async fn mend(&mut self) -> Result<()> {
        self.garbled = false;
        self.write_all()
    }
}
