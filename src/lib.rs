//! pilot tells every Envoy of a mesh where its services are and how to reach them.
//!
//! ```text
//!  registries (adapters/*)
//!      │ Snapshot                 published through a sink, latest value wins
//!      ▼
//!  supervisor                     the only retry loop: attempt, back off, health
//!      ▼
//!  catalog                        guard, last known good on disk; many registries -> one
//!      ▼
//!  world ─► mesh                  debounce; one immutable world
//!      ▼
//!  translate(mesh, scope)         pure
//!      ▼
//!  resources                      encoded once, shared by all; version = content hash
//!      ▼
//!  xds (sotw · delta · order)     sans-IO state machines, one per stream
//!      ▼
//!  server  ──►  Envoy, gRPC clients
//! ```
//!
//! [`run`] puts it together. See ARCHITECTURE.md for the why.
// A lock that lives across an await, in whatever it is wrapped, makes a future that cannot be sent.
#![cfg_attr(not(test), deny(clippy::future_not_send))]

pub mod admin;
pub mod bootstrap;
pub mod catalog;
pub mod cli;
pub mod config;
#[cfg(feature = "file")]
pub mod demo;
pub mod mesh;
pub mod metrics;
mod opening;
pub mod own_ports;
pub mod proxies;
pub mod proxy;
pub mod register;
pub mod registries;
pub mod resources;
pub mod rfc3339;
pub mod rules;
mod said;
pub mod server;
pub mod service_entries;
pub mod shutdown;
pub mod supervisor;
pub mod translate;
pub mod world;
pub mod xds;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use config::Config;
use own_ports::OwnPorts;
use registries::{ConfiguredRegistry, ConfiguredRules, Sources};
use shutdown::Shutdown;
use supervisor::Registered;
use world::{Debounce, RegisteredRules, World};

/// The sockets that pilot serves on.
#[derive(Debug)]
pub struct Listeners {
    /// For Envoy and gRPC clients.
    pub xds: TcpListener,
    /// For people and probes.
    pub admin: TcpListener,
}

/// pilot could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A socket could not be opened.
    #[error("listening on {address} ({key}): {}", refusal(*address, source))]
    Listen {
        /// The key in pilot.toml that names the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The xDS server broke.
    #[error(transparent)]
    Serve(#[from] server::ServeError),
    /// The admin server could not start, or broke.
    #[error("serving the admin port")]
    Admin(#[source] std::io::Error),
    /// A task ended that never should.
    #[error("a task of pilot's own ended: this is a bug")]
    Task(#[source] Option<tokio::task::JoinError>),
}

/// What to do about a socket that could not be opened.
fn refusal(address: SocketAddr, error: &std::io::Error) -> String {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    let (ip, port) = (address.ip(), address.port());
    match error.kind() {
        AddrInUse => "the port is taken: is another pilot running? choose a free port".to_owned(),
        AddrNotAvailable => format!(
            "{ip} is no address of this machine: choose one that it has, or {} for all of them",
            if address.is_ipv4() { "0.0.0.0" } else { "[::]" }
        ),
        PermissionDenied => {
            format!("port {port} needs the capability CAP_NET_BIND_SERVICE: choose a port from 1024")
        }
        _ => "choose another address".to_owned(),
    }
}

impl Listeners {
    /// Opens the sockets that the configuration names.
    ///
    /// # Errors
    /// One of them cannot be opened, for example because its port is taken.
    pub async fn bind(config: &Config) -> Result<Self, RunError> {
        Ok(Self {
            xds: listen("xds.listen", config.xds.listen).await?,
            admin: listen("admin.listen", config.admin.listen).await?,
        })
    }
}

/// How many connections may wait to be accepted. Linux lets no more wait than `net.core.somaxconn`, 4096
/// by default, and resets what comes on top: too few, when all proxies of a mesh come back at once, is
/// connections that fail.
const BACKLOG: u32 = 4096;

/// How long a client that has connected has to begin HTTP/2, which all of them do at once.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client that has opened a stream has to say who it is, which all of them do at once.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long writing to disk may take at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A port is free again as soon as its pilot has ended.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|source| RunError::Listen { key, address, source })
}

/// Serves until shutdown has begun and is done: registries are followed, proxies and people are answered.
///
/// # Errors
/// pilot could not go on. What a registry, a proxy or a file does is never such an error.
pub async fn run(
    config: &Config,
    sources: impl Into<Sources>,
    listeners: Listeners,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let mut tasks = JoinSet::new();
    let Sources { registries, rules } = sources.into();
    let rules = rules.into_iter().map(|it| supervise_rules(it, config, &mut tasks)).collect();
    let registered: Vec<_> = registries.into_iter().map(|it| supervise(it, config, &mut tasks)).collect();
    let metrics = metrics::Metrics::new();
    let proxies = proxies::Proxies::default();
    let world = World::ruled(registered, rules, config.into(), config.xds.max_scopes);
    let debounce = Debounce::new(config.push.quiet, config.push.max_delay);
    tasks.spawn({
        let (world, metrics) = (world.clone(), metrics.clone());
        async move { world.follow(debounce, |took| metrics.translated(took)).await }
    });
    let admin = admin::Admin {
        world: world.clone(),
        proxies: proxies.clone(),
        metrics: metrics.clone(),
        own: OwnPorts { xds: listeners.xds.local_addr().ok(), admin: listeners.admin.local_addr().ok() },
        shutdown: shutdown.clone(),
    };
    let mut admin = admin::AdminThread::start(listeners.admin, admin).map_err(RunError::Admin)?;
    tasks.spawn(flush_early(world.clone(), shutdown.clone()));
    let context = xds::stream::StreamContext {
        source: Arc::new(world.clone()),
        proxies,
        metrics,
        limits: xds::Limits { max_names: config.xds.max_names },
        max_request_bytes: config.xds.max_request_bytes,
        first_syncs: xds::stream::FirstSyncs::new(),
        drain: config.xds.drain_timeout,
        shutdown: shutdown.clone(),
    };
    let settings = settings(config);
    let served = tokio::select! {
        served = server::serve(listeners.xds, context, &settings, shutdown) => served.map_err(RunError::from),
        ended = tasks.join_next() => Err(RunError::Task(ended.and_then(Result::err))),
        error = admin.broken() => return Err(RunError::Admin(error)),
    };
    // People and probes are answered until the last proxy has been served.
    tokio::join!(admin.end(), flush(&world));
    served
}

fn settings(config: &Config) -> server::Settings {
    server::Settings {
        max_streams: config.xds.max_streams,
        preface_timeout: PREFACE_TIMEOUT,
        first_request_timeout: FIRST_REQUEST_TIMEOUT,
        max_age: Some(config.xds.max_connection_age).filter(|age| !age.is_zero()),
        admin: Some(config.admin.listen),
        keepalive_interval: config.xds.keepalive_interval,
        keepalive_timeout: config.xds.keepalive_timeout,
    }
}

fn supervise(configured: ConfiguredRegistry, config: &Config, tasks: &mut JoinSet<()>) -> Registered {
    let ConfiguredRegistry { name, kind, priority, patience, registry } = configured;
    let (sink, feed) = pilot_registry::channel();
    let policy = config.policy(&name, kind, patience);
    let registered = Registered::new(name, kind, priority, feed, policy);
    tasks.spawn({
        let registered = registered.clone();
        async move { supervisor::supervise(&registered, &*registry, &sink).await }
    });
    registered
}

fn supervise_rules(configured: ConfiguredRules, config: &Config, tasks: &mut JoinSet<()>) -> RegisteredRules {
    let ConfiguredRules { name, kind, priority, namespaces, store } = configured;
    let (sink, feed) = pilot_registry::channel();
    let policy = config.rules_policy(&name, kind);
    let registered = RegisteredRules { name, kind, priority, namespaces, feed, policy };
    tasks.spawn({
        let RegisteredRules { name, feed, .. } = registered.clone();
        async move { supervisor::supervise_rules(&name, &*store, &sink, &feed).await }
    });
    registered
}

/// Writes the last known good of all registries and stores of rules, as far as a disk allows.
async fn flush(world: &World) {
    if tokio::time::timeout(FLUSH_TIMEOUT, world.flush()).await.is_err() {
        tracing::warn!("writing the last known good of all registries and rules takes too long");
    }
}

/// At once when the end begins, for the drain may be cut short. What changes after that is written after it.
async fn flush_early(world: World, shutdown: Shutdown) {
    shutdown.begun().await;
    flush(&world).await;
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tests may run as root, who may listen anywhere.
    #[test]
    fn a_low_port_without_the_right_to_it_is_told_which_right_that_is() {
        let source = std::io::ErrorKind::PermissionDenied.into();
        let error = RunError::Listen { key: "xds.listen", address: ([127, 0, 0, 1], 80).into(), source };
        let words = "listening on 127.0.0.1:80 (xds.listen): port 80 needs the capability CAP_NET_BIND_SERVICE: \
                     choose a port from 1024";
        assert_eq!(error.to_string(), words);
    }
}
