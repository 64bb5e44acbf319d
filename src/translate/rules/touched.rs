//! What a step touches by way of rules: services that are to be translated again, and hosts that no service has.
//!
//! ```text
//!  document of routes that differs ────────────────────────────────────────────► the services and hosts that it names
//!  document of policies that differs ─► its services ─► documents that lead there ──┘
//!  service that came, went, has other names or ports ─► documents that lead there ──┘
//!  document to which others delegate ─► these ──────────────────────────────────────┘
//! ```
//!
//! It is never too little. What is translated again and comes out the same costs a comparison.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot_registry::ServiceId;

use crate::catalog::{CatalogService, ServiceChange};
use crate::mesh::Mesh;
use crate::rules::{DocumentId, Ruling, Spec};

/// What is to be looked at again.
#[derive(Debug, Default)]
pub(in crate::translate) struct Touched {
    /// Services.
    pub(in crate::translate) services: BTreeSet<ServiceId>,
    /// Hosts of VirtualServices, `*.suffix` too, in lower case.
    pub(in crate::translate) hosts: BTreeSet<Arc<str>>,
    /// What counts at Gateways.
    pub(in crate::translate) gateways: TouchedGateways,
}

/// What is to be looked at again of Gateways.
#[derive(Debug, Default)]
pub(in crate::translate) struct TouchedGateways {
    /// Whether a Gateway came, went, or says something else.
    pub(in crate::translate) listeners: bool,
    /// The documents that are, or were, bound to one.
    pub(in crate::translate) documents: BTreeSet<DocumentId>,
}

impl TouchedGateways {
    /// Whether there is nothing.
    pub(in crate::translate) fn is_empty(&self) -> bool {
        !self.listeners && self.documents.is_empty()
    }
}

/// What differs between two meshes by way of rules; `changes`: the services that differ.
pub(in crate::translate) fn touched(before: &Mesh, now: &Mesh, changes: &[ServiceChange]) -> Touched {
    let mut walk = Walk { meshes: [before, now], touched: Touched::default(), seen: BTreeSet::new() };
    if before.rules.is_empty() && now.rules.is_empty() {
        return walk.touched;
    }
    for (old, new) in before.rules.differing(&now.rules) {
        for ruling in [old, new].into_iter().flatten() {
            match &ruling.version.spec {
                Spec::VirtualService(_) => walk.routes(ruling),
                Spec::DestinationRule(rule) => walk.policies(&rule.host, &ruling.version.id.namespace),
                Spec::Gateway(_) => walk.touched.gateways.listeners = true,
                // What they add is in services.
                Spec::ServiceEntry(_) | Spec::WorkloadEntry(_) => {}
            }
        }
    }
    for change in changes.iter().filter(|change| has_other_entrances(change)) {
        for service in [&change.old, &change.new].into_iter().flatten() {
            walk.leading_to(service);
            for name in names(service) {
                walk.touched.hosts.insert(name.into());
            }
        }
    }
    walk.touched
}

/// Whether it came, went, or is called or entered otherwise.
fn has_other_entrances(change: &ServiceChange) -> bool {
    change.old.as_ref().zip(change.new.as_ref()).is_none_or(|(old, new)| {
        old.ports() != new.ports()
            || old.aliases() != new.aliases()
            || old.local_names() != new.local_names()
            || old.visibility() != new.visibility()
            || old.lead().namespace != new.lead().namespace
            || old.lead().rewrite_host != new.lead().rewrite_host
    })
}

struct Walk<'a> {
    meshes: [&'a Mesh; 2],
    touched: Touched,
    /// Documents of routes, by their allocation.
    seen: BTreeSet<usize>,
}

impl<'a> Walk<'a> {
    fn routes(&mut self, ruling: &Ruling) {
        if !self.seen.insert(Arc::as_ptr(&ruling.version) as usize) {
            return;
        }
        let Some(rule) = ruling.virtual_service() else { return };
        let id = &ruling.version.id;
        if ruling.gateways().next().is_some() {
            self.touched.gateways.documents.insert(id.clone());
        }
        if rule.hosts.is_empty() {
            let roots: Vec<Ruling> =
                self.meshes.iter().flat_map(|mesh| mesh.rules.delegating_to(id)).cloned().collect();
            roots.iter().for_each(|root| self.routes(root));
        }
        for host in &rule.hosts {
            let called = self.called(host, &id.namespace);
            self.touched.services.extend(called.iter().map(|service| service.id().clone()));
            self.touched.hosts.insert(host.to_ascii_lowercase().into());
        }
    }

    fn policies(&mut self, host: &str, namespace: &str) {
        for service in self.called(host, namespace) {
            self.touched.services.insert(service.id().clone());
            self.leading_to(service);
        }
    }

    fn leading_to(&mut self, service: &CatalogService) {
        let meshes = self.meshes;
        for name in names(service) {
            // As a short name of it, too.
            let short = name.split('.').next().filter(|short| *short != name);
            for written in [name].into_iter().chain(short) {
                let leading: Vec<Ruling> =
                    meshes.iter().flat_map(|mesh| mesh.rules.leading_to(written)).cloned().collect();
                leading.iter().for_each(|ruling| self.routes(ruling));
            }
        }
    }

    /// The services that a document may mean.
    fn called(&self, host: &str, namespace: &str) -> Vec<&'a CatalogService> {
        let meant = self.meshes.into_iter().flat_map(|mesh| mesh.meant(host, namespace));
        meant.map(|service| &**service).collect()
    }
}

/// All names of a service.
fn names(service: &CatalogService) -> impl Iterator<Item = &str> {
    let local = service.local_names().iter().map(|(_, name)| name);
    [service.host()].into_iter().chain(service.aliases()).chain(local).map(|name| name.as_str())
}
