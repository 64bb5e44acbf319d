//! Malformed entries: C10.

use anyhow::{Context, Result, ensure};
use pilot_registry::State;

use super::{Bench, Verdict};
use crate::{Backend, Operation, service};

/// C10: one malformed entry hides only itself, is reported by name while it is there, and no longer.
///
/// # Errors
/// The rule is broken.
pub async fn c10_a_malformed_entry_hides_only_itself(backend: &mut dyn Backend) -> Result<Verdict> {
    const ENTRY: &str = "broken-entry";
    let mut bench = Bench::with_two(backend).await?;
    if !bench.can(Operation::PutMalformed) {
        return bench.verdict();
    }
    let named = |state: &State<_>| state.skipped.keys().any(|entry| entry.contains(ENTRY));

    let mut runner = bench.run();
    bench.agrees(&mut runner).await?;
    let revision = runner.revision();
    bench.backend.put_malformed(ENTRY).await?;
    runner.until("the malformed entry to be reported", |state| named(state).then_some(())).await?;
    ensure!(runner.revision() == revision, "the malformed entry changed the others");
    bench.put(service("c.local").http(80).endpoint("10.0.0.3", 8080).build()).await?;
    bench.delete("b.local").await?;
    bench.agrees(&mut runner).await.context("changes beside a malformed entry")?;

    let mut later = bench.run();
    bench.agrees(&mut later).await.context("a first list with a malformed entry")?;
    ensure!(later.feed().with_state(named), "the malformed entry is not reported with the first list");

    bench.backend.delete_malformed(ENTRY).await?;
    runner.until("the report to end", |state| state.skipped.is_empty().then_some(())).await?;
    bench.agrees(&mut runner).await?;
    bench.verdict()
}
