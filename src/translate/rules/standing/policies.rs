//! What became of a DestinationRule.

use pilot_registry::Labels;

use super::super::lens::{ANYBODY, Ruled};
use super::entries::tls_ports;
use super::{Elsewhere, Examiner, Standing};
use crate::catalog::CatalogService;
use crate::rules::Ruling;
use crate::rules::kinds::{DestinationRule, Subset, TlsMode, TlsSettings, VirtualService};
use crate::translate::nearness::is_within;

impl<'a> Examiner<'a> {
    pub(super) fn destination_rule(&mut self, rule: &'a DestinationRule) {
        let mesh = self.mesh;
        let services: Vec<&CatalogService> = match rule.host.starts_with('*') {
            true => mesh.meant(&rule.host, self.namespace()).into_iter().map(|service| &**service).collect(),
            false => mesh.named(&rule.host, self.namespace()).map(|service| &**service).into_iter().collect(),
        };
        if services.is_empty() {
            return self.unknown("spec.host", &rule.host);
        }
        let used: Vec<bool> = services.iter().map(|service| self.of_service(rule, service)).collect();
        if !used.contains(&true) {
            let (own, root) = (services[0].lead().namespace.as_str(), &*mesh.options.root_namespace);
            let message = format!(
                "no proxy asks it for {}: the proxy's namespace is asked, then {own}, which is the service's, then {root}; \
                 the first that has a document counts alone, and an exact host goes before a wildcard",
                rule.host
            );
            self.say(Standing::Unused, message);
        }
        self.policies_of_ports(rule, &services);
        self.tls_twice(rule, &services);
        if let [service] = services.as_slice() {
            if used == [true] {
                self.only_of_namespace(rule, service);
            }
            rule.subsets.iter().enumerate().for_each(|(i, subset)| self.subset(i, subset, service));
            self.places(rule, service);
        }
    }

    /// TLS that a policy makes of connections that are TLS already.
    fn tls_twice(&mut self, rule: &DestinationRule, services: &[&CatalogService]) {
        let is_made = |tls: Option<&TlsSettings>| {
            tls.is_some_and(|tls| matches!(tls.mode, Some(TlsMode::Simple | TlsMode::Mutual)))
        };
        let Some(policy) = &rule.traffic_policy else { return };
        for service in services {
            for port in tls_ports(service) {
                let own = policy.port_level_settings.iter().find(|own| own.port.number == port.get());
                let (path, tls) = match own {
                    Some(own) => ("spec.trafficPolicy.portLevelSettings", own.tls.as_ref()),
                    None => ("spec.trafficPolicy", policy.tls.as_ref()),
                };
                if is_made(tls) {
                    let message = format!(
                        "{path}.tls: connections to port {port} of {} are TLS already, as its protocol says, and would be \
                         encrypted twice: leave tls out for it, or give the service an HTTP port, with targetPort {port}, to \
                         which clients speak without TLS",
                        service.host()
                    );
                    self.say(Standing::Accepted, message);
                }
            }
        }
    }

    /// A document that only proxies of its own namespace ask, because it is in nobody else's.
    fn only_of_namespace(&mut self, rule: &DestinationRule, service: &CatalogService) {
        let (own, of_service) = (self.namespace(), service.lead().namespace.as_str());
        let root = &*self.mesh.options.root_namespace;
        if own != of_service && own != root && rule.workload_selector.is_none() {
            let message = format!(
                "only proxies of namespace {own} use it: the proxy's namespace is asked, then {of_service}, which is the \
                 service's, then {root}"
            );
            self.say(Standing::Accepted, message);
        }
    }

    /// Places that a document names, and no endpoint is there; and proxies for whom places cannot count.
    fn places(&mut self, rule: &DestinationRule, service: &CatalogService) {
        let host = service.host();
        let settings = || rule.places().filter(|setting| setting.is_on());
        let is_there = |text: &str| service.endpoints().any(|(_, one)| is_within(&one.locality, text));
        for to in settings().flat_map(|setting| &setting.distribute).flat_map(|one| one.to.keys()) {
            if !is_there(to) {
                let message = format!(
                    "distribute: no endpoint of {host} is at {to}: the other places divide its share"
                );
                self.say(Standing::Accepted, message);
            }
        }
        for to in settings().flat_map(|setting| &setting.failover).map(|one| &one.to) {
            if !is_there(to) {
                self.say(Standing::Accepted, format!("failover: no endpoint of {host} is in {to}"));
            }
        }
        let everybodys = Ruled::of(self.mesh, service, ANYBODY);
        let is_everybodys = everybodys.documents_of_policies().any(|ruling| ruling == self.ruling);
        if rule.asks_for_places() && !is_everybodys && service.lead().resolution.is_by_dns() {
            let message = format!(
                "localityLbSetting: it does nothing: proxies resolve the names of {host}, and the document is only for some \
                 proxies; leave out workloadSelector, export it to all, or write it in the service's namespace"
            );
            self.say(Standing::Accepted, message);
        }
    }

    /// What of it counts for a service; whether anything does.
    fn of_service(&mut self, rule: &'a DestinationRule, service: &CatalogService) -> bool {
        let (mut lost, mut is_used) = (Vec::new(), false);
        for viewer in self.viewers() {
            let ruled = Ruled::of(self.mesh, service, viewer);
            let all: Vec<&Ruling> = ruled.documents_of_policies().collect();
            let Some(at) = all.iter().position(|ruling| *ruling == self.ruling) else { continue };
            is_used = true;
            for earlier in &all[..at] {
                let Some(other) = earlier.destination_rule() else { continue };
                if rule.traffic_policy.is_some() && other.traffic_policy.is_some() {
                    lost.push(("spec.trafficPolicy".to_owned(), (*earlier).clone(), viewer));
                }
                for (i, subset) in rule.subsets.iter().enumerate() {
                    if other.subsets.iter().any(|it| it.name == subset.name) {
                        let path = format!("spec.subsets[{i}] {}", subset.name);
                        lost.push((path, (*earlier).clone(), viewer));
                    }
                }
            }
        }
        let mut paths: Vec<&String> = lost.iter().map(|(path, ..)| path).collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            let mut winners = Elsewhere::default();
            let of_path = lost.iter().filter(|(other, ..)| other == path);
            of_path.for_each(|(_, winner, viewer)| winners.add(winner, *viewer));
            for (winner, proxies) in winners.told(true) {
                let (id, why) = (&winner.version.id, self.why(winner));
                let message = format!("{path}: that of {id} counts in its place for {proxies}: {why}");
                self.say(Standing::Conflicted, message);
            }
        }
        is_used
    }

    /// A subset that has no endpoint, or a policy that nobody comes to.
    fn subset(&mut self, i: usize, subset: &Subset, service: &CatalogService) {
        let (name, host) = (&subset.name, service.host());
        let has = |(key, value): (&String, &String), labels: &Labels| labels.get(key) == Some(value);
        let mut endpoints = service.endpoints().peekable();
        if endpoints.peek().is_some()
            && !endpoints.any(|(_, endpoint)| subset.labels.iter().all(|label| has(label, &endpoint.labels)))
        {
            let labels: Vec<_> = subset.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let message = format!("spec.subsets[{i}] {name}: no endpoint of {host} has {}", labels.join(","));
            self.say(Standing::Accepted, message);
        }
        if subset.traffic_policy.is_some() && !self.is_led_to(name, service) {
            let message =
                format!("spec.subsets[{i}].trafficPolicy: it does nothing: no rule routes to subset {name}");
            self.say(Standing::Accepted, message);
        }
    }

    /// Whether some rule sends requests to that subset.
    fn is_led_to(&self, name: &str, service: &CatalogService) -> bool {
        let mesh = self.mesh;
        mesh.rules.iter().any(|ruling| {
            let namespace = &ruling.version.id.namespace;
            let all = ruling.virtual_service().into_iter().flat_map(VirtualService::destinations);
            let mut to_it = all.filter(|destination| destination.subset.as_deref() == Some(name));
            to_it.any(|to| mesh.named(&to.host, namespace).is_some_and(|found| found.id() == service.id()))
        })
    }
}
