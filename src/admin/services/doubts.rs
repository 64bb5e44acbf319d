//! What is wrong with services: what they do not get, what proxies refuse of them, and what is served though no registry
//! says it now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot_registry::{Hostname, Port, ServiceId};

use crate::admin::{Admin, refusals};
use crate::catalog::{CatalogService, Freshness, Known, Part};
use crate::mesh::{Mesh, MeshOptions};
use crate::own_ports::{self, OwnPorts};
use crate::resources::Origin;
use crate::translate::Conflict;

/// All that is wrong, to be asked about one service after the other.
pub(super) struct ServiceDoubts<'a> {
    /// Where pilot listens, and what decides where Envoys do.
    own: &'a OwnPorts,
    options: &'a MeshOptions,
    known: BTreeMap<Arc<str>, Known>,
    /// What proxies refuse, in words, by the service that it is there for.
    refused: BTreeMap<Hostname, Vec<String>>,
    /// The same of what the HTTP services of a port share.
    refused_of_ports: BTreeMap<Port, Vec<String>>,
    /// What is claimed by two, in words, by the services that it is about.
    conflicts: BTreeMap<ServiceId, BTreeSet<String>>,
}

impl<'a> ServiceDoubts<'a> {
    pub(super) fn of(admin: &'a Admin, mesh: &'a Mesh, conflicts: &[(String, Arc<[Conflict]>)]) -> Self {
        let doubtful = |known: &Known| known.held.is_some() || known.freshness != Freshness::Live;
        let known = admin.world.registries().iter().filter_map(|registered| {
            let known = registered.intake.state().known.filter(doubtful)?;
            Some((Arc::clone(&registered.name), known))
        });
        let mut by_service: BTreeMap<ServiceId, BTreeSet<String>> = BTreeMap::new();
        for conflict in conflicts.iter().flat_map(|(_, conflicts)| conflicts.iter()) {
            for service in conflict.services() {
                by_service.entry(service.clone()).or_default().insert(conflict.to_string());
            }
        }
        let (own, options) = (&admin.own, &mesh.options);
        let refused = refusals::by(admin, |origin| origin.service().cloned());
        let refused_of_ports = refusals::by(admin, Origin::port);
        Self { own, options, known: known.collect(), refused, refused_of_ports, conflicts: by_service }
    }

    pub(super) fn conflicts(&self, service: &CatalogService) -> BTreeSet<String> {
        let bound = own_ports::bound_by([service], self.options.http_port_listeners);
        let mut conflicts = self.conflicts.get(service.id()).cloned().unwrap_or_default();
        conflicts.extend(self.own.conflicts(&bound, self.options.bind));
        conflicts
    }

    pub(super) fn refused(&self, service: &CatalogService) -> Vec<String> {
        let own = self.refused.get(service.host()).into_iter().flatten();
        let http = service.ports().iter().filter(|port| port.protocol.is_http());
        let shared = http.filter_map(|port| self.refused_of_ports.get(&port.number)).flatten();
        own.chain(shared).cloned().collect()
    }

    pub(super) fn held(&self, service: &CatalogService) -> BTreeMap<String, usize> {
        let held = |part: &Part| {
            let held = self.known.get(&part.registry)?.held.as_ref()?;
            let count = held.of(&part.service.id());
            (count > 0).then(|| (part.registry.to_string(), count))
        };
        service.parts().iter().filter_map(held).collect()
    }

    pub(super) fn stale(&self, service: &CatalogService) -> BTreeMap<String, u64> {
        let stale = |part: &Part| match self.known.get(&part.registry)?.freshness {
            Freshness::Disk { saved_at } => {
                Some((part.registry.to_string(), saved_at.elapsed().unwrap_or_default().as_secs()))
            }
            Freshness::Live => None,
        };
        service.parts().iter().filter_map(stale).collect()
    }
}
