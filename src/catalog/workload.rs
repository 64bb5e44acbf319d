//! What the registries know about the workload at an address.
//!
//! Several workloads may share an address, as on a node's own network. So only what is true of all of them is
//! reported; nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pilot_registry::{Address, Endpoint, Hostname, Labels, Locality, Namespace, Port, SpiffeId};

use super::part::Part;
use super::service::CatalogService;

/// How many endpoints at one address are looked at. Of which of so many a proxy is beside, nothing follows; and
/// proxies choose the addresses that they say, and with them the work.
const MAX_ENDPOINTS: usize = 64;

/// The endpoints at one address, of all services that have some there.
#[derive(Clone, Debug)]
pub struct Workload<'a> {
    /// Never none.
    instances: Vec<Instance<'a>>,
    /// Who says so, also where a preferred registry's word is taken.
    parts: Vec<&'a Part>,
}

/// What the endpoints at an address agree about: [`Workload::namespace`] and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The namespace of its services.
    pub namespace: Option<&'a Namespace>,
    /// Where it runs.
    pub locality: Locality,
    /// The labels of all of its endpoints.
    pub labels: Labels,
    /// Who it is.
    pub identity: Option<&'a SpiffeId>,
}

#[derive(Clone, Copy, Debug)]
struct Instance<'a> {
    service: &'a CatalogService,
    part: &'a Part,
    endpoint: &'a Endpoint,
}

impl<'a> Workload<'a> {
    /// What these services have at a canonical address; `None` if that is nothing, or more than is looked at.
    pub(super) fn at(address: IpAddr, services: impl Iterator<Item = &'a CatalogService>) -> Option<Self> {
        let written = spellings(address);
        let all = services.flat_map(|service| instances(service, &written));
        let mut instances: Vec<_> = all.take(MAX_ENDPOINTS + 1).collect();
        if instances.len() > MAX_ENDPOINTS {
            return None;
        }
        // Documents say where something is called, and registries what runs there.
        if instances.iter().any(|instance| !instance.part.is_of_document()) {
            instances.retain(|instance| !instance.part.is_of_document());
        }
        let parts = instances.iter().map(|instance| instance.part).collect();
        // What a preferred registry knows, too, is as that one says.
        let mut seen = BTreeSet::new();
        instances.retain(|Instance { service, endpoint, .. }| {
            endpoint.ports.iter().filter(|ports| seen.insert((service.id(), *ports))).count() > 0
        });
        (!instances.is_empty()).then_some(Self { instances, parts })
    }

    /// The services that it serves, with the ports by which clients call it.
    pub fn services(&self) -> BTreeMap<&'a Hostname, BTreeSet<Port>> {
        let mut services: BTreeMap<_, BTreeSet<Port>> = BTreeMap::new();
        for Instance { service, endpoint, .. } in &self.instances {
            services.entry(service.host()).or_default().extend(endpoint.ports.keys());
        }
        services
    }

    /// The registries that know it, by their names in pilot.toml.
    pub fn registries(&self) -> BTreeSet<&'a str> {
        self.instances.iter().map(|instance| &*instance.part.registry).collect()
    }

    /// The namespace that its services agree on. Registries without namespaces report `default`. If any
    /// registry here has local names, only such registries vote.
    pub fn namespace(&self) -> Option<&'a Namespace> {
        let has_names = |part: &Part| !part.service.local_names.is_empty();
        let some_have = self.parts.iter().any(|part| has_names(part));
        let saying = self.parts.iter().filter(|part| !some_have || has_names(part));
        agreed(saying.map(|part| &part.service.namespace))
    }

    /// Where it runs: as much of it as nobody contradicts. Who does not say a part does not contradict, because
    /// what runs at one address runs at one place.
    pub fn locality(&self) -> Locality {
        let places = || self.instances.iter().map(|instance| &instance.endpoint.locality);
        let parts: [fn(&Locality) -> &str; 3] = [|it| &it.region, |it| &it.zone, |it| &it.sub_zone];
        // The name of a zone means nothing outside of its region, nor that of a sub-zone outside of its zone.
        let agreed = parts.into_iter().map_while(|part| said(places().map(part)));
        let mut agreed = agreed.fuse().map(str::to_owned);
        let mut next = || agreed.next().unwrap_or_default();
        Locality { region: next(), zone: next(), sub_zone: next() }
    }

    /// The labels that all of its endpoints have.
    pub fn labels(&self) -> Labels {
        let mut labels = self.instances[0].endpoint.labels.clone();
        labels
            .retain(|key, value| self.instances.iter().all(|it| it.endpoint.labels.get(key) == Some(value)));
        labels
    }

    /// All that decides what a proxy beside it is told.
    pub fn facts(&self) -> Facts<'a> {
        Facts {
            namespace: self.namespace(),
            locality: self.locality(),
            labels: self.labels(),
            identity: self.identity(),
        }
    }

    /// Who it is, if all of its endpoints say the same: what only some of them say may be another's.
    pub fn identity(&self) -> Option<&'a SpiffeId> {
        agreed(self.instances.iter().map(|instance| instance.endpoint.identity.as_ref())).flatten()
    }
}

/// A service's endpoints at an address, those of preferred registries first.
fn instances<'a>(service: &'a CatalogService, written: &[Address]) -> impl Iterator<Item = Instance<'a>> {
    service.parts().iter().flat_map(move |part| {
        let endpoints = written.iter().flat_map(|address| at(&part.service.endpoints, address));
        endpoints.map(move |endpoint| Instance { service, part, endpoint })
    })
}

/// A canonical address as registries may write it: IPv4 within IPv6 is IPv4.
fn spellings(address: IpAddr) -> Vec<Address> {
    let mapped = match address {
        IpAddr::V4(ip) => Some(IpAddr::V6(ip.to_ipv6_mapped())),
        IpAddr::V6(_) => None,
    };
    std::iter::once(address).chain(mapped).map(Address::Ip).collect()
}

/// Those of the endpoints, which are ordered by address, that are at one.
fn at<'a>(endpoints: &'a [Endpoint], address: &Address) -> &'a [Endpoint] {
    let from = endpoints.partition_point(|endpoint| endpoint.address < *address);
    let count = endpoints[from..].partition_point(|endpoint| endpoint.address == *address);
    &endpoints[from..from + count]
}

/// The value that all are.
fn agreed<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// The one non-empty word in `words`; empty if there is none, `None` if two differ.
fn said<'a>(words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut said = words.filter(|word| !word.is_empty());
    let first = said.next().unwrap_or_default();
    said.all(|word| word == first).then_some(first)
}
