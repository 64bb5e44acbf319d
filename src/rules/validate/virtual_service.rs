//! What no shape can say of a VirtualService.

mod answers;
mod connections;
mod headers;
mod matches;
mod policies;

use std::collections::BTreeMap;

use super::super::envelope::dns_label;
use super::super::kinds::{Destination, HttpMatch, HttpRoute, MESH, RouteDestination, VirtualService};
use super::super::node::Path;
use super::{Report, words};
use crate::rules::ROUTES_MAX;

/// Says what is wrong with a VirtualService.
pub(in super::super) fn virtual_service(rule: &VirtualService, report: &mut Report<'_>) {
    let spec = Path::new("spec");
    let is_delegate = rule.hosts.is_empty();
    hosts(rule, &spec.key("hosts"), report);
    words::gateways(&rule.gateways, &spec.key("gateways"), report);
    words::export_to(&rule.export_to, &spec.key("exportTo"), report);
    if rule.http.is_empty() && rule.tls.is_empty() && rule.tcp.is_empty() {
        report.error(&spec, "it has no rules: expected http, tls or tcp");
    }
    for (key, is_there) in [("tls", !rule.tls.is_empty()), ("tcp", !rule.tcp.is_empty())] {
        if is_delegate && is_there {
            let message = "a document without hosts has rules for HTTP requests alone: write hosts";
            report.error(&spec.key(key), message);
        }
    }
    connections::tls(rule, &spec.key("tls"), report);
    connections::tcp(&rule.tcp, &spec.key("tcp"), report);
    if is_delegate && !rule.gateways.is_empty() {
        let message =
            "a document without hosts counts where others delegate to it: leave gateways out, or write hosts";
        report.error(&spec.key("gateways"), message);
    }
    let http = spec.key("http");
    let (routes, most, hosts) = (rule.own_routes(), rule.routes_max(), rule.hosts.len());
    if routes > most {
        let message = format!(
            "its rules have {routes} matches, at each of {hosts} hosts: expected at most {ROUTES_MAX} for all hosts together; \
             write several documents, or a regex in the place of many matches"
        );
        report.error(&http, message);
    }
    let mut taken = None;
    for (i, route) in rule.http.iter().enumerate() {
        let path = http.index(i);
        if let Some(before) = taken {
            report.warning(&path, format!("it is never reached: http[{before}] takes all requests"));
        } else if takes_all(route) {
            taken = Some(i);
        }
        http_route(route, is_delegate, &path, report);
    }
}

fn hosts(rule: &VirtualService, path: &Path<'_>, report: &mut Report<'_>) {
    let is_of_mesh = rule.gateways.is_empty() || rule.gateways.iter().any(|gateway| gateway == MESH);
    let (mut firsts, mut wildcards) = (BTreeMap::new(), BTreeMap::new());
    for (i, host) in rule.hosts.iter().enumerate().rev() {
        firsts.insert(host.to_ascii_lowercase(), i);
        wildcards.extend(host.strip_prefix('*').map(|suffix| (suffix, i)));
    }
    for (i, host) in rule.hosts.iter().enumerate() {
        let path = path.index(i);
        report.check(&path, words::called_host(host));
        if host == "*" && is_of_mesh {
            report.error(&path, "\"*\" is for gateways only: write the hosts, or gateways without mesh");
        }
        let same = firsts.get(&host.to_ascii_lowercase()).copied().filter(|first| *first < i);
        let is_narrow = host != "*" && host.len() <= LONGEST_HOST;
        let wider = || words::suffixes(host).find_map(|suffix| wildcards.get(suffix).copied());
        if let Some(j) = same.or_else(|| wider().filter(|j| is_narrow && *j != i)) {
            let other = &rule.hosts[j];
            report.error(&path, format!("{host:?} is there twice: hosts[{j}] is {other:?}"));
        }
    }
}

/// Longer ones are no hosts, which is said already (RFC 1035, 3.1).
const LONGEST_HOST: usize = 253 + 2;

/// Whether no request and no proxy gets past a rule.
fn takes_all(route: &HttpRoute) -> bool {
    let is_open = |condition: &HttpMatch| {
        let everything = HttpMatch {
            name: condition.name.clone(),
            uri: condition.uri.clone(),
            ignore_uri_case: condition.ignore_uri_case,
            stat_prefix: condition.stat_prefix.clone(),
            ..HttpMatch::default()
        };
        let is_any_path = condition.uri.as_ref().is_none_or(|uri| {
            uri.prefix.as_deref().is_some_and(|prefix| matches!(prefix, "" | "/"))
                || uri.regex.as_ref().is_some_and(|regex| regex.0 == ".*")
        });
        is_any_path && *condition == everything
    };
    route.matches.is_empty() || route.matches.iter().any(is_open)
}

fn http_route(route: &HttpRoute, is_delegate: bool, path: &Path<'_>, report: &mut Report<'_>) {
    let answers = route.redirect.is_some() || route.direct_response.is_some();
    if route.route.is_empty() && !answers && route.delegate.is_none() {
        report.error(path, "it does nothing: expected route, redirect, directResponse or delegate");
    }
    let matches = path.key("match");
    for (i, condition) in route.matches.iter().enumerate() {
        matches::http_match(condition, &matches.index(i), report);
    }
    destinations(&route.route, &path.key("route"), report);
    if let Some(redirect) = &route.redirect {
        answers::redirect(redirect, route, &path.key("redirect"), report);
    }
    if let Some(response) = &route.direct_response {
        answers::direct_response(response, &path.key("directResponse"), report);
    }
    if let Some(delegate) = &route.delegate {
        let path = path.key("delegate");
        if is_delegate {
            report
                .error(&path, "a document without hosts, to which others delegate, cannot delegate further");
        }
        if let Some(namespace) = &delegate.namespace {
            report.check(&path.key("namespace"), dns_label(namespace));
        }
    }
    if answers {
        unused_beside_answers(route, path, report);
    }
    if let Some(rewrite) = &route.rewrite {
        answers::rewrite(rewrite, route, &path.key("rewrite"), report);
    }
    if let Some(retries) = &route.retries {
        policies::retries(retries, route, &path.key("retries"), report);
    }
    if let Some(fault) = &route.fault {
        policies::fault(fault, route, &path.key("fault"), report);
    }
    mirrors(route, path, report);
    if let Some(cors) = &route.cors_policy {
        policies::cors(cors, route, &path.key("corsPolicy"), report);
    }
    if let Some(headers) = &route.headers {
        headers::headers(headers, &path.key("headers"), report);
    }
}

/// What a proxy that answers by itself does nothing with.
fn unused_beside_answers(route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
    if route.rewrite.is_some() {
        report.error(
            &path.key("rewrite"),
            "it excludes redirect and directResponse: nothing is sent to a destination",
        );
    }
    let unused = [
        ("timeout", route.timeout.is_some()),
        ("headers", route.headers.as_ref().is_some_and(|headers| headers.request.is_some())),
        ("retries", route.retries.is_some()),
        ("mirror", route.mirror.is_some()),
        ("mirrors", !route.mirrors.is_empty()),
    ];
    for (key, _) in unused.into_iter().filter(|(_, is_there)| *is_there) {
        let path = path.key(key);
        let path = if key == "headers" { path.key("request") } else { path };
        let message = "it means nothing beside redirect or directResponse: nothing is sent to a destination";
        report.warning(&path, message);
    }
}

fn destinations(route: &[RouteDestination], path: &Path<'_>, report: &mut Report<'_>) {
    weighted(route.iter().map(|weighted| (&weighted.destination, weighted.weight)), path, report);
    for (i, weighted) in route.iter().enumerate() {
        if let Some(headers) = &weighted.headers {
            headers::headers(headers, &path.index(i).key("headers"), report);
        }
    }
}

/// Destinations and their weights.
fn weighted<'a>(
    route: impl ExactSizeIterator<Item = (&'a Destination, u32)> + Clone,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    let is_split = route.len() > 1;
    let sum: u64 = route.clone().map(|(_, weight)| u64::from(weight)).sum();
    if is_split && sum == 0 {
        report.error(
            path,
            "several destinations, and the sum of their weights is 0: expected a weight for each",
        );
    }
    if sum > u64::from(u32::MAX) {
        report.error(path, format!("the sum of the weights is {sum}: expected at most {}", u32::MAX));
    }
    for (i, (to, weight)) in route.enumerate() {
        let path = path.index(i);
        destination(to, &path.key("destination"), report);
        if is_split && weight == 0 && sum > 0 {
            report.warning(&path, "its weight is 0: nothing is sent there");
        }
    }
}

fn destination(destination: &Destination, path: &Path<'_>, report: &mut Report<'_>) {
    report.check(&path.key("host"), words::host(&destination.host));
    if let Some(subset) = &destination.subset {
        report.check(&path.key("subset"), dns_label(subset));
    }
}

fn mirrors(route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(mirror) = &route.mirror {
        destination(mirror, &path.key("mirror"), report);
    } else {
        let shares = [
            ("mirrorPercentage", route.mirror_percentage.is_some()),
            ("mirrorPercent", route.mirror_percent.is_some()),
        ];
        for (key, _) in shares.into_iter().filter(|(_, is_there)| *is_there) {
            report.warning(&path.key(key), "it means nothing without mirror");
        }
    }
    let list = path.key("mirrors");
    for (i, mirror) in route.mirrors.iter().enumerate() {
        destination(&mirror.destination, &list.index(i).key("destination"), report);
    }
}
