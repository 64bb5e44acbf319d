//! Rules for connections.

use std::collections::BTreeMap;

use super::super::{Report, words};
use super::weighted;
use crate::rules::envelope::dns_label;
use crate::rules::kinds::{
    ConnectionDestination, ConnectionMatch, SourceCondition, TcpRoute, TlsMatch, TlsRoute, VirtualService,
    network,
};
use crate::rules::node::Path;

pub(super) fn tls(rule: &VirtualService, path: &Path<'_>, report: &mut Report<'_>) {
    // The first rule of a name that asks for nothing else.
    let mut taken: BTreeMap<&str, String> = BTreeMap::new();
    for (i, TlsRoute { matches, route }) in rule.tls.iter().enumerate() {
        let path = path.index(i);
        destinations(route, &path.key("route"), report);
        let list = path.key("match");
        for (j, condition) in matches.iter().enumerate() {
            let path = list.index(j);
            connection_match(condition, &path, report);
            sni_hosts(rule, condition, &path.key("sniHosts"), &mut taken, report);
        }
    }
}

fn sni_hosts<'a>(
    rule: &VirtualService,
    condition: &'a TlsMatch,
    path: &Path<'_>,
    taken: &mut BTreeMap<&'a str, String>,
    report: &mut Report<'_>,
) {
    for (i, host) in condition.sni_hosts.iter().enumerate() {
        let path = path.index(i);
        if host.parse::<std::net::IpAddr>().is_ok() {
            report.error(
                &path,
                format!("{host:?} is an address, which clients do not send as SNI: expected a name"),
            );
            continue;
        }
        if host != "*" {
            report.check(&path, words::host(host));
        }
        if !rule.hosts.is_empty() && !rule.hosts.iter().any(|of| is_within(host, of)) {
            let hosts = rule.hosts.join(", ");
            report.error(&path, format!("{host:?} is not within the hosts of the document, {hosts}"));
        }
        if let Some(before) = taken.get(host.as_str()) {
            report.warning(&path, format!("it never counts here: {before} takes all connections to {host}"));
        } else if takes_all(condition) {
            taken.insert(host, path.to_string());
        }
    }
}

/// Whether one host is the other, or within that wildcard.
fn is_within(host: &str, of: &str) -> bool {
    let (host, of) = (host.to_ascii_lowercase(), of.to_ascii_lowercase());
    host == of
        || of.strip_prefix('*').is_some_and(|suffix| host.len() > suffix.len() && host.ends_with(suffix))
}

pub(super) fn tcp(rules: &[TcpRoute], path: &Path<'_>, report: &mut Report<'_>) {
    let mut taken = None;
    for (i, TcpRoute { matches, route }) in rules.iter().enumerate() {
        let path = path.index(i);
        if let Some(before) = taken {
            report.warning(&path, format!("it is never reached: tcp[{before}] takes all connections"));
        } else if matches.is_empty() || matches.iter().any(takes_all) {
            taken = Some(i);
        }
        destinations(route, &path.key("route"), report);
        let list = path.key("match");
        for (j, condition) in matches.iter().enumerate() {
            connection_match(condition, &list.index(j), report);
        }
    }
}

/// Whether no address, port and proxy gets past a condition.
fn takes_all(condition: &impl ConnectionMatch) -> bool {
    let SourceCondition { labels, namespace, gateways } = condition.source();
    let is_anybodys = labels.is_empty() && namespace.is_none() && gateways.is_empty();
    is_anybodys && condition.subnets().is_empty() && condition.port().is_none()
}

fn connection_match(condition: &impl ConnectionMatch, path: &Path<'_>, report: &mut Report<'_>) {
    let SourceCondition { labels, namespace, gateways } = condition.source();
    for (i, subnet) in condition.subnets().iter().enumerate() {
        if network(subnet).is_none() {
            let message = format!("{subnet:?} is no network: expected an address, or one like 10.0.0.0/8");
            report.error(&path.key("destinationSubnets").index(i), message);
        }
    }
    words::labels(labels, &path.key("sourceLabels"), report);
    words::gateways(gateways, &path.key("gateways"), report);
    if let Some(namespace) = namespace {
        report.check(&path.key("sourceNamespace"), dns_label(namespace));
    }
}

fn destinations(route: &[ConnectionDestination], path: &Path<'_>, report: &mut Report<'_>) {
    weighted(route.iter().map(|it| (&it.destination, it.weight)), path, report);
}
