//! The services of the mesh: all in short, or one with its endpoints.

use std::collections::BTreeMap;

use pilot_registry::{Endpoint, Health, Labels, Locality, Resolution, ServicePort};
use serde::{Deserialize, Serialize};

use super::Admin;
use super::reply::Failure;
use crate::catalog::{CatalogService, Part};
use crate::mesh::Mesh;

/// How many names are offered for one that is not known.
const SUGGESTIONS_MAX: usize = 5;

/// All services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicesReport {
    /// The services, ordered by host.
    pub services: Vec<ServiceSummary>,
    /// What services claim against each other, by scope of the connected proxies.
    pub conflicts: BTreeMap<String, Vec<String>>,
}

/// One service in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// The name that stands for the service.
    pub host: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// The registries that know it, preferred first.
    pub registries: Vec<String>,
    /// How many endpoints it has.
    pub endpoints: usize,
    /// How many of them are in which health, as the platform says.
    pub health: BTreeMap<Health, usize>,
}

/// One service with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// The service in short.
    #[serde(flatten)]
    pub summary: ServiceSummary,
    /// Where it is among others of its kind.
    pub namespace: String,
    /// How proxies find its addresses.
    pub resolution: Resolution,
    /// Addresses that stand for it as a whole.
    pub virtual_addresses: Vec<String>,
    /// Its own labels.
    pub labels: Labels,
    /// Where it is served.
    pub instances: Vec<EndpointReport>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointReport {
    /// Where it listens.
    pub address: String,
    /// From the service's port to its own.
    pub ports: BTreeMap<String, u16>,
    /// What the platform says of it.
    pub health: Health,
    /// Its share of the traffic.
    pub weight: u32,
    /// Where it runs.
    pub locality: Locality,
    /// Its labels.
    pub labels: Labels,
    /// The registry that knows it.
    pub registry: String,
    /// The registry's priority; 0 is preferred.
    pub priority: u32,
}

impl ServicesReport {
    pub(super) fn of(admin: &Admin, mesh: &Mesh) -> Self {
        let conflicts = admin.proxies.scopes().into_iter().filter_map(|scope| {
            let conflicts = admin.world.conflicts(&scope);
            let words: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
            (!words.is_empty()).then(|| (scope.to_string(), words))
        });
        Self {
            conflicts: conflicts.collect(),
            services: mesh.catalog.services().iter().map(|service| ServiceSummary::of(service)).collect(),
        }
    }
}

impl ServiceSummary {
    fn of(service: &CatalogService) -> Self {
        let mut health: BTreeMap<Health, usize> = BTreeMap::new();
        for (_, endpoint) in service.endpoints() {
            *health.entry(endpoint.health).or_default() += 1;
        }
        Self {
            host: service.host().to_string(),
            aliases: service.aliases().iter().map(ToString::to_string).collect(),
            ports: service.ports().to_vec(),
            registries: service.parts().iter().map(|part| part.registry.to_string()).collect(),
            endpoints: health.values().sum(),
            health,
        }
    }
}

impl ServiceReport {
    /// The service of that name or alias.
    pub(super) fn of(mesh: &Mesh, host: &str) -> Result<Self, Failure> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let services = mesh.catalog.services();
        let by_alias =
            || services.iter().find(|service| service.aliases().iter().any(|alias| alias.as_str() == host));
        let Some(service) = mesh.catalog.get(&host).or_else(by_alias) else {
            let names = services.iter().map(|service| service.host().as_str());
            return Err(Failure::not_found(format!("no service {host:?}")).knowing(nearest(&host, names)));
        };
        let lead = service.lead();
        Ok(Self {
            summary: ServiceSummary::of(service),
            namespace: lead.namespace.to_string(),
            resolution: lead.resolution,
            virtual_addresses: service.virtual_addresses().iter().map(ToString::to_string).collect(),
            labels: lead.labels.clone(),
            instances: service
                .endpoints()
                .map(|(part, endpoint)| EndpointReport::of(part, endpoint))
                .collect(),
        })
    }
}

impl EndpointReport {
    fn of(part: &Part, endpoint: &Endpoint) -> Self {
        Self {
            address: endpoint.address.to_string(),
            ports: endpoint.ports.iter().map(|(port, own)| (port.to_string(), own.get())).collect(),
            health: endpoint.health,
            weight: endpoint.weight.get(),
            locality: endpoint.locality.clone(),
            labels: endpoint.labels.clone(),
            registry: part.registry.to_string(),
            priority: part.priority,
        }
    }
}

/// The names that are most like the one that was asked for.
pub(super) fn nearest<'a>(asked: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near: Vec<_> = names.map(|name| (strsim::jaro_winkler(asked, name), name)).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    near.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name).collect()
}
