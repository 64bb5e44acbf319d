//! Streams of a client that comes to be of another scope, whenever that happens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilot::proxy::{Proxy, Scope, Transport};
use pilot::resources::ResourceType::{Cluster, Listener, Route, VirtualHost};
use pilot::resources::View;
use pilot::world::{TooManyScopes, Views};
use pilot::xds::Delta;
use pilot::xds::stream::ResourceSource;
use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use tokio::sync::watch;

use crate::driver::{Dialect, delta_request};
use crate::reports::{Client, answer};
use crate::things::{Things, two_services};

const NAMESPACES: [&str; 3] = ["bank", "lab", "shop"];

/// All clients are in one namespace. In each, the cluster `a` has a content of its own.
struct Moving {
    sets: [watch::Sender<Option<Arc<View>>>; 3],
    now: Mutex<&'static str>,
    /// Where clients are as soon as somebody has asked where they are.
    meanwhile: Mutex<Option<&'static str>>,
}

impl Moving {
    fn to(&self, namespace: &'static str) {
        *self.now.lock().unwrap() = namespace;
        self.sets.iter().for_each(|set| set.send_modify(|_| ()));
    }

    fn then(&self, namespace: &'static str) {
        *self.meanwhile.lock().unwrap() = Some(namespace);
    }
}

impl ResourceSource for Moving {
    fn subscribe(&self, scope: &Scope) -> Result<Views, TooManyScopes> {
        let of = |namespace: &&str| scope.namespace.as_ref().is_some_and(|it| it.as_str() == *namespace);
        Ok(Views::of(self.sets[NAMESPACES.iter().position(of).unwrap()].subscribe()))
    }

    fn scope(&self, proxy: &Proxy, transport: Transport) -> Scope {
        let namespace = self.now.lock().unwrap().to_owned().try_into().ok();
        let meanwhile = self.meanwhile.lock().unwrap().take();
        meanwhile.into_iter().for_each(|namespace| self.to(namespace));
        Scope { namespace, ..proxy.scope(transport) }
    }
}

fn things(content: &str) -> Things {
    let mut things = two_services();
    things.cluster("a", content);
    things
}

/// A client in the bank that has not asked yet. What it has to be changed is the shop's.
fn client() -> Client<Moving> {
    let mut shop = things("shop");
    let sets = [things("bank").publish(), things("lab").publish(), shop.publish()];
    let sets = sets.map(|set| watch::Sender::new(Some(set)));
    Client::of(Moving { sets, now: Mutex::new("bank"), meanwhile: Mutex::default() }, shop)
}

/// What the client has of `a` at last, when it has accepted these and all that come then.
fn told(client: &mut Client<Moving>, mut responses: Vec<DeltaDiscoveryResponse>) -> Option<String> {
    let mut versions = BTreeMap::new();
    while !responses.is_empty() {
        let response = responses.remove(0);
        versions.extend(Delta::content(&response).resources);
        responses.extend(client.send(answer(&response, None)));
    }
    versions.remove("a")
}

fn open(client: &mut Client<Moving>) -> Option<String> {
    let clusters = client.send(delta_request(Cluster, &[], &[]));
    told(client, clusters)
}

fn next(client: &mut Client<Moving>) -> Option<String> {
    let received = client.received();
    told(client, received)
}

#[tokio::test]
async fn a_client_that_moves_is_told_what_differs() {
    let mut client = client();
    assert_eq!(open(&mut client).as_deref(), Some("bank"));
    client.source.to("lab");
    assert_eq!(next(&mut client).as_deref(), Some("lab"));
    client.source.to("lab");
    assert_eq!(next(&mut client), None);
}

#[tokio::test]
async fn a_move_while_a_stream_opens_is_followed() {
    let mut client = client();
    client.source.then("lab");
    assert_eq!(open(&mut client).as_deref(), Some("lab"));
}

#[tokio::test]
async fn a_move_while_another_is_followed_is_followed() {
    let mut client = client();
    open(&mut client);
    client.source.to("lab");
    client.source.then("shop");
    assert_eq!(next(&mut client).as_deref(), Some("shop"));
}

#[tokio::test]
async fn a_move_while_a_change_is_taken_is_followed() {
    let mut client = client();
    open(&mut client);
    client.source.to("bank");
    client.source.then("lab");
    assert_eq!(next(&mut client).as_deref(), Some("lab"));
}

/// What it is told then may have been known for long.
#[tokio::test(start_paused = true)]
async fn a_move_is_not_measured_as_the_change_of_its_resources() {
    let mut client = client();
    open(&mut client);
    tokio::time::advance(Duration::from_secs(3 * 60 * 60)).await;
    client.source.to("shop");
    assert_eq!(next(&mut client).as_deref(), Some("shop"));
    assert_eq!(client.measured(Cluster), "0");
    client.things.cluster("a", "shop again");
    let set = client.things.publish();
    client.source.sets[2].send_replace(Some(set));
    assert_eq!(next(&mut client).as_deref(), Some("shop again"));
    assert_eq!(client.measured(Cluster), "1");
}

/// Routes in parts for those who can take them, and as a whole for others.
struct ByKind {
    parts: watch::Sender<Option<Arc<View>>>,
    whole: watch::Sender<Option<Arc<View>>>,
}

impl ResourceSource for ByKind {
    fn subscribe(&self, scope: &Scope) -> Result<Views, TooManyScopes> {
        let views = if scope.client.has_vhds() { &self.parts } else { &self.whole };
        Ok(Views::of(views.subscribe()))
    }
}

/// An Envoy says so where it cannot take virtual hosts by themselves.
#[tokio::test]
async fn p25_a_client_that_refuses_to_take_routes_in_parts_gets_them_as_a_whole() {
    let things = || {
        let mut things = Things::default();
        things.dns_cluster("a", "1");
        things
    };
    let (mut parts, mut whole) = (things(), things());
    parts.listener("l", "1", &["r~v"]);
    parts.parts("r~v", &["x>a"]);
    whole.listener("l", "2", &["r"]);
    whole.rope("r", &["x>a"]);
    let sets = [&mut parts, &mut whole].map(|things| watch::Sender::new(Some(things.publish())));
    let [parts, whole] = sets;
    let mut client = Client::of(ByKind { parts, whole }, things());
    for kind in [Cluster, Listener] {
        let responses = client.send(delta_request(kind, &[], &[]));
        client.ack(responses);
    }
    let responses = client.send(delta_request(Route, &["r~v"], &[]));
    let kinds: Vec<&str> = responses.iter().map(|it| it.type_url.rsplit('.').next().unwrap()).collect();
    assert_eq!(kinds, ["RouteConfiguration", "VirtualHost"]);
    let words = "vhds: only 'DELTA_GRPC' is supported as an api_type.";
    let responses = client.send(answer(&responses[0], Some(words)));
    let listeners = responses.iter().map(|it| Delta::content(it).resources).collect::<Vec<_>>();
    assert_eq!(listeners, [[("l".to_owned(), "2".to_owned())]]);
    client.ack(responses);
    let responses = client.send(delta_request(Route, &["r"], &[]));
    assert_eq!(Delta::content(&responses[0]).resources, [("r".to_owned(), "x>a".to_owned())]);
    // It asked for virtual hosts before it refused the routes.
    client.send(delta_request(VirtualHost, &[], &[]));
    assert_eq!(client.reported(), ["cds", "lds", "rds"], "it waits for nothing");
}
