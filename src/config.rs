//! pilot.toml -> [`Config`]: the types and every default. Nothing here reads a file.
//!
//! ```text
//!  pilot.toml ─┐
//!  PILOT_* ────┼─► load ─► Config            or all problems, each with file, line, column and key
//!  flags ──────┘   (flag before environment before file before the variables of other tools before default)
//! ```
//!
//! The JSON schema of these types is also what the loader knows of keys: names, types, bounds and
//! examples in messages come from there, so they cannot differ from what is documented.

mod changes;
mod check;
mod duration;
mod entry;
mod listen;
mod load;
mod log_targets;
mod origin;
mod problem;
mod rules;
mod schema;
mod settings;
mod state;
mod twice;
mod usual;
mod walk;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::mesh::{AccessLog, Dns, Idle, Keepalive, Outliers, RetryLimits, Traffic};

pub use changes::changed_keys;
pub(crate) use duration::parse as parse_duration;
pub use entry::{Patience, RegistryEntry, RegistryKind};
pub use load::{Loaded, load, parse};
pub use origin::Origins;
pub use problem::{Problem, Problems};
pub use rules::{RulesEntry, RulesKind};
pub use schema::{has_key_like, schema};
pub use settings::Setting;
pub use state::{Guard, State};
pub use usual::{UnusedVariable, UsedVariable};

/// All of pilot.toml.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The server that Envoy and gRPC clients connect to.
    pub xds: Xds,
    /// The HTTP server for people and monitoring.
    pub admin: Admin,
    /// How changes are merged before they are sent.
    pub push: Push,
    /// What every proxy is told.
    pub mesh: Mesh,
    /// The listeners of routers: of proxies that run for all clients on their machine.
    pub router: Router,
    /// What pilot keeps on disk, to start with when a registry does not answer.
    pub state: State,
    /// When a mass disappearance is held back.
    pub guard: Guard,
    /// What pilot writes to standard error.
    pub log: Log,
    /// Where services come from, by a name of your choice (a-z, 0-9 and '-'); at least one, all active
    /// at once.
    pub registry: BTreeMap<String, RegistryEntry>,
    /// Where rules for traffic come from, by a name of your choice (a-z, 0-9 and '-'): none, or several at once.
    pub rules: BTreeMap<String, RulesEntry>,
}

/// `[xds]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Xds {
    /// IP address and port of the gRPC server.
    #[serde(with = "listen")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Streams at one time; further ones are refused.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_streams: usize,
    /// Size of one request.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_request_bytes: usize,
    /// Names that one stream may subscribe to, for each type.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_names: usize,
    /// Names that clients without ADS may give, together and at one time, to the cluster that leads to pilot
    /// (node.metadata.XDS_CLUSTER): each is one more configuration to keep up to date. "pilot" does not count.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_scopes: usize,
    /// How Envoys get the virtual hosts of their routes: one by one (VHDS) where they can, or as a whole.
    pub vhds: VirtualHosts,
    /// After this time, more or less, a client is asked to connect again, so that the load of several
    /// pilots evens out. "0s" = never.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub max_connection_age: Duration,
    /// How often a silent connection is tested.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub keepalive_interval: Duration,
    /// A connection whose test is not answered in this time is closed.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub keepalive_timeout: Duration,
    /// How long streams have for an orderly end when pilot stops.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub drain_timeout: Duration,
}

impl Default for Xds {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 18000)),
            max_streams: 20_000,
            max_request_bytes: 16 << 20,
            max_names: 50_000,
            max_scopes: 16,
            vhds: VirtualHosts::Auto,
            max_connection_age: Duration::from_secs(30 * 60),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// IP address and port of the HTTP server: /livez, /readyz, /metrics, /debug/... It asks for no
    /// password: keep it on loopback, or behind something that does.
    #[serde(with = "listen")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 18080)) }
    }
}

/// `[push]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Push {
    /// The first change after a quiet time of this length goes out at once. Changes that follow are
    /// merged until it is quiet for this long again.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub quiet: Duration,
    /// No change waits longer than this, however many follow it.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub max_delay: Duration,
}

impl Default for Push {
    fn default() -> Self {
        Self { quiet: Duration::from_millis(20), max_delay: Duration::from_millis(200) }
    }
}

/// `[mesh]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mesh {
    /// How long a proxy waits for a connection to an endpoint.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// Whether a proxy uses the endpoints that are nearest to it first. It runs where its node.locality says, or else
    /// where its workload is: the endpoints at the address in its node id.
    pub locality: LocalityPreference,
    /// What becomes of requests to a service of which every endpoint is unhealthy.
    pub panic: Panic,
    /// The domain of Kubernetes' services. A rule that names no service of that name, and has no dot in it, means the
    /// service NAME.NAMESPACE.svc.DOMAIN of its own namespace. Not looked for unless given.
    #[schemars(extend("examples" = ["cluster.local"]))]
    pub domain: Option<String>,
    /// The namespace whose DestinationRules count for services of which neither the client's namespace nor the service's
    /// own has any.
    pub root_namespace: String,
    /// How dead connections are noticed.
    pub keepalive: Keepalive,
    /// How long what is quiet stays.
    pub idle: Idle,
    /// When an endpoint that cannot be reached is left alone.
    pub outliers: Outliers,
    /// How many retries there may be.
    pub retries: RetryLimits,
    /// How proxies resolve names, for services with resolution "dns".
    pub dns: Dns,
    /// What proxies write of requests and connections.
    pub access_log: AccessLog,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            locality: LocalityPreference::Ignore,
            panic: Panic::Refuse,
            domain: None,
            root_namespace: crate::mesh::ROOT_NAMESPACE.to_owned(),
            keepalive: Keepalive::default(),
            idle: Idle::default(),
            outliers: Outliers::default(),
            retries: RetryLimits::default(),
            dns: Dns::default(),
            access_log: AccessLog::default(),
        }
    }
}

/// What a proxy's own locality is to its choice of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LocalityPreference {
    /// Nothing: all endpoints share the load.
    Ignore,
    /// Endpoints in its sub-zone go before those in its zone, then its region, then all others; those that
    /// are farther away take over when nearer ones are unhealthy.
    Prefer,
}

/// What becomes of requests to a service of which every endpoint is unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Panic {
    /// They get 503, as with Istio and Consul.
    Refuse,
    /// All unhealthy endpoints are tried, as Envoy does when it panics: they are sent as of unknown health.
    /// Draining ones are not.
    Serve,
}

/// How Envoys get virtual hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VirtualHosts {
    /// Envoys from 1.40 on, with delta ADS, get each virtual host by itself (VHDS): one service more is one virtual
    /// host more. All others get the whole route configuration each time.
    Auto,
    /// All clients get the whole route configuration each time.
    Off,
}

/// `[router]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Router {
    /// The IP address on which routers open their listeners.
    #[serde(with = "listen::ip")]
    #[schemars(with = "String")]
    pub bind: IpAddr,
    /// IP address and port of one more listener, which routes to every HTTP service by Host header. Not
    /// opened unless given.
    #[serde(with = "listen::optional")]
    #[schemars(with = "Option<String>", extend("examples" = ["127.0.0.1:15080"]))]
    pub http_listen: Option<SocketAddr>,
    /// Whether routers also listen on each port with HTTP services. Without these listeners, only http_listen
    /// leads to HTTP services.
    pub http_port_listeners: bool,
}

impl Default for Router {
    fn default() -> Self {
        Self { bind: Ipv4Addr::LOCALHOST.into(), http_listen: None, http_port_listeners: true }
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least severe level that is written (error, warn, info, debug, trace), for all or by module:
    /// "info,pilot::xds=debug".
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl From<&Config> for crate::mesh::MeshOptions {
    fn from(config: &Config) -> Self {
        Self {
            connect_timeout: config.mesh.connect_timeout,
            traffic: traffic(&config.mesh),
            bind: config.router.bind,
            http_listen: config.router.http_listen,
            http_port_listeners: config.router.http_port_listeners,
            prefer_near: config.mesh.locality == LocalityPreference::Prefer,
            serves_unhealthy: config.mesh.panic == Panic::Serve,
            vhds: config.xds.vhds == VirtualHosts::Auto,
            has_rules: !config.rules.is_empty(),
            domain: config.mesh.domain.as_deref().map(|domain| domain.trim_matches('.').into()),
            root_namespace: config.mesh.root_namespace.as_str().into(),
        }
    }
}

fn traffic(mesh: &Mesh) -> Traffic {
    let Mesh { keepalive, idle, outliers, retries, dns, access_log, .. } = mesh.clone();
    Traffic { keepalive, idle, outliers, retries, dns, access_log }
}
