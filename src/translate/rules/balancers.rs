//! Load balancers that gRPC clients do not know.
//!
//! They refuse a cluster whose `lb_policy` they do not know. Of a list, they take the first that they know, and so does an
//! Envoy (gRFC A52): what a document asks for, and else in turn.

use pilot_envoy_api::envoy::config::cluster::v3::cluster::common_lb_config::LocalityConfigSpecifier;
use pilot_envoy_api::envoy::config::cluster::v3::cluster::{LbConfig, LbPolicy, SlowStartConfig};
use pilot_envoy_api::envoy::config::cluster::v3::{Cluster, LoadBalancingPolicy, load_balancing_policy};
use pilot_envoy_api::envoy::config::core::v3::TypedExtensionConfig;
use pilot_envoy_api::envoy::extensions::load_balancing_policies::{
    common::v3 as common, least_request::v3::LeastRequest, maglev::v3::Maglev, random::v3::Random,
    round_robin::v3::RoundRobin, wrr_locality::v3::WrrLocality,
};
use pilot_envoy_api::google::protobuf::Any;
use pilot_envoy_api::to_any;

/// The same cluster, in a form that gRPC clients take, too.
pub(in crate::translate) fn for_grpc_too(cluster: Cluster) -> Cluster {
    let (name, own) = match (LbPolicy::try_from(cluster.lb_policy), &cluster.lb_config) {
        (Ok(LbPolicy::LeastRequest), config) => {
            let slow_start = match config {
                Some(LbConfig::LeastRequestLbConfig(config)) => config.slow_start_config.clone(),
                _ => None,
            };
            let own = LeastRequest { slow_start_config: slow_start.map(warmup), ..Default::default() };
            ("least_request", to_any(&own))
        }
        (Ok(LbPolicy::Random), _) => ("random", to_any(&Random::default())),
        (Ok(LbPolicy::Maglev), config) => {
            let table_size = match config {
                Some(LbConfig::MaglevLbConfig(config)) => config.table_size,
                _ => None,
            };
            ("maglev", to_any(&Maglev { table_size, ..Default::default() }))
        }
        _ => return cluster,
    };
    let mut policies = vec![policy(name, own), policy("round_robin", to_any(&RoundRobin::default()))];
    let by_place = cluster.common_lb_config.as_ref().and_then(|it| it.locality_config_specifier.as_ref());
    if matches!(by_place, Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_))) {
        // A policy that is named looks at endpoints only: the place is chosen by one around it.
        let by_place = WrrLocality { endpoint_picking_policy: Some(LoadBalancingPolicy { policies }) };
        policies = vec![policy("wrr_locality", to_any(&by_place))];
    }
    Cluster {
        lb_policy: LbPolicy::RoundRobin.into(),
        lb_config: None,
        load_balancing_policy: Some(LoadBalancingPolicy { policies }),
        ..cluster
    }
}

fn policy(name: &str, config: Any) -> load_balancing_policy::Policy {
    let name = format!("envoy.load_balancing_policies.{name}");
    let config = TypedExtensionConfig { name, typed_config: Some(config) };
    load_balancing_policy::Policy { typed_extension_config: Some(config) }
}

fn warmup(slow_start: SlowStartConfig) -> common::SlowStartConfig {
    let SlowStartConfig { slow_start_window, aggression, min_weight_percent } = slow_start;
    common::SlowStartConfig { slow_start_window, aggression, min_weight_percent }
}
