//! Virtual hosts, and the route configurations that they are in.

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_envoy_api::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use pilot_envoy_api::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use pilot_envoy_api::envoy::r#type::matcher::v3 as matcher;
use pilot_envoy_api::google::protobuf::BoolValue;
use pilot_envoy_api::to_any;

use super::source::{boolean, duration, uint32};

/// How long an answer may be that a rule gives instead of a server, in bytes. Envoy's own limit is 4,096: one that is
/// longer would make it refuse all routes.
const MAX_ANSWER: u32 = 1 << 20;

/// A route configuration without virtual hosts, whose clusters may come and go on their own. `ignore_port`: whatever
/// port a Host header names means the same.
pub(super) fn configuration(name: &str, ignore_port: bool) -> route::RouteConfiguration {
    route::RouteConfiguration {
        name: name.to_owned(),
        validate_clusters: boolean(false),
        ignore_port_in_host_matching: ignore_port,
        max_direct_response_body_size_bytes: uint32(MAX_ANSWER),
        ..Default::default()
    }
}

/// The same, of which clients take the virtual hosts one by one. It is constant, and has nothing that a client could
/// refuse: an Envoy that does not take it gets none of its virtual hosts.
pub(super) fn skeleton(
    name: &str,
    ignore_port: bool,
    source: &core::ConfigSource,
) -> route::RouteConfiguration {
    route::RouteConfiguration {
        name: name.to_owned(),
        vhds: Some(route::Vhds { config_source: Some(source.clone()) }),
        ignore_port_in_host_matching: ignore_port,
        max_direct_response_body_size_bytes: uint32(MAX_ANSWER),
        ..Default::default()
    }
}

/// The routes that send everything to one cluster. `hash_policy`: by what requests stay at one endpoint. `rewrite_host`:
/// they arrive with the endpoint's name as their host.
pub(super) fn all_to(
    cluster: &str,
    priorities: bool,
    hash_policy: Vec<route::route_action::HashPolicy>,
    rewrite_host: bool,
) -> Vec<route::Route> {
    let mut route = to_cluster(prefix("/"), cluster, envoy_retries(priorities));
    if let Some(route::route::Action::Route(action)) = &mut route.action {
        action.hash_policy = hash_policy;
        action.host_rewrite_specifier = rewrite_host.then(endpoints_name);
    }
    vec![route]
}

/// The endpoint's name takes the place of the host that the client said; where it has none, nothing changes.
pub(super) fn endpoints_name() -> route::route_action::HostRewriteSpecifier {
    route::route_action::HostRewriteSpecifier::AutoHostRewrite(BoolValue { value: true })
}

/// A route to a cluster, with the retries of Envoys.
pub(super) fn to(cluster: &str, matches: route::RouteMatch) -> route::Route {
    to_cluster(matches, cluster, envoy_retries(true))
}

/// What all paths match that begin so.
pub(super) fn prefix(prefix: &str) -> route::RouteMatch {
    let path = route::route_match::PathSpecifier::Prefix(prefix.to_owned());
    route::RouteMatch { path_specifier: Some(path), ..Default::default() }
}

fn to_cluster(matches: route::RouteMatch, cluster: &str, retries: route::RetryPolicy) -> route::Route {
    use route::route_action::ClusterSpecifier;
    let action = route::RouteAction {
        // No limit: pilot does not know how long a request may take, the client does.
        timeout: duration(std::time::Duration::ZERO),
        retry_policy: Some(retries),
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    route::Route {
        name: "default".to_owned(),
        r#match: Some(matches),
        action: Some(route::route::Action::Route(action)),
        ..Default::default()
    }
}

/// Retries that cannot repeat what a server has done already, each on an endpoint that was not tried yet:
/// so an endpoint that goes away takes no request with it. After two in one priority, the next priority: its
/// endpoints answer although no registry has noticed yet that all of the preferred ones are gone. `priorities`: there
/// can be more than one.
pub(super) fn envoy_retries(priorities: bool) -> route::RetryPolicy {
    use route::retry_policy::retry_priority::ConfigType as PriorityConfig;
    use route::retry_policy::{RetryHostPredicate, RetryPriority, retry_host_predicate::ConfigType};
    let previous_hosts = RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(ConfigType::TypedConfig(to_any(&PreviousHostsPredicate::default()))),
    };
    let after_two = PreviousPrioritiesConfig { update_frequency: 2 };
    let previous_priorities = RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".to_owned(),
        config_type: Some(PriorityConfig::TypedConfig(to_any(&after_two))),
    };
    route::RetryPolicy {
        retry_priority: priorities.then_some(previous_priorities),
        retry_host_predicate: vec![previous_hosts],
        host_selection_retry_max_attempts: 5,
        retry_on: "connect-failure,refused-stream,reset-before-request".to_owned(),
        num_retries: uint32(2),
        ..Default::default()
    }
}

/// A Host header like that.
pub(super) fn authority(matcher: matcher::StringMatcher) -> route::HeaderMatcher {
    use route::header_matcher::HeaderMatchSpecifier;
    route::HeaderMatcher {
        name: ":authority".to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(matcher)),
        ..Default::default()
    }
}
