//! A real etcd in trouble, and what is particular to etcd.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "etcd/access.rs"]
mod access;
#[path = "etcd/entries.rs"]
mod entries;
#[path = "etcd/outages.rs"]
mod outages;
#[path = "etcd/registering.rs"]
mod registering;
#[path = "etcd/status.rs"]
mod status;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use pilot_registry_etcd::{Config, registry};
use pilot_registry_testkit::Runner;
use pilot_registry_testkit::server::etcd::EtcdCluster;

/// An instance at that address.
fn instance(address: &str) -> String {
    format!(r#"{{"address": "{address}", "port": 8080}}"#)
}

/// The key of an instance of the service `a.local`.
fn key(id: &str) -> String {
    format!("/pilot/v1/instances/a.local/{id}")
}

async fn put(etcd: &EtcdCluster, id: &str, value: &str) {
    etcd.etcdctl(&["put", &key(id), value]).await.unwrap();
}

/// Follows that configuration, on a machine that may be loaded.
fn follow(mut config: Config) -> Runner {
    config.timeout = Duration::from_secs(10);
    Runner::start(Arc::new(registry(config).unwrap()))
}

/// Waits until the registry is live with these addresses in `a.local`.
async fn sees(runner: &mut Runner, addresses: &[&str]) -> Result<()> {
    let live =
        |state: &pilot_registry::State<_>| matches!(state.health(), pilot_registry::RegistryHealth::Live);
    runner
        .until(&format!("{addresses:?}"), |state: &pilot_registry::State<pilot_registry::Snapshot>| {
            let service = state.published.as_ref()?.value.get("a.local").cloned();
            let endpoints = service.iter().flat_map(|service| &service.endpoints);
            let seen: Vec<String> = endpoints.map(|endpoint| endpoint.address.to_string()).collect();
            (live(state) && seen == addresses).then_some(())
        })
        .await
}
