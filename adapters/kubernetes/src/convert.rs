//! Converts the objects of a cluster to services of the model, as README.md describes.

mod annotations;
mod endpoints;
mod ports;

use std::net::IpAddr;
use std::sync::Arc;

use pilot_registry::{
    Address, ConfigError, Endpoint, Hostname, ModelError, Namespace, Protocol, Resolution, Service,
    ServiceSpec, Visibility,
};

use crate::cluster::{Facts, Slice};
use crate::objects::Key;
use crate::{Config, HostTemplate, cluster};
use annotations::Annotations;
use ports::NamedPort;

/// What the configuration says of the mapping.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    host: HostTemplate,
    aliases: Vec<HostTemplate>,
    local_names: Vec<HostTemplate>,
    domain: String,
    trust_domain: Option<String>,
    default_protocol: Protocol,
    /// Whether pods are known.
    pub(crate) pods: bool,
    /// Whether services count only in selected namespaces.
    pub(crate) selects_namespaces: bool,
}

/// What came of a service: itself, if it makes sense, and what of it does not.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) service: Option<Arc<Service>>,
    /// Entries that were left out, and why.
    pub(crate) skipped: Vec<(String, String)>,
    /// What there is to say of entries that count.
    pub(crate) notes: Vec<(String, String)>,
}

impl Mapping {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            host: config.host.clone(),
            aliases: config.aliases.clone(),
            local_names: config.local_names.clone(),
            domain: config.domain.clone(),
            trust_domain: Some(config.trust_domain.clone()).filter(|domain| !domain.is_empty()),
            default_protocol: config.protocol()?,
            pods: config.pods,
            selects_namespaces: !config.namespace_selector.is_empty(),
        })
    }

    /// A service with all of its slices; `None` if it is to be left out.
    pub(crate) fn outcome<'a>(
        &self,
        key: &Key,
        service: &cluster::Service,
        slices: impl Iterator<Item = (&'a Key, &'a Slice)>,
        facts: &Facts,
    ) -> Option<Outcome> {
        let mut notes = Notes::default();
        let annotations = Annotations::read(key, &service.annotations, &mut notes);
        if annotations.ignore {
            return None;
        }
        let ports = ports::ports(key, &service.spec, &annotations, self.default_protocol, &mut notes);
        let slices = slices.inspect(|(slice, content)| {
            content.notes.iter().for_each(|why| notes.skip(format!("endpointslices {slice}"), why.clone()));
        });
        let slices: Vec<&Slice> = slices.map(|(_, slice)| slice).collect();
        let spec = self.spec(key, service, &mut notes).map(|spec| ServiceSpec {
            ports: ports.iter().map(|port| port.port.clone()).collect(),
            guessed_protocols: ports.iter().filter(|port| port.is_guess).map(|it| it.port.number).collect(),
            ..spec
        });
        let made = spec.and_then(|mut spec| {
            let endpoints = match external_name(service) {
                Some(name) => vec![external(name?, &ports)],
                None => self.endpoints(&ports, service, &slices, facts, &annotations, &mut notes),
            };
            spec.identities = endpoints.iter().filter_map(|endpoint| endpoint.identity.clone()).collect();
            spec.endpoints = endpoints;
            Service::new(spec)
        });
        let made = made.map_err(|error| notes.skip(format!("services {key}"), error.to_string()));
        Some(Outcome { service: made.ok().map(Arc::new), skipped: notes.skipped, notes: notes.notes })
    }

    /// All but ports and endpoints.
    fn spec(
        &self,
        key: &Key,
        service: &cluster::Service,
        notes: &mut Notes,
    ) -> Result<ServiceSpec, ModelError> {
        let host = |template: &HostTemplate| template.host(&key.name, &key.namespace, &self.domain);
        let mut spec = ServiceSpec::new(host(&self.host)?);
        spec.aliases = self.aliases.iter().map(host).collect::<Result<_, _>>()?;
        spec.local_names = self.local_names.iter().map(host).collect::<Result<_, _>>()?;
        spec.namespace = Namespace::try_from(key.namespace.to_string())?;
        spec.visibility = visibility(key, service, &spec.namespace, notes);
        spec.labels = service.labels.clone();
        spec.virtual_addresses = virtual_addresses(service);
        if external_name(service).is_some() {
            spec.resolution = Resolution::Dns;
        }
        Ok(spec)
    }
}

/// Who sees it. Where that makes no sense, nobody outside of its namespace does: somebody wanted to hide it.
fn visibility(key: &Key, service: &cluster::Service, own: &Namespace, notes: &mut Notes) -> Visibility {
    let Some(words) = &service.export_to else { return Visibility::Everybody };
    Visibility::of_words(words.split(','), own).unwrap_or_else(|error| {
        let entry = format!("services {key} annotation networking.istio.io/exportTo");
        notes.note(entry, format!("{error}; until then, only its own namespace sees it"));
        Visibility::Only([own.clone()].into())
    })
}

/// Headless services say "None".
fn virtual_addresses(service: &cluster::Service) -> Vec<IpAddr> {
    let several = service.spec.cluster_ips.iter().flatten();
    several.chain(&service.spec.cluster_ip).filter_map(|text| text.parse().ok()).collect()
}

fn external_name(service: &cluster::Service) -> Option<Result<Hostname, ModelError>> {
    let external = service.spec.kind.as_deref() == Some("ExternalName");
    external.then(|| service.spec.external_name.as_deref().unwrap_or_default().parse())
}

/// Another name of somebody else's service: its ports are the same there.
fn external(name: Hostname, ports: &[NamedPort]) -> Endpoint {
    let same = |endpoint: Endpoint, port: &NamedPort| endpoint.serving(port.port.number, port.port.number);
    ports.iter().fold(Endpoint::new(Address::Dns(name)), same)
}

/// What there is to say of a service and its parts.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    skipped: Vec<(String, String)>,
    notes: Vec<(String, String)>,
}

impl Notes {
    /// The entry is left out.
    pub(crate) fn skip(&mut self, entry: impl Into<String>, why: impl Into<String>) {
        self.skipped.push((entry.into(), why.into()));
    }

    /// The entry does not count, and what it is about is there without it.
    pub(crate) fn note(&mut self, entry: impl Into<String>, what: impl Into<String>) {
        self.notes.push((entry.into(), what.into()));
    }
}

#[cfg(test)]
mod tests;
