//! From registries' changes to the layers that proxies see: merge, debounce, translate, publish.
//!
//! ```text
//!  Intake ─┐ changed                                                      ┌─ waiters of a layer ─► its streams
//!  Intake ─┼────────► debounce ─► merge ─► translate the layers that ─────┼─ waiters of a layer ─► its streams
//!  Intake ─┘                               differ, on all cores           └─ all in place before any is announced
//! ```
//!
//! A layer is in use while a stream follows a scope that sees it. Scopes cost nothing while nothing of theirs
//! changes: nobody goes through scopes or streams. A scope that is new waits for the layers that nobody else sees. They
//! are made beside the changes, which wait for no newcomer.
//!
//! Nothing is published before every registry is settled: it has answered, or its last known good was loaded,
//! or it is optional and its patience is over. At least one registry must be known. If all are optional and
//! none answers, pilot waits: no answer does not mean no services.

mod conflicts;
mod debounce;
pub(crate) mod hint;
mod news;
mod outages;
mod signal;
mod store;
#[cfg(test)]
mod tests;
mod views;
mod whereabouts;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use pilot_registry::RegistryHealth;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::catalog::{Catalog, Known, RegistryState, Source};
use crate::mesh::{Mesh, MeshOptions};
use crate::proxy::{Proxy, Scope, Transport};
use crate::resources::View;
use crate::supervisor::Registered;
use crate::translate::{Built, Conflict, Job};
use conflicts::tell_disagreements;
use news::News;
use outages::Outages;
use store::Store;
use whereabouts::Whereabouts;

pub use debounce::Debounce;
pub use store::TooManyScopes;
pub use views::Views;

/// What every proxy may be told, kept up to date by [`World::follow`].
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    registries: Vec<Registered>,
    options: MeshOptions,
    mesh: watch::Sender<Option<Arc<Mesh>>>,
    store: Store,
    whereabouts: Whereabouts,
    /// When the oldest change was published that is not in the mesh yet.
    unserved_since: Mutex<Option<Instant>>,
}

/// What one translation cost.
#[derive(Clone, Copy, Debug)]
pub struct Translated {
    /// From its beginning to its end.
    pub took: Duration,
    /// How many services and layers failed to be translated that did not fail before.
    pub failures: usize,
}

/// A registry of which nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The registry's name in pilot.toml.
    pub registry: Arc<str>,
    /// Why, in words.
    pub reason: String,
}

impl World {
    /// A world of these registries, of which nothing is known yet. `max_scopes`: how many scopes it follows
    /// whose names clients have chosen.
    pub fn new(registries: Vec<Registered>, options: MeshOptions, max_scopes: usize) -> Self {
        Self(Arc::new(Inner {
            registries,
            options,
            mesh: watch::Sender::new(None),
            store: Store::new(max_scopes),
            whereabouts: Whereabouts::default(),
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
        self.0.unserved_since.lock().map_or(Duration::ZERO, |since| since.elapsed())
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

    /// Follows what a scope sees.
    ///
    /// # Errors
    /// Clients have chosen the name of this scope and of as many others as are allowed.
    pub fn subscribe(&self, scope: &Scope) -> Result<Views, TooManyScopes> {
        self.subscribe_at(scope, None)
    }

    /// The same, for a proxy at that address. [`Views::changed`] returns, too, when the proxy may belong to another
    /// scope, because registries say something else of what is there.
    ///
    /// # Errors
    /// As above.
    pub fn subscribe_at(&self, scope: &Scope, address: Option<IpAddr>) -> Result<Views, TooManyScopes> {
        let seen = self.0.store.subscribe(scope)?;
        Ok(Views::new(seen, &self.0.whereabouts, address))
    }

    /// What a scope sees now, waiting for its layers where nobody else has asked for them; `None` = not known yet, or
    /// one scope too many.
    pub async fn view(&self, scope: &Scope) -> Option<Arc<View>> {
        self.mesh()?;
        let mut views = self.subscribe(scope).ok()?;
        Some(views.wait_for(|_| true).await)
    }

    /// How many scopes are followed.
    pub fn scopes(&self) -> usize {
        self.0.store.scopes()
    }

    /// What services claim against each other, by what is common to the scopes that share it ([`Scope::common`]).
    /// Costs as much as there are roles and config sources that somebody follows, however many scopes there are.
    pub fn conflicts(&self) -> Vec<(Scope, Arc<[Conflict]>)> {
        self.0.store.conflicts()
    }

    /// The layers that could not be made, with the reason, which is a bug. Each is served as it was before, and made
    /// anew when something changes.
    pub fn broken(&self) -> BTreeMap<String, Arc<str>> {
        self.0.store.broken()
    }

    /// The services that could not be translated, with the reason, which is a bug. Each is served as it was before.
    pub fn failures(&self) -> BTreeMap<String, Arc<str>> {
        self.0.store.failures()
    }

    /// Takes in what the registries say and keeps the world up to date, for ever. `translated` is told what
    /// each translation cost.
    pub async fn follow(&self, debounce: Debounce, translated: impl Fn(Translated) + Send + Sync) {
        let registries = self.0.registries.iter();
        let intakes = registries.map(|registered| registered.intake.follow(&registered.feed));
        let mut intakes: FuturesUnordered<_> = intakes.collect();
        // Intakes never end; a world without any goes on as well.
        tokio::join!(self.advance_with(debounce, translated), intakes.next());
    }

    async fn advance_with(&self, mut debounce: Debounce, translated: impl Fn(Translated) + Send + Sync) {
        let mut changes = FuturesUnordered::new();
        for registered in &self.0.registries {
            let mut receiver = registered.intake.subscribe();
            // What was published before counts too.
            receiver.mark_changed();
            changes.push(next_change(receiver));
        }
        let mut seen = vec![0; self.0.registries.len()];
        let (mut news, mut outages) = (News::default(), Outages::default());
        let mut beside = FuturesUnordered::new();
        loop {
            beside.extend(self.newcomers().map(|it| self.build(it)));
            tokio::select! {
                Some(receiver) = changes.next() => {
                    changes.push(next_change(receiver));
                    if self.generations() != seen {
                        debounce.changed(Instant::now());
                        self.note_unserved(&seen);
                    }
                }
                () = self.0.store.wanted() => {}
                Some(newcomer) = beside.next() => {
                    beside.extend(self.arrived(newcomer, &translated).await.map(|it| self.build(it)));
                }
                () = reached(debounce.deadline()), if debounce.is_pending() => {
                    debounce.pushed(Instant::now());
                    let (oldest, now) = (self.oldest_change(&seen), self.generations());
                    if self.advance(oldest, &translated).await {
                        seen = now;
                        *self.0.unserved_since.lock() = None;
                    }
                    self.note_unserved(&seen);
                    self.tell(&mut news);
                    if let Some(mesh) = self.mesh() {
                        outages.tell(&mesh);
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
        let mut since = self.0.unserved_since.lock();
        // A registry that says something else meanwhile makes the oldest change no younger.
        *since = unserved.then(|| since.unwrap_or_else(|| self.oldest_change(seen)));
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
            let Known { snapshot, held, .. } = state.known?;
            let (registry, priority) = (Arc::clone(&registered.name), registered.priority);
            Some(Source { registry, priority, snapshot, held })
        });
        Some(known.collect()).filter(|known: &Vec<_>| !known.is_empty() || self.0.registries.is_empty())
    }

    /// Merges what the registries know into a new mesh and translates it, if that is enough to serve. Says whether it
    /// was done.
    async fn advance(&self, changed: Instant, translated: &(impl Fn(Translated) + Send + Sync)) -> bool {
        let Some(sources) = self.sources() else { return false };
        let before = self.mesh();
        let (world, old) = (self.clone(), before.clone());
        let merged = tokio::task::spawn_blocking(move || {
            let old = old.as_ref().map(|mesh| &mesh.catalog);
            let catalog = Catalog::merge(&sources, old.unwrap_or(&Catalog::default()));
            if old.is_some_and(|old| old.same(&catalog)) {
                return None;
            }
            let mesh = Arc::new(Mesh { catalog, options: world.0.options.clone() });
            let step = world.0.store.step(Arc::clone(&mesh), changed);
            step.prepare();
            Some((mesh, step))
        });
        match merged.await {
            Ok(Some((mesh, step))) => {
                let before = before.as_ref().map(|before| &before.catalog);
                tell_disagreements(&mesh.catalog, before);
                self.0.mesh.send_replace(Some(Arc::clone(&mesh)));
                let started = Instant::now();
                let failures = self.0.store.take(&step).await;
                translated(Translated { took: started.elapsed(), failures });
                self.0.whereabouts.tell(before.unwrap_or(&Catalog::default()), &mesh.catalog);
                true
            }
            Ok(None) => true,
            Err(error) => {
                tracing::error!(%error, "merging registries failed, which is a bug: all stays as it was");
                translated(Translated { took: Duration::ZERO, failures: 1 });
                false
            }
        }
    }

    /// The layers that somebody waits for, or whose making failed. They are made beside the changes.
    fn newcomers(&self) -> impl Iterator<Item = Newcomer> {
        let begun = Instant::now();
        self.0.store.newcomers().into_iter().map(move |job| Newcomer { next: job, begun, rounds: 0 })
    }

    async fn build(&self, Newcomer { next, begun, rounds }: Newcomer) -> Newcomer<Built> {
        Newcomer { next: self.0.store.build(next).await, begun, rounds }
    }

    /// Publishes a layer, unless the changes that came meanwhile are many: it catches up with them beside others.
    async fn arrived(
        &self,
        Newcomer { mut next, begun, rounds }: Newcomer<Built>,
        translated: &(impl Fn(Translated) + Send + Sync),
    ) -> Option<Newcomer> {
        loop {
            match self.0.store.arrived(next).await {
                Ok(failures) => {
                    translated(Translated { took: begun.elapsed(), failures });
                    return None;
                }
                Err(job) if rounds < ROUNDS => {
                    return Some(Newcomer { next: job, begun, rounds: rounds + 1 });
                }
                Err(job) => next = store::build_now(job).await,
            }
        }
    }
}

/// A layer that is made beside the changes.
struct Newcomer<T = Job> {
    next: T,
    begun: Instant,
    /// How often it was to catch up.
    rounds: u32,
}

/// How often a layer catches up beside the changes. There is little left to do each time, but where changes follow each
/// other without end, there is always something: then they wait for it.
const ROUNDS: u32 = 3;

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
