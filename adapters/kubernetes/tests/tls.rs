//! API servers speak TLS: who they are is checked, and who pilot is, they are told by certificate or token.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/front.rs"]
mod front;

use anyhow::Result;
use cluster::{Cluster, TOKEN};
use front::Front;
use pilot_registry::{ErrorKind, State};
use pilot_registry_testkit::Runner;
use pilot_registry_testkit::server::{Authority, Certificate, Relay};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

async fn until_served(runner: &mut Runner) -> Result<()> {
    let host = "web.shop.svc.cluster.local";
    let served = |state: &State<_>| {
        let published: &pilot_registry::Published<pilot_registry::Snapshot> = state.published.as_ref()?;
        published.value.get(host).map(drop)
    };
    runner.until(host, served).await
}

/// A cluster behind TLS, with a service.
async fn start(authority: &mut Authority, clients: bool) -> Result<(Cluster, Front)> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    let certificate = authority.issue("server", &["127.0.0.1"])?;
    let front =
        Front::to(cluster.relay.address(), &certificate, clients.then(|| authority.certificate())).await?;
    Ok((cluster, front))
}

fn of(front: &Front, authority: &Authority) -> Value {
    let server = format!("https://{}", front.address());
    json!({ "server": server, "certificate-authority": authority.certificate() })
}

fn user(certificate: &Certificate) -> Value {
    json!({ "token": TOKEN, "client-certificate": certificate.certificate, "client-key": certificate.key })
}

#[tokio::test]
async fn a_server_that_the_kubeconfig_trusts_is_followed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut authority = Authority::new(folder.path())?;
    let (cluster, front) = start(&mut authority, false).await?;
    cluster.write_kubeconfig_of(&of(&front, &authority), &json!({ "token": TOKEN }))?;
    until_served(&mut cluster.run(cluster.config())).await
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_told_nothing() -> Result<()> {
    let (folder, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (mut authority, other) = (Authority::new(folder.path())?, Authority::new(other.path())?);
    let (cluster, front) = start(&mut authority, false).await?;
    cluster.write_kubeconfig_of(&of(&front, &other), &json!({ "token": TOKEN }))?;
    let mut runner = cluster.run(cluster.config());
    let error = runner.degraded().await?.error;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.chain().contains("certificate"), "{}", error.chain());
    assert!(cluster.server.requests().is_empty() && runner.feed().published().is_none());
    Ok(())
}

#[tokio::test]
async fn a_client_certificate_that_is_replaced_is_read_again() -> Result<()> {
    let (folder, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (mut authority, mut other) = (Authority::new(folder.path())?, Authority::new(other.path())?);
    let (cluster, front) = start(&mut authority, true).await?;
    cluster.write_kubeconfig_of(&of(&front, &authority), &user(&other.issue("pilot", &["pilot"])?))?;
    let mut runner = cluster.run(cluster.config());
    runner.degraded().await?;
    cluster.write_kubeconfig_of(&of(&front, &authority), &user(&authority.issue("pilot", &["pilot"])?))?;
    until_served(&mut runner).await
}

/// As long as connecting may take, and not as long as an answer may.
#[tokio::test]
async fn a_server_that_is_cut_off_is_given_up_when_connecting() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut authority = Authority::new(folder.path())?;
    let (cluster, front) = start(&mut authority, false).await?;
    let relay = Relay::to(front.address()).await?;
    let server = format!("https://{}", relay.address());
    let cluster_of = json!({ "server": server, "certificate-authority": authority.certificate() });
    cluster.write_kubeconfig_of(&cluster_of, &json!({ "token": TOKEN }))?;
    relay.silence();
    // Nothing happens but time.
    tokio::time::pause();
    let begun = Instant::now();
    let mut runner = cluster.run(cluster.config());
    let error = runner.degraded().await?.error;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    tokio::time::resume();
    relay.refuse();
    relay.open();
    until_served(&mut runner).await
}
