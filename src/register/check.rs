//! Whether an instance serves: asks it again and again.
//!
//! ```text
//!  probe (http, tcp, exec), each with a deadline ──► Verdict ──► Threshold ──► Health
//! ```

mod exec;
mod http;
mod threshold;

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use pilot_registry::{Health, Port};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::journal::word;
pub use http::HttpTarget;
use threshold::Threshold;

/// Until the check has passed once, it is made at least this often: a program is up long before the
/// interval of a healthy one is over.
const EAGER: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// `http://host:port/path`: 2xx passes, 429 warns.
    Http(HttpTarget),
    /// `tcp`, `tcp:PORT`: a connection to the instance's address passes.
    Tcp(Option<Port>),
    /// `exec:COMMAND`: run by `sh`; exit code 0 passes, 1 warns.
    Exec(String),
}

/// What is asked, and how often.
#[derive(Clone, Debug)]
pub struct CheckPlan {
    /// What is asked.
    pub check: Check,
    /// From the beginning of one to that of the next.
    pub interval: Duration,
    /// An answer that takes longer is a failure.
    pub timeout: Duration,
    /// After so many failures in a row it is unhealthy.
    pub failures: NonZeroU32,
    /// Environment variables that a command does not get: pilot's own secrets.
    pub withheld: Vec<String>,
}

/// What one probe showed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Warn(String),
    Fail(String),
}

impl FromStr for Check {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "tcp" {
            return Ok(Self::Tcp(None));
        }
        if let Some(port) = text.strip_prefix("tcp:") {
            return port.parse().map(|port| Self::Tcp(Some(port))).map_err(|error| format!("{error}"));
        }
        if let Some(command) = text.strip_prefix("exec:") {
            let empty = command.trim().is_empty();
            return if empty {
                Err("exec: without a command".into())
            } else {
                Ok(Self::Exec(command.into()))
            };
        }
        if text.starts_with("http://") {
            return text.parse().map(Self::Http);
        }
        let expected = "expected http://host:port/path, tcp, tcp:PORT or exec:COMMAND";
        Err(match text.starts_with("https://") {
            true => format!(
                "certificates are not checked here: {expected}, for example exec:'curl -fsS https://…'"
            ),
            false => expected.into(),
        })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(target) => target.fmt(f),
            Self::Tcp(None) => f.write_str("tcp"),
            Self::Tcp(Some(port)) => write!(f, "tcp:{port}"),
            Self::Exec(command) => write!(f, "exec:{command}"),
        }
    }
}

impl Check {
    /// Asks once. `instance` is where the instance is reached.
    async fn probe(&self, instance: SocketAddr, patience: Duration, withheld: &[String]) -> Verdict {
        let asked = async {
            match self {
                Self::Http(target) => http::ask(target).await,
                Self::Tcp(port) => connect(instance, *port).await,
                Self::Exec(command) => exec::run(command, withheld).await,
            }
        };
        let late = |_| Verdict::Fail(format!("no answer within {patience:?}"));
        // What is dropped here ends: connections are closed, processes killed.
        timeout(patience, asked).await.unwrap_or_else(late)
    }
}

async fn connect(instance: SocketAddr, port: Option<Port>) -> Verdict {
    let port = port.map_or(instance.port(), Port::get);
    let address = SocketAddr::new(instance.ip(), port);
    match TcpStream::connect(address).await {
        Ok(_connection) => Verdict::Pass,
        Err(error) => Verdict::Fail(format!("{address}: {error}")),
    }
}

impl CheckPlan {
    /// Checks for ever, and says in `condition` and in the log what that changes.
    pub(super) async fn follow(&self, instance: SocketAddr, condition: &watch::Sender<Health>) -> Infallible {
        let mut threshold = Threshold::new(self.failures);
        loop {
            let started = Instant::now();
            let verdict = self.check.probe(instance, self.timeout, &self.withheld).await;
            let before = threshold.health();
            let health = threshold.hear(&verdict);
            self.tell(&verdict, before, health, threshold.failures());
            condition.send_if_modified(|now| std::mem::replace(now, health) != health);
            let interval = if threshold.has_passed() { self.interval } else { self.interval.min(EAGER) };
            sleep_until(started + interval).await;
        }
    }

    fn tell(&self, verdict: &Verdict, before: Health, health: Health, failures: u32) {
        let (check, health_now) = (self.check.to_string(), word(health));
        match verdict {
            Verdict::Pass if before != health => tracing::info!(check, health = health_now, "check passes"),
            Verdict::Warn(why) if before != health => {
                tracing::warn!(check, health = health_now, why, "check warns");
            }
            Verdict::Fail(why) if before != health || failures == 1 => {
                let of = self.failures;
                tracing::warn!(check, health = health_now, why, "check failed ({failures} of {of})");
            }
            _ => tracing::debug!(check, health = health_now, ?verdict, "checked"),
        }
    }
}

#[cfg(test)]
mod tests;
