//! The services that are followed, and the hosts that come of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use pilot_registry::{Hostname, Service, Snapshot, SnapshotSink};

use super::index::Index;
use super::reply::{Ask, Key};
use crate::convert::{self, Built, Content};

/// A service that is followed.
#[derive(Debug)]
pub(super) struct Tracked {
    /// Tells it from one of the same name that was removed.
    pub(super) generation: u64,
    pub(super) index: Index,
    /// The question that is open.
    pub(super) open: Option<Ask>,
    /// Whether to ask again when the open question is answered.
    pub(super) again: bool,
    /// When it changed last, counted in changes.
    changed: u64,
    /// `None` until it has been read.
    content: Option<(u64, Content)>,
}

/// All of them, and their hosts.
#[derive(Debug, Default)]
pub(super) struct Services {
    tracked: BTreeMap<Key, Tracked>,
    hosts: BTreeMap<Hostname, BTreeSet<Key>>,
    built: BTreeMap<Hostname, Result<Built, String>>,
    generations: u64,
    changes: u64,
    unread: usize,
}

/// The same content has the same hash; it is compared with the last one only.
pub(super) fn hash(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

impl Services {
    pub(super) fn len(&self) -> usize {
        self.tracked.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.tracked.keys()
    }

    /// All, the one that changed last first: what has just changed is likely to change again.
    pub(super) fn latest_first(&self) -> Vec<Key> {
        let mut all: Vec<_> = self.tracked.iter().collect();
        all.sort_by_key(|(_, one)| Reverse(one.changed));
        all.into_iter().map(|(key, _)| key.clone()).collect()
    }

    /// Whether each has been read.
    pub(super) fn complete(&self) -> bool {
        self.unread == 0
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Tracked> {
        self.tracked.get_mut(key)
    }

    /// Those of a datacenter with an instance on that node.
    pub(super) fn on_node<'a>(&'a self, datacenter: usize, node: &'a str) -> impl Iterator<Item = &'a Key> {
        let there = move |key: &Key, one: &Tracked| {
            let content = one.content.as_ref();
            key.datacenter == datacenter && content.is_some_and(|(_, content)| content.nodes.contains(node))
        };
        self.tracked.iter().filter(move |(key, one)| there(key, one)).map(|(key, _)| key)
    }

    /// Follows one more.
    pub(super) fn add(&mut self, key: Key) {
        self.generations += 1;
        self.unread += 1;
        let generation = self.generations;
        let index = Index::default();
        let tracked = Tracked { generation, index, open: None, again: false, changed: 0, content: None };
        self.tracked.insert(key, tracked);
    }

    /// Follows one no longer.
    pub(super) fn remove(&mut self, key: &Key) {
        let Some(gone) = self.tracked.remove(key) else { return };
        match gone.content {
            Some((_, content)) => self.leave(key, content.host.as_ref()),
            None => self.unread -= 1,
        }
    }

    /// Whether the last answer about it was another one.
    pub(super) fn differs(&self, key: &Key, hash: u64) -> bool {
        let known = self.tracked.get(key).and_then(|one| one.content.as_ref());
        known.is_none_or(|(last, _)| *last != hash)
    }

    /// Takes what is known of one now. Whether that changes anything.
    pub(super) fn set(&mut self, key: &Key, hash: u64, content: Content) -> bool {
        let Some(tracked) = self.tracked.get_mut(key) else { return false };
        let before = match tracked.content.take() {
            Some((_, before)) => before,
            None => {
                self.unread -= 1;
                Content::default()
            }
        };
        let same = before == content;
        let host = content.host.clone();
        tracked.content = Some((hash, content));
        if same {
            return false;
        }
        self.changes += 1;
        tracked.changed = self.changes;
        if before.host != host {
            self.leave(key, before.host.as_ref());
        }
        if let Some(host) = host {
            self.hosts.entry(host.clone()).or_default().insert(key.clone());
            self.build(&host);
        }
        true
    }

    fn leave(&mut self, key: &Key, host: Option<&Hostname>) {
        let Some(host) = host else { return };
        if let Some(keys) = self.hosts.get_mut(host) {
            keys.remove(key);
        }
        self.build(host);
    }

    /// Makes the service of a host anew, of all that have it.
    fn build(&mut self, host: &Hostname) {
        let keys = self.hosts.get(host).into_iter().flatten();
        let contents = keys.filter_map(|key| self.tracked.get(key)?.content.as_ref());
        let built = convert::service(host, contents.flat_map(|(_, content)| &content.instances));
        match built.transpose() {
            Some(built) => _ = self.built.insert(host.clone(), built),
            None => {
                self.built.remove(host);
                self.hosts.remove(host);
            }
        }
    }

    /// Publishes all, and says what is left out.
    pub(super) fn publish(&self, sink: &SnapshotSink) {
        for (key, content) in self.contents() {
            if content.empty {
                let why = "consul lists it and shows none of its instances: may the token read its nodes?";
                sink.skipped(&*key.name, why);
            }
            content.skipped.iter().for_each(|(entry, why)| sink.skipped(entry, why));
        }
        for (host, built) in &self.built {
            let why = built.as_ref().map_or_else(Some, |built| built.left_out.as_ref());
            why.into_iter().for_each(|why| sink.skipped(host.as_str(), why));
        }
        let services = self.built.values().filter_map(|built| built.as_ref().ok());
        let services = services.map(|built| Arc::clone(&built.service)).collect::<Vec<Arc<Service>>>();
        sink.publish(Snapshot::new(services).expect("each host has one service"));
    }

    fn contents(&self) -> impl Iterator<Item = (&Key, &Content)> {
        self.tracked.iter().filter_map(|(key, one)| one.content.as_ref().map(|(_, content)| (key, content)))
    }
}
