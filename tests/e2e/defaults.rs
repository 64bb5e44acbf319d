//! What traffic gets where no rule says otherwise, seen through a real Envoy.

mod dns;
mod failing;
mod health_checks;
mod idle;
mod keepalive;
mod upgrade;
mod websockets;

use std::path::PathBuf;

use crate::support::pilot::Pilot;
use crate::support::tools::{envoy, oldest_envoy};

/// The newest and the oldest Envoy.
fn envoys() -> impl Iterator<Item = PathBuf> {
    [envoy(), oldest_envoy()].into_iter().flatten()
}

/// A pilot that serves these services, with these lines in its pilot.toml.
async fn pilot(services: &str, lines: &str) -> Pilot {
    let mut pilot = Pilot::prepare(services);
    pilot.configure("[router]", &format!("{lines}\n[router]"));
    pilot.spawn();
    pilot.ready().await;
    pilot
}
