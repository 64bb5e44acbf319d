//! A real etcd: one node or several, as the test wants it, with data that outlives a kill.
//!
//! ```text
//!  EtcdCluster ── spawns ──► etcd, etcd, etcd          (kill, restart, signal, output: by number)
//!              ── etcdctl ─► the operator's side: compaction, users, anything
//! ```

mod operator;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{Authority, Certificate, Process, free_address, tool};

pub use operator::{PASSWORD, PREFIX, ROOT, ROOT_PASSWORD, USER};

/// How long a node may take to answer on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many times other ports are tried: somebody else may take one between its choice and its use.
const STARTS: usize = 3;

/// What kind of cluster.
#[derive(Clone, Debug, Default)]
pub struct EtcdOptions {
    /// How many nodes; 0 is 1.
    pub nodes: usize,
    /// Clients speak TLS and show a certificate of the cluster's [`Authority`].
    pub tls: bool,
    /// Clients need a name and a password: [`USER`] and [`PASSWORD`], who may read and write [`PREFIX`].
    pub auth: bool,
    /// Further arguments of `etcd`: `--auth-token-ttl=1`.
    pub arguments: Vec<String>,
}

/// etcd nodes that form a cluster. They are killed, and their data removed, when this is dropped.
#[derive(Debug)]
pub struct EtcdCluster {
    nodes: Vec<Node>,
    tools: PathBuf,
    options: EtcdOptions,
    tls: Option<Tls>,
    enforces_auth: bool,
    /// After the nodes, so that it is removed when they have ended.
    folder: TempDir,
}

#[derive(Debug)]
struct Node {
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
    process: Option<Process>,
}

#[derive(Debug)]
struct Tls {
    authority: Authority,
    server: Certificate,
    client: Certificate,
}

impl EtcdCluster {
    /// Starts a cluster of that many nodes, without TLS and users, and returns when all of it answers.
    /// `None`, and a line that says why, where there is no etcd.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start(nodes: usize) -> Result<Option<Self>> {
        Self::with(EtcdOptions { nodes, ..EtcdOptions::default() }).await
    }

    /// The same, of another kind.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn with(options: EtcdOptions) -> Result<Option<Self>> {
        let Some(tools) = tool("PILOT_TEST_ETCD", "etcd") else { return Ok(None) };
        let mut last = None;
        for _ in 0..STARTS {
            let mut cluster = Self::new(tools.clone(), options.clone())?;
            match cluster.bring_up().await {
                Ok(()) => return Ok(Some(cluster)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("at least one start is tried")?)
    }

    fn new(tools: PathBuf, options: EtcdOptions) -> Result<Self> {
        let folder = TempDir::new()?;
        let tls = options.tls.then(|| Tls::new(&folder)).transpose()?;
        let nodes = (0..options.nodes.max(1)).map(Node::new).collect::<Result<_>>()?;
        Ok(Self { nodes, tools, options, tls, enforces_auth: false, folder })
    }

    async fn bring_up(&mut self) -> Result<()> {
        for n in 0..self.nodes.len() {
            self.spawn(n)?;
        }
        self.ready().await?;
        if self.options.auth {
            self.enable_auth().await?;
        }
        Ok(())
    }

    /// The nodes' client URLs.
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.nodes.len()).map(|n| self.endpoint(n)).collect()
    }

    /// One node's client URL.
    pub fn endpoint(&self, n: usize) -> String {
        self.url(self.nodes[n].client)
    }

    /// One node's client address, for a [`Relay`](super::Relay).
    pub fn address(&self, n: usize) -> SocketAddr {
        self.nodes[n].client
    }

    /// The URL of a node that is reached by another address.
    pub fn url(&self, address: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}")
    }

    /// The certificate that clients show, where they have to.
    pub fn client_certificate(&self) -> Option<&Certificate> {
        self.tls.as_ref().map(|tls| &tls.client)
    }

    /// The file of the authority that has signed the nodes' certificate, where they have one.
    pub fn authority_certificate(&self) -> Option<PathBuf> {
        self.tls.as_ref().map(|tls| tls.authority.certificate())
    }

    /// Who issues certificates, where there are any.
    pub fn authority(&mut self) -> Option<&mut Authority> {
        self.tls.as_mut().map(|tls| &mut tls.authority)
    }

    /// The process of a node that is running.
    pub fn process(&mut self, n: usize) -> Option<&mut Process> {
        self.nodes[n].process.as_mut()
    }

    /// Ends a node at once (SIGKILL). Its data stay.
    pub fn kill(&mut self, n: usize) {
        // Dropped, it would also show its log if the test fails later: that is wanted of those that run.
        if let Some(mut process) = self.nodes[n].process.take() {
            process.kill();
        }
    }

    /// Starts a killed node again on its data, and returns when it answers. It may answer without a leader.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart(&mut self, n: usize) -> Result<()> {
        self.kill(n);
        self.spawn(n)?;
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.etcdctl_at(n, &["endpoint", "status"]).await {
            if Instant::now() > deadline {
                return Err(error.context("a node was started again and does not answer"));
            }
            // Somebody else may have been given its port meanwhile, and have let go of it.
            if self.nodes[n].process.as_mut().is_none_or(|process| process.status().is_some()) {
                self.spawn(n)?;
            }
            look_again().await;
        }
        Ok(())
    }

    /// Waits until all nodes that run have a leader and answer.
    ///
    /// # Errors
    /// They do not, or one of them has ended.
    pub async fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for n in 0..self.nodes.len() {
            while self.nodes[n].process.is_some() {
                let healthy = self.etcdctl_at(n, &["endpoint", "health"]).await;
                let Node { name, process: Some(process), .. } = &mut self.nodes[n] else { break };
                if let Some(status) = process.status() {
                    bail!("{name} ended with {status}: {}", process.last_words());
                }
                match healthy {
                    Ok(_) => break,
                    Err(error) if Instant::now() > deadline => {
                        return Err(error.context(format!("{name} is not healthy: {}", process.last_words())));
                    }
                    Err(_) => look_again().await,
                }
            }
        }
        Ok(())
    }

    /// The number of the node that leads, once there is one.
    ///
    /// # Errors
    /// None leads.
    pub async fn leader(&self) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for n in (0..self.nodes.len()).filter(|n| self.nodes[*n].process.is_some()) {
                // endpoint, member, version, size, whether it leads, …
                let status = self.etcdctl_at(n, &["endpoint", "status"]).await.unwrap_or_default();
                if status.split(", ").nth(4) == Some("true") {
                    return Ok(n);
                }
            }
            anyhow::ensure!(Instant::now() < deadline, "no node leads");
            look_again().await;
        }
    }

    fn spawn(&mut self, n: usize) -> Result<()> {
        let cluster: Vec<_> =
            self.nodes.iter().map(|node| format!("{}=http://{}", node.name, node.peer)).collect();
        let node = &self.nodes[n];
        let (url, peer) = (self.url(node.client), format!("http://{}", node.peer));
        let mut command = Command::new(self.tools.join("etcd"));
        // What a machine says of its own etcd is nothing to these.
        command.env_clear();
        command.arg("--data-dir").arg(self.folder.path().join(&node.name));
        let urls = ["--listen-client-urls", "--advertise-client-urls"].map(|flag| (flag, &url));
        let peers = ["--listen-peer-urls", "--initial-advertise-peer-urls"].map(|flag| (flag, &peer));
        for (flag, value) in urls.into_iter().chain(peers) {
            command.arg(flag).arg(value);
        }
        command.args(["--name", &node.name, "--initial-cluster", &cluster.join(",")]);
        command.args(["--logger", "zap", "--log-outputs", "stderr", "--log-level", "warn"]);
        if let Some(tls) = &self.tls {
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(tls.authority.certificate());
            command.arg("--cert-file").arg(&tls.server.certificate).arg("--key-file").arg(&tls.server.key);
            command.arg("--client-crl-file").arg(tls.authority.revocations());
        }
        command.args(&self.options.arguments);
        let process = Process::spawn(&node.name, self.folder.path(), &mut command)?;
        self.nodes[n].process = Some(process);
        Ok(())
    }
}

impl Node {
    fn new(n: usize) -> Result<Self> {
        let (client, peer) = (free_address()?, free_address()?);
        Ok(Self { name: format!("etcd-{n}"), client, peer, process: None })
    }
}

impl Tls {
    fn new(folder: &TempDir) -> Result<Self> {
        let mut authority = Authority::new(folder.path())?;
        let server = authority.issue("server", &["localhost", "127.0.0.1", "etcd.test"])?;
        let client = authority.issue("client", &[])?;
        Ok(Self { authority, server, client })
    }
}

async fn look_again() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}
