//! What a request gets whose Host header names no service.
//!
//! Who says `localhost`, an IP address or nothing at all did not choose a service. Where there is one only, that
//! one is meant: the last virtual host of a route configuration. All others are told what is wrong, in words: Envoy
//! makes an UNIMPLEMENTED with the same words of it for gRPC clients. Those that say which host it was are the
//! listener's, since Envoy 1.36 has no formats in routes.

mod wildcards;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use pilot_envoy_api::envoy::config::accesslog::v3 as accesslog;
use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as http;
use pilot_envoy_api::envoy::r#type::matcher::v3 as matcher;
use pilot_registry::{Hostname, Port};
use prost::Message;

use super::names::default_of;
use super::routes::{authority, prefix, to};
use crate::resources::{Origin, Rope, VirtualHost};

/// Its name: those of services have a colon.
pub(super) const NAME: &str = "unknown_host";

/// A Host header that names no service: nothing, `localhost` or an IP address, with a port or without.
const NAMELESS: &str = r"(?i)(localhost|[0-9]+(\.[0-9]+){3}|\[[0-9a-f:.]+\])?(:[0-9]+)?";

/// How many services are named one by one.
const NAMED_MAX: usize = 5;

/// The virtual host of a listener there with these services; none if there is nothing to say. `ignores_port`: no port in a Host
/// header counts there.
pub(super) fn virtual_host(at: SocketAddr, ignores_port: bool, services: &Rope) -> Option<VirtualHost> {
    let mut hosts = BTreeSet::new();
    for virtual_host in services.virtual_hosts() {
        hosts.extend(virtual_host.origin().service());
        if hosts.len() > NAMED_MAX {
            break;
        }
    }
    let (mut routes, mut clusters) =
        if ignores_port { Default::default() } else { wildcards::with_a_port(services) };
    let (nameless, led) = match hosts.len() {
        0 => Default::default(),
        1 => the_default(services).and_then(as_of).unwrap_or_default(),
        _ => (vec![not_found(nameless(), several(at, hosts))], Vec::new()),
    };
    routes.extend(nameless);
    clusters.extend(led.into_iter().filter(|cluster| !clusters.contains(cluster)).collect::<Vec<_>>());
    if routes.is_empty() {
        return None;
    }
    let (name, domains) = (NAME.to_owned(), vec!["*".to_owned()]);
    let host = route::VirtualHost { name, domains, routes, ..Default::default() };
    Some(VirtualHost::new(&host, clusters, Origin::Shared))
}

/// The routes of requests that name no service and mean this one, and the clusters to which they lead.
fn as_of(service: &VirtualHost) -> Option<(Vec<route::Route>, Vec<Arc<str>>)> {
    if service.origin().document().is_none() {
        let cluster = service.clusters().next()?;
        return Some((vec![to(cluster, nameless())], vec![Arc::clone(cluster)]));
    }
    // What a rule says of the service's requests, it says of these.
    let ruled = route::VirtualHost::decode(service.bytes().clone()).ok()?;
    let nameless = |route: route::Route| {
        let mut matches = route.r#match.unwrap_or_default();
        matches.headers.extend(nameless().headers);
        route::Route { r#match: Some(matches), ..route }
    };
    Some((ruled.routes.into_iter().map(nameless).collect(), service.clusters().cloned().collect()))
}

/// What Envoy's own 404 says at that port: the one for requests without a route. Those of services stay theirs.
pub(super) fn words(port: u16) -> http::LocalReplyConfig {
    use accesslog::access_log_filter::FilterSpecifier::{AndFilter, ResponseFlagFilter};
    let filter = |specifier| accesslog::AccessLogFilter { filter_specifier: Some(specifier) };
    let no_route =
        || filter(ResponseFlagFilter(accesslog::ResponseFlagFilter { flags: vec!["NR".to_owned()] }));
    let both = accesslog::AndFilter { filters: vec![no_route(), filter(says_port(port))] };
    // A name can be long; who sent it knows it anyway.
    let words = "pilot: no service has host %REQ(:AUTHORITY):255%";
    // The first that fits counts: no port is said twice.
    let mappers = vec![
        mapper(filter(AndFilter(both)), words.to_owned()),
        mapper(no_route(), format!("{words} on port {port}")),
    ];
    http::LocalReplyConfig { mappers, ..Default::default() }
}

/// What Envoy's own 404 says at a Gateway.
pub(super) fn words_of_gateway() -> http::LocalReplyConfig {
    use accesslog::access_log_filter::FilterSpecifier::ResponseFlagFilter;
    let no_route = ResponseFlagFilter(accesslog::ResponseFlagFilter { flags: vec!["NR".to_owned()] });
    let filter = accesslog::AccessLogFilter { filter_specifier: Some(no_route) };
    let words = "pilot: no rule at this gateway has host %REQ(:AUTHORITY):255%";
    http::LocalReplyConfig { mappers: vec![mapper(filter, words.to_owned())], ..Default::default() }
}

fn mapper(filter: accesslog::AccessLogFilter, words: String) -> http::ResponseMapper {
    use core::substitution_format_string::Format;
    let format = Some(Format::TextFormatSource(text(words)));
    let format = core::SubstitutionFormatString { format, ..Default::default() };
    http::ResponseMapper { filter: Some(filter), body_format_override: Some(format), ..Default::default() }
}

/// Whether the Host header ends with that port.
fn says_port(port: u16) -> accesslog::access_log_filter::FilterSpecifier {
    use matcher::string_matcher::MatchPattern;
    let header = authority(text_matcher(MatchPattern::Suffix(format!(":{port}"))));
    let filter = accesslog::HeaderFilter { header: Some(header) };
    accesslog::access_log_filter::FilterSpecifier::HeaderFilter(filter)
}

/// What stands for a service that is the only one.
fn the_default(services: &Rope) -> Option<&VirtualHost> {
    let of_services = || services.virtual_hosts().filter(|it| it.origin().service().is_some());
    let ports = || of_services().filter_map(|it| Some((port(it)?, it)));
    let default = default_of(ports().map(|(port, _)| port))?;
    ports().find(|(port, _)| *port == default).map(|(_, it)| it)
}

/// The port of a virtual host that is named `host:port`.
fn port(virtual_host: &VirtualHost) -> Option<Port> {
    let (_, port) = virtual_host.name().rsplit_once(':')?;
    Port::try_from(port.parse::<u32>().ok()?).ok()
}

/// Who the services are, unless strangers may ask. At least two.
fn several(at: SocketAddr, hosts: BTreeSet<&Hostname>) -> String {
    let port = at.port();
    let are_more = hosts.len() > NAMED_MAX;
    let names: Vec<&str> = hosts.into_iter().take(NAMED_MAX).map(Hostname::as_str).collect();
    let services = match names.split_last() {
        Some(_) if !at.ip().is_loopback() => "several services".to_owned(),
        Some((last, rest)) if !are_more => format!("services {} and {last}", rest.join(", ")),
        _ => format!("services {} and more", names.join(", ")),
    };
    format!("pilot: port {port} has {services}: say which in the Host header")
}

fn nameless() -> route::RouteMatch {
    let regex = matcher::RegexMatcher { regex: NAMELESS.to_owned(), ..Default::default() };
    let header = authority(text_matcher(matcher::string_matcher::MatchPattern::SafeRegex(regex)));
    route::RouteMatch { headers: vec![header], ..prefix("") }
}

fn text_matcher(pattern: matcher::string_matcher::MatchPattern) -> matcher::StringMatcher {
    matcher::StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}

/// 404 with these words.
pub(super) fn not_found(matches: route::RouteMatch, words: String) -> route::Route {
    let reply = route::DirectResponseAction { status: 404, body: Some(text(words)), ..Default::default() };
    route::Route {
        name: NAME.to_owned(),
        r#match: Some(matches),
        action: Some(route::route::Action::DirectResponse(reply)),
        ..Default::default()
    }
}

fn text(text: String) -> core::DataSource {
    use core::data_source::Specifier;
    core::DataSource { specifier: Some(Specifier::InlineString(text)), ..Default::default() }
}
