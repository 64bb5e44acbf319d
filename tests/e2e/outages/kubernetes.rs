//! Outages of an API server of Kubernetes.

use std::time::Duration;

use serde_json::Value;
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

/// While pilot is cut off and does not know it, the server forgets what pilot would watch on from: 410 is the
/// answer when it asks for that.
#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_is_compacted_during_an_outage() {
    let Some(platform) = Kubernetes::start().await else { return };
    let Some(mesh) = Mesh::of(platform).await else { return };
    let before = mesh.endpoints().await;
    watches_last(&mesh).await;
    mesh.platform.relays()[0].silence();
    mesh.goes_on(200).await;
    mesh.change().await;
    mesh.platform.server.compact();
    mesh.platform.relays()[0].open();
    let healed = Instant::now();
    // What fell silent ends with this.
    mesh.platform.relays()[0].cut();
    mesh.changed(healed).await;
    // The first, the one that was refused, and the one after the list.
    lost_its_history(&mesh, 3).await;
    mesh.goes_on(200).await;
    mesh.assert_unharmed(before).await;
}

/// What happened last is forgotten while pilot watches. The server was there all the time.
#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_loses_its_history() {
    let Some(platform) = Kubernetes::start().await else { return };
    let Some(mesh) = Mesh::of(platform).await else { return };
    let before = mesh.endpoints().await;
    watches_last(&mesh).await;
    let healed = Instant::now();
    mesh.change().await;
    mesh.platform.server.compact();
    mesh.changed(healed).await;
    lost_its_history(&mesh, 2).await;
    mesh.goes_on(200).await;
    mesh.assert_unharmed(before).await;
}

/// Waits until all watches are older than one that breaks as soon as it has begun.
async fn watches_last(mesh: &Mesh<Kubernetes>) {
    until_watches(mesh, "have lasted for a second", |watch| {
        watch["state"] == "watching" && watch["age_seconds"].as_f64().is_some_and(|age| age > 1.0)
    })
    .await;
}

/// Every watch is told so (410), and everything is listed anew in place: no attempt fails. Watches have then
/// been opened so many times.
async fn lost_its_history(mesh: &Mesh<Kubernetes>, opened: u64) {
    until_watches(mesh, "are listed anew in place", |watch| {
        let said = watch.pointer("/last_error/error").and_then(|it| it.as_str()).unwrap_or_default();
        said.contains("the history is lost") && watch["opened"] == opened && watch["lists"] == 2
    })
    .await;
    mesh.registry_is("live").await;
}

/// Waits until what pilot says of each watch is right.
async fn until_watches(mesh: &Mesh<Kubernetes>, what: &str, right: impl Fn(&Value) -> bool) {
    until(&format!("all watches {what}"), async || {
        let report = mesh.pilot.debug("/debug/registries").await?;
        let watches = report.pointer("/registries/0/watches").and_then(|it| it.as_object());
        let all = watches.is_some_and(|all| all.len() == 4 && all.values().all(&right));
        holds(all, report.clone())
    })
    .await;
}

/// A server that is started on an empty store says so, in order, until the store is there: the guard holds
/// what was known, and what changed meanwhile counts when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_begins_empty_after_a_restart() {
    let Some(platform) = Kubernetes::start().await else { return };
    // Long enough for all of this, also on a machine that is busy: a second read confirms after a third of it.
    let Some(mut mesh) = Mesh::with(platform, "[guard]\nhold = \"1h\"\n").await else { return };
    let before = mesh.endpoints().await;
    mesh.platform.kill();
    mesh.registry_is("degraded").await;
    mesh.platform.lose_objects();
    mesh.platform.restart().await;
    holds_back(&mesh, Some(4)).await;
    // The time in which such a store is restored.
    throughout("everything is as it was", Duration::from_secs(3), async || {
        let now = mesh.endpoints().await;
        holds(now == before, format!("{now:#?} instead of {before:#?}"))
    })
    .await;
    mesh.goes_on(500).await;
    // It comes back in pieces.
    for (service, held) in [("goes", Some(3)), ("moves", Some(2)), ("stays", None)] {
        mesh.platform.restore_objects(service);
        holds_back(&mesh, held).await;
    }
    mesh.change().await;
    let healed = Instant::now();
    mesh.changed(healed).await;
    mesh.registry_is("live").await;
    mesh.assert_unharmed(before).await;
}

/// Waits until that many endpoints are held that the registry lacks.
async fn holds_back(mesh: &Mesh<Kubernetes>, endpoints: Option<u64>) {
    until(&format!("{endpoints:?} endpoints are held"), async || {
        let report = mesh.pilot.debug("/debug/registries").await?;
        let held = report.pointer("/registries/0/held/endpoints").and_then(|it| it.as_u64());
        holds(held == endpoints, report.clone())
    })
    .await;
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
