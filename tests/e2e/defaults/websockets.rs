//! WebSockets arrive, over HTTP/1.1 and over HTTP/2.

use super::envoys;
use crate::support::envoy::{Envoy, Kind};
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::wait::until;
use crate::support::websocket::{Echo, WebSocket};

#[tokio::test(flavor = "multi_thread")]
async fn websockets_arrive_whichever_http_client_and_server_speak() {
    for binary in envoys() {
        let chat = Echo::start().await;
        let services = service("one.local", 9080, "http", &[chat.place()])
            + &service("two.local", 9080, "http2", &[chat.place()]);
        let pilot = Pilot::start(&services).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        for host in ["one.local", "two.local"] {
            for at in [envoy.port(9080), envoy.http_address()] {
                let open = async || WebSocket::over_http1(at, host).await;
                let mut socket = until(&format!("{host} over HTTP/1.1"), open).await;
                socket.say("hello").await.unwrap();
                let open = async || WebSocket::over_http2(at, host).await;
                let mut socket = until(&format!("{host} over HTTP/2"), open).await;
                socket.say("hello").await.unwrap();
                socket.say("and again").await.unwrap();
            }
        }
        envoy.assert_no_rejections().await;
    }
}
