//! `pilot demo`: pilot, a real Envoy, backends and traffic, in one command that leaves nothing behind.
//!
//! ```text
//!  services file ─► file registry ─► BackedRegistry ─► pilot ─ xDS ─► Envoy
//!                                      │ opens                         ▲ │
//!                                      ▼                       traffic ┘ │
//!                                    backends ◄──────────────────────────┘
//! ```
//!
//! Everything listens on loopback. The only processes are this one and Envoy.

mod backend;
mod backends;
mod envoy;
mod install;
mod ports;
mod registry;
mod scene;
mod screen;
mod stage;
mod tally;
mod traffic;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use pilot_registry::Locality;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::bootstrap::{self, BootstrapOptions, Streams};
use crate::config::{Admin, Config, Xds};
use crate::registries::{ConfiguredRegistry, ConfiguredRules, Sources};
use crate::shutdown::Shutdown;
use crate::{Listeners, RunError};
use envoy::Envoy;
use registry::BackedRegistry;
use scene::Scene;
use stage::Stage;

/// Where Envoy routes every HTTP service by Host header, unless the configuration says otherwise.
pub const HTTP_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15080);

/// The port of Envoy's own admin pages.
const ENVOY_ADMIN_PORT: u16 = 9901;

/// What the demo is made from.
#[derive(Debug)]
pub struct Demo {
    /// pilot's configuration.
    pub config: Config,
    /// The registry that the demo follows.
    pub registry: ConfiguredRegistry,
    /// The rules that the demo follows.
    pub rules: Vec<ConfiguredRules>,
    /// The registry's file, which the reader is asked to change.
    pub services: PathBuf,
    /// A document that the reader may put among the rules.
    pub shift: Option<Shift>,
    /// The binary of Envoy; none = the one on PATH, or an installed one.
    pub envoy: Option<PathBuf>,
    /// When it ends by itself.
    pub duration: Option<Duration>,
}

/// A document of rules that is not in force yet.
#[derive(Clone, Debug)]
pub struct Shift {
    /// Its file.
    pub document: PathBuf,
    /// The folder in which it is in force.
    pub folder: PathBuf,
}

/// How the traffic fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Requests that a backend answered.
    pub answered: u64,
    /// Requests that failed.
    pub failed: u64,
}

/// The demo could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A port is taken that was asked for.
    #[error("listening on {address} ({key}): choose a free port with --set {key}=127.0.0.1:...")]
    Listen {
        /// The key in the configuration.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// There is no Envoy, and none could be installed.
    #[error("installing Envoy: {0}")]
    Install(String),
    /// The Envoy that is there does not run.
    #[error("running {}", binary.display())]
    Envoy {
        /// Its binary.
        binary: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Envoy ended.
    #[error("Envoy ended ({status}); the end of its log:\n{log}")]
    EnvoyEnded {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// Envoy got no configuration.
    #[error("Envoy was not ready within {waited:?}; the end of its log:\n{log}")]
    NotReady {
        /// How long it had.
        waited: Duration,
        /// The end of its log.
        log: String,
    },
    /// pilot itself failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Nothing can be shown.
    #[error("standard output")]
    Output(#[source] std::io::Error),
}

/// Runs the demo until its time is over or `shutdown` has begun, and cleans up.
///
/// # Errors
/// A port is taken, there is no Envoy, or it ended.
pub async fn run(demo: Demo, shutdown: Shutdown) -> Result<Outcome, DemoError> {
    let Demo { mut config, registry, rules, services, shift, envoy, duration } = demo;
    let binary = tokio::select! {
        binary = install::envoy(envoy) => binary?,
        () = shutdown.begun() => return Ok(Outcome::default()),
    };
    let listeners = Listeners {
        xds: ports::listen("xds.listen", config.xds.listen, Xds::default().listen).await?,
        admin: ports::listen("admin.listen", config.admin.listen, Admin::default().listen).await?,
    };
    config.xds.listen = local("xds.listen", &listeners.xds, config.xds.listen)?;
    config.admin.listen = local("admin.listen", &listeners.admin, config.admin.listen)?;
    let http = config.router.http_listen.unwrap_or(HTTP_LISTEN);
    let http = ports::free("router.http_listen", http, HTTP_LISTEN).await?;
    config.router.http_listen = Some(http);
    // They ask for no password, so they are on loopback whatever the listeners are on.
    let bind = Some(config.router.bind).filter(IpAddr::is_loopback).unwrap_or(Ipv4Addr::LOCALHOST.into());
    let envoy_admin = SocketAddr::new(bind, ENVOY_ADMIN_PORT);
    let envoy_admin = ports::free("Envoy's admin pages", envoy_admin, envoy_admin).await?;

    let mut envoy = Envoy::start(&binary.path, &bootstrap(&config, envoy_admin), envoy_admin).await?;
    let (registry, scene) = backed(registry);
    let (pilot_ends, pilot_shutdown) = crate::shutdown::shutdown();
    let stage = Stage {
        config: config.clone(),
        http,
        services,
        shift,
        version: binary.version,
        envoy_admin,
        duration,
    };
    let pilot = crate::run(&config, Sources { registries: vec![registry], rules }, listeners, pilot_shutdown);
    let mut pilot = pin!(pilot);
    let played = tokio::select! {
        played = stage.play(&mut envoy, scene, &shutdown) => played,
        ended = &mut pilot => return Err(ended.err().unwrap_or(RunError::Task(None)).into()),
    };
    // Envoy first: with nobody connected pilot ends at once.
    envoy.end().await;
    pilot_ends.begin();
    pilot.await?;
    played
}

fn local(key: &'static str, listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, DemoError> {
    listener.local_addr().map_err(|source| DemoError::Listen { key, address, source })
}

fn backed(registry: ConfiguredRegistry) -> (ConfiguredRegistry, watch::Receiver<Scene>) {
    let (backed, scene) = BackedRegistry::new(registry.registry);
    (ConfiguredRegistry { registry: Box::new(backed), ..registry }, scene)
}

fn bootstrap(config: &Config, envoy_admin: SocketAddr) -> serde_json::Value {
    bootstrap::envoy(&BootstrapOptions {
        node_id: "demo".into(),
        node_cluster: "demo".into(),
        locality: Locality::default(),
        namespace: None,
        labels: BTreeMap::new(),
        xds: vec![config.xds.listen.into()],
        admin: Some(envoy_admin),
        streams: Streams::Aggregated,
        delta: true,
    })
}
