//! The layers in use: who sees them, and which ones each step makes anew.
//!
//! ```text
//!  subscribe ─► ScopeView of a scope ─► Slots of its layers    in use for as long as somebody holds them
//!  step ──────► jobs ─► all cores ─► publish                   all in place before any is announced
//!  newcomers ─► jobs ─► beside ────► publish                   steps do not wait for them
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::conflicts::ConflictLog;
use super::views::{Dropped, Epoch, ScopeView, Slot};
use crate::mesh::Mesh;
use crate::proxy::Scope;
use crate::resources::{Layer, View};
use crate::translate::{Arrived, Built, Conflict, Job, LayerKey, Layers, Results, Step, Wave};

/// A scope that is not followed, because clients have chosen the names of too many others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("proxies name {0} clusters as node.metadata.XDS_CLUSTER, and no more are allowed ([xds] max_scopes)")]
pub struct TooManyScopes(pub usize);

/// How often a layer is made beside the steps. There is little left to do each time, but where steps follow each other
/// without end, there is always something: then they wait for it.
const ROUNDS: u32 = 4;

/// The layers in use. Locked to look something up, never while translating.
pub(super) struct LayerStore {
    max_scopes: usize,
    used: Mutex<Used>,
    /// Each scope that somebody follows holds it once.
    epoch: Arc<Epoch>,
    wanted: Notify,
    /// Layers that are made beside the steps: so many at one time that take long, and so many others.
    beside: [Semaphore; 2],
    /// Held by who publishes: layers are of one mesh when they are put in place.
    publishing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Used {
    layers: Layers,
    slots: BTreeMap<LayerKey, Weak<Slot>>,
    scope_views: HashMap<Scope, Weak<ScopeView>>,
    /// How many entries of `scope_views` are looked through when some may be dead.
    scope_views_max: usize,
    dropped: Dropped,
    /// By what is common to the scopes that share a base.
    told: BTreeMap<Scope, ConflictLog>,
}

impl LayerStore {
    /// Without any layer. `max_scopes`: how many scopes there may be whose names clients have chosen.
    pub(super) fn new(max_scopes: usize) -> Self {
        let beside = [(); 2].map(|()| Semaphore::new(cores()));
        let (used, epoch) = (Mutex::default(), Arc::default());
        Self {
            max_scopes,
            used,
            epoch,
            wanted: Notify::new(),
            beside,
            publishing: tokio::sync::Mutex::default(),
        }
    }

    /// Layers are made with that.
    #[cfg(test)]
    pub(super) fn make_with(&self, maker: crate::translate::Maker) {
        self.used.lock().layers.make_with(maker);
    }

    /// How many layers wait to be forgotten, and the layers that are made.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, Vec<LayerKey>) {
        let used = self.used.lock();
        let dropped = used.dropped.lock().len();
        (dropped, used.layers.keys().cloned().collect())
    }

    /// What a scope sees. Its layers are in use while that is held.
    pub(super) fn subscribe(&self, scope: &Scope) -> Result<Arc<ScopeView>, TooManyScopes> {
        let mut used = self.used.lock();
        if let Some(scope_view) = used.scope_views.get(scope).and_then(Weak::upgrade) {
            return Ok(scope_view);
        }
        if scope.has_chosen_name() && used.is_one_too_many(scope, self.max_scopes) {
            return Err(TooManyScopes(self.max_scopes));
        }
        let (scope_view, is_wanted) = used.see(scope, &self.epoch);
        if is_wanted {
            self.wanted.notify_one();
        }
        Ok(scope_view)
    }

    /// What a scope sees that somebody follows; `None` = nobody does, or it is not known yet.
    pub(super) fn peek(&self, scope: &Scope) -> Option<Arc<View>> {
        let scope_view = self.used.lock().scope_views.get(scope).and_then(Weak::upgrade)?;
        scope_view.view()
    }

    /// A copy of the layers. What somebody makes for the ones in use is yet to be made for it.
    pub(super) fn copy(&self) -> Layers {
        self.used.lock().layers.copy()
    }

    /// The number of the mesh that the layers are of.
    pub(super) fn generation(&self) -> u64 {
        self.used.lock().layers.generation()
    }

    /// Waits until there may be newcomers.
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

    /// The layers that could not be made, with the reason.
    pub(super) fn broken(&self) -> BTreeMap<String, Arc<str>> {
        let used = self.used.lock();
        used.layers.broken().iter().map(|(key, why)| (key.to_string(), Arc::clone(why))).collect()
    }

    /// The step to a mesh.
    pub(super) fn step(&self, mesh: Arc<Mesh>, changed: Instant) -> Arc<Step> {
        let mut used = self.used.lock();
        used.forget_unused();
        used.layers.step(mesh, changed)
    }

    /// Makes the layers that a step touches, on all cores, and publishes them together. Gives how many services and
    /// layers failed that did not fail before.
    pub(super) async fn take(&self, step: &Arc<Step>) -> usize {
        let done = self.run_waves(step, Results::new()).await;
        let _publishing = self.publishing.lock().await;
        // What newcomers have published meanwhile is of the mesh before.
        let done = self.run_waves(step, done).await;
        self.publish(step, done)
    }

    /// Makes what a step touches and is not `done` yet.
    async fn run_waves(&self, step: &Arc<Step>, mut done: Results) -> Results {
        for wave in Wave::ALL {
            let jobs = self.used.lock().layers.jobs(step, wave, &done);
            done.extend(run(jobs).await);
        }
        done
    }

    /// The layers that are to be made beside the steps.
    pub(super) fn newcomers(&self) -> Vec<Job> {
        let mut used = self.used.lock();
        used.forget_unused();
        used.layers.newcomers(Instant::now())
    }

    /// Makes a layer beside the steps, and publishes it when it has caught up with those that were taken meanwhile. Gives
    /// how many services and layers failed that did not fail before.
    pub(super) async fn bring(&self, job: Job) -> usize {
        let mut next = job;
        for _ in 0..ROUNDS {
            let built = self.build(next).await;
            let _publishing = self.publishing.lock().await;
            match self.arrive(built).await {
                Ok(failures) => return failures,
                Err(behind) => next = behind,
            }
        }
        let _publishing = self.publishing.lock().await;
        loop {
            match self.arrive(build_now(next).await).await {
                Ok(failures) => return failures,
                Err(behind) => next = behind,
            }
        }
    }

    /// Makes a layer on a thread of its own, in its turn.
    async fn build(&self, job: Job) -> Built {
        let [whole, others] = &self.beside;
        let turns = if job.is_from_nothing() && job.key().is_whole() { whole } else { others };
        let _turn = turns.acquire().await;
        build_now(job).await
    }

    /// A layer was made beside the steps: it is published, or it has to catch up with them.
    async fn arrive(&self, built: Built) -> Result<usize, Job> {
        let arrived = self.used.lock().layers.arrived(built, Instant::now());
        match arrived {
            Arrived::Unused => Ok(0),
            Arrived::Behind(job) => Err(job),
            Arrived::Ready(step, done) => {
                let done = self.run_waves(&step, done).await;
                Ok(self.publish(&step, done))
            }
        }
    }

    fn publish(&self, step: &Step, done: Results) -> usize {
        let mut used = self.used.lock();
        // What is forgotten here, or was while this was made, is not taken in.
        used.forget_unused();
        let (services, layers) = (used.layers.failures(), used.layers.broken().clone());
        let changed = used.layers.commit(step, done);
        let changed: Vec<(Arc<Slot>, Arc<Layer>)> = changed.iter().filter_map(|key| used.slot(key)).collect();
        let failures = used.layers.failures();
        let failures: Vec<_> = failures.iter().filter(|(host, _)| !services.contains_key(*host)).collect();
        let broken = used.layers.broken().iter().filter(|(key, _)| !layers.contains_key(key));
        let broken: Vec<_> = broken.map(|(key, why)| (key.to_string(), Arc::clone(why))).collect();
        let tell = used.conflicts_to_tell();
        // A newcomer may not see some layers of this step and some of the one before.
        self.epoch.publish(&changed);
        drop(used);
        // What failed before, or waited for what is there now, can be begun.
        self.wanted.notify_one();
        for (told, scope, conflicts) in tell {
            told.tell(&scope, conflicts);
        }
        for (service, why) in &failures {
            let why = &***why;
            tracing::error!(service, why, "translating a service failed, which is a bug: it stays as it was");
        }
        for (layer, why) in &broken {
            tracing::error!(
                layer,
                why = &**why,
                "translating failed, which is a bug: what proxies are told of this stays as it was until it is made anew"
            );
        }
        failures.len() + broken.len()
    }
}

impl Used {
    /// Whether clients have chosen as many other names as are allowed. One name at several localities, or in several
    /// namespaces, counts once.
    fn is_one_too_many(&mut self, scope: &Scope, max: usize) -> bool {
        self.forget_unused();
        let scopes = self
            .scope_views
            .iter()
            .filter(|(_, scope_view)| scope_view.strong_count() > 0)
            .map(|(scope, _)| scope);
        let chosen: BTreeSet<_> = scopes.filter(|it| it.has_chosen_name()).map(Scope::common).collect();
        chosen.len() >= max && !chosen.contains(&scope.common())
    }

    /// What a scope sees, and whether a layer of it is to be made.
    fn see(&mut self, scope: &Scope, epoch: &Arc<Epoch>) -> (Arc<ScopeView>, bool) {
        let mut is_wanted = false;
        let slots = LayerKey::of(scope).into_iter().map(|key| {
            let known = self.slots.get(&key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                is_wanted |= self.layers.want(&key);
                let made = self.layers.get(&key).map(|made| Arc::clone(made.layer()));
                let slot = Arc::new(Slot::new(key.clone(), made, &self.dropped));
                self.slots.insert(key, Arc::downgrade(&slot));
                slot
            })
        });
        let scope_view = Arc::new(ScopeView::new(epoch, slots.collect()));
        if self.scope_views.len() >= self.scope_views_max {
            self.scope_views.retain(|_, scope_view| scope_view.strong_count() > 0);
            self.scope_views_max = 16.max(self.scope_views.len() * 2);
        }
        self.scope_views.insert(scope.clone(), Arc::downgrade(&scope_view));
        (scope_view, is_wanted)
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
    fn conflicts_to_tell(&mut self) -> Vec<(ConflictLog, Scope, Arc<[Conflict]>)> {
        let Self { layers, told, .. } = self;
        let bases = layers.bases().map(|(scope, base)| {
            let told = told.entry(scope.clone()).or_default().clone();
            (told, scope, Arc::clone(base.conflicts()))
        });
        bases.collect()
    }

    /// Layers that nobody sees are not kept up to date. Costs as much as there are that nobody sees any more.
    fn forget_unused(&mut self) {
        let dropped = std::mem::take(&mut *self.dropped.lock());
        for key in dropped.into_iter().filter(|key| !self.follows(key)).collect::<Vec<_>>() {
            self.slots.remove(&key);
            self.layers.forget(&key);
            if let LayerKey::Base(role, source) = key {
                self.told.remove(&Scope::new(role, source));
            }
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Makes a layer on a thread of its own.
async fn build_now(job: Job) -> Built {
    match tokio::task::spawn_blocking(move || job.build()).await {
        Ok(built) => built,
        // A panic is an outcome, so this is the end of the program.
        Err(_) => std::future::pending().await,
    }
}

/// Runs jobs on as many threads as there are cores.
async fn run(jobs: Vec<Job>) -> Results {
    let threads = cores().min(jobs.len());
    let queue = Arc::new(Mutex::new(jobs.into_iter()));
    let mut workers = JoinSet::new();
    for _ in 0..threads {
        let queue = Arc::clone(&queue);
        workers.spawn_blocking(move || {
            let next = || queue.lock().next();
            std::iter::from_fn(next).map(Job::run).collect::<Vec<_>>()
        });
    }
    // A panic is an outcome of its job: no worker fails but at the end of the program.
    workers.join_all().await.into_iter().flatten().collect()
}
