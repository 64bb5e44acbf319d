//! The layers in use, and what has to be made anew at each step.
//!
//! ```text
//!            LayerKey::Scoped     endpoints that only a namespace sees
//!            LayerKey::Audience   what a namespace sees otherwise   made from the base
//!  a scope   LayerKey::Place      endpoints nearer or farther       ┐
//!  sees, top LayerKey::Base       clusters, listeners, routes       ├ made from the mesh, each on its own
//!  to bottom LayerKey::Endpoints  endpoints as everybody sees them  ┘
//! ```
//!
//! Nothing here waits or runs anything: [`Layers`] says which layers a step touches ([`Layers::jobs`]), somebody runs
//! these jobs on as many cores as there are, and [`Layers::commit`] takes the results in, all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::assignments::Assignments;
use super::audience::Audience;
use super::base::{Base, http_listen};
use super::conflict::Conflict;
use super::context::NOWHERE;
use super::parts::Parts;
use super::scoped::ScopedEndpoints;
use super::step::{Failures, Step};
use crate::mesh::Mesh;
use crate::proxy::{ConfigSource, Role, Scope};
use crate::resources::{Layer, Published, View};
use pilot_registry::{Locality, Namespace};

/// Which layer. Keys hold answers, never what a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerKey {
    /// The endpoints of all services, as proxies see them for which no place matters. Whether they have an
    /// `http_listen` matters to endpoints that listen there.
    Endpoints {
        /// Whether the proxies are routers.
        is_router: bool,
    },
    /// What proxies of one role and config source share beside that.
    Base(Role, ConfigSource),
    /// The endpoints that look different from one place.
    Place {
        /// Whether the proxies are routers.
        is_router: bool,
        /// Where they run.
        locality: Locality,
    },
    /// Listeners and routes of proxies that take routes in parts.
    Parts(Role, ConfigSource),
    /// What proxies of one namespace see otherwise than the base says.
    Audience(Role, ConfigSource, Namespace),
    /// The endpoints of services that proxies of one namespace see and not everybody does.
    Scoped {
        /// Whether the proxies are routers.
        is_router: bool,
        /// Where they run.
        locality: Locality,
        /// Their namespace.
        namespace: Namespace,
    },
}

impl LayerKey {
    /// The layers that a scope sees, the topmost first.
    pub fn of(scope: &Scope) -> Vec<Self> {
        let (role, source) = (scope.role, &scope.config_source);
        let is_router = role == Role::Router;
        let audience = scope.namespace.as_ref().map(|it| Self::Audience(role, source.clone(), it.clone()));
        let scoped = scope.namespace.as_ref().map(|namespace| Self::Scoped {
            is_router,
            locality: scope.locality.clone(),
            namespace: namespace.clone(),
        });
        let place = Some(&scope.locality).filter(|locality| *locality != NOWHERE);
        let place = place.map(|locality| Self::Place { is_router, locality: locality.clone() });
        let below = [Self::base_of(scope), Self::Endpoints { is_router }];
        let in_parts = scope.client.has_vhds() && scope.namespace.is_none();
        let parts = in_parts.then(|| Self::Parts(role, source.clone()));
        scoped.into_iter().chain(audience).chain(parts).chain(place).chain(below).collect()
    }

    /// The base of a scope.
    pub fn base_of(scope: &Scope) -> Self {
        Self::Base(scope.role, scope.config_source.clone())
    }

    /// The base that the layer is made from; none if it is made from the mesh alone.
    fn base(&self) -> Option<Self> {
        match self {
            Self::Parts(role, source) | Self::Audience(role, source, _) => {
                Some(Self::Base(*role, source.clone()))
            }
            Self::Endpoints { .. } | Self::Base(..) | Self::Place { .. } | Self::Scoped { .. } => None,
        }
    }
}

/// A layer, and what is needed to make the next one of it.
#[derive(Clone, Debug)]
pub enum Made {
    /// Of [`LayerKey::Endpoints`] and [`LayerKey::Place`].
    Assignments(Arc<Assignments>),
    /// Of [`LayerKey::Base`].
    Base(Arc<Base>),
    /// Of [`LayerKey::Parts`].
    Parts(Arc<Parts>),
    /// Of [`LayerKey::Audience`].
    Audience(Arc<Audience>),
    /// Of [`LayerKey::Scoped`].
    Scoped(Arc<ScopedEndpoints>),
}

impl Made {
    /// The layer.
    pub fn layer(&self) -> &Arc<Layer> {
        match self {
            Self::Assignments(made) => made.layer(),
            Self::Base(made) => made.layer(),
            Self::Parts(made) => made.layer(),
            Self::Audience(made) => made.layer(),
            Self::Scoped(made) => made.layer(),
        }
    }

    fn failures(&self) -> Option<&Failures> {
        match self {
            Self::Assignments(made) => Some(made.failures()),
            Self::Base(made) => Some(made.failures()),
            Self::Audience(made) => Some(made.failures()),
            Self::Scoped(made) => Some(made.failures()),
            // It has no services of its own.
            Self::Parts(_) => None,
        }
    }
}

/// One layer that is to be made: costs time, and needs nothing but what it holds.
pub struct Job {
    key: LayerKey,
    before: Option<Made>,
    base: Option<Arc<Base>>,
    step: Arc<Step>,
}

impl Job {
    /// Makes the layer. `None`: it is made from a base that there is not.
    pub fn run(self) -> Option<(LayerKey, Made)> {
        let Self { key, before, base, step } = self;
        let options = &step.mesh.options;
        let listen =
            |is_router: &bool| http_listen(if *is_router { Role::Router } else { Role::Sidecar }, options);
        let assignments = |is_router: &bool, place: &Locality| {
            let before = match &before {
                Some(Made::Assignments(before)) => Some(&**before),
                _ => None,
            };
            Made::Assignments(Arc::new(Assignments::next(before, listen(is_router), place, &step)))
        };
        let made = match &key {
            LayerKey::Endpoints { is_router } => assignments(is_router, NOWHERE),
            LayerKey::Place { is_router, locality } => assignments(is_router, locality),
            LayerKey::Scoped { is_router, locality, namespace } => {
                let before = match &before {
                    Some(Made::Scoped(before)) => Some(&**before),
                    _ => None,
                };
                let listen = listen(is_router);
                Made::Scoped(Arc::new(ScopedEndpoints::next(before, listen, namespace, locality, &step)))
            }
            LayerKey::Base(role, source) => {
                let before = match &before {
                    Some(Made::Base(before)) => Some(&**before),
                    _ => None,
                };
                Made::Base(Arc::new(Base::next(before, *role, source, &step)))
            }
            LayerKey::Parts(..) => {
                let before = match &before {
                    Some(Made::Parts(before)) => Some(&**before),
                    _ => None,
                };
                Made::Parts(Arc::new(Parts::next(before, base.as_deref()?, &step)))
            }
            LayerKey::Audience(_, _, namespace) => {
                let before = match &before {
                    Some(Made::Audience(before)) => Some(&**before),
                    _ => None,
                };
                Made::Audience(Arc::new(Audience::next(before, namespace, base.as_deref()?, &step)))
            }
        };
        Some((key, made))
    }
}

/// Layers that jobs have made for one step, not yet taken in.
pub type Results = BTreeMap<LayerKey, Made>;

/// Jobs of one wave need nothing of each other, and what waves before have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wave {
    /// Layers that are made from the mesh alone.
    Mesh,
    /// Layers that are made from a base.
    Base,
}

impl Wave {
    /// All waves, in order.
    pub const ALL: [Self; 2] = [Self::Mesh, Self::Base];
}

/// The layers in use.
#[derive(Clone, Default)]
pub struct Layers {
    generation: u64,
    mesh: Option<Arc<Mesh>>,
    made: BTreeMap<LayerKey, Made>,
    /// Those that somebody wants and nobody has made yet.
    wanted: BTreeSet<LayerKey>,
}

impl Layers {
    /// The mesh that they are of; `None` = not known yet.
    pub fn mesh(&self) -> Option<&Arc<Mesh>> {
        self.mesh.as_ref()
    }

    /// The layer of that key, if it is made.
    pub fn get(&self, key: &LayerKey) -> Option<&Made> {
        self.made.get(key)
    }

    /// A layer comes into use. Says whether it is to be made.
    pub fn want(&mut self, key: &LayerKey) -> bool {
        !self.made.contains_key(key) && self.wanted.insert(key.clone())
    }

    /// The layers of a scope come into use.
    pub fn follow(&mut self, scope: &Scope) {
        LayerKey::of(scope).iter().for_each(|key| _ = self.want(key));
    }

    /// Forgets layers that are no longer in use.
    pub fn retain(&mut self, in_use: impl Fn(&LayerKey) -> bool) {
        self.made.retain(|key, _| in_use(key));
        self.wanted.retain(|key| in_use(key));
    }

    /// The step to a mesh.
    pub fn step(&self, mesh: Arc<Mesh>, changed: Published) -> Arc<Step> {
        Arc::new(Step::new(self.mesh.clone(), mesh, self.generation + 1, changed))
    }

    /// A step that changes nothing: layers that are wanted are made of the mesh as it is. `None` = none is known.
    pub fn standstill(&self, now: Published) -> Option<Arc<Step>> {
        let mesh = self.mesh.clone()?;
        Some(Arc::new(Step::new(Some(Arc::clone(&mesh)), mesh, self.generation, now)))
    }

    /// What has to be made in a wave: what the step touches, and what is wanted. `done`: what waves before have made.
    pub fn jobs(&self, step: &Arc<Step>, wave: Wave, done: &Results) -> Vec<Job> {
        let of_wave = |key: &&LayerKey| key.base().is_some() == (wave == Wave::Base);
        let regions = regions(step);
        let touched = self.made.iter().filter(|(key, _)| of_wave(key));
        let touched = touched.filter(|(key, made)| self.is_touched(key, made, step, &regions, done));
        let touched = touched.map(|(key, made)| (key, Some(made.clone())));
        let wanted = self.wanted.iter().filter(of_wave).map(|key| (key, None));
        let job = |(key, before): (&LayerKey, Option<Made>)| {
            let base = key.base().and_then(|base| self.base(&base, done));
            Job { key: key.clone(), before, base, step: Arc::clone(step) }
        };
        touched.chain(wanted).map(job).collect()
    }

    fn is_touched(
        &self,
        key: &LayerKey,
        made: &Made,
        step: &Step,
        regions: &BTreeSet<&str>,
        done: &Results,
    ) -> bool {
        if !step.continues() {
            return true;
        }
        match (key, made) {
            (LayerKey::Parts(..), Made::Parts(parts)) => {
                let base = key.base().and_then(|base| self.base(&base, done));
                base.is_some_and(|base| !parts.is_current(&base))
            }
            (LayerKey::Audience(_, _, namespace), Made::Audience(audience)) => {
                let base = key.base().and_then(|base| self.base(&base, done));
                base.is_some_and(|base| !audience.is_current(namespace, &base))
            }
            (LayerKey::Scoped { namespace, .. }, _) => {
                step.scoped_changes().values().any(|namespaces| namespaces.contains(namespace))
            }
            // From a place, only what is in its region is near.
            (LayerKey::Place { locality, .. }, _) => regions.contains(&*locality.region),
            _ => !step.changes().is_empty(),
        }
    }

    fn base(&self, key: &LayerKey, done: &Results) -> Option<Arc<Base>> {
        match done.get(key).or_else(|| self.made.get(key)) {
            Some(Made::Base(base)) => Some(Arc::clone(base)),
            _ => None,
        }
    }

    /// Takes in what was made for a step. Gives the keys of the layers that are others now.
    pub fn commit(&mut self, step: &Step, done: Results) -> Vec<LayerKey> {
        self.generation = step.generation;
        self.mesh = Some(Arc::clone(&step.mesh));
        let mut changed = Vec::new();
        for (key, made) in done {
            self.wanted.remove(&key);
            let before = self.made.get(&key).map(|before| Arc::clone(before.layer()));
            if before.is_none_or(|before| !Arc::ptr_eq(&before, made.layer())) {
                changed.push(key.clone());
            }
            self.made.insert(key, made);
        }
        changed
    }

    /// What a scope sees; `None` = its layers are not made yet.
    pub fn view(&self, scope: &Scope) -> Option<View> {
        let layers = LayerKey::of(scope)
            .into_iter()
            .map(|key| self.made.get(&key).map(|made| Arc::clone(made.layer())));
        let mut layers: Vec<_> = layers.collect::<Option<_>>()?;
        let base = layers.pop()?;
        Some(View::new(layers, base))
    }

    /// What services claim against each other, as far as a scope's base has it.
    pub fn conflicts(&self, scope: &Scope) -> Arc<[Conflict]> {
        match self.made.get(&LayerKey::base_of(scope)) {
            Some(Made::Base(base)) => Arc::clone(base.conflicts()),
            _ => Arc::default(),
        }
    }

    /// The bases that are made, each with what is common to the scopes that share it ([`Scope::common`]). Costs as
    /// much as there are bases, however many layers there are.
    pub fn bases(&self) -> impl Iterator<Item = (Scope, &Base)> {
        // In the order of keys, bases come after endpoints and before all others.
        let endpoints = LayerKey::Endpoints { is_router: true };
        let above = self.made.range((Bound::Excluded(endpoints), Bound::Unbounded));
        above.map_while(|(key, made)| match (key, made) {
            (LayerKey::Base(role, source), Made::Base(base)) => {
                Some((Scope::new(*role, source.clone()), &**base))
            }
            _ => None,
        })
    }

    /// The services whose translation failed in some layer, with the reason. Each keeps what it had before.
    pub fn failures(&self) -> BTreeMap<String, Arc<str>> {
        let failures = self.made.values().filter_map(|made| made.failures()).flatten();
        failures.map(|(host, failure)| (host.to_string(), Arc::clone(&failure.why))).collect()
    }

    /// Goes to a mesh, one job after the other.
    pub fn advance(&mut self, mesh: Arc<Mesh>, changed: Published) {
        let step = self.step(mesh, changed);
        let mut done = Results::new();
        for wave in Wave::ALL {
            let jobs = self.jobs(&step, wave, &done);
            done.extend(jobs.into_iter().filter_map(Job::run));
        }
        self.commit(&step, done);
    }
}

/// The regions in which services that changed have, or had, endpoints.
fn regions(step: &Step) -> BTreeSet<&str> {
    let services = step.changes().iter().flat_map(|change| change.old.iter().chain(&change.new));
    let endpoints = services.flat_map(|service| service.endpoints());
    endpoints.map(|(_, endpoint)| endpoint.locality.region.as_str()).collect()
}
