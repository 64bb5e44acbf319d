//! A real kube-apiserver with an etcd of its own, from the folder that `KUBEBUILDER_ASSETS` names: the
//! convention of envtest.
//!
//! ```text
//!  KubeApiServer ── spawns ──► etcd ◄──── kube-apiserver ◄── TLS ── clients
//!       ├── compact ───────────►                 ▲
//!       └── Rest: the administrator's requests ──┘
//! ```
//!
//! No controller runs beside it: what a test writes is all there is, but for the service `kubernetes` of
//! the server itself.

mod etcd;
mod rest;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::server::{Authority, Certificate, Process, free_address, path_in};
use etcd::Etcd;
pub use rest::Rest;

/// How long a server may take until it is ready on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many times other ports are tried: somebody else may take one between its choice and its use.
const STARTS: usize = 3;
/// The token of the administrator, who may do everything.
const ADMIN_TOKEN: &str = "top-of-the-cluster-6443";

/// A running API server. It ends, with its etcd, when it is dropped.
#[derive(Debug)]
pub struct KubeApiServer {
    server: Process,
    etcd: Etcd,
    binary: PathBuf,
    /// What this one is started with beyond what all are.
    arguments: Vec<String>,
    address: SocketAddr,
    files: Files,
    admin: Rest,
    /// Removed when it is dropped, after the processes have ended.
    folder: TempDir,
}

/// Who the server is.
#[derive(Debug)]
struct Files {
    authority: PathBuf,
    certificate: Certificate,
    /// Signs the tokens of service accounts.
    accounts: Certificate,
}

impl KubeApiServer {
    /// Starts one with these further arguments (`--watch-cache=false`), and waits until it is ready. `None`,
    /// after having said why, where there is none to start.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start(arguments: &[&str]) -> Result<Option<Self>> {
        let how = "it names a folder with kube-apiserver and etcd";
        let Some(tools) = path_in("KUBEBUILDER_ASSETS", "a real kube-apiserver", how) else {
            return Ok(None);
        };
        let mut last = None;
        for _ in 0..STARTS {
            match Self::start_once(&tools, arguments).await {
                Ok(started) => return Ok(Some(started)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("at least one start is tried")?)
    }

    async fn start_once(tools: &Path, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut authority = Authority::new(folder.path())?;
        let files = Files {
            authority: authority.certificate(),
            certificate: authority.issue("server", &["127.0.0.1", "localhost"])?,
            accounts: authority.issue("accounts", &[])?,
        };
        let tokens = format!("{ADMIN_TOKEN},admin,admin,\"system:masters\"\n");
        std::fs::write(folder.path().join("tokens.csv"), tokens)?;
        let (etcd, address) = (Etcd::start(tools, folder.path()).await?, free_address()?);
        let binary = tools.join("kube-apiserver");
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let mut command = command(&binary, folder.path(), &etcd, address, &files);
        let server = Process::spawn("kube-apiserver", folder.path(), command.args(&arguments))?;
        let admin = Rest::new(address, &files.authority, ADMIN_TOKEN)?;
        let mut started = Self { server, etcd, binary, arguments, address, files, admin, folder };
        started.ready().await?;
        Ok(started)
    }

    /// Where it listens, for TLS.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file of the authority that has signed its certificate.
    pub fn authority_certificate(&self) -> &Path {
        &self.files.authority
    }

    /// Its own certificate, for a front that stands in for it.
    pub fn certificate(&self) -> &Certificate {
        &self.files.certificate
    }

    /// The administrator's way to it.
    pub fn admin(&self) -> &Rest {
        &self.admin
    }

    /// Requests of somebody else: whoever has that token.
    ///
    /// # Errors
    /// The authority's file cannot be read.
    pub fn rest(&self, token: &str) -> Result<Rest> {
        Rest::new(self.address, &self.files.authority, token)
    }

    /// A kubeconfig for whoever has that token, of the server as it is reached at `address`.
    pub fn kubeconfig(&self, address: SocketAddr, token: &str) -> Value {
        let server = format!("https://{address}");
        let cluster = json!({ "server": server, "certificate-authority": self.files.authority });
        super::kubeconfig(&cluster, &json!({ "token": token }))
    }

    /// Forgets all of etcd's history. Watches from older versions expire (410), unless the server's watch
    /// cache still has the events: it forgets them when it is [restarted](Self::restart).
    ///
    /// # Errors
    /// etcd refuses.
    pub async fn compact(&self) -> Result<()> {
        self.etcd.compact().await
    }

    /// Ends the API server at once. etcd goes on.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again, on the same port, and waits until it is ready.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.server.kill();
        let folder = self.folder.path();
        let mut command = command(&self.binary, folder, &self.etcd, self.address, &self.files);
        self.server = Process::spawn("kube-apiserver", folder, command.args(&self.arguments))?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Its own service is what it writes last of all.
            let is_ready = self.admin.get("/readyz").await.is_ok()
                && self.admin.get("/api/v1/namespaces/default/services/kubernetes").await.is_ok();
            if is_ready {
                return Ok(());
            }
            if let Some(status) = self.server.status() {
                bail!("kube-apiserver ended with {status}: {}", self.server.output());
            }
            if Instant::now() > deadline {
                bail!("kube-apiserver is not ready after {PATIENCE:?}: {}", self.server.output());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn command(binary: &Path, folder: &Path, etcd: &Etcd, address: SocketAddr, files: &Files) -> Command {
    let mut command = Command::new(binary);
    command.env_clear();
    command.arg(format!("--etcd-servers=http://{}", etcd.address()));
    command.arg("--bind-address=127.0.0.1").arg(format!("--secure-port={}", address.port()));
    command.arg("--cert-dir").arg(folder.join("certificates"));
    command.arg("--tls-cert-file").arg(&files.certificate.certificate);
    command.arg("--tls-private-key-file").arg(&files.certificate.key);
    command.arg("--service-account-key-file").arg(&files.accounts.certificate);
    command.arg("--service-account-signing-key-file").arg(&files.accounts.key);
    command.arg("--service-account-issuer=https://kubernetes.default.svc");
    command.arg("--token-auth-file").arg(folder.join("tokens.csv"));
    command.arg("--authorization-mode=RBAC");
    command.arg("--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112");
    // No controller makes accounts, nodes or endpoints, and pods stay as they were written.
    command.arg("--disable-admission-plugins=ServiceAccount,DefaultTolerationSeconds,Priority");
    command.arg("--endpoint-reconciler-type=none");
    command
}
