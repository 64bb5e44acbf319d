//! A real Consul agent in server mode, for tests.
//!
//! ```text
//!  Consul ── config.json, data/, certificates ──► consul agent   (ports of its own, on loopback)
//!     └──── Admin: plain HTTP with the management token ──► /v1/…
//! ```
//!
//! Its data survive [`Consul::kill`] and [`Consul::restart`]; [`Consul::wipe`] loses them, and the indexes
//! begin anew.

mod admin;
mod certificates;
mod fake;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{Process, free_address, tool};
pub use admin::Admin;
pub use certificates::Certificates;
pub use fake::{Counts, FakeConsul, Mood, Profile, Streams};

/// How long an agent may take until it has a leader.
const PATIENCE: Duration = Duration::from_secs(60);

/// The token that may do everything, where [`Options::acl`] is set.
pub const MANAGEMENT_TOKEN: &str = "5e1f0e6a-6b5c-4c1e-9d0a-7f2b9a3c4d10";

/// The stacks of all threads of Go, and what stands in that of a question about a service that waits.
const STACKS: &str = "/debug/pprof/goroutine?debug=2";
const WAITING: [&str; 2] = ["memdb.WatchSet.Watch", "(*Health).ServiceNodes"];

/// What kind of agent it is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether nothing is allowed without a token. [`MANAGEMENT_TOKEN`] is there from the start.
    pub acl: bool,
    /// Whether there is an HTTPS port too, which asks for a client certificate.
    pub tls: bool,
    /// The name of its datacenter.
    pub datacenter: String,
    /// The WAN address of a server of another datacenter, to make one federation of both.
    pub join: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self { acl: false, tls: false, datacenter: "dc1".to_owned(), join: None }
    }
}

/// The ports of an agent, which it keeps when it is started again.
#[derive(Clone, Copy, Debug)]
struct Ports {
    http: SocketAddr,
    https: SocketAddr,
    server: SocketAddr,
    lan: SocketAddr,
    wan: SocketAddr,
    dns: SocketAddr,
    grpc: SocketAddr,
}

/// A running agent. It ends when it is dropped.
#[derive(Debug)]
pub struct Consul {
    binary: PathBuf,
    options: Options,
    ports: Ports,
    certificates: Option<Certificates>,
    admin: Admin,
    process: Process,
    /// Removed when it is dropped, after the process has ended.
    folder: TempDir,
}

impl Consul {
    /// Starts an agent and waits until it has a leader. `None`, after having said why, where there is no
    /// Consul to start.
    ///
    /// # Errors
    /// It does not start, or gets no leader in time.
    pub async fn start(options: Options) -> Result<Option<Self>> {
        let Some(binary) = tool("PILOT_TEST_CONSUL", "a real Consul") else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let certificates = options
            .tls
            .then(|| Certificates::make(&binary, folder.path(), &options.datacenter))
            .transpose()?;
        let ports = Ports {
            http: free_address()?,
            https: free_address()?,
            server: free_address()?,
            lan: free_address()?,
            wan: free_address()?,
            dns: free_address()?,
            grpc: free_address()?,
        };
        let config = config(&options, ports, certificates.as_ref());
        std::fs::write(folder.path().join("config.json"), config.to_string())?;
        let process = spawn(&binary, &folder)?;
        let admin = Admin::new(ports.http, options.acl.then_some(MANAGEMENT_TOKEN));
        let mut consul = Self { binary, options, ports, certificates, admin, process, folder };
        consul.ready().await?;
        Ok(Some(consul))
    }

    /// Where it takes HTTP.
    pub fn address(&self) -> SocketAddr {
        self.ports.http
    }

    /// Where it takes HTTPS, with [`Options::tls`]. The server's name is `server.<datacenter>.consul`.
    pub fn https_address(&self) -> SocketAddr {
        self.ports.https
    }

    /// What another datacenter's server joins.
    pub fn wan_address(&self) -> SocketAddr {
        self.ports.wan
    }

    /// Where it takes something else than HTTP, by name.
    pub fn other_addresses(&self) -> [(&'static str, SocketAddr); 5] {
        let Ports { server, lan, wan, dns, grpc, http: _, https: _ } = self.ports;
        [("server", server), ("serf_lan", lan), ("serf_wan", wan), ("dns", dns), ("grpc", grpc)]
    }

    /// The files for clients, with [`Options::tls`].
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The name of its datacenter.
    pub fn datacenter(&self) -> &str {
        &self.options.datacenter
    }

    /// The operator's way to it.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// The process, to signal it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Ends it at once. Its data stay.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with the data that it has, on the same ports, and waits until it has a leader.
    ///
    /// # Errors
    /// It does not start, or gets no leader in time.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = spawn(&self.binary, &self.folder)?;
        self.ready().await
    }

    /// Ends it, loses all its data, and starts it again: a new cluster on the same ports, whose indexes
    /// are smaller.
    ///
    /// # Errors
    /// It does not start, or gets no leader in time.
    pub async fn wipe(&mut self) -> Result<()> {
        self.process.kill();
        std::fs::remove_dir_all(self.folder.path().join("data"))?;
        self.restart().await
    }

    /// Waits until it answers for that datacenter, which it has joined or has been joined by.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn knows(&self, datacenter: &str) -> Result<()> {
        let path = format!("/v1/health/service/consul?dc={datacenter}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.admin.get(&path).await {
                Ok(found) if found.as_array().is_some_and(|found| !found.is_empty()) => return Ok(()),
                answer if Instant::now() > deadline => bail!("{path} says {answer:?}"),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// How many questions about a service wait for a change: Go says where each of its threads stands.
    ///
    /// # Errors
    /// It does not say.
    pub async fn waiting(&self) -> Result<usize> {
        let (status, said) = self.admin.request(Method::GET, STACKS, Bytes::new()).await?;
        if status != StatusCode::OK {
            bail!("{STACKS}: {status}: {}", String::from_utf8_lossy(&said));
        }
        let said = String::from_utf8_lossy(&said);
        let waits = |stack: &&str| WAITING.iter().all(|function| stack.contains(function));
        Ok(said.split("\n\n").filter(waits).count())
    }

    /// Waits until it has a leader, knows of itself, and takes writes.
    async fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.has_leader().await {
                return Ok(());
            }
            if let Some(status) = self.process.status() {
                bail!("consul ended with {status}: {}", self.process.output());
            }
            if Instant::now() > deadline {
                bail!("consul has no leader after {PATIENCE:?}: {}", self.process.output());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn has_leader(&self) -> bool {
        // Its own service is there once the leader has done all that a leader begins with; tokens are
        // resolved by then, too.
        let own = self.admin.get("/v1/health/service/consul?consistent").await;
        let listed = own.is_ok_and(|own| own.as_array().is_some_and(|own| !own.is_empty()));
        listed && self.admin.put("/v1/kv/pilot-test-ready", &Value::Null).await.is_ok()
    }
}

fn spawn(binary: &PathBuf, folder: &TempDir) -> Result<Process> {
    let config = folder.path().join("config.json");
    let mut command = Command::new(binary);
    command.arg("agent").arg("-config-file").arg(config);
    command.arg("-data-dir").arg(folder.path().join("data"));
    Process::spawn("consul", folder.path(), &mut command).context("starting consul")
}

fn config(options: &Options, ports: Ports, certificates: Option<&Certificates>) -> Value {
    let mut config = json!({
        "server": true,
        "bootstrap_expect": 1,
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "advertise_addr_wan": "127.0.0.1",
        "node_name": format!("server-{}", options.datacenter),
        "datacenter": options.datacenter,
        "primary_datacenter": options.datacenter,
        "disable_update_check": true,
        // It says where its threads stand.
        "enable_debug": true,
        "log_level": "warn",
        // Tests register as an operator does, with thousands of requests a second.
        "limits": { "http_max_conns_per_client": 200 },
        "performance": { "raft_multiplier": 1 },
        "ports": {
            "https": -1,
            "dns": ports.dns.port(),
            "grpc": ports.grpc.port(),
            "http": ports.http.port(),
            "server": ports.server.port(),
            "serf_lan": ports.lan.port(),
            "serf_wan": ports.wan.port(),
        },
    });
    if let Some(other) = options.join {
        config["retry_join_wan"] = json!([other.to_string()]);
        config["retry_interval_wan"] = json!("1s");
    }
    if options.acl {
        config["acl"] = json!({
            "enabled": true,
            "default_policy": "deny",
            "tokens": { "master": MANAGEMENT_TOKEN, "agent": MANAGEMENT_TOKEN },
        });
    }
    if let Some(files) = certificates {
        config["ports"]["https"] = json!(ports.https.port());
        config["verify_incoming_https"] = json!(true);
        config["ca_file"] = json!(files.ca);
        config["cert_file"] = json!(files.server_cert);
        config["key_file"] = json!(files.server_key);
    }
    config
}
