//! Outages of an API server of Kubernetes.

use std::time::Duration;

use tokio::time::Instant;

use super::super::mesh::Mesh;
use super::super::platform::{Kubernetes, Platform};
use super::{Writes, kill, open, outage, refusal, revocation};
use crate::support::wait::{holds, throughout, until};

#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_is_killed_and_started_again() {
    kill::<Kubernetes>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_refuses_connections_for_a_while() {
    refusal::<Kubernetes>().await;
}

/// 401, then all is well again.
#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_revokes_the_token() {
    revocation(Kubernetes::start().await).await;
}

/// What a server says that is just starting and has not read its roles yet.
#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_forbids_everything_for_a_while() {
    const RESOURCES: [&str; 4] = ["services", "endpointslices", "pods", "nodes"];
    let set = |it: &mut Kubernetes, forbidden: bool| {
        RESOURCES.iter().for_each(|resource| it.server.set_forbidden(resource, forbidden));
    };
    let forbid = async |it: &mut Kubernetes| {
        set(it, true);
        it.server.end_watches();
    };
    let allow = async |it: &mut Kubernetes| set(it, false);
    outage(Kubernetes::start().await, 3, Writes::Meanwhile, forbid, allow).await;
}

/// What pilot would watch on from is no longer there when it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_is_compacted_during_an_outage() {
    let cut = async |it: &mut Kubernetes| it.relays()[0].refuse();
    let heal = async |it: &mut Kubernetes| {
        it.server.compact();
        open(it).await;
    };
    outage(Kubernetes::start().await, 3, Writes::Meanwhile, cut, heal).await;
}

/// Watches end in order, and when pilot resumes them, what happened since is forgotten: 410. The server was
/// there all the time.
#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_loses_its_history() {
    let Some(platform) = Kubernetes::start().await else { return };
    let Some(mesh) = Mesh::of(platform).await else { return };
    let before = mesh.endpoints().await;
    let lists = mesh.platform.server.requests();
    let healed = Instant::now();
    mesh.platform.server.end_watches();
    mesh.change().await;
    mesh.platform.server.compact();
    mesh.changed(healed).await;
    mesh.registry_is("live").await;
    mesh.goes_on(200).await;
    let again = mesh.platform.server.requests();
    assert_ne!(again, lists, "nothing was asked for again");
    mesh.assert_unharmed(before).await;
}

/// A server that is started on an empty store says so, in order, until the store is there: the guard holds
/// what was known, and what changed meanwhile counts when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_begins_empty_after_a_restart() {
    let Some(platform) = Kubernetes::start().await else { return };
    let Some(mut mesh) = Mesh::of(platform).await else { return };
    let before = mesh.endpoints().await;
    mesh.platform.kill();
    mesh.registry_is("degraded").await;
    mesh.platform.lose_objects();
    mesh.platform.restart().await;
    until("what is gone is held", async || {
        let report = mesh.pilot.debug("/debug/registries").await?;
        let held = report.pointer("/registries/0/held/endpoints").and_then(|it| it.as_u64());
        holds(held == Some(4), report.clone())
    })
    .await;
    // The time in which such a store is restored; the guard lets go no sooner than after ten seconds.
    throughout("everything is as it was", Duration::from_secs(3), async || {
        let now = mesh.endpoints().await;
        holds(now == before, format!("{now:#?} instead of {before:#?}"))
    })
    .await;
    mesh.goes_on(500).await;
    mesh.platform.restore_objects();
    mesh.change().await;
    let healed = Instant::now();
    mesh.changed(healed).await;
    mesh.registry_is("live").await;
    mesh.assert_unharmed(before).await;
}

/// Nothing arrives any more, and nobody is told: noticed when watches are renewed. A request that fell silent
/// is waited for longer than a server that comes back needs, so it is live, not healed, that is in time here.
#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_is_cut_off_by_a_partition() {
    let Some(platform) = Kubernetes::start_impatient().await else { return };
    let Some(mut mesh) = Mesh::of(platform).await else { return };
    let before = mesh.endpoints().await;
    mesh.platform.relays()[0].silence();
    mesh.registry_is("degraded").await;
    mesh.goes_on(500).await;
    mesh.change().await;
    assert_eq!(mesh.endpoints().await, before, "something was taken away during the outage");
    open(&mut mesh.platform).await;
    mesh.registry_is("live").await;
    mesh.changed(Instant::now()).await;
    mesh.assert_unharmed(before).await;
}
