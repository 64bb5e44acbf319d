//! How an attempt begins and ends: C1, C12, C13, C15, C18.

use std::sync::{Arc, Weak};

use anyhow::{Context, Result, ensure};
use pilot_registry::{Service, Snapshot};

use super::bench::{nobody_is_connected, tasks, tasks_at_most};
use super::{Bench, Verdict};
use crate::{Backend, BadConfig, Operation, Runner, service};

/// C1: construction does no IO and spawns nothing, and refuses a bad configuration in words that help.
///
/// # Errors
/// The rule is broken.
pub async fn c01_construction_is_pure(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::new(backend);
    construct(&mut bench).await?;
    if bench.can(Operation::Disconnect) {
        bench.backend.disconnect().await?;
        construct(&mut bench).await.context("the platform cannot be reached")?;
        bench.backend.reconnect().await?;
    }
    let refused = bench.backend.bad_configs();
    ensure!(!refused.is_empty(), "the backend names no configuration that is refused");
    refused.iter().try_for_each(is_refused)?;
    bench.verdict()
}

async fn construct(bench: &mut Bench<'_>) -> Result<()> {
    let before = tasks();
    // A thread without a runtime: there, whatever wants to spawn or to connect panics.
    let platform = &*bench.backend;
    let constructed = std::thread::scope(|scope| scope.spawn(|| platform.registry()).join());
    let registry = constructed.ok().context("construction panics where there is no runtime")?;
    ensure!(!registry.name().is_empty(), "the registry has no name");
    ensure!(tasks() <= before, "construction spawned a task");
    if bench.can(Operation::CountConnections) {
        let open = bench.backend.connections().await?;
        ensure!(open == 0, "construction opened {open} connections");
    }
    Ok(())
}

pub(crate) fn is_refused(config: &BadConfig) -> Result<()> {
    let wrong = config.wrong;
    let Err(message) = &config.outcome else { anyhow::bail!("a configuration with {wrong} is accepted") };
    for mention in config.mentions {
        ensure!(message.contains(mention), "refusing {wrong}, {message:?} does not mention {mention:?}");
    }
    Ok(())
}

/// C12: dropping the attempt stops publishing; no task and no connection remains.
///
/// # Errors
/// The rule is broken.
pub async fn c12_dropping_the_attempt_ends_it(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    let before = tasks();
    // The registry itself stays, so that what it holds on to is not released with it.
    let registry = bench.registry();
    let mut runner = Runner::start(Arc::clone(&registry));
    bench.agrees(&mut runner).await?;
    runner.stop().await;
    let last = runner.feed().published().context("it was live")?;

    tasks_at_most(before).await.context("after the attempt was dropped")?;
    if bench.can(Operation::CountConnections) {
        nobody_is_connected(bench.backend).await.context("after the attempt was dropped")?;
    }
    // Once another registry has seen a change, the dropped one would have.
    bench.put(service("c.local").http(80).endpoint("10.0.0.3", 8080).build()).await?;
    bench.agrees(&mut bench.run()).await?;
    drop(registry);
    let now = runner.feed().published().context("a value does not go away")?;
    ensure!(now.revision == last.revision && now.checked == last.checked, "published after it was dropped");
    bench.verdict()
}

/// C13: nobody reads the snapshots, and memory stays bounded: those that were replaced are released.
///
/// # Errors
/// The rule is broken.
pub async fn c13_old_snapshots_are_released(backend: &mut dyn Backend) -> Result<Verdict> {
    const CHANGES: u32 = 50;
    let mut bench = Bench::with_two(backend).await?;
    let mut runner = bench.run();
    let mut snapshots: Vec<Weak<Snapshot>> = Vec::new();
    let mut services: Vec<Weak<Service>> = Vec::new();
    for n in 1..=CHANGES {
        let changing = service("changing.local").http(80).endpoint("10.0.0.9", 1000 + n).build();
        let host = bench.backend.as_seen(&changing).host.clone();
        bench.put(changing).await?;
        bench.agrees(&mut runner).await?;
        let seen = runner.feed().published().context("it is live")?.value;
        snapshots.push(Arc::downgrade(&seen));
        services.extend(seen.get(host.as_str()).map(Arc::downgrade));
    }
    // One more, so that whatever belongs to the last change only is let go.
    bench.delete("changing.local").await?;
    bench.agrees(&mut runner).await?;
    let alive = |count: usize| count <= 2;
    let snapshots = snapshots.iter().filter(|old| old.strong_count() > 0).count();
    ensure!(alive(snapshots), "{snapshots} of {CHANGES} old snapshots are still held");
    // The model's own services are another allocation, unless the backend hands them through.
    let services = services.iter().filter(|old| old.strong_count() > 0).count();
    ensure!(alive(services), "{services} of {CHANGES} old services are still held");
    bench.verdict()
}

/// C15: a second run on the same value behaves like the first, on its own sink.
///
/// # Errors
/// The rule is broken.
pub async fn c15_a_second_run_is_like_the_first(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    let registry = bench.registry();
    let mut first = Runner::start(Arc::clone(&registry));
    bench.agrees(&mut first).await.context("the first run")?;
    first.stop().await;

    bench.delete("a.local").await?;
    let mut second = Runner::start(registry);
    bench.agrees(&mut second).await.context("the second run")?;
    ensure!(
        second.revision() == 1,
        "the second run published {} times, and the list was one",
        second.revision()
    );
    bench.put(service("c.local").http(80).endpoint("10.0.0.3", 8080).build()).await?;
    bench.agrees(&mut second).await.context("a change during the second run")?;
    bench.verdict()
}

/// C18: two runs of one value at once do not disturb each other, and each reads everything.
///
/// # Errors
/// The rule is broken.
pub async fn c18_two_runs_at_once_do_not_disturb_each_other(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    let registry = bench.registry();
    let mut first = Runner::start(Arc::clone(&registry));
    bench.agrees(&mut first).await.context("the first run")?;
    for round in ["a second run", "a third run, after the second has ended"] {
        let mut beside = Runner::start(Arc::clone(&registry));
        bench.agrees(&mut beside).await.context(round)?;
        let host = format!("c{}.local", round.len());
        bench.put(service(&host).http(80).endpoint("10.0.0.3", 8080).build()).await?;
        bench.agrees(&mut first).await.context("a change, in the first run while another goes on")?;
        bench.agrees(&mut beside).await.with_context(|| format!("a change, in {round}"))?;
        beside.stop().await;
        bench.delete(&host).await?;
        bench.agrees(&mut first).await.context("a change, in the first run after another has ended")?;
    }
    first.stop().await;
    bench.agrees(&mut Runner::start(registry)).await.context("a run after all others")?;
    bench.verdict()
}
