//! All instances of one host -> the service.

use std::cmp::Reverse;
use std::sync::Arc;

use pilot_registry::{Address, Endpoint, Health, Hostname, Resolution, Service, ServiceSpec};

use super::instance::Instance;
use super::ports::{Numbers, Ports};

/// A service, and what is to be said of how it came about.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) service: Arc<Service>,
    /// Which port each group of its instances' ports has.
    pub(crate) numbers: Numbers,
    /// What a reader should know of it: why some instances are no endpoints, or why its port may be another.
    pub(crate) notes: Vec<String>,
}

/// Makes the service of all instances of one host, of whatever datacenter. `None` without any. `before` is
/// which ports it had.
///
/// # Errors
/// Why no service comes of them.
pub(crate) fn service<'a>(
    host: &Hostname,
    instances: impl Iterator<Item = &'a Instance> + Clone,
    before: &Numbers,
) -> Result<Option<Built>, String> {
    let Some(first) = instances.clone().next() else { return Ok(None) };
    let ports = Ports::of(instances.clone(), before);
    let by_name = instances.clone().any(|instance| matches!(instance.address, Address::Dns(_)));
    let mut spec = ServiceSpec::new(host.clone());
    spec.namespace = instances.clone().map(|one| &one.namespace).min().unwrap_or(&first.namespace).clone();
    spec.resolution = if by_name { Resolution::Dns } else { Resolution::Endpoints };
    let sockets = |instance: &&Instance| by_name && matches!(instance.address, Address::Unix(_));
    let left_out = instances.clone().filter(sockets).count();
    spec.endpoints = best(instances.filter(|one| !sockets(one)).filter_map(|one| endpoint(one, &ports)));
    spec.ports = ports.service;
    let service = Service::new(spec).map_err(|error| error.to_string())?;
    let why = || format!("{left_out} Unix sockets are left out beside addresses that are DNS names");
    let notes = (left_out > 0).then(why).into_iter().chain(ports.note).collect();
    Ok(Some(Built { service: Arc::new(service), numbers: ports.numbers, notes }))
}

/// An instance that serves some port of the service.
fn endpoint(instance: &Instance, ports: &Ports) -> Option<Endpoint> {
    let served = instance.ports.iter().filter_map(|port| Some((ports.number(port)?, port.own?)));
    let endpoint = Endpoint {
        ports: served.collect(),
        labels: instance.labels.clone(),
        weight: instance.weight,
        health: instance.health,
        locality: instance.locality.clone(),
        ..Endpoint::new(instance.address.clone())
    };
    (!endpoint.ports.is_empty()).then_some(endpoint)
}

/// Of instances with one address and the same ports the best: the healthiest, then the one with the most
/// weight. A machine that came back under another name is there twice for a while.
fn best(endpoints: impl Iterator<Item = Endpoint>) -> Vec<Endpoint> {
    let mut endpoints: Vec<_> = endpoints.collect();
    let rank = |health| match health {
        Health::Healthy => 0,
        Health::Warning => 1,
        Health::Unknown => 2,
        Health::Draining => 3,
        Health::Unhealthy => 4,
    };
    endpoints.sort_by(|a, b| {
        let key = |one: &Endpoint| (rank(one.health), Reverse(one.weight));
        (&a.address, &a.ports).cmp(&(&b.address, &b.ports)).then(key(a).cmp(&key(b))).then(a.cmp(b))
    });
    endpoints.dedup_by(|later, first| later.address == first.address && later.ports == first.ports);
    endpoints
}
