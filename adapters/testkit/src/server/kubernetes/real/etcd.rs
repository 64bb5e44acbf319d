//! The etcd of an API server: a program without its etcdctl, so asked in JSON.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::server::{Process, free_address};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Etcd {
    process: Process,
    address: SocketAddr,
}

impl Etcd {
    pub(super) async fn start(tools: &Path, folder: &Path) -> Result<Self> {
        let (address, peer) = (free_address()?, format!("http://{}", free_address()?));
        let url = format!("http://{address}");
        let mut command = Command::new(tools.join("etcd"));
        command.env_clear().arg("--data-dir").arg(folder.join("etcd"));
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--name", "etcd", "--initial-cluster", &format!("etcd={peer}")]);
        command.args([
            "--logger",
            "zap",
            "--log-outputs",
            "stderr",
            "--log-level",
            "warn",
            "--unsafe-no-fsync",
        ]);
        let mut etcd = Self { process: Process::spawn("etcd", folder, &mut command)?, address };
        etcd.ready().await?;
        Ok(etcd)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    async fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.revision().await {
            if let Some(status) = self.process.status() {
                bail!("etcd ended with {status}: {}", self.process.output());
            }
            if Instant::now() > deadline {
                return Err(error.context("etcd does not answer"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Forgets all history before the revision of this moment.
    pub(super) async fn compact(&self) -> Result<()> {
        let revision = self.revision().await?;
        match self.ask("/v3/kv/compaction", &json!({ "revision": revision, "physical": true })).await {
            // Nothing has happened since it was done last.
            Err(error) if format!("{error:#}").contains("has been compacted") => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    async fn revision(&self) -> Result<String> {
        // Any key: the revision is in the answer's header. Base64, as all bytes are.
        let answer = self.ask("/v3/kv/range", &json!({ "key": "AA==" })).await?;
        let revision = answer["header"]["revision"].as_str().context("an answer without revision")?;
        Ok(revision.to_owned())
    }

    async fn ask(&self, path: &str, question: &Value) -> Result<Value> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let request = Request::post(path).header("Host", self.address.to_string());
        let request = request.body(Full::new(Bytes::from(question.to_string())))?;
        let exchange = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            anyhow::Ok((status, answer.into_body().collect().await?.to_bytes()))
        };
        let (status, body) = tokio::select! {
            answer = exchange => answer?,
            _ = connection => bail!("etcd ended the connection"),
        };
        if status != StatusCode::OK {
            bail!("{path}: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(serde_json::from_slice(&body)?)
    }
}
