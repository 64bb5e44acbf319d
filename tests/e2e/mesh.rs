//! A platform with services, pilot and Envoy behind it, and requests all the time.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::platform::{PORT, Platform};
use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::tools::envoy;
use crate::support::wait::{holds, until, within};

/// The time after healing within which what changed meanwhile is known.
const HEALED: Duration = Duration::from_secs(5);

/// All of it. The services: `stays` with the instances a and b, `moves` with a, `goes` with a.
pub(super) struct Mesh<P: Platform> {
    pub(super) platform: P,
    pub(super) pilot: Pilot,
    pub(super) envoy: Envoy,
    _a: Backend,
    pub(super) b: Backend,
    staying: Load,
    going: Load,
}

impl<P: Platform> Mesh<P> {
    /// Everything runs, and every instance has been asked.
    pub(super) async fn of(platform: P) -> Option<Self> {
        Self::with(platform, "").await
    }

    /// The same, with more tables in pilot.toml.
    pub(super) async fn with(platform: P, tables: &str) -> Option<Self> {
        let binary = envoy()?;
        let (a, b) = (Backend::http_at_port("a", PORT).await, Backend::http_at_port("b", PORT).await);
        for (service, id, backend) in
            [("stays", "a", &a), ("stays", "b", &b), ("moves", "a", &a), ("goes", "a", &a)]
        {
            platform.put(service, id, backend.socket()).await;
        }
        // Attempts are counted in the log, which tells repeated ones only where it is asked to.
        let log = "[log]\nfilter = \"info,pilot::supervisor=debug\"\n";
        let mut pilot = Pilot::prepare_with(&(platform.tables("east") + log + tables));
        pilot.spawn();
        pilot.ready().await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        for (service, by) in [("stays", "a"), ("stays", "b"), ("moves", "a"), ("goes", "a")] {
            envoy.answers(&P::host(service), by).await;
        }
        let hosts = ["stays", "moves"].map(P::host);
        let staying = Load::start(envoy.http_address(), &hosts.each_ref().map(String::as_str), 2, &[]);
        let going = Load::start(envoy.http_address(), &[&P::host("goes")], 1, &[404]);
        Some(Self { platform, pilot, envoy, _a: a, b, staying, going })
    }

    /// What Envoy counts of the endpoints of `stays`, and of clusters that went: none of it may move.
    pub(super) async fn endpoints(&self) -> BTreeMap<String, u64> {
        let host = format!("||{}.", P::host("stays"));
        let mut stats = self.envoy.stats().await;
        stats.retain(|name, _| {
            name.contains(&host) && name.contains(".membership_") || name.ends_with(".cluster_removed")
        });
        assert!(stats.len() > 2, "{stats:?}");
        stats
    }

    /// Waits until so many more requests have been answered.
    pub(super) async fn goes_on(&self, requests: u64) {
        self.staying.more(requests).await;
    }

    /// Waits until pilot says this of the registry: `live` or `degraded`.
    pub(super) async fn registry_is(&self, expected: &str) {
        until(&format!("the registry is {expected}"), async || {
            let report = self.pilot.debug("/debug/registries").await?;
            let health = report.pointer("/registries/0/health").and_then(|it| it.as_str());
            holds(health == Some(expected), report.clone())
        })
        .await;
    }

    /// Waits until so many attempts to follow the registry have failed.
    pub(super) async fn has_failed(&mut self, times: usize) {
        until(&format!("{times} attempts have failed"), async || {
            let failed = self.pilot.process().output().matches("retry_in_ms=").count();
            holds(failed >= times, format!("{failed} have"))
        })
        .await;
    }

    /// A service gets another instance and loses its first, one comes, one goes.
    pub(super) async fn change(&self) {
        self.platform.put("moves", "b", self.b.socket()).await;
        self.platform.remove("moves", "a").await;
        self.platform.put("comes", "b", self.b.socket()).await;
        self.platform.remove("goes", "a").await;
    }

    /// Waits until Envoy has these changes, in time.
    pub(super) async fn changed(&self, healed: Instant) {
        within(HEALED.saturating_sub(healed.elapsed()), "what changed arrives after healing", async {
            self.envoy.answers_only(&P::host("moves"), "b").await;
            self.envoy.answers(&P::host("comes"), "b").await;
            self.envoy.knows_nothing_of(&P::host("goes")).await;
        })
        .await;
    }

    /// Ends the load: not one request failed, and nothing was taken away but what was to go.
    pub(super) async fn assert_unharmed(self, mut before: BTreeMap<String, u64>) {
        *before.get_mut("cluster_manager.cluster_removed").unwrap() += 1;
        until("the cluster that goes is removed", async || {
            let now = self.endpoints().await;
            holds(now == before, format!("{now:#?} instead of {before:#?}"))
        })
        .await;
        self.staying.finish().await.assert_no_failure();
        self.going.finish().await.assert_no_failure();
        self.envoy.assert_no_rejections().await;
    }
}
