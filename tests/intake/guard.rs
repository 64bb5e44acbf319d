//! What the guard holds, and what it does not, told as stories.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pilot::catalog::{Guard, GuardSettings};
use pilot_registry::{Content, Endpoint, Health, Resolution, Service, Snapshot};
use pilot_registry_testkit::{service, strategies};
use proptest::prelude::*;
use tokio::time::Instant;

use crate::services::{healthy_or, of, shared};
use crate::story::Story;

#[test]
fn half_is_not_over_half_and_nine_are_not_ten() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20), of("b.local", 0..9), of("c.local", 0..21), of("d.local", 0..80)]);
    let next = [of("a.local", 0..10), of("c.local", 0..10), of("d.local", 0..80)];
    assert_eq!(story.at(100).says(1, next), "a.local=10 c.local=21 d.local=80");
    assert_eq!(story.held(), 11);
}

#[test]
fn ordinary_scale_down_is_not_slowed() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..200)]);
    for (at, left) in [(100, 120), (110, 70), (120, 40), (130, 20), (140, 12), (150, 3), (160, 0)] {
        assert_eq!(story.at(at).says(1, [of("a.local", 0..left)]), format!("a.local={left}"));
    }
}

#[test]
fn removing_one_service_of_many_is_not_slowed() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20), of("b.local", 20..60)]);
    assert_eq!(story.at(100).says(1, [of("b.local", 20..60)]), "b.local=40");
}

/// A file that says `service = []` is a person's word.
#[test]
fn what_somebody_meant_goes_at_once_and_so_does_what_was_held() {
    let deliberate = |services: Vec<Arc<Service>>| Arc::new(Snapshot::clone(&shared(services)).deliberate());
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let mut guard = Guard::new(Some(GuardSettings::default()));
    let all = || vec![of("a.local", 0..20), of("b.local", 20..60)];
    guard.publish(at(0), &shared(all()), 1);
    guard.publish(at(100), &deliberate(Vec::new()), 1);
    assert_eq!((guard.held(), guard.counts().services().len()), (None, 0));

    guard.publish(at(200), &shared(all()), 1);
    guard.publish(at(300), &shared([of("a.local", 0..1)]), 1);
    assert!(guard.held().is_some());
    guard.publish(at(301), &deliberate(vec![of("c.local", 0..1)]), 1);
    assert_eq!((guard.held(), guard.counts().services().len()), (None, 1));
    // What comes after it is judged by what it said.
    guard.publish(at(400), &deliberate(all()), 1);
    guard.publish(at(500), &shared([]), 1);
    assert_eq!(guard.held().unwrap().endpoints(), 60);
}

/// However much of the registry it was: what others lose meanwhile is not its trouble.
#[test]
fn a_large_service_goes_at_once_although_another_loses_an_endpoint() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..40), of("b.local", 0..20)]);
    assert_eq!(story.at(100).says(1, [of("b.local", 0..20)]), "b.local=20");
    assert_eq!(story.at(101).says(1, [of("b.local", 0..19)]), "b.local=19", "and it does not come back");
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..40), of("b.local", 0..20)]);
    assert_eq!(story.at(100).says(1, [of("b.local", 0..11)]), "b.local=11");
}

#[test]
fn a_service_that_goes_together_with_much_else_is_held() {
    let before = || [of("a.local", 0..40), of("b.local", 0..30), of("c.local", 0..2)];
    let ten_of_thirty = vec![of("b.local", 0..20), of("c.local", 0..2)];
    let another_service = vec![of("b.local", 0..30)];
    for next in [ten_of_thirty, another_service] {
        let mut story = Story::new();
        story.says(1, before());
        assert_eq!(story.at(100).says(1, next), "a.local=40 b.local=30 c.local=2");
    }
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..40), of("b.local", 0..3)]);
    assert_eq!(story.at(100).says(1, [of("b.local", 0..1)]), "a.local=40 b.local=3", "most of the rest");
}

#[test]
fn a_registry_that_is_suddenly_empty_keeps_everything() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..6), of("b.local", 6..12), of("c.local", [])]);
    assert_eq!(story.at(100).says(1, []), "a.local=6 b.local=6 c.local=0");
    assert_eq!(story.guard.held().unwrap().services.len(), 3);
}

/// What is moved to new machines in one step is replaced, not gone: the old ones may well be dead.
#[test]
fn endpoints_that_are_replaced_are_not_held() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20)]);
    assert_eq!(story.at(100).says(1, [of("a.local", 100..120)]), "a.local=20");
    assert_eq!(story.held(), 0);
    // Another port is another endpoint.
    let moved = (100..120).fold(service("a.local").http(80), |a, n| a.endpoint(&format!("10.0.0.{n}"), 81));
    assert_eq!(story.at(200).says(1, [moved.build()]), "a.local=20");
    assert_eq!(story.held(), 0);
}

#[test]
fn endpoints_are_not_replaced_by_ones_that_cannot_serve() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20)]);
    let sick = healthy_or("a.local", 100..120, Health::Unhealthy);
    assert_eq!(story.at(100).says(1, [sick]), "a.local=40");
}

#[test]
fn endpoints_that_could_not_serve_are_not_missed() {
    for health in [Health::Unhealthy, Health::Draining] {
        let mut story = Story::new();
        let others = of("b.local", 100..102);
        story.says(1, [healthy_or("a.local", 0..20, health), others.clone()]);
        assert_eq!(story.at(100).says(1, [of("a.local", []), others]), "a.local=0 b.local=2");
    }
}

#[test]
fn while_one_service_is_held_all_else_counts_at_once() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20), of("b.local", 20..60), of("c.local", 60..64)]);
    let next = [of("a.local", 200..203), of("b.local", 20..59), of("d.local", 1..2)];
    assert_eq!(story.at(100).says(1, next), "a.local=23 b.local=39 d.local=1");
    assert_eq!(story.held(), 20, "what is new stands beside what is held");
}

#[test]
fn a_disappearance_in_pieces_is_one() {
    let mut story = Story::new();
    let all = || (0..10u8).map(|n| of(&format!("s{n}.local"), n * 10..n * 10 + 10));
    story.says(1, all());
    story.at(100);
    for left in (0..10).rev() {
        story.says(1, all().take(left));
    }
    assert_eq!(story.guard.counts().endpoint_count(), 100);
    assert_eq!(story.held(), 100);
}

#[test]
fn a_guard_that_is_turned_off_holds_nothing() {
    let mut story = Story::new();
    story.guard = Guard::new(None);
    story.says(1, [of("a.local", 0..200)]);
    assert_eq!(story.at(100).says(1, []), "");
}

/// A service that was defined anew, so that its old endpoints make no sense in it.
#[test]
fn what_no_longer_fits_a_service_is_not_held() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20)]);
    let dns = service("a.local").http(80).resolution(Resolution::Dns).build();
    assert_eq!(story.at(100).says(1, [dns]), "a.local=0");
}

/// Equal services that were read anew, as after a restart, are no change, and cost no comparison for ever.
#[test]
fn what_was_read_from_disk_is_compared_by_value() {
    let mut story = Story::new();
    story.says(0, [of("a.local", 0..20), of("b.local", 0..20)]);
    story.said = None;
    assert_eq!(story.at(100).says(1, [of("a.local", 0..20), of("b.local", [])]), "a.local=20 b.local=20");
    assert_eq!(story.held(), 20);
    assert_eq!(story.at(101).says(1, [of("a.local", 0..20), of("b.local", 0..20)]), "a.local=20 b.local=20");
    assert_eq!(story.held(), 0);
}

/// What did not change stays the same allocation: the rest of pilot compares pointers.
#[test]
fn what_is_held_stays_one_allocation() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20), of("b.local", 0..20)]);
    story.at(100).says(1, [of("a.local", []), of("b.local", 0..20)]);
    let before = Arc::clone(story.guard.counts());
    story.at(101).says(1, [of("a.local", []), of("b.local", 0..21)]);
    let after = story.guard.counts();
    assert!(Arc::ptr_eq(before.get("a.local").unwrap(), after.get("a.local").unwrap()));
    story.at(102).says(1, [of("a.local", []), of("b.local", 0..21)]);
    story.at(102).says(2, [of("a.local", []), of("b.local", 0..21)]);
}

proptest! {
    /// Whatever a registry says: in the end that is what counts, and until then nothing is lost that is
    /// held, and nothing is missing that it says.
    #[test]
    fn in_the_end_what_the_registry_says_counts(said in prop::collection::vec(strategies::snapshot(), 1..8)) {
        let settings = GuardSettings { min_endpoints: 1, ..GuardSettings::default() };
        let mut guard = Guard::new(Some(settings));
        let mut now = Instant::now();
        let mut before: Option<Snapshot> = None;
        for next in said {
            let next = match &before { Some(before) => next.reusing(before), None => next };
            now += Duration::from_secs(1);
            guard.publish(now, &Arc::new(next.clone()), 1);
            for service in next.services() {
                let counts = guard.counts().get(service.host.as_str());
                // Ports by which it was called may have been kept.
                let is_part = |endpoint: &Endpoint, whole: &Endpoint| {
                    let ports: BTreeMap<_, _> = whole.ports.iter().chain(&endpoint.ports).collect();
                    let grown = ports.into_iter().map(|(port, own)| (*port, *own)).collect();
                    // It may have kept the health that it had.
                    let kept = endpoint.health == Health::Unhealthy;
                    let health = if kept { whole.health } else { endpoint.health };
                    *whole == Endpoint { ports: grown, health, ..endpoint.clone() }
                };
                let has = |endpoint: &Endpoint| {
                    counts.is_some_and(|counts| counts.endpoints.iter().any(|whole| is_part(endpoint, whole)))
                };
                prop_assert!(service.endpoints.iter().all(has), "{service:?} is not whole");
            }
            prop_assert_eq!(guard.held().is_none(), **guard.counts() == next);
            before = Some(next);
        }
        now += settings.hold;
        guard.lapse(now);
        prop_assert_eq!(&**guard.counts(), &before.unwrap());
        prop_assert_eq!(guard.held(), None);
    }
}

#[test]
fn a_first_snapshot_is_believed_where_nothing_was_known() {
    let mut guard = Guard::new(Some(GuardSettings::default()));
    guard.publish(Instant::now(), &shared([]), 1);
    assert!(guard.held().is_none() && guard.counts().services().is_empty());
}

/// An endpoint that is there with fewer ports, because the service has one less, is not missing.
#[test]
fn a_port_that_a_service_loses_takes_no_endpoint_along() {
    let two = |service: pilot_registry_testkit::ServiceBuilder, n: u8| {
        service.endpoint(&format!("10.0.0.{n}"), 8443).serving(80, 8080)
    };
    let mut story = Story::new();
    story.says(1, [(0..20).fold(service("a.local").http(80).tls(443), two).build()]);
    assert_eq!(story.at(100).says(1, [of("a.local", 0..3)]), "a.local=20");
    let service = story.guard.counts().get("a.local").unwrap();
    assert!(service.endpoints.iter().filter(|it| it.health == Health::Healthy).count() == 3);
}

/// Instances with ports of their own, of which the lowest is the service's.
fn dynamic(numbers: impl IntoIterator<Item = u32> + Clone) -> Arc<Service> {
    let port = numbers.clone().into_iter().min().unwrap();
    let instance = |service: pilot_registry_testkit::ServiceBuilder, own| service.endpoint("10.0.0.1", own);
    numbers.into_iter().fold(service("a.local").http(port), instance).build()
}

#[test]
fn a_port_that_moves_takes_no_endpoint_along() {
    let mut story = Story::new();
    let before = dynamic(21_001..21_025);
    story.says(1, [before.clone()]);
    assert_eq!(story.at(100).says(1, [dynamic(21_021..21_025)]), "a.local=24");
    assert_eq!(story.held(), 20);
    let counts = Arc::clone(story.guard.counts().get("a.local").unwrap());
    for port in [21_001, 21_021].map(|port| pilot_registry::Port::try_from(port).unwrap()) {
        assert!(counts.port(port).is_some(), "{:?}", counts.ports);
        assert!(counts.endpoints.iter().all(|endpoint| endpoint.ports.contains_key(&port)), "{counts:?}");
    }
    assert_eq!(story.at(101).says(1, [dynamic(21_022..21_025)]), "a.local=24");
    assert_eq!(story.at(102).says(1, [before.clone()]), "a.local=24");
    assert_eq!((story.held(), story.guard.counts().get("a.local")), (0, Some(&before)));
}

/// Whoever drains first and then deregisters has said what they are doing.
#[test]
fn what_was_drained_and_then_goes_is_not_missed() {
    for health in [Health::Unhealthy, Health::Draining] {
        let drained = || {
            let (gone, left) = (healthy_or("a.local", 0..20, health), of("a.local", 20..24));
            let mut spec = Service::clone(&left).into_spec();
            spec.endpoints.extend(gone.endpoints.iter().cloned());
            Arc::new(Service::new(spec).unwrap())
        };
        let mut story = Story::new();
        story.says(1, [of("a.local", 0..24), of("b.local", 0..200)]);
        story.at(100).says(1, [drained(), of("b.local", 0..200)]);
        assert_eq!(
            story.at(101).says(1, [of("a.local", 20..24), of("b.local", 0..200)]),
            "a.local=4 b.local=200"
        );
        // While something else is held, what it is compared with does not grow old.
        let mut story = Story::new();
        story.says(1, [of("a.local", 0..24), of("b.local", 0..200)]);
        story.at(100).says(1, [of("a.local", 0..24), of("b.local", [])]);
        story.at(110).says(1, [drained(), of("b.local", [])]);
        assert_eq!(
            story.at(120).says(1, [of("a.local", 20..24), of("b.local", [])]),
            "a.local=4 b.local=200"
        );
    }
}

/// What is kept is kept as it was last, not as it was when it was first compared.
#[test]
fn what_is_kept_has_the_health_that_it_had_last() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..24)]);
    story.at(100).says(1, [healthy_or("a.local", 0..24, Health::Warning)]);
    assert_eq!(story.at(101).says(1, [of("a.local", 0..1)]), "a.local=24");
    let service = story.guard.counts().get("a.local").unwrap();
    assert_eq!(service.endpoints.iter().filter(|it| it.health == Health::Warning).count(), 23);
}

#[test]
fn a_service_that_is_emptied_and_then_taken_away_goes_at_once() {
    let mut story = Story::new();
    let others = || [of("y.local", 0..24), of("z.local", 0..24)];
    let with = |x: Arc<Service>| std::iter::once(x).chain(others());
    story.says(1, with(of("x.local", 0..24)));
    story.at(100);
    for left in (1..24).rev() {
        story.says(1, with(of("x.local", 0..left)));
    }
    assert_eq!(story.held(), 23, "so far it may be a platform in trouble");
    assert_eq!(story.says(1, others()), "y.local=24 z.local=24");
    assert_eq!(story.held(), 0);
}

#[test]
fn the_larger_of_two_services_is_taken_away_at_once() {
    let mut story = Story::new();
    story.says(1, [of("x.local", 0..24), of("y.local", 0..12)]);
    assert_eq!(story.at(100).says(1, [of("y.local", 0..12)]), "y.local=12");
}

/// What is said now of a place counts, also while an endpoint is held that was there before and was healthier.
#[test]
fn what_is_held_takes_no_place_of_what_is_there() {
    let two_ports = |service: pilot_registry_testkit::ServiceBuilder, n: u8| {
        service.endpoint(&format!("10.0.0.{n}"), 8443).serving(80, 8080)
    };
    let mut story = Story::new();
    story.says(1, [(1..=20).fold(service("a.local").http(80).tls(443), two_ports).build()]);
    let one = service("a.local").tls(443).http(80).endpoint("10.0.0.1", 8080).health(Health::Unhealthy);
    story.at(100).says(1, [one.build()]);
    let counts = story.guard.counts().get("a.local").unwrap();
    let first = counts.endpoints.iter().filter(|it| it.address.to_string() == "10.0.0.1");
    let serving = |port: u32| {
        let port = pilot_registry::Port::try_from(port).unwrap();
        first.clone().filter(|it| it.ports.contains_key(&port)).map(|it| it.health).collect::<Vec<_>>()
    };
    assert_eq!(serving(80), [Health::Unhealthy]);
    assert_eq!(serving(443), [Health::Unknown]);
}
