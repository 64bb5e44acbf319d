//! A stream's scope is another one when its workload is, or when its namespace comes to matter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use pilot::metrics::Metrics;
use pilot::proxies::Proxies;
use pilot::proxy::{Proxy, Transport};
use pilot::resources::ResourceType::{Cluster, Endpoint, Route};
use pilot::resources::{ResourceType, View};
use pilot::shutdown::{Trigger, shutdown};
use pilot::world::World;
use pilot::xds::stream::{FirstSyncs, Peer, StreamContext, serve};
use pilot::xds::{Delta, Limits};
use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, Resource};
use pilot_registry_testkit::{service, snapshot};
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;

use super::{DEADLINE, Fixture, Sets, router, start_near, until};

const KINDS: [ResourceType; 3] = [Cluster, Endpoint, Route];
const POD: &str = "10.9.0.7";

/// A delta client that accepts everything.
struct Client {
    proxy: Proxy,
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: stream::BoxStream<'static, Result<DeltaDiscoveryResponse, Status>>,
    /// The version of each resource, by type and name.
    told: BTreeMap<(String, String), String>,
    _running: Trigger,
}

impl Client {
    /// It asks for all that there is in the set, and for nothing that comes later, clusters excepted.
    fn open(world: &World, set: &View) -> Self {
        let node = Node { id: format!("router~{POD}~gateway-0~mesh"), ..Default::default() };
        let (requests, mut inbound) = mpsc::channel(16);
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
        let inbound = stream::poll_fn(move |context| inbound.poll_recv(context).map(|it| it.map(Ok)));
        for kind in KINDS {
            let names = set.of(kind).iter().map(|resource| resource.name().to_string());
            let names = if kind == Cluster { Vec::new() } else { names.collect() };
            let request = DeltaDiscoveryRequest {
                node: Some(node.clone()),
                type_url: kind.type_url().to_owned(),
                resource_names_subscribe: names,
                ..Default::default()
            };
            requests.try_send(request).unwrap();
        }
        let responses = serve::<Delta, _>(&context, inbound, None, Peer::default()).boxed();
        let proxy = Proxy::from_node(Some(&node)).unwrap();
        Self { proxy, requests, responses, told: BTreeMap::new(), _running: running }
    }

    fn has(&self, set: &View) -> bool {
        let has = |kind: ResourceType, name: &str, version: &str| {
            let key = (kind.type_url().to_owned(), name.to_owned());
            self.told.get(&key).is_some_and(|told| told == version)
        };
        KINDS
            .into_iter()
            .all(|kind| set.of(kind).iter().all(|resource| has(kind, resource.name(), resource.version())))
    }

    async fn take_next(&mut self) {
        let response = timeout(DEADLINE, self.responses.next()).await.expect("an answer in time");
        let response = response.unwrap().unwrap();
        for resource in &response.resources {
            let resource = Resource::decode(resource.clone()).unwrap();
            self.told.insert((response.type_url.clone(), resource.name), resource.version);
        }
        let DeltaDiscoveryResponse { type_url, nonce: response_nonce, .. } = response;
        let ack = DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() };
        self.requests.try_send(ack).unwrap();
    }

    /// Waits until it is of that scope, and then until it has been told all of what is new there.
    async fn comes_to(&mut self, expected: &str, world: &World, changes: &mut Sets) {
        let scope = || world.scope(&self.proxy, Transport::Ads);
        let moved = async {
            while scope().to_string() != expected {
                changes.changed().await;
            }
        };
        timeout(DEADLINE, moved).await.expect(expected);
        let set = world.view(&scope()).await.unwrap();
        assert!(!self.has(&set), "{expected} brings nothing new");
        while !self.has(&set) {
            self.take_next().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_told_what_its_workload_and_namespace_make_of_it() {
    let Fixture { world, scripts, _tasks } = start_near("east");
    let placed = service("placed.local").http(80).endpoint("10.0.0.1", 80).region("eu").zone("a");
    let placed = placed.endpoint("10.0.0.2", 80).region("eu").zone("b").build();
    let web = service("web.shop.mesh").namespace("shop").local_name("web").http(80).endpoint("10.0.0.3", 80);
    let web = web.build();
    let publish = |namespace: &str, zone: &str| {
        let gateway = service("gateway.mesh").namespace(namespace).http(80).endpoint(POD, 8080);
        let gateway = gateway.region("eu").zone(zone).build();
        scripts[0].publish(snapshot([Arc::clone(&placed), Arc::clone(&web), gateway]))
    };
    let mut changes = world.subscribe_at(&router(), POD.parse().ok()).unwrap();
    publish("lab", "a").await;
    let first = until(&mut changes, |_| true).await;
    let mut client = Client::open(&world, &first);
    client.comes_to("router near eu/a", &world, &mut changes).await;
    publish("lab", "b").await;
    client.comes_to("router near eu/b", &world, &mut changes).await;
    publish("shop", "b").await;
    client.comes_to("router in shop near eu/b", &world, &mut changes).await;
    publish("shop", "c").await;
    client.comes_to("router in shop near eu/c", &world, &mut changes).await;
}
