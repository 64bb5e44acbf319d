//! The arguments of health checks.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::register::{Check, CheckPlan};

/// How its health is known.
#[derive(Debug, clap::Args)]
pub(super) struct Checks {
    /// Whether the instance serves: http://127.0.0.1:8080/healthz (2xx passes, 429 warns; no TLS), tcp or
    /// tcp:PORT (a connection to --address), or exec:COMMAND (run by sh; exit code 0 passes, 1 warns). It is
    /// registered as unhealthy until the check has passed, and is tried each second until then. Without a
    /// check it is healthy for as long as it is registered.
    #[arg(long, value_name = "CHECK")]
    check: Option<Check>,
    /// From one check to the next: 100ms or longer.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval, requires = "check")]
    check_interval: Duration,
    /// An answer that takes longer is a failure; a command is killed then, with all that it has started.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = timeout, requires = "check")]
    check_timeout: Duration,
    /// After so many failures in a row the instance is unhealthy. One pass makes it healthy again.
    #[arg(long, value_name = "NUMBER", default_value = "3", requires = "check")]
    check_failures: NonZeroU32,
}

impl Checks {
    /// The check, if there is one. A command gets none of the `withheld` environment variables.
    pub(super) fn plan(self, withheld: &[String]) -> Option<CheckPlan> {
        let Self { check, check_interval: interval, check_timeout: timeout, check_failures: failures } = self;
        check.map(|check| CheckPlan { check, interval, timeout, failures, withheld: withheld.to_vec() })
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = crate::config::parse_duration(text)?;
    if interval >= Duration::from_millis(100) { Ok(interval) } else { Err("expected 100ms or longer".into()) }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = crate::config::parse_duration(text)?;
    if timeout.is_zero() { Err("expected a time longer than 0s".into()) } else { Ok(timeout) }
}
