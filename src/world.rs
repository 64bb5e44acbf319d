//! From registries' changes to the resources of each scope: merge, debounce, translate, publish.
//!
//! ```text
//!  Feed ─┐ changed                                          ┌─ watch ─► streams of scope A
//!  Feed ─┼────────► debounce ─► merge ─► translate (memo) ──┼─ watch ─► streams of scope B
//!  Feed ─┘                                                  └─ new scopes are translated on demand
//! ```
//!
//! Nothing is published before every registry has said what it has.

mod debounce;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pilot_registry::{Published, RegistryHealth, Snapshot};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::catalog::{Catalog, Source};
use crate::mesh::{Mesh, MeshOptions};
use crate::proxy::Scope;
use crate::resources::ResourceSet;
use crate::supervisor::Registered;
use crate::translate::{Conflict, Translator};

pub use debounce::Debounce;

/// What every proxy may be told, kept up to date by [`World::follow`].
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    registries: Vec<Registered>,
    options: MeshOptions,
    mesh: watch::Sender<Option<Arc<Mesh>>>,
    scopes: Mutex<BTreeMap<Scope, ScopeState>>,
    scope_added: Notify,
}

struct ScopeState {
    translator: Arc<Mutex<Translator>>,
    resources: watch::Sender<Option<Arc<ResourceSet>>>,
    conflicts: Arc<[Conflict]>,
}

/// A registry that has not said what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The registry's name in pilot.toml.
    pub registry: Arc<str>,
    /// Why, in words.
    pub reason: String,
}

impl World {
    /// A world of these registries, of which nothing is known yet.
    pub fn new(registries: Vec<Registered>, options: MeshOptions) -> Self {
        Self(Arc::new(Inner {
            registries,
            options,
            mesh: watch::Sender::new(None),
            scopes: Mutex::default(),
            scope_added: Notify::new(),
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

    /// The registries that have not said what they have. Nothing is served before none is left and their
    /// first mesh is there ([`World::mesh`]).
    pub fn waiting(&self) -> Vec<Waiting> {
        if self.0.mesh.borrow().is_some() {
            return Vec::new();
        }
        let waits = |registered: &Registered| {
            let unknown = registered.feed.published().is_none();
            let reason = || match registered.feed.health() {
                RegistryHealth::Degraded(trouble) => trouble.error.chain(),
                RegistryHealth::Connecting | RegistryHealth::Live => "has not answered yet".to_owned(),
            };
            unknown.then(|| Waiting { registry: Arc::clone(&registered.name), reason: reason() })
        };
        self.0.registries.iter().filter_map(waits).collect()
    }

    /// Follows the resources of a scope; `None` = not known yet.
    pub fn subscribe(&self, scope: &Scope) -> watch::Receiver<Option<Arc<ResourceSet>>> {
        let mut scopes = self.scopes();
        if let Some(state) = scopes.get(scope) {
            return state.resources.subscribe();
        }
        let resources = watch::Sender::new(None);
        let receiver = resources.subscribe();
        let translator = Arc::new(Mutex::new(Translator::new(scope.clone())));
        scopes.insert(scope.clone(), ScopeState { translator, resources, conflicts: Arc::default() });
        self.0.scope_added.notify_one();
        receiver
    }

    /// The resources of a scope as they are now, waiting for their translation where nobody else has
    /// asked for the scope; `None` = not known yet.
    pub async fn resources(&self, scope: &Scope) -> Option<Arc<ResourceSet>> {
        self.mesh()?;
        let mut receiver = self.subscribe(scope);
        let known = receiver.wait_for(Option::is_some).await.ok()?;
        known.clone()
    }

    /// What services of the scope claim against each other.
    pub fn conflicts(&self, scope: &Scope) -> Arc<[Conflict]> {
        self.scopes().get(scope).map(|state| Arc::clone(&state.conflicts)).unwrap_or_default()
    }

    /// Keeps the world up to date, for ever. `translated` is told how long each translation took.
    pub async fn follow(&self, mut debounce: Debounce, translated: impl Fn(Duration)) {
        let mut changes = FuturesUnordered::new();
        for registered in &self.0.registries {
            let mut receiver = registered.feed.subscribe();
            // What was published before counts too.
            receiver.mark_changed();
            changes.push(next_change(receiver));
        }
        let mut seen = vec![0; self.0.registries.len()];
        loop {
            tokio::select! {
                Some(receiver) = changes.next() => {
                    changes.push(next_change(receiver));
                    if self.revisions() != seen {
                        debounce.changed(Instant::now());
                    }
                }
                () = self.0.scope_added.notified() => self.translate(Instant::now(), &translated).await,
                () = reached(debounce.deadline()), if debounce.is_pending() => {
                    debounce.pushed(Instant::now());
                    let oldest = self.oldest_change(&seen);
                    seen = self.revisions();
                    self.advance(oldest, &translated).await;
                }
            }
        }
    }

    fn revisions(&self) -> Vec<u64> {
        self.published().iter().map(|published| published.as_ref().map_or(0, |it| it.revision)).collect()
    }

    fn published(&self) -> Vec<Option<Published<Snapshot>>> {
        self.0.registries.iter().map(|registered| registered.feed.published()).collect()
    }

    /// When the first of the changes since the revisions `seen` was published, as far as it is known.
    fn oldest_change(&self, seen: &[u64]) -> Instant {
        let fresh =
            self.published().into_iter().flatten().zip(seen).filter(|(it, seen)| it.revision != **seen);
        fresh.map(|(it, _)| it.changed).min().unwrap_or_else(Instant::now)
    }

    /// Merges what the registries know into a new mesh and translates it, if all have spoken.
    async fn advance(&self, changed: Instant, translated: &impl Fn(Duration)) {
        let sources = self.0.registries.iter().map(|registered| {
            registered.feed.published().map(|published| Source {
                registry: Arc::clone(&registered.name),
                priority: registered.priority,
                snapshot: published.value,
            })
        });
        let Some(sources) = sources.collect::<Option<Vec<_>>>() else { return };
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
                self.0.mesh.send_replace(Some(mesh));
                self.translate(changed, translated).await;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "merging registries failed: this is a bug"),
        }
    }

    /// Brings every scope to the current mesh.
    async fn translate(&self, changed: Instant, translated: &impl Fn(Duration)) {
        let Some(mesh) = self.mesh() else { return };
        self.scopes().retain(|_, state| state.resources.receiver_count() > 0);
        let scopes: Vec<_> = self
            .scopes()
            .iter()
            .map(|(scope, state)| {
                (scope.clone(), Arc::clone(&state.translator), state.resources.borrow().clone())
            })
            .collect();
        for (scope, translator, before) in scopes {
            let mesh = Arc::clone(&mesh);
            let started = Instant::now();
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
                    self.publish(&scope, next, conflicts);
                }
                Err(error) => tracing::error!(%scope, %error, "translation failed: this is a bug"),
            }
        }
    }

    fn publish(&self, scope: &Scope, next: Option<ResourceSet>, conflicts: Vec<Conflict>) {
        let mut scopes = self.scopes();
        let Some(state) = scopes.get_mut(scope) else { return };
        if *state.conflicts != *conflicts {
            for conflict in conflicts.iter().filter(|conflict| !state.conflicts.contains(conflict)) {
                tracing::warn!(%scope, %conflict, "services conflict");
            }
            state.conflicts = conflicts.into();
        }
        if let Some(next) = next {
            state.resources.send_replace(Some(Arc::new(next)));
        }
    }

    fn scopes(&self) -> MutexGuard<'_, BTreeMap<Scope, ScopeState>> {
        lock(&self.0.scopes)
    }
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

async fn next_change<T>(mut receiver: watch::Receiver<T>) -> watch::Receiver<T> {
    if receiver.changed().await.is_err() {
        // The feed outlives its receivers; should it end, its last value stays.
        std::future::pending::<()>().await;
    }
    receiver
}
