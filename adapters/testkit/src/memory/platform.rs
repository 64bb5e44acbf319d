//! The platform: entries by name, a revision per change, a history to watch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot_registry::{RegistryError, Service};
use tokio::sync::watch;

/// How many entries one page of a list has.
const PAGE: usize = 100;

/// What the platform holds by a name.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A service.
    Service(Arc<Service>),
    /// Something that makes no sense, and why.
    Malformed(String),
}

/// A complete list, and the revision at which it was true.
#[derive(Clone, Debug)]
pub struct Listing {
    /// To watch from.
    pub revision: u64,
    /// All entries.
    pub entries: BTreeMap<String, Entry>,
}

/// What a watch brings.
#[derive(Clone, Debug)]
pub enum Update {
    /// These names have these entries now, or none; true at that revision.
    Changed(u64, Vec<(String, Option<Entry>)>),
    /// The history since the revision that was asked for is lost: list again.
    Compacted,
}

/// The platform. Clones are the same platform.
#[derive(Clone, Debug)]
pub struct MemoryPlatform {
    world: Arc<watch::Sender<World>>,
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) token: String,
    pub(super) cut_off: bool,
    pub(super) denied: bool,
    pub(super) garbled: bool,
    pub(super) stalled: bool,
    history: Vec<(u64, String)>,
    revision: u64,
    compacted: u64,
    /// Connections that were opened before a cut are broken after it.
    cuts: u64,
    connections: usize,
    waiting: usize,
}

impl MemoryPlatform {
    /// An empty platform that lets in whoever has that token.
    pub fn new(token: &str) -> Self {
        let world = World { token: token.to_owned(), ..World::default() };
        Self { world: Arc::new(watch::Sender::new(world)) }
    }

    /// Connects to it.
    ///
    /// # Errors
    /// It is cut off, or does not accept the token.
    pub fn connect(&self, token: &str) -> Result<Connection, RegistryError> {
        let refused = {
            let world = self.world.borrow();
            world.refusal().or_else(|| (world.token != token).then(denied))
        };
        if let Some(error) = refused {
            return Err(error);
        }
        self.world.send_modify(|world| world.connections += 1);
        let cuts = self.world.borrow().cuts;
        Ok(Connection { world: self.world.subscribe(), platform: self.clone(), cuts })
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.world.borrow().connections
    }

    pub(super) fn set(&self, name: &str, entry: Option<Entry>) {
        self.world.send_modify(|world| {
            match entry {
                Some(entry) => _ = world.entries.insert(name.to_owned(), entry),
                None => _ = world.entries.remove(name),
            }
            world.revision += 1;
            world.history.push((world.revision, name.to_owned()));
        });
    }

    pub(super) fn compact(&self) {
        self.world.send_modify(|world| {
            world.history.clear();
            world.revision += 1;
            world.compacted = world.revision;
        });
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut World)) {
        self.world.send_modify(change);
    }

    pub(super) fn cut(&self) {
        self.world.send_modify(|world| {
            world.cut_off = true;
            world.cuts += 1;
        });
    }

    pub(super) fn entries(&self) -> BTreeMap<String, Entry> {
        self.world.borrow().entries.clone()
    }

    pub(super) async fn somebody_waits(&self) {
        let mut world = self.world.subscribe();
        let waits = world.wait_for(|world| world.waiting > 0).await;
        waits.expect("the platform itself keeps the channel open");
    }
}

impl World {
    fn refusal(&self) -> Option<RegistryError> {
        match self {
            Self { cut_off: true, .. } => Some(broken("connecting")),
            Self { denied: true, .. } => Some(denied()),
            _ => None,
        }
    }

    fn trouble(&self, cuts: u64) -> Option<RegistryError> {
        if self.cuts != cuts { Some(broken("reading")) } else { self.refusal() }
    }

    fn since(&self, revision: u64) -> Option<Update> {
        if revision < self.compacted {
            return Some(Update::Compacted);
        }
        let newer = self.history.iter().filter(|(at, _)| *at > revision);
        let names: BTreeSet<&String> = newer.map(|(_, name)| name).collect();
        let entry = |name: &String| (name.clone(), self.entries.get(name).cloned());
        let changed: Vec<_> = names.into_iter().map(entry).collect();
        (!changed.is_empty()).then_some(Update::Changed(self.revision, changed))
    }
}

fn broken(doing: &str) -> RegistryError {
    RegistryError::unavailable(format!("{doing} the platform in memory: it is cut off"))
}

fn denied() -> RegistryError {
    RegistryError::denied("the platform in memory does not accept the token")
}

/// A connection to the platform, until it is dropped.
#[derive(Debug)]
pub struct Connection {
    platform: MemoryPlatform,
    world: watch::Receiver<World>,
    cuts: u64,
}

impl Connection {
    /// Lists everything, page by page.
    ///
    /// # Errors
    /// The connection broke, or the answer made no sense.
    pub async fn list(&mut self) -> Result<Listing, RegistryError> {
        let mut entries = BTreeMap::new();
        // The pages of a list may be of different revisions: the watch begins at that of the first, so
        // whatever changed meanwhile comes once more.
        let revision = self.world.borrow().revision;
        loop {
            let page = self.page(entries.keys().next_back())?;
            let is_last = page.len() < PAGE;
            entries.extend(page);
            self.not_stalled().await?;
            if is_last {
                return Ok(Listing { revision, entries });
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits for a change after that revision.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn changes(&mut self, since: u64) -> Result<Update, RegistryError> {
        loop {
            {
                let world = self.world.borrow_and_update();
                if let Some(error) = world.trouble(self.cuts) {
                    return Err(error);
                }
                if let Some(update) = world.since(since) {
                    return Ok(update);
                }
            }
            self.next().await;
        }
    }

    /// The page of names after `after`.
    fn page(&self, after: Option<&String>) -> Result<BTreeMap<String, Entry>, RegistryError> {
        let world = self.world.borrow();
        if let Some(error) = world.trouble(self.cuts) {
            return Err(error);
        }
        if world.garbled {
            return Err(RegistryError::malformed("the list of the platform in memory is no list"));
        }
        let rest = world.entries.iter().filter(|(name, _)| after.is_none_or(|after| *name > after));
        Ok(rest.take(PAGE).map(|(name, entry)| (name.clone(), entry.clone())).collect())
    }

    async fn not_stalled(&mut self) -> Result<(), RegistryError> {
        if !self.world.borrow().stalled {
            return Ok(());
        }
        let _waiting = Waiting::new(self.platform.clone());
        loop {
            {
                let world = self.world.borrow_and_update();
                if let Some(error) = world.trouble(self.cuts) {
                    return Err(error);
                }
                if !world.stalled {
                    return Ok(());
                }
            }
            self.next().await;
        }
    }

    async fn next(&mut self) {
        self.world.changed().await.expect("the connection itself keeps the platform");
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.platform.change(|world| world.connections -= 1);
    }
}

/// Counted for as long as it lives.
struct Waiting(MemoryPlatform);

impl Waiting {
    fn new(platform: MemoryPlatform) -> Self {
        platform.change(|world| world.waiting += 1);
        Self(platform)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.change(|world| world.waiting -= 1);
    }
}
