//! Routes as clients know them that have xDS in their gRPC library (gRFC A28, A31, A33, A36, A44).
//!
//! They know fewer things than an Envoy, and some of them refuse all routes because of one field. So a route keeps what
//! they know: paths, headers, weights, timeouts, retries on gRPC's statuses, sticky headers, faults. What changes a
//! request on its way (rewrites, headers, copies, CORS) does not happen: there is no proxy that could do it.

use std::collections::BTreeMap;

use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_envoy_api::google::protobuf::Any;
use route::route::Action;
use route::route_action::ClusterSpecifier;
use route::route_action::hash_policy::PolicySpecifier;

use super::FAULT_FILTER;
use crate::translate::source::uint32;

/// The statuses on which gRPC clients can retry.
const STATUSES: [&str; 5] =
    ["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"];

/// The name of a cluster that is never there. What is sent to it fails with UNAVAILABLE.
const NOWHERE: &str = "nowhere";

/// The routes of an Envoy, as gRPC clients know them.
pub(in crate::translate) fn for_grpc(mut routes: Vec<route::Route>) -> Vec<route::Route> {
    let answers = |route: &route::Route| !matches!(route.action, Some(Action::Route(_)));
    // What no route fits fails in the same way.
    while routes.last().is_some_and(answers) {
        routes.pop();
    }
    routes.into_iter().map(route).collect()
}

/// Whether some route delays or fails requests: the listener has to have the filter then.
pub(in crate::translate) fn has_faults(routes: &[route::Route]) -> bool {
    routes.iter().any(|route| route.typed_per_filter_config.contains_key(FAULT_FILTER))
}

fn route(route: route::Route) -> route::Route {
    let action = match route.action {
        Some(Action::Route(action)) => self::action(action),
        // Redirects and answers are for browsers. An action that is no route ends a client of Node.js (1.14.1).
        _ => route::RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(NOWHERE.to_owned())),
            ..Default::default()
        },
    };
    let fails =
        |config: BTreeMap<String, Any>| config.into_iter().filter(|(filter, _)| filter == FAULT_FILTER);
    route::Route {
        name: route.name,
        r#match: route.r#match,
        typed_per_filter_config: fails(route.typed_per_filter_config).collect(),
        action: Some(Action::Route(action)),
        ..Default::default()
    }
}

fn action(action: route::RouteAction) -> route::RouteAction {
    use route::route_action::MaxStreamDuration;
    let specifier = match action.cluster_specifier {
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            let of = |one: route::weighted_cluster::ClusterWeight| route::weighted_cluster::ClusterWeight {
                name: one.name,
                weight: one.weight,
                ..Default::default()
            };
            let clusters = weighted.clusters.into_iter().map(of).collect();
            Some(ClusterSpecifier::WeightedClusters(route::WeightedCluster {
                clusters,
                ..Default::default()
            }))
        }
        specifier => specifier,
    };
    let is_header = |policy: &route::route_action::HashPolicy| {
        matches!(policy.policy_specifier, Some(PolicySpecifier::Header(_)))
    };
    // 0 is no limit to an Envoy, and none at all to them.
    let limit = action.timeout.filter(|timeout| timeout.seconds > 0 || timeout.nanos > 0);
    route::RouteAction {
        cluster_specifier: specifier,
        max_stream_duration: limit
            .map(|limit| MaxStreamDuration { max_stream_duration: Some(limit), ..Default::default() }),
        retry_policy: action.retry_policy.and_then(retries),
        hash_policy: action.hash_policy.into_iter().filter(is_header).collect(),
        ..Default::default()
    }
}

/// `None` = nothing that it names is a status of gRPC.
fn retries(policy: route::RetryPolicy) -> Option<route::RetryPolicy> {
    let on: Vec<&str> = policy.retry_on.split(',').filter(|word| STATUSES.contains(word)).collect();
    let attempts = policy.num_retries.filter(|attempts| attempts.value > 0).or_else(|| uint32(1));
    (!on.is_empty()).then(|| route::RetryPolicy {
        retry_on: on.join(","),
        num_retries: attempts,
        retry_back_off: policy.retry_back_off,
        ..Default::default()
    })
}
