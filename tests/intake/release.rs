//! How what the guard holds is let go: in time, by a second read, by people.

use std::time::Duration;

use crate::services::of;
use crate::story::Story;

#[test]
fn a_mass_disappearance_is_held_until_its_time_is_over() {
    let mut story = Story::new();
    assert_eq!(story.says(1, [of("a.local", 0..20)]), "a.local=20");
    assert_eq!(story.at(100).says(1, [of("a.local", 0..3)]), "a.local=20");
    assert_eq!(story.held(), 17);
    story.at(129);
    assert!(story.guard.lapse(story.now).is_none());
    story.at(130);
    assert_eq!(story.guard.deadline(), Some(story.now));
    assert_eq!(story.guard.lapse(story.now).unwrap().endpoints(), 17);
    assert_eq!((story.counts(), story.held()), ("a.local=3".into(), 0));
    assert_eq!(story.at(131).says(1, [of("a.local", 0..3)]), "a.local=3");
}

#[test]
fn a_second_complete_read_confirms() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20)]);
    let said = || [of("a.local", 0..3)];
    assert_eq!(story.at(100).says(1, said()), "a.local=20");
    assert_eq!(story.at(115).says(1, said()), "a.local=20", "the same read is no second one");
    assert_eq!(story.guard.second_read_at(1), Some(story.start + Duration::from_secs(110)));
    assert_eq!(story.at(116).says(2, said()), "a.local=3");
    assert_eq!(story.held(), 0);
}

/// A platform that breaks off and comes back says the same wrong thing twice within a second.
#[test]
fn a_second_read_confirms_only_after_a_while() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20)]);
    let said = || [of("a.local", 0..3)];
    story.at(100).says(1, said());
    assert_eq!(story.at(101).says(2, said()), "a.local=20");
    assert_eq!(story.guard.second_read_at(2), Some(story.start + Duration::from_secs(110)));
    assert_eq!(story.at(111).says(2, said()), "a.local=20", "read 2 was no confirmation when it was made");
    assert_eq!(story.at(112).says(3, said()), "a.local=3");
}

/// A platform that is filling up again: what is back is no longer held, and what is not back is not confirmed.
#[test]
fn a_second_read_that_lacks_other_things_confirms_nothing() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20), of("b.local", 20..40)]);
    story.at(100).says(1, []);
    assert_eq!(story.held(), 40);
    assert_eq!(story.at(111).says(2, [of("a.local", 0..7), of("b.local", 20..40)]), "a.local=20 b.local=20");
    assert_eq!(story.held(), 13);
    assert_eq!(story.at(112).says(2, [of("a.local", 0..15), of("b.local", 20..40)]), "a.local=20 b.local=20");
    assert_eq!(story.held(), 5, "what is held stays held until it is back, however little it is");
    assert_eq!(story.at(113).says(2, [of("a.local", 0..20), of("b.local", 20..40)]), "a.local=20 b.local=20");
    assert_eq!(story.held(), 0);
}

#[test]
fn each_service_is_held_for_its_own_time() {
    let mut story = Story::new();
    let others = || of("z.local", 0..200);
    story.says(1, [of("a.local", 0..20), of("b.local", 0..20), others()]);
    story.at(100).says(1, [of("a.local", []), of("b.local", 0..20), others()]);
    story.at(120).says(1, [of("a.local", []), of("b.local", []), others()]);
    assert_eq!(story.held(), 40);
    story.at(130);
    assert_eq!(story.guard.lapse(story.now).unwrap().services.len(), 1);
    assert_eq!(story.counts(), "a.local=0 b.local=20 z.local=200");
    story.at(140).says(1, [of("a.local", []), of("b.local", []), others()]);
    assert_eq!(story.counts(), "a.local=0 b.local=20 z.local=200");
    story.at(150);
    story.guard.lapse(story.now).unwrap();
    assert_eq!(story.counts(), "a.local=0 b.local=0 z.local=200");
}

#[test]
fn people_let_go_at_once() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20)]);
    assert!(story.guard.release(story.now).is_none());
    story.at(100).says(1, []);
    let released = story.guard.release(story.now).unwrap();
    assert_eq!(
        released.services.into_iter().map(|(host, endpoints)| (host.to_string(), endpoints.len())).next(),
        Some(("a.local".into(), 20))
    );
    assert_eq!(story.counts(), "");
    assert_eq!(story.at(101).says(1, []), "", "what was let go of is not held again");
}

/// Time in which the registry did not answer is no time in which it confirmed anything.
#[test]
fn after_trouble_the_time_begins_anew() {
    let mut story = Story::new();
    story.says(1, [of("a.local", 0..20)]);
    story.at(100).says(1, []);
    let start = story.start;
    let at = |seconds| start + Duration::from_secs(seconds);
    story.guard.recover(at(3_600));
    assert_eq!(story.guard.lapse(at(3_629)), None);
    assert!(story.guard.lapse(at(3_630)).is_some());
}
