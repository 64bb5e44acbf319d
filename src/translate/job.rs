//! One layer that is to be made, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::assignments::Assignments;
use super::audience::Audience;
use super::base::{Base, http_listen};
use super::gateways::Gateways;
use super::key::LayerKey;
use super::parts::Parts;
use super::place::Place;
use super::scoped::ScopedEndpoints;
use super::step::{Failures, Step, attempt};
use crate::proxy::Role;
use crate::resources::Layer;

/// A layer, and what is needed to make the next one of it.
#[derive(Clone, Debug)]
pub enum Made {
    /// Of [`LayerKey::Endpoints`] and [`LayerKey::Place`].
    Assignments(Arc<Assignments>),
    /// Of [`LayerKey::Base`].
    Base(Arc<Base>),
    /// Of [`LayerKey::Parts`] and [`LayerKey::AudienceParts`].
    Parts(Arc<Parts>),
    /// Of [`LayerKey::Audience`].
    Audience(Arc<Audience>),
    /// Of [`LayerKey::Scoped`].
    Scoped(Arc<ScopedEndpoints>),
    /// Of [`LayerKey::Gateways`].
    Gateways(Arc<Gateways>),
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
            Self::Gateways(made) => made.layer(),
        }
    }

    pub(super) fn failures(&self) -> Option<&Failures> {
        match self {
            Self::Assignments(made) => Some(made.failures()),
            Self::Base(made) => Some(made.failures()),
            Self::Audience(made) => Some(made.failures()),
            Self::Scoped(made) => Some(made.failures()),
            // They have no services of their own.
            Self::Parts(_) | Self::Gateways(_) => None,
        }
    }
}

/// A layer, or why making it failed, which is a bug.
pub type JobResult = Result<Made, Arc<str>>;

/// Layers that jobs have made for one step, not yet taken in.
pub type Results = BTreeMap<LayerKey, JobResult>;

/// Makes layers. Tests put another in its place, which fails or takes its time.
#[derive(Clone)]
pub(crate) struct Maker(Arc<dyn Fn(&Job) -> Made + Send + Sync>);

impl Default for Maker {
    fn default() -> Self {
        Self(Arc::new(Job::make))
    }
}

#[cfg(test)]
impl Maker {
    /// Does something before it makes a layer.
    pub(crate) fn after(first: impl Fn(&Job) + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |job| {
            first(job);
            job.make()
        }))
    }
}

/// One layer that is to be made: costs time, and needs nothing but what it holds.
pub struct Job {
    pub(super) key: LayerKey,
    /// What is continued; `None` = it is made from nothing.
    pub(super) before: Option<Made>,
    /// What it is made from, if it is made from a base.
    pub(super) base: Option<Arc<Base>>,
    /// What it is made from, if it is made from an audience.
    pub(super) audience: Option<Arc<Audience>>,
    pub(super) step: Arc<Step>,
    pub(super) maker: Maker,
}

/// A layer that was made beside the steps: it is of the mesh that there was when it was begun.
pub struct Built {
    pub(super) key: LayerKey,
    pub(super) step: Arc<Step>,
    pub(super) from_nothing: bool,
    pub(super) outcome: JobResult,
}

impl Job {
    /// The layer.
    pub fn key(&self) -> &LayerKey {
        &self.key
    }

    /// Whether it is made from nothing.
    pub fn is_from_nothing(&self) -> bool {
        self.before.is_none()
    }

    /// Makes the layer. A panic costs this layer, and nothing else.
    pub fn run(self) -> (LayerKey, JobResult) {
        let outcome = attempt(|| (self.maker.0)(&self));
        (self.key, outcome)
    }

    /// Makes a layer beside the steps.
    pub fn build(self) -> Built {
        let (step, from_nothing) = (Arc::clone(&self.step), self.is_from_nothing());
        let (key, outcome) = self.run();
        Built { key, step, from_nothing, outcome }
    }

    fn make(&self) -> Made {
        let Self { key, before, base, audience, step, maker: _ } = self;
        let options = &step.mesh.options;
        let listen =
            |is_router: &bool| http_listen(if *is_router { Role::Router } else { Role::Sidecar }, options);
        let base = || base.as_deref().expect("its base is made before it");
        let assignments = |is_router: &bool, place: Place<'_>| {
            let before = match before {
                Some(Made::Assignments(before)) => Some(&**before),
                _ => None,
            };
            Made::Assignments(Arc::new(Assignments::next(before, listen(is_router), place, step)))
        };
        match key {
            LayerKey::Endpoints { is_router } => assignments(is_router, Place::NOWHERE),
            LayerKey::Place { is_router, locality, affinity } => {
                assignments(is_router, Place { locality, affinity })
            }
            LayerKey::Scoped { is_router, namespace, locality, affinity } => {
                let place = Place { locality, affinity };
                let before = match before {
                    Some(Made::Scoped(before)) => Some(&**before),
                    _ => None,
                };
                let listen = listen(is_router);
                Made::Scoped(Arc::new(ScopedEndpoints::next(before, listen, namespace, place, step)))
            }
            LayerKey::Base(role, source) => {
                let before = match before {
                    Some(Made::Base(before)) => Some(&**before),
                    _ => None,
                };
                Made::Base(Arc::new(Base::next(before, *role, source, step)))
            }
            LayerKey::Parts(..) | LayerKey::AudienceParts(..) => {
                let before = match before {
                    Some(Made::Parts(before)) => Some(&**before),
                    _ => None,
                };
                let over = audience.as_ref().map_or_else(|| base().layer(), |audience| audience.layer());
                Made::Parts(Arc::new(Parts::next(before, base(), over, step)))
            }
            LayerKey::Gateways(source, viewpoint) => {
                let before = match before {
                    Some(Made::Gateways(before)) => Some(&**before),
                    _ => None,
                };
                Made::Gateways(Arc::new(Gateways::next(before, viewpoint, source, step)))
            }
            LayerKey::Audience(_, _, viewpoint) => {
                let before = match before {
                    Some(Made::Audience(before)) => Some(&**before),
                    _ => None,
                };
                Made::Audience(Arc::new(Audience::next(before, viewpoint, base(), step)))
            }
        }
    }
}
