//! Clients that do not read what they are sent, over HTTP/2 by hand: what they hold is taken from them.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use pilot::config::Config;
use pilot::resources::ResourceType::{Cluster, Endpoint};
use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::driver::delta_request;
use crate::served::{LONG, Options, Server, USUAL, first};
use crate::things::two_services;

const PLACES: &str = "pilot_xds_places_taken";
const UNREAD: &str = r#"pilot_xds_refused_total{reason="unread"}"#;

/// A client that gives each stream a window of so many bytes, and no more when they are used up.
struct Deaf {
    streams: SendRequest<Bytes>,
    _connection: JoinSet<()>,
}

impl Deaf {
    async fn connect(server: &Server, window: u32) -> Self {
        let socket = TcpStream::connect(server.address).await.unwrap();
        let (streams, connection) =
            client::Builder::new().initial_window_size(window).handshake(socket).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { _ = connection.await });
        Self { streams, _connection: tasks }
    }

    async fn open(&mut self) -> (SendStream<Bytes>, RecvStream) {
        let uri =
            "http://pilot/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
        let request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
        let (response, stream) = self.streams.send_request(request.body(()).unwrap(), false).unwrap();
        let response = timeout(LONG, response).await.unwrap().unwrap();
        (stream, response.into_body())
    }
}

fn framed(message: &DeltaDiscoveryRequest) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

/// What the stream says next, which is little.
async fn next(body: &mut RecvStream) -> DeltaDiscoveryResponse {
    let message = timeout(LONG, body.data()).await.unwrap().expect("a response").unwrap();
    DeltaDiscoveryResponse::decode(message.slice(5..)).unwrap()
}

/// The beginning of a large request has its share of what all large requests may take. What the client does not read
/// comes in between.
#[tokio::test]
async fn p19a_a_large_request_of_a_client_that_does_not_read_holds_no_share_for_ever() {
    let server = Server::start(Options { first_request: Duration::from_millis(300), ..USUAL }).await;
    let mut deaf = Deaf::connect(&server, 4096).await;
    let mut streams = Vec::new();
    // More than all may take together.
    for number in 0..6 {
        let (mut sending, mut body) = deaf.open().await;
        sending.send_data(framed(&first(&format!("deaf-{number}"), Cluster, &[])), false).unwrap();
        let clusters = next(&mut body).await;
        let ack =
            DeltaDiscoveryRequest { response_nonce: clusters.nonce, ..delta_request(Cluster, &[], &[]) };
        let mut bytes = BytesMut::from(&framed(&ack)[..]);
        bytes.put(framed(&delta_request(Endpoint, &["a"], &[])));
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(Config::default().xds.max_request_bytes).unwrap());
        sending.send_data(bytes.freeze(), false).unwrap();
        // What came with the question was read with it.
        assert_eq!(next(&mut body).await.resources.len(), 1);
        streams.push((sending, body));
    }
    let mut things = two_services();
    for number in 0..2000 {
        things.service(&format!("a-service-with-a-long-name-{number}"), "1");
    }
    server.source.0.send_replace(Some(things.publish()));

    let names: Vec<String> = (0..2000).map(|number| format!("name-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let request = delta_request(Endpoint, &names, &[]);
    assert!(request.encoded_len() > 16 << 10, "it needs a share");
    let mut other = server.ads().await;
    other.send(first("other", Cluster, &[]));
    other.next().await.unwrap();
    other.send(request);
    // It gets the clusters that came, too; the names that do not exist are the answer to the large request.
    while other.next().await.unwrap().removed_resources.is_empty() {}
    server.until("the others have ended", |server| server.metric(PLACES) == 1.0).await;
    assert_eq!(server.metric(UNREAD), 6.0);
    for (_, mut body) in streams {
        let ended = async { while let Some(Ok(_)) = body.data().await {} };
        timeout(LONG, ended).await.expect("the stream was reset");
    }
}
