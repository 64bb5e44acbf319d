//! What is quiet stays, unless it would be in the way.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{envoys, pilot};
use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::http;
use crate::support::pilot::Pilot;
use crate::support::services::{Place, service};
use crate::support::wait::{PATIENCE, throughout, until};
use crate::support::websocket::{Echo, WebSocket};

/// Node.js closes a connection on which no request came for so long.
const NODE: Duration = Duration::from_secs(5);

/// A server of HTTP/1.1 that answers one request on each connection, and tells how long the connection stayed then.
async fn patient() -> (SocketAddr, mpsc::Receiver<Duration>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (told, stays) = mpsc::channel(16);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stayed = answer_once(stream).await;
            let _ = told.send(stayed).await;
        }
    });
    (at, stays, serving)
}

async fn answer_once(stream: TcpStream) -> Duration {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    let answered = Instant::now();
    // Until the other side is done with it.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
    answered.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_requests_is_closed_before_its_server_would_do_it() {
    for binary in envoys() {
        let (at, mut stays, _serving) = patient().await;
        let pilot = Pilot::start(&service("web.local", 9080, "http", &[Place::at(&at.to_string())])).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        until("web answers", async || http::body(envoy.http_address(), "web.local", "/").await).await;
        let stayed = stays.recv().await.unwrap();
        assert!(stayed < NODE, "it stayed {stayed:?}");
        assert!(stayed > Duration::from_secs(3), "it was of use for {stayed:?} only");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_tcp_connection_stays_unless_a_limit_is_asked_for() {
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: quiet}\nspec:\n  \
                host: quiet.local\n  trafficPolicy: {connectionPool: {tcp: {idleTimeout: 0s}}}\n";
    for binary in envoys() {
        let (quick, quiet) = (Backend::echo("quick").await, Backend::echo("quiet").await);
        let services = service("quick.local", 9090, "tcp", &[quick.place()])
            + &service("quiet.local", 9091, "tcp", &[quiet.place()]);
        let mut pilot = Pilot::prepare(&services);
        let rules = "[mesh.idle]\ntcp = \"1s\"\n[rules.local.file]\npath = \"rules.yaml\"\n[router]";
        pilot.configure("[router]", rules);
        std::fs::write(pilot.folder().join("rules.yaml"), rule).unwrap();
        pilot.spawn();
        pilot.ready().await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        let mut limited = greeted(envoy.port(9090)).await;
        let mut free = greeted(envoy.port(9091)).await;
        timeout(PATIENCE, limited.read_line(&mut String::new())).await.expect("it is cut").unwrap();
        // Twice as long as the limit of others.
        let silence = timeout(Duration::from_secs(2), free.read_line(&mut String::new())).await;
        silence.expect_err("it is cut");
        free.write_all(b"still here\n").await.unwrap();
        let mut line = String::new();
        timeout(PATIENCE, free.read_line(&mut line)).await.unwrap().unwrap();
        assert_eq!(line, "still here\n");
    }
}

async fn greeted(at: SocketAddr) -> BufReader<TcpStream> {
    until(&format!("{at} greets"), async || {
        let mut stream = BufReader::new(TcpStream::connect(at).await.map_err(|error| error.to_string())?);
        let mut line = String::new();
        stream.read_line(&mut line).await.map_err(|error| error.to_string())?;
        if line.is_empty() { Err("closed".to_owned()) } else { Ok(stream) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_websocket_stays_unless_a_limit_is_asked_for() {
    for binary in envoys() {
        let chat = Echo::start().await;
        let services = service("chat.local", 9080, "http", &[chat.place()]);
        let limited = pilot(&services, "[mesh.idle]\nstream = \"1s\"\n").await;
        let envoy = Envoy::start(&binary, &limited, Kind::Delta).await;
        let open = async || WebSocket::over_http1(envoy.http_address(), "chat.local").await;
        until("a WebSocket opens", open).await.is_cut().await;

        let free = Pilot::start(&services).await;
        let envoy = Envoy::start(&binary, &free, Kind::Delta).await;
        let open = async || WebSocket::over_http1(envoy.http_address(), "chat.local").await;
        let mut socket = until("a WebSocket opens", open).await;
        let streams = async || match envoy.stat("http.outbound_http_listen.downstream_rq_active").await? {
            1 => Ok(()),
            count => Err(format!("{count} streams")),
        };
        until("it is there", streams).await;
        throughout("it stays", Duration::from_secs(2), streams).await;
        socket.say("still here").await.unwrap();
    }
}
