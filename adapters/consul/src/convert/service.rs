//! All instances of one host -> the service.

use std::sync::Arc;

use pilot_registry::{Address, Endpoint, Hostname, Namespace, Resolution, Service, ServiceSpec};

use super::instance::Instance;
use super::ports::{Defaults, Ports};
use super::settled::Settled;

/// A service, and what is to be said of how it came about.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) service: Arc<Service>,
    /// What stays as it is, whichever instances come and go.
    pub(crate) settled: Settled,
    /// Why some instances are no endpoints.
    pub(crate) left_out: Option<String>,
    /// What else a reader should know of it.
    pub(crate) notes: Vec<String>,
}

/// Makes the service of all instances of one host, of whatever datacenter. `None` without any. `before` is
/// what was settled of it, `defaults` what the configuration says of ports of which instances do not.
///
/// # Errors
/// Why no service comes of them.
pub(crate) fn service<'a>(
    host: &Hostname,
    instances: impl Iterator<Item = &'a Instance> + Clone,
    before: &Settled,
    defaults: &Defaults,
) -> Result<Option<Built>, String> {
    if instances.clone().next().is_none() {
        return Ok(None);
    }
    let ports = Ports::of(instances.clone(), before, defaults);
    let resolution = resolution(instances.clone(), before.resolution);
    let namespace = namespace(instances.clone(), before.namespace.as_ref());
    let fits = |one: &&Instance| fits(resolution, &one.address);
    let endpoints = instances.clone().filter(fits).filter_map(|one| endpoint(one, &ports));
    let spec = ServiceSpec {
        namespace: namespace.clone(),
        resolution,
        endpoints: endpoints.collect(),
        ports: ports.service,
        guessed: ports.guessed,
        guessed_protocols: ports.guessed_protocols,
        ..ServiceSpec::new(host.clone())
    };
    let service = Service::new(spec).map_err(|error| error.to_string())?;
    let settled = Settled {
        numbers: ports.numbers,
        said: ports.said,
        resolution: Some(resolution),
        namespace: Some(namespace),
    };
    let left_out = left_out(resolution, instances.filter(|one| !fits(one)).count());
    Ok(Some(Built { service: Arc::new(service), settled, left_out, notes: ports.notes }))
}

/// How the addresses are found: by DNS where some instance has a name. What was settled stays as long as some
/// instance is of that kind: proxies would have to begin anew.
fn resolution<'a>(
    instances: impl Iterator<Item = &'a Instance> + Clone,
    before: Option<Resolution>,
) -> Resolution {
    let named = |instance: &Instance| matches!(instance.address, Address::Dns(_));
    let mut listening = instances.filter(|instance| instance.listens());
    let stays = |before: &Resolution| listening.clone().any(|one| named(one) == (*before == Resolution::Dns));
    before.filter(stays).unwrap_or_else(|| match listening.any(named) {
        true => Resolution::Dns,
        false => Resolution::Endpoints,
    })
}

fn fits(resolution: Resolution, address: &Address) -> bool {
    match resolution {
        Resolution::Dns => !matches!(address, Address::Unix(_)),
        _ => !matches!(address, Address::Dns(_)),
    }
}

fn left_out(resolution: Resolution, count: usize) -> Option<String> {
    let what = match resolution {
        Resolution::Dns => "at Unix sockets beside addresses that are DNS names",
        _ => {
            "at DNS names beside IP addresses: the service is not resolved by DNS until none of these is left"
        }
    };
    (count > 0).then(|| format!("{count} of its instances {what}"))
}

/// What was settled stays as long as some instance says it.
fn namespace<'a>(
    instances: impl Iterator<Item = &'a Instance> + Clone,
    before: Option<&Namespace>,
) -> Namespace {
    let mut said = instances.map(|instance| &instance.namespace);
    let settled = before.filter(|before| said.clone().any(|namespace| namespace == *before));
    settled.or_else(|| said.by_ref().min()).cloned().unwrap_or_default()
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
