//! What a token may not read: servers say that they left something out, views do not.

use std::time::Duration;

use pilot_registry::{ErrorKind, RegistryHealth, Snapshot, State};
use pilot_registry_consul::Config;
use pilot_registry_testkit::Runner;
use pilot_registry_testkit::server::consul::{FakeConsul, Mood, Profile};
use tokio::time::{sleep, timeout};

use super::{follow, numbers, sees, web};

const TOKEN: &str = "8b6c2f4e-1d3a-4b5c-9e7f-0a1b2c3d4e5f";

async fn consul() -> (FakeConsul, Runner) {
    let consul = FakeConsul::with(Profile::Streaming, Some(TOKEN)).await.unwrap();
    consul.put("web", &web(&[1, 2]));
    let runner = follow(consul.address(), |config: &mut Config| {
        config.limits.wait_seconds = 1;
        config.token = Some(TOKEN.to_owned().into());
    });
    (consul, runner)
}

async fn keeps(runner: &mut Runner, expected: &[u8]) {
    let kept = |state: &State<Snapshot>| match state.health() {
        RegistryHealth::Degraded(trouble) => {
            (trouble.error.kind() == ErrorKind::Denied && numbers(state) == expected).then_some(())
        }
        _ => None,
    };
    runner.until(&format!("instances {expected:?} to be kept"), kept).await.unwrap();
}

/// A view shrinks with the rights of the token and says nothing: the instances are kept all the same, also when
/// something else about the service changes.
#[tokio::test]
async fn instances_that_a_view_hides_are_kept() {
    let (consul, mut runner) = consul().await;
    sees(&mut runner, &[1, 2]).await;
    consul.hide(&["n2"]);
    keeps(&mut runner, &[1, 2]).await;
    consul.put("web", &web(&[1, 2, 3]));
    keeps(&mut runner, &[1, 2, 3]).await;
    consul.hide(&[]);
    sees(&mut runner, &[1, 2, 3]).await;
    consul.put("web", &web(&[1, 3]));
    sees(&mut runner, &[1, 3]).await;
}

/// An attempt that has read nothing knows nothing better: what is hidden is kept through an outage of several.
#[tokio::test]
async fn instances_that_are_hidden_are_kept_through_an_outage() {
    let (consul, mut runner) = consul().await;
    sees(&mut runner, &[1, 2]).await;
    consul.hide(&["n2"]);
    keeps(&mut runner, &[1, 2]).await;
    let pulses = || consul.asked().iter().filter(|asked| asked.starts_with("/v1/status/leader")).count();
    consul.hold(Duration::from_millis(50));
    consul.behave(Mood::Leaderless);
    // Each that is answered like that ends an attempt.
    let before = pulses();
    let attempts = async {
        while pulses() < before + 4 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), attempts).await.unwrap();
    consul.behave(Mood::Sane);
    keeps(&mut runner, &[1, 2]).await;
    consul.hide(&[]);
    sees(&mut runner, &[1, 2]).await;
}

/// A token that is gone is told to whoever waits for a view, in the words of a stream that failed.
#[tokio::test]
async fn a_token_that_is_gone_is_a_refusal() {
    let (consul, mut runner) = consul().await;
    sees(&mut runner, &[1, 2]).await;
    consul.revoke(true);
    let error = runner.degraded().await.unwrap().error;
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", error.chain());
    consul.revoke(false);
    sees(&mut runner, &[1, 2]).await;
    assert_eq!(runner.revision(), 1);
}
