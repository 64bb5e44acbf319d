//! How the suite's services are written into Consul's catalog, and what is left of them there.

use std::cmp::Reverse;
use std::sync::Arc;

use pilot_registry::{Address, Endpoint, Health, Hostname, Port, Resolution, Service, ServiceSpec};
use pilot_registry_consul::{Config, Limits};
use serde_json::{Map, Value, json};

/// The token that the adapter under test is given.
pub(crate) const TOKEN: &str = "8a7f6e5d-1111-4222-8333-0123456789ab";

/// One instance in the catalog.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) service: String,
    pub(crate) address: String,
    pub(crate) socket: Option<String>,
    pub(crate) port: u16,
    pub(crate) meta: Map<String, Value>,
    pub(crate) weight: u32,
    /// Its check: id and state.
    pub(crate) check: Option<(String, &'static str)>,
}

/// What pilot.toml would say.
pub(crate) fn config(address: String) -> Config {
    Config {
        address,
        token: Some(TOKEN.to_owned().into()),
        host: "{service}.local".to_owned().try_into().unwrap(),
        limits: Limits { wait_seconds: 2, ..Limits::default() },
        ..Config::default()
    }
}

pub(crate) fn name(host: &Hostname) -> String {
    host.as_str().strip_suffix(".local").unwrap_or(host.as_str()).to_owned()
}

/// One instance for each port of each endpoint; and one for each port of the service that listens nowhere
/// and says that the service has the port.
pub(crate) fn instances(service: &Service, sockets: bool) -> Vec<Instance> {
    let name = name(&service.host);
    let declared = service.ports.iter().map(|port| Instance {
        id: format!("{name}-has-{}", port.number),
        service: name.clone(),
        address: "10.255.255.255".to_owned(),
        socket: None,
        port: 0,
        meta: meta(service, port.number),
        weight: 1,
        check: None,
    });
    let endpoints = of_one_kind(service).enumerate();
    let serving = endpoints.flat_map(|(at, endpoint)| {
        endpoint.ports.iter().map(move |(number, own)| (at, endpoint, *number, *own))
    });
    let serving = serving.filter(|(_, endpoint, ..)| sockets || !is_socket(endpoint));
    let serving = serving.map(|(at, endpoint, number, own)| {
        let id = format!("{name}-{at}-{number}");
        let socket = match &endpoint.address {
            Address::Unix(path) => Some(path.clone()),
            _ => None,
        };
        Instance {
            check: check(endpoint.health, &id),
            id,
            service: name.clone(),
            address: if socket.is_some() { String::new() } else { endpoint.address.to_string() },
            socket,
            port: own.get(),
            meta: with_endpoint(meta(service, number), endpoint),
            weight: endpoint.weight.get(),
        }
    });
    declared.chain(serving).collect()
}

/// The endpoints that have names, if there are some: beside addresses, which ones count depends on which were there
/// first.
fn of_one_kind(service: &Service) -> impl Iterator<Item = &Endpoint> {
    let is_named = |one: &Endpoint| matches!(one.address, Address::Dns(_));
    let named = service.endpoints.iter().any(is_named);
    service.endpoints.iter().filter(move |one| is_named(one) == named)
}

fn is_socket(endpoint: &Endpoint) -> bool {
    matches!(endpoint.address, Address::Unix(_))
}

fn meta(service: &Service, number: Port) -> Map<String, Value> {
    let port = service.port(number).expect("a service has the ports that its endpoints serve");
    let meta = json!({
        "service_port": number.to_string(), "protocol": port.protocol.as_str(), "port_name": port.name,
    });
    meta.as_object().cloned().unwrap_or_default()
}

fn with_endpoint(mut meta: Map<String, Value>, endpoint: &Endpoint) -> Map<String, Value> {
    let place = &endpoint.locality;
    let places = [("region", &place.region), ("zone", &place.zone), ("sub_zone", &place.sub_zone)];
    let places = places.into_iter().filter(|(_, value)| !value.is_empty());
    meta.extend(places.map(|(key, value)| (key.to_owned(), json!(value))));
    meta.extend(endpoint.labels.iter().map(|(key, value)| (key.clone(), json!(value))));
    meta
}

fn check(health: Health, id: &str) -> Option<(String, &'static str)> {
    match health {
        Health::Healthy => Some((format!("check-{id}"), "passing")),
        Health::Warning => Some((format!("check-{id}"), "warning")),
        Health::Unhealthy => Some((format!("check-{id}"), "critical")),
        Health::Draining => Some((format!("_service_maintenance:{id}"), "critical")),
        Health::Unknown => None,
    }
}

/// The service as Consul has it: what it has no place for is gone, each port of an endpoint is an endpoint.
pub(crate) fn as_seen(service: &Service, sockets: bool) -> Arc<Service> {
    let mut spec = ServiceSpec::new(service.host.clone());
    spec.ports.clone_from(&service.ports);
    let endpoints = of_one_kind(service).filter(|one| sockets || !is_socket(one));
    spec.endpoints = best(endpoints.flat_map(split).collect());
    let named = spec.endpoints.iter().any(|one| matches!(one.address, Address::Dns(_)));
    spec.resolution = if named { Resolution::Dns } else { Resolution::Endpoints };
    Arc::new(Service::new(spec).expect("it makes sense with less, too"))
}

fn split(endpoint: &Endpoint) -> impl Iterator<Item = Endpoint> {
    endpoint.ports.iter().map(|(number, own)| {
        let mut one = endpoint.clone();
        one.ports = [(*number, *own)].into();
        one.identity = None;
        if one.locality.region.is_empty() {
            one.locality.region = "dc1".to_owned();
        }
        // Only what passes is served.
        if one.health == Health::Warning {
            one.health = Health::Unhealthy;
        }
        one
    })
}

/// Of equal addresses and ports the healthiest, as README.md says.
fn best(mut endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    let order = [Health::Healthy, Health::Warning, Health::Unknown, Health::Draining, Health::Unhealthy];
    let rank = |one: &Endpoint| order.iter().position(|health| *health == one.health);
    endpoints.sort_by_key(|one| {
        (one.address.clone(), one.ports.clone(), rank(one), Reverse(one.weight), one.clone())
    });
    endpoints.dedup_by(|later, first| later.address == first.address && later.ports == first.ports);
    endpoints
}

/// Configurations that are refused, and what is said of them.
pub(crate) fn refusal(text: &str) -> Result<(), String> {
    let config: Config = serde_json::from_str(text).map_err(|error| error.to_string())?;
    pilot_registry_consul::registry(config).map(drop).map_err(|error| error.to_string())
}
