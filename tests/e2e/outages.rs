//! A registry's server is lost and comes back: meanwhile no request fails, no endpoint goes, and what
//! changed is made up for in time.

mod kubernetes;

use tokio::time::Instant;

use super::mesh::Mesh;
use super::platform::{Consul, Etcd, Platform};

/// When an operator can write to the server.
#[derive(PartialEq)]
enum Writes {
    /// Only pilot has lost it.
    Meanwhile,
    /// It is gone for everybody.
    Afterwards,
}

/// The server is lost until it is healed, which is after pilot has failed so many times to reach it.
async fn outage<P: Platform>(
    platform: Option<P>,
    failures: usize,
    writes: Writes,
    begin: impl AsyncFnOnce(&mut P),
    heal: impl AsyncFnOnce(&mut P),
) {
    let Some(platform) = platform else { return };
    let Some(mut mesh) = Mesh::of(platform).await else { return };
    let before = mesh.endpoints().await;
    begin(&mut mesh.platform).await;
    mesh.registry_is("degraded").await;
    mesh.has_failed(failures).await;
    mesh.goes_on(500).await;
    if writes == Writes::Meanwhile {
        mesh.change().await;
    }
    assert_eq!(mesh.endpoints().await, before, "something was taken away during the outage");
    heal(&mut mesh.platform).await;
    if writes == Writes::Afterwards {
        mesh.change().await;
    }
    // Nothing can arrive before it is written.
    let healed = Instant::now();
    mesh.changed(healed).await;
    mesh.registry_is("live").await;
    mesh.assert_unharmed(before).await;
}

/// It is killed (-9) and started again.
async fn kill<P: Platform>() {
    outage(P::start().await, 3, Writes::Afterwards, async |it| it.kill(), async |it| it.restart().await)
        .await;
}

/// Its machine is there, but nobody listens; so long that pilot waits its longest between two attempts.
async fn refusal<P: Platform>() {
    let cut = async |it: &mut P| it.relays().iter().for_each(|relay| relay.refuse());
    outage(P::start().await, 8, Writes::Meanwhile, cut, open).await;
}

/// Nothing arrives any more, and nobody is told.
async fn partition<P: Platform>() {
    let cut = async |it: &mut P| it.relays().iter().for_each(|relay| relay.silence());
    outage(P::start().await, 3, Writes::Meanwhile, cut, open).await;
}

async fn open<P: Platform>(platform: &mut P) {
    platform.relays().iter().for_each(|relay| relay.open());
}

/// pilot's user may no longer read.
async fn revocation<P: Platform>(platform: Option<P>) {
    let revoke = async |it: &mut P| it.revoke().await;
    outage(platform, 3, Writes::Meanwhile, revoke, async |it| it.restore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consul_is_killed_and_started_again() {
    kill::<Consul>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consul_refuses_connections_for_a_while() {
    refusal::<Consul>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consul_is_cut_off_by_a_partition() {
    partition::<Consul>().await;
}

/// Consul tells those who wait for a change when their wait ends, and not earlier.
#[tokio::test(flavor = "multi_thread")]
async fn consul_revokes_the_token() {
    revocation(Consul::start_impatient().await).await;
}

/// Consul does not refuse a token without rights: it answers that there is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn consul_takes_from_the_token_what_it_may_read() {
    let cut = async |it: &mut Consul| it.set_readable(false).await;
    let heal = async |it: &mut Consul| it.set_readable(true).await;
    outage(Consul::start_impatient().await, 3, Writes::Meanwhile, cut, heal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_killed_and_started_again() {
    kill::<Etcd>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_refuses_connections_for_a_while() {
    refusal::<Etcd>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_cut_off_by_a_partition() {
    partition::<Etcd>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_revokes_the_role() {
    revocation(Etcd::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_revokes_the_certificate() {
    revocation(Etcd::with_certificates().await).await;
}

/// What pilot would watch on from is no longer there when it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_compacted_during_an_outage() {
    let cut = async |it: &mut Etcd| it.relays()[0].refuse();
    let heal = async |it: &mut Etcd| {
        it.cluster.compact().await.unwrap();
        it.relays()[0].open();
    };
    outage(Etcd::start().await, 3, Writes::Meanwhile, cut, heal).await;
}

/// Two of three nodes go on: for pilot hardly anything has happened, whichever of them it was connected to.
#[tokio::test(flavor = "multi_thread")]
async fn etcd_loses_its_leader() {
    let Some(platform) = Etcd::of(3).await else { return };
    let Some(mut mesh) = Mesh::of(platform).await else { return };
    let before = mesh.endpoints().await;
    let lost = mesh.platform.cluster.leader().await.unwrap();
    mesh.platform.cluster.kill(lost);
    mesh.platform.cluster.leader().await.unwrap();
    let healed = Instant::now();
    mesh.change().await;
    mesh.changed(healed).await;
    mesh.registry_is("live").await;
    mesh.platform.cluster.restart(lost).await.unwrap();
    mesh.goes_on(200).await;
    mesh.assert_unharmed(before).await;
}

/// One node of three cannot decide anything. Reads that it would answer are old: none may be believed.
#[tokio::test(flavor = "multi_thread")]
async fn etcd_loses_its_majority() {
    let cut = async |it: &mut Etcd| [0, 1].into_iter().for_each(|node| it.cluster.kill(node));
    let heal = async |it: &mut Etcd| {
        for node in [0, 1] {
            it.cluster.restart(node).await.unwrap();
        }
        it.cluster.ready().await.unwrap();
    };
    outage(Etcd::of(3).await, 3, Writes::Afterwards, cut, heal).await;
}
