//! A layer of endpoints: of all services that everybody sees, as everybody sees them; or of those that look different
//! from one place.
//!
//! A place changes priorities and weights, and nothing else. Only services with nearer and farther endpoints, or with rules
//! that ask for places, look different from one. Their endpoints are resources, or stand in clusters that the proxy resolves itself.

use std::net::SocketAddr;
use std::sync::Arc;

use imbl::OrdMap;
use pilot_registry::{Resolution, ServiceId};

use super::clusters::ClusterTarget;
use super::context::Lens;
use super::entrances::origin_of;
use super::place::Place;
use super::proximity::Proximity;
use super::rules::{ANYBODY, Looks, Ruled, Viewer};
use super::step::{FailedTranslation, Failures, Step, attempt};
use super::{clusters, endpoints, names};
use crate::catalog::CatalogService;
use crate::mesh::Mesh;
use crate::resources::{Layer, Patch, PerType, Resource, ResourceType};

/// Names of resources.
type Names = Arc<[(ResourceType, Arc<str>)]>;

/// The endpoints that one place sees, or all who are nowhere.
#[derive(Clone, Debug)]
pub struct Assignments {
    layer: Arc<Layer>,
    /// The names of what subsets of services have here.
    of_subsets: OrdMap<ServiceId, Names>,
    failures: Failures,
}

impl Assignments {
    /// Follows a step. `before`: what was there; `None` = nothing.
    pub(super) fn next(
        before: Option<&Self>,
        http_listen: Option<SocketAddr>,
        place: Place<'_>,
        step: &Step,
    ) -> Self {
        let lens = Lens::new(http_listen, place, &step.mesh.options);
        Self::next_with(before, step, |service| resources(service, &lens, &step.mesh, ANYBODY, false))
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
            of_subsets: OrdMap::new(),
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
                    next.failures.insert(id.clone(), FailedTranslation { why, last: old });
                    continue;
                }
            };
            next.failures.remove(id);
            for name in old.iter().flat_map(|old| cluster_names(old)) {
                patches[ResourceType::Endpoint].insert(Arc::clone(&name), None);
                patches[ResourceType::Cluster].insert(name, None);
            }
            for (kind, name) in next.of_subsets.remove(id).iter().flat_map(|names| names.iter()) {
                patches[*kind].insert(Arc::clone(name), None);
            }
            let whole: Vec<Arc<str>> = change.new.iter().flat_map(|new| cluster_names(new)).collect();
            let of_subsets = new.iter().filter(|(_, resource)| !whole.contains(resource.name()));
            let of_subsets: Arc<[_]> =
                of_subsets.map(|(kind, resource)| (*kind, Arc::clone(resource.name()))).collect();
            if !of_subsets.is_empty() {
                next.of_subsets.insert(id.clone(), of_subsets);
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

/// What a service looks like through the lens, as far as this layer says it. `is_whole`: also where it looks as from
/// nowhere.
pub(super) fn resources(
    service: &CatalogService,
    lens: &Lens<'_>,
    mesh: &Mesh,
    viewer: Viewer<'_>,
    is_whole: bool,
) -> Vec<(ResourceType, Resource)> {
    let is_base = lens.place.is_nowhere();
    let is_whole = is_whole && service.lead().resolution == Resolution::Endpoints || is_base;
    let looks = Looks::of(mesh, service);
    if !is_whole && !looks.ask_for_places() && !Proximity::matters(service, lens.place.locality) {
        return Vec::new();
    }
    match service.lead().resolution {
        Resolution::Endpoints => assigned(service, lens, &looks, is_whole),
        Resolution::Dns | Resolution::DnsRoundRobin if !is_base => resolved(service, lens, mesh, viewer),
        Resolution::Dns | Resolution::DnsRoundRobin | Resolution::Passthrough => Vec::new(),
    }
}

/// The load assignments of all ports and subsets, in all ways in which somebody may see them.
fn assigned(
    service: &CatalogService,
    lens: &Lens<'_>,
    looks: &Looks,
    is_whole: bool,
) -> Vec<(ResourceType, Resource)> {
    let ports = service.ports().iter();
    let assigned = ports.flat_map(|port| looks.at(port.number).into_iter().map(move |look| (port, look)));
    let made = assigned.filter_map(|(port, look)| {
        let lens = Lens { labels: look.labels, nearness: look.nearness, ..*lens };
        let is_other = is_whole || endpoints::are_seen_differently(service, port, &lens);
        is_other.then(|| {
            let name = names::cluster(port.number, &look.name, service.host());
            let assignment = endpoints::load_assignment(&name, service, port, &lens);
            let origin = origin_of(service);
            (ResourceType::Endpoint, Resource::new(name.into(), &assignment, Vec::new(), origin))
        })
    });
    made.collect()
}

/// The clusters that have their endpoints in them.
fn resolved(
    service: &CatalogService,
    lens: &Lens<'_>,
    mesh: &Mesh,
    viewer: Viewer<'_>,
) -> Vec<(ResourceType, Resource)> {
    let ruled = Ruled::of(mesh, service, viewer);
    let targets = ClusterTarget::all(service, &ruled).into_iter();
    let differs = |target: &ClusterTarget<'_>| {
        endpoints::are_seen_differently(service, target.port, &target.seen(&mesh.options, lens))
    };
    let made = targets.filter(differs).map(|target| {
        let cluster = clusters::resolved_by_proxy(target, &mesh.options, lens);
        let name = cluster.name.as_str().into();
        let origin = origin_of(service);
        (ResourceType::Cluster, Resource::new(name, &cluster, Vec::new(), origin))
    });
    made.collect()
}

pub(super) fn cluster_names(service: &CatalogService) -> impl Iterator<Item = Arc<str>> {
    service.ports().iter().map(|port| names::cluster(port.number, "", service.host()).into())
}

#[cfg(test)]
mod tests {
    use pilot_registry_testkit::{service, snapshot};

    use super::*;
    use crate::catalog::{Catalog, Source};
    use crate::resources::PublishedAt;

    fn mesh(before: &Mesh, ports: &[(&str, u16)]) -> Arc<Mesh> {
        let one = |(host, port): &(&str, u16)| {
            service(host).http(u32::from(*port)).endpoint("10.0.0.1", u32::from(*port)).build()
        };
        let snapshot = Arc::new(snapshot(ports.iter().map(one)));
        let source = Source { registry: "east".into(), priority: 0, snapshot, held: None, documents: None };
        Arc::new(Mesh { catalog: Catalog::merge(&[source], &before.catalog), ..before.clone() })
    }

    fn names(made: &Assignments) -> Vec<&str> {
        made.layer.sets[ResourceType::Endpoint].iter().map(|resource| &**resource.name()).collect()
    }

    #[test]
    fn a_service_whose_translation_fails_stays_as_it_was_and_stops_nobody() {
        let plain = Mesh::default();
        let lens = Lens::new(None, Place::NOWHERE, &plain.options);
        let (fair, broken) = (
            |service: &CatalogService| resources(service, &lens, &plain, ANYBODY, false),
            |service: &CatalogService| match service.host().as_str() {
                "a" => panic!("no such port"),
                _ => resources(service, &lens, &plain, ANYBODY, false),
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
                PublishedAt::now(),
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
