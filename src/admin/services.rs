//! The services of the mesh: all in short, or one with its endpoints.

mod doubts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot_registry::{Address, Endpoint, Health, Labels, Locality, Namespace, Port, Resolution, ServicePort};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Admin;
use super::reply::Failure;
use crate::catalog::{CatalogService, Disagreement, Opinion, Part, visible};
use crate::mesh::Mesh;
use crate::own_ports;
use crate::proxy::{ConfigSource, Role, Scope};
use crate::translate::{Conflict, translate};
use doubts::ServiceDoubts;

/// How many names are offered for one that is not known.
const SUGGESTIONS_MAX: usize = 5;

/// Whom ports concern on which pilot itself listens.
const BESIDE_PILOT: &str = "proxies on pilot's machine";

/// How many names are offered for one that is the beginning of several.
pub(super) const BEGUN_MAX: usize = 20;

/// All services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicesReport {
    /// The services, ordered by host.
    pub services: Vec<ServiceSummary>,
    /// What services claim against each other, by role and config source of the connected proxies; and ports of services
    /// on which pilot itself listens, for proxies on its machine.
    pub conflicts: BTreeMap<String, Vec<String>>,
    /// Services that could not be translated, with the reason, which is a bug of pilot. Each is served as it was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_translated: BTreeMap<String, String>,
    /// Parts of what proxies are told that could not be made, with the reason, which is a bug of pilot. Each is served
    /// as it was, and made anew when something changes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_made: BTreeMap<String, String>,
}

/// One service in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// The name that stands for the service.
    pub host: String,
    /// Where it is among others of its kind.
    #[serde(default)]
    pub namespace: Namespace,
    /// The namespace that it belongs to, if not everybody sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Namespace>,
    /// The namespaces whose clients see it; none = everybody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_by: Option<BTreeSet<Namespace>>,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// Names that only clients of a namespace use, by namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub local_names: BTreeMap<Namespace, Vec<String>>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Those whose numbers no registry says: they were guessed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guessed_ports: Vec<Port>,
    /// The registries that know it, preferred first.
    pub registries: Vec<String>,
    /// How many endpoints the registries no longer say that are held back from disappearing, by registry.
    #[serde(default)]
    pub held: BTreeMap<String, usize>,
    /// Of registries that have not answered, the last known good is served: the age in seconds, by registry.
    #[serde(default)]
    pub stale_seconds: BTreeMap<String, u64>,
    /// What they say differently of it.
    #[serde(default)]
    pub disagreements: Vec<DisagreementReport>,
    /// What it claims and does not get, and what others claim that it has.
    #[serde(default)]
    pub conflicts: BTreeSet<String>,
    /// What connected proxies refuse of what it becomes, in their words, and which new proxies are spared it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// How many endpoints it has. One that several registries know counts once.
    pub endpoints: usize,
    /// How many of them are in which health, as the platform says.
    pub health: BTreeMap<Health, usize>,
}

/// Something that registries say differently of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisagreementReport {
    /// What they disagree about: `protocol of port 80`.
    pub field: String,
    /// The registry whose word is taken.
    pub taken: String,
    /// Why it is.
    pub reason: String,
    /// What each says, preferred first.
    pub said: Vec<Opinion>,
    /// All of that in a sentence.
    pub message: String,
}

/// One service with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// The service in short.
    #[serde(flatten)]
    pub summary: ServiceSummary,
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
    /// The registry whose word on this endpoint is taken instead, where a preferred one knows it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadowed_by: Option<String>,
}

impl ServicesReport {
    pub(super) fn of(admin: &Admin, mesh: &Mesh) -> Self {
        let all = conflicts(admin, mesh);
        let (services, doubts) = (mesh.catalog.services(), ServiceDoubts::of(admin, mesh, &all));
        let conflicts = all.into_iter().filter_map(|(scope, conflicts)| {
            let words: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
            (!words.is_empty()).then_some((scope, words))
        });
        let failures = admin.world.failures().into_iter();
        let options = &mesh.options;
        let bound = own_ports::bound(&mesh.catalog, options.http_port_listeners);
        let own = admin.own.conflicts(&bound, options.bind);
        let own = (!own.is_empty()).then(|| (BESIDE_PILOT.to_owned(), own));
        Self {
            conflicts: conflicts.chain(own).collect(),
            not_translated: failures.map(|(host, why)| (host, why.to_string())).collect(),
            not_made: admin.world.broken().into_iter().map(|(layer, why)| (layer, why.to_string())).collect(),
            services: services.iter().map(|service| ServiceSummary::of(service, &doubts)).collect(),
        }
    }
}

impl ServiceSummary {
    fn of(service: &CatalogService, doubts: &ServiceDoubts<'_>) -> Self {
        let mut health: BTreeMap<Health, usize> = BTreeMap::new();
        let used = instances(service).filter(|(.., shadowed_by)| shadowed_by.is_none());
        for (_, endpoint, _) in used {
            *health.entry(endpoint.health).or_default() += 1;
        }
        let mut local_names: BTreeMap<Namespace, Vec<String>> = BTreeMap::new();
        for (namespace, name) in service.local_names() {
            local_names.entry(namespace.clone()).or_default().push(name.to_string());
        }
        Self {
            host: service.host().to_string(),
            namespace: service.lead().namespace.clone(),
            owner: service.id().owner.clone(),
            seen_by: service.visibility().namespaces().cloned(),
            aliases: service.aliases().iter().map(ToString::to_string).collect(),
            local_names,
            ports: service.ports().to_vec(),
            guessed_ports: {
                let numbers = service.ports().iter().map(|port| port.number);
                numbers.filter(|number| service.guess(*number).number).collect()
            },
            registries: service.parts().iter().map(|part| part.registry.to_string()).collect(),
            held: doubts.held(service),
            stale_seconds: doubts.stale(service),
            disagreements: service.disagreements().iter().map(DisagreementReport::of).collect(),
            conflicts: doubts.conflicts(service),
            refused: doubts.refused(service),
            endpoints: health.values().sum(),
            health,
        }
    }
}

impl ServiceReport {
    /// The service of that name or alias, or the only one with a name that begins with it: `reviews` is
    /// `reviews.service.consul`. Of several of one host, the one that clients of the namespace see.
    pub(super) fn of(
        admin: &Admin,
        mesh: &Mesh,
        host: &str,
        namespace: Option<&Namespace>,
    ) -> Result<Self, Failure> {
        let service = find(mesh, &host.trim_end_matches('.').to_ascii_lowercase())?;
        let of_host = mesh.catalog.of_host(service.host().as_str());
        let service = match namespace {
            Some(namespace) => visible(of_host, Some(namespace)).ok_or_else(|| {
                Failure::not_found(format!("clients of namespace {namespace} see no service {host:?}"))
            })?,
            None => service,
        };
        let lead = service.lead();
        Ok(Self {
            summary: ServiceSummary::of(service, &ServiceDoubts::of(admin, mesh, &conflicts(admin, mesh))),
            resolution: lead.resolution,
            virtual_addresses: service.virtual_addresses().iter().map(ToString::to_string).collect(),
            labels: lead.labels.clone(),
            instances: instances(service).map(EndpointReport::of).collect(),
        })
    }
}

/// What services claim against each other, by role and config source of the connected proxies. Where none is
/// connected: what a router would find.
fn conflicts(admin: &Admin, mesh: &Mesh) -> Vec<(String, Arc<[Conflict]>)> {
    let of_proxies = admin.world.conflicts();
    if of_proxies.is_empty() {
        let router = Scope::new(Role::Router, ConfigSource::Ads);
        let conflicts = translate(mesh, &router, Instant::now()).conflicts;
        return vec![("routers (no proxy is connected)".to_owned(), conflicts)];
    }
    of_proxies.into_iter().map(|(scope, conflicts)| (scope.to_string(), conflicts)).collect()
}

pub(super) fn find<'a>(mesh: &'a Mesh, asked: &str) -> Result<&'a Arc<CatalogService>, Failure> {
    let services = mesh.catalog.services();
    let by_alias =
        || services.iter().find(|service| service.aliases().iter().any(|alias| alias.as_str() == asked));
    if let Some(service) = mesh.catalog.get(asked).or_else(by_alias) {
        return Ok(service);
    }
    let begins = |name: &str| name.strip_prefix(asked).is_some_and(|rest| rest.starts_with('.'));
    let begun = services.iter().filter(|service| {
        begins(service.host().as_str())
            || service.aliases().iter().any(|alias| begins(alias.as_str()))
            || service.local_names().iter().any(|(_, name)| name.as_str() == asked)
    });
    let begun: Vec<&Arc<CatalogService>> = begun.collect();
    let names = |services: &[&Arc<CatalogService>]| -> Vec<String> {
        services.iter().take(BEGUN_MAX).map(|service| service.id().to_string()).collect()
    };
    match begun.as_slice() {
        [only] => Ok(only),
        [] => {
            let names = services.iter().map(|service| service.host().as_str());
            Err(Failure::not_found(format!("no service {asked:?}")).knowing(nearest(asked, names)))
        }
        several => {
            let error = format!("{asked:?} is the beginning of {} services", several.len());
            Err(Failure::not_found(error).knowing(names(several)))
        }
    }
}

impl EndpointReport {
    fn of((part, endpoint, shadowed_by): Instance<'_>) -> Self {
        Self {
            address: endpoint.address.to_string(),
            ports: endpoint.ports.iter().map(|(port, own)| (port.to_string(), own.get())).collect(),
            health: endpoint.health,
            weight: endpoint.weight.get(),
            locality: endpoint.locality.clone(),
            labels: endpoint.labels.clone(),
            registry: part.registry.to_string(),
            priority: part.priority,
            shadowed_by: shadowed_by.map(|part| part.registry.to_string()),
        }
    }
}

impl DisagreementReport {
    fn of(disagreement: &Disagreement) -> Self {
        Self {
            field: disagreement.field.to_string(),
            taken: disagreement.taken().registry.clone(),
            reason: disagreement.reason().into(),
            said: disagreement.said.clone(),
            message: disagreement.to_string(),
        }
    }
}

/// An endpoint, the part that it comes from, and the preferred part that has all of it, too.
type Instance<'a> = (&'a Part, &'a Endpoint, Option<&'a Part>);

/// All endpoints, preferred registries first.
fn instances(service: &CatalogService) -> impl Iterator<Item = Instance<'_>> {
    let mut seen: BTreeMap<(&Address, Port, Port), &Part> = BTreeMap::new();
    let alone = service.parts().len() == 1;
    service.endpoints().map(move |(part, endpoint)| {
        if alone {
            return (part, endpoint, None);
        }
        let mut shadowed_by = None;
        for (port, own) in &endpoint.ports {
            let first = *seen.entry((&endpoint.address, *port, *own)).or_insert(part);
            if std::ptr::eq(first, part) {
                // At least there it is used.
                shadowed_by = Some(part);
            } else {
                shadowed_by = shadowed_by.or(Some(first));
            }
        }
        (part, endpoint, shadowed_by.filter(|by| !std::ptr::eq(*by, part)))
    })
}

/// The names that are most like the one that was asked for.
pub(super) fn nearest<'a>(asked: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near: Vec<_> = names.map(|name| (strsim::jaro_winkler(asked, name), name)).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    near.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name).collect()
}
