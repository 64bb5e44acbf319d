//! The endpoints of a service, from all of its slices.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use pilot_registry::{Address, Endpoint, Health, Locality, Port, SpiffeId};

use super::annotations::{self, Annotations};
use super::ports::NamedPort;
use super::{Mapping, Notes};
use crate::cluster::{self, Facts, Family, Member, Pod, Slice, Zones};
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
        let mut found: BTreeMap<(IpAddr, Ports), &Member> = BTreeMap::new();
        for slice in slices {
            let served = served(ports, slice);
            if served.is_empty() {
                continue;
            }
            for member in slice.members.iter().filter(|member| preferred.counts(slice, member)) {
                let best = found.entry((member.address, served.clone())).or_insert(member);
                if rank(member.health) < rank(best.health) {
                    *best = member;
                }
            }
        }
        let hints = hints_count(found.values().copied());
        let endpoint = |((_, served), member): ((IpAddr, Ports), &Member)| {
            let locality = locality(member, hints, facts);
            let endpoint = self.endpoint(member, served, facts, annotations, notes);
            Endpoint { locality, ..endpoint }
        };
        found.into_iter().map(endpoint).collect()
    }

    fn endpoint(
        &self,
        member: &Member,
        served: Ports,
        facts: &Facts,
        annotations: &Annotations,
        notes: &mut Notes,
    ) -> Endpoint {
        let mut endpoint = Endpoint::new(Address::Ip(member.address));
        endpoint.ports = served;
        endpoint.health = member.health;
        endpoint.weight = annotations.weight.unwrap_or_default();
        let pod = member.pod.as_ref().and_then(|key| Some((key, facts.pods.get(key)?)));
        if let Some((key, pod)) = pod {
            endpoint.labels.clone_from(&pod.labels);
            endpoint.identity = self.identity(key, pod, notes);
            match pod.weight.as_deref().map(annotations::weight) {
                Some(Ok(weight)) => endpoint.weight = weight,
                Some(Err(why)) => notes.note(format!("pods {key} annotation pilot/weight"), why),
                None => {}
            }
        }
        endpoint
    }

    fn identity(&self, key: &Key, pod: &Pod, notes: &mut Notes) -> Option<SpiffeId> {
        let (domain, account) = (self.trust_domain.as_ref()?, pod.account.as_ref()?);
        let id = format!("spiffe://{domain}/ns/{}/sa/{account}", key.namespace).parse();
        id.map_err(|error: pilot_registry::ModelError| notes.note(format!("pods {key}"), error.to_string()))
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

/// Hints are written one slice after the other, and for ready endpoints alone. So they count when all of those
/// have one, as for kube-proxy (KEP-2433, KEP-3015): otherwise a zone might be left to the first that got one.
fn hints_count<'a>(members: impl Iterator<Item = &'a Member>) -> bool {
    let mut ready = members.filter(|member| member.health == Health::Healthy).peekable();
    ready.peek().is_some() && ready.all(|member| member.zones.hinted.is_some())
}

/// Where clients look for it: in the zone of its hint, if hints count, else where it runs. The zone is in the
/// slice; the region only in the node's labels.
fn locality(member: &Member, hints: bool, facts: &Facts) -> Locality {
    let node = member.node.as_ref().and_then(|node| facts.nodes.get(node));
    let mut locality = node.map(|node| node.locality.clone()).unwrap_or_default();
    let Zones { own, hinted } = &*member.zones;
    if let Some(zone) = hinted.as_ref().filter(|_| hints).or(own.as_ref()) {
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
