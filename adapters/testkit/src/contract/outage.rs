//! A platform in trouble: C7, C8, C9, C14.

use anyhow::{Context, Result, ensure};
use pilot_registry::ErrorKind;

use super::{Bench, Verdict};
use crate::{Backend, Operation, Runner, service};

/// C7: an outage keeps the last good snapshot, reports why, and publishes nothing.
///
/// # Errors
/// The rule is broken.
pub async fn c07_outage_keeps_last_good(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    if !bench.can(Operation::Disconnect) {
        return bench.verdict();
    }
    let mut runner = bench.run();
    bench.agrees(&mut runner).await?;
    let revision = runner.revision();
    bench.backend.disconnect().await?;
    let trouble = runner.degraded().await?;
    ensure!(!trouble.error.chain().trim().is_empty(), "the outage has no reason");
    ensure!(runner.revision() == revision, "something was published because of the outage");
    bench.backend.reconnect().await?;
    bench.agrees(&mut runner).await.context("after the outage")?;
    bench.nothing_came_since(revision, &mut runner).await?;
    bench.verdict()
}

/// C8: what was added, changed and removed during an outage is seen after it, and what comes then too.
///
/// # Errors
/// The rule is broken.
pub async fn c08_changes_during_an_outage_are_seen(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    if !bench.can(Operation::Disconnect) {
        return bench.verdict();
    }
    let mut runner = bench.run();
    bench.agrees(&mut runner).await?;
    bench.backend.disconnect().await?;
    runner.degraded().await?;
    change_everything(&mut bench).await?;
    bench.backend.reconnect().await?;
    bench.agrees(&mut runner).await.context("after the outage")?;
    bench.delete("c.local").await?;
    bench.agrees(&mut runner).await.context("a removal after the outage")?;
    bench.verdict()
}

/// C9: lost history leads to a new list: while the registry follows, and during an outage (L22: what counts
/// changes may go backwards).
///
/// # Errors
/// The rule is broken.
pub async fn c09_lost_history_is_relisted(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    if !bench.can(Operation::LoseHistory) {
        return bench.verdict();
    }
    let mut runner = bench.run();
    bench.agrees(&mut runner).await?;
    bench.backend.lose_history().await?;
    change_everything(&mut bench).await?;
    bench.agrees(&mut runner).await.context("changes after the history was lost")?;

    bench.delete("c.local").await?;
    bench.backend.lose_history().await?;
    bench.agrees(&mut runner).await.context("a removal of which the history was lost")?;

    if bench.can(Operation::Disconnect) {
        bench.backend.disconnect().await?;
        runner.degraded().await?;
        bench.put(service("d.local").http(80).endpoint("10.0.0.4", 8080).build()).await?;
        bench.backend.lose_history().await?;
        bench.backend.reconnect().await?;
        bench.agrees(&mut runner).await.context("history was lost during an outage")?;
    }
    bench.delete("a.local").await?;
    bench.agrees(&mut runner).await.context("the watch goes on")?;
    bench.verdict()
}

async fn change_everything(bench: &mut Bench<'_>) -> Result<()> {
    bench.put(service("c.local").http(80).endpoint("10.0.0.3", 8080).build()).await?;
    bench.put(service("a.local").http(80).endpoint("10.0.0.9", 8080).build()).await?;
    bench.delete("b.local").await
}

/// C14: refused credentials are Denied, a platform that cannot be reached is Unavailable, an answer that
/// makes no sense is Malformed; and each is over once its cause is.
///
/// # Errors
/// The rule is broken.
pub async fn c14_errors_are_of_their_kind(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    if bench.can(Operation::Disconnect) {
        bench.backend.disconnect().await?;
        let mut runner = fails_with(&bench, ErrorKind::Unavailable).await?;
        bench.backend.reconnect().await?;
        recovers(&mut bench, &mut runner).await.context("after the platform could not be reached")?;
    }
    if bench.can(Operation::Revoke) {
        bench.backend.revoke().await?;
        let mut runner = fails_with(&bench, ErrorKind::Denied).await?;
        bench.backend.restore().await?;
        recovers(&mut bench, &mut runner).await.context("after the credentials were refused")?;
    }
    if bench.can(Operation::Garble) {
        bench.backend.garble().await?;
        let mut runner = fails_with(&bench, ErrorKind::Malformed).await?;
        bench.backend.mend().await?;
        recovers(&mut bench, &mut runner).await.context("after an answer made no sense")?;
    }
    bench.verdict()
}

/// What is there is seen, and so is what comes later: a watch that could not be set up in the trouble is
/// set up after it.
async fn recovers(bench: &mut Bench<'_>, runner: &mut Runner) -> Result<()> {
    bench.agrees(runner).await?;
    bench.delete("a.local").await?;
    bench.agrees(runner).await.context("a removal")?;
    bench.put(service("a.local").http(80).endpoint("10.0.0.1", 8080).build()).await?;
    bench.agrees(runner).await.context("an addition")
}

/// Follows a new registry, which knows nothing yet, into that trouble.
async fn fails_with(bench: &Bench<'_>, kind: ErrorKind) -> Result<Runner> {
    let mut runner = bench.run();
    let error = runner.degraded().await?.error;
    ensure!(
        error.kind() == kind,
        "expected {}, and {} is {}",
        kind.as_str(),
        error.chain(),
        error.kind().as_str()
    );
    let made_up = runner.feed().published();
    ensure!(made_up.is_none(), "published {made_up:?} beside {}", error.chain());
    Ok(runner)
}
