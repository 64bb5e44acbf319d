//! The services beside discovery that operators' tools expect of a gRPC server: health and reflection.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pilot::metrics::Metrics;
use pilot::proxies::Proxies;
use pilot::proxy::Scope;
use pilot::resources::View;
use pilot::server::{Settings, serve};
use pilot::shutdown::{Trigger, shutdown};
use pilot::world::{TooManyScopes, Views};
use pilot::xds::Limits;
use pilot::xds::stream::{FirstSyncs, ResourceSource, StreamContext};
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// A source that knows nothing yet.
struct Nothing(watch::Sender<Option<Arc<View>>>);

impl ResourceSource for Nothing {
    fn subscribe(&self, _scope: &Scope) -> Result<Views, TooManyScopes> {
        Ok(Views::of(self.0.subscribe()))
    }
}

/// The services of discovery that are served.
const SERVED: [&str; 5] = [
    "envoy.service.discovery.v3.AggregatedDiscoveryService",
    "envoy.service.cluster.v3.ClusterDiscoveryService",
    "envoy.service.endpoint.v3.EndpointDiscoveryService",
    "envoy.service.listener.v3.ListenerDiscoveryService",
    "envoy.service.route.v3.RouteDiscoveryService",
];

async fn start() -> (Channel, Trigger, JoinSet<()>) {
    let (address, trigger, tasks) = listening().await;
    (Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap(), trigger, tasks)
}

async fn listening() -> (SocketAddr, Trigger, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (trigger, shutdown) = shutdown();
    let context = StreamContext {
        source: Arc::new(Nothing(watch::Sender::new(None))),
        proxies: Proxies::default(),
        metrics: Metrics::new(),
        limits: Limits { max_names: 10 },
        max_request_bytes: 4096,
        first_syncs: FirstSyncs::new(),
        drain: Duration::from_secs(5),
        shutdown: shutdown.clone(),
    };
    let settings = Settings {
        max_streams: 10,
        preface_timeout: Duration::from_secs(10),
        first_request_timeout: Duration::from_secs(10),
        max_age: None,
        admin: None,
        keepalive_interval: Duration::from_secs(30),
        keepalive_timeout: Duration::from_secs(10),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { serve(listener, context, &settings, shutdown).await.unwrap() });
    (address, trigger, tasks)
}

#[tokio::test]
async fn health_is_serving_and_ends_with_the_server() {
    let (channel, trigger, mut tasks) = start().await;
    let request = HealthCheckRequest { service: String::new() };
    let mut watched = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    let first = watched.next().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    trigger.begin();
    let second = watched.next().await.unwrap().unwrap();
    assert_eq!(second.status(), ServingStatus::NotServing);
    drop(watched);
    tokio::time::timeout(Duration::from_secs(30), tasks.join_next()).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn each_service_that_is_served_has_a_health_of_its_own() {
    let (channel, _trigger, _tasks) = start().await;
    let mut client = HealthClient::new(channel);
    for service in SERVED {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = client.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let request = HealthCheckRequest { service: "envoy.service.route.v3.VirtualHostDiscoveryService".into() };
    assert_eq!(client.check(request).await.unwrap_err().code(), tonic::Code::NotFound);
}

/// What an HTTP/2 client is answered that asks for ADS in this way: status and headers.
async fn asked(method: &str, headers: &[(&str, &str)]) -> Response<()> {
    let (listener, _trigger, _tasks) = listening().await;
    let stream = TcpStream::connect(listener).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let uri = "http://pilot/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    answer.map(drop)
}

#[tokio::test]
async fn what_is_not_grpc_is_refused_as_http_has_it() {
    assert_eq!(asked("GET", &[]).await.status(), 405);
    assert_eq!(asked("POST", &[]).await.status(), 415);
    assert_eq!(asked("POST", &[("content-type", "text/html")]).await.status(), 415);
    assert_eq!(asked("POST", &[("content-type", "application/grpc+proto")]).await.status(), 200);
}

#[tokio::test]
async fn an_encoding_that_is_not_known_is_refused_and_the_known_one_is_named() {
    let answer = asked("POST", &[("content-type", "application/grpc"), ("grpc-encoding", "gzip")]).await;
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((header("grpc-status"), header("grpc-accept-encoding")), ("12".into(), "identity".into()));
    assert!(header("grpc-message").contains("gzip"), "{}", header("grpc-message"));
    let answer = asked("POST", &[("content-type", "application/grpc"), ("grpc-encoding", "identity")]).await;
    assert!(!answer.headers().contains_key("grpc-status"), "{:?}", answer.headers());
}

#[tokio::test]
async fn reflection_lists_what_is_served_and_describes_envoys_messages() {
    let (channel, _trigger, _tasks) = start().await;
    let ask = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let requests = futures_util::stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("envoy.config.cluster.v3.Cluster".into())),
    ]);
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    let mut next = async || answers.next().await.unwrap().unwrap().message_response.unwrap();

    let MessageResponse::ListServicesResponse(list) = next().await else { panic!("no list of services") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    let beside = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];
    let expected: BTreeSet<&str> = SERVED.into_iter().chain(beside).collect();
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), expected);
    let MessageResponse::FileDescriptorResponse(files) = next().await else { panic!("no file descriptor") };
    let file = prost_reflect::prost_types::FileDescriptorProto::decode(&*files.file_descriptor_proto[0]);
    assert_eq!(file.unwrap().name(), "envoy/config/cluster/v3/cluster.proto");
}
