//! From what the stores of rules say to the documents in force.
//!
//! ```text
//!  Feed of each store ──► Library: what each document says, or its last good version ──► Rules: all of them, indexed
//!                             ▲   │                                                        │ watch
//!  disk ── at the start ──────┘   └── what is in force ──► disk                            └──► world, /readyz, ...
//! ```
//!
//! A store that is suddenly empty is believed when it still says so a while later. One that does not answer at the start
//! is stood in for by what is on disk; without that, nothing is served before it has answered.
//!
//! Documents are read on a thread of their own, and written beside that: whoever asks what is known waits for neither.
//! `store_state.rs` is what is known of one store, `disk.rs` reads and writes its file.

mod disk;
mod store_state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use pilot_registry::{Feed, Namespace, Texts};
use tokio::sync::watch;
use tokio::time::Instant;

use super::wait::{next_change, reached};
use crate::rules::{DocumentChange, DocumentId, Entries, Rules, SavedRules, StoreRank, Versions};
use disk::Disk;
use store_state::{StoreLook, StoreState};

/// How a store of rules is treated.
#[derive(Clone, Debug, Default)]
pub struct RulesPolicy {
    /// How long what disappears all at once is held at most; `None` = it is not held.
    pub hold: Option<Duration>,
    /// How long it has to answer at the start before what is on disk counts.
    pub wait: Duration,
    /// Where what is in force is kept; `None` = it is not.
    pub save: Option<SavedRules>,
}

/// A store of rules of pilot.toml, and what is known of it.
#[derive(Clone, Debug)]
pub struct RegisteredRules {
    /// Its name in pilot.toml.
    pub name: Arc<str>,
    /// The adapter's kind: `file`.
    pub kind: &'static str,
    /// 0 is preferred.
    pub priority: u32,
    /// The namespaces of the documents that it may have; none = any.
    pub namespaces: Vec<Namespace>,
    /// What it says, and how it is doing.
    pub feed: Feed<Texts>,
    /// How it is treated.
    pub policy: RulesPolicy,
}

impl RegisteredRules {
    pub(super) fn rank(&self) -> StoreRank {
        StoreRank { priority: self.priority, name: Arc::clone(&self.name) }
    }
}

/// All stores, and what is in force.
pub(super) struct Rulebook {
    stores: Vec<RegisteredRules>,
    /// Locked for as long as documents are read, so by nobody but who takes them in.
    shelves: Mutex<Shelves>,
    shown: watch::Sender<Shown>,
    disks: Vec<Disk>,
}

struct Shelves {
    began: Option<Instant>,
    of_stores: Vec<StoreState>,
}

/// A store that does not count yet.
pub(super) struct Unknown<'a> {
    pub(super) store: &'a RegisteredRules,
    /// Why what is on disk does not stand in for it, if there is something.
    pub(super) disk: Option<String>,
}

/// What was taken in. A copy costs nothing.
#[derive(Clone, Default)]
pub(super) struct Shown {
    /// Counts how often something was taken in.
    generation: u64,
    rules: Rules,
    /// In the order of stores.
    of_stores: Vec<OfStore>,
}

/// What was taken in of one store.
#[derive(Clone, Default)]
struct OfStore {
    /// It counts: it has answered, or is stood in for.
    is_known: bool,
    /// The revision that was taken in last.
    seen: Option<u64>,
    /// What it says is not believed yet.
    is_held: bool,
    entries: Entries,
    /// What is in force of what it said since pilot started; `None` = it has said nothing.
    said: Option<Versions>,
}

impl Rulebook {
    pub(super) fn new(stores: Vec<RegisteredRules>) -> Self {
        let of_stores = stores.iter().map(|store| StoreState::of(store.namespaces.clone())).collect();
        let shown = Shown { of_stores: vec![OfStore::default(); stores.len()], ..Shown::default() };
        Self {
            disks: stores.iter().map(|_| Disk::default()).collect(),
            stores,
            shelves: Mutex::new(Shelves { began: None, of_stores }),
            shown: watch::Sender::new(shown),
        }
    }

    pub(super) fn stores(&self) -> &[RegisteredRules] {
        &self.stores
    }

    /// Follows what is in force.
    pub(super) fn subscribe(&self) -> watch::Receiver<Shown> {
        self.shown.subscribe()
    }

    /// What is in force, with the number that [`entries`](Self::entries) gives with it; `None` = a store is waited for.
    pub(super) fn in_force(&self) -> (u64, Option<Rules>) {
        let shown = self.shown.borrow();
        let is_known = shown.of_stores.iter().all(|store| store.is_known);
        (shown.generation, is_known.then(|| shown.rules.clone()))
    }

    /// The documents of each store, and a number that is another one when they may be others.
    pub(super) fn entries(&self) -> (u64, Vec<Entries>) {
        let shown = self.shown.borrow();
        (shown.generation, shown.of_stores.iter().map(|store| store.entries.clone()).collect())
    }

    /// The number that [`entries`](Self::entries) gives now.
    pub(super) fn generation(&self) -> u64 {
        self.shown.borrow().generation
    }

    /// Whether a store says something that was not taken in yet.
    pub(super) fn is_behind(&self) -> bool {
        let shown = self.shown.borrow();
        self.stores.iter().zip(&shown.of_stores).any(|(store, shown)| {
            let said = store.feed.published().map(|published| published.revision);
            !shown.is_held && said.is_some() && said != shown.seen
        })
    }

    /// The stores of which nothing is known.
    pub(super) fn unknown(&self) -> Vec<Unknown<'_>> {
        let shown = self.shown.borrow();
        let of_each = self.stores.iter().zip(&self.disks).zip(&shown.of_stores);
        let unknown = of_each.filter(|(_, shown)| !shown.is_known);
        unknown.map(|((store, disk), _)| Unknown { store, disk: disk.error() }).collect()
    }

    /// The stores, by name, that say that they have no document any more, and are not believed yet.
    pub(super) fn held(&self) -> BTreeSet<Arc<str>> {
        let shown = self.shown.borrow();
        let held = self.stores.iter().zip(&shown.of_stores).filter(|(_, shown)| shown.is_held);
        held.map(|(store, _)| Arc::clone(&store.name)).collect()
    }

    /// Takes in what the stores say, and keeps it on disk, for ever.
    pub(super) async fn follow(self: &Arc<Self>) {
        self.load().await;
        tokio::join!(self.follow_stores(), self.keep_saved());
    }

    async fn follow_stores(self: &Arc<Self>) -> Infallible {
        let mut changes: FuturesUnordered<_> =
            self.stores.iter().map(|store| next_change(store.feed.subscribe())).collect();
        loop {
            let book = Arc::clone(self);
            let taken = tokio::task::spawn_blocking(move || book.take(Instant::now())).await;
            let due = taken.unwrap_or_else(|error| {
                tracing::error!(%error, "taking in rules failed, which is a bug: all stays as it was");
                None
            });
            tokio::select! {
                Some(receiver) = changes.next() => changes.push(next_change(receiver)),
                () = reached(due) => {}
            }
        }
    }

    /// Takes in what the stores say. Gives when to look again though no store says anything new. Takes its time where
    /// many documents have changed: for a thread that may wait.
    fn take(&self, now: Instant) -> Option<Instant> {
        let mut shelves = self.shelves.lock();
        let Shelves { began, of_stores } = &mut *shelves;
        let began = *began.get_or_insert(now);
        let mut due: Option<Instant> = None;
        for (at, (store, state)) in self.stores.iter().zip(of_stores).enumerate() {
            let StoreLook { taken, until } = state.look(store, began, now);
            due = until.into_iter().chain(due).min();
            match taken {
                Some(changed) => self.show(at, state, changed),
                None => self.show_held(at, state.is_held()),
            }
        }
        due
    }

    /// Tells others what was taken in of a store: in `changed`, something else is in force.
    fn show(&self, at: usize, state: &StoreState, changed: Vec<DocumentId>) {
        let in_force = state.library.in_force();
        let change = |id: DocumentId| {
            let now = in_force.get(&id).cloned();
            DocumentChange { store: self.stores[at].rank(), id, now }
        };
        // Made beside what others read, and put in its place when it is there.
        let mut next = self.shown.borrow().clone();
        next.generation += 1;
        next.rules = next.rules.with(changed.into_iter().map(change)).0;
        next.of_stores[at] = OfStore {
            is_known: state.is_known,
            seen: state.seen,
            is_held: state.is_held(),
            entries: state.library.entries().clone(),
            said: state.seen.is_some().then(|| in_force.clone()),
        };
        self.shown.send_replace(next);
    }

    fn show_held(&self, at: usize, is_held: bool) {
        self.shown.send_if_modified(|shown| {
            std::mem::replace(&mut shown.of_stores[at].is_held, is_held) != is_held
        });
    }
}
