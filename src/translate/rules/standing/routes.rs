//! What became of a VirtualService.

use std::collections::BTreeSet;

use super::super::lens::{ANYBODY, Ruled, Viewer, delegate, routes_of_host, seen};
use super::super::{Asker, Misfit, applicable, is_for};
use super::ports::{asked_of, http_ports};
use super::{Elsewhere, Examiner, Standing};
use crate::catalog::CatalogService;
use crate::rules::kinds::{Destination, HttpMatch, HttpRoute, MESH, VirtualService};
use crate::rules::{ROUTES_MAX, Ruling, delegated_routes};

/// What rules of one document may be for. Documents contest each separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    Requests,
    Connections,
}

impl Traffic {
    const ALL: [Self; 2] = [Self::Requests, Self::Connections];
}

impl<'a> Examiner<'a> {
    pub(super) fn virtual_service(&mut self, rule: &'a VirtualService) {
        self.at_gateways(rule);
        if rule.hosts.is_empty() {
            self.delegated(rule);
        }
        let is_of_mesh = rule.is_of_mesh();
        for host in rule.hosts.iter().filter(|_| is_of_mesh) {
            self.host(rule, host);
        }
        let asked = self.asked_ports(rule);
        if let Some(asked) = &asked {
            self.dead_matches(rule, asked);
        }
        for (i, http) in rule.http.iter().enumerate() {
            let path = format!("spec.http[{i}]");
            let asked = asked.as_ref().map(|asked| asked_of(http, asked));
            let routes = http.route.iter().enumerate();
            let routes =
                routes.map(|(j, route)| (format!("{path}.route[{j}].destination"), &route.destination));
            let mirrors = http.mirrors.iter().enumerate();
            let mirrors =
                mirrors.map(|(j, it)| (format!("{path}.mirrors[{j}].destination"), &it.destination));
            let mirror = http.mirror.iter().map(|mirror| (format!("{path}.mirror"), mirror));
            for (path, destination) in routes.chain(mirrors).chain(mirror) {
                self.destination(http, &path, destination, asked.as_ref());
            }
            self.callers_host(rule, http, &path);
        }
        self.connections(rule);
        for misfit in misfits(self.mesh, self.ruling, rule) {
            self.misfit(rule, misfit);
        }
    }

    /// What of a document's delegates does not count.
    fn misfit(&mut self, rule: &VirtualService, misfit: Misfit) {
        let named = |i: usize| rule.http[i].delegate.as_ref().map(|named| named.document(self.namespace()));
        let (standing, message) = match misfit {
            Misfit::Missing { rule: i } => {
                let id = named(i).map(|id| id.to_string()).unwrap_or_default();
                let why = "is not there, has hosts, or is not exported";
                (Standing::Dangling, format!("spec.http[{i}].delegate: {id} {why}"))
            }
            Misfit::Contradicts { rule: i, delegated } => {
                let id = named(i).map(|id| id.to_string()).unwrap_or_default();
                let why = "matches nothing that this rule matches: it does not count";
                (Standing::Conflicted, format!("spec.http[{i}].delegate: http[{delegated}] of {id} {why}"))
            }
            Misfit::TooMany { rule: i, routes, left } => {
                let id = named(i).map(|id| id.to_string()).unwrap_or_default();
                let message = format!(
                    "spec.http[{i}].delegate: it does not count: with the matches of {id}, this rule would become {routes} \
                     routes at each host, and {left} are left of {ROUTES_MAX} for all rules and hosts of this document; write \
                     fewer matches, here or there"
                );
                (Standing::Dangling, message)
            }
        };
        self.say(standing, message);
    }

    /// A document without hosts: who delegates to it, and what of it fits there.
    fn delegated(&mut self, leaf: &VirtualService) {
        let mut is_used = false;
        for root in self.mesh.rules.iter() {
            let Some(rule) = root.virtual_service().filter(|rule| !rule.hosts.is_empty()) else { continue };
            let leads_here = |i: usize| {
                let found =
                    rule.http[i].delegate.as_ref().and_then(|named| delegate(&self.mesh.rules, root, named));
                found.is_some_and(|(_, found)| std::ptr::eq(found, leaf))
            };
            if !(0..rule.http.len()).any(leads_here) {
                continue;
            }
            is_used = true;
            for misfit in misfits(self.mesh, root, rule) {
                let id = &root.version.id;
                match misfit {
                    Misfit::Contradicts { rule: i, delegated } if leads_here(i) => {
                        let message = format!(
                            "spec.http[{delegated}]: it matches nothing that http[{i}] of {id}, which delegates to it, matches"
                        );
                        self.say(Standing::Conflicted, message);
                    }
                    Misfit::TooMany { rule: i, routes, .. } if leads_here(i) => {
                        let message = format!(
                            "http[{i}] of {id} delegates to it, and would become {routes} routes at each host: more than a \
                             document may; it does not count there"
                        );
                        self.say(Standing::Dangling, message);
                    }
                    _ => {}
                }
            }
        }
        if !is_used {
            let id = &self.ruling.version.id;
            let message = format!(
                "it has no hosts, and no document that may use it delegates to it: expected delegate: {{name: {}, namespace: \
                 {}}} in the http of another one",
                id.name, id.namespace
            );
            self.say(Standing::Unused, message);
        }
    }

    /// Whether some rule is for some callers only.
    fn asks_who_calls(&self) -> bool {
        let rule = self.ruling.virtual_service().into_iter();
        rule.flat_map(VirtualService::sources).any(|it| !it.labels.is_empty() || it.namespace.is_some())
    }

    /// Who has the requests to a host.
    fn host(&mut self, rule: &VirtualService, host: &str) {
        let mesh = self.mesh;
        let service = mesh.named(host, self.namespace()).map(|service| &**service);
        if !host.contains(['.', '*', ':']) && service.is_none() {
            return self.unknown("spec.hosts", host);
        }
        if let Some(service) = service.filter(|service| !self.is_called(service, host)) {
            let own = service.host();
            let message = format!(
                "spec.hosts: {host} is short for {own}, and no client calls it so: a request with Host: {host} is answered 404; \
                 clients say {own}, or give the service the alias {host}"
            );
            self.say(Standing::Accepted, message);
        }
        let (mut elsewhere, mut is_asked, mut counts) = (Vec::new(), false, false);
        for viewer in self.viewers() {
            let all = match service {
                Some(service) => Ruled::of(mesh, service, viewer).routes,
                None => routes_of_host(&mesh.rules, host, viewer),
            };
            if !all.contains(self.ruling) {
                continue;
            }
            is_asked |= service.is_some() || viewer.namespace.is_empty();
            for traffic in Traffic::ALL {
                // What is for others leaves these to the next document.
                if !self.is_for(self.ruling, traffic, viewer, service) {
                    continue;
                }
                match all.iter().find(|ruling| self.is_for(ruling, traffic, viewer, service)) {
                    Some(first) if first == self.ruling => {
                        self.counting.insert((viewer.namespace, viewer.labels));
                        counts = true;
                    }
                    Some(first) => elsewhere.push((first.clone(), viewer)),
                    None => {}
                }
            }
        }
        let mut winners = Elsewhere::default();
        elsewhere.iter().for_each(|(winner, viewer)| winners.add(winner, *viewer));
        for (winner, proxies) in winners.told(!counts) {
            let (id, why) = (&winner.version.id, self.why(winner));
            self.say(Standing::Conflicted, format!("{host}: {id} counts in its place for {proxies}: {why}"));
        }
        if service.is_none() && is_asked && self.asks_who_calls() {
            let which = if host.starts_with('*') {
                "at hosts within it that no service has"
            } else {
                "no service has it:"
            };
            let message = format!(
                "{host}: {which} rules with sourceLabels or sourceNamespace do not count, only those for all proxies"
            );
            self.say(Standing::Accepted, message);
        }
        match service {
            None if !is_asked => {
                let message = format!(
                    "{host}: no service has it, and for such hosts only documents for all proxies count: its exportTo names \
                     some"
                );
                self.say(Standing::Unused, message);
            }
            Some(_) if !is_asked => {
                self.say(Standing::Unused, format!("{host}: no proxy asks it: its exportTo names nobody"));
            }
            Some(service) => self.rules_without_ports(rule, host, service),
            None => self.connections_to_strangers(rule, host),
        }
    }

    /// Whether clients in the document's namespace call a service so.
    fn is_called(&self, service: &CatalogService, host: &str) -> bool {
        let local = service.local_names().iter().filter(|(of, _)| of.as_str() == self.namespace());
        let mut names =
            [service.host()].into_iter().chain(service.aliases()).chain(local.map(|(_, name)| name));
        names.any(|name| name.as_str().eq_ignore_ascii_case(host))
    }

    /// Whether a document has a rule for these proxies: otherwise the next one counts.
    fn is_for(
        &self,
        ruling: &Ruling,
        traffic: Traffic,
        viewer: Viewer<'_>,
        service: Option<&CatalogService>,
    ) -> bool {
        let Some(rule) = ruling.virtual_service() else { return false };
        if traffic == Traffic::Connections {
            return service.is_some_and(|service| self.connects(rule, viewer, service));
        }
        let ports: Vec<u16> = match service {
            Some(service) => http_ports(service).collect(),
            None => vec![80],
        };
        let leads = |http: &HttpRoute| {
            http.delegate.as_ref().is_none_or(|named| {
                let found = delegate(&self.mesh.rules, ruling, named);
                found.is_some_and(|(_, leaf)| delegated_routes(http, leaf) <= rule.routes_max())
            })
        };
        ports.into_iter().any(|port| {
            let asker =
                Asker { namespace: viewer.namespace, labels: viewer.labels, gateway: MESH, port, at: port };
            let rules = rule.http.iter().filter(|http| leads(http));
            rules.into_iter().any(|http| applicable(http, asker).is_some())
        })
    }

    fn destination(
        &mut self,
        rule: &HttpRoute,
        path: &str,
        destination: &Destination,
        asked: Option<&BTreeSet<u16>>,
    ) {
        let Some(service) = self.mesh.named(&destination.host, self.namespace()) else {
            return self.unknown(&format!("{path}.host"), &destination.host);
        };
        if let Some(port) = destination.port
            && service.ports().iter().all(|it| it.number.get() != port.number)
        {
            let number = port.number;
            let message = format!("{path}.port: {} has no port {number}", service.host());
            self.say(Standing::Dangling, message);
        } else {
            self.port_of(path, destination, service, asked);
        }
        if let Some(subset) = &destination.subset {
            self.missing_subset(path, service, subset, |viewer| concerns(rule, viewer));
        }
    }

    /// A subset that is not there, for all or for some of the proxies that the rule `concerns`.
    pub(super) fn missing_subset(
        &mut self,
        path: &str,
        service: &CatalogService,
        subset: &str,
        concerns: impl Fn(Viewer<'_>) -> bool,
    ) {
        let host = service.host();
        let has = |viewer: Viewer<'_>| Ruled::of(self.mesh, service, viewer).subset(subset).is_some();
        if !has(ANYBODY) && !self.viewers().into_iter().any(has) {
            let message = format!("{path}.subset: no DestinationRule of {host} defines {subset}");
            return self.say(Standing::Dangling, message);
        }
        let counting = self.counting.iter().map(|&(namespace, labels)| Viewer { namespace, labels });
        let lacking: Vec<_> = counting
            .filter(|viewer| {
                concerns(*viewer) && seen(self.mesh, service, *viewer).is_some() && !has(*viewer)
            })
            .collect();
        if !lacking.is_empty() {
            let proxies = super::groups(&lacking);
            let message = format!(
                "{path}.subset: no DestinationRule of {host} that counts for {proxies} defines {subset}"
            );
            self.say(Standing::Dangling, message);
        }
    }
}

/// Whether a rule is for requests of these proxies to some port.
fn concerns(rule: &HttpRoute, viewer: Viewer<'_>) -> bool {
    let Viewer { namespace, labels } = viewer;
    let asker = |port| Asker { namespace, labels, gateway: MESH, port, at: port };
    let is_theirs = |condition: &HttpMatch| is_for(condition, asker(condition.port.unwrap_or_default()));
    rule.matches.is_empty() || rule.matches.iter().any(is_theirs)
}

/// What of the documents to which one delegates does not count.
fn misfits(mesh: &crate::mesh::Mesh, root: &Ruling, rule: &VirtualService) -> Vec<Misfit> {
    super::super::misfits(rule, |named| delegate(&mesh.rules, root, named))
}
