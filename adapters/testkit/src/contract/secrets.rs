//! Secrets never appear: C17.

use anyhow::{Result, ensure};

use super::log::Log;
use super::{Bench, Verdict};
use crate::{Backend, Operation, service};

/// C17: secrets never appear in `Debug`, errors, logs or what a registry tells of itself, whatever goes wrong.
///
/// Logs of the thread that runs the test are looked at, so the test has a runtime of one thread.
///
/// # Errors
/// The rule is broken.
pub async fn c17_secrets_are_not_shown(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    if !bench.can(Operation::KeepSecrets) {
        return bench.verdict();
    }
    let secrets = bench.backend.secrets();
    ensure!(!secrets.is_empty(), "the backend names no secret");
    let log = Log::default();
    let capturing = crate::logs::follow(log.clone());
    tracing::info!("capturing");

    let mut said = everything_goes_wrong(&mut bench).await?;
    drop(capturing);
    said.extend(bench.backend.debug_views().into_iter().map(|text| ("Debug", text)));
    let logged = log.text();
    ensure!(logged.contains("capturing"), "the log was not captured");
    said.push(("a log", logged));
    for (place, text) in said {
        // Not the text itself: this message goes to a log.
        let shown = secrets.iter().any(|secret| text.contains(secret.as_str()));
        ensure!(!shown, "{place} shows a secret");
    }
    bench.verdict()
}

async fn everything_goes_wrong(bench: &mut Bench<'_>) -> Result<Vec<(&'static str, String)>> {
    let mut said = Vec::new();
    let troubles = [Operation::Disconnect, Operation::Revoke, Operation::Garble];
    for trouble in troubles {
        if !bench.can(trouble) {
            continue;
        }
        begin(bench, trouble).await?;
        let mut runner = bench.run();
        let error = runner.degraded().await?.error;
        said.push(("an error", error.chain()));
        said.push(("an error's Debug", format!("{error:?}")));
        end(bench, trouble).await?;
        bench.agrees(&mut runner).await?;
        said.push(("a status", format!("{:?}", runner.feed().status())));
    }
    if bench.can(Operation::PutMalformed) {
        bench.backend.put_malformed("broken-entry").await?;
        let mut runner = bench.run();
        bench.put(service("c.local").http(80).endpoint("10.0.0.3", 8080).build()).await?;
        bench.agrees(&mut runner).await?;
        said.push(("a skipped entry", runner.feed().with_state(|state| format!("{:?}", state.skipped))));
        bench.backend.delete_malformed("broken-entry").await?;
    }
    Ok(said)
}

async fn begin(bench: &mut Bench<'_>, trouble: Operation) -> Result<()> {
    match trouble {
        Operation::Disconnect => bench.backend.disconnect().await,
        Operation::Revoke => bench.backend.revoke().await,
        _ => bench.backend.garble().await,
    }
}

async fn end(bench: &mut Bench<'_>, trouble: Operation) -> Result<()> {
    match trouble {
        Operation::Disconnect => bench.backend.reconnect().await,
        Operation::Revoke => bench.backend.restore().await,
        _ => bench.backend.mend().await,
    }
}
