//! How proxies find out for themselves whether an endpoint serves.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Port;

/// A check that each proxy makes of each endpoint of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// The endpoint's port that is asked; `None` = the one that it serves with.
    pub port: Option<Port>,
    /// From one check to the next.
    #[serde(with = "crate::duration")]
    pub interval: Duration,
    /// An answer that takes longer is a failure.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// After so many failures in a row the endpoint is unhealthy.
    pub failures: NonZeroU32,
    /// After so many passes in a row it is healthy again.
    pub successes: NonZeroU32,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// This path, which is to be answered by 200.
    Http(String),
    /// `grpc.health.v1.Health` about this service; empty = the server as a whole.
    Grpc(String),
    /// A connection, which is to be accepted.
    Tcp,
}

impl HealthCheck {
    /// A check of that kind, as often as is usual.
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            port: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            failures: NonZeroU32::MIN.saturating_add(2),
            successes: NonZeroU32::MIN,
        }
    }

    /// Whether it can be made at a port of that protocol. At a port of its own it is for all.
    pub fn fits(&self, protocol: crate::Protocol) -> bool {
        self.port.is_some()
            || match self.probe {
                Probe::Http(_) => protocol.is_http() && protocol != crate::Protocol::Grpc,
                Probe::Grpc(_) => protocol.is_http2(),
                Probe::Tcp => protocol != crate::Protocol::Udp,
            }
    }
}

impl fmt::Display for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.probe {
            Probe::Http(path) => write!(f, "http {path}")?,
            Probe::Grpc(service) if service.is_empty() => f.write_str("grpc")?,
            Probe::Grpc(service) => write!(f, "grpc {service}")?,
            Probe::Tcp => f.write_str("tcp")?,
        }
        if let Some(port) = self.port {
            write!(f, " at port {port}")?;
        }
        let format = crate::duration::format;
        write!(f, ", every {}, {} at most", format(self.interval), format(self.timeout))?;
        write!(f, ", {} failures, {} passes", self.failures, self.successes)
    }
}
