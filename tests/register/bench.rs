//! A real registry, `pilot register` beside it, and what the registry says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use pilot::config::load;
use pilot::registries;
use pilot_registry::Health;
use pilot_registry_testkit::Runner;
use pilot_registry_testkit::server::consul::{self, Consul};
use pilot_registry_testkit::server::etcd::EtcdCluster;
use tempfile::TempDir;

use crate::support::process::Process;

/// The service that the tests register.
pub(crate) const SERVICE: &str = "payments";

enum Server {
    Etcd(EtcdCluster),
    Consul(Consul),
}

/// A registry server and a pilot.toml that names it. All of it ends when this is dropped.
pub(crate) struct Bench {
    server: Server,
    runner: Runner,
    folder: TempDir,
}

impl Bench {
    pub(crate) async fn on_etcd() -> Option<Self> {
        let server = EtcdCluster::start(1).await.unwrap()?;
        let table = format!("etcd.endpoints = [{:?}]", server.endpoint(0));
        Some(Self::new(Server::Etcd(server), &table))
    }

    pub(crate) async fn on_consul() -> Option<Self> {
        let server = Consul::start(consul::Options::default()).await.unwrap()?;
        let table = format!("consul.address = \"http://{}\"", server.address());
        Some(Self::new(Server::Consul(server), &table))
    }

    fn new(server: Server, table: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("pilot.toml");
        std::fs::write(&config, format!("[registry.east]\n{table}\n")).unwrap();
        let loaded = load(&config, &BTreeMap::new(), &[]).unwrap();
        let registry = registries::build(&loaded).unwrap().pop().unwrap().registry;
        let runner = Runner::start(Arc::from(registry));
        Self { server, runner, folder }
    }

    /// A file of the test's own, which is not there yet.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether it is the kind that does not remove what is gone soon, but marks it first.
    pub(crate) fn marks_first(&self) -> bool {
        matches!(self.server, Server::Consul(_))
    }

    /// Starts `pilot register` for the service at 127.0.0.1 with that port, with these further arguments.
    pub(crate) fn register(&self, port: u16, further: &[&str]) -> Process {
        let port_text = port.to_string();
        let instance = ["--service", SERVICE, "--address", "127.0.0.1", "--port", &port_text];
        let arguments = [&["register"], &instance[..], &at_once(further), further].concat();
        Process::spawn(&format!("register-{port}"), self.folder.path(), &mut self.command(&arguments))
    }

    /// The same, with its log written into that file, which may be a named pipe.
    pub(crate) fn register_with_log(&self, port: u16, further: &[&str], log: &Path) -> Process {
        let port_text = port.to_string();
        let instance = ["--service", SERVICE, "--address", "127.0.0.1", "--port", &port_text];
        let arguments = [&["register"], &instance[..], &at_once(further), further].concat();
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$@" 2>"$0""#]).arg(log).arg(env!("CARGO_BIN_EXE_pilot")).args(arguments);
        Process::spawn("register", self.folder.path(), self.prepared(&mut command))
    }

    /// Runs `pilot` with these arguments to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The same as [`Self::register`], with more in pilot.toml and in the environment.
    pub(crate) fn register_with(
        &self,
        port: u16,
        further: &[&str],
        table: &str,
        environment: &[(&str, &str)],
    ) -> Process {
        let config = self.folder.path().join("pilot.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text + table).unwrap();
        let port_text = port.to_string();
        let instance =
            ["--registry", "east", "--service", SERVICE, "--address", "127.0.0.1", "--port", &port_text];
        let arguments = [&["register"], &instance[..], &at_once(further), further].concat();
        let mut command = self.command(&arguments);
        command.envs(environment.iter().copied());
        Process::spawn(&format!("register-{port}"), self.folder.path(), &mut command)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilot"));
        command.args(arguments);
        self.prepared(&mut command);
        command
    }

    /// In the test's folder, and without what the environment says of pilot.
    fn prepared<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(self.folder.path());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PILOT_"))
        {
            command.env_remove(name);
        }
        command
    }

    /// Waits until the service has exactly these endpoints, by their ports.
    pub(crate) async fn sees(&mut self, expected: &[(u16, Health)]) {
        let expected: BTreeMap<u16, Health> = expected.iter().copied().collect();
        self.until(&format!("{expected:?}"), |found| *found == expected).await;
    }

    /// Waits until the service's endpoints are as `wanted` says.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&BTreeMap<u16, Health>) -> bool) {
        let found = self.runner.until(what, |state| {
            let services = state.published.as_ref()?.value.services();
            let service = services.iter().find(|service| service.host.as_str().starts_with(SERVICE));
            let endpoints = service.iter().flat_map(|service| &service.endpoints);
            let port = |endpoint: &pilot_registry::Endpoint| {
                endpoint.ports.values().next().map_or(0, |port| port.get())
            };
            let found = endpoints.map(|endpoint| (port(endpoint), endpoint.health)).collect();
            wanted(&found).then_some(())
        });
        found.await.unwrap();
    }

    /// Ends the server at once. Its data stay.
    pub(crate) fn kill_server(&mut self) {
        match &mut self.server {
            Server::Etcd(etcd) => etcd.kill(0),
            Server::Consul(consul) => consul.kill(),
        }
    }

    /// Halts the server (`STOP`), or lets it go on (`CONT`).
    pub(crate) fn signal_server(&mut self, name: &str) {
        match &mut self.server {
            Server::Etcd(etcd) => etcd.process(0).unwrap().signal(name).unwrap(),
            Server::Consul(consul) => consul.process().signal(name).unwrap(),
        }
    }

    /// Starts the server again.
    pub(crate) async fn restart_server(&mut self) {
        match &mut self.server {
            Server::Etcd(etcd) => etcd.restart(0).await.unwrap(),
            Server::Consul(consul) => consul.restart().await.unwrap(),
        }
    }
}

/// Most instances of tests listen nowhere.
fn at_once(further: &[&str]) -> Vec<&'static str> {
    if further.contains(&"--port-wait") { Vec::new() } else { vec!["--port-wait", "0s"] }
}

/// A shell command that runs until the file is there, and then ends with that exit code. It ends with the file's folder,
/// too: a test that kills what runs it leaves nothing behind.
pub(crate) fn runs_until(file: &Path, code: u8) -> String {
    let (folder, file) = (file.parent().unwrap().display(), file.display());
    format!("while test -d '{folder}' && ! test -e '{file}'; do sleep 0.05; done; exit {code}")
}
