//! Registries that are servers, in order: what happens there is at the proxies soon.

use std::time::Duration;

use super::mesh::Mesh;
use super::platform::{Consul, Etcd, Kubernetes, Platform};
use crate::support::pilot::Pilot;
use crate::support::wait::{holds, until, within};

/// The time from a write to a platform until Envoy has it.
const SEEN: Duration = Duration::from_secs(1);

/// Waits until Envoy has that many endpoints of `moves`, of which that many are healthy.
async fn has<P: Platform>(mesh: &Mesh<P>, total: u64, healthy: u64) {
    let host = P::host("moves");
    let what = format!("{host} has {total} endpoints, {healthy} of them healthy");
    within(
        SEEN,
        &what,
        until(&what, async || {
            let stats = mesh.envoy.stats().await;
            let gauge = |gauge: &str| {
                let suffix = format!("||{host}.{gauge}");
                stats.iter().find(|(name, _)| name.ends_with(&suffix)).map(|(_, value)| *value)
            };
            let found = (gauge("membership_total"), gauge("membership_healthy"));
            holds(found == (Some(total), Some(healthy)), format!("{found:?}"))
        }),
    )
    .await;
}

/// The pilot of all these tests has nothing that leads it to a Kubernetes, and no home with settings.
fn l7_runs_without_kubernetes(pilot: &mut Pilot) {
    let environment = pilot.process().environment();
    assert!(environment.iter().all(|variable| variable.starts_with("PATH=")), "{environment:?}");
}

/// Instances come, fail, recover and go, under load.
async fn l4_every_change_is_at_envoy_within_a_second<P: Platform>() {
    let Some(platform) = P::start().await else { return };
    let Some(mut mesh) = Mesh::of(platform).await else { return };
    l7_runs_without_kubernetes(&mut mesh.pilot);
    let (platform, b) = (&mesh.platform, mesh.b.socket());
    let before = mesh.endpoints().await;
    has(&mesh, 1, 1).await;
    for _ in 0..5 {
        platform.put("moves", "b", b).await;
        has(&mesh, 2, 2).await;
        platform.set_healthy("moves", "b", b, false).await;
        has(&mesh, 2, 1).await;
        platform.set_healthy("moves", "b", b, true).await;
        has(&mesh, 2, 2).await;
        platform.remove("moves", "b").await;
        has(&mesh, 1, 1).await;
    }
    mesh.change().await;
    mesh.assert_unharmed(before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l4_changes_in_consul_are_at_envoy_within_a_second() {
    l4_every_change_is_at_envoy_within_a_second::<Consul>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l4_changes_in_etcd_are_at_envoy_within_a_second() {
    l4_every_change_is_at_envoy_within_a_second::<Etcd>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l4_changes_in_kubernetes_are_at_envoy_within_a_second() {
    l4_every_change_is_at_envoy_within_a_second::<Kubernetes>().await;
}
