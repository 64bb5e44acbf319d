//! The layers in use: who sees them, and which ones each step makes anew.
//!
//! ```text
//!  subscribe ─► Seen of a scope ─► Slots of its layers    in use for as long as somebody holds them
//!  step ──────► jobs ─► all cores ─► publish              all in place before any is announced
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::conflicts::Told;
use super::views::{Epoch, Seen, Slot};
use crate::mesh::Mesh;
use crate::proxy::Scope;
use crate::resources::Layer;
use crate::translate::{Conflict, Job, LayerKey, Layers, Results, Step, Wave};

/// A scope that is not followed, because clients have chosen the names of too many others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("proxies name {0} clusters as node.metadata.XDS_CLUSTER, and no more are allowed ([xds] max_scopes)")]
pub struct TooManyScopes(pub usize);

/// The layers in use. Locked to look something up, never while translating.
pub(super) struct Store {
    max_scopes: usize,
    used: Mutex<Used>,
    /// Each scope that somebody follows holds it once.
    epoch: Arc<Epoch>,
    wanted: Notify,
}

#[derive(Default)]
struct Used {
    layers: Layers,
    slots: BTreeMap<LayerKey, Weak<Slot>>,
    seen: HashMap<Scope, Weak<Seen>>,
    /// How many entries of `seen` are looked through when some may be dead.
    seen_max: usize,
    /// By what is common to the scopes that share a base.
    told: BTreeMap<Scope, Told>,
}

impl Store {
    /// Without any layer. `max_scopes`: how many scopes there may be whose names clients have chosen.
    pub(super) fn new(max_scopes: usize) -> Self {
        Self { max_scopes, used: Mutex::default(), epoch: Arc::default(), wanted: Notify::new() }
    }

    /// What a scope sees. Its layers are in use while that is held.
    pub(super) fn subscribe(&self, scope: &Scope) -> Result<Arc<Seen>, TooManyScopes> {
        let mut used = self.used.lock();
        if let Some(seen) = used.seen.get(scope).and_then(Weak::upgrade) {
            return Ok(seen);
        }
        if scope.has_chosen_name() && used.is_one_too_many(scope, self.max_scopes) {
            return Err(TooManyScopes(self.max_scopes));
        }
        let (seen, is_wanted) = used.see(scope, &self.epoch);
        if is_wanted {
            self.wanted.notify_one();
        }
        Ok(seen)
    }

    /// Waits until a layer is wanted that is not made yet.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// How many scopes are followed.
    pub(super) fn scopes(&self) -> usize {
        Arc::strong_count(&self.epoch) - 1
    }

    /// What services claim against each other, for each role and config source that somebody follows. Costs as much
    /// as there are of these, however many scopes there are.
    pub(super) fn conflicts(&self) -> Vec<(Scope, Arc<[Conflict]>)> {
        let used = self.used.lock();
        let bases = used.layers.bases().filter(|(scope, _)| used.follows(&LayerKey::base_of(scope)));
        bases.map(|(scope, base)| (scope, Arc::clone(base.conflicts()))).collect()
    }

    /// The services that could not be translated, with the reason.
    pub(super) fn failures(&self) -> BTreeMap<String, Arc<str>> {
        self.used.lock().layers.failures()
    }

    /// The step to a mesh.
    pub(super) fn step(&self, mesh: Arc<Mesh>, changed: Instant) -> Arc<Step> {
        let mut used = self.used.lock();
        used.forget_unused();
        used.layers.step(mesh, changed)
    }

    /// The step that makes the layers that are wanted, of the mesh as it is; `None` = none is known.
    pub(super) fn standstill(&self) -> Option<Arc<Step>> {
        let mut used = self.used.lock();
        used.forget_unused();
        used.layers.standstill(Instant::now())
    }

    /// Makes the layers that a step touches, on all cores, and publishes them together. Gives how many services
    /// failed that did not fail before.
    pub(super) async fn take(&self, step: &Arc<Step>) -> usize {
        let mut done = Results::new();
        for wave in Wave::ALL {
            let jobs = self.used.lock().layers.jobs(step, wave, &done);
            run(jobs, &mut done).await;
        }
        self.publish(step, done)
    }

    fn publish(&self, step: &Step, done: Results) -> usize {
        let mut used = self.used.lock();
        let before = used.layers.failures();
        let changed = used.layers.commit(step, done);
        let layers: Vec<(Arc<Slot>, Arc<Layer>)> = changed.iter().filter_map(|key| used.slot(key)).collect();
        let failures = used.layers.failures();
        let tell = used.conflicts_to_tell();
        // A newcomer may not see some layers of this step and some of the one before.
        self.epoch.publish(&layers);
        drop(used);
        for (told, scope, conflicts) in tell {
            told.tell(&scope, conflicts);
        }
        let new = failures.iter().filter(|(host, _)| !before.contains_key(*host));
        new.map(|(service, why)| {
            tracing::error!(
                service,
                why = &**why,
                "translating a service failed, which is a bug: it stays as it was"
            );
        })
        .count()
    }
}

impl Used {
    /// Whether clients have chosen as many other names as are allowed. One name at several localities, or in several
    /// namespaces, counts once.
    fn is_one_too_many(&mut self, scope: &Scope, max: usize) -> bool {
        self.forget_unused();
        let scopes = self.seen.iter().filter(|(_, seen)| seen.strong_count() > 0).map(|(scope, _)| scope);
        let chosen: BTreeSet<Scope> = scopes.filter(|it| it.has_chosen_name()).map(Scope::common).collect();
        chosen.len() >= max && !chosen.contains(&scope.common())
    }

    /// What a scope sees, and whether a layer of it is to be made.
    fn see(&mut self, scope: &Scope, epoch: &Arc<Epoch>) -> (Arc<Seen>, bool) {
        let mut is_wanted = false;
        let slots = LayerKey::of(scope).into_iter().map(|key| {
            let known = self.slots.get(&key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                is_wanted |= self.layers.want(&key);
                let made = self.layers.get(&key).map(|made| Arc::clone(made.layer()));
                let slot = Arc::new(Slot::new(key.clone(), made));
                self.slots.insert(key, Arc::downgrade(&slot));
                slot
            })
        });
        let seen = Arc::new(Seen::new(epoch, slots.collect()));
        if self.seen.len() >= self.seen_max {
            self.seen.retain(|_, seen| seen.strong_count() > 0);
            self.seen_max = 16.max(self.seen.len() * 2);
        }
        self.seen.insert(scope.clone(), Arc::downgrade(&seen));
        (seen, is_wanted)
    }

    /// The slot of a layer that is in use, and the layer.
    fn slot(&self, key: &LayerKey) -> Option<(Arc<Slot>, Arc<Layer>)> {
        let slot = self.slots.get(key).and_then(Weak::upgrade)?;
        let made = self.layers.get(&slot.key)?;
        Some((slot, Arc::clone(made.layer())))
    }

    /// Whether somebody sees that layer.
    fn follows(&self, key: &LayerKey) -> bool {
        self.slots.get(key).is_some_and(|slot| slot.strong_count() > 0)
    }

    /// What services claim against each other now, and where it is told.
    fn conflicts_to_tell(&mut self) -> Vec<(Told, Scope, Arc<[Conflict]>)> {
        let Self { layers, told, .. } = self;
        let bases = layers.bases().map(|(scope, base)| {
            let told = told.entry(scope.clone()).or_default().clone();
            (told, scope, Arc::clone(base.conflicts()))
        });
        bases.collect()
    }

    /// Layers that nobody sees are not kept up to date.
    fn forget_unused(&mut self) {
        self.slots.retain(|_, slot| slot.strong_count() > 0);
        self.layers.retain(|key| self.slots.contains_key(key));
        self.told.retain(|scope, _| self.slots.contains_key(&LayerKey::base_of(scope)));
    }
}

/// Runs jobs on as many threads as there are cores.
async fn run(jobs: Vec<Job>, done: &mut Results) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(jobs.len());
    let queue = Arc::new(Mutex::new(jobs.into_iter()));
    let mut workers = JoinSet::new();
    for _ in 0..threads {
        let queue = Arc::clone(&queue);
        workers.spawn_blocking(move || {
            let next = || queue.lock().next();
            let made = std::iter::from_fn(next).filter_map(Job::run);
            made.collect::<Vec<_>>()
        });
    }
    while let Some(made) = workers.join_next().await {
        match made {
            Ok(made) => done.extend(made),
            Err(error) => {
                tracing::error!(%error, "translating failed, which is a bug: layers stay as they were")
            }
        }
    }
}
