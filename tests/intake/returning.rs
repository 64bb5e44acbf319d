//! The guard, and a registry that was suddenly empty: what is held while it comes back, and what goes then.

use std::sync::Arc;

use pilot_registry::Service;

use crate::services::of;
use crate::story::Story;

/// However little there was: a store that was started anew has nothing at all.
#[test]
fn a_small_registry_that_is_suddenly_empty_keeps_everything() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..2), of("b.local", 2..3)]);
    assert_eq!(story.at(100).says(1, []), "a.local=2 b.local=1");
    assert_eq!(story.at(111).says(2, []), "", "and a second read confirms as ever");
}

/// As out of a backup: what is back is no reason to let go of the rest, however little that is.
#[test]
fn a_registry_that_comes_back_in_pieces_loses_nothing_meanwhile() {
    let mut story = Story::new();
    let (small, large) = (|| of("a.local", 0..2), || of("b.local", 2..40));
    let all = || [small(), large(), of("c.local", 40..42), of("d.local", 42..43)];
    let whole = "a.local=2 b.local=38 c.local=2 d.local=1";
    story.says(1, all());
    assert_eq!(story.at(100).says(1, []), whole);
    for (back, held) in [(1, 41), (2, 3), (3, 1), (4, 0)] {
        assert_eq!(story.says(1, all().into_iter().take(back)), whole, "{back} of 4 are back");
        assert_eq!(story.held(), held);
    }
    assert_eq!(story.at(101).says(1, [large(), of("c.local", 40..42)]), "b.local=38 c.local=2");
}

/// Endpoints of one service do not stand in for those of another.
#[test]
fn a_service_that_comes_back_larger_does_not_replace_others() {
    let mut story = Story::new();
    story.says(1, [of("api.local", 0..1), of("web.local", 2..4)]);
    story.at(100).says(1, []);
    assert_eq!(story.at(101).says(1, [of("web.local", 2..5)]), "api.local=1 web.local=3");
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..2), of("b.local", 2..40), of("c.local", 40..50)]);
    story.at(100).says(1, []);
    let larger = || [of("b.local", (2..40).chain(60..72))];
    assert_eq!(story.at(101).says(1, larger()), "a.local=2 b.local=50 c.local=10");
    assert_eq!(story.at(111).says(2, larger()), "b.local=50", "a second read confirms");
}

/// Under other names: what was there may still be on its way.
#[test]
fn a_registry_that_comes_back_with_other_services_keeps_the_old_ones_for_their_time() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20), of("b.local", 20..22)]);
    assert_eq!(story.at(100).says(1, []), "a.local=20 b.local=2");
    assert_eq!(story.at(110).says(1, [of("c.local", 0..30)]), "a.local=20 b.local=2 c.local=30");
    let now = story.at(130).now;
    assert!(story.guard.lapse(now).is_some(), "thirty seconds after they went, not after c.local came");
    assert_eq!(story.counts(), "c.local=30");
    assert_eq!(story.held(), 0);
}

/// What is still gone is no part of what goes after the return.
#[test]
fn a_service_that_is_taken_away_after_the_return_goes_at_once() {
    let (a, b) = (|| of("a.local", 0..30), || of("b.local", 30..40));
    for left in [vec![], vec![of("d.local", 50..51)]] {
        let and_left = |services: Vec<Arc<Service>>| services.into_iter().chain(left.clone());
        let mut story = Story::new();
        story.says(1, and_left(vec![a(), b(), of("c.local", 40..41)]));
        story.at(100).says(1, left.clone());
        assert_eq!(story.held(), 41);
        story.at(101).says(1, and_left(vec![a(), b()]));
        assert_eq!(story.held(), 1, "c.local is not back");
        let counts = story.at(102).says(1, and_left(vec![b()]));
        assert!(counts.starts_with("b.local=10 c.local=1"), "{counts}");
        assert_eq!(story.held(), 1);
    }
}

/// Also while something else is held: what went a while ago is not brought back by what goes now.
#[test]
fn what_went_before_does_not_come_back_when_the_rest_goes() {
    let (a, b) = (|| of("a.local", 0..30), || of("b.local", 30..40));
    let mut story = Story::new();
    story.says(1, [a(), b(), of("c.local", 40..41)]);
    story.at(100).says(1, []);
    story.at(101).says(1, [a(), b()]);
    assert_eq!(story.at(102).says(1, [b()]), "b.local=10 c.local=1");
    assert_eq!(story.at(106).says(1, []), "b.local=10 c.local=1");
}

/// What is new while something is held is guarded like all else, after the same while.
#[test]
fn what_came_while_something_is_held_is_guarded() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20), of("b.local", 20..22)]);
    story.at(100).says(1, []);
    story.at(101).says(1, [of("c.local", 30..50)]);
    assert_eq!(story.at(106).says(1, []), "a.local=20 b.local=2 c.local=20");
}

/// Nothing is back, so what goes now goes with what went before.
#[test]
fn a_disappearance_that_goes_on_is_held_throughout() {
    let mut story = Story::new();
    let all = || (0..10u8).map(|n| of(&format!("s{n}.local"), n * 10..n * 10 + 10));
    story.says(1, all());
    story.at(100).says(1, all().take(4));
    assert_eq!(story.held(), 60);
    for left in (0..4).rev() {
        story.says(1, all().take(left));
        assert_eq!(story.guard.counts().endpoint_count(), 100);
    }
}
