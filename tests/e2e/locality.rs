//! Endpoints near to a proxy go first, and others take over by health.

use std::fs;

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::grpc::{GrpcBackend, GrpcClient};
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::services::{Place, service};
use crate::support::tools::{envoy, oldest_envoy, python};
use crate::support::wait::{holds, until};

/// Where the proxies of these tests run.
const HERE: [&str; 4] = ["--region", "eu", "--zone", "a"];
const HOST: &str = "reviews.local";

/// A pilot for which places matter, with further text in pilot.toml.
fn preferring(services: &str, more: &str) -> Pilot {
    let pilot = Pilot::prepare(services);
    let text = format!("[mesh]\nlocality = \"prefer\"\n{more}[registry.local.file]");
    pilot.configure("[registry.local.file]", &text);
    pilot
}

fn reviews(places: &[Place]) -> String {
    service(HOST, 9080, "http", places)
}

/// Requests are answered by this one of the backends alone.
async fn alone(load: &Load, envoy: &Envoy, name: &str, others: &[&Backend]) {
    envoy.answers(HOST, name).await;
    let served = || others.iter().map(|other| other.served()).collect::<Vec<_>>();
    // A request that was on its way when things changed, and its retries, may still come; so may those of a thread of
    // Envoy that hears of the change a moment later.
    for _ in 0..3 {
        let before = served();
        load.more(250).await;
        if served() == before {
            return;
        }
    }
    panic!("others than {name} are asked: of 250 requests, three times: {:?}", served());
}

async fn zones_take_over_from_each_other(kind: Kind) {
    let Some(envoy) = envoy() else { return };
    let backends = [Backend::http("own").await, Backend::http("next").await, Backend::http("far").await];
    let [own, next, far] = &backends;
    let services = |healths: [&str; 2]| {
        reviews(&[
            own.place().region("eu").zone("a").health(healths[0]),
            next.place().region("eu").zone("b").health(healths[1]),
            far.place().region("us").zone("a").health("healthy"),
        ])
    };
    let mut pilot = preferring(&services(["healthy", "healthy"]), "");
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start_with(&envoy, &pilot, kind, &HERE).await;
    envoy.answers(HOST, "own").await;
    let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
    alone(&load, &envoy, "own", &[next, far]).await;
    for _ in 0..3 {
        pilot.write_services(&services(["unhealthy", "healthy"]));
        alone(&load, &envoy, "next", &[own, far]).await;
        pilot.write_services(&services(["unhealthy", "unhealthy"]));
        alone(&load, &envoy, "far", &[own, next]).await;
        pilot.write_services(&services(["healthy", "unhealthy"]));
        alone(&load, &envoy, "own", &[next, far]).await;
    }
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
    let proxies = pilot.debug("/debug/proxies").await.unwrap();
    let proxy = &proxies["proxies"][0];
    assert_eq!((&proxy["locality"]["region"], &proxy["locality"]["zone"]), (&"eu".into(), &"a".into()));
    assert!(proxy["streams"][0]["scope"].as_str().unwrap().ends_with(" near eu/a"), "{proxy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_take_over_from_each_other_without_a_failed_request_delta() {
    zones_take_over_from_each_other(Kind::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_take_over_from_each_other_without_a_failed_request_per_type_sotw() {
    zones_take_over_from_each_other(Kind::PerTypeSotw).await;
}

/// The first endpoint in a zone makes that zone matter to the proxies in it, and the last one not to.
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_comes_and_goes_is_followed() {
    let Some(envoy) = envoy() else { return };
    let (own, next) = (Backend::http("own").await, Backend::http("next").await);
    let elsewhere = || next.place().region("eu").zone("b");
    let without = reviews(&[elsewhere()]);
    let with = reviews(&[elsewhere(), own.place().region("eu").zone("a")]);
    for kind in [Kind::Delta, Kind::Sotw] {
        let mut pilot = preferring(&without, "");
        pilot.spawn();
        pilot.ready().await;
        let envoy = Envoy::start_with(&envoy, &pilot, kind, &HERE).await;
        envoy.answers(HOST, "next").await;
        let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
        for _ in 0..5 {
            pilot.write_services(&with);
            alone(&load, &envoy, "own", &[&next]).await;
            pilot.write_services(&without);
            alone(&load, &envoy, "next", &[&own]).await;
        }
        load.finish().await.assert_no_failure();
        envoy.assert_no_rejections().await;
    }
}

/// The preferred registry goes first wherever its endpoints are; what is near counts among equals.
#[tokio::test(flavor = "multi_thread")]
async fn registries_go_before_places_and_fail_over_and_back() {
    const BACKUP: &str = "[registry.backup]\npriority = 1\n[registry.backup.file]\npath = \"backup.toml\"\n";
    let Some(envoy) = envoy() else { return };
    let backup = [Backend::http("near").await, Backend::http("far").await];
    let [near, far] = &backup;
    let mut first = Backend::http("first").await;
    let services =
        |first: &Backend, health: &str| reviews(&[first.place().region("us").zone("x").health(health)]);
    let mut pilot = preferring(&services(&first, "healthy"), BACKUP);
    let places = [near.place().region("eu").zone("a"), far.place().region("us").zone("x")];
    fs::write(pilot.folder().join("backup.toml"), reviews(&places)).unwrap();
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start_with(&envoy, &pilot, Kind::Delta, &HERE).await;
    envoy.answers(HOST, "first").await;
    let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
    for _ in 0..3 {
        alone(&load, &envoy, "first", &[near, far]).await;
        pilot.write_services(&services(&first, "unhealthy"));
        alone(&load, &envoy, "near", &[&first, far]).await;
        // Killed while nobody uses it, and started again elsewhere.
        first = Backend::http("first").await;
        pilot.write_services(&services(&first, "healthy"));
    }
    alone(&load, &envoy, "first", &[near, far]).await;
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

/// Registries notice late that something has died; what the next ones in line can answer is answered.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_killed_before_a_registry_notices_is_taken_over_and_back() {
    for envoy in [envoy(), oldest_envoy()] {
        let Some(envoy) = envoy else { continue };
        let (mut own, next) = (Vec::new(), Backend::http("next").await);
        own.extend([Backend::http("own").await, Backend::http("own").await]);
        let places = |own: &[Backend]| {
            let near = own.iter().map(|own| own.place().region("eu").zone("a"));
            reviews(&near.chain([next.place().region("eu").zone("b")]).collect::<Vec<_>>())
        };
        let mut pilot = preferring(&places(&own), "");
        pilot.spawn();
        pilot.ready().await;
        let envoy = Envoy::start_with(&envoy, &pilot, Kind::Delta, &HERE).await;
        envoy.answers(HOST, "own").await;
        let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
        alone(&load, &envoy, "own", &[&next]).await;
        load.finish().await.assert_no_failure();
        // Requests that a server has got are not sent to another: what they do might be done twice.
        own.clear();
        envoy.answers(HOST, "next").await;
        let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
        load.more(200).await;
        own.push(Backend::http("own").await);
        pilot.write_services(&places(&own));
        alone(&load, &envoy, "own", &[&next]).await;
        load.finish().await.assert_no_failure();
        envoy.assert_no_rejections().await;
    }
}

/// gRPC refuses priorities with gaps, and one locality twice in a priority.
#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_uses_its_zone_and_the_next_one_when_that_is_unhealthy() {
    let Some(python) = python() else { return };
    let (own, next) = (GrpcBackend::start(&python, "own"), GrpcBackend::start(&python, "next"));
    let echo = |health: &str| {
        let places = [
            own.place().region("eu").zone("a").health(health),
            next.place().region("eu").zone("b").health("healthy"),
        ];
        service("echo.local", 50051, "grpc", &places)
    };
    let mut pilot = preferring(&echo("healthy"), "");
    pilot.spawn();
    pilot.ready().await;
    let mut client = GrpcClient::start_with(&python, &pilot, "xds:///echo.local:50051", &HERE);
    for (health, name) in [("healthy", "own"), ("unhealthy", "next"), ("healthy", "own")] {
        pilot.write_services(&echo(health));
        until(&format!("{name} answers"), async || {
            let answer = client.call()?;
            holds(answer == name, answer)
        })
        .await;
        for _ in 0..20 {
            assert_eq!(client.call().unwrap(), name);
        }
    }
}
