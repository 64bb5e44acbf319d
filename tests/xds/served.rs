//! A real server on real sockets, and the streams that tests open to it.

use std::sync::Arc;
use std::time::Duration;

use pilot::config::Config;
use pilot::mesh::MeshOptions;
use pilot::metrics::{Format, Metrics};
use pilot::proxies::Proxies;
use pilot::proxy::Scope;
use pilot::resources::{ResourceType, View};
use pilot::server::{self, ServeError, Settings};
use pilot::shutdown::{Trigger, shutdown};
use pilot::world::{TooManyScopes, Views, World};
use pilot::xds::Limits;
use pilot::xds::stream::{FirstSyncs, ResourceSource, StreamContext};
use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use pilot_envoy_api::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::driver::delta_request;
use crate::things::two_services;

pub(crate) const LONG: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Source(pub(crate) watch::Sender<Option<Arc<View>>>);

impl ResourceSource for Source {
    /// There is no place for names that clients have chosen.
    fn subscribe(&self, scope: &Scope) -> Result<Views, TooManyScopes> {
        if scope.has_chosen_name() { Err(TooManyScopes(16)) } else { Ok(Views::of(self.0.subscribe())) }
    }
}

/// A server, and what it takes to steer it.
pub(crate) struct Server {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) source: Source,
    pub(crate) proxies: Proxies,
    pub(crate) metrics: Metrics,
    pub(crate) first_syncs: FirstSyncs,
    pub(crate) trigger: Trigger,
    pub(crate) serving: JoinHandle<Result<(), ServeError>>,
}

/// What the tests vary.
pub(crate) struct Options {
    pub(crate) max_streams: usize,
    pub(crate) max_age: Option<Duration>,
    pub(crate) drain: Duration,
    pub(crate) preface: Duration,
    pub(crate) first_request: Duration,
    /// How many streams compose their first answers at one time.
    pub(crate) turns: usize,
}

pub(crate) const USUAL: Options = Options {
    max_streams: 100,
    max_age: None,
    drain: Duration::from_secs(60),
    preface: Duration::from_secs(60),
    first_request: Duration::from_secs(60),
    turns: 4,
};

impl Server {
    pub(crate) async fn start(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let source = Source(watch::Sender::new(Some(two_services().publish())));
        let (trigger, running) = shutdown();
        let (proxies, metrics) = (Proxies::default(), Metrics::new());
        let first_syncs = FirstSyncs::at_once(options.turns);
        let context = StreamContext {
            source: Arc::new(source.clone()),
            proxies: proxies.clone(),
            metrics: metrics.clone(),
            limits: Limits { max_names: 50_000 },
            max_request_bytes: Config::default().xds.max_request_bytes,
            first_syncs: first_syncs.clone(),
            drain: options.drain,
            shutdown: running.clone(),
        };
        let settings = Settings {
            max_streams: options.max_streams,
            preface_timeout: options.preface,
            first_request_timeout: options.first_request,
            max_age: options.max_age,
            admin: Some("127.0.0.1:18080".parse().unwrap()),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
        };
        let serving = async move { server::serve(listener, context, &settings, running).await };
        #[expect(clippy::disallowed_methods, reason = "the test owns the task and ends it")]
        let serving = tokio::spawn(serving);
        Self { address, source, proxies, metrics, first_syncs, trigger, serving }
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn ads(&self) -> Ads {
        Ads::open(self.channel().await).await
    }

    /// A stream that was answered: it works.
    pub(crate) async fn working(&self, id: &str) -> Ads {
        let mut stream = self.ads().await;
        stream.send(first(id, ResourceType::Cluster, &[]));
        assert_eq!(stream.next().await.unwrap().resources.len(), 2);
        stream
    }

    /// The value of a metric without labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let world = World::new(Vec::new(), MeshOptions::default(), 1);
        let text = self.metrics.encode(Format::Prometheus, &world, &self.proxies);
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let value = lines.find(|(known, _)| *known == name).map(|(_, value)| value.parse());
        value.unwrap_or_else(|| panic!("{name} is not in\n{text}")).unwrap()
    }

    /// Waits until a condition holds.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LONG;
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}: did not happen");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A delta ADS stream.
pub(crate) struct Ads {
    requests: mpsc::UnboundedSender<DeltaDiscoveryRequest>,
    responses: Result<Streaming<DeltaDiscoveryResponse>, Status>,
}

impl Ads {
    pub(crate) async fn open(channel: Channel) -> Self {
        let (requests, outgoing) = unbounded();
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let responses = timeout(LONG, client.delta_aggregated_resources(outgoing)).await.unwrap();
        Self { requests, responses: responses.map(tonic::Response::into_inner) }
    }

    pub(crate) fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).unwrap();
    }

    pub(crate) async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let stream = self.responses.as_mut().map_err(|status| status.clone())?;
        let message = timeout(LONG, stream.message()).await.expect("an answer in time")?;
        message.ok_or_else(|| Status::ok("the stream ended"))
    }

    /// How the stream ends, after whatever it still says.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's client sends what the test says")]
pub(crate) fn unbounded<T>() -> (mpsc::UnboundedSender<T>, impl futures_util::Stream<Item = T>) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    (sender, futures_util::stream::poll_fn(move |context| receiver.poll_recv(context)))
}

pub(crate) fn first(id: &str, kind: ResourceType, names: &[&str]) -> DeltaDiscoveryRequest {
    let node = Node { id: id.to_owned(), ..Default::default() };
    DeltaDiscoveryRequest { node: Some(node), ..delta_request(kind, names, &[]) }
}
