//! What happens when: patience, second reads, what is let go, on the virtual clock with a real supervisor.

use std::time::Duration;

use pilot::catalog::{Freshness, Intake, Policy, RegistryState};
use pilot::supervisor::{Registered, supervise};
use pilot_registry::{RegistryError, ServiceRegistry, channel};
use pilot_registry_testkit::{Script, Scripted, snapshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::services::{counts, of};

pub(crate) const DEADLINE: Duration = Duration::from_secs(600);

/// A registry that follows a script, and what of it counts.
pub(crate) struct East {
    pub(crate) script: Script,
    pub(crate) registered: Registered,
    _tasks: JoinSet<()>,
}

impl East {
    pub(crate) fn start(policy: Policy) -> Self {
        let (registry, script) = Scripted::new();
        Self { script, ..Self::follow(Box::new(registry), policy) }
    }

    /// The same of another registry, which does not follow the script.
    pub(crate) fn follow(registry: Box<dyn ServiceRegistry>, policy: Policy) -> Self {
        let (sink, feed) = channel();
        let registered = Registered::new("east", registry.name(), 0, feed, policy);
        let mut tasks = JoinSet::new();
        let supervised = registered.clone();
        tasks.spawn(async move { supervise(&supervised, &*registry, &sink).await });
        let followed = registered.clone();
        tasks.spawn(async move { match followed.intake.follow(&followed.feed).await {} });
        Self { script: Scripted::new().1, registered, _tasks: tasks }
    }

    pub(crate) fn intake(&self) -> &Intake {
        &self.registered.intake
    }

    /// Waits until it stands so, and says when that was.
    pub(crate) async fn until(&self, what: &str, expected: impl Fn(&RegistryState) -> bool) -> Instant {
        let mut state = self.intake().subscribe();
        let reached = timeout(DEADLINE, state.wait_for(expected)).await;
        assert!(reached.is_ok(), "{what}: {:?}", self.intake().state());
        Instant::now()
    }

    pub(crate) async fn counts(&self, expected: &str) -> Instant {
        let known = |state: &RegistryState| {
            state.known.as_ref().is_some_and(|known| counts(&known.snapshot) == expected)
        };
        self.until(expected, known).await
    }

    pub(crate) async fn held(&self, endpoints: usize) -> Instant {
        let held = |state: &RegistryState| {
            let known = state.known.as_ref();
            known.and_then(|it| it.held.as_ref()).map_or(0, |held| held.endpoints()) == endpoints
        };
        self.until("held", held).await
    }
}

/// A registry that is live and says nothing more: what is held is let go after a while all the same.
#[tokio::test(start_paused = true)]
async fn what_is_held_is_let_go_when_no_second_read_comes() {
    let mut east = East::start(Policy::default());
    east.script.publish(snapshot([of("a.local", 0..20)])).await;
    east.counts("a.local=20").await;
    east.script.publish(snapshot([])).await;
    let began = east.held(20).await;
    timeout(DEADLINE, east.script.attempted(2)).await.unwrap();
    let ended = east.counts("").await;
    assert_eq!((ended - began).as_secs(), 40, "the second read is waited for, for one hold time more");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_let_go_while_the_registry_is_in_trouble() {
    let east = East::start(Policy::default());
    east.script.publish(snapshot([of("a.local", 0..20)])).await;
    east.counts("a.local=20").await;
    east.script.publish(snapshot([])).await;
    let began = east.held(20).await;
    east.script.fail(RegistryError::unavailable("gone")).await;
    // It is tried again, and again to no end, for an hour.
    while began.elapsed() < Duration::from_secs(3_600) {
        east.script.fail(RegistryError::unavailable("gone")).await;
    }
    east.held(20).await;
    east.script.publish(snapshot([of("a.local", 0..19)])).await;
    east.held(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_the_adapter_cures_itself_is_trouble_too() {
    let east = East::start(Policy::default());
    east.script.publish(snapshot([of("a.local", 0..20)])).await;
    east.counts("a.local=20").await;
    east.script.publish(snapshot([])).await;
    east.held(20).await;
    east.script.fault(RegistryError::unavailable("no leader")).await;
    tokio::time::advance(Duration::from_secs(3_600)).await;
    east.held(20).await;
    assert_eq!(east.script.attempts(), 1);
    east.script.cure().await;
    east.counts("").await;
}

/// One file of several is broken for as long as nobody mends it; the others are read as ever.
#[tokio::test(start_paused = true)]
async fn a_fault_beside_live_data_holds_nothing_for_ever() {
    let mut east = East::start(Policy::default());
    east.script.publish(snapshot([of("a.local", 0..20)])).await;
    east.counts("a.local=20").await;
    east.script.fault(RegistryError::malformed("b.toml")).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    east.script.publish(snapshot([of("a.local", 0..4)])).await;
    let began = east.held(16).await;
    timeout(DEADLINE, east.script.attempted(2)).await.unwrap();
    let ended = east.counts("a.local=4").await;
    assert_eq!((ended - began).as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn people_let_go_at_once() {
    let east = East::start(Policy::default());
    east.script.publish(snapshot([of("a.local", 0..20)])).await;
    east.counts("a.local=20").await;
    assert!(east.intake().release().is_none());
    east.script.publish(snapshot([])).await;
    east.held(20).await;
    assert_eq!(east.intake().release().unwrap().endpoints(), 20);
    assert_eq!(counts(&east.intake().state().known.unwrap().snapshot), "");
    assert!(east.intake().release().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_optional_registry_is_passed_over_and_joins_later() {
    let policy = Policy { patience: Some(Duration::from_secs(10)), ..Policy::default() };
    let east = East::start(policy);
    let started = Instant::now();
    let passed = east.until("passed over", |state| state.passed_over).await;
    assert_eq!((passed - started).as_secs(), 10);
    assert!(east.intake().state().known.is_none());
    east.script.publish(snapshot([of("a.local", 0..1)])).await;
    east.counts("a.local=1").await;
    assert_eq!(east.intake().state().known.unwrap().freshness, Freshness::Live);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_not_optional_is_waited_for_for_ever() {
    let east = East::start(Policy::default());
    for _ in 0..100 {
        east.script.fail(RegistryError::unavailable("gone")).await;
    }
    assert!(!east.intake().state().is_settled());
}
