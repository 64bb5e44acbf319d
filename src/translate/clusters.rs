//! One cluster per service and port.

use std::collections::BTreeMap;

use pilot_envoy_api::envoy::config::cluster::v3::{self as api, CircuitBreakers, Cluster, cluster};
use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::extensions::upstreams::http::v3::{HttpProtocolOptions, http_protocol_options};
use pilot_envoy_api::envoy::r#type::v3::Percent;
use pilot_envoy_api::google::protobuf::Any;
use pilot_envoy_api::to_any;
use pilot_registry::{Protocol, Resolution, ServicePort};

use super::context::{Context, Lens};
use super::source::{duration, uint32};
use super::{endpoints, names};
use crate::catalog::CatalogService;
use crate::mesh::MeshOptions;

/// The key under which Envoy looks for a cluster's HTTP options.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The cluster of one port.
pub(super) fn cluster(service: &CatalogService, port: &ServicePort, context: &Context<'_>) -> Cluster {
    match service.lead().resolution {
        Resolution::Endpoints => {
            let cluster = common(service, port, context.options, cluster::DiscoveryType::Eds);
            let by_name = cluster::EdsClusterConfig {
                eds_config: Some(context.config_source.clone()),
                service_name: cluster.name.clone(),
            };
            Cluster { eds_cluster_config: Some(by_name), ..cluster }
        }
        Resolution::Dns => resolved_by_proxy(service, port, context.options, &context.lens),
        Resolution::Passthrough => {
            let lb_policy = cluster::LbPolicy::ClusterProvided.into();
            Cluster {
                lb_policy,
                ..common(service, port, context.options, cluster::DiscoveryType::OriginalDst)
            }
        }
    }
}

/// The cluster of a port whose names the proxy resolves itself.
pub(super) fn resolved_by_proxy(
    service: &CatalogService,
    port: &ServicePort,
    options: &MeshOptions,
    lens: &Lens<'_>,
) -> Cluster {
    let cluster = common(service, port, options, cluster::DiscoveryType::StrictDns);
    let assignment = match service.endpoints().next() {
        None => endpoints::own_host(&cluster.name, service, port.number),
        Some(_) => endpoints::load_assignment(&cluster.name, service, port, lens),
    };
    Cluster {
        load_assignment: Some(assignment),
        // Both families resolve on most machines; IPv4 is where most servers listen.
        dns_lookup_family: cluster::DnsLookupFamily::V4Preferred.into(),
        ..cluster
    }
}

/// What all clusters have in common.
fn common(
    service: &CatalogService,
    port: &ServicePort,
    options: &MeshOptions,
    discovery: cluster::DiscoveryType,
) -> Cluster {
    Cluster {
        name: names::cluster(port.number, "", service.host()),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(discovery.into())),
        connect_timeout: duration(options.connect_timeout),
        circuit_breakers: Some(circuit_breakers()),
        common_lb_config: Some(common_lb_config()),
        typed_extension_protocol_options: http_options(port.protocol),
        ..Default::default()
    }
}

/// Envoy's defaults (1,024 connections and requests, 3 retries) are limits that nobody asked for.
fn circuit_breakers() -> CircuitBreakers {
    let threshold = api::circuit_breakers::Thresholds {
        max_connections: uint32(u32::MAX),
        max_pending_requests: uint32(u32::MAX),
        max_requests: uint32(u32::MAX),
        max_retries: uint32(u32::MAX),
        ..Default::default()
    };
    CircuitBreakers { thresholds: vec![threshold], ..Default::default() }
}

/// By default Envoy sends to unhealthy endpoints, too, when fewer than half are healthy.
fn common_lb_config() -> cluster::CommonLbConfig {
    cluster::CommonLbConfig { healthy_panic_threshold: Some(Percent { value: 0.0 }), ..Default::default() }
}

fn http_options(protocol: Protocol) -> BTreeMap<String, Any> {
    use http_protocol_options::explicit_http_config::ProtocolConfig;
    use http_protocol_options::{ExplicitHttpConfig, UpstreamProtocolOptions};
    if !protocol.is_http() {
        return BTreeMap::new();
    }
    let config = match protocol.is_http2() {
        true => ProtocolConfig::Http2ProtocolOptions(core::Http2ProtocolOptions::default()),
        false => ProtocolConfig::HttpProtocolOptions(core::Http1ProtocolOptions::default()),
    };
    let explicit = ExplicitHttpConfig { protocol_config: Some(config) };
    let options = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)),
        ..Default::default()
    };
    [(HTTP_OPTIONS.to_owned(), to_any(&options))].into()
}
