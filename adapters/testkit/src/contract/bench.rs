//! A backend under test, with the services that it should report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pilot_registry::{Hostname, Service, ServiceRegistry, Snapshot};
use tokio::time::Instant;

use super::{Gap, Verdict};
use crate::{Backend, Operation, Runner, service};

/// How long to wait for a condition that nothing announces.
const PATIENCE: Duration = Duration::from_secs(30);

/// The services that were put and not deleted are the model; what the registry says is compared with it.
pub(crate) struct Bench<'a> {
    pub(crate) backend: &'a mut dyn Backend,
    model: BTreeMap<Hostname, Arc<Service>>,
    gaps: Vec<Gap>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(backend: &'a mut dyn Backend) -> Self {
        Self { backend, model: BTreeMap::new(), gaps: Vec::new() }
    }

    /// A bench with two services.
    pub(crate) async fn with_two(backend: &'a mut dyn Backend) -> Result<Self> {
        let mut bench = Self::new(backend);
        bench.put(service("a.local").http(80).endpoint("10.0.0.1", 8080).build()).await?;
        bench.put(service("b.local").tcp(90).endpoint("10.0.0.2", 9090).build()).await?;
        Ok(bench)
    }

    pub(crate) async fn put(&mut self, service: Arc<Service>) -> Result<()> {
        self.backend.put(&service).await.with_context(|| format!("putting {}", service.host))?;
        self.model.insert(service.host.clone(), service);
        Ok(())
    }

    pub(crate) async fn put_all(&mut self, services: Vec<Arc<Service>>) -> Result<()> {
        self.backend.put_all(&services).await.context("putting many services")?;
        self.model.extend(services.into_iter().map(|service| (service.host.clone(), service)));
        Ok(())
    }

    pub(crate) async fn delete(&mut self, host: &str) -> Result<()> {
        let (host, _) = self.model.remove_entry(host).context("only what is there is deleted")?;
        self.backend.delete(&host).await.with_context(|| format!("deleting {host}"))
    }

    pub(crate) fn has(&self, host: &str) -> bool {
        self.model.contains_key(host)
    }

    pub(crate) fn expected(&self) -> Result<Snapshot> {
        let seen = self.model.values().map(|service| self.backend.as_seen(service));
        Snapshot::new(seen).context("as_seen keeps hosts apart")
    }

    pub(crate) fn registry(&self) -> Arc<dyn ServiceRegistry> {
        self.backend.registry().into()
    }

    /// Follows a new registry.
    pub(crate) fn run(&self) -> Runner {
        Runner::start(self.registry())
    }

    /// Waits until the registry says what is there.
    pub(crate) async fn agrees(&self, runner: &mut Runner) -> Result<()> {
        runner.sees(&self.expected()?).await
    }

    /// Makes a change, waits until it is seen, and requires that nothing else was published since
    /// `revision`.
    pub(crate) async fn nothing_came_since(&mut self, revision: u64, runner: &mut Runner) -> Result<()> {
        let most = revision + self.backend.changes_per_put();
        self.put(service("sentinel.local").tcp(7).endpoint("10.0.7.7", 7).build()).await?;
        self.agrees(runner).await?;
        let came = runner.revision();
        ensure!(came <= most, "revision {revision} and one more change made revision {came}");
        Ok(())
    }

    /// Whether the platform can do that; if not, it is noted.
    pub(crate) fn can(&mut self, operation: Operation) -> bool {
        let lacking = self.backend.lacks(operation);
        let gap = lacking.map(|why| Gap { operation, why });
        self.gaps.extend(gap.filter(|gap| !self.gaps.contains(gap)));
        lacking.is_none()
    }

    /// Notes that the platform has no place for a fact.
    pub(crate) fn cannot_say(&mut self, fact: &'static str) {
        self.gaps.push(Gap { operation: Operation::Say(fact), why: "as_seen leaves it out" });
    }

    pub(crate) fn verdict(self) -> Result<Verdict> {
        Ok(Verdict { gaps: self.gaps })
    }
}

/// Waits until no adapter has a connection.
pub(crate) async fn nobody_is_connected(backend: &dyn Backend) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match backend.connections().await? {
            0 => return Ok(()),
            open if Instant::now() > deadline => bail!("{open} connections are still open"),
            _ => look_again().await,
        }
    }
}

/// Waits until the runtime has at most that many tasks.
pub(crate) async fn tasks_at_most(most: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match tasks() {
            alive if alive <= most => return Ok(()),
            alive if Instant::now() > deadline => bail!("{} tasks are left over", alive - most),
            _ => look_again().await,
        }
    }
}

/// How many tasks the runtime has.
pub(crate) fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

async fn look_again() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}
