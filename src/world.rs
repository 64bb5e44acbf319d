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
mod judged;
mod news;
mod outages;
mod rulebook;
mod signal;
mod store;
#[cfg(test)]
mod tests;
mod verdicts;
mod views;
mod wait;
mod whereabouts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use pilot_registry::RegistryHealth;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::catalog::{Catalog, Known, RegistryState, Source};
use crate::mesh::{Mesh, MeshOptions};
use crate::proxy::{Proxy, Scope, Transport};
use crate::resources::View;
use crate::rules::Rules;
use crate::supervisor::Registered;
use crate::translate::{Conflict, Job, Layers};
use conflicts::tell_disagreements;
use judged::Judgement;
use news::News;
use outages::Outages;
use rulebook::{Rulebook, Unknown};
use store::Store;
use verdicts::Verdicts;
use wait::{next_change, reached};
use whereabouts::Whereabouts;

pub use debounce::Debounce;
pub use judged::Judged;
pub use rulebook::{RegisteredRules, RulesPolicy};
pub use store::TooManyScopes;
pub use views::Views;

/// What every proxy may be told, kept up to date by [`World::follow`].
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    registries: Vec<Registered>,
    rulebook: Arc<Rulebook>,
    judgement: Judgement,
    options: MeshOptions,
    mesh: watch::Sender<Option<Arc<Mesh>>>,
    store: Store,
    whereabouts: Whereabouts,
    /// When the oldest change was published that is not in the mesh yet.
    unserved_since: Mutex<Option<Instant>>,
    served: watch::Sender<Served>,
}

/// What all layers in use are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// The number of the mesh; 0 = there is none yet.
    pub mesh: u64,
    /// The number of what the stores of rules said ([`World::rules_generation`]).
    pub rules: u64,
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
        Self::ruled(registries, Vec::new(), options, max_scopes)
    }

    /// The same, with stores of rules.
    pub fn ruled(
        registries: Vec<Registered>,
        rules: Vec<RegisteredRules>,
        options: MeshOptions,
        max_scopes: usize,
    ) -> Self {
        Self(Arc::new(Inner {
            registries,
            rulebook: Arc::new(Rulebook::new(rules)),
            judgement: Judgement::default(),
            options,
            mesh: watch::Sender::new(None),
            store: Store::new(max_scopes),
            whereabouts: Whereabouts::default(),
            unserved_since: Mutex::default(),
            served: watch::Sender::default(),
        }))
    }

    /// The registries that it is made from.
    pub fn registries(&self) -> &[Registered] {
        &self.0.registries
    }

    /// The stores of rules that it is made from.
    pub fn rule_stores(&self) -> &[RegisteredRules] {
        self.0.rulebook.stores()
    }

    /// The stores of rules, by name, that lost all documents at once and are not believed yet.
    pub fn rules_held(&self) -> BTreeSet<Arc<str>> {
        self.0.rulebook.held()
    }

    /// What became of each document, store by store, in the order of each.
    pub fn judged(&self) -> Arc<[Judged]> {
        self.0.judgement.of(&self.0.rulebook, self.mesh())
    }

    /// The number of what the stores of rules said when they were looked at last.
    pub fn rules_generation(&self) -> u64 {
        self.0.rulebook.generation()
    }

    /// What all layers in use are of. Changes each time after all of them are in place.
    pub fn served(&self) -> watch::Receiver<Served> {
        self.0.served.subscribe()
    }

    /// Whether something that a registry or a store of rules said is not served yet.
    pub fn is_behind(&self) -> bool {
        let has_other_rules = || self.rules_generation() > self.0.served.borrow().rules;
        self.0.unserved_since.lock().is_some() || self.0.rulebook.is_behind() || has_other_rules()
    }

    /// The mesh that the layers in use are of, and a copy of these, which share everything with it; `None` = not known yet.
    pub(crate) fn in_force(&self) -> Option<(Arc<Mesh>, Layers)> {
        let layers = self.0.store.copy();
        Some((Arc::clone(layers.mesh()?), layers))
    }

    /// What a scope sees now, if somebody follows it and it is known.
    pub(crate) fn peek(&self, scope: &Scope) -> Option<Arc<View>> {
        self.0.store.peek(scope)
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
            let disk = registered.intake.disk().and_then(|disk| disk.error);
            let reason = why_unknown(&registered.feed.health(), disk);
            Waiting { registry: Arc::clone(&registered.name), reason }
        };
        let registries = self.0.registries.iter().filter(waits).map(waiting);
        let rules = self.0.rulebook.unknown().into_iter().map(|Unknown { store, disk }| Waiting {
            registry: format!("rules.{}", store.name).into(),
            reason: why_unknown(&store.feed.health(), disk),
        });
        registries.chain(rules).collect()
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

    /// Takes in what the registries and the stores of rules say and keeps the world up to date, for ever. `translated` is
    /// told what each translation cost.
    pub async fn follow(&self, debounce: Debounce, translated: impl Fn(Translated) + Send + Sync) {
        let registries = self.0.registries.iter();
        let intakes = registries.map(|registered| registered.intake.follow(&registered.feed));
        let mut intakes: FuturesUnordered<_> = intakes.collect();
        // None of them ends, and none waits for another; a world without any registry goes on as well.
        let steps = self.advance_with(debounce, &translated);
        let newcomers = self.bring_newcomers(&translated);
        tokio::join!(steps, newcomers, self.0.rulebook.follow(), intakes.next());
    }

    /// Writes what of registries and rules is not on disk yet, for the end.
    pub async fn flush(&self) {
        let registries = self.0.registries.iter();
        let registries = registries.map(|registered| registered.intake.flush(&registered.feed));
        tokio::join!(join_all(registries), self.0.rulebook.flush());
    }

    async fn advance_with(&self, mut debounce: Debounce, translated: &(impl Fn(Translated) + Send + Sync)) {
        let mut changes = FuturesUnordered::new();
        for registered in &self.0.registries {
            let mut receiver = registered.intake.subscribe();
            // What was published before counts too.
            receiver.mark_changed();
            changes.push(next_change(receiver));
        }
        let mut rules = self.0.rulebook.subscribe();
        if self.0.rulebook.generation() > 0 {
            rules.mark_changed();
        }
        let mut rules = Box::pin(next_change(rules));
        let mut seen = vec![0; self.0.registries.len()];
        let (mut news, mut outages) = (News::default(), Outages::default());
        let (mut verdicts, mut judging) = (Verdicts::default(), FuturesUnordered::new());
        loop {
            tokio::select! {
                Some(receiver) = changes.next() => {
                    changes.push(next_change(receiver));
                    if self.generations() != seen {
                        debounce.changed(Instant::now());
                        self.note_unserved(&seen);
                    }
                }
                receiver = &mut rules => {
                    rules.set(next_change(receiver));
                    debounce.changed(Instant::now());
                }
                () = reached(Some(debounce.deadline())), if debounce.is_pending() => {
                    debounce.pushed(Instant::now());
                    let (oldest, now) = (self.oldest_change(&seen), self.generations());
                    let (rules_generation, rules) = self.0.rulebook.in_force();
                    let advanced = self.advance(oldest, rules, translated).await;
                    if advanced {
                        seen = now;
                        *self.0.unserved_since.lock() = None;
                    }
                    self.note_unserved(&seen);
                    if advanced {
                        let mesh = self.0.store.generation();
                        self.0.served.send_replace(Served { mesh, rules: rules_generation });
                    }
                    if !self.0.rulebook.stores().is_empty() {
                        verdicts.changed(Instant::now());
                    }
                    self.tell(&mut news);
                    if let Some(mesh) = self.mesh() {
                        outages.tell(&mesh);
                    }
                }
                () = reached(news.due()) => self.tell(&mut news),
                () = reached(verdicts.due()), if judging.is_empty() => {
                    verdicts.begin();
                    judging.push(self.judge());
                }
                Some(judged) = judging.next() => {
                    if let Some((judged, took)) = judged {
                        verdicts.tell(&judged, took);
                    }
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
    async fn advance(
        &self,
        changed: Instant,
        rules: Option<Rules>,
        translated: &(impl Fn(Translated) + Send + Sync),
    ) -> bool {
        let Some((sources, rules)) = self.sources().zip(rules) else { return false };
        let before = self.mesh();
        let (world, old) = (self.clone(), before.clone());
        let merged = tokio::task::spawn_blocking(move || {
            let known = old.as_ref().map(|mesh| &mesh.rules);
            let old = old.as_ref().map(|mesh| &mesh.catalog);
            let catalog = Catalog::merge(&sources, old.unwrap_or(&Catalog::default()));
            if old.is_some_and(|old| old.same(&catalog)) && known.is_some_and(|it| it.same(&rules)) {
                return None;
            }
            let mesh = Arc::new(Mesh::new(catalog, rules, world.0.options.clone()));
            let step = world.0.store.step(Arc::clone(&mesh), changed);
            step.prepare();
            Some((mesh, step))
        });
        match merged.await {
            Ok(Some((mesh, step))) => {
                let is_told_otherwise = before.as_ref().is_some_and(|before| {
                    !before.rules.tell_apart_like(&mesh.rules) || before.label_values() != mesh.label_values()
                });
                let before = before.as_ref().map(|before| &before.catalog);
                tell_disagreements(&mesh.catalog, before);
                self.0.mesh.send_replace(Some(Arc::clone(&mesh)));
                let started = Instant::now();
                let failures = self.0.store.take(&step).await;
                translated(Translated { took: started.elapsed(), failures });
                if is_told_otherwise {
                    self.0.whereabouts.tell_everybody();
                }
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

    /// What became of each document, and how long it took to find out, on a thread that may take its time.
    async fn judge(&self) -> Option<(Arc<[Judged]>, Duration)> {
        let world = self.clone();
        let judged = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            (world.mesh().is_some()).then(|| (world.judged(), began.elapsed()))
        });
        judged.await.unwrap_or_else(|error| {
            tracing::error!(%error, "judging documents failed: this is a bug");
            None
        })
    }

    /// Makes the layers that somebody waits for, or whose making failed: each for itself, beside the changes.
    async fn bring_newcomers(&self, translated: &(impl Fn(Translated) + Send + Sync)) {
        let mut beside = FuturesUnordered::new();
        loop {
            beside.extend(self.0.store.newcomers().into_iter().map(|job| self.bring(job, translated)));
            tokio::select! {
                () = self.0.store.wanted() => {}
                // What is made from it may be wanted, too.
                Some(()) = beside.next() => {}
            }
        }
    }

    /// Makes a layer and publishes it.
    async fn bring(&self, job: Job, translated: &(impl Fn(Translated) + Send + Sync)) {
        let begun = Instant::now();
        let failures = self.0.store.bring(job).await;
        translated(Translated { took: begun.elapsed(), failures });
    }
}

/// Why nothing is known, in words. `disk`: what is wrong with the last known good.
fn why_unknown(health: &RegistryHealth, disk: Option<impl std::fmt::Display>) -> String {
    let reason = match health {
        RegistryHealth::Degraded(trouble) => trouble.error.chain(),
        RegistryHealth::Connecting | RegistryHealth::Live => "has not answered yet".to_owned(),
    };
    disk.map_or(reason.clone(), |error| format!("{reason}; last known good: {error}"))
}
