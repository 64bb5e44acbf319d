//! Who has the requests to which host of a server.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::lens::{Viewer, exported};
use super::plan::{Placed, ServedHost};
use crate::mesh::Mesh;
use crate::rules::Ruling;

/// A document that has requests to a host, by way of a Gateway.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::translate) struct Bound {
    pub(in crate::translate) document: Ruling,
    /// `NAMESPACE/NAME`.
    pub(in crate::translate) gateway: String,
    /// The server's port, as the Gateway says it.
    pub(in crate::translate) port: u16,
    /// Of the host that the document names.
    specificity: Specificity,
}

/// The documents of each host, the older ones first: of those that name it, or a wildcard around it, the ones that do so most
/// specifically.
pub(in crate::translate) type BoundHosts = BTreeMap<String, Vec<Bound>>;

/// Whether whoever asks for the host of `narrow` is served by `wide`. Both in lower case.
pub(in crate::translate) fn is_within(narrow: &str, wide: &str) -> bool {
    if wide == "*" || narrow == wide {
        return true;
    }
    let Some(suffix) = wide.strip_prefix('*') else { return false };
    match narrow.strip_prefix('*') {
        Some(other) => other.ends_with(suffix),
        // A star stands for something.
        None => narrow.len() > suffix.len() && narrow.ends_with(suffix),
    }
}

/// The one of two hosts that is within the other.
pub(in crate::translate) fn both<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    match () {
        () if is_within(one, other) => Some(one),
        () if is_within(other, one) => Some(other),
        () => None,
    }
}

/// The host of a document as clients name it, in lower case.
pub(in crate::translate) fn called<'a>(mesh: &Mesh, host: &'a str, namespace: &str) -> Cow<'a, str> {
    if !host.contains(['.', '*', ':'])
        && let Some(service) = mesh.named(host, namespace)
    {
        return service.host().to_string().into();
    }
    match host.chars().any(|c| c.is_ascii_uppercase()) {
        true => host.to_ascii_lowercase().into(),
        false => host.into(),
    }
}

/// The documents that count at a Gateway for these proxies, the older ones first.
pub(in crate::translate) fn bound_to<'a>(
    mesh: &'a Mesh,
    gateway: &str,
    viewer: Viewer<'_>,
) -> Vec<&'a Ruling> {
    let is_there = |ruling: &&Ruling| {
        ruling.virtual_service().is_some_and(|rule| {
            exported(&rule.export_to, &ruling.version.id.namespace, viewer.namespace).is_some()
        })
    };
    let mut bound: Vec<&Ruling> = mesh.rules.bound_to(gateway).filter(is_there).collect();
    bound.sort_by(|a, b| a.by_age(b));
    bound
}

/// How specific a host is: an exact one is more than any wildcard, and a longer one more than a shorter.
pub(in crate::translate) type Specificity = (bool, usize);

fn specificity(host: &str) -> Specificity {
    (!host.starts_with('*'), host.len())
}

/// The hosts that a server's hosts let a document serve, and how specific the document's own host is that each is within.
pub(in crate::translate) fn served(
    mesh: &Mesh,
    hosts: &[ServedHost],
    document: &Ruling,
) -> BTreeMap<String, Specificity> {
    let namespace = &document.version.id.namespace;
    let may = |host: &&ServedHost| host.namespace.as_deref().is_none_or(|own| own == namespace);
    let rule = document.virtual_service();
    let named = rule.into_iter().flat_map(|rule| &rule.hosts).map(|host| called(mesh, host, namespace));
    let mut served = BTreeMap::new();
    for own in named {
        for host in hosts.iter().filter(may).filter_map(|host| both(&own, &host.name)) {
            let most: &mut Specificity = served.entry(host.to_owned()).or_default();
            *most = (*most).max(specificity(&own));
        }
    }
    served
}

/// Takes in the documents that are bound to a server.
pub(in crate::translate) fn bind(all: &mut BoundHosts, server: &Placed<'_>, mesh: &Mesh, viewer: Viewer<'_>) {
    let (gateway, port) = (server.gateway_name(), server.server.port.number);
    for document in bound_to(mesh, &gateway, viewer) {
        for (host, specificity) in served(mesh, &server.hosts, document) {
            let bound = all.entry(host).or_default();
            let most = bound.first().map(|first| first.specificity);
            if most.is_some_and(|most| most < specificity) {
                bound.clear();
            }
            // By whatever way it came first.
            let is_new = bound.iter().all(|known| known.document != *document);
            if is_new && most.is_none_or(|most| most <= specificity) {
                let (document, gateway) = (document.clone(), gateway.clone());
                bound.push(Bound { document, gateway, port, specificity });
            }
        }
    }
}

/// The most specific of some hosts that a host is within: that of the server by whose certificate it is served.
pub(in crate::translate) fn most_specific<'a>(
    host: &str,
    among: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let covering = among.into_iter().filter(|wide| is_within(host, wide));
    covering.max_by_key(|wide| specificity(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_rules_and_servers_meet_in_the_narrower_one() {
        for (rule, server, met) in [
            ("shop.example.com", "shop.example.com", Some("shop.example.com")),
            ("shop.example.com", "*.example.com", Some("shop.example.com")),
            ("*.example.com", "shop.example.com", Some("shop.example.com")),
            ("*", "shop.example.com", Some("shop.example.com")),
            ("*.shop.example.com", "*.example.com", Some("*.shop.example.com")),
            ("*", "*", Some("*")),
            ("example.com", "*.example.com", None),
            (".example.com", "*.example.com", None),
            ("shop.example.org", "*.example.com", None),
            ("*.example.com", "*.example.org", None),
        ] {
            assert_eq!(both(rule, server), met, "{rule} at {server}");
        }
    }

    #[test]
    fn sni_chooses_the_most_specific_server() {
        let servers = ["*", "*.example.com", "shop.example.com", "*.api.example.com"];
        for (host, chosen) in [
            ("shop.example.com", "shop.example.com"),
            ("blog.example.com", "*.example.com"),
            ("v1.api.example.com", "*.api.example.com"),
            ("*.api.example.com", "*.api.example.com"),
            ("example.org", "*"),
        ] {
            assert_eq!(most_specific(host, servers), Some(chosen), "{host}");
        }
    }
}
