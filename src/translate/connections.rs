//! Where the connections of a listener go that is not HTTP: all to one cluster, or by the names that clients ask for (SNI),
//! or by weight.

use std::time::Duration;

use pilot_envoy_api::envoy::config::listener::v3 as listener;
use pilot_envoy_api::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use pilot_envoy_api::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use pilot_envoy_api::envoy::r#type::v3::{HashPolicy, hash_policy};
use pilot_envoy_api::to_any;
use prost::{Message, Name};

use super::access_log;
use super::source::{duration, uint32};
use crate::mesh::Traffic;

/// What TCP connections to a cluster are told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TcpSettings {
    /// How long they may be quiet; `None` = as long as all others.
    pub(super) idle: Option<Duration>,
    /// How long they may last; `None` = as long as they want.
    pub(super) lasts: Option<Duration>,
    /// Whether those of one client go to one endpoint.
    pub(super) by_source: bool,
}

/// Where connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    /// Clusters, and the share of each.
    pub(super) clusters: Vec<(String, u32)>,
    pub(super) settings: TcpSettings,
}

impl Lane {
    /// All to one cluster.
    pub(super) fn to(cluster: String, settings: TcpSettings) -> Self {
        Self { clusters: vec![(cluster, 1)], settings }
    }

    /// The filter that sends all connections of a chain there.
    pub(super) fn filter(&self, traffic: &Traffic) -> listener::Filter {
        let Self { clusters, settings } = self;
        let specifier = match clusters.as_slice() {
            [(only, _)] => tcp_proxy::ClusterSpecifier::Cluster(only.clone()),
            several => {
                let weighted =
                    several.iter().map(|(name, weight)| tcp_proxy::weighted_cluster::ClusterWeight {
                        name: name.clone(),
                        weight: *weight,
                        ..Default::default()
                    });
                let clusters = weighted.collect();
                tcp_proxy::ClusterSpecifier::WeightedClusters(tcp_proxy::WeightedCluster { clusters })
            }
        };
        let source = || HashPolicy {
            policy_specifier: Some(hash_policy::PolicySpecifier::SourceIp(hash_policy::SourceIp {})),
        };
        let proxy = TcpProxy {
            stat_prefix: clusters.first().map(|(name, _)| name.clone()).unwrap_or_default(),
            // An endpoint that goes away takes no connection with it that did not begin yet.
            max_connect_attempts: uint32(3),
            idle_timeout: duration(settings.idle.unwrap_or(traffic.idle.tcp)),
            max_downstream_connection_duration: settings.lasts.and_then(duration),
            access_log: access_log::of_connections(&traffic.access_log),
            hash_policy: settings.by_source.then(source).into_iter().collect(),
            cluster_specifier: Some(specifier),
            ..Default::default()
        };
        filter("envoy.filters.network.tcp_proxy", &proxy)
    }

    /// A chain for clients that ask for one of these names; none = for all.
    pub(super) fn chain(&self, names: &[String], traffic: &Traffic) -> listener::FilterChain {
        let by_name = listener::FilterChainMatch { server_names: names.to_vec(), ..Default::default() };
        listener::FilterChain {
            // Chains of one listener have different names.
            name: names.first().cloned().unwrap_or_default(),
            filter_chain_match: (!names.is_empty()).then_some(by_name),
            filters: vec![self.filter(traffic)],
            ..Default::default()
        }
    }
}

/// The same chain, for clients that ask for one of these names.
pub(super) fn for_names(all: &listener::FilterChain, names: Vec<String>) -> listener::FilterChain {
    let name = names.first().cloned().unwrap_or_default();
    let by_name = listener::FilterChainMatch { server_names: names, ..Default::default() };
    listener::FilterChain { name, filter_chain_match: Some(by_name), ..all.clone() }
}

/// Reads the name that a client asks for.
pub(super) fn tls_inspector() -> listener::ListenerFilter {
    listener::ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener::listener_filter::ConfigType::TypedConfig(to_any(
            &TlsInspector::default(),
        ))),
        ..Default::default()
    }
}

/// A network filter of that name.
pub(super) fn filter<M: Message + Name>(name: &str, config: &M) -> listener::Filter {
    let config = listener::filter::ConfigType::TypedConfig(to_any(config));
    listener::Filter { name: name.to_owned(), config_type: Some(config) }
}
