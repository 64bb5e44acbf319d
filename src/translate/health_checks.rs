//! How a proxy finds out for itself which endpoints of a cluster serve.

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::r#type::v3::CodecClientType;
use pilot_registry::{Hostname, Probe, ServicePort};

use super::source::{duration, uint32};
use crate::catalog::CatalogService;

/// The part of the interval by which checks are spread, in percent: proxies do not ask all at one time.
const JITTER: u32 = 10;

/// The checks that are made of the endpoints of a port.
pub(super) fn health_checks(service: &CatalogService, port: &ServicePort) -> Vec<core::HealthCheck> {
    let check = service.health_check().filter(|check| check.fits(port.protocol));
    let check = check.map(|check| core::HealthCheck {
        interval: duration(check.interval),
        // Envoy asks only once a minute where there was no traffic yet: the first requests would meet the sick.
        no_traffic_interval: duration(check.interval),
        interval_jitter_percent: JITTER,
        timeout: duration(check.timeout),
        unhealthy_threshold: uint32(check.failures.get()),
        healthy_threshold: uint32(check.successes.get()),
        alt_port: check.port.and_then(|port| uint32(port.get().into())),
        health_checker: Some(checker(&check.probe, service.host(), port)),
        ..Default::default()
    });
    check.into_iter().collect()
}

fn checker(probe: &Probe, host: &Hostname, port: &ServicePort) -> core::health_check::HealthChecker {
    use core::health_check::{GrpcHealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck};
    match probe {
        Probe::Http(path) => HealthChecker::HttpHealthCheck(HttpHealthCheck {
            host: host.to_string(),
            path: path.clone(),
            codec_client_type: match port.protocol.is_http2() {
                true => CodecClientType::Http2,
                false => CodecClientType::Http1,
            }
            .into(),
            ..Default::default()
        }),
        Probe::Grpc(name) => HealthChecker::GrpcHealthCheck(GrpcHealthCheck {
            service_name: name.clone(),
            authority: host.to_string(),
            ..Default::default()
        }),
        Probe::Tcp => HealthChecker::TcpHealthCheck(TcpHealthCheck::default()),
    }
}
