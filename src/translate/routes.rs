//! Virtual hosts, and the route configurations that they are in.

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_envoy_api::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use pilot_envoy_api::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use pilot_envoy_api::to_any;

use super::source::{boolean, duration, uint32};

/// A route configuration without virtual hosts, whose clusters may come and go on their own. `ignore_port`: whatever
/// port a Host header names means the same.
pub(super) fn configuration(name: &str, ignore_port: bool) -> route::RouteConfiguration {
    route::RouteConfiguration {
        name: name.to_owned(),
        validate_clusters: boolean(false),
        ignore_port_in_host_matching: ignore_port,
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
        ..Default::default()
    }
}

/// A virtual host that sends everything to one cluster.
pub(super) fn virtual_host(
    name: String,
    domains: Vec<String>,
    cluster: &str,
    priorities: bool,
) -> route::VirtualHost {
    let routes = vec![to_cluster(prefix("/"), cluster, envoy_retries(priorities))];
    route::VirtualHost { name, domains, routes, ..Default::default() }
}

/// The only virtual host of a gRPC client's listener. gRPC clients do not support Envoy's retry predicates.
pub(super) fn grpc_virtual_host(name: String, cluster: &str) -> route::VirtualHost {
    let routes = vec![to_cluster(prefix(""), cluster, retries("unavailable"))];
    route::VirtualHost { name, domains: vec!["*".to_owned()], routes, ..Default::default() }
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
fn envoy_retries(priorities: bool) -> route::RetryPolicy {
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
        ..retries("connect-failure,refused-stream,unavailable,reset-before-request")
    }
}

fn retries(on: &str) -> route::RetryPolicy {
    route::RetryPolicy { retry_on: on.to_owned(), num_retries: uint32(2), ..Default::default() }
}
