//! What it costs to follow a registry that is a server: time to the first list, idle, one change.
//!
//! `cargo bench --bench registries`; what is measured and the figures are in benches/README.md.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

mod consul;
mod etcd;
#[allow(dead_code, reason = "each bench uses its part")]
#[path = "../support/machine.rs"]
mod machine;
#[allow(dead_code, reason = "each bench uses its part")]
#[path = "../support/measure.rs"]
mod measure;
#[allow(dead_code, reason = "each bench uses its part")]
#[path = "../support/services.rs"]
mod services;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use pilot_registry::{ServiceRegistry, Snapshot, State};
use pilot_registry_testkit::Runner;
use tokio::time::Instant;

use machine::Process;
use measure::{Samples, ms};

/// How much is measured.
#[derive(Clone, Copy)]
struct Size {
    services: usize,
    endpoints: usize,
    changes: u32,
    idle: Duration,
    /// After each change, so that the next one finds a registry at rest.
    rest: Duration,
}

#[tokio::main]
async fn main() -> Result<()> {
    let smoke = machine::is_smoke();
    println!("{}\n", machine::description());
    let (services, changes) = if smoke { (20, 3) } else { (5_000, 100) };
    let idle = Duration::from_secs(if smoke { 1 } else { 20 });
    let size = Size { services, endpoints: 20, changes, idle, rest: Duration::ZERO };
    etcd::measure(size).await?;
    let rest = Duration::from_secs(if smoke { 1 } else { 8 });
    consul::measure(Size { endpoints: 15, changes: changes.min(10), rest, ..size }).await
}

/// A registry that is being measured, in this process.
struct Bench {
    runner: Runner,
    process: Process,
}

impl Bench {
    /// Follows a registry from nothing until it has said what there is.
    async fn start(registry: Arc<dyn ServiceRegistry>, endpoints: usize) -> Result<Self> {
        let process = Process::of(std::process::id());
        let (memory, cpu, started) = (process.resident(), process.cpu(), Instant::now());
        let mut runner = Runner::start(registry).with_patience(Duration::from_secs(180));
        let complete = |state: &State<Snapshot>| {
            let published = state.published.as_ref()?;
            (published.value.endpoint_count() == endpoints).then_some(())
        };
        runner.until("the first list", complete).await?;
        let (took, cpu) = (started.elapsed(), process.cpu().saturating_sub(cpu));
        println!("{:<34} {:>8} s, {:>6} ms of CPU", "from nothing to in sync", secs(took), cpu.as_millis());
        let grown = process.resident().saturating_sub(memory) >> 20;
        println!("{:<34} {grown:>8} MiB", "memory that it has grown by");
        Ok(Self { runner, process })
    }

    /// What it costs when nothing changes.
    async fn idle(&self, time: Duration) {
        let before = self.process.cpu();
        tokio::time::sleep(time).await;
        let cpu = self.process.cpu().saturating_sub(before).as_secs_f64() / time.as_secs_f64();
        println!("{:<34} {:>8.2} % of a core", "idle", cpu * 100.0);
    }

    /// What a change costs: `change` writes one, and it counts as seen when it is published.
    async fn changes<F: Future<Output = Result<()>>>(
        &mut self,
        size: Size,
        mut change: impl FnMut(u32) -> F,
    ) -> Result<()> {
        let (before, mut samples) = (self.process.cpu(), Vec::new());
        for step in 1..=size.changes {
            let (revision, made) = (self.runner.revision(), Instant::now());
            change(step).await?;
            let newer =
                |state: &State<Snapshot>| (state.published.as_ref()?.revision > revision).then_some(());
            self.runner.until("a change", newer).await?;
            samples.push(made.elapsed());
            tokio::time::sleep(size.rest).await;
        }
        let cpu = self.process.cpu().saturating_sub(before) / size.changes;
        let samples: Samples = samples.into_iter().collect();
        println!("{:<34}{samples} (min, median, max in ms)", "a change, from its writing on");
        println!("{:<34} {:>8} ms of CPU, the writer's included", "a change", ms(cpu));
        Ok(())
    }
}

fn secs(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}
