//! Requests through a real Envoy arrive where the services file says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use pilot::proxy::DEFAULT_XDS_CLUSTER;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::backend::Backend;
use crate::support::conversation::Conversation;
use crate::support::envoy::{Envoy, Kind};
use crate::support::http;
use crate::support::load::Load;
use crate::support::loopback::has_ipv6;
use crate::support::pilot::Pilot;
use crate::support::services::{Place, service};
use crate::support::tools::{envoy, skipped};
use crate::support::wait::{holds, until};

/// Who answers a request for this host.
async fn who(address: SocketAddr, host: &str) -> String {
    until(&format!("{host} answers at {address}"), async || http::body(address, host, "/").await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_arrive_by_host_and_port() {
    let Some(envoy) = envoy() else { return };
    let (reviews, ratings) = (Backend::http("reviews").await, Backend::http("ratings").await);
    let other = Backend::http("reviews, other port").await;
    let services = [
        service("reviews.local", 9080, "http", &[reviews.place()]),
        service("ratings.local", 9080, "http", &[ratings.place()]),
        service("other.local", 9081, "http", &[other.place()]),
    ];
    let pilot = Pilot::start(&services.concat()).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    for (port, host, answer) in [
        (9080, "reviews.local", "reviews"),
        (9080, "reviews.local:9080", "reviews"),
        (9080, "REVIEWS.local", "reviews"),
        (9080, "ratings.local", "ratings"),
        (9081, "other.local", "reviews, other port"),
        (15080, "reviews.local", "reviews"),
        (15080, "reviews.local:9080", "reviews"),
        (15080, "ratings.local", "ratings"),
        (15080, "other.local:9081", "reviews, other port"),
    ] {
        assert_eq!(who(envoy.port(port), host).await, answer, "{host} at port {port}");
    }
    let unknown = http::get(envoy.http_address(), "unknown.local", "/").await.unwrap();
    assert_eq!(unknown.status, 404);
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_divide_requests() {
    let Some(envoy) = envoy() else { return };
    let (light, heavy) = (Backend::http("light").await, Backend::http("heavy").await);
    for zone in ["a", "b"] {
        let places = [light.place().weight(1).zone("a"), heavy.place().weight(3).zone(zone)];
        let pilot = Pilot::start(&service("reviews.local", 9080, "http", &places)).await;
        let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
        who(envoy.http_address(), "reviews.local").await;
        let load = Load::start(envoy.http_address(), &["reviews.local"], 2, &[]);
        load.more(800).await;
        let outcome = load.finish().await;
        outcome.assert_no_failure();
        let arrived = |name: &str| outcome.answers.get(&(200, name.to_owned())).copied().unwrap_or_default();
        let share = arrived("heavy") as f64 / outcome.answered() as f64;
        assert!(
            (0.65..0.85).contains(&share),
            "three quarters were expected in zone {zone}, {share} arrived"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_are_not_healthy_get_nothing() {
    let Some(envoy) = envoy() else { return };
    let mut backends = BTreeMap::new();
    for health in ["healthy", "unhealthy", "draining"] {
        backends.insert(health, Backend::http(health).await);
    }
    let places: Vec<_> = backends.iter().map(|(health, backend)| backend.place().health(health)).collect();
    let pilot = Pilot::start(&service("reviews.local", 9080, "http", &places)).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    who(envoy.http_address(), "reviews.local").await;
    let load = Load::start(envoy.http_address(), &["reviews.local"], 2, &[]);
    load.more(300).await;
    let outcome = load.finish().await;
    outcome.assert_no_failure();
    assert_eq!(outcome.answers.keys().map(|(_, body)| body.as_str()).collect::<Vec<_>>(), ["healthy"]);

    // Not even when there is no other.
    pilot.write_services(&service(
        "reviews.local",
        9080,
        "http",
        &[backends["unhealthy"].place().health("unhealthy")],
    ));
    until("nobody answers", async || {
        let answer = http::get(envoy.http_address(), "reviews.local", "/").await?;
        holds(answer.status == 503, answer.status)
    })
    .await;
    assert_eq!(backends["unhealthy"].served() + backends["draining"].served(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_services_are_spoken_to_in_http2() {
    let Some(envoy) = envoy() else { return };
    let (one, two) = (Backend::http("one").await, Backend::http("two").await);
    let services = [
        service("one.local", 9080, "http", &[one.place()]),
        service("two.local", 9080, "http2", &[two.place()]),
    ];
    let pilot = Pilot::start(&services.concat()).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    for (host, version) in [("one.local", "HTTP/1.1"), ("two.local", "HTTP/2.0")] {
        who(envoy.http_address(), host).await;
        let answer = http::get(envoy.http_address(), host, "/").await.unwrap();
        assert_eq!(answer.header("x-seen-version"), version, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_connections_arrive_by_port() {
    let Some(envoy) = envoy() else { return };
    let (queue, cache) = (Backend::echo("queue").await, Backend::echo("cache").await);
    let services = [
        service("queue.local", 9090, "tcp", &[queue.place()]),
        service("cache.local", 9091, "tcp", &[cache.place()]),
    ];
    let pilot = Pilot::start(&services.concat()).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    for (port, name) in [(9090, "queue"), (9091, "cache")] {
        let connection = Conversation::open(envoy.port(port)).await;
        assert_eq!(connection.partner(), name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_endpoints_are_reached() {
    let Some(envoy) = envoy() else { return };
    if let Err(error) = has_ipv6() {
        return skipped(&format!("this machine has no ::1: {error}"));
    }
    let backend = Backend::http_on_ipv6("six").await;
    let pilot = Pilot::start(&service("six.local", 9080, "http", &[backend.place()])).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    assert_eq!(who(envoy.http_address(), "six.local").await, "six");
}

#[tokio::test(flavor = "multi_thread")]
async fn unix_socket_endpoints_are_reached() {
    let Some(envoy) = envoy() else { return };
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::http_on_unix("socket", &folder.path().join("app.sock"));
    let pilot = Pilot::start(&service("socket.local", 9080, "http", &[backend.place()])).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    assert_eq!(who(envoy.http_address(), "socket.local").await, "socket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_can_change_its_protocol() {
    let Some(envoy) = envoy() else { return };
    let (web, queue) = (Backend::http("web").await, Backend::echo("queue").await);
    for kind in [Kind::Delta, Kind::Sotw] {
        let pilot = Pilot::start(&service("app.local", 9080, "http", &[web.place()])).await;
        let envoy = Envoy::start(&envoy, &pilot, kind).await;
        for _ in 0..3 {
            assert_eq!(who(envoy.port(9080), "app.local").await, "web");
            pilot.write_services(&service("app.local", 9080, "tcp", &[queue.place()]));
            assert_eq!(Conversation::open(envoy.port(9080)).await.partner(), "queue");
            pilot.write_services(&service("app.local", 9080, "http", &[web.place()]));
        }
        envoy.assert_no_rejections().await;
    }
}

/// Sends each datagram back, behind a greeting.
async fn echo_datagrams(socket: UdpSocket) {
    let mut buffer = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let answer = [b"echo of ", &buffer[..length]].concat();
        socket.send_to(&answer, from).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_arrive_by_port_and_come_back() {
    let Some(envoy) = envoy() else { return };
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let place = Place::at(&server.local_addr().unwrap().to_string());
    let mut serving = JoinSet::new();
    serving.spawn(echo_datagrams(server));
    // The same number in TCP is another port.
    let queue = Backend::echo("queue").await;
    let services = [
        service("names.local", 9053, "udp", &[place]),
        service("queue.local", 9053, "tcp", &[queue.place()]),
    ];
    let pilot = Pilot::start(&services.concat()).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(envoy.port(9053)).await.unwrap();
    let mut round = 0;
    until("a datagram comes back", async || {
        // Datagrams may be lost: each one is new, and answers to earlier ones do not count.
        round += 1;
        let question = format!("question {round}");
        client.send(question.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut buffer = [0; 1500];
        let answer = timeout(Duration::from_secs(1), client.recv(&mut buffer)).await;
        let length = answer.map_err(|_| "no answer")?.map_err(|error| error.to_string())?;
        let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
        holds(answer == format!("echo of {question}"), answer)
    })
    .await;
    assert_eq!(Conversation::open(envoy.port(9053)).await.partner(), "queue");
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l5_connections_are_reused_whatever_changes_elsewhere() {
    let Some(envoy) = envoy() else { return };
    const CLIENTS: usize = 4;
    let stays = Backend::http("stays").await;
    let moves = [Backend::http("a").await, Backend::http("b").await];
    let services = |round: usize| {
        service("stays.local", 9080, "http", &[stays.place()])
            + &service("moves.local", 9080, "http", &[moves[round % 2].place()])
    };
    for kind in [Kind::Delta, Kind::Sotw] {
        let pilot = Pilot::start(&services(0)).await;
        let envoy = Envoy::start(&envoy, &pilot, kind).await;
        envoy.answers("moves.local", "a").await;
        let before = stays.accepted();
        let load = Load::start(envoy.http_address(), &["stays.local"], CLIENTS, &[]);
        for round in 1..=10 {
            pilot.write_services(&services(round));
            envoy.answers("moves.local", ["a", "b"][round % 2]).await;
            load.more(200).await;
        }
        let outcome = load.finish().await;
        outcome.assert_no_failure();
        assert!(outcome.answered() >= 2000, "{} requests", outcome.answered());
        // One for each request that is under way at a time.
        let accepted = stays.accepted() - before;
        assert!((1..=CLIENTS as u64).contains(&accepted), "{kind:?}: {accepted} connections to the backend");
        let opened = envoy.stat(&format!("cluster.{DEFAULT_XDS_CLUSTER}.upstream_cx_total")).await;
        assert_eq!(opened, Ok(1), "{kind:?}: connections to pilot, ever");
        let proxies = pilot.debug("/debug/proxies").await.unwrap();
        let streams: Vec<_> =
            proxies["proxies"].as_array().unwrap().iter().map(|it| &it["streams"]).collect();
        assert_eq!(streams.len(), 1, "{kind:?}: {proxies}");
        assert_eq!(streams[0].as_array().unwrap().len(), 1, "{kind:?}: {proxies}");
    }
}
