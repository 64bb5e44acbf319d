//! A layer of endpoints: of all services that everybody sees, as everybody sees them; or of those that look different
//! from one place.
//!
//! Nearness changes priorities, and nothing else. Only services with nearer and farther endpoints look different
//! from a place. Their endpoints are resources, or stand in clusters that the proxy resolves itself.

use std::net::SocketAddr;
use std::sync::Arc;

use pilot_registry::{Locality, Resolution, ServicePort};

use super::context::{Lens, NOWHERE};
use super::proximity::Proximity;
use super::step::{Failure, Failures, Step, attempt};
use super::{clusters, endpoints, names};
use crate::catalog::CatalogService;
use crate::mesh::MeshOptions;
use crate::resources::{Layer, Origin, Patch, PerType, Resource, ResourceType};

/// The endpoints that one place sees, or all who are nowhere.
#[derive(Clone, Debug)]
pub struct Assignments {
    layer: Arc<Layer>,
    failures: Failures,
}

impl Assignments {
    /// Follows a step. `before`: what was there; `None` = nothing.
    pub(super) fn next(
        before: Option<&Self>,
        http_listen: Option<SocketAddr>,
        place: &Locality,
        step: &Step,
    ) -> Self {
        let lens =
            Lens { http_listen, locality: place, serves_unhealthy: step.mesh.options.serves_unhealthy };
        Self::next_with(before, step, |service| resources(service, &lens, &step.mesh.options))
    }

    fn next_with(
        before: Option<&Self>,
        step: &Step,
        translate: impl Fn(&CatalogService) -> Vec<(ResourceType, Resource)>,
    ) -> Self {
        let before = before.filter(|_| step.continues());
        let changes = if before.is_some() { step.changes() } else { step.everything() };
        let mut next = before.cloned().unwrap_or_else(|| Self {
            layer: Arc::new(Layer::empty(step.generation, step.changed)),
            failures: Failures::new(),
        });
        let mut patches = PerType::<Patch>::default();
        for change in changes {
            let Some(id) = change.id().filter(|id| id.owner.is_none()) else { continue };
            let old = match next.failures.get(id) {
                Some(failure) => failure.last.clone(),
                None => change.old.clone(),
            };
            let new = attempt(|| change.new.as_deref().map(&translate).unwrap_or_default());
            let new = match new {
                Ok(new) => new,
                Err(why) => {
                    next.failures.insert(id.clone(), Failure { why, last: old });
                    continue;
                }
            };
            next.failures.remove(id);
            for name in old.iter().flat_map(|old| cluster_names(old)) {
                patches[ResourceType::Endpoint].insert(Arc::clone(&name), None);
                patches[ResourceType::Cluster].insert(name, None);
            }
            for (kind, resource) in new {
                let known = next.layer.sets[kind].get(resource.name()).filter(|known| ***known == resource);
                let resource = known.map_or_else(|| Arc::new(resource), Arc::clone);
                patches[kind].insert(Arc::clone(resource.name()), Some(resource));
            }
        }
        next.apply(&patches, step);
        next
    }

    fn apply(&mut self, patches: &PerType<Patch>, step: &Step) {
        let mut sets = self.layer.sets.clone();
        let changed = patches.iter().fold(false, |changed, (kind, patch)| sets[kind].apply(patch) | changed);
        if changed {
            self.layer = Arc::new(Layer::of(step.generation, step.changed, sets));
        }
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

/// What a service looks like through the lens, as far as this layer says it.
fn resources(
    service: &CatalogService,
    lens: &Lens<'_>,
    options: &MeshOptions,
) -> Vec<(ResourceType, Resource)> {
    let is_base = lens.locality == NOWHERE;
    if !is_base && !Proximity::matters(service, lens.locality) {
        return Vec::new();
    }
    let differs = |port: &&ServicePort| is_base || endpoints::are_seen_differently(service, port, lens);
    let resource = |port: &ServicePort| match service.lead().resolution {
        Resolution::Endpoints => Some((ResourceType::Endpoint, assignment(service, port, lens))),
        Resolution::Dns if !is_base => {
            Some((ResourceType::Cluster, resolved_cluster(service, port, options, lens)))
        }
        Resolution::Dns | Resolution::Passthrough => None,
    };
    service.ports().iter().filter(differs).filter_map(resource).collect()
}

pub(super) fn assignment(service: &CatalogService, port: &ServicePort, lens: &Lens<'_>) -> Resource {
    let name = names::cluster(port.number, "", service.host());
    let assignment = endpoints::load_assignment(&name, service, port, lens);
    Resource::new(name.into(), &assignment, Vec::new(), Origin::Service(service.host().clone()))
}

pub(super) fn resolved_cluster(
    service: &CatalogService,
    port: &ServicePort,
    options: &MeshOptions,
    lens: &Lens<'_>,
) -> Resource {
    let cluster = clusters::resolved_by_proxy(service, port, options, lens);
    let name = cluster.name.as_str().into();
    Resource::new(name, &cluster, Vec::new(), Origin::Service(service.host().clone()))
}

pub(super) fn cluster_names(service: &CatalogService) -> impl Iterator<Item = Arc<str>> {
    service.ports().iter().map(|port| names::cluster(port.number, "", service.host()).into())
}

#[cfg(test)]
mod tests {
    use pilot_registry::ServiceId;
    use pilot_registry_testkit::{service, snapshot};

    use super::*;
    use crate::catalog::{Catalog, Source};
    use crate::mesh::Mesh;
    use crate::resources::Published;

    fn mesh(before: &Mesh, ports: &[(&str, u16)]) -> Arc<Mesh> {
        let one = |(host, port): &(&str, u16)| {
            service(host).http(u32::from(*port)).endpoint("10.0.0.1", u32::from(*port)).build()
        };
        let snapshot = Arc::new(snapshot(ports.iter().map(one)));
        let source = Source { registry: "east".into(), priority: 0, snapshot, held: Default::default() };
        Arc::new(Mesh { catalog: Catalog::merge(&[source], &before.catalog), ..before.clone() })
    }

    fn names(made: &Assignments) -> Vec<&str> {
        made.layer.sets[ResourceType::Endpoint].iter().map(|resource| &**resource.name()).collect()
    }

    #[test]
    fn a_service_whose_translation_fails_stays_as_it_was_and_stops_nobody() {
        let lens = Lens { http_listen: None, locality: NOWHERE, serves_unhealthy: false };
        let options = MeshOptions::default();
        let (fair, broken) = (
            |service: &CatalogService| resources(service, &lens, &options),
            |service: &CatalogService| match service.host().as_str() {
                "a" => panic!("no such port"),
                _ => resources(service, &lens, &options),
            },
        );
        let mut last: Option<(Arc<Mesh>, Assignments)> = None;
        let mut follow = |ports: &[(&str, u16)], is_broken: bool| {
            let before = last.take();
            let next = mesh(before.as_ref().map_or(&Mesh::default(), |(mesh, _)| mesh), ports);
            let step = Step::new(
                before.as_ref().map(|(mesh, _)| Arc::clone(mesh)),
                Arc::clone(&next),
                1,
                Published::now(),
            );
            let before = before.as_ref().map(|(_, made)| made);
            let made = match is_broken {
                true => Assignments::next_with(before, &step, broken),
                false => Assignments::next_with(before, &step, fair),
            };
            last = Some((next, made.clone()));
            made
        };
        assert_eq!(names(&follow(&[("a", 80), ("b", 80)], false)), ["outbound|80||a", "outbound|80||b"]);
        let made = follow(&[("a", 81), ("b", 81), ("c", 81)], true);
        assert_eq!(names(&made), ["outbound|80||a", "outbound|81||b", "outbound|81||c"]);
        assert_eq!(
            made.failures()[&"a".parse().map(ServiceId::of_all).unwrap()].why.as_ref(),
            "no such port"
        );
        follow(&[("a", 82), ("b", 81)], true);
        let made = follow(&[("a", 83), ("b", 81)], false);
        assert_eq!(names(&made), ["outbound|81||b", "outbound|83||a"], "what it had is gone");
        assert!(made.failures().is_empty());
    }
}
