//! One service in several registries of different kinds.

use std::collections::BTreeSet;
use std::fs;

use super::platform::{Consul, Etcd, Kubernetes, PORT, Platform};
use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::http;
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::tools::envoy;
use crate::support::wait::{holds, until};

/// The host under which the service is in all of them.
const HOST: &str = "reviews.mesh";

/// Consul's table, with a host as etcd has it.
fn consul_table(consul: &Consul, name: &str) -> String {
    consul.tables(name) + "host = \"{service}.mesh\"\n"
}

/// The endpoints that Envoy has of the service, and in how many clusters.
async fn endpoints(envoy: &Envoy) -> Result<(BTreeSet<String>, usize), String> {
    let text = http::body(envoy.admin_address(), "envoy", "/clusters").await?;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split("::").collect()).collect();
    let of_it = lines.iter().filter(|line| line[0].ends_with(&format!("||{HOST}")));
    let clusters: BTreeSet<&str> = of_it.clone().map(|line| line[0]).collect();
    let healthy = of_it.filter(|line| line.len() > 3 && line[2] == "health_flags");
    Ok((healthy.map(|line| line[1].to_owned()).collect(), clusters.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn service_in_a_file_in_consul_and_in_etcd_is_one_cluster() {
    let (Some(binary), Some(mut consul), Some(mut etcd)) =
        (envoy(), Consul::start().await, Etcd::start().await)
    else {
        return;
    };
    let mut backends = Vec::new();
    for name in ["file", "consul", "etcd"] {
        backends.push(Backend::http_at_port(name, PORT).await);
    }
    let [file, in_consul, in_etcd] = &backends[..] else { unreachable!("there are three") };
    consul.put("reviews", "1", in_consul.socket()).await;
    etcd.put("reviews", "1", in_etcd.socket()).await;
    let tables = "[registry.local.file]\npath = \"services.toml\"\n".to_owned()
        + &consul_table(&consul, "east")
        + &etcd.tables("west");
    let mut pilot = Pilot::prepare_with(&tables);
    pilot.write_services(&service(HOST, PORT, "http", &[file.place()]));
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    let all: BTreeSet<String> = backends.iter().map(|it| it.socket().to_string()).collect();
    let whole = async || {
        let found = endpoints(&envoy).await?;
        holds(found == (all.clone(), 1), format!("{found:?}, expected {all:?} in one cluster"))
    };
    until("one cluster has all endpoints", whole).await;
    let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
    until("all of them are asked", async || {
        holds(backends.iter().all(|it| it.served() > 50), "some are not")
    })
    .await;

    // What a registry has stays while it is in trouble, and others' changes are not held back.
    let in_trouble = async |names: &[&str]| {
        until("registries are in trouble", async || {
            let report = pilot.debug("/debug/registries").await?;
            let registries = report["registries"].as_array().ok_or(report.to_string())?;
            let degraded = registries.iter().filter(|it| it["health"] == "degraded");
            let degraded: BTreeSet<_> = degraded.filter_map(|it| it["name"].as_str()).collect();
            holds(degraded == names.iter().copied().collect(), &report)
        })
        .await;
    };
    consul.kill();
    fs::remove_file(pilot.services()).unwrap();
    in_trouble(&["east", "local"]).await;
    etcd.put("ratings", "1", in_etcd.socket()).await;
    envoy.answers(&Etcd::host("ratings"), "etcd").await;
    etcd.kill();
    in_trouble(&["east", "local", "west"]).await;
    load.more(500).await;
    whole().await.unwrap();
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

/// What machines have registered, and what a cluster runs.
#[tokio::test(flavor = "multi_thread")]
async fn service_in_consul_and_in_kubernetes_is_one_cluster() {
    let (Some(binary), Some(consul), Some(kubernetes)) =
        (envoy(), Consul::start().await, Kubernetes::start().await)
    else {
        return;
    };
    let mut backends = Vec::new();
    for name in ["machine-1", "machine-2", "pod-1", "pod-2"] {
        backends.push(Backend::http_at_port(name, PORT).await);
    }
    let (machines, pods) = backends.split_at(2);
    for (backend, id) in machines.iter().zip(["1", "2"]) {
        consul.put("reviews", id, backend.socket()).await;
    }
    for (backend, id) in pods.iter().zip(["1", "2"]) {
        kubernetes.put("reviews", id, backend.socket()).await;
    }
    let mut pilot = Pilot::prepare_with(&(consul_table(&consul, "east") + &kubernetes.tables("west")));
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    let sockets = |of: &[Backend]| of.iter().map(|it| it.socket().to_string()).collect::<BTreeSet<_>>();
    let has = async |expected: &BTreeSet<String>| {
        until("one cluster has the endpoints", async || {
            let found = endpoints(&envoy).await?;
            holds(found == (expected.clone(), 1), format!("{found:?}, expected {expected:?} in one cluster"))
        })
        .await;
    };
    has(&sockets(&backends)).await;
    let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
    until("all of them are asked", async || {
        holds(backends.iter().all(|it| it.served() > 50), "some are not")
    })
    .await;
    for (backend, id) in machines.iter().zip(["1", "2"]) {
        consul.set_healthy("reviews", id, backend.socket(), false).await;
        consul.remove("reviews", id).await;
    }
    has(&sockets(pods)).await;
    load.more(200).await;
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

/// The preferred instances fail, as Consul sees it, and are there again.
#[tokio::test(flavor = "multi_thread")]
async fn traffic_fails_over_to_another_registry_and_returns() {
    let (Some(binary), Some(consul), Some(etcd)) = (envoy(), Consul::start().await, Etcd::start().await)
    else {
        return;
    };
    let (first, second) =
        (Backend::http_at_port("first", PORT).await, Backend::http_at_port("second", PORT).await);
    consul.put_checked("reviews", "1", first.socket()).await;
    etcd.put("reviews", "1", second.socket()).await;
    let tables = consul_table(&consul, "east") + &etcd.tables("west") + "[registry.west]\npriority = 1\n";
    let mut pilot = Pilot::prepare_with(&tables);
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    envoy.answers_only(HOST, "first").await;

    // Maintenance is announced: nobody notices.
    let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
    let before = second.served();
    consul.set_maintenance("reviews", "1", true).await;
    envoy.answers_only(HOST, "second").await;
    consul.set_maintenance("reviews", "1", false).await;
    envoy.answers_only(HOST, "first").await;
    load.finish().await.assert_no_failure();
    assert!(second.served() > before);

    // Death is not: until Consul has seen it, requests fail.
    let at = first.socket();
    drop(first);
    envoy.answers_only(HOST, "second").await;
    let load = Load::start(envoy.http_address(), &[HOST], 2, &[]);
    load.more(200).await;
    let _first = Backend::http_again("first", at).await;
    envoy.answers_only(HOST, "first").await;
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}
