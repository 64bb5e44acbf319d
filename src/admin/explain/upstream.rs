//! What becomes of a request at the end of its way: clusters with their endpoints, or an answer.

use std::time::Duration;

use pilot_envoy_api::envoy::config::cluster::v3::Cluster;
use pilot_envoy_api::envoy::config::cluster::v3::cluster::common_lb_config::LocalityConfigSpecifier;
use pilot_envoy_api::envoy::config::core::v3::{HealthStatus, address, socket_address};
use pilot_envoy_api::envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints, lb_endpoint};
use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_envoy_api::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use pilot_envoy_api::envoy::extensions::filters::http::fault::v3::{HttpFault, fault_abort::ErrorType};
use pilot_envoy_api::google::protobuf;
use prost::{Message, Name};
use route::route::Action;
use route::route_action::{ClusterSpecifier, HostRewriteSpecifier};

use super::matching::share;
use super::report::{DestinationReport, EndpointStep};
use super::{Scene, decoded};
use crate::resources::ResourceType;
use crate::translate::rules::contest_of_policies;

/// What a route does, in words, and the clusters to which it leads.
pub(super) fn of_route(scene: &Scene<'_>, route: &route::Route) -> (Vec<String>, Vec<DestinationReport>) {
    let mut words = faults(route);
    let destinations = match &route.action {
        Some(Action::Route(action)) => {
            words.extend(said_of(action));
            clusters(scene, action)
        }
        Some(Action::DirectResponse(answer)) => {
            words.push(format!("the proxy answers {} itself", answer.status));
            Vec::new()
        }
        Some(Action::Redirect(redirect)) => {
            words.push(format!("the proxy redirects: {}", redirected(redirect)));
            Vec::new()
        }
        _ => Vec::new(),
    };
    (words, destinations)
}

fn clusters(scene: &Scene<'_>, action: &route::RouteAction) -> Vec<DestinationReport> {
    let mut all = match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => vec![DestinationReport::of(scene, name, None)],
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            let weight =
                |it: &route::weighted_cluster::ClusterWeight| it.weight.as_ref().map_or(0, |it| it.value);
            let total: u64 = weighted.clusters.iter().map(|it| u64::from(weight(it))).sum();
            let one = |it: &route::weighted_cluster::ClusterWeight| {
                let share = format!("{} of requests", percent(weight(it), total));
                DestinationReport::of(scene, &it.name, Some(share))
            };
            weighted.clusters.iter().map(one).collect()
        }
        _ => Vec::new(),
    };
    all.extend(action.request_mirror_policies.iter().map(|mirror| {
        let fraction = mirror.runtime_fraction.as_ref().and_then(|it| it.default_value.as_ref());
        let share = fraction.map_or_else(|| "100 %".to_owned(), share);
        DestinationReport::of(scene, &mirror.cluster, Some(format!("a copy of {share} of requests")))
    }));
    all
}

/// A weight as a share of all: `12.5 %`.
pub(super) fn percent(weight: u32, total: u64) -> String {
    let share = format!("{:.4}", 100.0 * f64::from(weight) / total.max(1) as f64);
    format!("{} %", share.trim_end_matches('0').trim_end_matches('.'))
}

/// What else a route does.
fn said_of(action: &route::RouteAction) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(timeout) = span(action.timeout.as_ref()).filter(|timeout| !timeout.is_zero()) {
        words.push(format!("it may take {timeout:?}"));
    }
    if let Some(retries) = &action.retry_policy {
        let times = retries.num_retries.as_ref().map_or(1, |it| it.value);
        if times > 0 {
            words.push(format!("it is tried again {times} times at most, on {}", retries.retry_on));
        }
    }
    if !action.prefix_rewrite.is_empty() {
        words.push(format!("what the path matched becomes {:?}", action.prefix_rewrite));
    }
    if let Some(rewrite) = &action.regex_rewrite {
        let pattern = rewrite.pattern.as_ref().map(|it| it.regex.as_str()).unwrap_or_default();
        words.push(format!("what matches {pattern:?} in the path becomes {:?}", rewrite.substitution));
    }
    if let Some(HostRewriteSpecifier::HostRewriteLiteral(host)) = &action.host_rewrite_specifier {
        words.push(format!("the Host header becomes {host}"));
    }
    words
}

/// Faults that are injected: chance decides.
fn faults(route: &route::Route) -> Vec<String> {
    let faults = route.typed_per_filter_config.values().filter(|any| any.type_url == HttpFault::type_url());
    let faults = faults.filter_map(|any| HttpFault::decode(any.value.clone()).ok());
    faults
        .flat_map(|fault| [fault.delay.as_ref().map(delay), fault.abort.as_ref().map(abort)])
        .flatten()
        .collect()
}

fn delay(delay: &pilot_envoy_api::envoy::extensions::filters::common::fault::v3::FaultDelay) -> String {
    let of = delay.percentage.as_ref().map_or_else(|| "0 %".to_owned(), share);
    match &delay.fault_delay_secifier {
        Some(FaultDelaySecifier::FixedDelay(time)) => {
            format!("{of} of requests are held back for {:?}", span(Some(time)).unwrap_or_default())
        }
        _ => format!("{of} of requests are held back"),
    }
}

fn abort(abort: &pilot_envoy_api::envoy::extensions::filters::http::fault::v3::FaultAbort) -> String {
    let of = abort.percentage.as_ref().map_or_else(|| "0 %".to_owned(), share);
    match &abort.error_type {
        Some(ErrorType::HttpStatus(status)) => format!("{of} of requests are answered {status}"),
        Some(ErrorType::GrpcStatus(status)) => {
            format!("{of} of requests are answered with gRPC's status {status}")
        }
        _ => format!("{of} of requests are answered with an error"),
    }
}

fn redirected(redirect: &route::RedirectAction) -> String {
    use route::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
    let code = match redirect.response_code() {
        RedirectResponseCode::MovedPermanently => 301,
        RedirectResponseCode::Found => 302,
        RedirectResponseCode::SeeOther => 303,
        RedirectResponseCode::TemporaryRedirect => 307,
        RedirectResponseCode::PermanentRedirect => 308,
    };
    let mut words = code.to_string();
    if let Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) = &redirect.scheme_rewrite_specifier {
        words.push_str(&format!(", scheme {scheme}"));
    }
    if !redirect.host_redirect.is_empty() {
        words.push_str(&format!(", host {}", redirect.host_redirect));
    }
    if redirect.port_redirect > 0 {
        words.push_str(&format!(", port {}", redirect.port_redirect));
    }
    match &redirect.path_rewrite_specifier {
        Some(PathRewriteSpecifier::PathRedirect(path)) => words.push_str(&format!(", path {path}")),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => words.push_str(&format!(", prefix {prefix}")),
        _ => {}
    }
    words
}

fn span(duration: Option<&protobuf::Duration>) -> Option<Duration> {
    let duration = duration?;
    Some(Duration::new(u64::try_from(duration.seconds).ok()?, u32::try_from(duration.nanos).ok()?))
}

impl DestinationReport {
    pub(super) fn of(scene: &Scene<'_>, name: &str, share: Option<String>) -> Self {
        let parts: Vec<&str> = name.splitn(4, '|').collect();
        let (subset, host) = match parts.as_slice() {
            [_, _, subset, host] => (*subset, Some(*host)),
            _ => ("", None),
        };
        let (policies, lost) =
            host.map(|host| contest_of_policies(scene.mesh, scene.scope, host)).unwrap_or_default();
        let mut report = Self {
            share,
            cluster: name.to_owned(),
            service: host.map(str::to_owned),
            subset: subset.to_owned(),
            policies,
            shadowed: lost.into_iter().map(Into::into).collect(),
            endpoints: Vec::new(),
            trouble: None,
        };
        let Some(cluster) = scene.view.of(ResourceType::Cluster).get(name) else {
            report.trouble = Some(format!("there is no such cluster: {}", scene.failure()));
            return report;
        };
        let named = cluster.references().find(|(to, _)| *to == ResourceType::Endpoint).map(|(_, name)| name);
        let assignment = match named {
            Some(named) => scene.view.of(ResourceType::Endpoint).get(named).and_then(|it| decoded(it)),
            None => decoded::<Cluster>(cluster).and_then(|it| it.load_assignment),
        };
        let has_shares = decoded::<Cluster>(cluster).is_some_and(|it| has_shares(&it));
        report.endpoints = assignment.as_ref().map(|it| endpoints(it, has_shares)).unwrap_or_default();
        let is_used = |it: &EndpointStep| matches!(it.health.as_str(), "unknown" | "healthy" | "degraded");
        report.trouble = match report.endpoints.as_slice() {
            [] => Some(format!("it has no endpoints: {}", scene.failure())),
            some if !some.iter().any(is_used) => {
                let failure = scene.failure();
                Some(format!("none of its endpoints is healthy: {failure}, unless [mesh] panic"))
            }
            _ => None,
        };
        report
    }
}

/// Whether places are chosen before endpoints, by what they weigh.
fn has_shares(cluster: &Cluster) -> bool {
    let config = cluster.common_lb_config.as_ref().and_then(|it| it.locality_config_specifier.as_ref());
    matches!(config, Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)))
}

fn endpoints(assignment: &ClusterLoadAssignment, has_shares: bool) -> Vec<EndpointStep> {
    let weight =
        |it: &LocalityLbEndpoints| it.load_balancing_weight.as_ref().map_or(0, |it| u64::from(it.value));
    let share = |own: &LocalityLbEndpoints| {
        let of_priority = assignment.endpoints.iter().filter(|it| it.priority == own.priority);
        let total = of_priority.map(weight).sum::<u64>().max(1);
        u32::try_from((weight(own) * 100 + total / 2) / total).ok().filter(|_| has_shares)
    };
    let of_locality = assignment.endpoints.iter().flat_map(|locality| {
        let place = locality.locality.clone().unwrap_or_default();
        let (priority, share) = (locality.priority, share(locality));
        locality.lb_endpoints.iter().map(move |it| (it, priority, share, place.clone()))
    });
    let step = of_locality.filter_map(|(it, priority, place_share, place)| {
        let Some(lb_endpoint::HostIdentifier::Endpoint(endpoint)) = &it.host_identifier else { return None };
        let address = match endpoint.address.as_ref()?.address.as_ref()? {
            address::Address::SocketAddress(at) => match &at.port_specifier {
                Some(socket_address::PortSpecifier::PortValue(port)) if at.address.contains(':') => {
                    format!("[{}]:{port}", at.address)
                }
                Some(socket_address::PortSpecifier::PortValue(port)) => format!("{}:{port}", at.address),
                _ => at.address.clone(),
            },
            address::Address::Pipe(pipe) => pipe.path.clone(),
            _ => return None,
        };
        let health = HealthStatus::try_from(it.health_status).unwrap_or_default();
        let health = health.as_str_name().to_ascii_lowercase();
        let weight = it.load_balancing_weight.as_ref().map_or(1, |it| it.value);
        let (region, zone) = (place.region, place.zone);
        Some(EndpointStep { address, health, priority, weight, place_share, region, zone })
    });
    step.collect()
}
