//! A service: what clients call, and where it is served.

mod doubles;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::{
    Address, Endpoint, HealthCheck, Hostname, Labels, ModelError, Namespace, Port, ServiceId, ServicePort,
    SpiffeId, Visibility,
};

/// How a proxy finds the addresses behind a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// The registry gives them: IP addresses and Unix sockets.
    #[default]
    Endpoints,
    /// The proxy resolves the endpoints' names, or the service's own name where there are no endpoints.
    Dns,
    /// The same, of one name: the proxy connects to one of its addresses at a time, the next one when DNS says another.
    #[serde(rename = "dns-round-robin")]
    DnsRoundRobin,
    /// The proxy sends to the address that the client called.
    Passthrough,
}

impl Resolution {
    /// As in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::Dns => "dns",
            Self::DnsRoundRobin => "dns-round-robin",
            Self::Passthrough => "passthrough",
        }
    }

    /// Whether the proxy resolves names.
    pub fn is_by_dns(self) -> bool {
        matches!(self, Self::Dns | Self::DnsRoundRobin)
    }
}

/// What a [`Service`] is built from. See [`Service::new`] for what makes sense.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The name that stands for the service everywhere.
    pub host: Hostname,
    /// Other names by which clients reach the same service.
    pub aliases: Vec<Hostname>,
    /// Names by which clients of the service's own namespace reach it, and no others: `web`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local_names: Vec<Hostname>,
    /// The ports that clients call.
    pub ports: Vec<ServicePort>,
    /// Those of the ports whose numbers nobody has said: the registry took the number that instances listen on. A
    /// guessed number yields to what another registry says of the same host.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub guessed: BTreeSet<Port>,
    /// Those of the ports whose protocols nobody has said: the registry took its default. A guessed protocol yields
    /// to what another registry says of the same port.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub guessed_protocols: BTreeSet<Port>,
    /// Addresses that stand for the service as a whole, where the platform has such.
    pub virtual_addresses: Vec<IpAddr>,
    /// How its addresses are found.
    pub resolution: Resolution,
    /// Where it is among others of its kind.
    pub namespace: Namespace,
    /// Which clients see it.
    #[serde(default, skip_serializing_if = "Visibility::is_everybody")]
    pub visibility: Visibility,
    /// The service's own labels.
    pub labels: Labels,
    /// Who may serve it.
    pub identities: Vec<SpiffeId>,
    /// Names of which one has to be in the certificates of its endpoints, where connections to it are TLS and no rule says
    /// others; none = the name that requests have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate_names: Vec<String>,
    /// How proxies find out for themselves which endpoints serve; `None` = they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// Whether HTTP requests arrive with the name of the endpoint as their host, rather than the one that the client said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rewrite_host: bool,
    /// Where it is served.
    pub endpoints: Vec<Endpoint>,
}

impl ServiceSpec {
    /// A service of that name with nothing else: no ports, no endpoints, resolution by endpoints.
    pub fn new(host: Hostname) -> Self {
        Self {
            host,
            aliases: Vec::new(),
            local_names: Vec::new(),
            ports: Vec::new(),
            guessed: BTreeSet::new(),
            guessed_protocols: BTreeSet::new(),
            virtual_addresses: Vec::new(),
            resolution: Resolution::default(),
            namespace: Namespace::default(),
            visibility: Visibility::default(),
            labels: Labels::new(),
            identities: Vec::new(),
            certificate_names: Vec::new(),
            health_check: None,
            rewrite_host: false,
            endpoints: Vec::new(),
        }
    }
}

/// A service that makes sense, in canonical order: two services that mean the same are equal.
///
/// Reads like its [`ServiceSpec`] and cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ServiceSpec", into = "ServiceSpec")]
pub struct Service(ServiceSpec);

impl Service {
    /// Checks a service and puts its parts in canonical order.
    ///
    /// Addresses are canonical: `::ffff:10.0.0.1` is `10.0.0.1`. Where several endpoints serve a port of the service
    /// at one address and one port of their own, the healthiest does, of those the one with the most weight. The
    /// others do not serve that port, and one that serves none is not there. A local name that is the service's
    /// host or an alias is none. A guess about a port that the service does not have is none.
    ///
    /// # Errors
    /// - no port, or two ports with one number or one name;
    /// - an endpoint that serves no port, or one that the service does not have;
    /// - an endpoint given by DNS name while the resolution is [`Resolution::Endpoints`];
    /// - any endpoint while the resolution is [`Resolution::Passthrough`];
    /// - a health check that can be made at no port, or a host that is rewritten to no name.
    pub fn new(mut spec: ServiceSpec) -> Result<Self, ModelError> {
        sort_unique(&mut spec.aliases);
        sort_unique(&mut spec.local_names);
        spec.virtual_addresses.iter_mut().for_each(|ip| *ip = ip.to_canonical());
        sort_unique(&mut spec.virtual_addresses);
        sort_unique(&mut spec.identities);
        sort_unique(&mut spec.certificate_names);
        spec.aliases.retain(|alias| *alias != spec.host);
        // What everybody calls it by is nothing special to its own namespace.
        spec.local_names.retain(|name| *name != spec.host && !spec.aliases.contains(name));
        spec.ports.sort();
        check_ports(&spec)?;
        check_health_check(&spec)?;
        check_rewrite(&spec)?;
        let is_there = |number: &Port| spec.ports.iter().any(|port| port.number == *number);
        spec.guessed.retain(is_there);
        spec.guessed_protocols.retain(is_there);
        spec.endpoints.iter().try_for_each(|endpoint| check_endpoint(&spec, endpoint))?;
        spec.endpoints.iter_mut().for_each(|endpoint| endpoint.address.make_canonical());
        doubles::leave_best(&mut spec.endpoints);
        spec.endpoints.sort();
        Ok(Self(spec))
    }

    /// The port that clients call by that number.
    pub fn port(&self, number: Port) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// The service's name and its aliases.
    pub fn hosts(&self) -> impl Iterator<Item = &Hostname> {
        std::iter::once(&self.host).chain(&self.aliases)
    }

    /// Its namespace, if not everybody sees it.
    pub fn owner(&self) -> Option<&Namespace> {
        (!self.visibility.is_everybody()).then_some(&self.namespace)
    }

    /// What tells it from all others.
    pub fn id(&self) -> ServiceId {
        ServiceId { host: self.host.clone(), owner: self.owner().cloned() }
    }

    /// The same, to be compared. In the same order as [`Service::id`].
    pub fn key(&self) -> (&Hostname, Option<&Namespace>) {
        (&self.host, self.owner())
    }

    /// What it was built from, to build another.
    pub fn into_spec(self) -> ServiceSpec {
        self.0
    }
}

fn sort_unique<T: Ord>(values: &mut Vec<T>) {
    values.sort();
    values.dedup();
}

fn check_ports(spec: &ServiceSpec) -> Result<(), ModelError> {
    let host = || spec.host.to_string();
    if spec.ports.is_empty() {
        return Err(ModelError::NoPort { host: host() });
    }
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for port in &spec.ports {
        if !numbers.insert(port.number) {
            return Err(ModelError::DuplicatePort { host: host(), port: port.number.to_string() });
        }
        if !names.insert(&port.name) {
            return Err(ModelError::DuplicatePort { host: host(), port: format!("{:?}", port.name) });
        }
    }
    Ok(())
}

fn check_health_check(spec: &ServiceSpec) -> Result<(), ModelError> {
    let Some(check) = &spec.health_check else { return Ok(()) };
    let why = if spec.resolution == Resolution::Passthrough {
        "a service with resolution \"passthrough\" has no endpoints that could be asked".to_owned()
    } else if !spec.ports.iter().any(|port| check.fits(port.protocol)) {
        format!(
            "no port of it answers {check}: expected another kind of check, or `port`, that of each endpoint to ask"
        )
    } else if check.interval.is_zero() || check.timeout.is_zero() {
        "interval and timeout cannot be 0".to_owned()
    } else {
        return Ok(());
    };
    Err(ModelError::HealthCheck { host: spec.host.to_string(), why })
}

fn check_rewrite(spec: &ServiceSpec) -> Result<(), ModelError> {
    let why = if !spec.rewrite_host {
        return Ok(());
    } else if !spec.resolution.is_by_dns() {
        "only endpoints that are names can be hosts: expected resolution = \"dns\""
    } else if !spec.ports.iter().any(|port| port.protocol.is_http()) {
        "it has no HTTP port"
    } else {
        return Ok(());
    };
    Err(ModelError::RewriteHost { host: spec.host.to_string(), why })
}

fn check_endpoint(spec: &ServiceSpec, endpoint: &Endpoint) -> Result<(), ModelError> {
    let refused = |why: String| {
        let (host, address) = (spec.host.to_string(), endpoint.address.to_string());
        Err(ModelError::Endpoint { host, address, why })
    };
    match (spec.resolution, &endpoint.address) {
        (Resolution::Passthrough, _) => {
            return refused("a service with resolution \"passthrough\" has no endpoints".into());
        }
        (Resolution::Endpoints, Address::Dns(name)) if name.as_str() == "localhost" => {
            return refused("localhost is a name: write 127.0.0.1 or ::1".into());
        }
        (Resolution::Endpoints, Address::Dns(_)) => {
            return refused("a DNS name needs resolution \"dns\", a key of its service".into());
        }
        (Resolution::Dns | Resolution::DnsRoundRobin, Address::Unix(_)) => {
            return refused("a Unix socket cannot be resolved by DNS".into());
        }
        _ => {}
    }
    if endpoint.ports.is_empty() {
        return refused("it serves no port".into());
    }
    let unknown = endpoint.ports.keys().find(|port| spec.ports.iter().all(|own| own.number != **port));
    match unknown {
        Some(port) => refused(format!("the service has no port {port}")),
        None => Ok(()),
    }
}

impl Deref for Service {
    type Target = ServiceSpec;

    fn deref(&self) -> &ServiceSpec {
        &self.0
    }
}

impl TryFrom<ServiceSpec> for Service {
    type Error = ModelError;

    fn try_from(spec: ServiceSpec) -> Result<Self, ModelError> {
        Self::new(spec)
    }
}

impl From<Service> for ServiceSpec {
    fn from(service: Service) -> Self {
        service.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Probe, Protocol};

    fn port(number: u32) -> Port {
        Port::try_from(number).unwrap()
    }

    fn spec() -> ServiceSpec {
        let mut spec = ServiceSpec::new("a.local".parse().unwrap());
        spec.ports = vec![ServicePort { number: port(80), name: "http".into(), protocol: Protocol::Http }];
        spec.endpoints = ["10.0.0.2", "10.0.0.1"]
            .map(|ip| Endpoint::new(ip.parse().unwrap()).serving(port(80), port(8080)))
            .to_vec();
        spec
    }

    #[test]
    fn order_does_not_matter_and_repetition_counts_once() {
        let mut other = spec();
        other.endpoints.reverse();
        other.endpoints.push(other.endpoints[0].clone());
        assert_eq!(Service::new(spec()).unwrap(), Service::new(other).unwrap());
    }

    #[test]
    fn ip_addresses_become_canonical() {
        let mut other = spec();
        other.endpoints[0].address = Address::Ip("::ffff:10.0.0.2".parse().unwrap());
        other.virtual_addresses = vec!["::ffff:10.0.0.9".parse().unwrap(), [10, 0, 0, 9].into()];
        let canonical = ServiceSpec { virtual_addresses: vec![[10, 0, 0, 9].into()], ..spec() };
        assert_eq!(Service::new(other).unwrap(), Service::new(canonical).unwrap());
    }

    #[test]
    fn a_local_name_is_one_that_not_everybody_uses() {
        let mut spec = spec();
        spec.aliases = vec!["a".parse().unwrap()];
        spec.local_names = ["b", "a.local", "a", "c", "b"].map(|name| name.parse().unwrap()).to_vec();
        let service = Service::new(spec).unwrap();
        assert_eq!(service.local_names.iter().map(Hostname::as_str).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn a_service_that_not_everybody_sees_belongs_to_its_namespace() {
        let namespace: Namespace = "shop".to_owned().try_into().unwrap();
        let only = Visibility::Only([namespace.clone()].into());
        let service = Service::new(ServiceSpec { namespace, visibility: only, ..spec() }).unwrap();
        assert_eq!(service.id().to_string(), "a.local of namespace shop");
        let text = serde_json::to_string(&service).unwrap();
        assert_eq!(serde_json::from_str::<Service>(&text).unwrap(), service);
        assert_eq!(Service::new(spec()).unwrap().id().to_string(), "a.local");
    }

    #[test]
    fn what_was_written_before_there_were_local_names_is_read() {
        let text = serde_json::to_string(&Service::new(spec()).unwrap()).unwrap();
        let newer =
            ["local_names", "guessed", "guessed_protocols", "visibility", "health_check", "rewrite_host"];
        assert!(newer.iter().all(|key| !text.contains(key)), "{text}");
        let read = serde_json::from_str::<Service>(&text).unwrap();
        assert_eq!((read.local_names.len(), read.guessed.len()), (0, 0));
    }

    #[test]
    fn a_guess_is_about_a_port_that_is_there_and_survives_being_written() {
        let both = BTreeSet::from([port(80), port(81)]);
        let guesses = ServiceSpec { guessed: both.clone(), guessed_protocols: both, ..spec() };
        let service = Service::new(guesses).unwrap();
        assert_eq!((&service.guessed, &service.guessed_protocols), (&[port(80)].into(), &[port(80)].into()));
        let text = serde_json::to_string(&service).unwrap();
        assert_eq!(serde_json::from_str::<Service>(&text).unwrap(), service);
    }

    #[test]
    fn services_that_make_no_sense_cannot_be_built() {
        let broken: [fn(&mut ServiceSpec); 11] = [
            |s| s.ports.clear(),
            |s| s.ports.push(s.ports[0].clone()),
            |s| s.ports.push(ServicePort { number: port(81), ..s.ports[0].clone() }),
            |s| s.endpoints[0].ports.clear(),
            |s| s.endpoints[0].ports = [(port(9), port(9))].into(),
            |s| s.endpoints[0].address = "db.local".parse().unwrap(),
            |s| s.resolution = Resolution::Passthrough,
            |s| s.health_check = Some(HealthCheck::new(Probe::Grpc(String::new()))),
            |s| {
                let check = HealthCheck::new(Probe::Tcp);
                s.health_check = Some(HealthCheck { interval: std::time::Duration::ZERO, ..check });
            },
            |s| {
                s.resolution = Resolution::Passthrough;
                s.endpoints.clear();
                s.health_check = Some(HealthCheck::new(Probe::Tcp));
            },
            |s| s.rewrite_host = true,
        ];
        for break_it in broken {
            let mut spec = spec();
            break_it(&mut spec);
            assert!(Service::new(spec.clone()).is_err(), "{spec:?}");
        }
    }

    #[test]
    fn a_service_survives_being_written_and_read() {
        let local_names = vec!["a".parse().unwrap()];
        let health_check = Some(HealthCheck::new(Probe::Http("/healthz".to_owned())));
        let service = Service::new(ServiceSpec { local_names, health_check, ..spec() }).unwrap();
        let text = serde_json::to_string(&service).unwrap();
        assert_eq!(serde_json::from_str::<Service>(&text).unwrap(), service);
    }
}
