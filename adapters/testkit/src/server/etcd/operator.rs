//! What an operator does with etcdctl, directly at the nodes.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::EtcdCluster;

/// Who may use the cluster, where that is enforced.
pub const USER: &str = "pilot";
/// The user's password.
pub const PASSWORD: &str = "open-sesame-2379";
/// The keys that the user may read and write begin with this.
pub const PREFIX: &str = "/pilot/";

/// Who may do everything.
pub const ROOT: &str = "root";
/// That user's password.
pub const ROOT_PASSWORD: &str = "top-of-the-tree-2380";

impl EtcdCluster {
    /// Runs etcdctl as root against all nodes, and returns what it prints.
    ///
    /// # Errors
    /// It fails; the error is what it says.
    pub async fn etcdctl(&self, arguments: &[&str]) -> Result<String> {
        self.run(&self.endpoints().join(","), arguments).await
    }

    /// The same against one node.
    ///
    /// # Errors
    /// It fails; the error is what it says.
    pub async fn etcdctl_at(&self, n: usize, arguments: &[&str]) -> Result<String> {
        self.run(&self.endpoint(n), arguments).await
    }

    /// Forgets all history before the revision of this moment.
    ///
    /// # Errors
    /// etcd refuses.
    pub async fn compact(&self) -> Result<()> {
        let revision = self.revision().await?.to_string();
        match self.etcdctl(&["compact", &revision]).await {
            // Nothing has happened since it was done last.
            Err(error) if format!("{error:#}").contains("has been compacted") => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// The revision of this moment.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn revision(&self) -> Result<i64> {
        let answer = self.etcdctl(&["get", "no-such-key", "--write-out=fields"]).await?;
        let line = answer.lines().find_map(|line| line.strip_prefix("\"Revision\" : "));
        line.context("an answer without revision")?.parse().context("a revision is a number")
    }

    /// Takes from [`USER`] what it may do.
    ///
    /// # Errors
    /// etcd refuses.
    pub async fn revoke(&self) -> Result<()> {
        self.etcdctl(&["role", "revoke-permission", USER, PREFIX, "--prefix"]).await.map(drop)
    }

    /// Gives it back.
    ///
    /// # Errors
    /// etcd refuses.
    pub async fn restore(&self) -> Result<()> {
        self.etcdctl(&["role", "grant-permission", USER, "readwrite", PREFIX, "--prefix"]).await.map(drop)
    }

    pub(super) async fn enable_auth(&mut self) -> Result<()> {
        let (root, user) = (format!("{ROOT}:{ROOT_PASSWORD}"), format!("{USER}:{PASSWORD}"));
        for arguments in [["user", "add", &root], ["user", "add", &user], ["role", "add", USER]] {
            self.etcdctl(&arguments).await?;
        }
        self.restore().await?;
        self.etcdctl(&["user", "grant-role", USER, USER]).await?;
        self.etcdctl(&["role", "add", ROOT]).await?;
        self.etcdctl(&["user", "grant-role", ROOT, ROOT]).await?;
        self.etcdctl(&["auth", "enable"]).await?;
        self.enforces_auth = true;
        Ok(())
    }

    async fn run(&self, endpoints: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.tools.join("etcdctl"));
        command.env_clear().env("ETCDCTL_API", "3");
        command.args(["--endpoints", endpoints, "--dial-timeout=5s", "--command-timeout=10s"]);
        if self.enforces_auth {
            command.arg("--user").arg(format!("{ROOT}:{ROOT_PASSWORD}"));
        }
        if let Some(tls) = &self.tls {
            command.arg("--cacert").arg(tls.authority.certificate());
            command.arg("--cert").arg(&tls.client.certificate).arg("--key").arg(&tls.client.key);
        }
        command.args(arguments);
        // Not on the test's own thread: what passes through a relay there would stand still.
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if !output.status.success() {
            bail!("etcdctl {arguments:?}: {}", text(output.stderr).trim());
        }
        Ok(text(output.stdout))
    }
}
