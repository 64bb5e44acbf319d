//! The last good version of each file and of each entry, which stays in force.
//!
//! - A file that cannot be read or parsed keeps what it said before.
//! - An entry that makes no sense keeps what it said before, found by its host, and its namespace if not everybody sees it.
//! - An entry whose host cannot be read might be any of those that are now missing: until it is mended,
//!   the file's missing services stay.
//!
//! A view is somebody's word ([`View::means_it`]) when each service that is missing was taken out of a file
//! that is there and whose entries all count. A file that went away, one that never made sense, and the first
//! look at a folder are nobody's word: from then on no view is, until those services are back, the file is
//! mended, or [`doubt::TIME`] has passed.

mod doubt;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilot_registry::{Service, ServiceId, Snapshot};
use tokio::time::Instant;

use crate::convert::{self, Entry};
use crate::document::{Format, Position};
use crate::files::{self, Trouble, Wanted};
use crate::problem::Mistake;
use crate::{Config, Problem};
use doubt::Doubt;

/// All files, and what each of them says.
#[derive(Debug, Default)]
pub(crate) struct LastGood {
    files: BTreeMap<PathBuf, FileView>,
    doubt: Doubt,
}

/// What one file says.
#[derive(Debug, Default)]
struct FileView {
    /// Of the text that was read last, to see that nothing changed.
    hash: Option<u64>,
    trouble: Option<Trouble>,
    /// In force. `None` = the file never made sense.
    services: Option<BTreeMap<ServiceId, (Position, Arc<Service>)>>,
    rejected: Vec<Rejected>,
}

/// An entry that is left out, or stands in its last good version.
#[derive(Clone, Debug)]
pub(crate) struct Rejected {
    id: Option<ServiceId>,
    mistakes: Vec<Mistake>,
    /// What is in force in its place, in words, or nothing.
    instead: String,
}

/// One look at all files.
#[derive(Debug, Default)]
pub(crate) struct View<T> {
    /// What is in force.
    pub(crate) value: T,
    /// Files that cannot be read or parsed, and the folder.
    pub(crate) troubles: Vec<Trouble>,
    /// Those of these files of which nothing is in force: they were never read, or never made sense.
    pub(crate) unread: Vec<PathBuf>,
    /// Entries that were left out: file, and what is wrong.
    pub(crate) rejected: Vec<(PathBuf, Rejected)>,
    /// Whether something could be read this time. Otherwise the value says nothing new.
    pub(crate) fresh: bool,
    /// Whether somebody wanted all that is missing from the value to be missing, if the files were read
    /// whole.
    pub(crate) means_it: bool,
    /// Whether there is nothing to read at all. The system does not tell when that ends: a file system that is
    /// mounted is no change of the folder that it hides.
    pub(crate) missing: bool,
}

impl Rejected {
    /// The entry's name: its place and its id.
    pub(crate) fn entry(&self, file: &Path) -> String {
        let at = self.mistakes.first().map_or(Position::START, |mistake| mistake.at);
        let id = self.id.as_ref().map_or(String::new(), |id| format!(" {id}"));
        format!("{}:{}:{}{id}", file.display(), at.line, at.column)
    }

    /// What is wrong with it, in one line.
    pub(crate) fn why(&self) -> String {
        let first = self.mistakes.first().map_or("", |mistake| mistake.message.as_str());
        let more = match self.mistakes.len() {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        format!("{first}{more}{}", self.instead)
    }

    fn duplicate(at: Position, id: &ServiceId, first: &str) -> Self {
        let message = format!("service {id} is there twice: {first} is the one in force");
        Self { id: Some(id.clone()), mistakes: vec![Mistake::new(at, message)], instead: String::new() }
    }

    /// Endpoints of a service that is in force with one of each.
    fn doubles(id: &ServiceId, mistakes: Vec<Mistake>) -> Self {
        Self {
            id: Some(id.clone()),
            mistakes,
            instead: "; it counts once, as the healthier of them".to_owned(),
        }
    }

    pub(crate) fn problems(&self, file: &Path) -> impl Iterator<Item = Problem> {
        self.mistakes.iter().map(move |mistake| mistake.of_file(file))
    }
}

impl LastGood {
    /// Reads everything again.
    pub(crate) fn look(&mut self, config: &Config, now: Instant) -> View<Snapshot> {
        let mut view = View::default();
        let Config { path, max_files, .. } = config;
        let files = files::list(Wanted { path, max_files: *max_files, formats: &Format::ALL });
        let files = files.and_then(|files| match files.is_empty() {
            true => Err(files::no_services(path)),
            false => Ok(files),
        });
        match files {
            Ok(files) => self.read(config, files, &mut view, now),
            Err(trouble) => {
                view.troubles.push(trouble);
                view.missing = true;
            }
        }
        view.unread = view.troubles.iter().map(|it| it.problem.file.clone()).collect();
        view.unread.retain(|path| !self.is_in_force(path));
        self.merge(&mut view);
        self.doubt.review(&view.value, now);
        view.means_it = self.doubt.is_none() && self.is_whole(&view);
        view
    }

    /// Whether something of a file, or of the folder, is in force.
    fn is_in_force(&self, path: &Path) -> bool {
        match self.files.get(path) {
            Some(file) => file.services.is_some(),
            None => self.files.values().any(|file| file.services.is_some()),
        }
    }

    /// Whether each file has made sense, and each entry counts: those that are left out may be what is missing.
    fn is_whole(&self, view: &View<Snapshot>) -> bool {
        let is_in_force =
            |rejected: &Rejected| rejected.id.as_ref().is_some_and(|id| view.value.find(id).is_some());
        self.files.values().all(|file| file.services.is_some())
            && view.rejected.iter().all(|(_, rejected)| is_in_force(rejected))
    }

    /// Where each service is written, in the order of files.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&ServiceId, &PathBuf, Position)> {
        let services =
            self.files.iter().flat_map(|(path, file)| file.services.iter().map(move |it| (path, it)));
        services.flat_map(|(path, services)| services.iter().map(move |(id, (at, _))| (id, path, *at)))
    }

    fn read(&mut self, config: &Config, files: Vec<PathBuf>, view: &mut View<Snapshot>, now: Instant) {
        let is_first = self.files.is_empty();
        let mut before = std::mem::take(&mut self.files);
        for path in files {
            let mut file = before.remove(&path).unwrap_or_default();
            file.read(&path, config.max_file_bytes);
            view.fresh |= file.trouble.is_none();
            view.troubles.extend(file.trouble.clone());
            self.files.insert(path, file);
        }
        if !view.fresh {
            // A file in the place of the folder, or a folder in that of the file: what was there is not gone.
            self.files.extend(before);
            return;
        }
        let is_folder = !self.files.contains_key(&config.path);
        let says_none = self.files.values().all(FileView::says_none);
        // Files of a folder may be gone for other reasons than that somebody took them away, also before
        // the first look. What a file says is what somebody wrote.
        let is_unknown = is_first && is_folder && !says_none;
        if is_unknown || before.values().any(|file| file.services.is_none()) {
            self.doubt.begin(now);
        }
        let gone = before.into_values().flat_map(|file| file.services.into_iter().flatten());
        self.doubt.miss(gone.map(|(_, (_, service))| service), now);
    }

    /// One snapshot of all files. The first in name order has a service; the others are told.
    fn merge(&self, view: &mut View<Snapshot>) {
        let mut services: BTreeMap<&ServiceId, (&Path, Position, &Arc<Service>)> = BTreeMap::new();
        for (path, file) in &self.files {
            view.rejected.extend(file.rejected.iter().map(|rejected| (path.clone(), rejected.clone())));
            for (id, (at, service)) in file.services.iter().flatten() {
                if let Some((first, place, _)) = services.get(id) {
                    let first = format!("{}:{}:{}", first.display(), place.line, place.column);
                    view.rejected.push((path.clone(), Rejected::duplicate(*at, id, &first)));
                } else {
                    services.insert(id, (path, *at, service));
                }
            }
        }
        let services = services.into_values().map(|(_, _, service)| Arc::clone(service));
        view.value = Snapshot::new(services).expect("the map's keys are the services' ids");
    }
}

impl FileView {
    fn read(&mut self, path: &Path, max_bytes: u64) {
        match files::read(path, max_bytes) {
            Ok(text) => self.update(path, &text),
            Err(trouble) => {
                self.hash = None;
                self.trouble = Some(trouble);
            }
        }
    }

    /// Whether it can be read and says that there is no service.
    fn says_none(&self) -> bool {
        self.trouble.is_none()
            && self.rejected.is_empty()
            && self.services.as_ref().is_some_and(BTreeMap::is_empty)
    }

    fn update(&mut self, path: &Path, text: &str) {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = Some(hasher.finish());
        let before = std::mem::replace(&mut self.hash, hash);
        if before == hash {
            return;
        }
        if before.is_some() {
            tracing::info!(file = %path.display(), "the file has changed and is read again");
        }
        let Some(format) = Format::of(path) else {
            let expected = "unknown kind of file: expected a name that ends in .toml, .yaml, .yml or .json";
            self.trouble = Some(Trouble::malformed(Problem::of_file(path, expected)));
            return;
        };
        match convert::entries(text, format) {
            Ok(entries) => {
                self.trouble = None;
                self.resolve(path, entries);
            }
            Err(mistake) => self.trouble = Some(Trouble::malformed(mistake.of_file(path))),
        }
    }

    /// Puts the last good version in the place of each entry that makes no sense.
    fn resolve(&mut self, path: &Path, entries: Vec<Entry>) {
        let mut old = self.services.take().unwrap_or_default();
        let mut services: BTreeMap<ServiceId, (Position, Arc<Service>)> = BTreeMap::new();
        let mut nameless = Vec::new();
        self.rejected.clear();
        for Entry { at, id, service, doubles } in entries {
            let Some(id) = id else {
                nameless.push(service.err().unwrap_or_default());
                continue;
            };
            let taken = services.get(&id).map(|(first, _)| *first);
            let instead = match service {
                Ok(service) => {
                    if let Some(first) = taken {
                        let first = format!("{}:{}:{}", path.display(), first.line, first.column);
                        self.rejected.push(Rejected::duplicate(at, &id, &first));
                    } else {
                        if !doubles.is_empty() {
                            self.rejected.push(Rejected::doubles(&id, doubles));
                        }
                        services.insert(id, (at, service));
                    }
                    continue;
                }
                Err(mistakes) => {
                    let last = old.remove(&id).filter(|_| taken.is_none());
                    let instead = last.map_or("", |(_, service)| {
                        services.insert(id.clone(), (at, service));
                        "; its last good version stays in force"
                    });
                    Rejected { id: Some(id), mistakes, instead: instead.to_owned() }
                }
            };
            self.rejected.push(instead);
        }
        let missing: Vec<_> = old.into_iter().filter(|(id, _)| !services.contains_key(id)).collect();
        let instead = kept(&missing, !nameless.is_empty());
        if !nameless.is_empty() {
            services.extend(missing);
        }
        self.rejected.extend(nameless.into_iter().map(|mistakes| Rejected {
            id: None,
            mistakes,
            instead: instead.clone(),
        }));
        self.services = Some(services);
    }
}

fn kept(missing: &[(ServiceId, (Position, Arc<Service>))], any: bool) -> String {
    let hosts: Vec<_> = missing.iter().take(5).map(|(id, _)| id.to_string()).collect();
    match hosts.as_slice() {
        hosts if any && !hosts.is_empty() => {
            format!("; what the file said before stays in force: {}", hosts.join(", "))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
#[path = "last_good/tests.rs"]
mod tests;
