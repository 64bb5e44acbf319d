//! One publisher: applies what followers tell, and publishes once everything was listed.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use pilot_registry::{Fault, Snapshot, SnapshotSink};
use tokio::sync::mpsc::Receiver;

use super::Scope;
use super::decode::Change;
use super::follow::Update;
use crate::cluster::Cluster;

/// How many updates are applied at most before the result is published.
const BATCH: usize = 1024;

pub(super) struct Publisher<'a> {
    sink: &'a SnapshotSink,
    cluster: Cluster,
    scopes: Vec<Scope>,
    /// Scopes of which nothing is known yet.
    unknown: BTreeSet<usize>,
    /// Scopes of which nothing was heard since the last time that something was published.
    unheard: BTreeSet<usize>,
    faults: BTreeMap<usize, Fault<Snapshot>>,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(sink: &'a SnapshotSink, cluster: Cluster, scopes: Vec<Scope>) -> Self {
        let all: BTreeSet<usize> = (0..scopes.len()).collect();
        Self { sink, cluster, scopes, unknown: all.clone(), unheard: all, faults: BTreeMap::new() }
    }

    pub(super) async fn run(mut self, mut updates: Receiver<Update>) -> Infallible {
        let mut batch = Vec::new();
        loop {
            if updates.recv_many(&mut batch, BATCH).await == 0 {
                // No follower is left: the attempt ends because of that.
                std::future::pending::<()>().await;
            }
            let mut changed = false;
            // Faults that are over end after the value that cures them is published.
            let mut cured = Vec::new();
            for update in batch.drain(..) {
                changed |= self.apply(update, &mut cured);
            }
            if self.unknown.is_empty() && (changed || self.unheard.is_empty()) {
                self.publish();
            }
            drop(cured);
        }
    }

    /// Says whether there may be something to publish.
    fn apply(&mut self, update: Update, cured: &mut Vec<Fault<Snapshot>>) -> bool {
        match update {
            Update::Listed(at, entries) => {
                self.cluster.list(&self.scopes[at], entries);
                self.heard(at);
                self.unknown.remove(&at);
                cured.extend(self.faults.remove(&at));
                true
            }
            Update::Changed(at, change) => {
                self.heard(at);
                let resource = self.scopes[at].resource;
                match change {
                    Change::Put(key, entry) => self.cluster.put(resource, key, entry),
                    Change::Gone(key) => self.cluster.delete(resource, &key),
                }
                true
            }
            Update::Checked(at) => {
                self.heard(at);
                false
            }
            Update::Trouble { at, error, known } => {
                tracing::warn!(error = error.chain(), "the cluster cannot be read as a whole");
                self.faults.entry(at).or_insert_with(|| self.sink.fault(error));
                known && self.unknown.remove(&at)
            }
        }
    }

    fn heard(&mut self, at: usize) {
        self.unheard.remove(&at);
    }

    fn publish(&mut self) {
        let snapshot = self.cluster.snapshot(|entry, why| self.sink.skipped(entry, why));
        self.sink.publish(snapshot);
        // A scope that is not readable is not waited for.
        self.unheard = (0..self.scopes.len()).filter(|at| !self.faults.contains_key(at)).collect();
    }
}
