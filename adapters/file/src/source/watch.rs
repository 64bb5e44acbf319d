//! Change events from the system.
//!
//! A watch on a file sees neither its replacement by rename nor a swapped symbolic link. So the adapter
//! watches directories: every directory on the path to every file, through all symbolic links, from the root
//! on. Only events of the names on that path count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use pilot_registry::ErrorKind;

use super::changes::Changes;
use crate::Problem;
use crate::files::{self, Trouble};

/// As many symbolic links as Linux follows in one path.
const MAX_LINKS: usize = 40;

/// Watches until it is dropped.
pub(super) struct Watch {
    way: Way,
    watcher: RecommendedWatcher,
    /// Directories of the way that could not be watched: gone again, or not to be listed. Tried again with
    /// each look, since a change of their permission changes nothing of the way.
    refused: BTreeSet<PathBuf>,
    /// A directory of the way was deleted or moved, which ended its watch. One that takes its place may
    /// have the same inode, and the one that was moved comes back with its own.
    lost: Arc<AtomicBool>,
}

/// Which directories lead to the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Way {
    /// The directories with their device and inode: another directory of the same name is another way.
    directories: BTreeMap<PathBuf, (u64, u64)>,
    /// The names on the way. What happens to them matters.
    names: BTreeSet<PathBuf>,
    /// The folder, resolved, when it is one: what happens to files in it matters.
    folder: Option<PathBuf>,
}

/// Sees to it that `watch` watches the way to `path` as it is now.
///
/// # Errors
/// The system gives no notice of changes of some directory.
pub(super) fn arm(watch: &mut Option<Watch>, path: &Path, changes: &Arc<Changes>) -> Result<(), Trouble> {
    // The way may change between looking at it and watching it.
    for _ in 0..4 {
        let way = Way::to(path);
        let armed = match watch.take_if(|watch| watch.way == way) {
            Some(mut same) if !same.is_lost() => same.retry().map(|news| (same, news)),
            // The old one is kept until the new one watches.
            _ => Watch::new(way, changes).map(|new| (new, true)),
        };
        let (new, again) = armed.map_err(|refusal| unwatched(watch, &refusal))?;
        *watch = Some(new);
        if !again {
            return Ok(());
        }
    }
    // It changes all the time, and each change wakes us.
    changes.wake();
    Ok(())
}

type Refusal = (PathBuf, notify::Error);

fn unwatched(watch: &mut Option<Watch>, (directory, error): &Refusal) -> Trouble {
    *watch = None;
    let message = format!("changes are looked for every second: no notice of them: {error}");
    Trouble { kind: ErrorKind::Unavailable, problem: Problem::of_file(directory, message) }
}

impl Watch {
    fn new(way: Way, changes: &Arc<Changes>) -> Result<Self, Refusal> {
        let (matters, changes) = (way.clone(), Arc::clone(changes));
        let lost = Arc::new(AtomicBool::new(false));
        let losing = Arc::clone(&lost);
        let on_event = move |event: notify::Result<Event>| match event {
            Ok(event) if matters.matters(&event) => {
                losing.fetch_or(matters.loses(&event), Ordering::Relaxed);
                changes.note(&event);
            }
            Ok(_) => {}
            Err(_) => changes.wake(),
        };
        let watcher = notify::recommended_watcher(on_event).map_err(|error| (PathBuf::new(), error))?;
        let refused = way.directories.keys().cloned().collect();
        let mut watch = Self { way, watcher, refused, lost };
        watch.retry()?;
        Ok(watch)
    }

    /// Watches the directories that are not watched yet, and says whether there are any that now are.
    fn retry(&mut self) -> Result<bool, Refusal> {
        let mut refused = BTreeSet::new();
        for directory in &self.refused {
            match self.watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(error) if is_missing_or_denied(&error) => _ = refused.insert(directory.clone()),
                Err(error) => return Err((directory.clone(), error)),
            }
        }
        let news = refused.len() < self.refused.len();
        self.refused = refused;
        Ok(news)
    }

    /// Whether the system tells every change on the way.
    pub(super) fn sees_all(&self) -> bool {
        self.refused.is_empty()
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

fn is_missing_or_denied(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound | notify::ErrorKind::WatchNotFound => true,
        notify::ErrorKind::Io(error) => {
            matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied)
        }
        _ => false,
    }
}

impl Way {
    fn to(path: &Path) -> Self {
        let mut way = Self::default();
        let Ok(path) = std::path::absolute(path) else { return way };
        let Some(end) = way.follow(&path) else { return way };
        if let Ok(metadata) = std::fs::metadata(&end)
            && metadata.is_dir()
        {
            way.directories.insert(end.clone(), (metadata.dev(), metadata.ino()));
            let entries = std::fs::read_dir(&end).into_iter().flatten().flatten();
            for file in entries.map(|entry| entry.path()).filter(|file| files::is_candidate(file)) {
                // Other files are seen in the folder itself.
                if file.is_symlink() {
                    way.follow(&file);
                }
            }
            way.folder = Some(end);
        }
        way
    }

    /// Adds every directory and every name on the way to an absolute path, and says where it ends: as far
    /// as it exists, or `None` when its links lead nowhere.
    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        let mut rest: VecDeque<OsString> = names(path);
        let mut here = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            let metadata = std::fs::metadata(&here).ok().filter(|metadata| metadata.is_dir())?;
            self.directories.insert(here.clone(), (metadata.dev(), metadata.ino()));
            let next = here.join(name);
            self.names.insert(next.clone());
            match std::fs::read_link(&next) {
                Ok(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    let mut target = names(&target);
                    target.append(&mut rest);
                    rest = target;
                }
                Err(_) => here = next,
            }
        }
        Some(here)
    }

    fn matters(&self, event: &Event) -> bool {
        // Reading is no change, ours least of all.
        let reads =
            matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
        let concerns = |path: &PathBuf| {
            self.names.contains(path)
                || self.folder.as_deref().is_some_and(|folder| {
                    path == folder || (path.parent() == Some(folder) && files::is_candidate(path))
                })
        };
        event.need_rescan() || (!reads && event.paths.iter().any(concerns))
    }

    /// Whether a directory of the way may be no longer watched after that.
    fn loses(&self, event: &Event) -> bool {
        let goes = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        event.need_rescan() || goes && event.paths.iter().any(|path| self.directories.contains_key(path))
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(_) | Component::ParentDir => Some(component.as_os_str().to_owned()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use notify::event::{CreateKind, RemoveKind};

    use super::*;

    #[test]
    fn the_way_leads_through_every_link_and_only_its_names_matter() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("far/1")).unwrap();
        symlink("../far/1", root.join("far/data")).unwrap();
        symlink("far/data/a.toml", root.join("a.toml")).unwrap();
        let way = Way::to(&root.join("a.toml"));
        // The file itself is not there yet: its name is watched for.
        for name in ["a.toml", "far", "far/data", "far/1", "far/1/a.toml"] {
            assert!(way.names.contains(&root.join(name)), "{name}: {way:?}");
        }
        let happens = |name: &str| {
            let event = Event::new(EventKind::Create(CreateKind::Any)).add_path(root.join(name));
            way.matters(&event)
        };
        assert!(happens("far/data"));
        assert!(!happens("far/other"));
        let removed =
            |name: &str| way.loses(&Event::new(EventKind::Remove(RemoveKind::Any)).add_path(root.join(name)));
        assert!(removed("far/1"));
        assert!(!removed("far/data") && !removed("far/1/a.toml"), "no directories");
    }

    #[test]
    fn a_directory_that_could_not_be_watched_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("closed");
        fs::create_dir(&closed).unwrap();
        let way = Way::to(&closed);
        // Gone, it is refused like one without permission, and whoever runs the test.
        fs::remove_dir(&closed).unwrap();
        let mut watch = Watch::new(way, &Arc::default()).unwrap();
        assert_eq!(watch.refused, [closed.clone()].into());
        assert!(!watch.retry().unwrap() && !watch.sees_all());
        fs::create_dir(&closed).unwrap();
        assert!(watch.retry().unwrap() && watch.sees_all());
        assert!(!watch.retry().unwrap());
    }

    #[test]
    fn links_in_a_circle_end() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        let way = Way::to(&folder.path().join("a"));
        assert!(way.folder.is_none() && way.names.contains(&folder.path().join("b")), "{way:?}");
    }
}
