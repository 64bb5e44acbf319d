//! What becomes of requests.

use std::time::Duration;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_envoy_api::envoy::r#type::matcher::v3 as matcher;
use route::route::Action;
use route::route_action::{ClusterSpecifier, HostRewriteSpecifier};

use super::{Asker, Destinations, extras, headers, matches};
use crate::rules::kinds::{DerivePort, DirectResponse, HttpRoute, Redirect, Rewrite, RouteDestination};
use crate::translate::routes;
use crate::translate::source::{duration, uint32};

/// The route of a rule, without what it matches.
pub(super) fn route(rule: &HttpRoute, asker: Asker<'_>, destinations: &impl Destinations) -> route::Route {
    let mut lists = headers::Lists::default();
    if let Some(headers) = &rule.headers {
        lists.append(headers);
    }
    let action = match (&rule.redirect, &rule.direct_response) {
        (Some(redirect), _) => Action::Redirect(self::redirect(redirect, asker)),
        (None, Some(response)) => Action::DirectResponse(answer(response)),
        (None, None) => Action::Route(to_destinations(rule, asker, destinations, &mut lists)),
    };
    let decorated = route::Route {
        name: rule.name.clone().unwrap_or_default(),
        action: Some(action),
        typed_per_filter_config: extras::filters(rule),
        ..Default::default()
    };
    lists.into_route(decorated)
}

fn to_destinations(
    rule: &HttpRoute,
    asker: Asker<'_>,
    destinations: &impl Destinations,
    lists: &mut headers::Lists,
) -> route::RouteAction {
    let cluster = |destination: &RouteDestination| destinations.cluster(&destination.destination, asker.port);
    let (mut hash_policy, mut rewrites_host) = (Vec::new(), false);
    let specifier = match rule.route.as_slice() {
        [only] => {
            let cluster = cluster(only);
            hash_policy = destinations.hash_policies(&cluster);
            rewrites_host = destinations.rewrites_host(&cluster);
            if let Some(headers) = &only.headers {
                lists.append(headers);
            }
            ClusterSpecifier::Cluster(cluster)
        }
        several => {
            let taking = several.iter().filter(|destination| destination.weight > 0);
            let clusters = taking.map(|destination| {
                let cluster = cluster(destination);
                rewrites_host |= destinations.rewrites_host(&cluster);
                if hash_policy.is_empty() {
                    hash_policy = destinations.hash_policies(&cluster);
                }
                weighted(destination, cluster)
            });
            let clusters = clusters.collect();
            ClusterSpecifier::WeightedClusters(route::WeightedCluster { clusters, ..Default::default() })
        }
    };
    let timeout = rule.timeout.map_or(Duration::ZERO, |timeout| timeout.0);
    let action = route::RouteAction {
        // With max_stream_duration beside it, Envoy would ignore it.
        timeout: duration(timeout),
        retry_policy: extras::retry_policy(rule.retries.as_ref(), !hash_policy.is_empty()),
        request_mirror_policies: extras::mirrors(rule, asker, destinations),
        hash_policy,
        host_rewrite_specifier: lists
            .host
            .take()
            .map(HostRewriteSpecifier::HostRewriteLiteral)
            .or_else(|| rewrites_host.then(routes::endpoints_name)),
        cluster_specifier: Some(specifier),
        ..Default::default()
    };
    match &rule.rewrite {
        Some(rewrite) => rewritten(action, rewrite),
        None => action,
    }
}

fn weighted(destination: &RouteDestination, cluster: String) -> route::weighted_cluster::ClusterWeight {
    use route::weighted_cluster::cluster_weight::HostRewriteSpecifier as Rewrite;
    let mut lists = headers::Lists::default();
    if let Some(headers) = &destination.headers {
        lists.append(headers);
    }
    let host_rewrite_specifier = lists.host.take().map(Rewrite::HostRewriteLiteral);
    lists.into_weight(route::weighted_cluster::ClusterWeight {
        name: cluster,
        weight: uint32(destination.weight),
        host_rewrite_specifier,
        ..Default::default()
    })
}

/// Path and host as the destination sees them.
fn rewritten(action: route::RouteAction, rewrite: &Rewrite) -> route::RouteAction {
    let regex_rewrite = rewrite.uri_regex_rewrite.as_ref().map(|rewrite| matcher::RegexMatchAndSubstitute {
        pattern: Some(matches::regex(&rewrite.pattern.0)),
        substitution: rewrite.rewrite.clone(),
    });
    let authority = rewrite.authority.clone().map(HostRewriteSpecifier::HostRewriteLiteral);
    route::RouteAction {
        // Of an exact match or a regex, Envoy replaces the whole path.
        prefix_rewrite: rewrite.uri.clone().unwrap_or_default(),
        regex_rewrite,
        host_rewrite_specifier: authority.or(action.host_rewrite_specifier),
        ..action
    }
}

fn redirect(redirect: &Redirect, asker: Asker<'_>) -> route::RedirectAction {
    use route::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
    let usual = if redirect.scheme.as_deref() == Some("https") { 443 } else { 80 };
    let port = match redirect.derive_port {
        Some(DerivePort::FromRequestPort) => Some(asker.at),
        // Clients say no other port there, and of one that they do not say, Envoy makes none.
        Some(DerivePort::FromProtocolDefault) if asker.at == 80 => None,
        Some(DerivePort::FromProtocolDefault) => Some(usual),
        None => redirect.port,
    };
    // Without it, the port that the client said stays with its host.
    let is_needless = |port: &u16| redirect.authority.is_some() && *port == usual;
    let code = match redirect.redirect_code.unwrap_or(301) {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    let path = redirect.uri.clone().map(PathRewriteSpecifier::PathRedirect);
    let prefix = || redirect.prefix_rewrite.clone().map(PathRewriteSpecifier::PrefixRewrite);
    route::RedirectAction {
        host_redirect: redirect.authority.clone().unwrap_or_default(),
        port_redirect: port.filter(|port| !is_needless(port)).map_or(0, u32::from),
        response_code: code.into(),
        path_rewrite_specifier: path.or_else(prefix),
        scheme_rewrite_specifier: redirect.scheme.clone().map(SchemeRewriteSpecifier::SchemeRedirect),
        ..Default::default()
    }
}

fn answer(response: &DirectResponse) -> route::DirectResponseAction {
    use core::data_source::Specifier;
    let body = response.body.as_ref().and_then(|body| {
        let specifier = match &body.string {
            Some(text) => Specifier::InlineString(text.clone()),
            None => Specifier::InlineBytes(body.decoded()?),
        };
        Some(core::DataSource { specifier: Some(specifier), ..Default::default() })
    });
    route::DirectResponseAction { status: response.status, body, ..Default::default() }
}
