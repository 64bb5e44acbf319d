//! From registries' changes to the resources of each scope: merge, debounce, translate, publish.
//!
//! ```text
//!  Intake ─┐ changed                                          ┌─ watch ─► streams of scope A
//!  Intake ─┼────────► debounce ─► merge ─► translate (memo) ──┼─ watch ─► streams of scope B
//!  Intake ─┘                                                  └─ new scopes are translated on demand
//! ```
//!
//! The number of scopes is bounded by a product: the config sources of roles (3 roles x 3 usual sources, and
//! `[xds] max_scopes` others), times localities with endpoints (and none), times namespaces with local names (and
//! none). A scope exists while a stream follows it, so there are
//! never more scopes than streams. Scopes share their common resources ([`Memo`]), but a new mesh is
//! translated for one scope after the other.
//!
//! Nothing is published before every registry is settled: it has answered, or its last known good was loaded,
//! or it is optional and its patience is over. At least one registry must be known. If all are optional and
//! none answers, pilot waits: no answer does not mean no services.

mod conflicts;
mod debounce;
pub(crate) mod hint;
mod news;
mod outages;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pilot_registry::RegistryHealth;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::catalog::{Catalog, RegistryState, Source};
use crate::mesh::{Mesh, MeshOptions};
use crate::proxy::{Proxy, Scope, Transport};
use crate::resources::ResourceSet;
use crate::supervisor::Registered;
use crate::translate::{Conflict, Memo, Translator};
use conflicts::{Told, tell_disagreements};
use news::News;
use outages::Outages;

pub use debounce::Debounce;

/// What every proxy may be told, kept up to date by [`World::follow`].
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    registries: Vec<Registered>,
    options: MeshOptions,
    max_scopes: usize,
    mesh: watch::Sender<Option<Arc<Mesh>>>,
    scopes: Mutex<BTreeMap<Scope, ScopeState>>,
    scope_added: Notify,
    /// When the oldest change was published that is not in the mesh yet.
    unserved_since: Mutex<Option<Instant>>,
}

struct ScopeState {
    translator: Arc<Mutex<Translator>>,
    memo: Memo,
    /// Shared by the scopes that share the memo.
    told: Told,
    resources: watch::Sender<Option<Arc<ResourceSet>>>,
    conflicts: Arc<[Conflict]>,
    /// Its translation has not been tried yet.
    is_new: bool,
}

/// A registry of which nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The registry's name in pilot.toml.
    pub registry: Arc<str>,
    /// Why, in words.
    pub reason: String,
}

/// A scope that is not followed, because clients have chosen the names of too many others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("proxies name {0} clusters as node.metadata.XDS_CLUSTER, and no more are allowed ([xds] max_scopes)")]
pub struct TooManyScopes(pub usize);

impl World {
    /// A world of these registries, of which nothing is known yet. `max_scopes`: how many scopes it follows
    /// whose names clients have chosen.
    pub fn new(registries: Vec<Registered>, options: MeshOptions, max_scopes: usize) -> Self {
        Self(Arc::new(Inner {
            registries,
            options,
            max_scopes,
            mesh: watch::Sender::new(None),
            scopes: Mutex::default(),
            scope_added: Notify::new(),
            unserved_since: Mutex::default(),
        }))
    }

    /// The registries that it is made from.
    pub fn registries(&self) -> &[Registered] {
        &self.0.registries
    }

    /// The mesh as it is now; `None` = not known yet.
    pub fn mesh(&self) -> Option<Arc<Mesh>> {
        self.0.mesh.borrow().clone()
    }

    /// The age of the oldest change of a registry that is not served yet; zero when all are.
    pub fn age(&self) -> Duration {
        lock(&self.0.unserved_since).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The registries of which nothing is known. Nothing is served before none is left but optional ones that
    /// were waited for long enough, and the first mesh is there ([`World::mesh`]).
    pub fn waiting(&self) -> Vec<Waiting> {
        let waits = |registered: &&Registered| registered.intake.state().known.is_none();
        let waiting = |registered: &Registered| {
            let mut reason = match registered.feed.health() {
                RegistryHealth::Degraded(trouble) => trouble.error.chain(),
                RegistryHealth::Connecting | RegistryHealth::Live => "has not answered yet".to_owned(),
            };
            if let Some(error) = registered.intake.disk().and_then(|disk| disk.error) {
                reason.push_str(&format!("; last known good: {error}"));
            }
            Waiting { registry: Arc::clone(&registered.name), reason }
        };
        self.0.registries.iter().filter(waits).map(waiting).collect()
    }

    /// The scope of a proxy as the mesh is now ([`Mesh::scope`]).
    pub fn scope(&self, proxy: &Proxy, transport: Transport) -> Scope {
        self.mesh().map_or_else(|| proxy.scope(transport), |mesh| mesh.scope(proxy, transport))
    }

    /// Why there is no listener of that name, which a gRPC client asks for, in words; empty where nothing is known.
    pub fn hint(&self, listener: &str) -> String {
        self.mesh().map_or_else(String::new, |mesh| hint::of_listener(&mesh.catalog, listener))
    }

    /// Follows the resources of a scope; `None` = not known yet.
    ///
    /// # Errors
    /// Clients have chosen the name of this scope and of as many others as are allowed.
    pub fn subscribe(
        &self,
        scope: &Scope,
    ) -> Result<watch::Receiver<Option<Arc<ResourceSet>>>, TooManyScopes> {
        let mut scopes = self.scopes();
        if let Some(state) = scopes.get(scope) {
            return Ok(state.resources.subscribe());
        }
        forget_unused(&mut scopes);
        let max = self.0.max_scopes;
        if scope.has_chosen_name() && is_one_too_many(&scopes, scope, max) {
            return Err(TooManyScopes(max));
        }
        let resources = watch::Sender::new(None);
        let receiver = resources.subscribe();
        let alike = scopes.iter().find(|(known, _)| known.common() == scope.common());
        let shared = alike.map(|(_, state)| (state.memo.clone(), state.told.clone()));
        let (memo, told) = shared.unwrap_or_else(|| (Memo::new(scope), Told::default()));
        let translator = Arc::new(Mutex::new(Translator::sharing(scope.clone(), memo.clone())));
        let conflicts = Arc::default();
        let state = ScopeState { translator, memo, told, resources, conflicts, is_new: true };
        scopes.insert(scope.clone(), state);
        self.0.scope_added.notify_one();
        Ok(receiver)
    }

    /// The resources of a scope as they are now, waiting for their translation where nobody else has
    /// asked for the scope; `None` = not known yet, or one scope too many.
    pub async fn resources(&self, scope: &Scope) -> Option<Arc<ResourceSet>> {
        self.mesh()?;
        let mut receiver = self.subscribe(scope).ok()?;
        let known = receiver.wait_for(Option::is_some).await.ok()?;
        known.clone()
    }

    /// What services of the scope claim against each other.
    pub fn conflicts(&self, scope: &Scope) -> Arc<[Conflict]> {
        self.scopes().get(scope).map(|state| Arc::clone(&state.conflicts)).unwrap_or_default()
    }

    /// Takes in what the registries say and keeps the world up to date, for ever. `translated` is told how
    /// long each translation took.
    pub async fn follow(&self, debounce: Debounce, translated: impl Fn(Duration) + Send + Sync) {
        let registries = self.0.registries.iter();
        let intakes = registries.map(|registered| registered.intake.follow(&registered.feed));
        let mut intakes: FuturesUnordered<_> = intakes.collect();
        // Intakes never end; a world without any goes on as well.
        tokio::join!(self.advance_with(debounce, translated), intakes.next());
    }

    async fn advance_with(&self, mut debounce: Debounce, translated: impl Fn(Duration) + Send + Sync) {
        let mut changes = FuturesUnordered::new();
        for registered in &self.0.registries {
            let mut receiver = registered.intake.subscribe();
            // What was published before counts too.
            receiver.mark_changed();
            changes.push(next_change(receiver));
        }
        let mut seen = vec![0; self.0.registries.len()];
        let (mut news, mut outages) = (News::default(), Outages::default());
        loop {
            tokio::select! {
                Some(receiver) = changes.next() => {
                    changes.push(next_change(receiver));
                    if self.generations() != seen {
                        debounce.changed(Instant::now());
                        self.note_unserved(&seen);
                    }
                }
                () = self.0.scope_added.notified() => self.translate_new(&translated).await,
                () = reached(debounce.deadline()), if debounce.is_pending() => {
                    debounce.pushed(Instant::now());
                    let oldest = self.oldest_change(&seen);
                    seen = self.generations();
                    self.advance(oldest, &translated).await;
                    self.note_unserved(&seen);
                    self.tell(&mut news);
                    if let Some(mesh) = self.mesh() {
                        outages.tell(&mesh.catalog);
                    }
                }
                () = reached(news.due().unwrap_or_else(Instant::now)), if news.due().is_some() => {
                    self.tell(&mut news);
                }
            }
        }
    }

    fn tell(&self, news: &mut News) {
        if let Some(mesh) = self.mesh() {
            news.tell(&mesh.catalog);
        }
    }

    fn generations(&self) -> Vec<u64> {
        self.states().map(|state| state.generation).collect()
    }

    fn states(&self) -> impl Iterator<Item = RegistryState> {
        self.0.registries.iter().map(|registered| registered.intake.state())
    }

    fn note_unserved(&self, seen: &[u64]) {
        let unserved = self.generations() != seen;
        *lock(&self.0.unserved_since) = unserved.then(|| self.oldest_change(seen));
    }

    /// When the first of the changes since the generations `seen` was published, as far as it is known.
    fn oldest_change(&self, seen: &[u64]) -> Instant {
        let fresh = self.states().zip(seen).filter(|(it, seen)| it.generation != **seen);
        fresh.filter_map(|(it, _)| it.known).map(|it| it.changed).min().unwrap_or_else(Instant::now)
    }

    /// What is known, if it is enough to serve: every registry is settled, and of one something is known.
    fn sources(&self) -> Option<Vec<Source>> {
        let states: Vec<_> = self.states().collect();
        if !states.iter().all(RegistryState::is_settled) {
            return None;
        }
        let known = self.0.registries.iter().zip(states).filter_map(|(registered, state)| {
            Some(Source {
                registry: Arc::clone(&registered.name),
                priority: registered.priority,
                snapshot: state.known?.snapshot,
            })
        });
        Some(known.collect()).filter(|known: &Vec<_>| !known.is_empty() || self.0.registries.is_empty())
    }

    /// Merges what the registries know into a new mesh and translates it, if that is enough to serve.
    async fn advance(&self, changed: Instant, translated: &(impl Fn(Duration) + Send + Sync)) {
        let Some(sources) = self.sources() else { return };
        let before = self.mesh();
        let (old, options) = (before.clone(), self.0.options.clone());
        let merged = tokio::task::spawn_blocking(move || {
            let old = old.as_ref().map(|mesh| &mesh.catalog);
            let catalog = Catalog::merge(&sources, old.unwrap_or(&Catalog::default()));
            let same = old.is_some_and(|old| old.same(&catalog));
            (!same).then(|| Arc::new(Mesh { catalog, options }))
        });
        match merged.await {
            Ok(Some(mesh)) => {
                let before = before.as_ref().map(|before| &before.catalog);
                tell_disagreements(&mesh.catalog, before);
                let alike = before.is_some_and(|before| before.places_alike(&mesh.catalog));
                self.0.mesh.send_replace(Some(mesh));
                self.translate(changed, translated).await;
                if !alike {
                    self.wake();
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "merging registries failed: this is a bug"),
        }
    }

    /// Brings every scope to the current mesh.
    async fn translate(&self, changed: Instant, translated: &(impl Fn(Duration) + Send + Sync)) {
        let Some(mesh) = self.mesh() else { return };
        forget_unused(&mut self.scopes());
        let mut scopes: Vec<Scope> = self.scopes().keys().cloned().collect();
        // Proxies on ADS are most of a mesh, and wait for nobody's choice of names.
        scopes.sort_by(|a, b| a.config_source.cmp(&b.config_source));
        for scope in scopes {
            self.translate_one(&scope, &mesh, changed, translated).await;
        }
    }

    /// Brings one new scope to the current mesh. One scope per call, so that a burst of new scopes cannot
    /// delay registry changes.
    async fn translate_new(&self, translated: &(impl Fn(Duration) + Send + Sync)) {
        let Some(mesh) = self.mesh() else { return };
        let new = {
            let mut scopes = self.scopes();
            forget_unused(&mut scopes);
            let new = scopes.iter().filter(|(_, state)| state.is_new).map(|(scope, _)| scope);
            new.min_by(|a, b| a.config_source.cmp(&b.config_source)).cloned()
        };
        if let Some(scope) = new {
            self.translate_one(&scope, &mesh, Instant::now(), translated).await;
            // There may be more of them.
            self.0.scope_added.notify_one();
        }
    }

    async fn translate_one(
        &self,
        scope: &Scope,
        mesh: &Arc<Mesh>,
        changed: Instant,
        translated: &(impl Fn(Duration) + Send + Sync),
    ) {
        let state = self.scopes().get_mut(scope).map(|state| {
            state.is_new = false;
            let before = state.resources.borrow().clone();
            (Arc::clone(&state.translator), before)
        });
        // Nobody may want it any more.
        let Some((translator, before)) = state else { return };
        let (mesh, started) = (Arc::clone(mesh), Instant::now());
        let result = tokio::task::spawn_blocking(move || {
            let translation = lock(&translator).translate(&mesh);
            let next = match &before {
                None => Some(ResourceSet::first(translation.types, changed)),
                Some(before) => before.successor(translation.types, changed),
            };
            (next, translation.conflicts)
        });
        match result.await {
            Ok((next, conflicts)) => {
                translated(started.elapsed());
                self.publish(scope, next, conflicts);
            }
            Err(error) => tracing::error!(%scope, %error, "translation failed: this is a bug"),
        }
    }

    fn publish(&self, scope: &Scope, next: Option<ResourceSet>, conflicts: Arc<[Conflict]>) {
        let mut scopes = self.scopes();
        let Some(state) = scopes.get_mut(scope) else { return };
        state.conflicts = Arc::clone(&conflicts);
        let told = state.told.clone();
        if let Some(next) = next {
            state.resources.send_replace(Some(Arc::new(next)));
        }
        drop(scopes);
        told.tell(scope, conflicts);
    }

    /// A change may move a proxy to another scope without changing any resource. Wake all streams, so that
    /// they compute their scopes again.
    fn wake(&self) {
        self.scopes().values().for_each(|state| state.resources.send_modify(|_| ()));
    }

    fn scopes(&self) -> MutexGuard<'_, BTreeMap<Scope, ScopeState>> {
        lock(&self.0.scopes)
    }
}

/// Whether clients have chosen as many other names as are allowed. One name at several localities,
/// or in several namespaces, counts once.
fn is_one_too_many(scopes: &BTreeMap<Scope, ScopeState>, scope: &Scope, max: usize) -> bool {
    let chosen = scopes.keys().filter(|it| it.has_chosen_name()).map(Scope::common);
    let chosen: BTreeSet<Scope> = chosen.collect();
    chosen.len() >= max && !chosen.contains(&scope.common())
}

/// Scopes without a proxy are not kept up to date.
fn forget_unused(scopes: &mut BTreeMap<Scope, ScopeState>) {
    scopes.retain(|_, state| state.resources.receiver_count() > 0);
}

/// A poisoned lock's value is whole here: nothing panics half way through a change of it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A deadline that has passed is not waited for: the timer is only as fine as a millisecond.
async fn reached(deadline: Instant) {
    if deadline > Instant::now() {
        tokio::time::sleep_until(deadline).await;
    }
}

async fn next_change<T: Send + Sync>(mut receiver: watch::Receiver<T>) -> watch::Receiver<T> {
    if receiver.changed().await.is_err() {
        // The feed outlives its receivers; should it end, its last value stays.
        std::future::pending::<()>().await;
    }
    receiver
}
