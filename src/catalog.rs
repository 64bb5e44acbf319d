//! Many registries -> one catalog.
//!
//! A host that several registries know is one service: the union of its endpoints. What the registries
//! disagree about (ports, protocols, resolution) is decided by the preferred registry: lowest priority
//! number first, then the registry's name in alphabetical order.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use pilot_registry::{Endpoint, Hostname, Service, ServicePort, Snapshot};

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
    services: Vec<Arc<CatalogService>>,
}

/// One service, out of one or more registries.
#[derive(Debug, PartialEq)]
pub struct CatalogService {
    parts: Vec<Part>,
    ports: Vec<ServicePort>,
    aliases: Vec<Hostname>,
    virtual_addresses: Vec<IpAddr>,
}

/// What one registry says of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The registry's name in pilot.toml.
    pub registry: Arc<str>,
    /// The registry's priority; 0 is preferred.
    pub priority: u32,
    /// The service as the registry knows it.
    pub service: Arc<Service>,
}

impl CatalogService {
    fn new(mut parts: Vec<Part>) -> Self {
        parts.sort_by(|a, b| (a.priority, &a.registry).cmp(&(b.priority, &b.registry)));
        let mut ports: Vec<ServicePort> = Vec::new();
        for port in parts.iter().flat_map(|part| &part.service.ports) {
            if ports.iter().all(|known| known.number != port.number) {
                ports.push(port.clone());
            }
        }
        ports.sort();
        let aliases = union(parts.iter().flat_map(|part| &part.service.aliases));
        let virtual_addresses = union(parts.iter().flat_map(|part| &part.service.virtual_addresses));
        Self { parts, ports, aliases, virtual_addresses }
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

    /// All ports, ordered by number.
    pub fn ports(&self) -> &[ServicePort] {
        &self.ports
    }

    /// All addresses that stand for the service as a whole, in order.
    pub fn virtual_addresses(&self) -> &[IpAddr] {
        &self.virtual_addresses
    }

    /// All endpoints with the part that they come from, preferred registries first.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Part, &Endpoint)> {
        self.parts.iter().flat_map(|part| part.service.endpoints.iter().map(move |endpoint| (part, endpoint)))
    }

    fn is_made_of(&self, parts: &[Part]) -> bool {
        let same = |(a, b): (&Part, &Part)| {
            Arc::ptr_eq(&a.service, &b.service) && a.priority == b.priority && a.registry == b.registry
        };
        self.parts.len() == parts.len() && self.parts.iter().zip(parts).all(same)
    }
}

fn union<'a, T: Ord + Clone + 'a>(values: impl Iterator<Item = &'a T>) -> Vec<T> {
    let values: std::collections::BTreeSet<&T> = values.collect();
    values.into_iter().cloned().collect()
}

impl Catalog {
    /// Merges what the registries know. A service of which nothing changed is taken from `previous`, so
    /// that catalogs are compared by pointers.
    pub fn merge(sources: &[Source], previous: &Self) -> Self {
        let mut hosts: BTreeMap<&Hostname, Vec<Part>> = BTreeMap::new();
        let mut sources: Vec<_> = sources.iter().collect();
        sources.sort_by(|a, b| (a.priority, &a.registry).cmp(&(b.priority, &b.registry)));
        for source in sources {
            for service in source.snapshot.services() {
                hosts.entry(&service.host).or_default().push(Part {
                    registry: Arc::clone(&source.registry),
                    priority: source.priority,
                    service: Arc::clone(service),
                });
            }
        }
        let mut old = previous.services.iter().peekable();
        let services = hosts.into_iter().map(|(host, parts)| {
            while old.next_if(|old| old.host() < host).is_some() {}
            match old.next_if(|old| old.host() == host) {
                Some(old) if old.is_made_of(&parts) => Arc::clone(old),
                _ => Arc::new(CatalogService::new(parts)),
            }
        });
        Self { services: services.collect() }
    }

    /// The services, ordered by host.
    pub fn services(&self) -> &[Arc<CatalogService>] {
        &self.services
    }

    /// The service of that name. Aliases do not count.
    pub fn get(&self, host: &str) -> Option<&Arc<CatalogService>> {
        let at = self.services.binary_search_by(|service| service.host().as_str().cmp(host));
        at.ok().map(|at| &self.services[at])
    }

    /// Whether both hold the same allocations, which after [`Catalog::merge`] means: nothing changed.
    pub fn same(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<CatalogService>, &Arc<CatalogService>)| Arc::ptr_eq(a, b);
        self.services.len() == other.services.len() && self.services.iter().zip(&other.services).all(same)
    }
}
