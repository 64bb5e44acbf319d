//! Registering: an instance of a service is kept in a registry for as long as it lives.
//!
//! ```text
//!  check ── verdicts ──► threshold ──► condition ──► keep ──► Registrar::keep    back-off between attempts
//!  stages (serving, draining, gone) ─────┘            └────► written ──► journal
//!                                                                └─────► drained? ──► Registrar::leave
//! ```
//!
//! [`register`] is the whole of it. It knows no command line, and prints nothing but the log. The caller
//! decides when the instance starts and ends, and says so by [`Stage`]s. [`Command`] is a program that is
//! registered while it runs.

pub mod address;
mod check;
mod command;
pub mod identity;
mod journal;
mod keep;
pub mod port;
mod process;
mod watchdog;

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use pilot_registry::{ErrorKind, Health, Port, Registrar, Registration, RegistryError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use check::{Check, CheckPlan, HttpTarget};
pub use command::{Command, Signal};

/// How long the registry has, at the end, to confirm that the instance drains, and then that it is gone.
pub const FAREWELL: Duration = Duration::from_secs(5);
/// How long one question has that is asked once, by a person who waits.
pub const ANSWER: Duration = Duration::from_secs(10);
/// Between two attempts to say good-bye.
const FAREWELL_PAUSE: Duration = Duration::from_millis(250);
/// How long the registry has, at the end, to take away what it has never confirmed.
const DOUBT: Duration = Duration::from_secs(1);

/// What is registered, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The instance.
    pub registration: Registration,
    /// The port that is checked unless the check names another.
    pub main_port: Port,
    /// How its health is known. Without a check it is healthy for as long as it is registered.
    pub check: Option<CheckPlan>,
    /// How long the instance stays out of the registry while nothing listens on its main port. A proxy on this
    /// machine would take the port before the program does. `None`: it is registered at once.
    pub port_wait: Option<Duration>,
    /// How long it still serves after the registry has confirmed that it drains.
    pub drain_time: Duration,
}

/// The stages of an instance's life, in their order. None comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It serves.
    Serving,
    /// It is going to end: it finishes what it has and is to get nothing new.
    Draining,
    /// It has ended.
    Gone,
}

/// How the instance left the registry.
#[derive(Clone, Debug)]
pub enum Farewell {
    /// It was taken out.
    Removed,
    /// The registry did not have it any more.
    NotThere,
    /// The registry never had it, as far as it has told. The error is why it could not be asked at the end.
    Never(Option<RegistryError>),
    /// The registry refused, or did not answer in time.
    Left(RegistryError),
}

/// Registers the instance, and keeps it registered, whatever the registry does meanwhile, until the stages
/// say that it is over: while it drains, it is marked so, and the drain time is waited for; when it is gone,
/// it is removed at once. Stages whose sender is dropped are over too. What was never written has nothing to drain.
///
/// With a check, the instance is registered as unhealthy until the check has passed. With a
/// [`port_wait`](Plan::port_wait), it is not registered before something listens on its port.
///
/// Dropping the future leaves the instance to its ttl.
pub async fn register(registrar: &dyn Registrar, plan: &Plan, stages: watch::Receiver<Stage>) -> Farewell {
    let first = if plan.check.is_some() { Health::Unhealthy } else { Health::Healthy };
    let (condition, written) = (watch::Sender::new(first), watch::Sender::new(None));
    let past = watch::Sender::new(Past::default());
    let mut stages = stages;
    let is_there = tokio::select! {
        biased;
        () = port::listened_to(plan) => true,
        () = reached(&mut stages, Stage::Draining) => false,
    };
    if is_there {
        let kept = keep::keep(registrar, &plan.registration, condition.subscribe(), &written, &past);
        let told = journal::follow(&plan.registration, written.subscribe());
        let lived = live(plan, &condition, (&written, &past), &mut stages);
        tokio::select! {
            never = kept => match never {},
            never = told => match never {},
            () = lived => {}
        }
    }
    // Nobody keeps it any more.
    let left = if was_written(&written, &past) {
        left(registrar, &plan.registration).await
    } else if is_there {
        withdrawn(registrar, &plan.registration).await
    } else {
        Farewell::Never(None)
    };
    journal::left(registrar, &plan.registration, &left);
    left
}

/// What has become of the attempts to keep an instance.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    /// The registry has denied the last one.
    denied: bool,
    /// One that has ended had written the instance.
    written: bool,
}

/// Whether the registry has ever confirmed the instance.
fn was_written(written: &watch::Sender<Option<Health>>, past: &watch::Sender<Past>) -> bool {
    written.borrow().is_some() || past.borrow().written
}

/// Lasts until the instance is to be removed.
async fn live(
    plan: &Plan,
    condition: &watch::Sender<Health>,
    (written, past): (&watch::Sender<Option<Health>>, &watch::Sender<Past>),
    stages: &mut watch::Receiver<Stage>,
) {
    tokio::select! {
        never = checked(plan, condition) => match never {},
        () = reached(stages, Stage::Draining) => {}
    }
    if !was_written(written, past) {
        return;
    }
    tokio::select! {
        biased;
        () = reached(stages, Stage::Gone) => {}
        () = drained(plan, condition, written, past) => {}
    }
}

/// Follows the health of the instance, for ever.
async fn checked(plan: &Plan, condition: &watch::Sender<Health>) -> Infallible {
    let target = SocketAddr::new(plan.registration.address, plan.main_port.get());
    match &plan.check {
        Some(check) => check.follow(target, condition).await,
        None => pending().await,
    }
}

async fn reached(stages: &mut watch::Receiver<Stage>, stage: Stage) {
    if stages.wait_for(|now| *now >= stage).await.is_err() && stage == Stage::Gone {
        // Nobody will ever say that it is gone: it drains to its end.
        pending::<()>().await;
    }
}

/// Marks the instance as draining, and gives everybody the time to know it.
async fn drained(
    plan: &Plan,
    condition: &watch::Sender<Health>,
    written: &watch::Sender<Option<Health>>,
    past: &watch::Sender<Past>,
) {
    tracing::info!(drain_ms = plan.drain_time.as_millis(), "draining");
    // What was denied before is tried again now, and says nothing of this.
    past.send_modify(|past| past.denied = false);
    condition.send_replace(Health::Draining);
    let (mut written, mut past) = (written.subscribe(), past.subscribe());
    let answer = async {
        // What `wait_for` returns is a read lock. Kept while the drain time passes, it would stop `keep`.
        tokio::select! {
            confirmed = written.wait_for(|health| *health == Some(Health::Draining)) => confirmed.is_ok(),
            _denied = past.wait_for(|past| past.denied) => false,
        }
    };
    if timeout(FAREWELL, answer).await == Ok(true) {
        sleep(plan.drain_time).await;
    }
    // Where nobody was told, nobody stops sending, however long one waits.
}

/// Takes the instance away, also from a registry that is just coming back.
async fn left(registrar: &dyn Registrar, registration: &Registration) -> Farewell {
    let deadline = Instant::now() + FAREWELL;
    loop {
        let error = match timeout_at(deadline, registrar.leave(registration)).await {
            Ok(Ok(true)) => return Farewell::Removed,
            Ok(Ok(false)) => return Farewell::NotThere,
            Ok(Err(error)) => error,
            Err(_elapsed) => return Farewell::Left(silent(FAREWELL)),
        };
        // Who may not will not be allowed to a moment later.
        if error.kind() == ErrorKind::Denied || Instant::now() + FAREWELL_PAUSE >= deadline {
            return Farewell::Left(error);
        }
        sleep(FAREWELL_PAUSE).await;
    }
}

/// Takes away what may have been written though the registry has not confirmed it. Asks once: most likely nothing is
/// there.
async fn withdrawn(registrar: &dyn Registrar, registration: &Registration) -> Farewell {
    match timeout(DOUBT, registrar.leave(registration)).await {
        Ok(Ok(true)) => Farewell::Removed,
        Ok(Ok(false)) => Farewell::Never(None),
        Ok(Err(error)) => Farewell::Never(Some(error)),
        Err(_elapsed) => Farewell::Never(Some(silent(DOUBT))),
    }
}

/// Writes the instance once, for good.
///
/// # Errors
/// The registry refuses, or does not answer within [`ANSWER`].
pub async fn write_once(registrar: &dyn Registrar, registration: &Registration) -> Result<(), RegistryError> {
    let written = timeout(ANSWER, registrar.write(registration, Health::Healthy)).await;
    written.unwrap_or_else(|_elapsed| Err(silent(ANSWER)))
}

/// Removes the instance of that service and id, however it was registered. Whether it was there.
///
/// # Errors
/// The registry refuses, or does not answer within [`ANSWER`].
pub async fn remove(registrar: &dyn Registrar, service: &str, id: &str) -> Result<bool, RegistryError> {
    let removed = timeout(ANSWER, registrar.remove(service, id)).await;
    removed.unwrap_or_else(|_elapsed| Err(silent(ANSWER)))
}

fn silent(waited: Duration) -> RegistryError {
    RegistryError::unavailable(format!("no answer within {waited:?}"))
}

#[cfg(test)]
mod tests;
