//! Mass unhealthiness is held back until it is confirmed.

use std::sync::Arc;
use std::time::Duration;

use pilot::catalog::Policy;
use pilot_registry::{Endpoint, Health, Service, Snapshot};
use pilot_registry_testkit::snapshot;
use tokio::time::timeout;

use crate::follow::{DEADLINE, East};
use crate::services::{healthy_or, of};
use crate::story::Story;

/// How many endpoints of each service can serve: `a.local=20 b.local=1`.
pub(crate) fn usable(snapshot: &Snapshot) -> String {
    let count =
        |service: &Arc<Service>| service.endpoints.iter().filter(|it| Endpoint::is_usable(it)).count();
    let all = snapshot.services().iter().map(|service| format!("{}={}", service.host, count(service)));
    all.collect::<Vec<_>>().join(" ")
}

/// A service of which the first endpoints are unhealthy.
fn sick(host: &str, sick: u8, all: std::ops::Range<u8>) -> Arc<Service> {
    let mut spec = Service::clone(&of(host, all)).into_spec();
    spec.endpoints.sort();
    for endpoint in spec.endpoints.iter_mut().take(sick.into()) {
        endpoint.health = Health::Unhealthy;
    }
    Arc::new(Service::new(spec).unwrap())
}

impl Story {
    fn serve(&mut self, seconds: u64, read: u64, services: impl IntoIterator<Item = Arc<Service>>) -> String {
        self.at(seconds).says(read, services);
        usable(self.guard.counts())
    }
}

#[test]
fn a_mass_that_turns_unhealthy_keeps_the_health_that_it_had() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20), of("b.local", 20..30)]);
    let all_sick = || [sick("a.local", 20, 0..20), sick("b.local", 10, 20..30)];
    assert_eq!(story.serve(100, 1, all_sick()), "a.local=20 b.local=10");
    assert_eq!(story.held(), 30);
    let before = Arc::clone(story.guard.counts());
    story.says(1, all_sick());
    assert!(Arc::ptr_eq(&before, story.guard.counts()), "nothing changed");
    assert_eq!(story.guard.deadline(), Some(story.start + Duration::from_secs(130)));
    assert!(story.guard.lapse(story.start + Duration::from_secs(129)).is_none());
    assert_eq!(story.guard.lapse(story.start + Duration::from_secs(130)).unwrap().endpoints(), 30);
    assert_eq!(usable(story.guard.counts()), "a.local=0 b.local=0");
    assert_eq!(
        story.serve(131, 1, all_sick()),
        "a.local=0 b.local=0",
        "what was let go of is not held again"
    );
}

#[test]
fn a_second_complete_read_confirms_it_after_a_while() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20)]);
    let all_sick = || [sick("a.local", 20, 0..20)];
    assert_eq!(story.serve(100, 1, all_sick()), "a.local=20");
    assert_eq!(story.guard.second_read_at(1), Some(story.start + Duration::from_secs(110)));
    assert_eq!(story.serve(105, 2, all_sick()), "a.local=20");
    assert_eq!(story.serve(111, 3, all_sick()), "a.local=0");
    assert_eq!(story.held(), 0);
}

#[test]
fn few_endpoints_and_one_service_of_many_are_unhealthy_at_once() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..9)]);
    assert_eq!(story.serve(100, 1, [sick("a.local", 9, 0..9)]), "a.local=0", "nine are not ten");
    let mut story = Story::new();
    let others = || of("b.local", 30..60);
    story.says(1, [of("a.local", 0..12), others()]);
    assert_eq!(story.serve(100, 1, [sick("a.local", 12, 0..12), others()]), "a.local=0 b.local=30");
}

#[test]
fn endpoints_that_came_instead_are_enough() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20)]);
    assert_eq!(story.serve(100, 1, [sick("a.local", 20, 0..40)]), "a.local=20");
    assert_eq!(story.held(), 0);
}

/// Checks fail one after the other.
#[test]
fn what_turns_unhealthy_in_pieces_adds_up() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20)]);
    assert_eq!(story.serve(100, 1, [sick("a.local", 6, 0..20)]), "a.local=14");
    assert_eq!(story.serve(110, 1, [sick("a.local", 10, 0..20)]), "a.local=10", "half is not more than half");
    assert_eq!(story.serve(120, 1, [sick("a.local", 12, 0..20)]), "a.local=20");
    let mut slow = Story::new();
    slow.says(1, [of("a.local", 0..20)]);
    assert_eq!(slow.serve(100, 1, [sick("a.local", 6, 0..20)]), "a.local=14");
    assert_eq!(slow.serve(140, 1, [sick("a.local", 12, 0..20)]), "a.local=8", "an ordinary day");
}

#[test]
fn who_is_well_again_or_gone_is_held_no_longer() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20)]);
    story.serve(100, 1, [sick("a.local", 20, 0..20)]);
    assert_eq!(story.serve(101, 1, [sick("a.local", 4, 0..20)]), "a.local=20");
    assert_eq!(story.held(), 4);
    assert_eq!(story.serve(102, 1, [sick("a.local", 3, 1..20)]), "a.local=19");
    assert_eq!(story.held(), 3, "an endpoint that was unhealthy and goes is not missed");
    assert_eq!(story.serve(103, 1, [of("a.local", 1..20)]), "a.local=19");
    assert_eq!(story.held(), 0);
}

#[test]
fn what_somebody_meant_and_what_people_let_go_of_is_unhealthy_at_once() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20)]);
    let meant = snapshot([healthy_or("a.local", 0..20, Health::Unhealthy)]).deliberate();
    story.guard.publish(story.now, &Arc::new(meant), 1);
    assert_eq!(usable(story.guard.counts()), "a.local=0");
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20)]);
    story.serve(100, 1, [sick("a.local", 20, 0..20)]);
    assert_eq!(story.guard.release(story.now).unwrap().endpoints(), 20);
    assert_eq!(usable(story.guard.counts()), "a.local=0");
}

#[tokio::test(start_paused = true)]
async fn unhealthiness_is_confirmed_by_a_second_read_beside_the_first() {
    let mut east = East::start(Policy::default());
    east.script.publish(snapshot([of("a.local", 0..20)])).await;
    east.counts("a.local=20").await;
    east.script.publish(snapshot([sick("a.local", 20, 0..20)])).await;
    let began = east.held(20).await;
    timeout(DEADLINE, east.script.attempted(2)).await.unwrap();
    east.script.beside().publish(snapshot([sick("a.local", 20, 0..20)])).await;
    let ended = east.held(0).await;
    assert_eq!((ended - began).as_secs(), 10);
    assert_eq!(usable(&east.intake().state().known.unwrap().snapshot), "a.local=0");
}
