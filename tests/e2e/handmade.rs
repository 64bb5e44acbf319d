//! pilot's own server with resources that no registry would lead to: what Envoys refuse, above all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pilot::config::Config;
use pilot::metrics::{Format, Metrics};
use pilot::proxies::{Proxies, ProxyStatus};
use pilot::proxy::Scope;
use pilot::resources::ResourceType::{Endpoint, Route};
use pilot::resources::{Layer, Origin, PerType, Resource, TypeSet, View, VirtualHost};
use pilot::server::{self, Settings};
use pilot::shutdown::{Trigger, shutdown};
use pilot::world::{TooManyScopes, Views, World};
use pilot::xds::Limits;
use pilot::xds::stream::{FirstSyncs, ResourceSource, StreamContext};
use pilot_envoy_api::envoy::config::cluster::v3::{self as cluster};
use pilot_envoy_api::envoy::config::core::v3::{self as core, config_source, socket_address};
use pilot_envoy_api::envoy::config::endpoint::v3::{self as endpoint};
use pilot_envoy_api::envoy::config::listener::v3::{self as listener};
use pilot_envoy_api::envoy::config::route::v3::{self as route};
use pilot_envoy_api::envoy::extensions::filters::http::router::v3::Router;
use pilot_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as http_manager;
use pilot_envoy_api::envoy::r#type::matcher::v3::RegexMatcher;
use pilot_envoy_api::to_any;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::pilot::Pilot;
use crate::support::wait::holds;

struct Source(watch::Sender<Option<Arc<View>>>);

impl ResourceSource for Source {
    fn subscribe(&self, _scope: &Scope) -> Result<Views, TooManyScopes> {
        Ok(Views::of(self.0.subscribe()))
    }
}

/// pilot's own server, with resources that no registry would lead to. `pilot` only says how Envoys find it.
pub(crate) struct Server {
    pub(crate) pilot: Pilot,
    source: Arc<Source>,
    pub(crate) proxies: Proxies,
    metrics: Metrics,
    serving: JoinHandle<Result<(), server::ServeError>>,
    _running: Trigger,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let pilot = Pilot::prepare("");
        let source = Arc::new(Source(watch::Sender::new(None)));
        let (running, shutdown) = shutdown();
        let (proxies, metrics) = (Proxies::default(), Metrics::new());
        let context = StreamContext {
            source: Arc::clone(&source) as Arc<dyn ResourceSource>,
            proxies: proxies.clone(),
            metrics: metrics.clone(),
            limits: Limits { max_names: 50_000 },
            max_request_bytes: Config::default().xds.max_request_bytes,
            first_syncs: FirstSyncs::new(),
            drain: Duration::ZERO,
            shutdown: shutdown.clone(),
        };
        let long = Duration::from_secs(60);
        let settings = Settings {
            max_streams: 100,
            preface_timeout: long,
            first_request_timeout: long,
            max_age: None,
            admin: None,
            keepalive_interval: long,
            keepalive_timeout: long,
        };
        let listener = TcpListener::bind(pilot.xds_address()).await.unwrap();
        let serving = async move { server::serve(listener, context, &settings, shutdown).await };
        #[expect(clippy::disallowed_methods, reason = "the test owns the task and ends it")]
        let serving = tokio::spawn(serving);
        Self { pilot, source, proxies, metrics, serving, _running: running }
    }

    pub(crate) fn publish(&self, resources: PerType<TypeSet>, generation: u64) {
        let layer = Arc::new(Layer::of(generation, Instant::now(), resources));
        self.source.0.send_replace(Some(Arc::new(View::new([], layer))));
    }

    /// What the one Envoy refuses, by type.
    pub(crate) fn refused(&self) -> Result<BTreeMap<String, Vec<String>>, String> {
        match self.proxies.list().as_slice() {
            [proxy] => refused_by(proxy),
            others => Err(format!("{} proxies", others.len())),
        }
    }

    /// How many responses were refused.
    pub(crate) fn nacks(&self) -> Vec<String> {
        let world = World::new(Vec::new(), pilot::mesh::MeshOptions::default(), 16);
        let text = self.metrics.encode(Format::OpenMetrics, &world, &self.proxies);
        text.lines().filter(|line| line.starts_with("pilot_xds_nacks_total")).map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) fn name(number: usize) -> String {
    format!("service-{number:03}")
}

pub(crate) fn socket(at: (&str, u32)) -> Option<core::Address> {
    let socket = core::SocketAddress {
        address: at.0.to_owned(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(at.1)),
        ..Default::default()
    };
    Some(core::Address { address: Some(core::address::Address::SocketAddress(socket)) })
}

pub(crate) fn ads() -> Option<core::ConfigSource> {
    let ads = config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource::default());
    let version = core::ApiVersion::V3.into();
    Some(core::ConfigSource {
        resource_api_version: version,
        config_source_specifier: Some(ads),
        ..Default::default()
    })
}

pub(crate) fn cluster(name: &str, finds_endpoints: bool) -> Resource {
    let by_name = cluster::cluster::EdsClusterConfig { eds_config: ads(), ..Default::default() };
    let message = cluster::Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(
            cluster::cluster::DiscoveryType::Eds.into(),
        )),
        eds_cluster_config: finds_endpoints.then_some(by_name),
        ..Default::default()
    };
    let references = if finds_endpoints { vec![(Endpoint, name.into())] } else { Vec::new() };
    Resource::new(name.into(), &message, references, Origin::Shared)
}

pub(crate) fn endpoints(name: &str, at: (&str, u32)) -> Resource {
    let endpoint = endpoint::Endpoint { address: socket(at), ..Default::default() };
    let host = endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(endpoint)),
        ..Default::default()
    };
    let locality = endpoint::LocalityLbEndpoints { lb_endpoints: vec![host], ..Default::default() };
    let message = endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![locality],
        ..Default::default()
    };
    Resource::new(name.into(), &message, Vec::new(), Origin::Shared)
}

pub(crate) fn virtual_host(name: &str, is_bad: bool) -> Arc<VirtualHost> {
    use route::route_match::PathSpecifier;
    let regex = RegexMatcher { regex: "((".to_owned(), ..Default::default() };
    let path = if is_bad { PathSpecifier::SafeRegex(regex) } else { PathSpecifier::Prefix("/".to_owned()) };
    let action = route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(name.to_owned())),
        ..Default::default()
    };
    let to_cluster = route::Route {
        r#match: Some(route::RouteMatch { path_specifier: Some(path), ..Default::default() }),
        action: Some(route::route::Action::Route(action)),
        ..Default::default()
    };
    let message = route::VirtualHost {
        name: name.to_owned(),
        domains: vec![name.to_owned()],
        routes: vec![to_cluster],
        ..Default::default()
    };
    Arc::new(VirtualHost::new(&message, vec![name.into()], Origin::Shared))
}

pub(crate) fn listener(name: &str, at: Option<SocketAddr>, routes: &str) -> Resource {
    use http_manager::http_connection_manager::RouteSpecifier;
    let rds = http_manager::Rds { config_source: ads(), route_config_name: routes.to_owned() };
    let router = http_manager::HttpFilter {
        name: "router".to_owned(),
        config_type: Some(http_manager::http_filter::ConfigType::TypedConfig(to_any(&Router::default()))),
        ..Default::default()
    };
    let manager = http_manager::HttpConnectionManager {
        stat_prefix: name.to_owned(),
        http_filters: vec![router],
        route_specifier: Some(RouteSpecifier::Rds(rds)),
        ..Default::default()
    };
    let filter = listener::Filter {
        name: "manager".to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(to_any(&manager))),
    };
    let message = listener::Listener {
        name: name.to_owned(),
        address: at.and_then(|at| socket((&at.ip().to_string(), at.port().into()))),
        filter_chains: vec![listener::FilterChain { filters: vec![filter], ..Default::default() }],
        ..Default::default()
    };
    Resource::new(name.into(), &message, vec![(Route, routes.into())], Origin::Shared)
}

/// What an Envoy refuses, by type.
pub(crate) fn refused_by(proxy: &ProxyStatus) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut all = BTreeMap::new();
    for (kind, report) in proxy.streams.iter().flat_map(|stream| &stream.types) {
        let Some(nack) = &report.nack else { continue };
        holds(!nack.searching, format!("{kind} is searched"))?;
        let name = |it: &pilot::proxies::RefusedStatus| match &it.virtual_host {
            Some(host) => format!("{} (virtual host {host})", it.name),
            None => it.name.clone(),
        };
        all.insert(kind.clone(), nack.refused.iter().map(name).collect());
    }
    Ok(all)
}
