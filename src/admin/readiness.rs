//! Is pilot alive, and does it know enough to serve?

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::reply::Reply;
use crate::world::World;

/// Whether pilot serves, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether every registry has said what it has.
    pub ready: bool,
    /// What is missing.
    pub waiting: Vec<WaitingFor>,
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
    pub(super) fn of(world: &World) -> Self {
        if world.mesh().is_some() {
            return Self { ready: true, waiting: Vec::new() };
        }
        let mut waiting: Vec<_> = world
            .waiting()
            .into_iter()
            .map(|it| WaitingFor { registry: Some(it.registry.to_string()), reason: it.reason })
            .collect();
        if waiting.is_empty() {
            waiting.push(WaitingFor { registry: None, reason: "services are being merged".to_owned() });
        }
        Self { ready: false, waiting }
    }

    /// A line for each thing that is missing.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |waiting: &WaitingFor| match &waiting.registry {
            Some(registry) => format!("registry {registry}: {}", waiting.reason),
            None => waiting.reason.clone(),
        };
        self.waiting.iter().map(line).collect()
    }

    pub(super) fn reply(&self, json: bool) -> Reply {
        let status = if self.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        if json {
            return Reply::json_with_status(status, self);
        }
        let first = if self.ready { "ready" } else { "not ready" };
        let lines: Vec<_> = std::iter::once(first.to_owned()).chain(self.lines()).collect();
        Reply::text(status, lines.join("\n") + "\n")
    }
}
