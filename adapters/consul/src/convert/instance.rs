//! One instance of a service.

use std::sync::Arc;

use pilot_registry::{Address, Health, Labels, Locality, Namespace, Port, Protocol, Weight};

use super::entry::{Entry, Weights};
use crate::Config;

/// The keys of an instance's meta that say something of its port.
pub(crate) struct Meta;

impl Meta {
    /// What is spoken on the port.
    pub(crate) const PROTOCOL: &str = "protocol";
    /// The port that clients call.
    pub(crate) const SERVICE_PORT: &str = "service_port";
    /// The port's name.
    pub(crate) const PORT_NAME: &str = "port_name";
}

/// What counts of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    node: Arc<str>,
    pub(super) address: Address,
    pub(super) ports: Vec<InstancePort>,
    pub(super) labels: Labels,
    pub(super) weight: Weight,
    pub(super) health: Health,
    pub(super) locality: Locality,
    pub(super) namespace: Namespace,
}

/// A port of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InstancePort {
    /// The port that clients call, if the instance says it.
    pub(super) service: Option<Port>,
    /// Its own port. None: it serves nothing itself, it only says what the service has.
    pub(super) own: Option<Port>,
    pub(super) name: Option<String>,
    pub(super) protocol: Option<Protocol>,
    /// Whether the instance says that it is the one that is meant where none is named.
    pub(super) is_default: bool,
}

impl Instance {
    /// Reads an entry; the error says why it cannot count.
    pub(super) fn read(entry: &Entry, node: Arc<str>, config: &Config) -> Result<Self, String> {
        let (address, tagged_port) = address(entry, config)?;
        let (health, weight) = health(entry, config);
        let namespace = entry.service.namespace.clone().map(Namespace::try_from);
        Ok(Self {
            node,
            ports: ports(entry, &address, tagged_port)?,
            address,
            labels: labels(entry, config),
            weight,
            health,
            locality: locality(entry, config),
            namespace: namespace.transpose().map_err(|error| error.to_string())?.unwrap_or_default(),
        })
    }

    /// The name of the node that it is on.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// The same where nobody says any more how it is.
    pub(super) fn unseen(&self) -> Self {
        let health = if self.health == Health::Healthy { Health::Unknown } else { self.health };
        Self { health, ..self.clone() }
    }

    /// Whether anybody can connect to it. Otherwise it only describes the service.
    pub(super) fn listens(&self) -> bool {
        self.ports.iter().any(|port| port.own.is_some())
    }

    /// Whether it listens where that one does.
    pub(super) fn is_where(&self, other: &Self) -> bool {
        let ports = self.ports.iter().map(|port| port.own);
        self.address == other.address && ports.eq(other.ports.iter().map(|port| port.own))
    }
}

/// The address, and the port that belongs to it where it is a tagged one of the instance's own.
fn address(entry: &Entry, config: &Config) -> Result<(Address, Option<u32>), String> {
    let (service, node) = (&entry.service, &entry.node);
    let read = |text: &str| text.parse::<Address>().map_err(|error| error.to_string());
    if !service.socket_path.is_empty() {
        return Ok((read(&format!("unix:{}", service.socket_path))?, None));
    }
    if let Some(tagged) = config.tagged_address {
        let of_service = service.tagged_addresses.get(tagged.as_str());
        if let Some(found) = of_service.filter(|found| !found.address.is_empty()) {
            return Ok((read(&found.address)?, Some(found.port).filter(|port| *port != 0)));
        }
        let of_node = node.tagged_addresses.get(tagged.as_str()).filter(|found| !found.is_empty());
        if let (true, Some(found)) = (service.address.is_empty(), of_node) {
            return Ok((read(found)?, None));
        }
    }
    let plain = if service.address.is_empty() { &node.address } else { &service.address };
    Ok((read(plain)?, None))
}

fn ports(entry: &Entry, address: &Address, tagged: Option<u32>) -> Result<Vec<InstancePort>, String> {
    let (service, meta) = (&entry.service, &entry.service.meta);
    let read = |text: &String| text.parse::<Port>().map_err(|error| error.to_string());
    let own = |number: u32| Port::try_from(number).map_err(|error| error.to_string());
    let declared = meta.get(Meta::SERVICE_PORT).map(read).transpose()?;
    if !service.ports.is_empty() {
        let named = |port: &super::entry::NamedPort| {
            let name = Some(port.name.clone()).filter(|name| !name.is_empty());
            let protocol = protocol(entry, name.as_deref());
            let own = Some(own(port.port)?);
            Ok(InstancePort { service: None, own, name, protocol, is_default: port.default })
        };
        return service.ports.iter().map(named).collect();
    }
    let name = meta.get(Meta::PORT_NAME).filter(|name| !name.is_empty());
    let name = name.map(String::as_str).or_else(|| port_of_nomad(entry)).map(str::to_owned);
    let protocol = protocol(entry, name.as_deref());
    let own = match (tagged.unwrap_or(service.port), address) {
        // The port of a Unix socket has no meaning.
        (0, Address::Unix(_)) => declared,
        (0, _) => None,
        (number, _) => Some(own(number)?),
    };
    if own.is_none() && declared.is_none() {
        let key = Meta::SERVICE_PORT;
        return Err(format!("it has no port: expected one, or {key:?} in its meta to describe the service"));
    }
    Ok(vec![InstancePort { service: declared, own, name, protocol, is_default: false }])
}

/// Nomad's agents are three instances of one service each, which differ in a tag and are no replicas of one
/// another: the tag is the port's name.
fn port_of_nomad(entry: &Entry) -> Option<&str> {
    const PORTS: [&str; 3] = ["http", "rpc", "serf"];
    let is_agent = ["_nomad-server-", "_nomad-client-"].iter().any(|id| entry.service.id.starts_with(id));
    let mut tags = entry.service.tags.iter().map(String::as_str).filter(|tag| PORTS.contains(tag));
    tags.next().filter(|_| is_agent && tags.next().is_none())
}

/// What is spoken: as meta says, or a tag, or the name of the port (`http`, `grpc-web`).
fn protocol(entry: &Entry, port_name: Option<&str>) -> Option<Protocol> {
    let of_meta = entry.service.meta.get(Meta::PROTOCOL).and_then(|name| name.parse().ok());
    let tags = entry.service.tags.iter();
    let of_tag = tags.filter_map(|tag| match split(tag) {
        Some((Meta::PROTOCOL, value)) => value.parse().ok(),
        Some(_) => None,
        None => tag.parse().ok(),
    });
    let of_name = || port_name.and_then(|name| name.split('-').next()?.parse().ok());
    of_meta.or_else(|| of_tag.min()).or_else(of_name)
}

/// Why what is spoken is not what its meta says. Words that others know (`https`, `mysql`) are no reason to
/// take away an instance that serves.
pub(super) fn note(entry: &Entry) -> Option<String> {
    let error = entry.service.meta.get(Meta::PROTOCOL)?.parse::<Protocol>().err()?;
    Some(format!("{} in its meta does not count: {error}", Meta::PROTOCOL))
}

fn labels(entry: &Entry, config: &Config) -> Labels {
    let mut labels = Labels::new();
    for tag in &entry.service.tags {
        match split(tag) {
            Some((Meta::PROTOCOL, _)) => {}
            Some((key, value)) => _ = labels.insert(key.to_owned(), value.to_owned()),
            None if tag.is_empty() || tag.parse::<Protocol>().is_ok() => {}
            None => _ = labels.insert(tag.clone(), String::new()),
        }
    }
    let known = [Meta::PROTOCOL, Meta::SERVICE_PORT, Meta::PORT_NAME];
    let places = [&config.region_meta, &config.zone_meta, &config.sub_zone_meta];
    let is_label = |key: &String| !known.contains(&key.as_str()) && !places.contains(&key);
    let meta = entry.service.meta.iter().filter(|(key, _)| is_label(key));
    labels.extend(meta.map(|(key, value)| (key.clone(), value.clone())));
    labels
}

/// `key=value`, or `key|value`, whichever sign comes first.
fn split(tag: &str) -> Option<(&str, &str)> {
    tag.split_once(['=', '|']).filter(|(key, _)| !key.is_empty())
}

fn locality(entry: &Entry, config: &Config) -> Locality {
    let (service, node) = (&entry.service, &entry.node);
    let of_meta = |key: &String| service.meta.get(key).or_else(|| node.meta.get(key)).cloned();
    let first = |newer: [&String; 2], key: &String| {
        let given = newer.into_iter().find(|place| !place.is_empty()).cloned();
        given.or_else(|| of_meta(key)).unwrap_or_default()
    };
    let region = first([&service.locality.region, &node.locality.region], &config.region_meta);
    Locality {
        region: if region.is_empty() { node.datacenter.clone() } else { region },
        zone: first([&service.locality.zone, &node.locality.zone], &config.zone_meta),
        sub_zone: of_meta(&config.sub_zone_meta).unwrap_or_default(),
    }
}

/// What the checks say, and the weight in that state.
fn health(entry: &Entry, config: &Config) -> (Health, Weight) {
    let weights = entry.service.weights;
    let is = |status: &str| entry.checks.iter().any(|check| check.status == status);
    let maintenance = |id: &str| id == "_node_maintenance" || id.starts_with("_service_maintenance:");
    let bad = |status: &str| !matches!(status, "passing" | "warning");
    if entry.checks.iter().any(|check| maintenance(&check.id)) {
        return (Health::Draining, passing(weights));
    }
    if entry.checks.iter().any(|check| bad(&check.status)) {
        return (Health::Unhealthy, passing(weights));
    }
    match (is("warning"), entry.checks.is_empty()) {
        (true, _) if !config.serves_warning() || weights.warning < 1 => (Health::Unhealthy, passing(weights)),
        (true, _) => (Health::Healthy, weight(weights.warning)),
        (false, _) if weights.passing < 1 => (Health::Draining, passing(weights)),
        (false, true) => (Health::Unknown, passing(weights)),
        (false, false) => (Health::Healthy, passing(weights)),
    }
}

fn passing(weights: Weights) -> Weight {
    weight(weights.passing)
}

fn weight(number: i64) -> Weight {
    let number = number.clamp(1, Weight::MAX.into());
    u32::try_from(number).ok().and_then(|number| Weight::try_from(number).ok()).unwrap_or_default()
}
