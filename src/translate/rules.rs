//! From the rules of a VirtualService to Envoy's routes, for one kind of proxies at one port.
//!
//! ```text
//!  VirtualService ─► delegates   rules of other documents take the place of those that delegate
//!                    applicable  what is for other proxies, ports or gateways is left out
//!                    matches     which requests
//!                    action      what becomes of them: destinations, redirect, answer
//!                    extras      retries, headers, faults, mirrors, CORS
//! ```
//!
//! Source conditions are decided here, once, and not for each request: a proxy gets only what is for it.

mod action;
mod balancers;
mod connections;
mod contest;
mod delegates;
mod destinations;
mod extras;
pub(super) mod gateways;
mod grpc;
mod headers;
mod lens;
mod looks;
mod matches;
mod policy;
mod proxy_protocol;
mod standing;
mod tls;
mod touched;

use std::collections::BTreeMap;

use pilot_envoy_api::envoy::config::route::v3 as route;

use crate::rules::kinds::{Destination, HttpMatch, HttpRoute};

pub(super) use balancers::for_grpc_too;
pub(super) use connections::{DocumentConnections, connections, connections_at_gateway};
pub use contest::{Contest, Lost, contest_of_policies, contest_of_routes};
pub use delegates::{Misfit, RulePlace, expanded, misfits};
pub(super) use destinations::{at_gateway, made, takes_all};
pub(super) use extras::{CORS_FILTER, FAULT_FILTER};
pub(super) use grpc::{for_grpc, has_faults};
pub(super) use lens::{
    ANYBODY, Ruled, Viewer, asks_for_places, depends_on_labels, is_named, leads_otherwise, routes_of_host,
    viewers,
};
pub(super) use looks::{Look, Looks};
pub(super) use policy::{applied, hash_policies, nearness, tcp};
pub use standing::{Standing, standing};
pub(super) use tls::{exact_name, file};
pub(super) use touched::{Touched, TouchedGateways, touched};

/// For which proxies, and for requests to which port.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The namespace of the proxies.
    pub namespace: &'a str,
    /// The labels of their workloads, as far as rules ask for them.
    pub labels: &'a BTreeMap<String, String>,
    /// The gateway that they are; `mesh` = they are proxies of services.
    pub gateway: &'a str,
    /// The service's port.
    pub port: u16,
    /// The port at which the requests come in.
    pub at: u16,
}

/// What a destination is to the proxies.
pub trait Destinations {
    /// The cluster of a destination for requests to that port.
    fn cluster(&self, destination: &Destination, port: u16) -> String;

    /// By what requests to that cluster stay at one endpoint; none = by nothing.
    fn hash_policies(&self, cluster: &str) -> Vec<route::route_action::HashPolicy>;

    /// Whether requests arrive there with the endpoint's name as their host.
    fn rewrites_host(&self, cluster: &str) -> bool;
}

/// The routes of rules, in order. `None` = none of them is for these proxies: for them, the document is not there.
pub fn routes(
    rules: &[HttpRoute],
    asker: Asker<'_>,
    destinations: &impl Destinations,
) -> Option<Vec<route::Route>> {
    let numbered = numbered_routes(rules, asker, destinations)?;
    Some(numbered.into_iter().map(|(_, route)| route).collect())
}

/// The same, each with the place of its rule among the rules.
fn numbered_routes(
    rules: &[HttpRoute],
    asker: Asker<'_>,
    destinations: &impl Destinations,
) -> Option<Vec<(usize, route::Route)>> {
    let mut routes = Vec::new();
    let mut is_for_them = false;
    for (at, rule) in rules.iter().enumerate() {
        let Some(conditions) = applicable(rule, asker) else { continue };
        is_for_them = true;
        let template = action::route(rule, asker, destinations);
        if conditions.is_empty() {
            routes.push((at, route::Route { r#match: Some(matches::everything()), ..template }));
            return Some(routes);
        }
        for condition in conditions {
            let takes_all = matches::takes_all(condition);
            let route = route::Route {
                name: name(rule, condition).unwrap_or_else(|| template.name.clone()),
                r#match: Some(matches::route_match(condition)),
                stat_prefix: condition.stat_prefix.clone().unwrap_or_default(),
                ..template.clone()
            };
            routes.push((at, route));
            // Nothing that follows is ever reached.
            if takes_all {
                return Some(routes);
            }
        }
    }
    is_for_them.then_some(routes)
}

/// The conditions of a rule that are for these proxies; empty = it is for all requests. `None` = the rule is not for
/// them.
fn applicable<'a>(rule: &'a HttpRoute, asker: Asker<'_>) -> Option<Vec<&'a HttpMatch>> {
    let all: Vec<_> = rule.matches.iter().filter(|condition| is_for(condition, asker)).collect();
    (rule.matches.is_empty() || !all.is_empty()).then_some(all)
}

fn is_for(condition: &HttpMatch, asker: Asker<'_>) -> bool {
    if condition.port.is_some_and(|port| port != asker.port) {
        return false;
    }
    if !condition.gateways.is_empty() {
        return condition.gateways.iter().any(|gateway| gateway == asker.gateway);
    }
    let has = |(key, value): (&String, &String)| asker.labels.get(key) == Some(value);
    condition.source_labels.iter().all(has)
        && condition.source_namespace.as_ref().is_none_or(|namespace| namespace == asker.namespace)
}

/// Why a rule is for other proxies or ports only; `None` = it is for these.
fn why_not_for(rule: &HttpRoute, asker: Asker<'_>) -> Option<String> {
    if applicable(rule, asker).is_some() {
        return None;
    }
    let mut whys: Vec<String> = rule.matches.iter().map(|condition| why_not(condition, asker)).collect();
    whys.dedup();
    Some(whys.join("; "))
}

/// Why a condition that is not for these proxies is not.
fn why_not(condition: &HttpMatch, asker: Asker<'_>) -> String {
    if let Some(port) = condition.port.filter(|port| *port != asker.port) {
        return format!("it is for port {port}");
    }
    if !condition.gateways.is_empty() {
        return format!("it is for the gateways {}", condition.gateways.join(", "));
    }
    let lacks = |(key, value): &(&String, &String)| asker.labels.get(*key) != Some(*value);
    let lacking: Vec<String> =
        condition.source_labels.iter().filter(lacks).map(|(key, value)| format!("{key}={value}")).collect();
    match &condition.source_namespace {
        _ if !lacking.is_empty() => format!("it is for proxies with {}", lacking.join(",")),
        Some(namespace) => format!("it is for proxies of namespace {namespace}"),
        None => "it is for others".to_owned(),
    }
}

/// A rule's name and a match's name, for logs.
fn name(rule: &HttpRoute, condition: &HttpMatch) -> Option<String> {
    let name = condition.name.as_ref()?;
    Some(rule.name.as_ref().map_or_else(|| name.clone(), |rule| format!("{rule}.{name}")))
}

#[cfg(test)]
mod tests;
