//! What a registry tells of itself, and whom that concerns.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use pilot_registry::{Feed, RegistryError, RegistryHealth, Snapshot, SnapshotSink, WatchState, channel};
use tokio::time::{Instant, advance};

fn ends() -> (SnapshotSink, Feed<Snapshot>) {
    channel()
}

#[tokio::test(start_paused = true)]
async fn what_is_told_is_there_for_who_asks_and_wakes_nobody() {
    let (sink, feed) = ends();
    let mut states = feed.subscribe();
    states.borrow_and_update();
    sink.fact("server_version", "v1");
    let services = sink.following("services");
    services.listing();
    services.watching();
    advance(Duration::from_secs(3)).await;
    services.heard();
    services.failed(&RegistryError::unavailable("the watch broke"));
    assert!(!states.has_changed().unwrap(), "somebody was woken");
    assert!(matches!(feed.health(), RegistryHealth::Connecting));
    let status = feed.status();
    assert_eq!(status.facts, [("server_version", "v1".to_owned())].into());
    assert_eq!(status.watches["services"].heard, Some(Instant::now()));
}

#[tokio::test]
async fn a_fact_is_replaced_cut_off_and_taken_away() {
    let (sink, feed) = ends();
    sink.fact("server_version", "v1");
    sink.fact("server_version", &"ä".repeat(1_000));
    assert_eq!(feed.status().facts["server_version"], "ä".repeat(256));
    sink.fact("server_version", "");
    assert!(feed.status().facts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_as_old_as_its_last_opening() {
    let (sink, feed) = ends();
    let services = sink.following("services");
    let status = || feed.status().watches["services"].clone();
    assert_eq!((status().state, status().heard), (WatchState::Stopped, None));
    services.listing();
    advance(Duration::from_secs(5)).await;
    assert_eq!((status().state, status().since.elapsed()), (WatchState::Listing, Duration::from_secs(5)));
    services.watching();
    advance(Duration::from_secs(60)).await;
    services.heard();
    assert_eq!((status().since.elapsed(), status().opened), (Duration::from_secs(60), 1));
    services.watching();
    advance(Duration::from_secs(1)).await;
    assert_eq!((status().since.elapsed(), status().opened), (Duration::from_secs(1), 2));
    assert_eq!((status().state, status().lists), (WatchState::Watching, 1));
}

#[tokio::test(start_paused = true)]
async fn an_attempts_watches_stop_with_it_and_the_next_one_goes_on_with_them() {
    let (sink, feed) = ends();
    let services = sink.following("services");
    services.watching();
    services.failed(&RegistryError::denied("list services: 403"));
    let failed = Instant::now();
    advance(Duration::from_secs(2)).await;
    drop(services);
    let status = feed.status().watches["services"].clone();
    assert_eq!((status.state, status.since), (WatchState::Stopped, failed));
    let services = sink.following("services");
    services.watching();
    advance(Duration::from_secs(7)).await;
    let status = feed.status().watches["services"].clone();
    assert_eq!((status.state, status.opened), (WatchState::Watching, 2));
    let error = status.last_error.unwrap();
    assert_eq!((error.error.to_string().as_str(), error.at), ("list services: 403", failed));
}

#[tokio::test]
async fn of_too_many_watches_those_that_are_followed_are_listed() {
    let (sink, feed) = ends();
    (0..1_000).for_each(|n| drop(sink.following(&format!("old {n}"))));
    assert_eq!(feed.status().watches.len(), 256);
    let follow = |n| {
        let following = sink.following(&format!("new {n}"));
        following.watching();
        following
    };
    let followed: Vec<_> = (0..1_000).map(follow).collect();
    let watches = feed.status().watches;
    assert_eq!(watches.len(), 256);
    assert!(watches.values().all(|watch| watch.state == WatchState::Watching), "{watches:?}");
    drop(followed);
}

#[tokio::test(start_paused = true)]
async fn the_last_error_stays_when_it_is_over() {
    let (sink, feed) = ends();
    assert!(feed.status().last_error.is_none());
    feed.attempt_failed(RegistryError::unavailable("connecting to 127.0.0.1:1"));
    let failed = Instant::now();
    advance(Duration::from_secs(60)).await;
    sink.publish(Snapshot::default());
    assert!(matches!(feed.health(), RegistryHealth::Live));
    let last = feed.status().last_error.unwrap();
    assert_eq!((last.error.to_string().as_str(), last.at), ("connecting to 127.0.0.1:1", failed));
    drop(sink.fault(RegistryError::malformed("services.toml:3:1: expected =")));
    let last = feed.status().last_error.unwrap();
    assert_eq!((last.error.to_string().as_str(), last.at), ("services.toml:3:1: expected =", Instant::now()));
}

#[tokio::test]
async fn all_that_is_wrong_is_told_not_only_the_oldest() {
    let (sink, feed) = ends();
    sink.publish(Snapshot::default());
    let troubles = || -> Vec<String> {
        feed.with_state(|state| state.troubles().map(|trouble| trouble.error.to_string()).collect())
    };
    assert!(troubles().is_empty());
    let pods = sink.fault(RegistryError::denied("list pods: 403"));
    let nodes = sink.fault(RegistryError::denied("list nodes: 403"));
    assert_eq!(troubles(), ["list pods: 403", "list nodes: 403"]);
    feed.attempt_failed(RegistryError::unavailable("the connection broke"));
    assert_eq!(troubles(), ["the connection broke", "list pods: 403", "list nodes: 403"]);
    drop(pods);
    sink.publish(Snapshot::default());
    assert_eq!(troubles(), ["list nodes: 403"]);
    drop(nodes);
    assert!(matches!(feed.health(), RegistryHealth::Live));
}
