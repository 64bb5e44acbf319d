//! A platform in trouble: D2, D6, D7, D10.

use anyhow::{Context, Result, ensure};
use pilot_registry::{ErrorKind, Texts};

use super::DocumentBackend;
use super::bench::Bench;
use crate::contract::Verdict;
use crate::{Operation, Runner};

/// D2: nothing is published before the first complete list, however slow the server.
///
/// # Errors
/// The rule is broken.
pub async fn d02_nothing_before_the_first_list(backend: &mut dyn DocumentBackend) -> Result<Verdict> {
    let mut bench = Bench::new(backend);
    for n in 0..250 {
        bench.put(&format!("d{n:04}"), "one").await?;
    }
    let can_stall = bench.can(Operation::Stall);
    if can_stall {
        bench.backend.platform().stall().await?;
    }
    let mut runner = bench.run();
    if can_stall {
        bench.backend.platform().stalled().await?;
        let early = runner.feed().published();
        ensure!(early.is_none(), "published {early:?} while the list was not complete");
        bench.backend.platform().resume().await?;
    }
    bench.agrees(&mut runner).await?;
    ensure!(runner.revision() == 1, "published {} times, and the list was one", runner.revision());
    bench.verdict()
}

/// D6: an outage keeps all documents, says why, and publishes nothing; what came, changed and went meanwhile is seen
/// after it, and what comes then, too.
///
/// # Errors
/// The rule is broken.
pub async fn d06_an_outage_keeps_the_documents_and_what_changed_is_seen_after_it(
    backend: &mut dyn DocumentBackend,
) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    if !bench.can(Operation::Disconnect) {
        return bench.verdict();
    }
    let mut runner = bench.run();
    bench.agrees(&mut runner).await?;
    let revision = runner.revision();
    bench.backend.platform().disconnect().await?;
    let trouble = runner.degraded().await?;
    ensure!(!trouble.error.chain().trim().is_empty(), "the outage has no reason");
    ensure!(runner.revision() == revision, "something was published because of the outage");
    bench.backend.platform().reconnect().await?;
    bench.agrees(&mut runner).await.context("after the outage")?;
    bench.nothing_came_since(revision, &mut runner).await?;

    bench.backend.platform().disconnect().await?;
    runner.degraded().await?;
    change_everything(&mut bench).await?;
    bench.backend.platform().reconnect().await?;
    bench.agrees(&mut runner).await.context("what changed during an outage")?;
    bench.delete("c").await?;
    bench.agrees(&mut runner).await.context("a removal after the outage")?;
    bench.verdict()
}

/// D7: lost history leads to a new list: while the store follows, and during an outage.
///
/// # Errors
/// The rule is broken.
pub async fn d07_lost_history_is_relisted(backend: &mut dyn DocumentBackend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    if !bench.can(Operation::LoseHistory) {
        return bench.verdict();
    }
    let mut runner = bench.run();
    bench.agrees(&mut runner).await?;
    bench.backend.platform().lose_history().await?;
    change_everything(&mut bench).await?;
    bench.agrees(&mut runner).await.context("changes after the history was lost")?;
    if bench.can(Operation::Disconnect) {
        bench.backend.platform().disconnect().await?;
        runner.degraded().await?;
        bench.delete("c").await?;
        bench.backend.platform().lose_history().await?;
        bench.backend.platform().reconnect().await?;
        bench.agrees(&mut runner).await.context("history was lost during an outage")?;
    }
    bench.put("d", "four").await?;
    bench.agrees(&mut runner).await.context("the watch goes on")?;
    bench.verdict()
}

async fn change_everything(bench: &mut Bench<'_>) -> Result<()> {
    bench.put("c", "three").await?;
    bench.put("a", "nine").await?;
    bench.delete("b").await
}

/// D10: refused credentials are Denied, a platform that cannot be reached is Unavailable, an answer that makes no sense is
/// Malformed; and each is over once its cause is.
///
/// # Errors
/// The rule is broken.
pub async fn d10_errors_are_of_their_kind(backend: &mut dyn DocumentBackend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    if bench.can(Operation::Disconnect) {
        bench.backend.platform().disconnect().await?;
        let mut runner = fails_with(&bench, ErrorKind::Unavailable).await?;
        bench.backend.platform().reconnect().await?;
        recovers(&mut bench, &mut runner).await.context("after the platform could not be reached")?;
    }
    if bench.can(Operation::Revoke) {
        bench.backend.platform().revoke().await?;
        let mut runner = fails_with(&bench, ErrorKind::Denied).await?;
        bench.backend.platform().restore().await?;
        recovers(&mut bench, &mut runner).await.context("after the credentials were refused")?;
    }
    if bench.can(Operation::Garble) {
        bench.backend.platform().garble().await?;
        let mut runner = fails_with(&bench, ErrorKind::Malformed).await?;
        bench.backend.platform().mend().await?;
        recovers(&mut bench, &mut runner).await.context("after an answer made no sense")?;
    }
    bench.verdict()
}

async fn recovers(bench: &mut Bench<'_>, runner: &mut Runner<Texts>) -> Result<()> {
    bench.agrees(runner).await?;
    bench.delete("a").await?;
    bench.agrees(runner).await.context("a removal")?;
    bench.put("a", "one").await?;
    bench.agrees(runner).await.context("an addition")
}

/// Follows a new store, which knows nothing yet, into that trouble.
async fn fails_with(bench: &Bench<'_>, kind: ErrorKind) -> Result<Runner<Texts>> {
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

/// D15: a store whose credentials are refused while it follows keeps what it has and says why; what changed meanwhile is
/// seen once they count again.
///
/// # Errors
/// The rule is broken.
pub async fn d15_refused_credentials_keep_the_documents(
    backend: &mut dyn DocumentBackend,
) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    if !bench.can(Operation::Revoke) {
        return bench.verdict();
    }
    let mut runner = bench.run();
    bench.agrees(&mut runner).await?;
    let revision = runner.revision();
    bench.backend.platform().revoke().await?;
    let denied = runner.until("the refusal to be told", |state| {
        state.troubles().any(|trouble| trouble.error.kind() == ErrorKind::Denied).then_some(())
    });
    denied.await?;
    ensure!(runner.revision() == revision, "something was published because of the refusal");
    change_everything(&mut bench).await?;
    bench.backend.platform().restore().await?;
    bench.agrees(&mut runner).await.context("after the credentials count again")?;
    bench.verdict()
}
