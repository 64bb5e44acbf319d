//! How an attempt begins and ends, and what is shown of it: D1, D11, D12, D13.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use super::DocumentBackend;
use super::LIMIT;
use super::bench::Bench;
use crate::contract::{Verdict, is_refused, nobody_is_connected, tasks, tasks_at_most};
use crate::{Operation, Runner};

/// D1: construction does no IO and spawns nothing, and refuses a bad configuration in words that help.
///
/// # Errors
/// The rule is broken.
pub async fn d01_construction_is_pure(backend: &mut dyn DocumentBackend) -> Result<Verdict> {
    let mut bench = Bench::new(backend);
    let before = tasks();
    // A thread without a runtime: there, whatever wants to spawn or to connect panics.
    let platform = &*bench.backend;
    let constructed = std::thread::scope(|scope| scope.spawn(|| platform.store(LIMIT)).join());
    let store = constructed.ok().context("construction panics where there is no runtime")?;
    ensure!(!store.name().is_empty(), "the store has no name");
    ensure!(tasks() <= before, "construction spawned a task");
    if bench.can(Operation::CountConnections) {
        let open = bench.backend.platform().connections().await?;
        ensure!(open == 0, "construction opened {open} connections");
    }
    let refused = bench.backend.bad_configs();
    ensure!(!refused.is_empty(), "the backend names no configuration that is refused");
    refused.iter().try_for_each(is_refused)?;
    bench.verdict()
}

/// D11: dropping the attempt stops publishing; no task and no connection remains.
///
/// # Errors
/// The rule is broken.
pub async fn d11_dropping_the_attempt_ends_it(backend: &mut dyn DocumentBackend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    let before = tasks();
    // The store itself stays, so that what it holds on to is not released with it.
    let store = bench.store();
    let mut runner = Runner::of_rules(Arc::clone(&store));
    bench.agrees(&mut runner).await?;
    runner.stop().await;
    let last = runner.feed().published().context("it was live")?;
    tasks_at_most(before).await.context("after the attempt was dropped")?;
    if bench.can(Operation::CountConnections) {
        nobody_is_connected(bench.backend.platform()).await.context("after the attempt was dropped")?;
    }
    // Once another store has seen a change, the dropped one would have.
    bench.put("c", "three").await?;
    bench.agrees(&mut bench.run()).await?;
    drop(store);
    let now = runner.feed().published().context("a value does not go away")?;
    ensure!(now.revision == last.revision && now.checked == last.checked, "published after it was dropped");
    bench.verdict()
}

/// D12: a second run on the same value behaves like the first, on its own sink; also beside the first.
///
/// # Errors
/// The rule is broken.
pub async fn d12_a_second_run_is_like_the_first(backend: &mut dyn DocumentBackend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    let store = bench.store();
    let mut first = Runner::of_rules(Arc::clone(&store));
    bench.agrees(&mut first).await.context("the first run")?;
    let mut beside = Runner::of_rules(Arc::clone(&store));
    bench.agrees(&mut beside).await.context("a run beside it")?;
    bench.put("c", "three").await?;
    bench.agrees(&mut first).await.context("a change, in the first run")?;
    bench.agrees(&mut beside).await.context("a change, in the other one")?;
    beside.stop().await;
    first.stop().await;
    bench.delete("a").await?;
    let mut second = Runner::of_rules(store);
    bench.agrees(&mut second).await.context("a run after both")?;
    let revision = second.revision();
    ensure!(revision == 1, "it published {revision} times, and the list was one");
    bench.put("d", "four").await?;
    bench.agrees(&mut second).await.context("a change during that run")?;
    bench.verdict()
}

/// D13: secrets are in no error and in nothing that `Debug` shows.
///
/// # Errors
/// The rule is broken.
pub async fn d13_secrets_are_not_shown(backend: &mut dyn DocumentBackend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    if !bench.can(Operation::KeepSecrets) {
        return bench.verdict();
    }
    let secrets = bench.backend.platform().secrets();
    ensure!(!secrets.is_empty(), "the backend names no secret");
    let mut shown = bench.backend.debug_views();
    ensure!(!shown.is_empty(), "the backend shows nothing of its configuration");
    if bench.can(Operation::Revoke) {
        bench.backend.platform().revoke().await?;
        shown.push(bench.run().degraded().await?.error.chain());
        bench.backend.platform().restore().await?;
    }
    for secret in &secrets {
        ensure!(shown.iter().all(|text| !text.contains(secret)), "a secret is in {shown:?}");
    }
    bench.verdict()
}
