//! Listeners: bound ones for proxies, and API listeners for gRPC clients.

use std::net::SocketAddr;
use std::time::Duration;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::core::v3::socket_address::Protocol as Transport;
use pilot_envoy_api::envoy::config::listener::v3 as listener;
use pilot_envoy_api::envoy::config::route::v3::{self as route, RouteConfiguration, VirtualHost};
use pilot_envoy_api::envoy::extensions::filters::http::cors::v3::Cors;
use pilot_envoy_api::envoy::extensions::filters::http::fault::v3::HttpFault;
use pilot_envoy_api::envoy::extensions::filters::http::router::v3::Router;
use pilot_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as http;
use pilot_envoy_api::envoy::extensions::filters::udp::udp_proxy::v3::{
    self as udp, UdpProxyConfig, udp_proxy_config,
};
use pilot_envoy_api::to_any;
use pilot_envoy_api::xds::core::v3::TypedExtensionConfig;
use pilot_envoy_api::xds::r#type::matcher::v3::{Matcher, matcher};
use prost::{Message, Name};

use super::connections::filter;
use super::rules::{self, CORS_FILTER, FAULT_FILTER};
use super::source::{boolean, bound, duration};
use super::{access_log, connections, defaults, edge, fallback, names};
use crate::mesh::{Keepalive, MeshOptions, Traffic};

/// How long a client may leave the rest of an answer unread, when the request is over.
const FLUSH: Duration = Duration::from_secs(300);

/// Envoy's name for the connection manager, wherever it stands.
pub(super) const HTTP_CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// A listener that routes by Host header. It is named `name`, and its routes `routes`. Beyond loopback it is an
/// edge: its clients are not those of this machine.
pub(super) fn http(
    name: &str,
    at: SocketAddr,
    routes: &str,
    config_source: &core::ConfigSource,
    options: &MeshOptions,
) -> listener::Listener {
    let manager =
        manager(&format!("outbound_{name}"), routes, fallback::words(at.port()), config_source, options);
    let is_edge = !at.ip().is_loopback();
    let manager = if is_edge { edge::manager(manager) } else { manager };
    let filters = vec![filter(HTTP_CONNECTION_MANAGER, &manager)];
    let chain = listener::FilterChain { filters, ..Default::default() };
    let listener = tcp_listener(name.to_owned(), at, &options.traffic);
    let listener = listener::Listener { filter_chains: vec![chain], ..listener };
    if is_edge { edge::listener(listener) } else { listener }
}

/// What routes requests by their Host header. `words`: what Envoy's own answers say.
pub(super) fn manager(
    stat_prefix: &str,
    routes: &str,
    words: http::LocalReplyConfig,
    config_source: &core::ConfigSource,
    options: &MeshOptions,
) -> http::HttpConnectionManager {
    use http::http_connection_manager as manager;
    let rds = http::Rds { config_source: Some(config_source.clone()), route_config_name: routes.to_owned() };
    let websocket = manager::UpgradeConfig { upgrade_type: "websocket".to_owned(), ..Default::default() };
    let http1 = core::Http1ProtocolOptions {
        accept_http_10: true,
        // Who says no host did not choose a service, as those who say an address.
        default_host_for_http_10: "localhost".to_owned(),
        ..Default::default()
    };
    http::HttpConnectionManager {
        http_protocol_options: Some(http1),
        strip_trailing_host_dot: true,
        local_reply_config: Some(words),
        http2_protocol_options: Some(http2(&options.traffic)),
        codec_type: manager::CodecType::Auto.into(),
        stat_prefix: stat_prefix.to_owned(),
        access_log: access_log::of_requests(&options.traffic.access_log),
        http_filters: filters(options.has_rules),
        server_header_transformation: manager::ServerHeaderTransformation::PassThrough.into(),
        // A client that has vanished is noticed by its connection.
        stream_idle_timeout: duration(options.traffic.idle.stream),
        stream_flush_timeout: duration(FLUSH),
        use_remote_address: boolean(false),
        upgrade_configs: vec![websocket],
        normalize_path: boolean(true),
        route_specifier: Some(manager::RouteSpecifier::Rds(rds)),
        ..Default::default()
    }
}

/// What clients of HTTP/2 have: WebSockets, and PINGs that notice who is gone.
fn http2(traffic: &Traffic) -> core::Http2ProtocolOptions {
    let Keepalive { client_interval, client_timeout, .. } = traffic.keepalive;
    core::Http2ProtocolOptions {
        allow_connect: true,
        connection_keepalive: (!client_interval.is_zero()).then(|| core::KeepaliveSettings {
            interval: duration(client_interval),
            timeout: duration(client_timeout),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A listener for connections that are not HTTP. `virtual_address`: it is not an address of the machine perhaps, and is
/// bound all the same. `by_name`: it reads the names that clients ask for, whether or not a chain needs them: a listener
/// changes in place only if nothing but its chains does.
pub(super) fn tcp(
    at: SocketAddr,
    chains: Vec<listener::FilterChain>,
    others: Option<listener::FilterChain>,
    by_name: bool,
    virtual_address: bool,
    traffic: &Traffic,
) -> listener::Listener {
    let (filter_chains, default_filter_chain) = match by_name {
        true => (chains, others),
        false => (chains.into_iter().chain(others).collect(), None),
    };
    listener::Listener {
        filter_chains,
        default_filter_chain,
        listener_filters: by_name.then(connections::tls_inspector).into_iter().collect(),
        // A client that says nothing has no name.
        continue_on_listener_filters_timeout: by_name,
        freebind: virtual_address.then_some(true).and_then(boolean),
        ..tcp_listener(names::listener(at), at, traffic)
    }
}

/// A listener that sends all datagrams to one cluster.
pub(super) fn udp(at: SocketAddr, cluster: &str, virtual_address: bool) -> listener::Listener {
    use listener::listener_filter::ConfigType;
    let proxy = UdpProxyConfig {
        stat_prefix: cluster.to_owned(),
        route_specifier: Some(udp_proxy_config::RouteSpecifier::Matcher(always(cluster))),
        ..Default::default()
    };
    let proxy = listener::ListenerFilter {
        name: "envoy.filters.udp_listener.udp_proxy".to_owned(),
        config_type: Some(ConfigType::TypedConfig(to_any(&proxy))),
        ..Default::default()
    };
    listener::Listener {
        name: names::udp_listener(at),
        address: Some(bound(Transport::Udp, at)),
        listener_filters: vec![proxy],
        udp_listener_config: Some(listener::UdpListenerConfig::default()),
        freebind: virtual_address.then_some(true).and_then(boolean),
        traffic_direction: core::TrafficDirection::Outbound.into(),
        ..Default::default()
    }
}

fn always(cluster: &str) -> Matcher {
    use matcher::on_match::OnMatch;
    let route = TypedExtensionConfig {
        name: "route".to_owned(),
        typed_config: Some(to_any(&udp::Route { cluster: cluster.to_owned() })),
    };
    let action = matcher::OnMatch { on_match: Some(OnMatch::Action(route)), ..Default::default() };
    Matcher { on_no_match: Some(Box::new(action)), ..Default::default() }
}

/// What a gRPC client gets for `xds:///name`: these routes, whatever the authority.
pub(super) fn api(name: &str, routes: &[route::Route]) -> listener::Listener {
    use http::http_connection_manager::RouteSpecifier;
    let all = VirtualHost {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        routes: routes.to_vec(),
        ..Default::default()
    };
    let configuration =
        RouteConfiguration { name: name.to_owned(), virtual_hosts: vec![all], ..Default::default() };
    let fault = rules::has_faults(routes).then(fault);
    let manager = http::HttpConnectionManager {
        stat_prefix: name.to_owned(),
        http_filters: fault.into_iter().chain([router()]).collect(),
        route_specifier: Some(RouteSpecifier::RouteConfig(configuration)),
        ..Default::default()
    };
    listener::Listener {
        name: name.to_owned(),
        api_listener: Some(listener::ApiListener { api_listener: Some(to_any(&manager)) }),
        ..Default::default()
    }
}

fn tcp_listener(name: String, at: SocketAddr, traffic: &Traffic) -> listener::Listener {
    listener::Listener {
        name,
        address: Some(bound(Transport::Tcp, at)),
        traffic_direction: core::TrafficDirection::Outbound.into(),
        tcp_keepalive: defaults::tcp_keepalive(traffic),
        ..Default::default()
    }
}

/// What happens to requests of Envoys. What is in front of the router does nothing unless a route says so: where there
/// are stores of rules, it is there before any rule, because a listener that changes closes its connections.
fn filters(has_rules: bool) -> Vec<http::HttpFilter> {
    let for_rules = || [http_filter(CORS_FILTER, &Cors::default()), fault()];
    has_rules.then(for_rules).into_iter().flatten().chain([router()]).collect()
}

fn fault() -> http::HttpFilter {
    http_filter(FAULT_FILTER, &HttpFault::default())
}

fn router() -> http::HttpFilter {
    http_filter("envoy.filters.http.router", &Router::default())
}

fn http_filter<M: Message + Name>(name: &str, config: &M) -> http::HttpFilter {
    let config = http::http_filter::ConfigType::TypedConfig(to_any(config));
    http::HttpFilter { name: name.to_owned(), config_type: Some(config), ..Default::default() }
}
