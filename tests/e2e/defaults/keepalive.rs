//! Connections whose other end is gone are noticed.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{envoys, pilot};
use crate::support::backend::Backend;
use crate::support::conversation::Conversation;
use crate::support::envoy::{Envoy, Kind};
use crate::support::grpc::{GrpcBackend, GrpcClient};
use crate::support::http;
use crate::support::mute::Mute;
use crate::support::pilot::Pilot;
use crate::support::services::{Place, service};
use crate::support::sockets::{Socket, established};
use crate::support::tools::{envoy, oldest_envoy, python};
use crate::support::wait::{holds, throughout, until};

const SOON: &str = "[mesh.keepalive]\nhttp2_quiet = \"200ms\"\nhttp2_timeout = \"300ms\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_falls_silent_on_http2_is_noticed_by_the_next_request() {
    for binary in envoys() {
        let web = Backend::http("web").await;
        let mute = Mute::before(web.socket()).await;
        let place = Place::at(&mute.address().to_string());
        let pilot = pilot(&service("web.local", 9080, "http2", &[place]), SOON).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        envoy.answers("web.local", "web").await;
        mute.fall_silent();
        // Each thread of Envoy has a connection of its own: it is noticed by the next request of the same thread.
        until("the silent connection is given up", async || {
            envoy.answers("web.local", "web").await;
            let timeouts = envoy.stat("cluster.outbound|9080||web.local.http2.keepalive_timeout").await?;
            holds(timeouts > 0, timeouts)
        })
        .await;
    }
}

/// A server of gRPC closes connections with many PINGs. Those of one that is only quiet are few enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_grpc_is_not_bothered_by_probes() {
    let Some(python) = python() else { return };
    for binary in envoys() {
        let users = GrpcBackend::start(&python, "users");
        let services = service("users.local", 9151, "grpc", &[users.place()]);
        let keepalive = "[mesh.keepalive]\nhttp2_quiet = \"10ms\"\n";
        let pilot = pilot(&services, keepalive).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        let mut client = GrpcClient::start(&python, &pilot, &envoy.port(9151).to_string());
        until("users answers", async || client.call()).await;
        // Each call begins with a PING, when the connection was quiet for 10 ms.
        throughout("users answers", Duration::from_secs(2), async || client.call().map(drop)).await;
        let stats = envoy.stats().await;
        let count = |name: &str| stats[&format!("cluster.outbound|9151||users.local.{name}")];
        assert_eq!((count("upstream_cx_total"), count("upstream_cx_destroy")), (1, 0), "it hung up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_falls_silent_on_http2_is_let_go_and_one_that_is_quiet_is_not() {
    let keepalive = "[mesh.keepalive]\nclient_interval = \"200ms\"\nclient_timeout = \"1s\"\n";
    for binary in envoys() {
        let web = Backend::http("web").await;
        let pilot = pilot(&service("web.local", 9080, "http", &[web.place()]), keepalive).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        let mute = Mute::before(envoy.http_address()).await;
        envoy.answers("web.local", "web").await;
        let _connection = http2_connection(mute.address()).await;
        let connections = async |expected: u64| {
            let count = envoy.stat("http.outbound_http_listen.downstream_cx_active").await?;
            holds(count == expected, format!("{count} connections"))
        };
        until("only this connection is there", async || connections(1).await).await;
        throughout("it is left alone", Duration::from_secs(3), async || connections(1).await).await;
        mute.fall_silent();
        until("it is closed", async || connections(0).await).await;
    }
}

/// It has answered once, and is quiet since.
async fn http2_connection(at: SocketAddr) -> JoinSet<()> {
    let stream = TcpStream::connect(at).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(async move { _ = connection.await });
    let request = ::http::Request::get("http://web.local/").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    // The connection ends when nobody can send any more.
    driver.spawn(async move {
        std::future::pending::<()>().await;
        drop(sender);
    });
    driver
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_tcp_connections_are_probed_to_endpoints_and_to_clients() {
    // The oldest Envoy does not know probes of clients.
    for (binary, knows_clients) in [(envoy(), true), (oldest_envoy(), false)] {
        let Some(binary) = binary else { continue };
        let (queue, web) = (Backend::echo("queue").await, Backend::http("web").await);
        let services = service("queue.local", 9090, "tcp", &[queue.place()])
            + &service("web.local", 9080, "http", &[web.place()]);
        let pilot = Pilot::start(&services).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        let _conversation = Conversation::open(envoy.port(9090)).await;
        let mut connection = http::Connection::open(envoy.port(9080)).await.unwrap();
        until("web answers", async || {
            let answer = connection.get("web.local", "/").await?;
            holds(answer.body == "web", answer.body)
        })
        .await;
        type Is = Box<dyn Fn(&Socket) -> bool>;
        let from = |at: SocketAddr| -> Is { Box::new(move |socket| SocketAddr::V4(socket.local) == at) };
        let to = |at: SocketAddr| -> Is { Box::new(move |socket| SocketAddr::V4(socket.remote) == at) };
        let ends = [
            ("an endpoint of TCP", to(queue.socket())),
            ("an endpoint of HTTP", to(web.socket())),
            ("a client of TCP", from(envoy.port(9090))),
            ("a client of HTTP", from(envoy.port(9080))),
        ];
        for (what, is_it) in ends.into_iter().take(if knows_clients { 4 } else { 2 }) {
            until(&format!("the connection to {what} is probed"), async || {
                let found = established().into_iter().find(|socket| is_it(socket));
                let due = found.and_then(|socket| socket.probe_in);
                let is_soon = due.is_some_and(|due| due <= Duration::from_secs(30));
                holds(is_soon, format!("{found:?}"))
            })
            .await;
        }
    }
}
