//! What is known of one store of rules, and when it is believed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{Namespace, Published, RegistryHealth, Texts};
use tokio::time::Instant;

use super::RegisteredRules;
use crate::rules::{DEFAULT_NAMESPACE, DocumentId, Entry, Library, Taken, Version};
use crate::world::conflicts::{ONE_BY_ONE, more};

/// A store that lost everything says so for this part of the guard's time before it is believed.
const PAUSE: u32 = 3;
/// While something is held, the store is looked at so often.
const LOOK: Duration = Duration::from_secs(1);

/// Why what an earlier pilot left stands in for a store.
const SILENT: &str = "the store has not answered since pilot was started";
const LOST: &str = "the store says that all of its documents are gone, which is held back";

/// What is known of one store.
pub(super) struct StoreState {
    pub(super) library: Library,
    /// The revision that was taken in last.
    pub(super) seen: Option<u64>,
    /// It counts: it has answered, or is stood in for.
    pub(super) is_known: bool,
    /// An earlier pilot left what was in force, be it nothing: it may stand in for the store.
    has_left: bool,
    /// Nothing is believed before.
    held_until: Option<Instant>,
    /// What was said of documents, by place.
    said: BTreeMap<Arc<str>, BTreeSet<String>>,
}

/// What one look at a store shows.
#[derive(Default)]
pub(super) struct StoreLook {
    /// Something was taken in, and of these documents something else is in force.
    pub(super) taken: Option<Vec<DocumentId>>,
    /// When to look again, though the store says nothing new.
    pub(super) until: Option<Instant>,
}

impl StoreLook {
    fn taken(changed: Vec<DocumentId>) -> Self {
        Self { taken: Some(changed), until: None }
    }
}

impl StoreState {
    /// Nothing is known of a store that may have documents of these namespaces only; none = of any.
    pub(super) fn of(namespaces: Vec<Namespace>) -> Self {
        let (library, said) = (Library::of(namespaces), BTreeMap::new());
        Self { library, seen: None, is_known: false, has_left: false, held_until: None, said }
    }

    /// Takes in what an earlier pilot left.
    pub(super) fn resume(&mut self, left: Vec<Arc<Version>>) {
        self.has_left = true;
        self.library.resume(left);
    }

    /// Whether what the store says is not believed yet.
    pub(super) fn is_held(&self) -> bool {
        self.held_until.is_some()
    }

    /// Takes in what the store says.
    pub(super) fn look(&mut self, store: &RegisteredRules, began: Instant, now: Instant) -> StoreLook {
        let Some(published) = store.feed.published() else { return self.stand_in(store, began, now) };
        if self.seen == Some(published.revision) && self.held_until.is_none() {
            return StoreLook::default();
        }
        if let Some(until) = self.held(store, &published, now) {
            // What was lost while no pilot ran is in force, too.
            let taken = (!std::mem::replace(&mut self.is_known, true)).then(|| self.library.stand_in(LOST));
            return StoreLook { taken, until: Some(until) };
        }
        (self.seen, self.is_known) = (Some(published.revision), true);
        let Taken { documents, places } = self.library.take(&published.value, DEFAULT_NAMESPACE);
        self.tell(&store.name, &places, !documents.is_empty());
        StoreLook::taken(documents)
    }

    /// What is on disk counts for a store that fails, or does not answer in time.
    fn stand_in(&mut self, store: &RegisteredRules, began: Instant, now: Instant) -> StoreLook {
        if self.is_known || !self.has_left {
            return StoreLook::default();
        }
        let due = began + store.policy.wait;
        if now < due && !matches!(store.feed.health(), RegistryHealth::Degraded(_)) {
            return StoreLook { taken: None, until: Some(due) };
        }
        let changed = self.library.stand_in(SILENT);
        self.is_known = true;
        tracing::warn!(
            store = &*store.name,
            documents = changed.len(),
            "store of rules does not answer: what was in force before is in force"
        );
        StoreLook::taken(changed)
    }

    /// Until when what the store says is not believed: all documents are gone at once, and nobody meant it.
    fn held(&mut self, store: &RegisteredRules, said: &Published<Texts>, now: Instant) -> Option<Instant> {
        let is_lost = said.value.is_empty() && !said.value.is_deliberate() && self.library.has_known();
        let Some(hold) = store.policy.hold.filter(|_| is_lost) else {
            self.held_until = None;
            return None;
        };
        let until = *self.held_until.get_or_insert_with(|| {
            let store = &*store.name;
            tracing::warn!(store, "all documents of a store are gone at once, which is held back");
            said.changed.max(now) + hold / PAUSE
        });
        if now < until {
            return Some(until);
        }
        // A store in trouble confirms nothing: what it said may be a part of the trouble.
        let is_in_trouble = store.feed.with_state(|state| state.troubles().any(|it| it.since > said.checked));
        if is_in_trouble || said.checked < until && now < until + hold {
            return Some(now + LOOK);
        }
        self.held_until = None;
        None
    }

    /// Says what there is to say of the documents of these places, once.
    fn tell(&mut self, store: &str, places: &BTreeSet<Arc<str>>, changed: bool) {
        let mut new = 0;
        for place in places {
            let before = self.said.remove(place).unwrap_or_default();
            let mut said = BTreeSet::new();
            let entries = self.library.entries().at(place).iter();
            for (entry, finding) in entries.flat_map(|entry| entry.findings.iter().map(move |it| (entry, it)))
            {
                let line = format!("{place}:{finding}");
                if !before.contains(&line) && !said.contains(&line) {
                    new += 1;
                    if new <= ONE_BY_ONE {
                        tell_of(store, entry, &line);
                    }
                }
                said.insert(line);
            }
            if !said.is_empty() {
                self.said.insert(Arc::clone(place), said);
            }
        }
        if let Some(more) = more(new) {
            tracing::warn!(store, more, "there is more to say of documents: `pilot rules` shows all");
        }
        if changed {
            tracing::info!(store, documents = self.library.in_force().len(), "rules have changed");
        }
    }
}

fn tell_of(store: &str, entry: &Entry, problem: &str) {
    let document = entry.id.as_ref().map(ToString::to_string).unwrap_or_default();
    match entry.is_rejected() {
        true => {
            tracing::warn!(store, document, problem, in_force = ?entry.in_force, "document is rejected")
        }
        false => tracing::warn!(store, document, problem, "document is in force"),
    }
}
