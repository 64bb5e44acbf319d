//! What became of a Gateway, and of a VirtualService at Gateways.

use std::collections::{BTreeMap, BTreeSet};

use pilot_registry::Labels;

use super::super::gateways::hosts::{both, bound_to, called, served};
use super::super::gateways::{Place, Plan, ServedHost, Unplaced};
use super::super::lens::{ANYBODY, Viewer};
use super::super::{Asker, applicable, matches};
use super::{Examiner, Standing};
use crate::rules::kinds::{Gateway, HttpRoute, Server, VirtualService};
use crate::rules::{DocumentId, Kind, Ruling};

impl<'a> Examiner<'a> {
    /// What of a Gateway others have, and what nobody asks.
    pub(super) fn gateway(&mut self, gateway: &'a Gateway) {
        self.unplaced(gateway);
        let name = self.ruling.gateway_name();
        let bound: Vec<&Ruling> = self.mesh.rules.bound_to(&name).collect();
        let is_asked = |server: &Server| {
            let hosts = self.served_hosts(self.ruling, server);
            server.redirects() || bound.iter().any(|document| !served(self.mesh, &hosts, document).is_empty())
        };
        let idle: Vec<usize> = gateway
            .servers
            .iter()
            .enumerate()
            .filter(|(_, server)| !is_asked(server))
            .map(|(i, _)| i)
            .collect();
        let why = match bound.is_empty() {
            true => format!("no VirtualService is bound to it: expected gateways: [{name}] in one"),
            false => "no VirtualService that is bound to it has a host of it".to_owned(),
        };
        if idle.len() == gateway.servers.len() {
            return self.say(Standing::Unused, format!("{why}; requests are answered 404"));
        }
        for i in idle {
            let why = "no VirtualService that is bound to the document has a host of it";
            self.say(Standing::Accepted, format!("spec.servers[{i}].hosts: {why}: it answers nobody"));
        }
    }

    /// Servers that have no place beside those of other documents: for proxies with the labels that it selects, and for those
    /// that others select, too.
    fn unplaced(&mut self, gateway: &Gateway) {
        let places: BTreeSet<Place> = gateway.servers.iter().map(Place::of).collect();
        let is_there =
            |other: &Gateway| other.servers.iter().any(|server| places.contains(&Place::of(server)));
        let others = self.mesh.rules.gateways().filter(|other| *other != self.ruling);
        let others = others.filter_map(Ruling::gateway).filter(|other| is_there(other));
        let labels = others.filter_map(|other| joined(&gateway.selector, &other.selector));
        let mut all: Vec<Labels> = vec![gateway.selector.clone()];
        for labels in labels {
            if !all.contains(&labels) {
                all.push(labels);
            }
        }
        let own = &self.ruling.version.id;
        let mut said: BTreeSet<(usize, Option<String>, DocumentId)> = BTreeSet::new();
        for labels in &all {
            let plan = Plan::of(&self.mesh.rules, Viewer { labels, ..ANYBODY });
            for lost in plan.unplaced.into_iter().filter(|lost| lost.gateway == *own) {
                if said.insert((lost.number, lost.host.clone(), lost.winner.clone())) {
                    let proxies =
                        if *labels == gateway.selector { String::new() } else { of_proxies(labels) };
                    self.say(Standing::Conflicted, words(&lost, own, &proxies));
                }
            }
        }
    }

    fn served_hosts(&self, gateway: &Ruling, server: &Server) -> Vec<ServedHost> {
        server.hosts.iter().map(|host| ServedHost::of(host, &gateway.version.id.namespace)).collect()
    }

    /// The Gateways of a VirtualService that are there.
    fn gateways_of(&self, ruling: &'a Ruling) -> Vec<&'a Ruling> {
        ruling.gateways().filter_map(|name| self.mesh.rules.get(&gateway_id(name)?)).collect()
    }

    /// What of a VirtualService counts at which Gateways.
    pub(super) fn at_gateways(&mut self, rule: &'a VirtualService) {
        for name in self.ruling.gateways() {
            if gateway_id(name).is_none_or(|id| self.mesh.rules.get(&id).is_none()) {
                self.say(Standing::Dangling, format!("spec.gateways: no Gateway {name} is there"));
            }
        }
        let gateways = self.gateways_of(self.ruling);
        if gateways.is_empty() {
            return;
        }
        let (mut outside, mut of_bytes) = (Vec::new(), Vec::new());
        for host in &rule.hosts {
            let servers: Vec<(&Ruling, &Server)> =
                gateways.iter().flat_map(|it| self.servers_with(it, host)).collect();
            if servers.is_empty() {
                outside.push(host.as_str());
            } else if !servers.iter().any(|(_, server)| server.routes_http()) {
                of_bytes.push(host.as_str());
            }
        }
        let is_unused = outside.len() == rule.hosts.len() && !rule.is_of_mesh();
        let standing = if is_unused { Standing::Unused } else { Standing::Accepted };
        for host in outside.into_iter().filter(|_| !rule.is_of_mesh()) {
            let has: Vec<String> = gateways.iter().map(|it| self.told(it)).collect();
            self.say(standing, format!("{host}: no server has it: {}", has.join("; ")));
        }
        if !rule.http.is_empty() {
            for host in of_bytes {
                let message = format!(
                    "{host}: spec.http is not used there: the servers that have it are of TLS or TCP, and see no HTTP"
                );
                self.say(Standing::Unused, message);
            }
            gateways.iter().for_each(|gateway| self.beside_others(rule, gateway));
        }
    }

    /// The servers of a Gateway that have a host of this document.
    fn servers_with<'b>(&self, gateway: &'b Ruling, host: &str) -> Vec<(&'b Ruling, &'b Server)> {
        let own = self.namespace();
        let called = called(self.mesh, host, own);
        let has = |server: &&Server| {
            self.served_hosts(gateway, server).iter().any(|host| {
                host.namespace.as_deref().is_none_or(|of| of == own) && both(&called, &host.name).is_some()
            })
        };
        let servers = gateway.gateway().into_iter().flat_map(|it| &it.servers);
        servers.filter(has).map(|server| (gateway, server)).collect()
    }

    /// A Gateway and its hosts, in words.
    fn told(&self, gateway: &Ruling) -> String {
        let servers = gateway.gateway().into_iter().flat_map(|it| &it.servers);
        let hosts: BTreeSet<&str> = servers.flat_map(|server| &server.hosts).map(String::as_str).collect();
        let hosts: Vec<&str> = hosts.into_iter().take(super::NAMED_MAX).collect();
        format!("{} has {}", gateway.gateway_name(), hosts.join(", "))
    }

    /// Of several documents of one host, rules for all requests come last, and only the first of these counts.
    fn beside_others(&mut self, rule: &'a VirtualService, gateway: &Ruling) {
        let name = gateway.gateway_name();
        let Some(ports) = gateway.gateway().map(|it| &it.servers) else { return };
        let asker = |port| Asker { gateway: &name, namespace: "", labels: ANYBODY.labels, port, at: port };
        let takes_all = |rule: &VirtualService, port| {
            let is_all = |http: &HttpRoute| {
                let conditions = applicable(http, asker(port));
                conditions.is_some_and(|all| all.is_empty() || all.iter().any(|it| matches::takes_all(it)))
            };
            rule.http.iter().any(is_all)
        };
        let mut winners: BTreeMap<&DocumentId, BTreeSet<String>> = BTreeMap::new();
        for server in ports {
            let port = server.port.number;
            if !takes_all(rule, port) {
                continue;
            }
            let hosts = self.served_hosts(gateway, server);
            let own = served(self.mesh, &hosts, self.ruling);
            let all = bound_to(self.mesh, &name, ANYBODY);
            for other in all.into_iter().take_while(|other| *other != self.ruling) {
                if other.virtual_service().is_some_and(|other| takes_all(other, port)) {
                    let theirs = served(self.mesh, &hosts, other);
                    let both = own.iter().filter(|it| theirs.get_key_value(it.0) == Some(*it));
                    let both = both.map(|(host, _)| host.clone());
                    winners.entry(&other.version.id).or_default().extend(both);
                }
            }
        }
        let standing = match rule.http.as_slice() {
            [_] => Standing::Conflicted,
            _ => Standing::Accepted,
        };
        for (winner, hosts) in winners.into_iter().filter(|(_, hosts)| !hosts.is_empty()) {
            let hosts = hosts.into_iter().take(super::NAMED_MAX).collect::<Vec<_>>().join(", ");
            let message = format!(
                "{hosts}: at {name}, {winner} has a rule for all requests, too, and is older: that of this document is never \
                 reached"
            );
            self.say(standing, message);
        }
    }

    /// The ports at which requests come in to a document at its Gateways.
    pub(super) fn ports_at_gateways(&self, ruling: &'a Ruling) -> BTreeSet<u16> {
        let namespace = &ruling.version.id.namespace;
        let hosts: Vec<_> = ruling.virtual_service().into_iter().flat_map(|rule| &rule.hosts).collect();
        let servers = self.gateways_of(ruling).into_iter().flat_map(|gateway| {
            let servers = gateway.gateway().into_iter().flat_map(|it| &it.servers);
            servers.map(move |server| (gateway, server))
        });
        let has = |(gateway, server): &(&Ruling, &Server)| {
            let served = self.served_hosts(gateway, server);
            let mut hosts = hosts.iter().map(|host| called(self.mesh, host, namespace));
            hosts.any(|host| served.iter().any(|it| both(&host, &it.name).is_some()))
        };
        servers.filter(has).map(|(_, server)| server.port.number).collect()
    }
}

/// The Gateway that is named `NAMESPACE/NAME`.
fn gateway_id(name: &str) -> Option<DocumentId> {
    let (namespace, name) = name.split_once('/')?;
    let kind = Kind::Gateway.as_str().to_owned();
    Some(DocumentId { kind, namespace: namespace.to_owned(), name: name.to_owned() })
}

/// The labels of proxies that two documents select; `None` = none can have them.
fn joined(one: &Labels, other: &Labels) -> Option<Labels> {
    let differs = other.iter().any(|(key, value)| one.get(key).is_some_and(|own| own != value));
    (!differs).then(|| one.iter().chain(other).map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn of_proxies(labels: &Labels) -> String {
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("for proxies with {}, ", labels.join(","))
}

fn words(lost: &Unplaced, own: &DocumentId, proxies: &str) -> String {
    let Unplaced { number, host, winner, winning, why, .. } = lost;
    let what = match host {
        Some(host) => format!("spec.servers[{number}].hosts: {host}"),
        None => format!("spec.servers[{number}]"),
    };
    let winner = if winner == own { String::new() } else { format!(" of {winner}") };
    format!("{what}: {proxies}servers[{winning}]{winner} counts in its place: {why}")
}
