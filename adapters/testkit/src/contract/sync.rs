//! The first list: C2, C3, C16.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pilot_registry::Service;

use super::{Bench, Verdict};
use crate::{Backend, Operation, effort, service};

/// C2: nothing is published before the first complete list, however slow the server and however many
/// pages.
///
/// # Errors
/// The rule is broken.
pub async fn c02_nothing_before_the_first_list(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::new(backend);
    bench.put_all(services(250, 1)).await?;
    let can_stall = bench.can(Operation::Stall);
    if can_stall {
        bench.backend.stall().await?;
    }
    let mut runner = bench.run();
    if can_stall {
        bench.backend.stalled().await?;
        let early = runner.feed().published();
        ensure!(early.is_none(), "published {early:?} while the list was not complete");
        bench.backend.resume().await?;
    }
    bench.agrees(&mut runner).await?;
    ensure!(runner.revision() == 1, "published {} times, and the list was one", runner.revision());
    bench.verdict()
}

/// C3: empty is not unknown. An empty platform is known to be empty; of one that cannot be reached nothing
/// is known.
///
/// # Errors
/// The rule is broken.
pub async fn c03_empty_is_not_unknown(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::new(backend);
    let mut runner = bench.run();
    bench.agrees(&mut runner).await.context("an empty platform")?;
    bench.put(service("a.local").http(80).endpoint("10.0.0.1", 8080).build()).await?;
    bench.agrees(&mut runner).await?;
    bench.delete("a.local").await?;
    bench.agrees(&mut runner).await.context("the last service was deleted")?;

    if bench.can(Operation::Disconnect) {
        bench.backend.disconnect().await?;
        let mut cut_off = bench.run();
        cut_off.degraded().await?;
        let made_up = cut_off.feed().published();
        ensure!(made_up.is_none(), "published {made_up:?} of a platform that cannot be reached");
        bench.backend.reconnect().await?;
        bench.agrees(&mut cut_off).await?;
    }
    bench.verdict()
}

/// C16: many services with 20 endpoints each arrive, and at once: 1,000, and in the long form 5,000.
///
/// # Errors
/// The rule is broken.
pub async fn c16_many_services_arrive_at_once(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::new(backend);
    bench.put_all(services(effort(1_000, 5_000), 20)).await?;
    let mut runner = bench.run().with_patience(Duration::from_secs(180));
    bench.agrees(&mut runner).await?;
    ensure!(runner.revision() == 1, "published {} times, and the list was one", runner.revision());
    bench.verdict()
}

fn services(count: u32, endpoints: u32) -> Vec<Arc<Service>> {
    let address = |n: u32| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
    let service = |n: u32| {
        let empty = service(&format!("s{n:05}.local")).http(80);
        let full = (1..=endpoints).fold(empty, |all, e| all.endpoint(&address(n * endpoints + e), 8080));
        full.build()
    };
    (0..count).map(service).collect()
}
