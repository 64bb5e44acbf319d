//! The connected proxies, and what registries know of the workloads that they run beside.

use std::collections::{BTreeMap, BTreeSet};

use pilot_registry::{Hostname, Labels, Locality, Namespace, Port};
use serde::{Deserialize, Serialize};

use super::Admin;
use crate::catalog::{CatalogService, Workload};
use crate::mesh::{self, Mesh};
use crate::proxies::ProxyStatus;
use crate::resources::ResourceType;
use crate::world::hint;

/// Of how many names that do not exist it is found out what they may mean, and of how many resources that services
/// share which services these are: that goes through all services.
const HINTS_MAX: usize = 50;

/// A connected proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyReport {
    /// What it says of itself, and its streams.
    #[serde(flatten)]
    pub status: ProxyStatus,
    /// The workload at its address; none where registries know none there.
    #[serde(default)]
    pub workload: Option<WorkloadReport>,
    /// Where it runs: where it says itself, or else where its workload does.
    #[serde(default)]
    pub effective_locality: Locality,
    /// Its place among services: what it says itself, or else that of its workload.
    #[serde(default)]
    pub effective_namespace: Option<Namespace>,
    /// Its labels, which rules may ask for: those of its workload, and what it says itself of others.
    #[serde(default)]
    pub effective_labels: Labels,
}

/// What registries say of a workload. Where several run at its address, this is what is true of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadReport {
    /// The services that it serves, ordered by host. At least one.
    pub services: Vec<ServedReport>,
    /// The registries that know it, by their names in pilot.toml.
    pub registries: Vec<String>,
    /// The namespace of its services, if all have one.
    pub namespace: Option<String>,
    /// The labels that all of its endpoints have.
    pub labels: Labels,
    /// Who it is (SPIFFE), if all of its endpoints say the same.
    pub identity: Option<String>,
    /// Where it runs, as far as nobody contradicts.
    pub locality: Locality,
}

/// A service that a workload serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedReport {
    /// The name that stands for the service.
    pub host: String,
    /// The ports by which clients call it there.
    pub ports: Vec<u16>,
}

impl ProxyReport {
    /// All connected proxies, as the mesh is now.
    pub(super) fn all(admin: &Admin) -> Vec<Self> {
        let mesh = admin.world.mesh().unwrap_or_default();
        let (mut hints, mut sharers) = (BTreeMap::new(), BTreeMap::new());
        let report = |mut status: ProxyStatus| {
            add_hints(&mut status, &mesh, &mut hints);
            name_sharers(&mut status, &mesh, &mut sharers);
            Self::of(status, &mesh)
        };
        admin.proxies.list().into_iter().map(report).collect()
    }

    fn of(status: ProxyStatus, mesh: &Mesh) -> Self {
        let workload = mesh.workload(status.address);
        let workload = workload.as_ref();
        Self {
            workload: workload.map(WorkloadReport::of),
            effective_locality: mesh::locality(&status.locality, workload),
            effective_labels: mesh::labels(&status.labels, workload),
            effective_namespace: mesh::namespace(status.namespace.as_ref(), workload).cloned(),
            status,
        }
    }
}

/// Says of listeners that do not exist what is known of their names. `hints`: what was found out already.
fn add_hints(status: &mut ProxyStatus, mesh: &Mesh, hints: &mut BTreeMap<String, String>) {
    let listeners =
        status.streams.iter_mut().filter_map(|it| it.types.get_mut(ResourceType::Listener.as_str()));
    for missing in listeners.flat_map(|report| &mut report.not_found) {
        if let Some(known) = hints.get(&missing.name) {
            missing.hint.clone_from(known);
        } else if hints.len() < HINTS_MAX {
            missing.hint = hint::of_listener(&mesh.catalog, &missing.name);
            hints.insert(missing.name.clone(), missing.hint.clone());
        }
    }
}

/// What has been found out of a resource of a port, by its name and by the namespace of those who look.
type Sharers = BTreeMap<(Port, String, Option<Namespace>), Option<String>>;

/// Says of what services of one port share, and the proxy refuses or is spared, which services these are. `known`: what
/// was found out already.
fn name_sharers(status: &mut ProxyStatus, mesh: &Mesh, known: &mut Sharers) {
    let namespace = status.namespace.clone();
    for report in status.streams.iter_mut().flat_map(|stream| stream.types.values_mut()) {
        let refused = report.nack.iter_mut().flat_map(|nack| &mut nack.refused);
        let refused = refused.map(|it| (it.shared_port, &it.name, &mut it.origin));
        let withheld = report.withheld.iter_mut().map(|it| (it.shared_port, &it.name, &mut it.origin));
        for (port, name, origin) in refused.chain(withheld) {
            let Some(port) = port else { continue };
            let key = (port, name.clone(), namespace.clone());
            if known.len() < HINTS_MAX && !known.contains_key(&key) {
                known.insert(key.clone(), sharers(mesh, port, name, namespace.as_ref()));
            }
            if let Some(words) = known.get(&key).and_then(Option::as_ref) {
                origin.clone_from(words);
            }
        }
    }
}

/// The HTTP services of a port, in words: those at the address that the name of a listener begins with, if there are
/// some. `None` = there are none any more.
fn sharers(mesh: &Mesh, port: Port, name: &str, namespace: Option<&Namespace>) -> Option<String> {
    let seen = |service: &&std::sync::Arc<CatalogService>| {
        let namespaces = service.visibility().namespaces();
        namespaces.is_none_or(|all| namespace.is_some_and(|namespace| all.contains(namespace)))
            && service.ports().iter().any(|it| it.number == port && it.protocol.is_http())
    };
    let all: Vec<&std::sync::Arc<CatalogService>> = mesh.catalog.services().iter().filter(seen).collect();
    let at = name.rsplit_once('_').and_then(|(ip, _)| ip.trim_matches(['[', ']']).parse().ok());
    let there =
        all.iter().filter(|it| at.is_some_and(|at: std::net::IpAddr| it.virtual_addresses().contains(&at)));
    let there: Vec<&str> = there.map(|service| service.host().as_str()).collect();
    let hosts = if there.is_empty() { all.iter().map(|it| it.host().as_str()).collect() } else { there };
    match hosts.as_slice() {
        [] => None,
        [only] => Some(format!("service {only}")),
        [first, second] => Some(format!("services {first} and {second}")),
        [first, second, rest @ ..] => Some(format!("services {first}, {second} and {} more", rest.len())),
    }
}

impl WorkloadReport {
    fn of(workload: &Workload<'_>) -> Self {
        Self {
            services: workload.services().into_iter().map(ServedReport::of).collect(),
            registries: workload.registries().into_iter().map(str::to_owned).collect(),
            namespace: workload.namespace().map(ToString::to_string),
            labels: workload.labels(),
            identity: workload.identity().map(|id| id.as_str().to_owned()),
            locality: workload.locality(),
        }
    }
}

impl ServedReport {
    fn of((host, ports): (&Hostname, BTreeSet<Port>)) -> Self {
        Self { host: host.to_string(), ports: ports.into_iter().map(Port::get).collect() }
    }
}
