//! One ServiceEntry -> its services.

use std::collections::{BTreeMap, BTreeSet};

use pilot_registry::{
    Address, Endpoint, Hostname, Namespace, Port, Resolution, Service, ServicePort, ServiceSpec, Visibility,
    Weight,
};

use super::chosen::Choice;
use crate::rules::Ruling;
use crate::rules::kinds::{EntryPort, EntryResolution, ServiceEntry, WorkloadEntry, place};

/// The services of a document, and what of it could not be made, in words.
pub(super) fn services(ruling: &Ruling, choice: &Choice) -> (Vec<Service>, Vec<String>) {
    let Some(entry) = ruling.service_entry() else { return Default::default() };
    let mut faults = Vec::new();
    let endpoints = Endpoints { entry, faults: &mut faults }.all(choice);
    let spec = match spec(entry, &ruling.version.id.namespace, endpoints) {
        Ok(spec) => spec,
        Err(error) => {
            faults.push(format!("spec: {error}"));
            return (Vec::new(), faults);
        }
    };
    let mut services = Vec::new();
    for (i, host) in entry.hosts.iter().enumerate() {
        let made = Hostname::or_wildcard(host);
        let made = made.and_then(|host| {
            let endpoints = match resolves_itself(entry) {
                true => vec![own(entry, &host)],
                false => spec.endpoints.clone(),
            };
            Service::new(ServiceSpec { host, endpoints, ..spec.clone() })
        });
        match made {
            Ok(service) => services.push(service),
            Err(error) => faults.push(format!("spec.hosts[{i}]: {error}")),
        }
    }
    (services, faults)
}

/// Whether the service is at the addresses of its own host.
fn resolves_itself(entry: &ServiceEntry) -> bool {
    let is_by_dns = matches!(entry.resolution(), EntryResolution::Dns | EntryResolution::DnsRoundRobin);
    is_by_dns && entry.endpoints.is_empty() && entry.workload_selector.is_none()
}

fn own(entry: &ServiceEntry, host: &Hostname) -> Endpoint {
    Endpoint { ports: ports(entry, |_| None), ..Endpoint::new(Address::Dns(host.clone())) }
}

/// From the service's ports to an endpoint's: its own, or targetPort, or the same number.
fn ports(entry: &ServiceEntry, own: impl Fn(&EntryPort) -> Option<u16>) -> BTreeMap<Port, Port> {
    let ports = entry.ports.iter().filter_map(|port| {
        let own = own(port).or(port.target_port).unwrap_or(port.number);
        number(port.number).ok().zip(number(own).ok())
    });
    ports.collect()
}

/// A service of no name yet.
fn spec(
    entry: &ServiceEntry,
    namespace: &str,
    endpoints: Vec<Endpoint>,
) -> Result<ServiceSpec, pilot_registry::ModelError> {
    let namespace = Namespace::try_from(namespace.to_owned())?;
    let visibility = match entry.export_to.as_slice() {
        [] => Visibility::Everybody,
        words => Visibility::of_words(words.iter().map(String::as_str), &namespace)?,
    };
    let ports = entry.ports.iter().map(|port| {
        let (number, name) = (number(port.number)?, port.name.clone());
        let protocol = port.spoken().map_or_else(|| port.protocol.parse(), Ok)?;
        Ok(ServicePort { number, name, protocol })
    });
    let addresses = entry.addresses.iter().filter_map(|text| ServiceEntry::virtual_address(text).ok());
    // Each host takes the place of this one.
    let anybody = "service".parse()?;
    Ok(ServiceSpec {
        ports: ports.collect::<Result<_, pilot_registry::ModelError>>()?,
        virtual_addresses: addresses.collect(),
        resolution: match entry.resolution() {
            EntryResolution::Static => Resolution::Endpoints,
            EntryResolution::Dns => Resolution::Dns,
            EntryResolution::DnsRoundRobin => Resolution::DnsRoundRobin,
            EntryResolution::None | EntryResolution::DynamicDns => Resolution::Passthrough,
        },
        namespace,
        visibility,
        labels: entry.labels.clone(),
        certificate_names: entry.subject_alt_names.clone(),
        endpoints,
        ..ServiceSpec::new(anybody)
    })
}

fn number(port: u16) -> Result<Port, pilot_registry::ModelError> {
    u32::from(port).try_into()
}

/// Puts the endpoints of an entry together.
struct Endpoints<'a> {
    entry: &'a ServiceEntry,
    faults: &'a mut Vec<String>,
}

impl Endpoints<'_> {
    fn all(mut self, choice: &Choice) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        for (i, one) in self.entry.endpoints.iter().enumerate() {
            endpoints.extend(self.written(&format!("spec.endpoints[{i}]"), one));
        }
        for ruling in choice.workloads.values() {
            let one = ruling.workload_entry();
            endpoints.extend(one.and_then(|one| self.written(&ruling.version.id.to_string(), one)));
        }
        endpoints.extend(self.registered(choice));
        endpoints
    }

    /// An endpoint that somebody wrote.
    fn written(&mut self, of: &str, one: &WorkloadEntry) -> Option<Endpoint> {
        let address = one.address().and_then(|address| self.fits(&address).map(|()| address));
        let address = address.map_err(|why| self.faults.push(format!("{of}: {why}"))).ok()?;
        let weight = one.weight.filter(|weight| *weight > 0).and_then(|weight| Weight::try_from(weight).ok());
        let own = |port: &EntryPort| one.ports.get(&port.name).copied();
        Some(Endpoint {
            ports: ports(self.entry, own),
            labels: one.labels.clone(),
            locality: one.locality.as_deref().map(place).unwrap_or_default(),
            weight: weight.unwrap_or_default(),
            ..Endpoint::new(address)
        })
    }

    /// Endpoints that registries know. One that several services have is one.
    fn registered(&mut self, choice: &Choice) -> Vec<Endpoint> {
        let Some(selector) = &self.entry.workload_selector else { return Vec::new() };
        let mut seen = BTreeSet::new();
        let all = choice.registered.values().flat_map(|service| &service.endpoints);
        let chosen = all.filter(|endpoint| {
            selector.chooses(&endpoint.labels)
                && self.fits(&endpoint.address).is_ok()
                && seen.insert(&endpoint.address)
        });
        chosen.map(|endpoint| Endpoint { ports: ports(self.entry, |_| None), ..endpoint.clone() }).collect()
    }

    /// Whether an endpoint can be there.
    fn fits(&self, address: &Address) -> Result<(), String> {
        let resolution = self.entry.resolution();
        let is_by_dns = matches!(resolution, EntryResolution::Dns | EntryResolution::DnsRoundRobin);
        match address {
            Address::Dns(name) if !is_by_dns => Err(format!(
                "{name} is a name, and the ServiceEntry does not resolve names: write an IP address"
            )),
            Address::Unix(_) if is_by_dns => {
                Err("a Unix socket is not resolved by DNS, as the ServiceEntry's endpoints are".to_owned())
            }
            Address::Unix(_) if self.entry.ports.len() > 1 => {
                Err("a Unix socket is of one port, and the ServiceEntry has several".to_owned())
            }
            _ => Ok(()),
        }
    }
}
