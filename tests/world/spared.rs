//! New proxies are spared what others refused, of a mesh that goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use pilot::metrics::Metrics;
use pilot::proxies::Proxies;
use pilot::resources::{ResourceType, ResourceType::Cluster, ResourceType::Endpoint};
use pilot::shutdown::{Trigger, shutdown};
use pilot::world::World;
use pilot::xds::stream::{FirstSyncs, Peer, StreamContext, serve};
use pilot::xds::{Delta, Limits};
use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, Resource};
use pilot_envoy_api::google::rpc;
use pilot_registry_testkit::{service, snapshot};
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;

use super::{Fixture, a, b, router, start, until};

const A: &str = "outbound|80||a.local";
const B: &str = "outbound|80||b.local";

/// A delta client that asks for all clusters, and for these endpoints.
struct Member {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: stream::BoxStream<'static, Result<DeltaDiscoveryResponse, Status>>,
    /// The version of each of the endpoints.
    has: BTreeMap<String, String>,
}

fn request(kind: ResourceType, names: &[&str]) -> DeltaDiscoveryRequest {
    let node = Node { id: "envoy".to_owned(), user_agent_name: "envoy".to_owned(), ..Default::default() };
    DeltaDiscoveryRequest {
        node: Some(node),
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

impl Member {
    fn join(context: &StreamContext, address: &str) -> Self {
        let (requests, mut inbound) = mpsc::channel(64);
        let inbound = stream::poll_fn(move |context| inbound.poll_recv(context).map(|it| it.map(Ok)));
        let peer = Peer::from(Some(format!("{address}:7").parse().unwrap()));
        let responses = serve::<Delta, _>(context, inbound, None, peer).boxed();
        requests.try_send(request(Cluster, &[])).unwrap();
        requests.try_send(request(Endpoint, &[A, B])).unwrap();
        Self { requests, responses, has: BTreeMap::new() }
    }

    /// Answers until nothing more comes. Refuses what holds `bad`, and names nobody.
    async fn judge(&mut self, bad: &str) {
        while let Ok(response) = timeout(Duration::from_secs(1), self.responses.next()).await {
            let response = response.unwrap().unwrap();
            let held = response.resources.iter().map(|bytes| Resource::decode(bytes.clone()).unwrap());
            let held: Vec<(String, String)> = held.map(|it| (it.name, it.version)).collect();
            let is_bad = held.iter().any(|(_, version)| version == bad);
            if !is_bad && response.type_url == Endpoint.type_url() {
                self.has.extend(held);
            }
            let error = rpc::Status { message: "malformed IP address".to_owned(), ..Default::default() };
            let answer = DeltaDiscoveryRequest {
                type_url: response.type_url,
                response_nonce: response.nonce,
                error_detail: is_bad.then_some(error),
                ..Default::default()
            };
            self.requests.send(answer).await.unwrap();
        }
    }
}

fn context(world: &World) -> (StreamContext, Trigger) {
    let (running, shutdown) = shutdown();
    let context = StreamContext {
        source: Arc::new(world.clone()),
        proxies: Proxies::default(),
        metrics: Metrics::new(),
        limits: Limits { max_names: 100 },
        max_request_bytes: 4 << 20,
        first_syncs: FirstSyncs::new(),
        drain: Duration::ZERO,
        shutdown,
    };
    (context, running)
}

#[tokio::test(start_paused = true)]
async fn a_new_proxy_gets_the_endpoints_from_before_a_refusal_and_all_that_changes_else() {
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    let mut views = world.subscribe(&router()).unwrap();
    scripts[0].publish(snapshot([a()])).await;
    let version =
        |view: &pilot::resources::View, name: &str| view.of(Endpoint).get(name).unwrap().version().to_owned();
    let first = version(&*until(&mut views, |_| true).await, A);
    let (context, _running) = context(&world);
    let mut members = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|at| Member::join(&context, at));
    for member in &mut members {
        member.judge("nothing").await;
    }
    let spoilt = service("a.local").http(80).endpoint("10.0.0.9", 8080).build();
    scripts[0].publish(snapshot([Arc::clone(&spoilt), b()])).await;
    let view = until(&mut views, |view| view.of(Endpoint).get(B).is_some()).await;
    let bad = version(&view, A);
    for member in &mut members {
        member.judge(&bad).await;
    }
    let mut new = Member::join(&context, "198.51.100.1");
    new.judge(&bad).await;
    assert_eq!((new.has[A].as_str(), new.has[B].as_str()), (first.as_str(), version(&view, B).as_str()));
    // Others change on, and what was refused is offered when it changes.
    let b2 = service("b.local").http(80).endpoint("10.0.0.3", 8080).build();
    scripts[0].publish(snapshot([spoilt, Arc::clone(&b2)])).await;
    let view = until(&mut views, |it| version(it, B) != version(&view, B)).await;
    new.judge(&bad).await;
    assert_eq!((new.has[A].as_str(), new.has[B].as_str()), (first.as_str(), version(&view, B).as_str()));
    let mended = service("a.local").http(80).endpoint("10.0.0.7", 8080).build();
    scripts[0].publish(snapshot([mended, b2])).await;
    let view = until(&mut views, |it| version(it, A) != bad).await;
    new.judge(&bad).await;
    assert_eq!(new.has[A], version(&view, A));
}
