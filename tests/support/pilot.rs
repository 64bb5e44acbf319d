//! The real `pilot serve` with a services file of the test's own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::http;
use super::loopback::own_address;
use super::process::Process;
use super::wait::until;

/// A pilot and its folder. The process ends when this is dropped.
pub(crate) struct Pilot {
    process: Option<Process>,
    folder: TempDir,
    address: Ipv4Addr,
}

impl Pilot {
    /// Writes pilot.toml and services.toml, and starts nothing yet.
    pub(crate) fn prepare(services: &str) -> Self {
        let pilot = Self::prepare_with("[registry.local.file]\npath = \"services.toml\"\n");
        pilot.write_services(services);
        pilot
    }

    /// Writes a pilot.toml with these tables of registries, and starts nothing yet.
    pub(crate) fn prepare_with(registries: &str) -> Self {
        let pilot = Self { process: None, folder: TempDir::new().unwrap(), address: own_address() };
        fs::write(pilot.config(), pilot.settings() + registries).unwrap();
        pilot
    }

    /// A pilot that serves these services, ready.
    pub(crate) async fn start(services: &str) -> Self {
        let mut pilot = Self::prepare(services);
        pilot.spawn();
        pilot.ready().await;
        pilot
    }

    fn settings(&self) -> String {
        let Self { address, .. } = self;
        format!(
            "[xds]\nlisten = \"{address}:18000\"\n\
             [admin]\nlisten = \"{address}:18080\"\n\
             [router]\nbind = \"{address}\"\nhttp_listen = \"{address}:15080\"\n"
        )
    }

    /// Puts something else into pilot.toml.
    pub(crate) fn configure(&self, what: &str, instead: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(what), "{what:?} is not in {text}");
        fs::write(self.config(), text.replacen(what, instead, 1)).unwrap();
    }

    /// Starts the process; it may take until [`Self::ready`] before it answers.
    pub(crate) fn spawn(&mut self) {
        let mut command = self.command(&["serve", "--config"]);
        self.spawn_with(&mut command);
    }

    /// Starts this command, to which the path of pilot.toml is added, as the process.
    pub(crate) fn spawn_with(&mut self, command: &mut Command) {
        self.process = Some(Process::spawn("pilot", self.folder.path(), command.arg(self.config())));
    }

    /// `pilot` with these arguments, and nothing of the caller's settings: no variable of pilot's, of
    /// Kubernetes or of any other platform, and no home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilot"));
        command.args(arguments).current_dir(self.folder.path());
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command
    }

    /// What `pilot explain` says of a request.
    pub(crate) async fn explained(&self, url: &str, more: &[&str]) -> pilot::admin::ExplainReport {
        let mut command = self.command(&[&["explain", url, "-o", "json"], more].concat());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said} {output:?}"))
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let admin = self.admin_address();
        until("pilot is ready", async || {
            self.process().assert_alive();
            http::body(admin, "localhost", "/readyz").await
        })
        .await;
    }

    /// The running process.
    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was spawned")
    }

    /// Kills it (-9).
    pub(crate) fn kill(&mut self) {
        self.process().kill();
    }

    /// Replaces the services file by renaming, as careful editors do.
    pub(crate) fn write_services(&self, services: &str) {
        let new = self.folder.path().join(".services.new");
        fs::write(&new, services).unwrap();
        fs::rename(new, self.services()).unwrap();
    }

    /// The services file.
    pub(crate) fn services(&self) -> PathBuf {
        self.folder.path().join("services.toml")
    }

    /// pilot.toml.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("pilot.toml")
    }

    /// The folder of everything that belongs to this test.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The address that routers of this pilot bind their listeners on.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Where discovery is served.
    pub(crate) fn xds_address(&self) -> SocketAddr {
        (self.address, 18000).into()
    }

    /// Where `/readyz` and `/debug` are.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        (self.address, 18080).into()
    }

    /// A JSON page of the admin port.
    pub(crate) async fn debug(&self, path: &str) -> Result<Value, String> {
        let body = http::body(self.admin_address(), "localhost", path).await?;
        serde_json::from_str(&body).map_err(|error| format!("{path} is not JSON: {error}: {body}"))
    }
}
