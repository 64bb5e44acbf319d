//! What a cluster is told of HTTP: the port's protocol, and what rules say of connections and requests.

use std::collections::BTreeMap;
use std::time::Duration;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::extensions::upstreams::http::v3::{HttpProtocolOptions, http_protocol_options};
use pilot_envoy_api::google::protobuf::{self as wkt, Any};
use pilot_envoy_api::to_any;
use pilot_registry::Protocol;

use super::source::{duration, uint32};

/// The key under which Envoy looks for a cluster's HTTP options.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// What a cluster is told of HTTP beside the port's protocol.
#[derive(Clone, Debug, Default)]
pub(super) struct Upstream {
    pub(super) idle_timeout: Option<wkt::Duration>,
    pub(super) max_connection_duration: Option<wkt::Duration>,
    pub(super) max_requests_per_connection: Option<u32>,
    /// How many requests share an HTTP/2 connection.
    pub(super) max_concurrent_streams: Option<u32>,
    /// Probes on HTTP/2 connections.
    pub(super) pings: Pings,
    /// HTTP/1.1 becomes HTTP/2.
    pub(super) is_upgraded: bool,
    /// The client's version of HTTP is used.
    pub(super) follows_client: bool,
    /// The host that the request names is asked for in TLS.
    pub(super) auto_sni: bool,
    /// The host that the request names has to be in the certificate.
    pub(super) auto_san: bool,
}

/// When an HTTP/2 connection is probed; zero = never.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pings {
    /// How often, whatever else happens there.
    pub(super) interval: Duration,
    /// With the next request, when nothing came for so long.
    pub(super) quiet: Duration,
    /// How long an answer may take.
    pub(super) timeout: Duration,
}

impl Pings {
    fn settings(self) -> Option<core::KeepaliveSettings> {
        let some = |time: Duration| duration(time).filter(|_| !time.is_zero());
        let (interval, connection_idle_interval) = (some(self.interval), some(self.quiet));
        let is_ever = interval.is_some() || connection_idle_interval.is_some();
        is_ever.then(|| core::KeepaliveSettings {
            interval,
            timeout: duration(self.timeout),
            connection_idle_interval,
            ..Default::default()
        })
    }
}

/// The options of a cluster by Envoy's name for them; none where it is no HTTP.
pub(super) fn http_options(protocol: Protocol, upstream: &Upstream) -> BTreeMap<String, Any> {
    use http_protocol_options::explicit_http_config::ProtocolConfig;
    use http_protocol_options::{ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig};
    if !protocol.is_http() {
        return BTreeMap::new();
    }
    let http1 = core::Http1ProtocolOptions::default;
    let http2 = || core::Http2ProtocolOptions {
        max_concurrent_streams: upstream.max_concurrent_streams.and_then(uint32),
        connection_keepalive: upstream.pings.settings(),
        // WebSockets: servers that know them over HTTP/2 say so.
        allow_connect: protocol != Protocol::Grpc,
        ..Default::default()
    };
    let explicit = |config| {
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(config) })
    };
    let protocols = match (upstream.follows_client, protocol.is_http2() || upstream.is_upgraded) {
        (true, _) => UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
            http_protocol_options: Some(http1()),
            http2_protocol_options: Some(http2()),
            ..Default::default()
        }),
        (false, true) => explicit(ProtocolConfig::Http2ProtocolOptions(http2())),
        (false, false) => explicit(ProtocolConfig::HttpProtocolOptions(http1())),
    };
    let common = core::HttpProtocolOptions {
        idle_timeout: upstream.idle_timeout,
        max_connection_duration: upstream.max_connection_duration,
        max_requests_per_connection: upstream.max_requests_per_connection.and_then(uint32),
        ..Default::default()
    };
    let by_host = core::UpstreamHttpProtocolOptions {
        auto_sni: upstream.auto_sni,
        auto_san_validation: upstream.auto_san,
        ..Default::default()
    };
    let options = HttpProtocolOptions {
        common_http_protocol_options: Some(common).filter(|common| *common != Default::default()),
        upstream_http_protocol_options: Some(by_host).filter(|by_host| *by_host != Default::default()),
        upstream_protocol_options: Some(protocols),
        ..Default::default()
    };
    [(HTTP_OPTIONS.to_owned(), to_any(&options))].into()
}
