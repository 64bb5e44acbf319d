//! The last known good on disk, and the guard, as proxies see them.

use std::fs;

use super::platform::{Etcd, PORT, Platform};
use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::http;
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::tools::envoy;
use crate::support::wait::{holds, until};

async fn readyz(pilot: &Pilot, expected: &str) {
    let admin = pilot.admin_address();
    until("/readyz", async || {
        let body = http::body(admin, "localhost", "/readyz").await?;
        holds(body.contains(expected), body)
    })
    .await;
}

/// Waits until so many endpoints of the only registry are held.
async fn held(pilot: &Pilot, expected: u64) {
    until("held", async || {
        let report = pilot.debug("/debug/registries").await?;
        let held = report["registries"][0]["held"]["endpoints"].as_u64().unwrap_or(0);
        holds(held == expected, report)
    })
    .await;
}

/// L12: pilot restarts while its registry is down. Proxies that are there and proxies that come are served.
#[tokio::test(flavor = "multi_thread")]
async fn l12_pilot_that_starts_while_its_registry_is_down_serves_from_disk() {
    let Some(binary) = envoy() else { return };
    let (a, b) = (Backend::http("a").await, Backend::http("b").await);
    let one = |backend: &Backend| service("stays.local", 9080, "http", &[backend.place()]);
    let mut pilot = Pilot::prepare(&one(&a));
    pilot.configure("[xds]", "[state]\ndir = \"state\"\n[xds]");
    pilot.spawn();
    pilot.ready().await;
    let file = pilot.folder().join("state/local.snapshot");
    until("it is on disk", async || fs::metadata(&file)).await;
    let old = Envoy::start(&binary, &pilot, Kind::Delta).await;
    old.answers("stays.local", "a").await;
    let load = Load::start(old.http_address(), &["stays.local"], 2, &[]);

    pilot.kill();
    pilot.write_services("[[service");
    pilot.spawn();
    pilot.ready().await;
    readyz(&pilot, "registry local: stale: from disk, as of ").await;
    old.is_connected(true).await;
    load.more(500).await;
    load.finish().await.assert_no_failure();
    drop(old);
    let new = Envoy::start(&binary, &pilot, Kind::Sotw).await;
    new.answers("stays.local", "a").await;

    pilot.write_services(&one(&b));
    new.answers("stays.local", "b").await;
    readyz(&pilot, "ready\n").await;
    new.assert_no_rejections().await;
}

/// L22: the platform says that everything is gone, and then that it is not.
#[tokio::test(flavor = "multi_thread")]
async fn l22_a_mass_disappearance_costs_no_request_and_is_let_go_when_it_is_confirmed() {
    let (Some(binary), Some(etcd)) = (envoy(), Etcd::start().await) else { return };
    let host = Etcd::host("many");
    let mut backends = Vec::new();
    for n in 0..12 {
        backends.push(Backend::http_at_port(&format!("b{n}"), PORT).await);
    }
    let put_all = async || {
        for (n, backend) in backends.iter().enumerate() {
            etcd.put("many", &format!("b{n}"), backend.socket()).await;
        }
    };
    put_all().await;
    let mut pilot = Pilot::prepare_with(&(etcd.tables("east") + "[guard]\nhold = \"1h\"\n"));
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    envoy.answers(&host, "b7").await;
    let load = Load::start(envoy.http_address(), &[&host], 2, &[]);
    etcd.remove_all("many").await;
    held(&pilot, 12).await;
    load.more(300).await;
    put_all().await;
    held(&pilot, 0).await;
    load.more(300).await;
    load.finish().await.assert_no_failure();

    etcd.remove_all("many").await;
    held(&pilot, 12).await;
    let released = pilot.command(&["registries", "release", "east", "--config"]).arg(pilot.config()).output();
    let released = released.unwrap();
    assert!(
        String::from_utf8_lossy(&released.stdout).starts_with("let go of 12 endpoints of east"),
        "{released:?}"
    );
    envoy.knows_nothing_of(&host).await;

    // What is confirmed by a second read, after a third of the time, is let go by itself.
    pilot.configure("hold = \"1h\"", "hold = \"3s\"");
    put_all().await;
    pilot.kill();
    pilot.spawn();
    pilot.ready().await;
    envoy.answers(&host, "b7").await;
    etcd.remove_all("many").await;
    envoy.knows_nothing_of(&host).await;
    assert!(pilot.process().output().contains("reading everything again"));
    envoy.assert_no_rejections().await;
}

/// What is held may be dead: it gets requests only where what is said to be there does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_the_last_resort() {
    let (Some(binary), Some(etcd)) = (envoy(), Etcd::start().await) else { return };
    let host = Etcd::host("many");
    let mut backends = Vec::new();
    for n in 0..12 {
        backends.push(Backend::http_at_port(&format!("b{n}"), PORT).await);
        etcd.put("many", &format!("b{n}"), backends[n].socket()).await;
    }
    let mut pilot = Pilot::prepare_with(&(etcd.tables("east") + "[guard]\nhold = \"1h\"\n"));
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    envoy.answers(&host, "b7").await;
    for n in 0..11 {
        etcd.remove("many", &format!("b{n}")).await;
    }
    held(&pilot, 11).await;
    envoy.answers_only(&host, "b11").await;
    drop(backends.pop());
    envoy.answers(&host, "b7").await;
    envoy.assert_no_rejections().await;
}

/// A services file is a person's word: what it says counts at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_no_longer_has_is_gone_at_once() {
    let Some(binary) = envoy() else { return };
    let backend = Backend::http("a").await;
    let mut pilot = Pilot::prepare(&service("only.local", 9080, "http", &[backend.place()]));
    pilot.configure("[xds]", "[guard]\nhold = \"1h\"\n[xds]");
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    envoy.answers("only.local", "a").await;
    pilot.write_services("service = []");
    envoy.knows_nothing_of("only.local").await;
    held(&pilot, 0).await;
}

/// L22: the platform loses everything while no pilot runs, and answers the next one at once.
#[tokio::test(flavor = "multi_thread")]
async fn l22_etcd_that_is_wiped_while_pilot_is_away_costs_no_request() {
    let (Some(binary), Some(etcd)) = (envoy(), Etcd::start().await) else { return };
    let (a, b) = (Backend::http_at_port("a", PORT).await, Backend::http_at_port("b", PORT).await);
    let host = Etcd::host("stays");
    etcd.put("stays", "a", a.socket()).await;
    etcd.put("stays", "b", b.socket()).await;
    let tables = "[state]\ndir = \"state\"\n[guard]\nhold = \"1h\"\n";
    let mut pilot = Pilot::prepare_with(&(etcd.tables("east") + tables));
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    envoy.answers(&host, "a").await;
    envoy.answers(&host, "b").await;
    let file = pilot.folder().join("state/east.snapshot");
    let good = || fs::read_to_string(&file).is_ok_and(|text| text.matches("127.").count() >= 2);
    until("all of it is on disk", async || holds(good(), "it is not")).await;
    let load = Load::start(envoy.http_address(), &[&host], 2, &[]);

    pilot.kill();
    envoy.is_connected(false).await;
    etcd.remove("stays", "a").await;
    etcd.remove("stays", "b").await;
    pilot.spawn();
    pilot.ready().await;
    held(&pilot, 2).await;
    assert_eq!(pilot.debug("/debug/registries").await.unwrap()["registries"][0]["origin"], "registry");
    envoy.is_connected(true).await;
    load.more(500).await;
    load.finish().await.assert_no_failure();
    assert!(good(), "what is held was written over");

    // etcd says so again a third of the time later.
    pilot.configure("hold = \"1h\"", "hold = \"3s\"");
    pilot.kill();
    pilot.spawn();
    envoy.knows_nothing_of(&host).await;
    assert!(pilot.process().output().contains("mass disappearance is held back"));
    until("what is left is on disk", async || holds(!good(), "it is not")).await;
    envoy.assert_no_rejections().await;
}
