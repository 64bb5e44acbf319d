//! Attempts to keep an instance registered, for ever, with back-off between them.

use std::convert::Infallible;
use std::time::Duration;

use pilot_registry::{ErrorKind, Health, Registrar, Registration, RegistryError};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Past;
use crate::supervisor::{back_off, jittered};

/// The longest wait between attempts while the instance drains: it has little time left.
const DRAINING_MAX: Duration = Duration::from_secs(1);
/// An attempt has at least this long to write a condition.
const PATIENCE_MIN: Duration = Duration::from_secs(5);

/// Keeps the instance registered. `written` is the condition that the present attempt has confirmed, `past` what has
/// become of those before it.
pub(super) async fn keep(
    registrar: &dyn Registrar,
    registration: &Registration,
    condition: watch::Receiver<Health>,
    written: &watch::Sender<Option<Health>>,
    past: &watch::Sender<Past>,
) -> Infallible {
    let (mut failures, mut said) = (0, None);
    loop {
        written.send_replace(None);
        let error = tokio::select! {
            Err(error) = registrar.keep(registration, condition.clone(), written) => error,
            error = unconfirmed(condition.clone(), written.subscribe(), registration.ttl) => error,
        };
        let progress = written.borrow().is_some();
        past.send_modify(|past| {
            *past = Past { denied: error.kind() == ErrorKind::Denied, written: past.written || progress };
        });
        failures = if progress { 0 } else { failures + 1 };
        let wait = jittered(longest(failures, error.kind(), registration.ttl, *condition.borrow()));
        let text = error.chain();
        let (service, id) = (registration.service.as_str(), registration.id.as_str());
        let retry_in_ms = wait.as_millis();
        // What is wrong is said once, not with each attempt.
        if progress || said.as_ref() != Some(&text) {
            tracing::warn!(service, id, error = text, retry_in_ms, "registration failed: trying again");
        } else {
            tracing::debug!(service, id, error = text, retry_in_ms, "registration failed again");
        }
        said = Some(text);
        pause(wait, condition.clone()).await;
    }
}

/// Half a ttl at most: whoever waits longer comes back after the platform has given the instance up.
fn longest(failures: u32, kind: ErrorKind, ttl: Duration, condition: Health) -> Duration {
    let most = if condition == Health::Draining { DRAINING_MAX } else { ttl / 2 };
    back_off(failures, kind).min(most)
}

/// Waits, but not when the instance begins to drain.
async fn pause(wait: Duration, mut condition: watch::Receiver<Health>) {
    condition.mark_unchanged();
    let drains = async {
        // An error means that nobody changes it any more: then the wait is all there is.
        while condition.changed().await.is_ok() {
            if *condition.borrow_and_update() == Health::Draining {
                return;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        () = sleep(wait) => {}
        () = drains => {}
    }
}

/// Ends when the registry has not confirmed the condition for longer than a ttl: an attempt that hangs is
/// one that has failed.
async fn unconfirmed(
    mut condition: watch::Receiver<Health>,
    mut written: watch::Receiver<Option<Health>>,
    ttl: Duration,
) -> RegistryError {
    let patience = ttl.max(PATIENCE_MIN);
    loop {
        let agree = agreement(&mut condition, &mut written, true);
        if timeout(patience, agree).await.is_err() {
            return RegistryError::unavailable(format!("the registry confirmed nothing within {patience:?}"));
        }
        agreement(&mut condition, &mut written, false).await;
    }
}

/// Waits until the condition is the one that is written, or until it is not.
async fn agreement(
    condition: &mut watch::Receiver<Health>,
    written: &mut watch::Receiver<Option<Health>>,
    wanted: bool,
) {
    while (Some(*condition.borrow_and_update()) == *written.borrow_and_update()) != wanted {
        let ended = tokio::select! {
            changed = condition.changed() => changed.is_err(),
            changed = written.changed() => changed.is_err(),
        };
        if ended {
            std::future::pending::<()>().await;
        }
    }
}
