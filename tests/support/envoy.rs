//! A real Envoy as a client of pilot.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::bootstrap;
use super::http;
use super::pilot::Pilot;
use super::process::Process;
use super::wait::{holds, until};

/// The way in which an Envoy asks for its configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// One aggregated stream, only what changed.
    Delta,
    /// One aggregated stream, the state of the world.
    Sotw,
    /// One stream for each type, only what changed.
    PerTypeDelta,
    /// One stream for each type, the state of the world.
    PerTypeSotw,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Delta, Self::Sotw, Self::PerTypeDelta, Self::PerTypeSotw];
}

/// Connections of a listener that changes are cut after so many seconds, so that a test sees it.
const SOON: u32 = 1;

/// A running Envoy. It ends when this is dropped.
pub(crate) struct Envoy {
    process: Process,
    address: Ipv4Addr,
    _folder: TempDir,
}

impl Envoy {
    /// Starts an Envoy that gets its configuration from pilot, and waits until it has it.
    pub(crate) async fn start(binary: &Path, pilot: &Pilot, kind: Kind) -> Self {
        Self::start_with(binary, pilot, kind, &[]).await
    }

    /// The same, with further arguments for `pilot bootstrap`.
    pub(crate) async fn start_with(binary: &Path, pilot: &Pilot, kind: Kind, more: &[&str]) -> Self {
        let mut envoy = Self::spawn_with(binary, pilot, kind, more);
        envoy.configured().await;
        envoy
    }

    /// The same, of a node that says this of itself (`node.metadata`).
    pub(crate) async fn start_saying(binary: &Path, pilot: &Pilot, kind: Kind, metadata: Value) -> Self {
        let mut document = bootstrap::envoy(pilot, kind, &[]);
        document["node"]["metadata"] = metadata;
        let mut envoy = Self::spawn_from(binary, &document, pilot.address(), SOON);
        envoy.configured().await;
        envoy
    }

    /// The same; connections of a listener that changes are cut only after so many seconds.
    pub(crate) async fn start_draining(binary: &Path, pilot: &Pilot, kind: Kind, seconds: u32) -> Self {
        let document = bootstrap::envoy(pilot, kind, &[]);
        let mut envoy = Self::spawn_from(binary, &document, pilot.address(), seconds);
        envoy.configured().await;
        envoy
    }

    /// The same, with this bootstrap.
    pub(crate) async fn start_from(binary: &Path, pilot: &Pilot, document: &Value) -> Self {
        let mut envoy = Self::spawn_from(binary, document, pilot.address(), SOON);
        envoy.configured().await;
        envoy
    }

    /// Starts an Envoy and does not wait for anything.
    pub(crate) fn spawn(binary: &Path, pilot: &Pilot, kind: Kind) -> Self {
        Self::spawn_with(binary, pilot, kind, &[])
    }

    /// The same, as one of several: it is at an address of its own, and connects from there.
    pub(crate) fn spawn_at(binary: &Path, pilot: &Pilot, kind: Kind, address: Ipv4Addr) -> Self {
        let id = format!("envoy-{address}");
        let mut document = bootstrap::envoy(pilot, kind, &["--node-id", &id]);
        document["admin"]["address"]["socket_address"]["address"] = json!(address);
        let from = json!({ "source_address": { "address": address, "port_value": 0 } });
        document["static_resources"]["clusters"][0]["upstream_bind_config"] = from;
        Self::spawn_from(binary, &document, address, SOON)
    }

    /// The same as [`Self::spawn`], with further arguments for `pilot bootstrap`.
    pub(crate) fn spawn_with(binary: &Path, pilot: &Pilot, kind: Kind, more: &[&str]) -> Self {
        Self::spawn_from(binary, &bootstrap::envoy(pilot, kind, more), pilot.address(), SOON)
    }

    fn spawn_from(binary: &Path, document: &Value, address: Ipv4Addr, drain_seconds: u32) -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("envoy.json");
        fs::write(&config, document.to_string()).unwrap();
        let mut command = Command::new(binary);
        command.arg("--config-path").arg(config).current_dir(folder.path());
        // Without its shared memory, which a killed Envoy would leave behind.
        command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"]);
        command.args(["--drain-time-s", &drain_seconds.to_string()]);
        let process = Process::spawn("envoy", folder.path(), &mut command);
        Self { process, address, _folder: folder }
    }

    /// Waits until it has clusters and listeners, and serves.
    pub(crate) async fn configured(&mut self) {
        let admin = self.admin_address();
        until("envoy is configured", async || {
            self.process.assert_alive();
            http::body(admin, "envoy", "/ready").await?;
            let stats = stats(admin).await?;
            for counter in ["cluster_manager.cds.update_success", "listener_manager.lds.update_success"] {
                holds(stats.get(counter) > Some(&0), format!("{counter} is 0"))?;
            }
            let warming = ["cluster_manager.warming_clusters", "listener_manager.total_listeners_warming"];
            for gauge in warming {
                holds(stats.get(gauge) == Some(&0), format!("{gauge} is {:?}", stats.get(gauge)))?;
            }
            Ok::<_, String>(())
        })
        .await;
    }

    /// The running process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Where its admin interface is.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        (self.address, 15000).into()
    }

    /// Where it takes requests for every HTTP service.
    pub(crate) fn http_address(&self) -> SocketAddr {
        self.port(15080)
    }

    /// Where it takes requests for the services with this port.
    pub(crate) fn port(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }

    /// Waits until requests for the host are answered by this backend.
    pub(crate) async fn answers(&self, host: &str, name: &str) {
        until(&format!("{host} is answered by {name}"), async || {
            let answer = http::body(self.http_address(), host, "/").await?;
            holds(answer == name, format!("{answer} answered"))
        })
        .await;
    }

    /// Waits until requests for the host are answered by this backend, and by no other.
    pub(crate) async fn answers_only(&self, host: &str, name: &str) {
        until(&format!("{host} is answered by {name} alone"), async || {
            for _ in 0..8 {
                let answer = http::body(self.http_address(), host, "/").await?;
                holds(answer == name, format!("{answer} answered"))?;
            }
            Ok::<_, String>(())
        })
        .await;
    }

    /// Waits until nobody is responsible for the host.
    pub(crate) async fn knows_nothing_of(&self, host: &str) {
        until(&format!("{host} is gone"), async || {
            let answer = http::get(self.http_address(), host, "/").await?;
            holds(answer.status == 404, answer.status)
        })
        .await;
    }

    /// Waits until the cluster has so many endpoints.
    pub(crate) async fn has_endpoints(&self, cluster: &str, count: u64) {
        until(&format!("{cluster} has {count} endpoints"), async || {
            let total = self.stat(&format!("cluster.{cluster}.membership_total")).await?;
            holds(total == count, format!("it has {total}"))
        })
        .await;
    }

    /// Waits until it has, or has not, a stream to pilot.
    pub(crate) async fn is_connected(&self, expected: bool) {
        until("the stream's state", async || {
            let state = self.stat("control_plane.connected_state").await?;
            holds(state == u64::from(expected), format!("connected_state is {state}"))
        })
        .await;
    }

    /// All counters and gauges.
    pub(crate) async fn stats(&self) -> BTreeMap<String, u64> {
        stats(self.admin_address()).await.unwrap()
    }

    /// One counter or gauge; those of a cluster are there as long as the cluster is.
    pub(crate) async fn stat(&self, name: &str) -> Result<u64, String> {
        let stats = stats(self.admin_address()).await?;
        stats.get(name).copied().ok_or_else(|| format!("envoy has no statistic {name}"))
    }

    /// Panics if it has ever refused an update, or never taken one.
    pub(crate) async fn assert_no_rejections(&self) {
        let stats = self.stats().await;
        let above_zero = |suffix: &str| -> Vec<(&String, &u64)> {
            stats.iter().filter(|(name, count)| name.ends_with(suffix) && **count > 0).collect()
        };
        let rejected = above_zero(".update_rejected");
        if !rejected.is_empty() {
            let log = self.process.output();
            let why: Vec<&str> = log.lines().filter(|line| line.contains("reject")).take(10).collect();
            panic!("envoy rejected updates: {rejected:?}: {why:#?}");
        }
        assert!(!above_zero(".update_success").is_empty(), "envoy took no update");
    }
}

async fn stats(admin: SocketAddr) -> Result<BTreeMap<String, u64>, String> {
    let text = http::body(admin, "envoy", "/stats").await?;
    let pairs = text.lines().filter_map(|line| line.split_once(": "));
    Ok(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
}
