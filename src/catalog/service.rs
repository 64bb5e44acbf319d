//! One service of the mesh, out of what one or more registries say of it.
//!
//! What the registries disagree about is decided by the preferred one: its part comes first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use pilot_registry::{
    Endpoint, HealthCheck, Hostname, Namespace, Port, Resolution, Service, ServiceId, ServicePort, Visibility,
};

use super::disagreement::{self, Disagreement};
use super::guesses;
use super::part::Part;

/// One service, out of one or more registries.
#[derive(Debug, PartialEq)]
pub struct CatalogService {
    id: ServiceId,
    parts: Vec<Part>,
    ports: Vec<ServicePort>,
    aliases: Vec<Hostname>,
    local_names: Vec<(Namespace, Hostname)>,
    virtual_addresses: Vec<IpAddr>,
    disagreements: Vec<Disagreement>,
    guesses: BTreeMap<Port, Guess>,
}

/// What of a port nobody has said. What is said goes before a guess: the less is guessed, the smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guess {
    /// Its protocol is a registry's default.
    pub protocol: bool,
    /// Its number is the one that instances listen on.
    pub number: bool,
}

impl CatalogService {
    /// `before` is what was known of the service: numbers that it had stay, where it is a guess which they are.
    pub(super) fn new(mut parts: Vec<Part>, before: Option<&Self>) -> Self {
        parts.sort_by(|a, b| a.rank().cmp(&b.rank()));
        guesses::settle(&mut parts, before.map_or(&[], |before| &before.ports));
        let (ports, guesses) = ports(&parts);
        let aliases = union(parts.iter().flat_map(|part| &part.service.aliases));
        let virtual_addresses = union(parts.iter().flat_map(|part| &part.service.virtual_addresses));
        let local_names = local_names(&parts, &aliases);
        let disagreements = disagreement::between(&parts);
        let id = parts[0].service.id();
        Self { id, parts, ports, aliases, local_names, virtual_addresses, disagreements, guesses }
    }

    /// What the preferred registry says; it decides where registries disagree.
    pub fn lead(&self) -> &Service {
        &self.parts[0].service
    }

    /// What each registry says, preferred first. Never empty.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// What tells it from all others.
    pub fn id(&self) -> &ServiceId {
        &self.id
    }

    /// Which clients see it.
    pub fn visibility(&self) -> &Visibility {
        &self.lead().visibility
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

    /// What nobody has said of its port of that number.
    pub fn guess(&self, port: Port) -> Guess {
        self.guesses.get(&port).copied().unwrap_or_default()
    }

    /// All addresses that stand for the service as a whole, in order.
    pub fn virtual_addresses(&self) -> &[IpAddr] {
        &self.virtual_addresses
    }

    /// How proxies find out for themselves which endpoints serve, as the preferred registry says that says it.
    pub fn health_check(&self) -> Option<&HealthCheck> {
        self.parts.iter().find_map(|part| part.service.health_check.as_ref())
    }

    /// Names of which one has to be in the certificates of its endpoints, as all say that say any.
    pub fn certificate_names(&self) -> impl Iterator<Item = &String> {
        let names = self.parts.iter().flat_map(|part| &part.service.certificate_names);
        names.collect::<BTreeSet<_>>().into_iter()
    }

    /// The document that it is from, if no registry knows it; of several, the preferred one.
    pub fn document(&self) -> Option<&Arc<str>> {
        let lead = &self.parts[0];
        lead.is_of_document().then_some(&lead.registry)
    }

    /// What the registries say differently of it, and whose word is taken.
    pub fn disagreements(&self) -> &[Disagreement] {
        &self.disagreements
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
}

/// The ports of all registries, ordered by number, and what of them is a guess. The preferred registry describes a
/// port; but where it has guessed the protocol, the first does that has not.
fn ports(parts: &[Part]) -> (Vec<ServicePort>, BTreeMap<Port, Guess>) {
    let mut known: BTreeMap<Port, (&ServicePort, Guess)> = BTreeMap::new();
    for Part { service, .. } in parts {
        for port in &service.ports {
            let is_in = |guessed: &BTreeSet<Port>| guessed.contains(&port.number);
            let guess =
                Guess { protocol: is_in(&service.guessed_protocols), number: is_in(&service.guessed) };
            let (described, all) = known.entry(port.number).or_insert((port, guess));
            if all.protocol && !guess.protocol {
                *described = port;
            }
            *all = Guess { protocol: all.protocol && guess.protocol, number: all.number && guess.number };
        }
    }
    let guesses = known.iter().filter(|(_, (_, guess))| *guess != Guess::default());
    let guesses = guesses.map(|(number, (_, guess))| (*number, *guess)).collect();
    (known.into_values().map(|(port, _)| port.clone()).collect(), guesses)
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
    let values: BTreeSet<&T> = values.collect();
    values.into_iter().cloned().collect()
}
