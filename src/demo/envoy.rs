//! A running Envoy, in a folder of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval};

use super::DemoError;
use super::traffic::get;

/// It is configured by then, also on a busy machine.
const READY: Duration = Duration::from_secs(60);
/// Between two questions whether it is.
const READY_POLL: Duration = Duration::from_millis(50);
/// How much of its log is shown when it ended.
const LOG_LINES: usize = 20;

/// A running Envoy. Its process and its folder end with it.
#[derive(Debug)]
pub(super) struct Envoy {
    child: Child,
    admin: SocketAddr,
    folder: TempDir,
}

impl Envoy {
    /// Starts that binary with that bootstrap.
    pub(super) async fn start(
        binary: &Path,
        bootstrap: &Value,
        admin: SocketAddr,
    ) -> Result<Self, DemoError> {
        let failed = |source| DemoError::Envoy { binary: binary.to_owned(), source };
        let folder = tempfile::Builder::new().prefix("pilot-demo-").tempdir().map_err(failed)?;
        let config = folder.path().join("envoy.json");
        std::fs::write(&config, bootstrap.to_string()).map_err(failed)?;
        let log = File::create(log_in(folder.path())).map_err(failed)?;
        let mut command = ending_with_us(binary).await;
        command
            .arg("--config-path")
            .arg(&config)
            // Without hot restart it leaves nothing in shared memory; with one worker the shares of the
            // backends are exact.
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // Ctrl-C in a terminal is for the demo, which ends Envoy in its turn.
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(failed)?;
        Ok(Self { child, admin, folder })
    }

    /// Waits until it has its listeners and clusters.
    pub(super) async fn ready(&mut self) -> Result<(), DemoError> {
        let deadline = Instant::now() + READY;
        let mut poll = interval(READY_POLL);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap_or(None) {
                return Err(self.ended_with(status));
            }
            if let Ok((StatusCode::OK, _)) = get(self.admin, "localhost", "/ready").await {
                return Ok(());
            }
            poll.tick().await;
        }
        Err(DemoError::NotReady { waited: READY, log: self.end_of_log() })
    }

    /// Waits until it ends by itself, which it never should.
    pub(super) async fn ended(&mut self) -> DemoError {
        match self.child.wait().await {
            Ok(status) => self.ended_with(status),
            Err(source) => DemoError::Envoy { binary: PathBuf::from("envoy"), source },
        }
    }

    /// Ends it, and waits until it is gone.
    pub(super) async fn end(mut self) {
        // An error means that it is gone already.
        let _gone = self.child.kill().await;
    }

    /// Its process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Where it writes its log.
    pub(super) fn log(&self) -> PathBuf {
        log_in(self.folder.path())
    }

    fn ended_with(&self, status: ExitStatus) -> DemoError {
        DemoError::EnvoyEnded { status, log: self.end_of_log() }
    }

    fn end_of_log(&self) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("envoy.log")
}

/// The command that runs `binary`: where the system offers it, such that it ends when the demo is killed
/// and can do nothing about it.
async fn ending_with_us(binary: &Path) -> Command {
    const SETPRIV: [&str; 3] = ["--pdeathsig", "KILL", "--"];
    // Small systems have a setpriv without this option.
    let mut probe = Command::new("setpriv");
    probe.args(SETPRIV).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if probe.status().await.is_ok_and(|status| status.success()) {
        let mut command = Command::new("setpriv");
        command.args(SETPRIV).arg(binary);
        return command;
    }
    Command::new(binary)
}
