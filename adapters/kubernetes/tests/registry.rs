//! What the contract does not ask: permissions, selections, what a change costs, watches that end.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "support/cluster.rs"]
mod cluster;
#[path = "registry/permissions.rs"]
mod permissions;
#[path = "registry/requests.rs"]
mod requests;
#[path = "registry/services.rs"]
mod services;
#[path = "registry/trouble.rs"]
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cluster::Cluster;
use pilot_registry::{RegistryHealth, Service, Snapshot, State};
use pilot_registry_testkit::Runner;
use tokio::time::Instant;

const WEB: &str = "web.shop.svc.cluster.local";
const PAY: &str = "pay.shop.svc.cluster.local";

fn hosts(snapshot: &Snapshot) -> Vec<String> {
    snapshot.services().iter().map(|service| service.host.to_string()).collect()
}

fn get(state: &State<Snapshot>, host: &str) -> Option<Arc<Service>> {
    state.published.as_ref()?.value.get(host).cloned()
}

/// Waits until a service is there that looks right.
async fn until(runner: &mut Runner, host: &str, right: impl Fn(&Service) -> bool) -> Result<Arc<Service>> {
    runner.until(host, |state| get(state, host).filter(|service| right(service))).await
}

async fn until_hosts(runner: &mut Runner, expected: &[&str]) -> Result<()> {
    let found = |state: &State<Snapshot>| {
        let published = state.published.as_ref()?;
        (hosts(&published.value) == expected).then_some(())
    };
    runner.until("the expected hosts", found).await
}

async fn until_live(runner: &mut Runner) -> Result<()> {
    let live = |state: &State<Snapshot>| matches!(state.health(), RegistryHealth::Live).then_some(());
    runner.until("the registry to be live", live).await
}

/// Waits until every watch has said that nothing happened.
async fn until_checked(cluster: &Cluster, runner: &mut Runner) -> Result<()> {
    let before = runner.feed().published().unwrap().checked;
    cluster.server.bookmark();
    let checked = |state: &State<Snapshot>| (state.published.as_ref()?.checked > before).then_some(());
    runner.until("a check", checked).await
}

/// Waits until every watch has lasted for a while: one that ends as soon as it has begun is another matter.
async fn until_old(cluster: &Cluster, runner: &mut Runner) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        until_checked(cluster, runner).await?;
    }
    Ok(())
}
