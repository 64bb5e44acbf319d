//! The followed services, and the hosts that they make.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use pilot_registry::{ErrorKind, Hostname, Lent, RegistryError, Service, Snapshot, SnapshotSink};
use tokio::time::Instant;

use super::index::Index;
use super::memory::Remembered;
use super::reply::{Ask, Key};
use super::view::View;
use crate::Config;
use crate::convert::{self, Built, Content, Defaults};

/// A service that is followed.
#[derive(Debug)]
pub(super) struct Tracked {
    /// Tells it from one of the same name that was removed.
    pub(super) generation: u64,
    pub(super) index: Index,
    /// What the agent's view of it is believed.
    pub(super) view: View,
    /// The question that is open.
    pub(super) open: Option<Ask>,
    /// Whether to ask again when the open question is answered.
    pub(super) again: bool,
    /// When a long poll was begun last.
    pub(super) asked: Option<Instant>,
    /// Why the last answer could not be used. The content is of one before.
    pub(super) refused: Option<RegistryError>,
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
    /// What was known in the attempt before, until all has been read in this one; and what was settled of each
    /// host.
    remembered: Lent<Remembered>,
    defaults: Defaults,
    generations: u64,
    changes: u64,
    unread: usize,
    /// Whether the list of names of each datacenter has been read.
    listed: bool,
    /// Whether everything has been read once, and hosts are made as answers come.
    begun: bool,
}

/// The same content has the same hash; it is compared with the last one only.
pub(super) fn hash(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

impl Services {
    /// None yet. What they remember is there again for the next attempt, however this one ends.
    pub(super) fn new(config: &Config, remembered: Lent<Remembered>) -> Self {
        let mut services = Self::default();
        services.defaults = config.into();
        services.remembered = remembered;
        services
    }

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

    /// Takes it that all services that there are have been added: each datacenter has said its names.
    pub(super) fn all_listed(&mut self) {
        self.listed = true;
    }

    /// Whether all are known, and each has been read.
    pub(super) fn complete(&self) -> bool {
        self.listed && self.unread == 0
    }

    /// Makes all hosts, once everything has been read for the first time. What is settled of a host then depends
    /// on all that there is and on what was settled in the attempt before, not on which answer came first.
    pub(super) fn begin(&mut self) {
        if self.begun || !self.complete() {
            return;
        }
        self.begun = true;
        self.remembered.contents.clear();
        let hosts: Vec<Hostname> = self.hosts.keys().cloned().collect();
        hosts.iter().for_each(|host| self.build(host));
        self.remembered.all_vanished_but(|host| self.hosts.contains_key(host));
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Tracked> {
        self.tracked.get_mut(key)
    }

    /// Forgets what views were judged by.
    pub(super) fn forget_views(&mut self) {
        self.tracked.values_mut().for_each(|one| one.view = View::default());
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
        let tracked = Tracked {
            generation,
            index,
            view: View::default(),
            open: None,
            again: false,
            asked: None,
            refused: None,
            changed: 0,
            content: None,
        };
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
        let usable = self.tracked.get(key).filter(|one| one.refused.is_none());
        let known = usable.and_then(|one| one.content.as_ref());
        known.is_none_or(|(last, _)| *last != hash)
    }

    /// What is known of one, be it from the attempt before.
    pub(super) fn known(&self, key: &Key) -> Option<&Content> {
        let tracked = self.tracked.get(key).and_then(|one| one.content.as_ref());
        tracked.or_else(|| self.remembered.contents.get(key)).map(|(_, content)| content)
    }

    /// Takes what is known of one now. Whether that changes anything.
    pub(super) fn set(&mut self, key: &Key, hash: u64, content: Content) -> bool {
        let Some(tracked) = self.tracked.get_mut(key) else { return false };
        let refused = tracked.refused.take().is_some();
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
            return refused;
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

    /// Takes it that nothing of use is said of one now: what was known of it stays. Whether that is new.
    pub(super) fn refuse(&mut self, key: &Key, error: RegistryError) -> bool {
        let Some(tracked) = self.tracked.get(key) else { return false };
        if tracked.content.is_none() {
            let (hash, content) = self.remembered.contents.remove(key).unwrap_or_default();
            self.set(key, hash, content);
        }
        let tracked = self.tracked.get_mut(key);
        tracked.is_some_and(|tracked| tracked.refused.replace(error).is_none())
    }

    /// The error of one, if there are services and nothing of use is said of any.
    pub(super) fn all_refused(&self) -> Option<RegistryError> {
        let all = self.tracked.values().all(|one| one.refused.is_some());
        self.tracked.values().find_map(|one| one.refused.clone()).filter(|_| all)
    }

    /// Why the token may not read some service of which instances are known.
    pub(super) fn denied(&self) -> Option<RegistryError> {
        let known = |one: &&Tracked| one.content.as_ref().is_some_and(|(_, content)| content.host.is_some());
        let mut refused = self.tracked.values().filter(known).filter_map(|one| one.refused.as_ref());
        let refused = refused.find(|error| error.kind() == ErrorKind::Denied).cloned();
        refused.or_else(|| {
            let keeps = |one: &Tracked| one.content.as_ref().is_some_and(|(_, content)| content.kept > 0);
            let (key, _) = self.tracked.iter().find(|(_, one)| keeps(one))?;
            Some(RegistryError::denied(format!(
                "consul no longer shows all instances of service {:?}: may the token read its nodes? \
                 expected node:read",
                key.name
            )))
        })
    }

    fn leave(&mut self, key: &Key, host: Option<&Hostname>) {
        let Some(host) = host else { return };
        if let Some(keys) = self.hosts.get_mut(host) {
            keys.remove(key);
        }
        self.build(host);
    }

    /// Makes the service of a host anew, of all that have it; not before everything has been read once.
    fn build(&mut self, host: &Hostname) {
        if !self.begun {
            return;
        }
        let keys = self.hosts.get(host).into_iter().flatten();
        let contents = keys.filter_map(|key| self.tracked.get(key)?.content.as_ref());
        let instances = contents.flat_map(|(_, content)| &content.instances);
        let before = self.remembered.settled.get(host).cloned().unwrap_or_default();
        match convert::service(host, instances, &before, &self.defaults).transpose() {
            Some(built) => {
                if let Ok(built) = &built {
                    self.remembered.settle(host, built.settled.clone());
                }
                self.built.insert(host.clone(), built);
            }
            None => {
                self.built.remove(host);
                self.hosts.remove(host);
                self.remembered.vanished(host);
            }
        }
    }

    /// Publishes all, and says what is left out or wants a word.
    pub(super) fn publish(&self, sink: &SnapshotSink) {
        for (key, one) in &self.tracked {
            if let Some(error) = &one.refused {
                sink.skipped(&*key.name, error.chain());
            }
            let skipped = one.content.iter().flat_map(|(_, content)| &content.skipped);
            skipped.for_each(|(entry, why)| sink.skipped(entry, why));
            let notes = one.content.iter().flat_map(|(_, content)| &content.notes);
            notes.for_each(|(entry, note)| sink.note(entry, note));
        }
        for (host, built) in &self.built {
            match built {
                Ok(built) => {
                    built.left_out.iter().for_each(|why| sink.skipped(host.as_str(), why));
                    if !built.notes.is_empty() {
                        sink.note(host.as_str(), built.notes.join("; "));
                    }
                }
                Err(why) => sink.skipped(host.as_str(), why),
            }
        }
        let services = self.built.values().filter_map(|built| built.as_ref().ok());
        let services = services.map(|built| Arc::clone(&built.service)).collect::<Vec<Arc<Service>>>();
        sink.publish(Snapshot::new(services).expect("each host has one service"));
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let known = std::mem::take(&mut self.tracked).into_iter();
        self.remembered.contents.extend(known.filter_map(|(key, one)| Some((key, one.content?))));
    }
}

#[cfg(test)]
mod tests;
