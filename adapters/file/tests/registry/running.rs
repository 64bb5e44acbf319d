//! A registry that runs on real files, and waiting for what it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{
    ErrorKind, Feed, RegistryHealth, Reload, ServiceRegistry, Snapshot, SnapshotSink, State, channel,
};
use pilot_registry_file::{Config, registry};
use tempfile::TempDir;
use tokio::time::timeout;

/// Long enough for a busy machine; nothing waits for it when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A registry that runs on a folder of the test's own until the test ends.
pub(crate) struct Running {
    pub(crate) folder: TempDir,
    pub(crate) feed: Feed<Snapshot>,
    pub(crate) task: tokio::task::JoinSet<()>,
    pub(crate) reload: Reload,
    registry: Arc<dyn ServiceRegistry>,
    sink: Arc<SnapshotSink>,
}

impl Running {
    /// Prepares the folder, then follows `path` in it.
    pub(crate) fn start(path: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let config = Config::new(folder.path().join(path));
        Self::with(folder, config)
    }

    pub(crate) fn with(folder: TempDir, config: Config) -> Self {
        let (sink, feed): (SnapshotSink, Feed<Snapshot>) = channel();
        let registry = Arc::new(registry(config).unwrap());
        let reload = registry.reload().unwrap();
        let task = tokio::task::JoinSet::new();
        let mut running = Self { folder, feed, task, reload, registry, sink: Arc::new(sink) };
        running.attempt();
        running
    }

    fn attempt(&mut self) {
        let (registry, sink) = (Arc::clone(&self.registry), Arc::clone(&self.sink));
        self.task.spawn(async move {
            let Err(error) = registry.run(&sink).await;
            panic!("the attempt ended: {}", error.chain());
        });
    }

    /// Ends the attempt and begins another.
    pub(crate) async fn restart(&mut self) {
        self.task.shutdown().await;
        self.attempt();
        let begun = tokio::time::Instant::now();
        let checked =
            |state: &State<Snapshot>| state.published.as_ref().is_some_and(|it| it.checked >= begun);
        self.until("what the new attempt says", checked).await;
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) async fn until(&self, what: &str, condition: impl FnMut(&State<Snapshot>) -> bool) {
        let mut receiver = self.feed.subscribe();
        let seen = timeout(DEADLINE, receiver.wait_for(condition)).await.is_ok();
        assert!(seen, "waited for {what}; now {:?}", self.feed.with_state(|state| format!("{state:?}")));
    }

    /// Waits until exactly these hosts are in force.
    pub(crate) async fn until_hosts(&self, expected: &[&str]) {
        self.until(&format!("{expected:?}"), |state| hosts(state) == expected).await;
    }

    /// Waits until the registry is degraded with an error that contains `text`.
    pub(crate) async fn until_fault(&self, text: &str) -> ErrorKind {
        let fault = |state: &State<Snapshot>| match state.health() {
            RegistryHealth::Degraded(trouble) => Some(trouble.error),
            _ => None,
        };
        let matches =
            |state: &State<Snapshot>| fault(state).is_some_and(|error| error.chain().contains(text));
        self.until(text, matches).await;
        self.feed.with_state(|state| fault(state).unwrap().kind())
    }

    pub(crate) async fn until_live(&self) {
        self.until("live", |state| matches!(state.health(), RegistryHealth::Live)).await;
    }

    /// Waits until an entry whose name contains `entry` is skipped because of `why`.
    pub(crate) async fn until_skipped(&self, entry: &str, why: &str) {
        let matches = |(name, reason): (&String, &String)| name.contains(entry) && reason.contains(why);
        self.until(&format!("{entry}: {why}"), |state| state.skipped.iter().any(matches)).await;
    }

    pub(crate) fn hosts(&self) -> Vec<String> {
        self.feed.with_state(|state| hosts(state).into_iter().map(str::to_owned).collect())
    }
}

pub(crate) fn hosts(state: &State<Snapshot>) -> Vec<&str> {
    let services = state.published.iter().flat_map(|published| published.value.services());
    services.map(|service| service.host.as_str()).collect()
}

/// A file with a service for each host.
pub(crate) fn services(hosts: &[&str]) -> String {
    let service = |host: &&str| {
        format!("[[service]]\nhost = \"{host}\"\nports = [{{ port = 80, protocol = \"http\" }}]\n")
    };
    hosts.iter().map(service).collect()
}

pub(crate) const BROKEN: &str = "[[service]]\nhost = \n";

pub(crate) fn running_file() -> Running {
    Running::start("services.toml", |folder| {
        fs::write(folder.join("services.toml"), services(&["a.local"])).unwrap();
    })
}
