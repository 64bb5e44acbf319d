//! The services beside discovery that operators' tools expect of a gRPC server: health and reflection.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use pilot::metrics::Metrics;
use pilot::proxies::Proxies;
use pilot::proxy::Scope;
use pilot::resources::ResourceSet;
use pilot::server::{Settings, serve};
use pilot::shutdown::{Trigger, shutdown};
use pilot::world::TooManyScopes;
use pilot::xds::Limits;
use pilot::xds::stream::{Context, ResourceSource, Resources};
use prost::Message;
use tokio::net::TcpListener;
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
struct Nothing(watch::Sender<Option<Arc<ResourceSet>>>);

impl ResourceSource for Nothing {
    fn subscribe(&self, _scope: &Scope) -> Result<Resources, TooManyScopes> {
        Ok(self.0.subscribe())
    }
}

async fn start() -> (Channel, Trigger, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (trigger, shutdown) = shutdown();
    let context = Context {
        source: Arc::new(Nothing(watch::Sender::new(None))),
        proxies: Proxies::default(),
        metrics: Metrics::new(),
        limits: Limits { max_names: 10 },
        max_request_bytes: 4096,
        max_age: None,
        drain: Duration::from_secs(5),
        shutdown: shutdown.clone(),
    };
    let settings = Settings {
        max_streams: 10,
        preface_timeout: Duration::from_secs(10),
        admin: None,
        keepalive_interval: Duration::from_secs(30),
        keepalive_timeout: Duration::from_secs(10),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { serve(listener, context, &settings, shutdown).await.unwrap() });
    (Channel::from_shared(url).unwrap().connect().await.unwrap(), trigger, tasks)
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
async fn reflection_lists_the_discovery_services_and_describes_envoys_messages() {
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
    for service in [
        "envoy.service.discovery.v3.AggregatedDiscoveryService",
        "envoy.service.cluster.v3.ClusterDiscoveryService",
        "envoy.service.endpoint.v3.EndpointDiscoveryService",
        "envoy.service.listener.v3.ListenerDiscoveryService",
        "envoy.service.route.v3.RouteDiscoveryService",
        "grpc.health.v1.Health",
    ] {
        assert!(names.contains(&service), "{service} is not in {names:?}");
    }
    let MessageResponse::FileDescriptorResponse(files) = next().await else { panic!("no file descriptor") };
    let file = prost_reflect::prost_types::FileDescriptorProto::decode(&*files.file_descriptor_proto[0]);
    assert_eq!(file.unwrap().name(), "envoy/config/cluster/v3/cluster.proto");
}
