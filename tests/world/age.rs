//! How old the oldest change is that nobody is told of yet.

use std::time::Duration;

use pilot::resources::View;
use pilot_registry_testkit::snapshot;
use tokio::time::advance;

use super::{Fixture, MAX_DELAY, QUIET, a, b, clusters, router, start, until};

/// Lets everything happen that needs no time. The clock stands still meanwhile, so turns are counted.
async fn let_happen(holds: impl Fn() -> bool) {
    for _ in 0..1_000_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it does not happen");
}

#[tokio::test(start_paused = true)]
async fn it_rises_while_a_registry_does_not_answer_and_is_zero_when_all_is_served() {
    let Fixture { world, scripts, _tasks } = start(&["east", "west"]);
    assert_eq!(world.age(), Duration::ZERO);
    scripts[0].publish(snapshot([a()])).await;
    advance(Duration::from_secs(5)).await;
    let_happen(|| world.age() >= Duration::from_secs(5)).await;
    // What changes meanwhile makes the oldest change no younger.
    scripts[0].publish(snapshot([a(), b()])).await;
    advance(Duration::from_secs(5)).await;
    let_happen(|| world.age() >= Duration::from_secs(10)).await;
    scripts[1].publish(snapshot([])).await;
    let mut sets = world.subscribe(&router()).unwrap();
    until(&mut sets, |set| clusters(set).len() == 2).await;
    let_happen(|| world.age() == Duration::ZERO).await;
}

/// Changes that come in quick succession are put together.
#[tokio::test(start_paused = true)]
async fn in_a_storm_it_rises_to_the_longest_delay_and_no_further() {
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    let mut sets = world.subscribe(&router()).unwrap();
    scripts[0].publish(snapshot([a()])).await;
    until(&mut sets, |set| clusters(set).len() == 1).await;
    let (mut oldest, mut turns) = (Duration::ZERO, 0);
    let is_served = |set: &View| clusters(set).len() == 2;
    // Once it is due, no time passes any more: translating takes none of this clock's.
    while oldest <= MAX_DELAY && !sets.latest().is_some_and(|set| is_served(&set)) {
        let b = pilot_registry_testkit::service("b.local").http(80).endpoint(&format!("10.0.1.{turns}"), 80);
        scripts[0].publish(snapshot([a(), b.build()])).await;
        oldest = oldest.max(world.age());
        advance(QUIET / 2).await;
        turns += 1;
    }
    let_happen(|| sets.peek().is_some_and(|set| is_served(&set))).await;
    assert!(oldest > QUIET && oldest <= MAX_DELAY + QUIET, "{oldest:?}");
}
