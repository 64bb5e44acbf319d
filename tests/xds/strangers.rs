//! Clients that come to the xDS port and speak something else: they are told, and the log says what to do.

use pilot::resources::ResourceType;
use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::driver::delta_request;
use crate::reports::Written;
use crate::served::{LONG, Server, USUAL};

/// The beginning of a TLS 1.3 client's first record.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03";

/// What Envoy sends that was not told to speak HTTP/2 to pilot.
const GRPC_OVER_HTTP1: &[u8] = b"POST /envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources \
    HTTP/1.1\r\nhost: pilot\r\ncontent-type: application/grpc\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n";

/// What the server answers to these bytes before it closes the connection.
async fn answer(server: &Server, said: &[u8]) -> String {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(said).await.unwrap();
    let mut answer = Vec::new();
    timeout(LONG, socket.read_to_end(&mut answer)).await.expect("it is closed").unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_browser_at_the_xds_port_is_told_where_the_admin_server_is() {
    let log = Written::default();
    let _guard = log.follow();
    let server = Server::start(USUAL).await;
    for _ in 0..3 {
        let answer = answer(&server, b"GET / HTTP/1.1\r\nHost: pilot:18000\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let expected = "this is pilot's xDS port, which speaks gRPC over HTTP/2 without TLS: the admin server is at \
                        http://127.0.0.1:18080\n";
        assert_eq!(body, expected);
        assert!(answer.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
    }
    let lines = log.lines("xDS port");
    assert_eq!(lines.len(), 1, "once for each address: {lines:#?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("a client speaks HTTP/1: the admin server is at"));
    assert!(lines[0].contains("peer=127.0.0.1"), "{lines:#?}");
}

/// TLS libraries call an answer that begins so "wrong version number": the port has no TLS.
#[tokio::test]
async fn a_tls_client_is_answered_in_plain_text_and_the_log_says_which_line_to_remove() {
    let log = Written::default();
    let _guard = log.follow();
    let server = Server::start(USUAL).await;
    for _ in 0..2 {
        assert!(answer(&server, CLIENT_HELLO).await.starts_with("HTTP/1.1 400 "));
    }
    let lines = log.lines("xDS port");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("a client speaks TLS: remove transport_socket"), "{lines:#?}");
}

#[tokio::test]
async fn grpc_over_http1_is_answered_with_a_grpc_status_that_says_the_missing_key() {
    let log = Written::default();
    let _guard = log.follow();
    let server = Server::start(USUAL).await;
    let answer = answer(&server, GRPC_OVER_HTTP1).await;
    assert!(answer.contains("\r\ngrpc-status: 9\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    let message = answer.lines().find(|line| line.starts_with("grpc-message: ")).unwrap();
    assert!(message.contains("http2_protocol_options"), "{message}");
    assert!(log.lines("xDS port")[0].contains("http2_protocol_options"));
}

#[tokio::test]
async fn a_probe_that_says_nothing_is_no_line_in_the_log_and_garbage_is_one() {
    let log = Written::default();
    let _guard = log.follow();
    let server = Server::start(USUAL).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(timeout(LONG, socket.read(&mut [0])).await.expect("it is closed").unwrap(), 0);
    assert_eq!(log.lines("xDS port"), [""; 0]);
    answer(&server, b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n").await;
    let lines = log.lines("xDS port");
    assert!(
        lines.len() == 1 && lines[0].contains("PROXY TCP4") && lines[0].contains("no PROXY protocol is read")
    );
    server.working("other").await;
}

#[tokio::test]
async fn clients_that_say_nothing_keep_nobody_from_being_accepted() {
    let server = Server::start(USUAL).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    server.working("one").await;
}

#[tokio::test]
async fn an_envoy_of_xds_v2_is_told_which_keys_to_change() {
    let log = Written::default();
    let _guard = log.follow();
    let server = Server::start(USUAL).await;
    let asked = async |path: &'static str| -> Status {
        let mut client = tonic::client::Grpc::new(server.channel().await);
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
        let request = delta_request(ResourceType::Cluster, &[], &[]);
        let request = tonic::Request::new(futures_util::stream::iter([request]));
        client.streaming(request, path.parse().unwrap(), codec).await.unwrap_err()
    };
    for path in [
        "/envoy.service.discovery.v2.AggregatedDiscoveryService/StreamAggregatedResources",
        "/envoy.api.v2.ClusterDiscoveryService/StreamClusters",
    ] {
        let status = asked(path).await;
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
        assert!(
            status.message().contains("transport_api_version and resource_api_version to V3"),
            "{status:?}"
        );
    }
    assert_eq!(log.lines("pilot serves xDS v3, and this is v2").len(), 1);
}
