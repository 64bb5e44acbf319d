//! What the log and the list of proxies tell of streams: who shares a node id, which names do not exist, how
//! streams end.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};
use pilot::metrics::Metrics;
use pilot::proxies::{Proxies, SyncState};
use pilot::resources::ResourceType::{Cluster, Endpoint, Listener, Route};
use pilot::shutdown::{Trigger, shutdown};
use pilot::xds::stream::{FirstSyncs, Peer, StreamContext, serve};
use pilot::xds::{Delta, Sotw};
use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::envoy::config::core::v3::node::UserAgentVersionType;
use pilot_envoy_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use tokio::sync::watch;
use tonic::Status;

use crate::driver::{LIMITS, delta_request};
use crate::reports::{Client, Written, answer};
use crate::served::{Server, Source, USUAL, first};
use crate::things::two_services;

/// What streams without a socket share.
fn context() -> (StreamContext, Trigger) {
    let (trigger, shutdown) = shutdown();
    let context = StreamContext {
        source: Arc::new(Source(watch::Sender::new(Some(two_services().publish())))),
        proxies: Proxies::default(),
        metrics: Metrics::new(),
        limits: LIMITS,
        max_request_bytes: 4 << 20,
        first_syncs: FirstSyncs::new(),
        drain: std::time::Duration::ZERO,
        shutdown,
    };
    (context, trigger)
}

type Responses = BoxStream<'static, Result<DeltaDiscoveryResponse, Status>>;

/// Opens a stream of a client that asks for all clusters there, and stays.
fn open(context: &StreamContext, node: Node, peer: &str) -> Responses {
    let request = DeltaDiscoveryRequest { node: Some(node), ..delta_request(Cluster, &[], &[]) };
    let requests = stream::iter([Ok(request)]).chain(stream::pending());
    let peer: SocketAddr = peer.parse().unwrap();
    let mut responses = serve::<Delta, _>(context, requests.boxed(), None, Some(peer).into()).boxed();
    responses.next().now_or_never().unwrap().unwrap().unwrap();
    responses
}

fn node(id: &str, version: &str) -> Node {
    let version = Some(UserAgentVersionType::UserAgentVersion(version.to_owned()));
    let name = "envoy".to_owned();
    Node { id: id.to_owned(), user_agent_name: name, user_agent_version_type: version, ..Node::default() }
}

#[tokio::test]
async fn two_proxies_with_one_node_id_are_told_once_and_several_connections_of_one_are_not() {
    let log = Written::default();
    let _guard = log.follow();
    let (context, _trigger) = context();
    let _one = ["192.0.2.1:1001", "192.0.2.1:1002", "[::ffff:192.0.2.1]:1003"]
        .map(|peer| open(&context, node("same", "1.40.0"), peer));
    let _machine = ["127.0.0.1:1", "[::1]:2"].map(|peer| open(&context, node("laptop", "1.40.0"), peer));
    assert_eq!(log.lines("2 proxies with one node id"), [""; 0]);
    let _others =
        ["192.0.2.2:1001", "192.0.2.3:1001"].map(|peer| open(&context, node("same", "1.40.0"), peer));
    let lines = log.lines("2 proxies with one node id");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    for part in [r#"proxy="same""#, "peer=192.0.2.2", "other=192.0.2.1", "pilot bootstrap --node-id"] {
        assert!(lines[0].contains(part), "{part}: {lines:#?}");
    }
    let rows = context.proxies.list().into_iter().filter(|proxy| proxy.id == "same");
    let rows: Vec<_> =
        rows.map(|proxy| (proxy.connections, proxy.streams.len(), proxy.peers.len())).collect();
    assert_eq!(rows, [(3, 3, 3), (1, 1, 3), (1, 1, 3)]);
}

#[tokio::test]
async fn an_envoy_older_than_what_is_tested_is_told_once() {
    let log = Written::default();
    let _guard = log.follow();
    let (context, _trigger) = context();
    let _streams = [("old", "1.20.0"), ("old", "1.20.0"), ("good", "1.36.0"), ("newer", "2.0.0")]
        .map(|(id, version)| open(&context, node(id, version), "192.0.2.1:1"));
    let lines = log.lines("older than");
    assert!(lines.len() == 1 && lines[0].contains("WARN") && lines[0].contains("envoy 1.20.0"), "{lines:#?}");
}

#[tokio::test]
async fn an_envoy_without_ads_and_xds_cluster_is_told_which_cluster_it_needs() {
    let log = Written::default();
    let _guard = log.follow();
    let (context, _trigger) = context();
    let request = |node| DiscoveryRequest { node: Some(node), ..DiscoveryRequest::default() };
    let streams = [Cluster, Listener].map(|kind| {
        let requests = stream::iter([Ok(request(node("plain", "1.40.0")).into())]).chain(stream::pending());
        let peer = "192.0.2.1:1".parse().unwrap();
        let mut responses =
            serve::<Sotw, _>(&context, requests.boxed(), Some(kind), Some(peer).into()).boxed();
        _ = responses.next().now_or_never();
        responses
    });
    let lines = log.lines("does not use ADS");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(r#"cluster="pilot""#) && lines[0].contains("node.metadata.XDS_CLUSTER"));
    assert!(log.lines("stream opened")[1].contains("kind=lds"), "{:#?}", log.lines("stream opened"));
    drop(streams);
}

#[tokio::test]
async fn names_that_do_not_exist_are_listed_until_they_do_or_are_not_asked_for() {
    let mut client = Client::new(two_services());
    let clusters = client.send(delta_request(Cluster, &[], &[]));
    client.ack(clusters);
    let names = |client: &Client| -> Vec<String> {
        client.report(Endpoint).not_found.into_iter().map(|missing| missing.name).collect()
    };
    let endpoints = client.send(delta_request(Endpoint, &["a", "later", "never"], &[]));
    assert_eq!(client.report(Endpoint).state, SyncState::Stale, "the answer is on its way");
    client.ack(endpoints);
    assert_eq!(
        (client.report(Endpoint).state, names(&client)),
        (SyncState::NotFound, vec!["later".into(), "never".into()])
    );
    client.things.endpoints("later", "1");
    let later = client.publish();
    client.ack(later);
    assert_eq!(names(&client), ["never"]);
    client.things.remove(Endpoint, "later");
    let gone = client.publish();
    client.ack(gone);
    assert_eq!(names(&client), ["never"], "the client will let go of what named it");
    let dropped = client.send(delta_request(Endpoint, &[], &["later", "never"]));
    client.ack(dropped);
    assert_eq!((client.report(Endpoint).state, names(&client)), (SyncState::Acked, Vec::new()));
}

/// An Envoy that comes back while a listener drains whose port is gone asks for its routes.
#[tokio::test]
async fn routes_of_a_listener_that_drains_are_not_called_missing() {
    let mut client = Client::new(two_services());
    let routes = client.send(delta_request(Route, &["80~v", "typed by hand"], &[]));
    client.ack(routes);
    let names: Vec<String> = client.report(Route).not_found.into_iter().map(|missing| missing.name).collect();
    assert_eq!((client.report(Route).state, names), (SyncState::NotFound, vec!["typed by hand".into()]));
    let dropped = client.send(delta_request(Route, &[], &["typed by hand"]));
    client.ack(dropped);
    assert_eq!(client.report(Route).state, SyncState::Acked);
}

/// A gRPC client asks for its listener by name, whatever else it has: it is without one until the name is back.
#[tokio::test]
async fn a_listener_that_is_gone_is_listed_until_it_is_back() {
    let mut things = two_services();
    things.listener("web.local:80", "1", &[]);
    let mut client = Client::new(things);
    let names = |client: &Client| -> Vec<String> {
        client.report(Listener).not_found.into_iter().map(|missing| missing.name).collect()
    };
    let listeners = client.send(delta_request(Listener, &["web.local:80"], &[]));
    client.ack(listeners);
    assert_eq!(names(&client), [""; 0]);
    client.things.remove(Listener, "web.local:80");
    let gone = client.publish();
    client.ack(gone);
    assert_eq!(
        (client.report(Listener).state, names(&client)),
        (SyncState::NotFound, vec!["web.local:80".into()])
    );
    client.things.listener("web.local:80", "2", &[]);
    let back = client.publish();
    client.ack(back);
    assert_eq!((client.report(Listener).state, names(&client)), (SyncState::Acked, Vec::new()));
}

#[tokio::test]
async fn a_listener_that_does_not_exist_is_told_once_with_its_name() {
    let log = Written::default();
    let _guard = log.follow();
    let server = Server::start(USUAL).await;
    for _ in 0..2 {
        let mut stream = server.ads().await;
        stream.send(first("shop", Listener, &["nowhere.local:80"]));
        assert_eq!(stream.next().await.unwrap().removed_resources, ["nowhere.local:80"]);
    }
    let lines = log.lines("no listener has the name");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(r#"proxy="shop" name="nowhere.local:80""#), "{lines:#?}");
}

#[tokio::test]
async fn a_refusal_that_is_over_is_told() {
    let log = Written::default();
    let _guard = log.follow();
    let mut client = Client::new(two_services());
    let clusters = client.send(delta_request(Cluster, &[], &[]));
    client.send(answer(&clusters[0], Some("Error adding/updating cluster(s) a: no good")));
    assert_eq!(log.lines("accepts its configuration again"), [""; 0]);
    client.things.cluster("a", "2");
    let mended = client.publish();
    client.ack(mended);
    let lines = log.lines("accepts its configuration again");
    assert!(lines.len() == 1 && lines[0].contains("INFO") && lines[0].contains("kind=cds"), "{lines:#?}");
}

#[tokio::test]
async fn of_several_that_are_refused_the_one_that_is_accepted_again_is_told() {
    let log = Written::default();
    let _guard = log.follow();
    let mut client = Client::new(two_services());
    let clusters = client.send(delta_request(Cluster, &[], &[]));
    client.send(answer(&clusters[0], Some("Error adding/updating cluster(s) a: no good, b: bad")));
    assert_eq!(log.lines("accepts"), [""; 0]);
    for (name, words) in [
        ("a", r#"proxy accepts again some of what it refused proxy="envoy" kind=cds accepted="a" refused=1"#),
        ("b", r#"proxy accepts its configuration again proxy="envoy" kind=cds"#),
    ] {
        let before = log.lines("accepts").len();
        client.things.cluster(name, "2");
        let mended = client.publish();
        client.ack(mended);
        let lines = log.lines("accepts").split_off(before);
        assert!(lines.len() == 1 && lines[0].contains(words), "{lines:#?}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_is_told_with_who_it_was_and_why() {
    let log = Written::default();
    let _guard = log.follow();
    let (context, trigger) = context();
    drop(open(&context, node("cut", "1.40.0"), "192.0.2.1:1"));
    let lines = log.lines("stream closed");
    for part in [
        "INFO",
        r#"proxy="cut""#,
        "peer=192.0.2.1:1",
        r#"variant="delta""#,
        "open_s=0",
        "its connection ended",
    ] {
        assert!(lines[0].contains(part), "{part}: {lines:#?}");
    }
    let request =
        DeltaDiscoveryRequest { node: Some(node("leaves", "1.40.0")), ..delta_request(Cluster, &[], &[]) };
    let left = serve::<Delta, _>(&context, stream::iter([Ok(request)]), None, Peer::default());
    assert_eq!(left.count().await, 1);
    assert!(log.lines("stream closed")[1].contains(r#"why="the client left""#));
    let mut last = open(&context, node("stays", "1.40.0"), "192.0.2.1:1");
    trigger.begin();
    assert!(last.next().await.unwrap().is_err());
    let closed = log.lines("stream closed");
    assert!(closed.len() == 3 && closed[2].contains(r#"why="pilot is shutting down""#), "{closed:#?}");
}
