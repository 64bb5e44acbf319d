//! What became of a ServiceEntry, and of a WorkloadEntry.

use std::sync::Arc;

use pilot_registry::{Port, Protocol, Resolution, ServicePort, Visibility};

use super::{Examiner, Standing};
use crate::catalog::CatalogService;
use crate::rules::kinds::{Headers, HttpRoute, ServiceEntry, VirtualService};
use crate::rules::{Kind, Ruling};

impl<'a> Examiner<'a> {
    pub(super) fn service_entry(&mut self, entry: &'a ServiceEntry) {
        let id = &self.ruling.version.id;
        for fault in self.mesh.entries.faults(id) {
            self.say(Standing::Accepted, fault.clone());
        }
        let services: Vec<&'a Arc<CatalogService>> =
            self.mesh.entries.services(id).iter().filter_map(|it| self.mesh.catalog.find(&it.id())).collect();
        let is_hidden = |service: &&Arc<CatalogService>| {
            service.visibility().namespaces().is_some_and(std::collections::BTreeSet::is_empty)
        };
        if !services.is_empty() && services.iter().all(is_hidden) {
            self.say(Standing::Unused, "spec.exportTo: no proxy sees it".to_owned());
        }
        for service in &services {
            self.contradictions(service);
            self.shared_ports(service);
        }
        if entry.workload_selector.is_some()
            && self.mesh.entries.services(id).iter().all(|service| service.endpoints.is_empty())
        {
            let message = format!(
                "spec.workloadSelector: no WorkloadEntry of namespace {}, and no endpoint that registries know there, has \
                 these labels",
                id.namespace
            );
            self.say(Standing::Dangling, message);
        }
    }

    pub(super) fn workload_entry(&mut self) {
        let id = &self.ruling.version.id;
        let own = format!("{id}: ");
        let mut is_chosen = false;
        for entry in self.mesh.entries.choosing(id).collect::<Vec<_>>() {
            is_chosen = true;
            let faults = self.mesh.entries.faults(entry).iter();
            for why in faults.filter_map(|fault| fault.strip_prefix(&own)).collect::<Vec<_>>() {
                self.say(Standing::Dangling, format!("spec.address: it is no endpoint of {entry}: {why}"));
            }
        }
        if !is_chosen {
            let message = format!("no ServiceEntry of namespace {} chooses its labels", id.namespace);
            self.say(Standing::Unused, message);
        }
    }

    /// What another document, or a registry, says otherwise of the same host, and is believed.
    fn contradictions(&mut self, service: &CatalogService) {
        let own = self.ruling.version.id.to_string();
        for disagreement in service.disagreements() {
            let said = disagreement.said.iter().find(|opinion| opinion.registry == own);
            let taken = disagreement.taken();
            if said.is_some_and(|said| said.value != taken.value) {
                self.say(Standing::Conflicted, format!("{}: {disagreement}", service.host()));
            } else if taken.registry == own {
                self.say(Standing::Accepted, format!("{}: {disagreement}", service.host()));
            }
        }
    }

    /// Requests that leave the mesh with a Host that is none of the service's.
    pub(super) fn callers_host(&mut self, rule: &VirtualService, http: &HttpRoute, path: &str) {
        let is_host = |name: &String| name.eq_ignore_ascii_case("host") || name == ":authority";
        let says_host = |headers: &Option<Headers>| {
            let request = headers.as_ref().and_then(|headers| headers.request.as_ref());
            request.is_some_and(|request| request.set.keys().chain(request.add.keys()).any(is_host))
        };
        if http.rewrite.as_ref().is_some_and(|rewrite| rewrite.authority.is_some())
            || says_host(&http.headers)
        {
            return;
        }
        for (j, route) in http.route.iter().enumerate().filter(|(_, route)| !says_host(&route.headers)) {
            let Some(service) = self.mesh.named(&route.destination.host, self.namespace()) else { continue };
            let own = service.host().as_str();
            let entries = self.mesh.rules.naming(Kind::ServiceEntry, own);
            let is_external = entries.iter().filter_map(Ruling::service_entry).any(ServiceEntry::is_external);
            if !is_external || service.document().is_none() {
                continue;
            }
            let other =
                rule.hosts.iter().find(|host| self.mesh.named(host, self.namespace()) != Some(service));
            if let Some(called) = other {
                let message = format!(
                    "{path}.route[{j}]: {own} is outside of the mesh, and is sent the Host that the client called, {called}, \
                     which it may not know: write rewrite: {{authority: {own}}}"
                );
                self.say(Standing::Accepted, message);
            }
        }
    }

    /// Connections say nothing of the service that they are for: a port belongs to one, unless they come to an address of the
    /// service's own.
    fn shared_ports(&mut self, service: &CatalogService) {
        for port in service.ports().iter().filter(|port| is_taken_whole(service, port)) {
            let all = self.mesh.catalog.services().iter();
            let rivals = all.filter(|other| {
                other.id() != service.id()
                    && meet(service.visibility(), other.visibility())
                    && other.ports().iter().any(|rival| is_rival(port, other, rival))
            });
            let rank = |service: &CatalogService| (service.parts()[0].priority, service.id().clone());
            let Some(first) = rivals.min_by_key(|rival| rank(rival)) else { continue };
            let (number, of) = (port.number, named(first));
            let cure = "write addresses in each, and let clients connect to these";
            if rank(first) < rank(service) {
                let message = format!(
                    "spec.ports: connections to port {number} go to {of}, whose host comes first: {cure}"
                );
                self.say(Standing::Conflicted, message);
            } else {
                let message =
                    format!("spec.ports: it has port {number} before {of}, whose host comes later: {cure}");
                self.say(Standing::Accepted, message);
            }
        }
    }
}

/// Whether whoever connects to the port, whatever the address, means that service.
fn is_taken_whole(service: &CatalogService, port: &ServicePort) -> bool {
    !port.protocol.is_http()
        && service.virtual_addresses().is_empty()
        && service.lead().resolution != Resolution::Passthrough
}

/// Whether a port of another service is at the same place. Of two with TLS, the name that clients ask for tells them apart.
fn is_rival(port: &ServicePort, other: &CatalogService, rival: &ServicePort) -> bool {
    let transport = |protocol: Protocol| protocol == Protocol::Udp;
    let are_tls = port.protocol == Protocol::Tls && rival.protocol == Protocol::Tls;
    let is_there = rival.protocol.is_http() && other.lead().resolution != Resolution::Passthrough
        || is_taken_whole(other, rival);
    rival.number == port.number
        && transport(rival.protocol) == transport(port.protocol)
        && !are_tls
        && is_there
}

/// Whether some client may see both.
fn meet(one: &Visibility, other: &Visibility) -> bool {
    match (one.namespaces(), other.namespaces()) {
        (Some(one), Some(other)) => !one.is_disjoint(other),
        (Some(only), None) | (None, Some(only)) => !only.is_empty(),
        (None, None) => true,
    }
}

/// A service, with the document that it is from.
fn named(service: &CatalogService) -> String {
    match service.document() {
        Some(document) => format!("{} ({document})", service.host()),
        None => service.id().to_string(),
    }
}

/// The ports of a service whose connections are TLS already.
pub(super) fn tls_ports(service: &CatalogService) -> impl Iterator<Item = Port> {
    service.ports().iter().filter(|port| port.protocol == Protocol::Tls).map(|port| port.number)
}
