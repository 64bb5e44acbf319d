//! Clients that look for xDS at the admin port, or for TLS: they are told, and the log says what to do.

use std::io::Write;
use std::sync::{Arc, Mutex};

use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Channel;

use crate::fixture::{DEADLINE, XDS, pilot};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn follow(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let format = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        pilot_registry_testkit::logs::follow(format.finish())
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains("admin port")).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_grpc_client_at_the_admin_port_is_told_where_xds_is() {
    let log = Log::default();
    let _guard = log.follow();
    let pilot = pilot(&["east"]).await;
    for _ in 0..2 {
        let channel =
            Channel::from_shared(format!("http://{}", pilot.addr)).unwrap().connect().await.unwrap();
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
        let codec = tonic_prost::ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
        let request = tonic::Request::new(futures_util::stream::pending());
        let answered =
            timeout(DEADLINE, client.streaming(request, path.parse().unwrap(), codec)).await.unwrap();
        let status = answered.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        assert!(status.message().contains(&format!("xDS is served at {XDS}")), "{status:?}");
    }
    let lines = log.lines();
    assert!(lines.len() == 1 && lines[0].contains("WARN") && lines[0].contains(XDS), "{lines:#?}");
}

#[tokio::test]
async fn a_tls_client_at_the_admin_port_is_answered_in_plain_text() {
    let log = Log::default();
    let _guard = log.follow();
    let pilot = pilot(&["east"]).await;
    let mut socket = TcpStream::connect(pilot.addr).await.unwrap();
    socket.write_all(b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03").await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, socket.read_to_string(&mut answer)).await.expect("it is closed").unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("use http:// instead of https://"),
        "{answer}"
    );
    assert!(log.lines()[0].contains("a client speaks TLS"), "{:#?}", log.lines());
}

/// HTTP/2 without gRPC: `curl --http2-prior-knowledge`.
#[tokio::test]
async fn an_http2_client_at_the_admin_port_is_told_to_speak_http1() {
    let pilot = pilot(&["east"]).await;
    let stream = hyper_util::rt::TokioIo::new(TcpStream::connect(pilot.addr).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    let request = http::Request::builder().uri(format!("http://{}/readyz", pilot.addr));
    let request = request.body(http_body_util::Empty::<hyper::body::Bytes>::new()).unwrap();
    let response = timeout(DEADLINE, sender.send_request(request)).await.unwrap().unwrap();
    assert_eq!(response.status(), 400);
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert!(body.starts_with(b"this is pilot's admin port, which speaks HTTP/1 without TLS"), "{body:?}");
}
