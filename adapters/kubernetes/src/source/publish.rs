//! The publisher: applies the followers' updates, and publishes once everything is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use pilot_registry::{Fault, Lent, Snapshot, SnapshotSink};
use tokio::sync::mpsc::Receiver;

use super::Scope;
use super::decode::Change;
use super::follow::Update;
use super::resource::Resource;
use crate::cluster::{Cluster, Entry, Facts};
use crate::convert::Mapping;

/// How many updates are applied at most before the result is published.
const BATCH: usize = 1024;

pub(super) struct Publisher<'a> {
    sink: &'a SnapshotSink,
    cluster: Cluster,
    /// Given back to the next attempt.
    facts: Lent<Facts>,
    scopes: Vec<Scope>,
    /// Scopes of which nothing is known yet.
    unknown: BTreeSet<usize>,
    /// Scopes of which nothing was heard since the last time that something was published.
    unheard: BTreeSet<usize>,
    /// What is wrong with scopes, in words.
    faults: BTreeMap<usize, (String, Fault<Snapshot>)>,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(
        sink: &'a SnapshotSink,
        mapping: Mapping,
        mut facts: Lent<Facts>,
        scopes: Vec<Scope>,
    ) -> Self {
        let cluster = Cluster::new(mapping, std::mem::take(&mut *facts));
        let all: BTreeSet<usize> = (0..scopes.len()).collect();
        Self { sink, cluster, facts, scopes, unknown: all.clone(), unheard: all, faults: BTreeMap::new() }
    }

    pub(super) async fn run(mut self, mut updates: Receiver<Update<Entry>>) -> Infallible {
        let mut batch = Vec::new();
        loop {
            if updates.recv_many(&mut batch, BATCH).await == 0 {
                // No follower is left: the attempt ends because of that.
                std::future::pending::<()>().await;
            }
            let mut complete = false;
            // Faults that are over end after the value that cures them is published.
            let mut cured = Vec::new();
            for update in batch.drain(..) {
                complete |= self.apply(update, &mut cured);
            }
            let news = complete || self.cluster.has_news() || self.unheard.is_empty();
            if news && self.unknown.is_empty() {
                self.publish();
            }
            drop(cured);
        }
    }

    /// Says whether a scope is known now that was not, or was not for sure.
    fn apply(&mut self, update: Update<Entry>, cured: &mut Vec<Fault<Snapshot>>) -> bool {
        match update {
            Update::Listed(at, entries) => {
                self.cluster.list(&self.scopes[at], entries);
                self.heard(at);
                self.unknown.remove(&at);
                cured.extend(self.faults.remove(&at).map(|(_, fault)| fault));
                true
            }
            Update::Changed(at, change) => {
                self.heard(at);
                let resource = self.scopes[at].resource;
                match change {
                    Change::Put(key, entry) => self.cluster.put(resource, key, entry),
                    Change::Gone(key) => self.cluster.delete(resource, &key),
                }
                false
            }
            Update::Checked(at) => {
                self.heard(at);
                false
            }
            Update::Trouble { at, error, known } => {
                let said = error.chain();
                // One that stays keeps its beginning.
                if self.faults.get(&at).is_none_or(|(standing, _)| *standing != said) {
                    tracing::warn!(error = said, "the cluster cannot be read as a whole");
                    self.faults.insert(at, (said, self.sink.fault(error)));
                }
                known && self.unknown.remove(&at)
            }
        }
    }

    fn heard(&mut self, at: usize) {
        self.unheard.remove(&at);
    }

    fn publish(&mut self) {
        let sink = self.sink;
        let (skipped, note) = (|entry, why| sink.skipped(entry, why), |entry, what| sink.note(entry, what));
        let snapshot = self.cluster.snapshot(skipped, note);
        if let Some((key, why)) = nothing(&snapshot, &self.scopes) {
            sink.note(key, why);
        }
        self.sink.publish(snapshot);
        // A scope that is not readable is not waited for.
        self.unheard = (0..self.scopes.len()).filter(|at| !self.faults.contains_key(at)).collect();
    }
}

/// Where a cluster of which no service is published was looked at; `None` = some are.
fn nothing(snapshot: &Snapshot, scopes: &[Scope]) -> Option<(&'static str, String)> {
    if !snapshot.services().is_empty() {
        return None;
    }
    let services = || scopes.iter().filter(|scope| scope.resource == Resource::Services);
    let namespaces: Vec<_> = services().filter_map(|scope| scope.namespace.as_deref()).collect();
    let place = if namespaces.is_empty() { "any namespace".to_owned() } else { namespaces.join(", ") };
    if services().any(Scope::is_selective) {
        return Some(("service_selector", format!("no service in {place} matches it")));
    }
    if scopes.iter().any(|scope| scope.resource == Resource::Namespaces && scope.is_selective()) {
        return Some(("namespace_selector", "no namespace that it matches has a service".to_owned()));
    }
    Some(("namespaces", format!("no service is published of {place}")))
}

/// An attempt is dropped wherever it is.
impl Drop for Publisher<'_> {
    fn drop(&mut self) {
        *self.facts = self.cluster.take_facts();
    }
}
