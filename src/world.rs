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
mod follow;
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

use parking_lot::Mutex;
use pilot_registry::RegistryHealth;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::mesh::{Mesh, MeshOptions};
use crate::proxy::{Proxy, Scope, Transport};
use crate::resources::View;
use crate::supervisor::Registered;
use crate::translate::{Conflict, Layers};
use judged::Judgement;
use rulebook::{Rulebook, Unknown};
use store::LayerStore;
use whereabouts::Whereabouts;

pub use debounce::Debounce;
pub use follow::Translated;
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
    store: LayerStore,
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
            store: LayerStore::new(max_scopes),
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
}

/// Why nothing is known, in words. `disk`: what is wrong with the last known good.
fn why_unknown(health: &RegistryHealth, disk: Option<impl std::fmt::Display>) -> String {
    let reason = match health {
        RegistryHealth::Degraded(trouble) => trouble.error.chain(),
        RegistryHealth::Connecting | RegistryHealth::Live => "has not answered yet".to_owned(),
    };
    disk.map_or(reason.clone(), |error| format!("{reason}; last known good: {error}"))
}
