//! `/livez` and `/readyz`: is pilot alive, and does it know enough to serve?

use http::StatusCode;
use pilot_registry::RegistryHealth;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::reply::Reply;
use crate::catalog::Freshness;
use crate::rfc3339;
use crate::supervisor::Registered;

/// Whether pilot serves, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether proxies are served.
    pub ready: bool,
    /// Whether pilot ends: it serves the proxies that it has, for a while, and takes no new ones.
    #[serde(default)]
    pub ending: bool,
    /// What is missing: when ready, optional registries that were waited for long enough.
    pub waiting: Vec<WaitingFor>,
    /// Registries that have not answered, of which the last known good is served.
    pub stale: Vec<WaitingFor>,
}

/// One thing that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingFor {
    /// The registry's name in pilot.toml; `None` when all registries have spoken.
    pub registry: Option<String>,
    /// Why.
    pub reason: String,
}

impl Readiness {
    pub(super) fn of(admin: &Admin) -> Self {
        let (world, ending) = (&admin.world, admin.shutdown.has_begun());
        let known = world.mesh().is_some();
        let mut waiting: Vec<_> = world
            .waiting()
            .into_iter()
            .map(|it| WaitingFor { registry: Some(it.registry.to_string()), reason: it.reason })
            .collect();
        if !known && waiting.is_empty() {
            waiting.push(WaitingFor { registry: None, reason: "services are being merged".to_owned() });
        }
        let stale = world.registries().iter().filter_map(|registered| {
            Some(WaitingFor { registry: Some(registered.name.to_string()), reason: stale(registered)? })
        });
        Self { ready: known && !ending, ending, waiting, stale: stale.collect() }
    }

    /// A line for each thing that is missing.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |waiting: &WaitingFor| match &waiting.registry {
            Some(registry) => format!("registry {registry}: {}", waiting.reason),
            None => waiting.reason.clone(),
        };
        self.waiting.iter().chain(&self.stale).map(line).collect()
    }

    pub(super) fn reply(&self, json: bool) -> Reply {
        let status = if self.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        if json {
            return Reply::json_with_status(status, self);
        }
        let first = match (self.ending, self.ready) {
            (true, _) => "ending: no new proxies are taken",
            (false, true) => "ready",
            (false, false) => "not ready",
        };
        let lines: Vec<_> = std::iter::once(first.to_owned()).chain(self.lines()).collect();
        Reply::text(status, lines.join("\n") + "\n")
    }
}

/// What is served of a registry that has not answered, and why it has not.
fn stale(registered: &Registered) -> Option<String> {
    let Freshness::Disk { saved_at } = registered.intake.state().known?.freshness else { return None };
    let (age, at) = (saved_at.elapsed().unwrap_or_default().as_secs(), rfc3339::format(saved_at));
    let why = match registered.feed.health() {
        RegistryHealth::Degraded(trouble) => trouble.error.chain(),
        RegistryHealth::Connecting | RegistryHealth::Live => "it has not answered yet".to_owned(),
    };
    Some(format!("stale: from disk, as of {at}, {age} s ago: {why}"))
}
