//! What registries know of the workload that runs at an address.
//!
//! Several may run there: on a node's own network, all of its workloads have its address. So nothing is guessed:
//! what is said here is true of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pilot_registry::{Address, Endpoint, Hostname, Labels, Locality, Namespace, Port, SpiffeId};

use super::merge::{CatalogService, Part};

/// The endpoints at one address, of all services that have some there. Never none.
#[derive(Clone, Debug)]
pub struct Workload<'a>(Vec<Instance<'a>>);

#[derive(Clone, Copy, Debug)]
struct Instance<'a> {
    service: &'a CatalogService,
    part: &'a Part,
    endpoint: &'a Endpoint,
}

impl<'a> Workload<'a> {
    /// What these services have at an address; `None` if that is nothing.
    pub(super) fn at(address: IpAddr, services: impl Iterator<Item = &'a CatalogService>) -> Option<Self> {
        let address = Address::Ip(address);
        let found: Vec<_> = services.flat_map(|service| instances(service, &address)).collect();
        (!found.is_empty()).then_some(Self(found))
    }

    /// The services that it serves, with the ports by which clients call it.
    pub fn services(&self) -> BTreeMap<&'a Hostname, BTreeSet<Port>> {
        let mut services: BTreeMap<_, BTreeSet<Port>> = BTreeMap::new();
        for Instance { service, endpoint, .. } in &self.0 {
            services.entry(service.host()).or_default().extend(endpoint.ports.keys());
        }
        services
    }

    /// The registries that know it, by their names in pilot.toml.
    pub fn registries(&self) -> BTreeSet<&'a str> {
        self.0.iter().map(|instance| &*instance.part.registry).collect()
    }

    /// The namespace of its services, if all have one.
    pub fn namespace(&self) -> Option<&'a Namespace> {
        agreed(self.0.iter().map(|instance| &instance.service.lead().namespace))
    }

    /// Where it runs: as much of it as nobody contradicts. Who does not say a part does not contradict, because
    /// what runs at one address runs at one place.
    pub fn locality(&self) -> Locality {
        let places = || self.0.iter().map(|instance| &instance.endpoint.locality);
        let parts = [
            said(places().map(|place| place.region.as_str())),
            said(places().map(|place| place.zone.as_str())),
            said(places().map(|place| place.sub_zone.as_str())),
        ];
        // The name of a zone means nothing outside of its region, nor that of a sub-zone outside of its zone.
        let mut agreed = parts.into_iter().map_while(|part| part).fuse().map(str::to_owned);
        let mut next = || agreed.next().unwrap_or_default();
        Locality { region: next(), zone: next(), sub_zone: next() }
    }

    /// The labels that all of its endpoints have.
    pub fn labels(&self) -> Labels {
        let mut labels = self.0[0].endpoint.labels.clone();
        labels.retain(|key, value| self.0.iter().all(|it| it.endpoint.labels.get(key) == Some(value)));
        labels
    }

    /// Who it is, if all of its endpoints say the same: what only some of them say may be another's.
    pub fn identity(&self) -> Option<&'a SpiffeId> {
        agreed(self.0.iter().map(|instance| instance.endpoint.identity.as_ref())).flatten()
    }
}

/// A service's endpoints at an address. What a preferred registry knows, too, is as that one says.
fn instances<'a>(service: &'a CatalogService, address: &Address) -> Vec<Instance<'a>> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for part in service.parts() {
        for endpoint in at(&part.service.endpoints, address) {
            let own = endpoint.ports.iter().filter(|ports| seen.insert(*ports)).count();
            if own > 0 {
                found.push(Instance { service, part, endpoint });
            }
        }
    }
    found
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

/// The word that all say who say one, which may be nobody; `None` where they contradict each other.
fn said<'a>(words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut said = words.filter(|word| !word.is_empty());
    let first = said.next().unwrap_or_default();
    said.all(|word| word == first).then_some(first)
}
