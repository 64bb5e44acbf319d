//! Who is let in, and for how long: silent streams, many streams of one client, old connections, first answers in turn.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use pilot::resources::ResourceType::{Cluster, Endpoint};
use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use pilot_envoy_api::envoy::service::endpoint::v3::endpoint_discovery_service_client::EndpointDiscoveryServiceClient;
use prost::Message;
use tokio::time::{Instant, timeout};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::driver::delta_request;
use crate::served::{Ads, LONG, Options, Server, USUAL, first, unbounded};

const SILENT: &str = "pilot_xds_silent_streams";
const PLACES: &str = "pilot_xds_places_taken";

#[tokio::test]
async fn p19a_a_stream_that_does_not_say_who_it_is_is_closed_and_its_place_is_free() {
    let first_request = Duration::from_secs(1);
    let server = Server::start(Options { max_streams: 1, first_request, ..USUAL }).await;
    let begun = Instant::now();
    let mut silent = server.ads().await;
    assert_eq!(server.metric(PLACES), 1.0);
    server.until("it counts as silent", |server| server.metric(SILENT) == 1.0).await;
    let status = silent.end().await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(status.message().contains("no request came within 1."), "{status:?}");
    assert!(begun.elapsed() >= first_request, "it was given its time");
    server.until("its place is free", |server| server.metric(PLACES) == 0.0).await;
    assert_eq!(server.metric(SILENT), 0.0);
    server.working("one").await;
}

#[tokio::test]
async fn p19a_a_stream_that_has_said_who_it_is_may_be_silent() {
    let server = Server::start(Options { first_request: Duration::from_millis(300), ..USUAL }).await;
    let mut quiet = server.working("quiet").await;
    // It ends later than the other's time does.
    let mut silent = server.ads().await;
    assert_eq!(silent.end().await.code(), Code::DeadlineExceeded);
    quiet.send(delta_request(Endpoint, &["a"], &[]));
    assert_eq!(quiet.next().await.unwrap().resources.len(), 1);
}

/// Opens streams that say nothing, `each` of them on every connection. Gives how they end.
async fn silent_streams(server: &Server, connections: usize, each: usize) -> Vec<Code> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let channel = server.channel().await;
        for _ in 0..each {
            streams.push(Ads::open(channel.clone()).await);
        }
    }
    join_all(streams.iter_mut().map(async |stream| stream.end().await.code())).await
}

fn count(codes: &[Code], code: Code) -> usize {
    codes.iter().filter(|known| **known == code).count()
}

#[tokio::test]
async fn p19a_of_one_connection_and_of_one_address_few_streams_may_be_silent() {
    let server = Server::start(Options { first_request: Duration::from_secs(4), ..USUAL }).await;
    let ends = silent_streams(&server, 1, 20).await;
    assert_eq!((count(&ends, Code::ResourceExhausted), count(&ends, Code::DeadlineExceeded)), (4, 16));
    let ends = silent_streams(&server, 9, 8).await;
    assert_eq!((count(&ends, Code::ResourceExhausted), count(&ends, Code::DeadlineExceeded)), (8, 64));
}

/// An Envoy without ADS opens a stream for each cluster, all on one connection.
#[tokio::test]
async fn p19a_a_client_with_a_stream_for_each_of_1000_clusters_is_served() {
    let server = Server::start(Options { max_streams: 1000, ..USUAL }).await;
    let channel = server.channel().await;
    let open = async |number: usize| {
        let (requests, outgoing) = unbounded();
        let node = Some(Node { id: "envoy".to_owned(), ..Node::default() });
        let name = if number.is_multiple_of(2) { "a" } else { "b" };
        requests.send(DeltaDiscoveryRequest { node, ..delta_request(Endpoint, &[name], &[]) }).unwrap();
        let mut client = EndpointDiscoveryServiceClient::new(channel.clone());
        let mut responses = client.delta_endpoints(outgoing).await.unwrap().into_inner();
        let response = timeout(LONG, responses.message()).await.unwrap().unwrap().unwrap();
        assert_eq!(response.resources.len(), 1);
        (requests, responses)
    };
    let streams = join_all((0..1000).map(open)).await;
    assert_eq!(server.metric(PLACES), 1000.0);
    assert_eq!(server.proxies.list()[0].streams.len(), 1000);
    drop(streams);
    server.until("all places are free", |server| server.metric(PLACES) == 0.0).await;
}

/// A client that lost only its stream would open the next one on the same connection: on the same replica.
#[tokio::test]
async fn p22a_when_a_connection_is_old_the_client_comes_back_on_another_one() {
    let server = Server::start(Options { max_age: Some(Duration::from_secs(1)), ..USUAL }).await;
    let (channel, begun) = (server.channel().await, Instant::now());
    let (mut peers, mut ends) = (BTreeSet::new(), Vec::new());
    while peers.len() < 3 {
        assert!(begun.elapsed() < LONG, "it stays at {peers:?}: {ends:?}");
        let mut stream = Ads::open(channel.clone()).await;
        stream.send(first("old", Cluster, &[]));
        // The connection may be about to end.
        if stream.next().await.is_ok() {
            let mut listed = server.proxies.list().into_iter().flat_map(|proxy| proxy.streams);
            peers.extend(listed.next().and_then(|stream| stream.peer));
            ends.push(stream.end().await);
        }
    }
    for status in &ends {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains("maximum age"), "{status:?}");
    }
}

#[tokio::test]
async fn p22a_a_client_that_does_not_leave_an_old_connection_is_cut_off() {
    let (age, drain) = (Some(Duration::from_millis(200)), Duration::from_millis(200));
    let server = Server::start(Options { max_age: age, drain, ..USUAL }).await;
    let mut client = HealthClient::new(server.channel().await);
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let ended = timeout(LONG, async { while let Ok(Some(_)) = watch.message().await {} }).await;
    ended.expect("pilot never ends this stream by itself, and its connection does not stay");
}

/// Its first request names everything, and the version of everything.
#[tokio::test]
async fn p10_p19_a_client_with_as_many_names_as_are_allowed_can_come_back() {
    let server = Server::start(USUAL).await;
    let name = |number: usize| format!("outbound|8080||service-{number:05}.namespace.svc.cluster.local");
    let names: Vec<String> = (0..50_000).map(name).collect();
    let held = names.iter().map(|name| (name.clone(), "0123456789abcdef".to_owned()));
    let request = DeltaDiscoveryRequest {
        initial_resource_versions: held.collect(),
        resource_names_subscribe: names.clone(),
        ..first("large", Endpoint, &[])
    };
    assert!(request.encoded_len() > 4 << 20, "{}", request.encoded_len());
    let mut stream = server.ads().await;
    stream.send(request);
    assert_eq!(stream.next().await.unwrap().removed_resources.len(), names.len());
}

/// Names that do not exist are kept for the one stream that asks for them.
#[tokio::test]
async fn p19a_names_are_bounded_in_bytes_too_and_over_all_requests_of_a_stream() {
    let server = Server::start(USUAL).await;
    let mut stream = server.working("long names").await;
    for thousand in 0..2 {
        let names: Vec<String> = (0..1000).map(|n| format!("{thousand}-{n:04000}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        stream.send(delta_request(Endpoint, &names, &[]));
    }
    let status = stream.end().await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(
        status.message().contains("bytes together") && status.message().contains("7500000"),
        "{status:?}"
    );
    server.working("other").await;
}

#[tokio::test]
async fn first_answers_are_composed_in_turn_and_nobody_else_waits() {
    let server = Server::start(Options { turns: 1, ..USUAL }).await;
    let mut served = server.working("served").await;
    served.send(delta_request(Endpoint, &["a"], &[]));
    let response = served.next().await.unwrap();
    assert_eq!(response.resources.len(), 1);
    let ack = delta_request(Endpoint, &[], &[]);
    served.send(DeltaDiscoveryRequest { response_nonce: response.nonce, ..ack });

    let turn = server.first_syncs.turn(&server.metrics).await;
    let waiting = "pilot_xds_first_syncs_waiting";
    let mut early = server.ads().await;
    early.send(first("early", Cluster, &[]));
    server.until("it waits", |server| server.metric(waiting) == 1.0).await;
    let late = server.ads().await;
    late.send(first("late", Cluster, &[]));
    server.until("both wait", |server| server.metric(waiting) == 2.0).await;
    served.send(delta_request(Endpoint, &["b"], &[]));
    assert_eq!(served.next().await.unwrap().resources.len(), 1, "it had its turn");
    drop(late);
    server.until("one has left", |server| server.metric(waiting) == 1.0).await;
    drop(turn);
    assert_eq!(early.next().await.unwrap().resources.len(), 2);
    server.until("nobody waits", |server| server.metric(waiting) == 0.0).await;
}

/// It would have its turn on another replica by then.
#[tokio::test]
async fn p22a_a_stream_that_waits_for_its_turn_ends_with_its_connection() {
    let age = Some(Duration::from_secs(1));
    let server = Server::start(Options { turns: 1, max_age: age, drain: LONG, ..USUAL }).await;
    let turn = server.first_syncs.turn(&server.metrics).await;
    let mut waiting = server.ads().await;
    waiting.send(first("waiting", Cluster, &[]));
    let status = waiting.end().await;
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("maximum age"), "{status:?}");
    drop(turn);
}

/// Behind a NAT, or on loopback, one client is known of an address, and others say nothing.
#[tokio::test]
async fn p19a_silent_streams_beside_a_known_client_keep_nobody_out() {
    let first_request = Duration::from_secs(1);
    let server = Server::start(Options { max_streams: 30, first_request, ..USUAL }).await;
    let _known = server.working("known").await;
    let (one, other) = (server.channel().await, server.channel().await);
    let mut streams = Vec::new();
    for channel in [&one, &other].into_iter().flat_map(|channel| std::iter::repeat_n(channel, 14)) {
        streams.push(Ads::open(channel.clone()).await);
    }
    assert_eq!(server.metric(PLACES), 29.0);
    server.until("half of the places are free again", |server| server.metric(PLACES) == 16.0).await;
    assert_eq!(server.metric(SILENT), 15.0, "they have more time than of an address that is not known");
    server.working("another").await;
}

#[tokio::test]
async fn p19a_a_connection_has_few_places_beside_those_of_discovery() {
    let server = Server::start(USUAL).await;
    let channel = server.channel().await;
    let watch = async || {
        let mut client = HealthClient::new(channel.clone());
        client.watch(HealthCheckRequest { service: String::new() }).await
    };
    let mut watches = Vec::new();
    for _ in 0..16 {
        watches.push(watch().await.unwrap());
    }
    assert_eq!(watch().await.unwrap_err().code(), Code::ResourceExhausted);
    // Discovery has its own, and so have others.
    server.working("one").await;
    let mut elsewhere = HealthClient::new(server.channel().await);
    elsewhere.check(HealthCheckRequest { service: String::new() }).await.unwrap();
    drop(watches.pop());
    let again = async {
        while let Err(status) = watch().await {
            assert_eq!(status.code(), Code::ResourceExhausted);
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, again).await.expect("its place is free again");
}
