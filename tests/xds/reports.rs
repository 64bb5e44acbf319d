//! What a stream tells of its client: in the list of proxies, in metrics, in the log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use futures_util::{FutureExt, StreamExt, stream};
use pilot::metrics::Metrics;
use pilot::proxies::{Proxies, SyncState, TypeReport};
use pilot::proxy::Scope;
use pilot::resources::ResourceType::{self, Cluster, Endpoint};
use pilot::resources::View;
use pilot::shutdown::{Trigger, shutdown};
use pilot::xds::Delta;
use pilot::xds::stream::{FirstSyncs, Peer, ResourceSource, StreamContext, serve};
use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::config::core::v3::node::UserAgentVersionType;
use pilot_envoy_api::envoy::config::core::v3::{BuildVersion, Node};
use pilot_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use pilot_envoy_api::envoy::r#type::v3::SemanticVersion;
use pilot_envoy_api::google::rpc;
use tokio::sync::{mpsc, watch};
use tonic::Status;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use crate::driver::{LIMITS, delta_request};
use crate::things::{Things, two_services};

pub(crate) struct Source(watch::Sender<Option<Arc<View>>>);

impl ResourceSource for Source {
    fn subscribe(&self, _scope: &Scope) -> Result<pilot::world::Views, pilot::world::TooManyScopes> {
        Ok(pilot::world::Views::of(self.0.subscribe()))
    }
}

/// One delta ADS stream without a socket: everything that can happen has happened after each step.
pub(crate) struct Client<S = Source> {
    pub(crate) source: Arc<S>,
    pub(crate) things: Things,
    proxies: Proxies,
    metrics: Metrics,
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: stream::BoxStream<'static, Result<DeltaDiscoveryResponse, Status>>,
    _running: Trigger,
}

impl Client {
    pub(crate) fn new(mut things: Things) -> Self {
        let source = Source(watch::Sender::new(Some(things.publish())));
        Self::of(source, things)
    }

    pub(crate) fn publish(&mut self) -> Vec<DeltaDiscoveryResponse> {
        let set = self.things.publish();
        self.source.0.send_replace(Some(set));
        self.received()
    }
}

impl<S: ResourceSource + 'static> Client<S> {
    pub(crate) fn of(source: S, things: Things) -> Self {
        let source = Arc::new(source);
        let (proxies, metrics) = (Proxies::default(), Metrics::new());
        let (requests, mut inbound) = mpsc::channel(16);
        let (running, shutdown) = shutdown();
        let context = StreamContext {
            source: Arc::clone(&source) as Arc<dyn ResourceSource>,
            proxies: proxies.clone(),
            metrics: metrics.clone(),
            limits: LIMITS,
            max_request_bytes: 4 << 20,
            first_syncs: FirstSyncs::new(),
            drain: std::time::Duration::ZERO,
            shutdown,
        };
        let inbound = stream::poll_fn(move |context| inbound.poll_recv(context).map(|it| it.map(Ok)));
        let peer = Peer::from(Some("192.0.2.1:7".parse().unwrap()));
        let responses = serve::<Delta, _>(&context, inbound, None, peer).boxed();
        Self { source, things, proxies, metrics, requests, responses, _running: running }
    }

    pub(crate) fn send(&mut self, request: DeltaDiscoveryRequest) -> Vec<DeltaDiscoveryResponse> {
        let version = SemanticVersion { major_number: 1, minor_number: 40, patch: 0 };
        let build = BuildVersion { version: Some(version), ..Default::default() };
        let node = Some(Node {
            id: "envoy".to_owned(),
            user_agent_name: "envoy".to_owned(),
            user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(build)),
            ..Node::default()
        });
        self.requests.try_send(DeltaDiscoveryRequest { node, ..request }).unwrap();
        self.received()
    }

    pub(crate) fn received(&mut self) -> Vec<DeltaDiscoveryResponse> {
        std::iter::from_fn(|| self.responses.next().now_or_never().flatten()).map(Result::unwrap).collect()
    }

    /// Acknowledges all of these, and what comes then.
    pub(crate) fn ack(&mut self, mut responses: Vec<DeltaDiscoveryResponse>) {
        while let Some(response) = responses.pop() {
            let answered = self.send(answer(&response, None));
            responses.extend(answered);
        }
    }

    /// The types of which something is told.
    pub(crate) fn reported(&self) -> Vec<String> {
        self.proxies.list()[0].streams[0].types.keys().map(ToString::to_string).collect()
    }

    pub(crate) fn report(&self, kind: ResourceType) -> TypeReport {
        self.proxies.list()[0].streams[0].types[kind.as_str()].clone()
    }

    /// How many acknowledgements of changes were measured.
    pub(crate) fn measured(&self, kind: ResourceType) -> String {
        let world = pilot::world::World::new(Vec::new(), pilot::mesh::MeshOptions::default(), 16);
        let text = self.metrics.encode(pilot::metrics::Format::OpenMetrics, &world, &self.proxies);
        let start = format!("pilot_xds_change_to_ack_seconds_count{{type=\"{kind}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().to_owned()
    }
}

pub(crate) fn answer(response: &DeltaDiscoveryResponse, error: Option<&str>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        error_detail: error.map(|message| rpc::Status { message: message.to_owned(), ..Default::default() }),
        ..Default::default()
    }
}

/// The names of what is refused.
fn refused(report: &TypeReport) -> Vec<String> {
    let refused = report.nack.iter().flat_map(|nack| &nack.refused);
    refused.map(|refused| refused.name.clone()).collect()
}

#[tokio::test]
async fn a_refusal_is_shown_for_as_long_as_something_is_refused() {
    let mut client = Client::new(two_services());
    let clusters = client.send(delta_request(Cluster, &[], &[]));
    client.ack(clusters);
    let endpoints = client.send(delta_request(Endpoint, &["a"], &[]));
    client.send(answer(&endpoints[0], Some("a is no good")));
    assert_eq!(refused(&client.report(Endpoint)), ["a"]);
    client.things.endpoints("b", "2");
    client.publish();
    let other = client.send(delta_request(Endpoint, &["b"], &[]));
    client.ack(other);
    let report = client.report(Endpoint);
    assert!(report.acked_version.is_some());
    assert_eq!((report.state, refused(&report)), (SyncState::Nacked, vec!["a".to_owned()]));
    client.things.endpoints("a", "2");
    let mended = client.publish();
    client.ack(mended);
    assert_eq!((client.report(Endpoint).state, client.report(Endpoint).nack), (SyncState::Acked, None));
}

#[tokio::test]
async fn a_client_that_comes_back_with_everything_is_in_sync() {
    let mut client = Client::new(two_services());
    let held = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
    let clusters = DeltaDiscoveryRequest {
        initial_resource_versions: held(&["a", "b"]),
        ..delta_request(Cluster, &[], &[])
    };
    let endpoints = DeltaDiscoveryRequest {
        initial_resource_versions: held(&["a", "b"]),
        ..delta_request(Endpoint, &["a", "b"], &[])
    };
    assert_eq!((client.send(clusters).len(), client.send(endpoints).len()), (0, 0));
    let set = client.things.publish();
    for kind in [Cluster, Endpoint] {
        let report = client.report(kind);
        let expected = (SyncState::Acked, Some(set.of(kind).version().to_owned()), None);
        assert_eq!((report.state, report.acked_version, report.sent_version), expected);
    }
}

#[tokio::test]
async fn only_what_a_change_brings_is_measured_from_the_change() {
    let mut client = Client::new(two_services());
    let clusters = client.send(delta_request(Cluster, &[], &[]));
    client.ack(clusters);
    let endpoints = client.send(delta_request(Endpoint, &["a"], &[]));
    client.ack(endpoints);
    assert_eq!(client.measured(Endpoint), "0");
    client.things.endpoints("a", "2");
    let changed = client.publish();
    assert_eq!(changed.len(), 1);
    client.ack(changed);
    assert_eq!(client.measured(Endpoint), "1");
    // A change of what this client does not ask for, and then its answer to a question of its own.
    client.things.endpoints("b", "2");
    assert!(client.publish().is_empty());
    let subscribed = client.send(delta_request(Endpoint, &["b"], &[]));
    assert_eq!(subscribed.len(), 1);
    client.ack(subscribed);
    assert_eq!((client.measured(Endpoint), client.measured(Cluster)), ("1".to_owned(), "0".to_owned()));
}

/// Where a log goes.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Written {
    /// Everything that this thread logs is written here, until what this gives is dropped.
    pub(crate) fn follow(&self) -> DefaultGuard {
        let format = tracing_subscriber::fmt().with_ansi(false).with_writer(self.clone());
        pilot_registry_testkit::logs::follow(format.finish())
    }

    /// The lines that have this in them.
    pub(crate) fn lines(&self, part: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

const FORGED: &str = "no\n2026-01-01T00:00:00Z  INFO pilot: all is well\u{1b}[31m";

fn refuse_with(words: &str) {
    let mut client = Client::new(two_services());
    let clusters = client.send(delta_request(Cluster, &[], &[]));
    client.send(answer(&clusters[0], Some(words)));
}

#[tokio::test]
async fn a_clients_words_are_no_lines_of_the_log() {
    let written = Written::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(written.clone()).finish();
    let guard = pilot_registry_testkit::logs::follow(subscriber);
    refuse_with(FORGED);
    refuse_with(&"x".repeat(100_000));
    drop(guard);
    let text = written.text();
    let refused: Vec<_> = text.lines().filter(|line| line.contains("proxy rejected")).collect();
    assert_eq!(refused.len(), 2, "{text}");
    assert!(refused[0].contains(r#"reason="no\n2026-01-01"#), "{text}");
    assert!(refused[1].len() < 5000);
    assert!(text.lines().all(|line| !line.starts_with("2026-01-01T00:00:00Z")), "{text}");
    assert!(!text.contains('\u{1b}') && text.contains("peer=192.0.2.1:7"), "{text}");
}

#[tokio::test]
async fn in_json_each_key_is_there_once() {
    let written = Written::default();
    let format = tracing_subscriber::fmt().json().flatten_event(true).with_writer(written.clone());
    let guard = pilot_registry_testkit::logs::follow(format.finish());
    refuse_with(FORGED);
    drop(guard);
    let text = written.text();
    let line = text.lines().find(|line| line.contains("proxy rejected")).unwrap();
    assert_eq!(line.matches("\"message\":").count(), 1, "{line}");
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (&event["reason"], &event["message"]),
        (&FORGED.into(), &"proxy rejected its configuration".into())
    );
    assert!(text.contains(r#""peer":"192.0.2.1:7""#), "{text}");
}
