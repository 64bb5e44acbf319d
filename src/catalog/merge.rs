//! Many registries -> one catalog.
//!
//! A host that several registries know is one service: the union of its endpoints, ports, aliases and
//! virtual addresses. What the registries disagree about (a port's protocol, resolution, namespace) is
//! decided by the preferred registry: lowest priority number first, then the registry's name in
//! alphabetical order. That they disagree is a [`Conflict`] of the service. A port whose number a registry
//! has guessed is brought together with the port that it is in other registries first (`guesses.rs`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use pilot_registry::{
    Endpoint, Hostname, Locality, Namespace, Port, Resolution, Service, ServicePort, Snapshot,
};

use super::conflict::{self, Conflict};
use super::guesses;
use super::index::Index;
use super::workload::Workload;

/// One registry's services, as input to the catalog.
#[derive(Clone, Debug)]
pub struct Source {
    /// The registry's name in pilot.toml.
    pub registry: Arc<str>,
    /// 0 is preferred.
    pub priority: u32,
    /// What the registry published last.
    pub snapshot: Arc<Snapshot>,
}

/// All services of the mesh, ordered by host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    services: Arc<Vec<Arc<CatalogService>>>,
    index: Index,
}

/// One service, out of one or more registries.
#[derive(Debug, PartialEq)]
pub struct CatalogService {
    parts: Vec<Part>,
    ports: Vec<ServicePort>,
    aliases: Vec<Hostname>,
    local_names: Vec<(Namespace, Hostname)>,
    virtual_addresses: Vec<IpAddr>,
    conflicts: Vec<Conflict>,
}

/// What one registry says of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The registry's name in pilot.toml.
    pub registry: Arc<str>,
    /// The registry's priority; 0 is preferred.
    pub priority: u32,
    /// The service as the registry knows it, with the numbers of [ports that were guessed](Part::moved) as they
    /// are in the catalog.
    pub service: Arc<Service>,
    /// What the registry published, where that is something else.
    published: Option<Arc<Service>>,
    moved: BTreeMap<Port, Port>,
}

impl Part {
    /// The ports whose numbers the registry has guessed, and which have other numbers in the catalog: from the
    /// guess to the number.
    pub fn moved(&self) -> &BTreeMap<Port, Port> {
        &self.moved
    }

    fn published(&self) -> &Arc<Service> {
        self.published.as_ref().unwrap_or(&self.service)
    }

    /// Has the service with other numbers for ports that were guessed.
    pub(super) fn replace(&mut self, service: Service, moved: BTreeMap<Port, Port>) {
        self.published = Some(std::mem::replace(&mut self.service, Arc::new(service)));
        self.moved = moved;
    }
}

impl CatalogService {
    /// `before` is what was known of the host: numbers that it had stay, where it is a guess which they are.
    fn new(mut parts: Vec<Part>, before: Option<&Self>) -> Self {
        parts.sort_by(|a, b| (a.priority, &a.registry).cmp(&(b.priority, &b.registry)));
        guesses::settle(&mut parts, before.map_or(&[], |before| &before.ports));
        let mut ports: Vec<ServicePort> = Vec::new();
        for port in parts.iter().flat_map(|part| &part.service.ports) {
            if ports.iter().all(|known| known.number != port.number) {
                ports.push(port.clone());
            }
        }
        ports.sort();
        let aliases = union(parts.iter().flat_map(|part| &part.service.aliases));
        let virtual_addresses = union(parts.iter().flat_map(|part| &part.service.virtual_addresses));
        let local_names = local_names(&parts, &aliases);
        let conflicts = conflict::between(&parts);
        Self { parts, ports, aliases, local_names, virtual_addresses, conflicts }
    }

    /// What the preferred registry says; it decides where registries disagree.
    pub fn lead(&self) -> &Service {
        &self.parts[0].service
    }

    /// What each registry says, preferred first. Never empty.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The name that stands for the service.
    pub fn host(&self) -> &Hostname {
        &self.lead().host
    }

    /// Other names of the service, in order.
    pub fn aliases(&self) -> &[Hostname] {
        &self.aliases
    }

    /// Names by which only clients of a namespace reach the service, in order. Each is of the namespace of the
    /// registry that says it.
    pub fn local_names(&self) -> &[(Namespace, Hostname)] {
        &self.local_names
    }

    /// All ports, ordered by number.
    pub fn ports(&self) -> &[ServicePort] {
        &self.ports
    }

    /// All addresses that stand for the service as a whole, in order.
    pub fn virtual_addresses(&self) -> &[IpAddr] {
        &self.virtual_addresses
    }

    /// What the registries say differently of it, and whose word is taken.
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// All endpoints with the part that they come from, preferred registries first.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Part, &Endpoint)> {
        self.parts.iter().flat_map(|part| part.service.endpoints.iter().map(move |endpoint| (part, endpoint)))
    }

    /// Whether a request has somewhere to go: an endpoint that its platform does not call unhealthy or draining.
    /// A service whose addresses proxies find themselves always has.
    pub fn is_served(&self) -> bool {
        self.lead().resolution != Resolution::Endpoints || self.endpoints().any(|(_, it)| it.is_usable())
    }

    /// Whether it is what the sources, preferred first, say of that host.
    fn is_made_of(&self, sources: &[Cursor<'_>], host: &Hostname) -> bool {
        let mut parts = self.parts.iter();
        let mut said = sources.iter().filter_map(|source| Some((source.source, source.at(host)?)));
        said.all(|(source, service)| {
            parts.next().is_some_and(|part| {
                Arc::ptr_eq(part.published(), service)
                    && part.priority == source.priority
                    && part.registry == source.registry
            })
        }) && parts.next().is_none()
    }
}

/// A place in one registry's services, which are ordered by host.
struct Cursor<'a> {
    source: &'a Source,
    rest: &'a [Arc<Service>],
}

impl<'a> Cursor<'a> {
    fn new(source: &'a Source) -> Self {
        Self { source, rest: source.snapshot.services() }
    }

    /// The host at this place.
    fn host(&self) -> Option<&'a Hostname> {
        self.rest.first().map(|service| &service.host)
    }

    /// The service at this place, if it has that host.
    fn at(&self, host: &Hostname) -> Option<&'a Arc<Service>> {
        self.rest.first().filter(|service| service.host == *host)
    }

    fn part(&self, host: &Hostname) -> Option<Part> {
        let service = Arc::clone(self.at(host)?);
        let (registry, priority) = (Arc::clone(&self.source.registry), self.source.priority);
        Some(Part { registry, priority, service, published: None, moved: BTreeMap::new() })
    }

    /// Goes on to the next place, if this is that host's.
    fn pass(&mut self, host: &Hostname) {
        if self.at(host).is_some() {
            self.rest = &self.rest[1..];
        }
    }
}

/// Names that all clients use are left out.
fn local_names(parts: &[Part], aliases: &[Hostname]) -> Vec<(Namespace, Hostname)> {
    let mut names = Vec::new();
    for Part { service, .. } in parts {
        let local = service.local_names.iter();
        let local = local.filter(|name| **name != service.host && !aliases.contains(name));
        names.extend(local.map(|name| (service.namespace.clone(), name.clone())));
    }
    names.sort();
    names.dedup();
    names
}

fn union<'a, T: Ord + Clone + 'a>(values: impl Iterator<Item = &'a T>) -> Vec<T> {
    let values: std::collections::BTreeSet<&T> = values.collect();
    values.into_iter().cloned().collect()
}

impl Catalog {
    /// Merges what the registries know. A service of which nothing changed is taken from `previous`, so
    /// that catalogs are compared by pointers.
    pub fn merge(sources: &[Source], previous: &Self) -> Self {
        let mut sources: Vec<_> = sources.iter().map(Cursor::new).collect();
        let rank = |cursor: &Cursor<'_>| (cursor.source.priority, Arc::clone(&cursor.source.registry));
        sources.sort_by_key(rank);
        let mut old = previous.services.iter().peekable();
        let mut services = Vec::with_capacity(previous.services.len());
        let mut index = previous.index.clone();
        while let Some(host) = sources.iter().filter_map(Cursor::host).min() {
            while let Some(gone) = old.next_if(|old| old.host() < host) {
                index.replace(Some(gone), None);
            }
            let known = old.next_if(|old| old.host() == host);
            services.push(match known.filter(|known| known.is_made_of(&sources, host)) {
                Some(known) => Arc::clone(known),
                None => {
                    let parts = sources.iter().filter_map(|source| source.part(host));
                    let before = known.map(|known| &**known);
                    let service = Arc::new(CatalogService::new(parts.collect(), before));
                    index.replace(known.map(|known| &**known), Some(&service));
                    service
                }
            });
            sources.iter_mut().for_each(|source| source.pass(host));
        }
        old.for_each(|gone| index.replace(Some(gone), None));
        Self { services: Arc::new(services), index }
    }

    /// The services, ordered by host.
    pub fn services(&self) -> &[Arc<CatalogService>] {
        &self.services
    }

    /// The same list, to be kept: lists that are one allocation are equal.
    pub(crate) fn shared_services(&self) -> &Arc<Vec<Arc<CatalogService>>> {
        &self.services
    }

    /// The service of that name. Aliases do not count.
    pub fn get(&self, host: &str) -> Option<&Arc<CatalogService>> {
        let at = self.services.binary_search_by(|service| service.host().as_str().cmp(host));
        at.ok().map(|at| &self.services[at])
    }

    /// The part of a proxy's locality that tells endpoints from each other: some are there, too.
    pub fn known_part(&self, locality: &Locality) -> Locality {
        self.index.localities.known_part(locality)
    }

    /// What is known of the workload at that address; `None` where no service has an endpoint, where more than
    /// 64 endpoints are, and of loopback, which is another machine's, too.
    pub fn workload(&self, address: IpAddr) -> Option<Workload<'_>> {
        let address = address.to_canonical();
        let services = self.index.addresses.hosts(address).filter_map(|host| self.get(host.as_str()));
        Workload::at(address, services.map(|service| &**service))
    }

    /// Whether clients of that namespace have names of their own for some service.
    pub fn has_local_names(&self, namespace: &Namespace) -> bool {
        self.index.namespaces.contains(namespace)
    }

    /// Whether clients of any namespace have names of their own.
    pub fn has_namespaces(&self) -> bool {
        !self.index.namespaces.is_empty()
    }

    /// Whether every proxy has the same place and namespace in both.
    pub fn places_alike(&self, other: &Self) -> bool {
        self.index.places == other.index.places
    }

    /// Everything that registries disagree about, with the host that it is about.
    pub fn conflicts(&self) -> impl Iterator<Item = (&Hostname, &Conflict)> {
        self.services.iter().flat_map(|service| service.conflicts.iter().map(|it| (service.host(), it)))
    }

    /// What registries disagree about now and did not before, with the host that it is about.
    pub fn conflicts_since<'a>(
        &'a self,
        earlier: &'a Self,
    ) -> impl Iterator<Item = (&'a Hostname, &'a Conflict)> {
        self.conflicts().filter(|(host, conflict)| {
            earlier.get(host.as_str()).is_none_or(|before| !before.conflicts.contains(conflict))
        })
    }

    /// Whether both hold the same allocations, which after [`Catalog::merge`] means: nothing changed.
    pub fn same(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<CatalogService>, &Arc<CatalogService>)| Arc::ptr_eq(a, b);
        self.services.len() == other.services.len() && self.services.iter().zip(&*other.services).all(same)
    }
}
