//! A second complete read beside the attempt that goes on, on the virtual clock.

use std::time::Duration;

use pilot::catalog::Policy;
use pilot_registry::{RegistryError, ServiceRegistry};
use pilot_registry_testkit::memory::MemoryBackend;
use pilot_registry_testkit::{Backend, snapshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::follow::{DEADLINE, East};
use crate::services::{counts, of};

/// A registry that lost 16 of 20 endpoints while it went on, and is being read a second time.
async fn reading_again() -> East {
    let mut east = East::start(Policy::default());
    east.script.publish(snapshot([of("a.local", 0..20), of("b.local", 20..22)])).await;
    east.counts("a.local=20 b.local=2").await;
    east.script.publish(snapshot([of("a.local", 0..4), of("b.local", 20..22)])).await;
    let began = east.held(16).await;
    timeout(DEADLINE, east.script.attempted(2)).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 10, "after a third of the hold time");
    east
}

#[tokio::test(start_paused = true)]
async fn a_second_read_confirms_and_the_first_attempt_goes_on() {
    let east = reading_again().await;
    let asked = Instant::now();
    east.script.beside().publish(snapshot([of("a.local", 0..4), of("b.local", 20..22)])).await;
    let confirmed = east.counts("a.local=4 b.local=2").await;
    assert_eq!((confirmed - asked).as_secs(), 0);
    east.script.publish(snapshot([of("a.local", 0..5), of("b.local", 20..22)])).await;
    east.counts("a.local=5 b.local=2").await;
    assert_eq!((east.intake().holds(), east.script.attempts()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn changes_are_seen_at_once_while_a_second_read_goes_on() {
    let east = reading_again().await;
    let asked = Instant::now();
    east.script.publish(snapshot([of("a.local", 0..4), of("b.local", 20..25)])).await;
    let seen = east.counts("a.local=20 b.local=5").await;
    assert_eq!((seen - asked).as_secs(), 0);
    east.script.beside().publish(snapshot([of("a.local", 0..4), of("b.local", 20..22)])).await;
    let confirmed = east.counts("a.local=4 b.local=5").await;
    assert_eq!((confirmed - asked).as_secs(), 0, "what the second read says that is older is not taken");
}

/// The platform's lists take their time; changes come on the watch all the same.
#[tokio::test(start_paused = true)]
async fn a_registry_whose_lists_are_slow_is_not_blind_meanwhile() {
    let mut platform = MemoryBackend::default();
    for service in [of("a.local", 0..20), of("b.local", 20..22)] {
        platform.put(&service).await.unwrap();
    }
    let registry: Box<dyn ServiceRegistry> = platform.registry();
    let east = East::follow(registry, Policy::default());
    east.counts("a.local=20 b.local=2").await;
    platform.stall().await.unwrap();
    platform.put(&of("a.local", 0..4)).await.unwrap();
    east.held(16).await;
    timeout(DEADLINE, platform.stalled()).await.unwrap().unwrap();
    platform.put(&of("b.local", 20..25)).await.unwrap();
    let changed = Instant::now();
    let seen = east.counts("a.local=20 b.local=5").await;
    assert_eq!((seen - changed).as_secs(), 0);
    assert_eq!(platform.connections().await.unwrap(), 2);
    platform.resume().await.unwrap();
    let confirmed = east.counts("a.local=4 b.local=5").await;
    assert_eq!((confirmed - changed).as_secs(), 0);
    assert_eq!(platform.connections().await.unwrap(), 1, "the second read has ended");
}

#[tokio::test(start_paused = true)]
async fn what_is_back_in_the_second_read_was_never_gone() {
    let mut east = reading_again().await;
    let before = east.intake().state().known.unwrap().snapshot;
    let all = || snapshot([of("a.local", 0..20), of("b.local", 20..22)]);
    let asked = Instant::now();
    east.script.beside().publish(all()).await;
    timeout(DEADLINE, east.script.attempted(3)).await.unwrap();
    assert_eq!(asked.elapsed().as_secs(), 5, "the running attempt had a while to see it, too");
    assert_eq!(counts(&east.intake().state().known.unwrap().snapshot), "a.local=20 b.local=2");
    east.script.publish(all()).await;
    east.held(0).await;
    assert_eq!(before, east.intake().state().known.unwrap().snapshot);
}

/// A platform that is filling up again.
#[tokio::test(start_paused = true)]
async fn what_the_running_attempt_sees_a_moment_after_the_second_read_ends_nothing() {
    let east = reading_again().await;
    let all = || snapshot([of("a.local", 0..20), of("b.local", 20..22)]);
    east.script.beside().publish(all()).await;
    sleep_until(Instant::now() + Duration::from_secs(1)).await;
    east.script.publish(all()).await;
    east.held(0).await;
    sleep_until(Instant::now() + Duration::from_secs(60)).await;
    assert_eq!(east.script.attempts(), 2);
}

/// The connection of the running attempt may be dead, and nobody have noticed.
#[tokio::test(start_paused = true)]
async fn nothing_is_let_go_while_the_second_read_fails() {
    let east = reading_again().await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3_600) {
        east.script.beside().fail(RegistryError::unavailable("gone")).await;
    }
    east.held(16).await;
    east.script.beside().publish(snapshot([of("a.local", 0..4), of("b.local", 20..22)])).await;
    east.counts("a.local=4 b.local=2").await;
}

#[tokio::test(start_paused = true)]
async fn a_second_read_that_makes_no_end_ends_when_nothing_is_held_any_more() {
    let mut platform = MemoryBackend::default();
    platform.put(&of("a.local", 0..20)).await.unwrap();
    let east = East::follow(platform.registry(), Policy::default());
    east.counts("a.local=20").await;
    platform.stall().await.unwrap();
    platform.put(&of("a.local", 0..4)).await.unwrap();
    let began = east.held(16).await;
    timeout(DEADLINE, platform.stalled()).await.unwrap().unwrap();
    assert_eq!(platform.connections().await.unwrap(), 2);
    let ended = east.counts("a.local=4").await;
    assert_eq!((ended - began).as_secs(), 40, "it is waited for, for one hold time more");
    tokio::task::yield_now().await;
    assert_eq!(platform.connections().await.unwrap(), 1);
}
