//! What traffic gets where no rule says otherwise: the defaults of clusters, listeners and routes, and their keys in
//! pilot.toml.
//!
//! A duration of zero switches off what it is about.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// The tables of `[mesh]` that are about connections and requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How dead connections are noticed. `[mesh.keepalive]`.
    pub keepalive: Keepalive,
    /// How long what is quiet stays. `[mesh.idle]`.
    pub idle: Idle,
    /// When an endpoint that cannot be reached is left alone. `[mesh.outliers]`.
    pub outliers: Outliers,
    /// How many retries there may be. `[mesh.retries]`.
    pub retries: RetryLimits,
    /// How proxies resolve names. `[mesh.dns]`.
    pub dns: Dns,
    /// What proxies write of requests and connections. `[mesh.access_log]`.
    pub access_log: AccessLog,
}

/// `[mesh.access_log]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// The file on the proxy's machine in which it writes a line for each request, and for each connection that is not HTTP.
    /// Unless it is given, proxies at the edge write requests that fail (5xx) to their standard output, and others nothing.
    #[schemars(extend("examples" = ["/dev/stdout"]))]
    pub path: Option<String>,
    /// How a line looks.
    pub format: AccessLogFormat,
}

/// How a line of an access log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessLogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    #[default]
    Json,
}

/// `[mesh.keepalive]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Keepalive {
    /// A TCP connection on which nothing came for so long is probed, by clients' and endpoints' connections alike: up to
    /// three times, each after a third of this time. Whole seconds. "0s" = never.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub tcp: Duration,
    /// When nothing came from an endpoint on an HTTP/2 connection for so long, the next request sends a PING first. "0s" =
    /// never.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub http2_quiet: Duration,
    /// How often an endpoint is sent a PING on an HTTP/2 connection, whatever else happens there. Servers of gRPC close
    /// connections that have more than one in five minutes. "0s" = never.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub http2_interval: Duration,
    /// How long an endpoint may take to answer a PING.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub http2_timeout: Duration,
    /// How often a client is sent a PING on an HTTP/2 connection. "0s" = never.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub client_interval: Duration,
    /// How long a client may take to answer a PING.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub client_timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            tcp: Duration::from_secs(30),
            http2_quiet: Duration::from_secs(10),
            http2_interval: Duration::from_secs(6 * 60),
            http2_timeout: Duration::from_secs(10),
            client_interval: Duration::from_secs(60),
            client_timeout: Duration::from_secs(20),
        }
    }
}

/// `[mesh.idle]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Idle {
    /// How long an HTTP/1.1 connection to an endpoint stays without requests. Shorter than the server's own time: a
    /// request that meets a connection while its server closes it is lost. "0s" = for ever.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub http1: Duration,
    /// How long an HTTP/2 connection to an endpoint stays without requests. "0s" = for ever.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub http2: Duration,
    /// How long a TCP connection may be quiet until it is cut. "0s" = for ever.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub tcp: Duration,
    /// How long a request, a gRPC stream or a WebSocket may be quiet until it is cut. "0s" = for ever.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub stream: Duration,
}

impl Default for Idle {
    fn default() -> Self {
        Self {
            http1: Duration::from_secs(4),
            http2: Duration::from_secs(50),
            tcp: Duration::ZERO,
            stream: Duration::ZERO,
        }
    }
}

/// `[mesh.outliers]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Outliers {
    /// After so many failures in a row an endpoint is left alone for a while: connections that it refuses, that take too
    /// long, or that break off. What it answers is never a failure. 0 = never.
    #[schemars(range(max = 1_000_000))]
    pub failures: u32,
    /// For how long, the first time. Each time after another it is so much longer.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub ejection: Duration,
    /// For how long at most.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub max_ejection: Duration,
    /// How much of a service's endpoints may be left alone at one time. More are used, whatever they do.
    #[schemars(range(min = 1, max = 100))]
    pub max_percent: u32,
}

impl Default for Outliers {
    fn default() -> Self {
        Self {
            failures: 5,
            ejection: Duration::from_secs(10),
            max_ejection: Duration::from_secs(60),
            max_percent: 50,
        }
    }
}

/// `[mesh.retries]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryLimits {
    /// How much of a service's requests that are under way may be retries.
    #[schemars(range(max = 100))]
    pub budget_percent: u32,
    /// So many retries may be under way at any rate.
    #[schemars(range(max = 1_000_000))]
    pub budget_min: u32,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self { budget_percent: 20, budget_min: 10 }
    }
}

/// `[mesh.dns]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// A name is resolved again when its records say so (their TTL), and up to so much later: proxies do not ask at one
    /// time. "0s" = no later.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub jitter: Duration,
    /// After a failure a name is asked for again after a random time, which is at most this at first, and doubles.
    /// Meanwhile the addresses of before stay.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub retry: Duration,
    /// The longest time between two tries.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub max_retry: Duration,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            jitter: Duration::from_secs(2),
            retry: Duration::from_secs(1),
            max_retry: Duration::from_secs(30),
        }
    }
}
