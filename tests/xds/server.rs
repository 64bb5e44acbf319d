//! The real server on real sockets: who may come, how much they may ask for, and how streams end.

use std::time::Duration;

use pilot::resources::ResourceType;
use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::envoy::service::cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient;
use pilot_envoy_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use pilot_envoy_api::google::protobuf::value::Kind;
use pilot_envoy_api::google::protobuf::{Struct, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::Code;
use tonic::transport::Channel;

use crate::driver::delta_request;
use crate::reports::Written;
use crate::served::{LONG, Options, Server, USUAL, first, unbounded};

#[tokio::test]
async fn p01_a_stream_without_a_node_is_closed_and_says_why() {
    let server = Server::start(USUAL).await;
    let mut stream = server.ads().await;
    stream.send(delta_request(ResourceType::Cluster, &[], &[]));
    let status = stream.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("node"), "{status:?}");
}

#[tokio::test]
async fn p01_a_node_without_an_id_is_named_by_where_it_comes_from() {
    let server = Server::start(USUAL).await;
    let mut stream = server.ads().await;
    let node = Some(Node { user_agent_name: "gRPC".to_owned(), ..Default::default() });
    stream.send(DeltaDiscoveryRequest { node, ..delta_request(ResourceType::Cluster, &[], &[]) });
    assert_eq!(stream.next().await.unwrap().type_url, ResourceType::Cluster.type_url());
    let ids: Vec<String> = server.proxies.list().into_iter().map(|proxy| proxy.id).collect();
    let [id] = ids.as_slice() else { panic!("{ids:?}") };
    assert!(id.parse::<std::net::SocketAddr>().is_ok_and(|peer| peer.ip().is_loopback()), "{id}");
}

#[tokio::test]
async fn p01_only_the_first_request_needs_the_node() {
    let server = Server::start(USUAL).await;
    let mut stream = server.working("one").await;
    stream.send(delta_request(ResourceType::Endpoint, &["a"], &[]));
    assert_eq!(stream.next().await.unwrap().type_url, ResourceType::Endpoint.type_url());
}

#[tokio::test]
async fn p01_streams_of_one_type_in_state_of_the_world_work_too() {
    let server = Server::start(USUAL).await;
    let (requests, outgoing) = unbounded();
    let node = Some(Node { id: "one".to_owned(), ..Default::default() });
    requests.send(DiscoveryRequest { node, ..Default::default() }).unwrap();
    let mut client = ClusterDiscoveryServiceClient::new(server.channel().await);
    let mut responses = client.stream_clusters(outgoing).await.unwrap().into_inner();
    let response = timeout(LONG, responses.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(response.resources.len(), 2);
    assert!(!response.version_info.is_empty());
}

#[tokio::test]
async fn p18_an_unknown_type_is_counted_and_named_and_the_stream_survives() {
    let log = Written::default();
    let _guard = log.follow();
    let server = Server::start(USUAL).await;
    let mut stream = server.working("one").await;
    let unknown = DeltaDiscoveryRequest {
        type_url: "type.googleapis.com/no.such.Type".to_owned(),
        ..delta_request(ResourceType::Cluster, &["x"], &[])
    };
    for count in 1..=2 {
        stream.send(unknown.clone());
        assert_eq!(stream.next().await.unwrap().removed_resources, ["x"]);
        assert_eq!(server.metric("pilot_xds_unknown_types_total"), f64::from(count));
    }
    let listed = &server.proxies.list()[0].streams[0];
    assert_eq!(listed.unknown_types.iter().collect::<Vec<_>>(), ["type.googleapis.com/no.such.Type"]);
    let lines = log.lines("does not serve");
    assert_eq!(lines.len(), 1, "once for each client and type: {lines:#?}");
    assert!(lines[0].contains("INFO") && lines[0].contains("no.such.Type"), "{lines:#?}");
    assert!(lines[0].contains("proxy=\"one\"") || lines[0].contains("proxy=one"), "{lines:#?}");
    stream.send(delta_request(ResourceType::Endpoint, &["a"], &[]));
    assert_eq!(stream.next().await.unwrap().resources.len(), 1);
}

#[tokio::test]
async fn p19_a_request_of_50_mb_is_refused_and_others_are_untouched() {
    let server = Server::start(USUAL).await;
    let mut other = server.working("other").await;
    let mut stream = server.working("huge").await;
    let huge = "x".repeat(50 << 20);
    stream.send(delta_request(ResourceType::Endpoint, &[&huge], &[]));
    let status = stream.end().await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("max_request_bytes"), "{status:?}");
    other.send(delta_request(ResourceType::Endpoint, &["a"], &[]));
    assert_eq!(other.next().await.unwrap().resources.len(), 1);
}

#[tokio::test]
async fn p19_a_name_that_is_too_long_is_refused_and_says_how_long_it_may_be() {
    let server = Server::start(USUAL).await;
    let mut stream = server.working("long").await;
    stream.send(delta_request(ResourceType::Endpoint, &[&"x".repeat(4 << 10 | 1)], &[]));
    let status = stream.end().await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().contains("at most 4096"), "{status:?}");
}

#[tokio::test]
async fn p19_100000_names_are_refused_and_others_are_untouched() {
    let server = Server::start(USUAL).await;
    let mut other = server.working("other").await;
    let mut stream = server.working("many").await;
    let names: Vec<String> = (0..100_000).map(|n| format!("name-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    stream.send(delta_request(ResourceType::Endpoint, &names, &[]));
    let status = stream.end().await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("100000 eds names"), "{status:?}");
    other.send(delta_request(ResourceType::Endpoint, &["a"], &[]));
    assert_eq!(other.next().await.unwrap().resources.len(), 1);
}

#[tokio::test]
async fn p19_more_streams_than_the_limit_are_refused_until_one_ends() {
    let server = Server::start(Options { max_streams: 2, ..USUAL }).await;
    let mut one = server.working("one").await;
    let two = server.working("two").await;
    let refused = server.ads().await.end().await;
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("max_streams"), "{refused:?}");
    one.send(delta_request(ResourceType::Endpoint, &["a"], &[]));
    assert_eq!(one.next().await.unwrap().resources.len(), 1);
    drop(two);
    server.until("the stream's place is free", |server| server.proxies.len() == 1).await;
    server.working("three").await;
}

#[tokio::test]
async fn p19_a_scope_too_many_is_refused_and_says_which_key_allows_more() {
    let server = Server::start(USUAL).await;
    let open = async |cluster: &str| {
        let (requests, outgoing) = unbounded();
        let name = Value { kind: Some(Kind::StringValue(cluster.to_owned())) };
        let metadata = Some(Struct { fields: [("XDS_CLUSTER".to_owned(), name)].into() });
        let node = Some(Node { id: "one".to_owned(), metadata, ..Default::default() });
        requests.send(DiscoveryRequest { node, ..Default::default() }).unwrap();
        let mut client = ClusterDiscoveryServiceClient::new(server.channel().await);
        let mut responses = client.stream_clusters(outgoing).await?.into_inner();
        timeout(LONG, responses.message()).await.expect("an answer in time")
    };
    let refused = open("flood").await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("[xds] max_scopes"), "{refused:?}");
    assert_eq!(open(&"x".repeat(257)).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(open("pilot").await.unwrap().unwrap().resources.len(), 2);
    server.working("other").await;
}

#[tokio::test]
async fn p20_l12_before_anything_is_known_a_stream_is_held_open_and_not_answered() {
    let server = Server::start(USUAL).await;
    let set = server.source.0.send_replace(None);
    let mut stream = server.ads().await;
    stream.send(first("early", ResourceType::Cluster, &[]));
    // It is listed, so its request was read.
    server
        .until("the request is read", |server| {
            server
                .proxies
                .list()
                .iter()
                .any(|proxy| proxy.streams.iter().any(|stream| !stream.types.is_empty()))
        })
        .await;
    assert!(futures_util::FutureExt::now_or_never(stream.next()).is_none(), "nothing is said yet");
    server.source.0.send_replace(set);
    assert_eq!(stream.next().await.unwrap().resources.len(), 2);
}

#[tokio::test]
async fn l21_garbage_and_clients_that_hang_up_harm_nobody() {
    let server = Server::start(USUAL).await;
    let mut other = server.working("other").await;
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x01"]
    {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(garbage).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // How it is closed does not matter, only that it is.
        let _closed = timeout(LONG, socket.read_to_end(&mut answer)).await.expect("it is closed");
    }
    let stream = server.working("hangs-up").await;
    stream.send(delta_request(ResourceType::Endpoint, &["a", "b"], &[]));
    drop(stream);
    server.until("the client that hung up is gone", |server| server.proxies.len() == 1).await;
    other.send(delta_request(ResourceType::Endpoint, &["a"], &[]));
    assert_eq!(other.next().await.unwrap().resources.len(), 1);
}

#[tokio::test]
async fn l21_a_connection_that_never_begins_http2_is_closed() {
    let server = Server::start(Options { preface: Duration::from_millis(300), ..USUAL }).await;
    let mut other = server.working("other").await;
    let begun = Instant::now();
    for said in ["", "PRI * HTTP/2.0\r\n"] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _closed = timeout(LONG, socket.read_to_end(&mut answer)).await.expect("it is closed");
    }
    assert!(begun.elapsed() >= Duration::from_millis(600), "they were given their time");
    other.send(delta_request(ResourceType::Endpoint, &["a"], &[]));
    assert_eq!(other.next().await.unwrap().resources.len(), 1, "who has begun stays");
}

#[tokio::test]
async fn p19_more_connections_than_the_limit_are_closed_until_one_ends() {
    let server = Server::start(Options { max_streams: 1, ..USUAL }).await;
    let mut other = server.working("other").await;
    let mut silent = Vec::new();
    // Each stream has a connection, and 128 are to spare.
    for _ in 0..128 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut refused = TcpStream::connect(server.address).await.unwrap();
    let closed = timeout(LONG, refused.read(&mut [0])).await.expect("it is closed");
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    other.send(delta_request(ResourceType::Endpoint, &["a"], &[]));
    assert_eq!(other.next().await.unwrap().resources.len(), 1);
    drop((silent, other));
    server.until("the stream's place is free", |server| server.proxies.is_empty()).await;
    let deadline = Instant::now() + LONG;
    while Channel::from_shared(format!("http://{}", server.address)).unwrap().connect().await.is_err() {
        assert!(Instant::now() < deadline, "no connection is taken any more");
    }
}

#[tokio::test]
async fn l21_bytes_that_are_no_request_end_the_stream_with_a_reason() {
    let server = Server::start(USUAL).await;
    let mut client = tonic::client::Grpc::new(server.channel().await);
    client.ready().await.unwrap();
    // A message of another shape: field 1 of a request is a node, here it is a number.
    #[derive(Clone, PartialEq, prost::Message)]
    struct NoRequest {
        #[prost(uint64, tag = "1")]
        number: u64,
    }
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let codec = tonic_prost::ProstCodec::<NoRequest, DeltaDiscoveryResponse>::default();
    let request = tonic::Request::new(futures_util::stream::iter([NoRequest { number: 7 }]));
    let response = client.streaming(request, path.parse().unwrap(), codec).await;
    let status = match response {
        Ok(response) => timeout(LONG, response.into_inner().message()).await.unwrap().unwrap_err(),
        Err(status) => status,
    };
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    server.working("other").await;
}

#[tokio::test]
async fn two_streams_of_one_node_are_one_proxy_and_do_not_mix() {
    let server = Server::start(USUAL).await;
    let mut one = server.working("same").await;
    let mut two = server.ads().await;
    two.send(first("same", ResourceType::Endpoint, &["a"]));
    assert_eq!(two.next().await.unwrap().resources.len(), 1);
    assert_eq!((server.proxies.len(), server.proxies.list()[0].streams.len()), (1, 2));
    one.send(delta_request(ResourceType::Endpoint, &["b", "never"], &[]));
    assert_eq!(one.next().await.unwrap().removed_resources, ["never"]);
    drop(one);
    server.until("one of two streams is gone", |server| server.proxies.list()[0].streams.len() == 1).await;
}

#[tokio::test]
async fn p22_l23_a_drain_ends_streams_with_unavailable_before_its_deadline() {
    let mut server = Server::start(Options { drain: Duration::from_secs(2), ..USUAL }).await;
    let mut streams = [server.working("one").await, server.working("two").await];
    server.trigger.begin();
    for stream in &mut streams {
        let status = stream.end().await;
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains("shutting down"), "{status:?}");
    }
    drop(streams);
    timeout(LONG, &mut server.serving).await.expect("the server ends").unwrap().unwrap();
}

#[tokio::test]
async fn l23_a_drain_ends_though_clients_do_not_read() {
    let mut server = Server::start(Options { drain: Duration::from_millis(200), ..USUAL }).await;
    let _held = (server.working("silent").await, TcpStream::connect(server.address).await.unwrap());
    server.trigger.begin();
    timeout(LONG, &mut server.serving).await.expect("the server ends").unwrap().unwrap();
}

#[tokio::test]
async fn p04_l14_a_rejection_is_seen_by_name() {
    let server = Server::start(USUAL).await;
    let stream = server.working("bad").await;
    let error = pilot_envoy_api::google::rpc::Status {
        code: 3,
        message: "no such filter".to_owned(),
        ..Default::default()
    };
    stream.send(DeltaDiscoveryRequest {
        response_nonce: "1".to_owned(),
        error_detail: Some(error),
        ..delta_request(ResourceType::Cluster, &[], &[])
    });
    server
        .until("the rejection is listed", |server| {
            serde_json::to_string(&server.proxies.list()).unwrap().contains("no such filter")
        })
        .await;
}
