//! A scripted registry does what its script says, and the runner follows it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{ErrorKind, RegistryError, RegistryHealth, Snapshot};
use pilot_registry_testkit::{Runner, Script, Scripted, service, snapshot};

fn start() -> (Runner, Script) {
    let (registry, script) = Scripted::new();
    (Runner::start(Arc::new(registry)), script)
}

fn one() -> Snapshot {
    snapshot([service("a.local").http(80).endpoint("10.0.0.1", 8080).build()])
}

#[tokio::test(start_paused = true)]
async fn nothing_is_known_until_the_script_publishes() {
    let (mut runner, mut script) = start();
    script.attempted(1).await;
    assert!(runner.feed().published().is_none());
    script.publish(one()).await;
    assert_eq!(*runner.feed().published().unwrap().value, one());
    script.publish(Snapshot::default()).await;
    runner.sees(&Snapshot::default()).await.unwrap();
    assert_eq!(runner.revision(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_keeps_the_value_and_is_followed_by_another() {
    let (mut runner, mut script) = start();
    script.publish(one()).await;
    script.fail(RegistryError::denied("the token is refused")).await;
    assert_eq!(runner.degraded().await.unwrap().error.kind(), ErrorKind::Denied);
    assert_eq!(*runner.feed().published().unwrap().value, one());
    script.attempted(2).await;
    script.publish(one()).await;
    runner.sees(&one()).await.unwrap();
    assert_eq!((runner.revision(), script.attempts()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_fault_lasts_until_it_is_cured_and_a_skipped_entry_is_named() {
    let (runner, script) = start();
    script.skip("b.local", "it has no port").await;
    script.publish(one()).await;
    assert_eq!(runner.feed().with_state(|state| state.skipped["b.local"].clone()), "it has no port");
    script.fault(RegistryError::malformed("services.toml:1:1: expected a table")).await;
    assert!(matches!(runner.feed().health(), RegistryHealth::Degraded(_)));
    script.cure().await;
    assert!(matches!(runner.feed().health(), RegistryHealth::Live));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_ended_by_dropping_it() {
    let (mut runner, script) = start();
    script.publish(one()).await;
    script.hang().await;
    let hanging = tokio::time::timeout(Duration::from_secs(60), script.publish(Snapshot::default())).await;
    assert!(hanging.is_err(), "a hanging attempt took a step");
    runner.stop().await;
    assert_eq!(*runner.feed().published().unwrap().value, one());
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_every_wait_with_its_message() {
    let (mut runner, script) = start();
    script.panic("index out of bounds").await;
    let error = runner.sees(&one()).await.unwrap_err().to_string();
    assert!(error.contains("the registry panicked: index out of bounds"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_in_vain_says_what_was_expected_and_what_is_there() {
    let (runner, script) = start();
    script.publish(Snapshot::default()).await;
    let mut runner = runner.with_patience(Duration::from_secs(1));
    let error = runner.sees(&one()).await.unwrap_err().to_string();
    assert!(error.contains("a.local") && error.contains("seen []"), "{error}");
}
