//! What clusters have where no rule says otherwise.
//!
//! Each is there once for each service and port: what is as Envoy has it anyway is left out.

use std::time::Duration;

use pilot_envoy_api::envoy::config::cluster::v3::{self as api, CircuitBreakers, Cluster, cluster};
use pilot_envoy_api::envoy::config::core::v3::TcpKeepalive;
use pilot_envoy_api::envoy::r#type::v3::Percent;
use pilot_registry::Protocol;

use super::source::{duration, uint32};
use super::upstream::{Pings, Upstream};
use crate::mesh::{Outliers, RetryLimits, Traffic};

/// How often it is looked whether an endpoint that was left alone is to be tried again.
const SWEEP: Duration = Duration::from_secs(5);

/// After so many probes without an answer a TCP connection is dead.
const PROBES: u32 = 3;

/// The part of a cluster that does not depend on its service.
pub(super) fn cluster(protocol: Protocol, traffic: &Traffic) -> Cluster {
    let is_connected = protocol != Protocol::Udp;
    let keepalive = tcp_keepalive(traffic).filter(|_| is_connected);
    Cluster {
        // Of two endpoints, the one with fewer requests: one that is slow or hangs gets less.
        lb_policy: cluster::LbPolicy::LeastRequest.into(),
        circuit_breakers: Some(circuit_breakers(&traffic.retries)),
        common_lb_config: Some(common_lb_config()),
        outlier_detection: outlier_detection(&traffic.outliers).filter(|_| is_connected),
        upstream_connection_options: keepalive.map(|keepalive| api::UpstreamConnectionOptions {
            tcp_keepalive: Some(keepalive),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What a cluster is told of HTTP.
pub(super) fn upstream(protocol: Protocol, traffic: &Traffic) -> Upstream {
    let Traffic { keepalive, idle, .. } = traffic;
    let idle = if protocol.is_http2() { idle.http2 } else { idle.http1 };
    let pings = Pings {
        interval: keepalive.http2_interval,
        quiet: keepalive.http2_quiet,
        timeout: keepalive.http2_timeout,
    };
    Upstream { idle_timeout: duration(idle), pings, ..Upstream::default() }
}

/// The probes of TCP connections that are quiet, to clients and to endpoints.
pub(super) fn tcp_keepalive(traffic: &Traffic) -> Option<TcpKeepalive> {
    let seconds = u32::try_from(traffic.keepalive.tcp.as_secs()).unwrap_or(u32::MAX);
    (seconds > 0).then(|| TcpKeepalive {
        keepalive_probes: uint32(PROBES),
        keepalive_time: uint32(seconds),
        keepalive_interval: uint32((seconds / PROBES).max(1)),
    })
}

/// Envoy's defaults (1,024 connections and requests, 3 retries) are limits that nobody asked for. Retries have a
/// budget: when everything fails, they do not come on top of all requests.
fn circuit_breakers(retries: &RetryLimits) -> CircuitBreakers {
    let budget = api::circuit_breakers::thresholds::RetryBudget {
        budget_percent: Some(Percent { value: retries.budget_percent.into() }),
        min_retry_concurrency: uint32(retries.budget_min),
        ..Default::default()
    };
    let threshold = api::circuit_breakers::Thresholds {
        max_connections: uint32(u32::MAX),
        max_pending_requests: uint32(u32::MAX),
        max_requests: uint32(u32::MAX),
        retry_budget: Some(budget),
        ..Default::default()
    };
    CircuitBreakers { thresholds: vec![threshold], ..Default::default() }
}

/// By default Envoy sends to unhealthy endpoints, too, when fewer than half are healthy.
fn common_lb_config() -> cluster::CommonLbConfig {
    cluster::CommonLbConfig { healthy_panic_threshold: Some(Percent { value: 0.0 }), ..Default::default() }
}

/// Only what Envoy itself sees of connections counts. What servers answer is theirs: a status is no fault of one
/// endpoint more than of another.
fn outlier_detection(outliers: &Outliers) -> Option<api::OutlierDetection> {
    (outliers.failures > 0).then(|| api::OutlierDetection {
        split_external_local_origin_errors: true,
        consecutive_local_origin_failure: uint32(outliers.failures),
        interval: duration(SWEEP),
        base_ejection_time: duration(outliers.ejection),
        max_ejection_time: duration(outliers.max_ejection),
        max_ejection_percent: uint32(outliers.max_percent),
        enforcing_consecutive_5xx: uint32(0),
        enforcing_success_rate: uint32(0),
        enforcing_local_origin_success_rate: uint32(0),
        ..Default::default()
    })
}
