//! The connected proxies, and what registries know of the workloads that they run beside.

use std::collections::{BTreeMap, BTreeSet};

use pilot_registry::{Hostname, Labels, Locality, Namespace, Port};
use serde::{Deserialize, Serialize};

use super::Admin;
use crate::catalog::Workload;
use crate::mesh::{self, Mesh};
use crate::proxies::ProxyStatus;
use crate::resources::ResourceType;
use crate::world::hint;

/// Of how many names that do not exist it is found out what they may mean: that goes through all services.
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
        let mut hints = BTreeMap::new();
        let report = |mut status: ProxyStatus| {
            add_hints(&mut status, &mesh, &mut hints);
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
