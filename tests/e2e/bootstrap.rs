//! Printed bootstraps work as they are printed: by name, with replicas, and after pilot was away.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::grpc::{GrpcBackend, GrpcClient};
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::tools::{envoy, oldest_envoy, python};
use crate::support::wait::{holds, until};

/// Longer than Envoy takes to begin to connect on a machine under load.
const LONG: Duration = Duration::from_secs(60);

/// An Envoy that is told that pilot is at `localhost` connects where something listens, whichever family that is.
async fn connects_to(binary: &Path, at: SocketAddr) {
    // The name stands for both families, whatever a machine's resolver says (RFC 6761, section 6.3).
    let listener = TcpListener::bind(at).await.unwrap();
    let pilot = Pilot::prepare("");
    let name = format!("localhost:{}", listener.local_addr().unwrap().port());
    let _envoy = Envoy::spawn_with(binary, &pilot, Kind::Delta, &["--xds-address", &name]);
    let connected = timeout(LONG, listener.accept()).await;
    assert!(connected.is_ok(), "{} does not connect to {at}", binary.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_reached_in_whichever_family_answers() {
    for binary in [envoy(), oldest_envoy()].into_iter().flatten() {
        connects_to(&binary, (Ipv4Addr::LOCALHOST, 0).into()).await;
        connects_to(&binary, (Ipv6Addr::LOCALHOST, 0).into()).await;
    }
}

/// An address at which nothing listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Two pilots that serve this, with these further settings of `[xds]`, and an Envoy that may take either.
async fn replicas(binary: &Path, services: &str, xds: &str) -> (Pilot, Pilot, Envoy) {
    let (mut one, mut two) = (Pilot::prepare(services), Pilot::prepare(services));
    // Replicas say the same of listeners.
    let [own, same] =
        [&two, &one].map(|pilot| format!("bind = \"{0}\"\nhttp_listen = \"{0}:", pilot.address()));
    two.configure(&own, &same);
    for pilot in [&mut one, &mut two] {
        pilot.configure("[xds]", &format!("[xds]\n{xds}"));
        pilot.spawn();
        pilot.ready().await;
    }
    let both = format!("{},{}", one.xds_address(), two.xds_address());
    let envoy = Envoy::start_with(binary, &one, Kind::Delta, &["--xds-address", &both]).await;
    (one, two, envoy)
}

async fn has_proxies(pilot: &Pilot) -> bool {
    let proxies = pilot.debug("/debug/proxies").await.unwrap();
    proxies["proxies"].as_array().is_some_and(|proxies| !proxies.is_empty())
}

/// Pilots that come later take their share, and Envoy notices nothing.
async fn age_moves_it_to_the_other(binary: &Path) {
    let backend = Backend::http("a").await;
    let services = service("reviews.local", 9080, "http", &[backend.place()]);
    let (one, two, envoy) = replicas(binary, &services, "max_connection_age = \"1s\"").await;
    envoy.answers("reviews.local", "a").await;
    let load = Load::start(envoy.http_address(), &["reviews.local"], 1, &[]);
    for pilot in [&one, &two, &one, &two] {
        until("each has it in turn", async || holds(has_proxies(pilot).await, "it is elsewhere")).await;
    }
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p22a_the_age_of_a_connection_moves_an_envoy_to_the_other_replica() {
    for binary in [envoy(), oldest_envoy()].into_iter().flatten() {
        age_moves_it_to_the_other(&binary).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_goes_to_the_replica_that_is_left() {
    let Some(binary) = envoy() else { return };
    let backend = Backend::http("a").await;
    let services = service("reviews.local", 9080, "http", &[backend.place()]);
    let (mut one, mut two, envoy) = replicas(&binary, &services, "").await;
    envoy.answers("reviews.local", "a").await;
    let connected = has_proxies;
    let (lost, left) = if connected(&one).await { (&mut one, &two) } else { (&mut two, &one) };
    lost.kill();
    until("the other replica has it", async || holds(connected(left).await, "it has not come")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_falls_back_to_the_replica_that_answers() {
    let Some(python) = python() else { return };
    let backend = GrpcBackend::start(&python, "one");
    let pilot = Pilot::start(&service("echo.local", 50051, "grpc", &[backend.place()])).await;
    let (nobody, there) = (nobody(), pilot.xds_address().to_string());
    let replicas = ["--xds-address", &nobody, "--xds-address", &there];
    let mut client = GrpcClient::start_with(&python, &pilot, "xds:///echo.local:50051", &replicas);
    until("the backend answers", async || holds(client.call()? == "one", "another answered")).await;
}

/// Envoy's own longest wait is 30 s. Once pilot was away long enough for that, it comes back within some seconds.
#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_comes_back_soon_after_a_long_absence() {
    let Some(binary) = envoy() else { return };
    let backend = Backend::http("a").await;
    let mut pilot = Pilot::start(&service("reviews.local", 9080, "http", &[backend.place()])).await;
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    envoy.answers("reviews.local", "a").await;
    pilot.kill();
    envoy.is_connected(false).await;
    // After so many attempts it waits as long as it ever does.
    until("it has tried often", async || {
        let failed = envoy.stat("cluster.pilot.upstream_cx_connect_fail").await?;
        holds(failed >= 9, failed)
    })
    .await;
    pilot.spawn();
    pilot.ready().await;
    let back = Instant::now();
    envoy.is_connected(true).await;
    assert!(back.elapsed() < Duration::from_secs(10), "it came back after {:?}", back.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_without_a_node_id_is_served_under_its_address() {
    let Some(python) = python() else { return };
    let backend = GrpcBackend::start(&python, "one");
    let pilot = Pilot::start(&service("echo.local", 50051, "grpc", &[backend.place()])).await;
    let mut bootstrap = crate::support::bootstrap::grpc(&pilot, &[]);
    bootstrap["node"].as_object_mut().unwrap().remove("id");
    let mut client = GrpcClient::start_as(&python, &pilot, "xds:///echo.local:50051", &bootstrap);
    until("the backend answers", async || holds(client.call()? == "one", "another answered")).await;
    let proxies = pilot.debug("/debug/proxies").await.unwrap();
    let id = proxies["proxies"][0]["id"].as_str().unwrap();
    let address: SocketAddr = id.parse().unwrap_or_else(|error| panic!("{id}: {error}"));
    assert!(address.ip().is_loopback(), "{id}");
}
