//! Whether requests come in at the ports that documents name, and whether what they lead to takes HTTP.

use std::collections::BTreeSet;

use super::{Examiner, Standing};
use crate::catalog::CatalogService;
use crate::rules::Ruling;
use crate::rules::kinds::{
    ConnectionPool, Destination, DestinationRule, HttpMatch, HttpRoute, LoadBalancer, MESH, VirtualService,
};

/// At which requests to hosts come in that no service has.
const OF_STRANGERS: u16 = 80;

impl<'a> Examiner<'a> {
    /// The ports at which requests come to a document; `None` = they cannot be told, or nobody asks it.
    pub(super) fn asked_ports(&self, rule: &VirtualService) -> Option<BTreeSet<u16>> {
        let ports = match rule.hosts.is_empty() {
            true => {
                let roots = self.mesh.rules.delegating_to(&self.ruling.version.id);
                roots.map(|root| self.ports_of_hosts(root)).collect::<Option<Vec<_>>>()?.concat()
            }
            false => self.ports_of_hosts(self.ruling)?,
        };
        Some(BTreeSet::from_iter(ports)).filter(|ports| !ports.is_empty())
    }

    fn ports_of_hosts(&self, ruling: &'a Ruling) -> Option<Vec<u16>> {
        let (rule, namespace) = (ruling.virtual_service()?, &ruling.version.id.namespace);
        let mut ports: Vec<u16> = self.ports_at_gateways(ruling).into_iter().collect();
        for host in rule.hosts.iter().filter(|_| rule.is_of_mesh()) {
            match self.mesh.named(host, namespace) {
                Some(service) => ports.extend(http_ports(service)),
                None if host.starts_with('*') => return None,
                None if host.contains(['.', ':']) => ports.push(OF_STRANGERS),
                None => {}
            }
        }
        Some(ports)
    }

    /// Conditions that are for no port at which requests come in, or for no proxy.
    pub(super) fn dead_matches(&mut self, rule: &VirtualService, asked: &BTreeSet<u16>) {
        // A document to which others delegate counts where these do.
        let is_own = |name: &String| match name.as_str() {
            _ if rule.hosts.is_empty() => true,
            MESH => rule.is_of_mesh(),
            _ => rule.gateways.contains(name),
        };
        let why = |condition: &HttpMatch| match condition.port.filter(|port| !asked.contains(port)) {
            Some(_) => Some(("port", format!("requests to its hosts come in at {}", listed(asked)))),
            None if condition.gateways.is_empty() || condition.gateways.iter().any(is_own) => None,
            None => {
                let why = format!("the document is not bound to {}", condition.gateways.join(", "));
                Some(("gateways", why))
            }
        };
        let is_dead = |http: &HttpRoute| {
            !http.matches.is_empty() && http.matches.iter().all(|condition| why(condition).is_some())
        };
        let standing = match rule.http.iter().all(is_dead) {
            true => Standing::Unused,
            false => Standing::Accepted,
        };
        for (i, http) in rule.http.iter().enumerate() {
            for (j, (field, why)) in
                http.matches.iter().enumerate().filter_map(|(j, one)| Some((j, why(one)?)))
            {
                self.say(standing, format!("spec.http[{i}].match[{j}].{field}: it never matches: {why}"));
            }
        }
    }

    /// A destination whose port is not said, or takes no HTTP.
    pub(super) fn port_of(
        &mut self,
        path: &str,
        destination: &Destination,
        service: &CatalogService,
        asked: Option<&BTreeSet<u16>>,
    ) {
        let host = service.host();
        let only = match service.ports() {
            [only] => Some(only.number.get()),
            _ => None,
        };
        let wanted = destination.port.map(|port| port.number);
        let http: BTreeSet<u16> = http_ports(service).collect();
        if let Some(number) = wanted.or(only) {
            if !http.contains(&number) {
                let message =
                    format!("{path}: port {number} of {host} takes no HTTP requests, as its protocol says");
                self.say(Standing::Dangling, message);
            }
            return;
        }
        let Some(asked) = asked.filter(|_| !service.ports().is_empty()) else { return };
        let missed: BTreeSet<u16> = asked.difference(&http).copied().collect();
        if missed.is_empty() {
            return;
        }
        let standing = if missed.len() == asked.len() { Standing::Dangling } else { Standing::Accepted };
        let message = format!(
            "{path}: without port, it leads to the port at which a request came in, and {host} has no HTTP port {}: write \
             port, which may be {}",
            listed(&missed),
            listed(&http)
        );
        self.say(standing, message);
    }

    /// What of a policy is for ports that are not there, or for HTTP where there is none.
    pub(super) fn policies_of_ports(&mut self, rule: &'a DestinationRule, services: &[&CatalogService]) {
        let of_subset = |(i, subset): (usize, &'a crate::rules::kinds::Subset)| {
            Some((format!("spec.subsets[{i}].trafficPolicy"), subset.traffic_policy.as_ref()?))
        };
        let own = rule.traffic_policy.iter().map(|policy| ("spec.trafficPolicy".to_owned(), policy));
        let policies: Vec<_> = own.chain(rule.subsets.iter().enumerate().filter_map(of_subset)).collect();
        let host = &rule.host;
        let has_http = services.iter().any(|service| http_ports(service).next().is_some());
        for (path, policy) in policies {
            if !has_http {
                let fields = http_fields(policy.load_balancer.as_ref(), policy.connection_pool.as_ref());
                self.without_http(&path, &fields, &format!("{host} has no HTTP port"));
            }
            for (i, own) in policy.port_level_settings.iter().enumerate() {
                let (path, number) = (format!("{path}.portLevelSettings[{i}]"), own.port.number);
                let mut ports = services.iter().flat_map(|service| service.ports());
                let mut ports_there = ports.by_ref().filter(|port| port.number.get() == number).peekable();
                if ports_there.peek().is_none() {
                    self.say(
                        Standing::Accepted,
                        format!("{path}.port: it does nothing: {host} has no port {number}"),
                    );
                } else if ports_there.all(|port| !port.protocol.is_http()) {
                    let fields = http_fields(own.load_balancer.as_ref(), own.connection_pool.as_ref());
                    self.without_http(&path, &fields, &format!("port {number} of {host} is no HTTP port"));
                }
            }
        }
    }

    fn without_http(&mut self, path: &str, fields: &[&str], why: &str) {
        for field in fields {
            self.say(Standing::Accepted, format!("{path}.{field}: it does nothing: {why}"));
        }
    }
}

/// The ports among those asked at which a rule has requests.
pub(super) fn asked_of(http: &HttpRoute, asked: &BTreeSet<u16>) -> BTreeSet<u16> {
    let named: Option<BTreeSet<u16>> = http.matches.iter().map(|condition| condition.port).collect();
    match named.filter(|named| !named.is_empty()) {
        Some(named) => asked.intersection(&named).copied().collect(),
        None => asked.clone(),
    }
}

pub(super) fn http_ports(service: &CatalogService) -> impl Iterator<Item = u16> {
    service.ports().iter().filter(|port| port.protocol.is_http()).map(|port| port.number.get())
}

/// The fields that are about HTTP requests only.
fn http_fields(balancer: Option<&LoadBalancer>, pool: Option<&ConnectionPool>) -> Vec<&'static str> {
    let hash = balancer.and_then(|balancer| balancer.consistent_hash.as_ref());
    let of_hash = |is_there: Option<bool>, name| is_there.unwrap_or_default().then_some(name);
    [
        of_hash(
            hash.map(|hash| hash.http_header_name.is_some()),
            "loadBalancer.consistentHash.httpHeaderName",
        ),
        of_hash(hash.map(|hash| hash.http_cookie.is_some()), "loadBalancer.consistentHash.httpCookie"),
        of_hash(
            hash.map(|hash| hash.http_query_parameter_name.is_some()),
            "loadBalancer.consistentHash.httpQueryParameterName",
        ),
        pool.and_then(|pool| pool.http.as_ref()).map(|_| "connectionPool.http"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn listed(ports: &BTreeSet<u16>) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}
