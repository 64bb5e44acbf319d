//! The endpoints of services that clients of one namespace see and not everybody does, as seen from one place.
//!
//! Such a service may hide another of the same host, whose endpoints are hidden then.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use imbl::OrdMap;
use pilot_registry::{Hostname, Namespace, Resolution, ServiceId};

use super::assignments::{cluster_names, resources};
use super::context::Lens;
use super::place::Place;
use super::rules::{ANYBODY, Viewer};
use super::step::{FailedTranslation, Failures, Step, attempt};
use crate::catalog::{CatalogService, visible};
use crate::mesh::Mesh;
use crate::resources::{Layer, Patch, PerType, Resource, ResourceType};

/// The endpoints that one namespace sees beside those that everybody sees, from one place.
#[derive(Clone, Debug)]
pub struct ScopedEndpoints {
    /// What the layer says of each host.
    said: OrdMap<Hostname, Arc<Said>>,
    failures: Failures,
    layer: Arc<Layer>,
}

/// What is there instead of what everybody sees of a host.
#[derive(Debug, Default)]
struct Said {
    resources: Vec<(ResourceType, Arc<Resource>)>,
    /// The assignments that are hidden.
    hidden: BTreeSet<Arc<str>>,
}

impl ScopedEndpoints {
    /// Follows a step. `before`: what was there; `None` = nothing.
    pub(super) fn next(
        before: Option<&Self>,
        http_listen: Option<SocketAddr>,
        namespace: &Namespace,
        place: Place<'_>,
        step: &Step,
    ) -> Self {
        let before = before.filter(|_| step.continues());
        let scoped = if before.is_some() { step.scoped_changes() } else { step.scoped_everything() };
        let mut next = before.cloned().unwrap_or_else(|| Self {
            said: OrdMap::new(),
            failures: Failures::new(),
            layer: Arc::new(Layer::empty(step.generation, step.changed)),
        });
        let lens = Lens::new(http_listen, place, &step.mesh.options);
        let (mut patches, mut hidden) = (PerType::<Patch>::default(), next.layer.hidden.clone());
        for host in scoped.iter().filter(|(_, who)| who.contains(namespace)).map(|(host, _)| host) {
            let of_host = step.mesh.catalog.of_host(host.as_str());
            let seen = visible(of_host, Some(namespace)).filter(|seen| seen.id().owner.is_some());
            let id = ServiceId { host: host.clone(), owner: seen.and_then(|seen| seen.id().owner.clone()) };
            let old = next.said.get(host).cloned().unwrap_or_default();
            let made =
                attempt(|| seen.map(|seen| Said::of(seen, of_host, &lens, &step.mesh, namespace, &old)));
            let new = match made {
                Ok(new) => new,
                Err(why) => {
                    next.failures.insert(id, FailedTranslation { why, last: None });
                    continue;
                }
            };
            next.failures = next.failures.into_iter().filter(|(failed, _)| failed.host != *host).collect();
            for (kind, gone) in &old.resources {
                patches[*kind].insert(Arc::clone(gone.name()), None);
            }
            old.hidden.iter().for_each(|name| _ = hidden[ResourceType::Endpoint].remove(name));
            next.said.remove(host);
            let Some(new) = new else { continue };
            for (kind, come) in &new.resources {
                patches[*kind].insert(Arc::clone(come.name()), Some(Arc::clone(come)));
            }
            hidden[ResourceType::Endpoint].extend(new.hidden.iter().cloned());
            next.said.insert(host.clone(), Arc::new(new));
        }
        let mut sets = next.layer.sets.clone();
        let changed = patches.iter().fold(false, |changed, (kind, patch)| sets[kind].apply(patch) | changed);
        if changed || hidden != next.layer.hidden {
            next.layer = Arc::new(Layer { hidden, ..Layer::of(step.generation, step.changed, sets) });
        }
        next
    }

    /// Its resources.
    pub(super) fn layer(&self) -> &Arc<Layer> {
        &self.layer
    }

    /// The services whose translation failed.
    pub(super) fn failures(&self) -> &Failures {
        &self.failures
    }
}

impl Said {
    /// For who sees this one of the services of its host.
    fn of(
        seen: &CatalogService,
        of_host: &[Arc<CatalogService>],
        lens: &Lens<'_>,
        mesh: &Mesh,
        namespace: &Namespace,
        old: &Self,
    ) -> Self {
        // Those of no place stand in the clusters that all of the namespace have.
        let is_said = !lens.place.is_nowhere() || seen.lead().resolution == Resolution::Endpoints;
        let viewer = Viewer { namespace: namespace.as_str(), ..ANYBODY };
        let made = if is_said { resources(seen, lens, mesh, viewer, true) } else { Vec::new() };
        let reused = |(kind, made): (ResourceType, Resource)| {
            let known = old.resources.iter().find(|(other, known)| *other == kind && **known == made);
            (kind, known.map_or_else(|| Arc::new(made), |(_, known)| Arc::clone(known)))
        };
        let resources: Vec<_> = made.into_iter().map(reused).collect();
        let everybodys = of_host.iter().find(|service| service.id().owner.is_none());
        let everybodys = everybodys.filter(|service| service.lead().resolution == Resolution::Endpoints);
        let hidden = everybodys.into_iter().flat_map(|service| cluster_names(service));
        let is_said = |name: &Arc<str>| {
            resources.iter().any(|(kind, own)| *kind == ResourceType::Endpoint && own.name() == name)
        };
        let hidden = hidden.filter(|name| !is_said(name)).collect();
        Self { resources, hidden }
    }
}
