//! Servers in a test's own process: what of them ends, and how that shows.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use pilot_registry_testkit::server::{Acceptor, Gate, Spoiling};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_panic_of_a_connection_ends_the_server_and_is_raised() {
    let mut server = Acceptor::start(async |_| panic!("a bug of the test's")).await.unwrap();
    let _client = TcpStream::connect(server.address()).await.unwrap();
    let stopped = AssertUnwindSafe(server.stopped()).catch_unwind();
    timeout(PATIENCE, stopped).await.unwrap().unwrap_err();
    TcpStream::connect(server.address()).await.unwrap_err();
}

#[tokio::test]
async fn a_server_that_has_stopped_may_start_again_where_it_was() {
    let greet = async |mut client: TcpStream| _ = client.write_all(b"a").await;
    let mut server = Acceptor::start(greet).await.unwrap();
    let at = server.address();
    server.stop();
    timeout(PATIENCE, server.stopped()).await.unwrap();
    TcpStream::connect(at).await.unwrap_err();
    let again = Acceptor::start_at(at, greet).await.unwrap();
    assert_eq!(again.address(), at);
    assert_eq!(TcpStream::connect(at).await.unwrap().read_u8().await.unwrap(), b'a');
}

#[tokio::test]
async fn a_gate_knows_only_of_stalled_connections_that_are_there() {
    let talk = async |mut client: TcpStream| while client.write_all(b"a").await.is_ok() {};
    let server = Acceptor::start(talk).await.unwrap();
    let spoiling = Spoiling { nonsense: b"", certificate: None, stall_after: 1 };
    let gate = Gate::to(server.address(), spoiling).await.unwrap();
    gate.stall();
    let client = TcpStream::connect(gate.address()).await.unwrap();
    timeout(PATIENCE, gate.stalled()).await.unwrap();
    drop(client);
    let gone = async {
        while gate.stalled().now_or_never().is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
}
