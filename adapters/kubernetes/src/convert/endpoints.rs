//! The endpoints of a service, out of all of its slices.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use pilot_registry::{Address, Endpoint, Health, Locality, Port, SpiffeId};

use super::annotations::{self, Annotations};
use super::ports::NamedPort;
use super::{Mapping, Notes};
use crate::cluster::{self, Facts, Family, Member, Pod, Slice};
use crate::objects::Key;

/// From the service's ports to the endpoint's.
type Ports = BTreeMap<Port, Port>;

impl Mapping {
    /// An endpoint may be in several slices for a while (discovery.k8s.io/v1): it counts once, as the one
    /// that says the best of it.
    pub(super) fn endpoints(
        &self,
        ports: &[NamedPort],
        service: &cluster::Service,
        slices: &[&Slice],
        facts: &Facts,
        annotations: &Annotations,
        notes: &mut Notes,
    ) -> Vec<Endpoint> {
        let preferred = Preferred::of(service, slices);
        let mut found: BTreeMap<(IpAddr, Ports), Endpoint> = BTreeMap::new();
        for slice in slices {
            let served = served(ports, slice);
            if served.is_empty() {
                continue;
            }
            for member in slice.members.iter().filter(|member| preferred.counts(slice, member)) {
                let endpoint = self.endpoint(member, &served, facts, annotations, notes);
                match found.entry((member.address, served.clone())) {
                    Entry::Vacant(place) => _ = place.insert(endpoint),
                    Entry::Occupied(mut place) => {
                        if rank(endpoint.health) < rank(place.get().health) {
                            place.insert(endpoint);
                        }
                    }
                }
            }
        }
        found.into_values().collect()
    }

    fn endpoint(
        &self,
        member: &Member,
        served: &Ports,
        facts: &Facts,
        annotations: &Annotations,
        notes: &mut Notes,
    ) -> Endpoint {
        let mut endpoint = Endpoint::new(Address::Ip(member.address));
        endpoint.ports.clone_from(served);
        endpoint.health = member.health;
        endpoint.locality = locality(member, facts);
        endpoint.weight = annotations.weight.unwrap_or_default();
        let pod = member.pod.as_ref().and_then(|key| Some((key, facts.pods.get(key)?)));
        if let Some((key, pod)) = pod {
            endpoint.labels.clone_from(&pod.labels);
            endpoint.identity = self.identity(key, pod, notes);
            match pod.weight.as_deref().map(annotations::weight) {
                Some(Ok(weight)) => endpoint.weight = weight,
                Some(Err(why)) => notes.add(format!("pods {key} annotation pilot/weight"), why),
                None => {}
            }
        }
        endpoint
    }

    fn identity(&self, key: &Key, pod: &Pod, notes: &mut Notes) -> Option<SpiffeId> {
        let (domain, account) = (self.trust_domain.as_ref()?, pod.account.as_ref()?);
        let id = format!("spiffe://{domain}/ns/{}/sa/{account}", key.namespace).parse();
        id.map_err(|error: pilot_registry::ModelError| notes.add(format!("pods {key}"), error.to_string()))
            .ok()
    }
}

/// Of a service with two families: pods that have both count once, by the service's first.
struct Preferred<'a> {
    family: Option<Family>,
    pods: HashSet<&'a Key>,
}

impl<'a> Preferred<'a> {
    fn of(service: &cluster::Service, slices: &[&'a Slice]) -> Self {
        let families = service.spec.ip_families.as_deref().unwrap_or_default();
        let family = match families {
            [first, _, ..] => Family::named(first),
            _ => None,
        };
        let first = slices.iter().filter(|slice| family == Some(slice.family));
        let pods = first.flat_map(|slice| slice.members.iter().filter_map(|member| member.pod.as_ref()));
        Self { family, pods: pods.collect() }
    }

    fn counts(&self, slice: &Slice, member: &Member) -> bool {
        let Some(family) = self.family else { return true };
        slice.family == family || member.pod.as_ref().is_none_or(|pod| !self.pods.contains(pod))
    }
}

/// Slices refer to the service's ports by name; the numbers of named target ports are resolved in them.
fn served(ports: &[NamedPort], slice: &Slice) -> Ports {
    let own = |port: &NamedPort| {
        let of = |own: &&cluster::SlicePort| *own.name == *port.name && *own.protocol == *port.transport;
        let found = slice.ports.iter().find(of)?;
        Some((port.port.number, found.port))
    };
    ports.iter().filter_map(own).collect()
}

/// The zone is in the slice; the region only in the node's labels.
fn locality(member: &Member, facts: &Facts) -> Locality {
    let node = member.node.as_ref().and_then(|node| facts.nodes.get(node));
    let mut locality = node.map(|node| node.locality.clone()).unwrap_or_default();
    if let Some(zone) = &member.zone {
        locality.zone = zone.to_string();
    }
    locality
}

/// The smaller, the better.
fn rank(health: Health) -> u8 {
    match health {
        Health::Healthy => 0,
        Health::Draining => 1,
        _ => 2,
    }
}
