//! pilot starts while a registry's server is away: what is on disk is served, and said to be from there.

use serde_json::Value;
use tokio::time::Instant;

use super::mesh::Mesh;
use super::platform::{Consul, Etcd, PORT, Platform};
use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::pilot::Pilot;
use crate::support::tools::envoy;
use crate::support::wait::{holds, until};

const STATE: &str = "[state]\ndir = \"state\"\nwait = \"500ms\"\nsave_interval = \"100ms\"\n";

/// What pilot says of its only registry.
async fn registry(pilot: &Pilot) -> Result<Value, String> {
    let report = pilot.debug("/debug/registries").await?;
    report.pointer("/registries/0").cloned().ok_or(format!("there is none: {report}"))
}

/// Waits until all of it is on disk.
async fn saved(pilot: &Pilot) {
    until("the registry is on disk", async || {
        let registry = registry(pilot).await?;
        let at = |pointer: &str| registry.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        holds(at("/disk/saved_at") >= at("/changed_at") && at("/changed_at").is_some(), &registry)
    })
    .await;
}

/// What is served is from disk, and so it says.
async fn assert_stale(pilot: &Pilot) {
    let registry = registry(pilot).await.unwrap();
    assert_eq!(
        (&registry["origin"], &registry["health"]),
        (&"disk".into(), &"degraded".into()),
        "{registry:#}"
    );
    assert!(registry["age_seconds"].as_f64().is_some_and(|age| age > 0.0), "{registry:#}");
}

/// A proxy that was there before notices nothing.
async fn l12_restart_without_its_registry_takes_nothing_away<P: Platform>() {
    let Some(platform) = P::start().await else { return };
    let Some(mut mesh) = Mesh::with(platform, STATE).await else { return };
    let before = mesh.endpoints().await;
    saved(&mesh.pilot).await;
    mesh.platform.kill();
    mesh.registry_is("degraded").await;
    mesh.pilot.kill();
    mesh.envoy.is_connected(false).await;
    mesh.pilot.spawn();
    mesh.pilot.ready().await;
    mesh.envoy.is_connected(true).await;
    assert_stale(&mesh.pilot).await;
    mesh.goes_on(500).await;
    assert_eq!(mesh.endpoints().await, before, "something was taken away during the outage");

    mesh.platform.restart().await;
    let healed = Instant::now();
    mesh.change().await;
    mesh.changed(healed).await;
    mesh.registry_is("live").await;
    assert_eq!(registry(&mesh.pilot).await.unwrap()["origin"], "registry");
    mesh.assert_unharmed(before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l12_restart_without_consul_takes_nothing_away() {
    l12_restart_without_its_registry_takes_nothing_away::<Consul>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l12_restart_without_etcd_takes_nothing_away() {
    l12_restart_without_its_registry_takes_nothing_away::<Etcd>().await;
}

/// A proxy that comes while the registry is away gets everything.
#[tokio::test(flavor = "multi_thread")]
async fn l12_new_proxy_is_served_from_disk_without_consul() {
    let (Some(binary), Some(mut consul)) = (envoy(), Consul::start().await) else { return };
    let backend = Backend::http_at_port("a", PORT).await;
    consul.put("stays", "a", backend.socket()).await;
    let mut pilot = Pilot::prepare_with(&(consul.tables("east") + STATE));
    pilot.spawn();
    pilot.ready().await;
    saved(&pilot).await;
    consul.kill();
    pilot.kill();
    pilot.spawn();
    pilot.ready().await;
    assert_stale(&pilot).await;
    let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
    envoy.answers(&Consul::host("stays"), "a").await;
}
