//! A registry that does not answer at the start is served from disk, and what it says is kept there.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use pilot::catalog::saved::SnapshotFile;
use pilot::catalog::{Freshness, Known, Policy, SavePolicy};
use pilot_registry::{RegistryError, Snapshot};
use pilot_registry_testkit::snapshot;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::follow::{DEADLINE, East};
use crate::services::of;

pub(crate) fn store(folder: &Path) -> SnapshotFile {
    SnapshotFile::new(folder, "east", "scripted", 1 << 20)
}

pub(crate) fn keeping(folder: &Path) -> Policy {
    let save = SavePolicy {
        file: store(folder),
        wait: Duration::from_secs(2),
        save_interval: Duration::from_secs(10),
    };
    Policy { save: Some(save), ..Policy::default() }
}

/// A folder with a last known good of a minute ago.
pub(crate) fn with(known: &Snapshot) -> TempDir {
    let folder = TempDir::new().unwrap();
    store(folder.path()).save(known, SystemTime::now() - Duration::from_secs(60)).unwrap();
    folder
}

pub(crate) fn is_from_disk(known: &Known) -> bool {
    matches!(known.freshness, Freshness::Disk { .. })
}

/// Asks until it is so. The virtual clock goes on meanwhile, but while something is written.
pub(crate) async fn until(what: &str, expected: impl Fn() -> bool) {
    let started = Instant::now();
    while !expected() {
        assert!(started.elapsed() < DEADLINE, "{what}: never");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until that is on disk.
pub(crate) async fn saved(folder: &Path, expected: &Snapshot) {
    let is_saved = || store(folder).load().unwrap().is_some_and(|saved| *saved.snapshot == *expected);
    until("saved", is_saved).await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_fails_is_served_from_disk_at_once() {
    let folder = with(&snapshot([of("a.local", 0..20)]));
    let east = East::start(keeping(folder.path()));
    let started = Instant::now();
    east.script.fail(RegistryError::unavailable("gone")).await;
    let loaded = east.counts("a.local=20").await;
    assert!(loaded - started < Duration::from_secs(2), "{:?}", loaded - started);
    assert!(is_from_disk(&east.intake().state().known.unwrap()));
    let age = east.registered.data_age().unwrap();
    assert!((60..70).contains(&age.as_secs()), "{age:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_answer_is_served_from_disk_after_a_wait() {
    let folder = with(&snapshot([of("a.local", 0..20)]));
    let started = Instant::now();
    let east = East::start(keeping(folder.path()));
    let loaded = east.counts("a.local=20").await;
    assert_eq!((loaded - started).as_secs(), 2);
}

/// Nobody is served without a registry whose last known good is there.
#[tokio::test(start_paused = true)]
async fn what_is_on_disk_comes_before_patience_ends() {
    let folder = with(&snapshot([of("a.local", 0..20)]));
    let started = Instant::now();
    let patience = Some(Duration::from_secs(1));
    let east = East::start(Policy { patience, ..keeping(folder.path()) });
    east.until("settled", pilot::catalog::RegistryState::is_settled).await;
    assert!(is_from_disk(&east.intake().state().known.unwrap()));
    assert_eq!(started.elapsed().as_secs(), 1);
    assert!(!east.intake().state().passed_over);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_answers_is_not_served_from_disk() {
    let folder = with(&snapshot([of("a.local", 0..20)]));
    let east = East::start(keeping(folder.path()));
    let next = || snapshot([of("a.local", 0..18), of("b.local", 0..1)]);
    east.script.publish(next()).await;
    east.counts("a.local=18 b.local=1").await;
    saved(folder.path(), &next()).await;
    assert!(!is_from_disk(&east.intake().state().known.unwrap()));
}

/// A Consul that was started anew, empty, must not take away everything.
#[tokio::test(start_paused = true)]
async fn the_first_answer_after_a_load_goes_through_the_guard() {
    let known = snapshot([of("a.local", 0..20)]);
    let folder = with(&known);
    let east = East::start(keeping(folder.path()));
    east.counts("a.local=20").await;
    east.script.publish(snapshot([])).await;
    east.held(20).await;
    let state = east.intake().state().known.unwrap();
    assert!(!is_from_disk(&state));
    assert_eq!(*state.snapshot, known);
    assert_eq!(*store(folder.path()).load().unwrap().unwrap().snapshot, known, "what is held is not saved");
    east.intake().release().unwrap();
    saved(folder.path(), &Snapshot::default()).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_change_is_written_soon_and_a_storm_seldom() {
    let folder = TempDir::new().unwrap();
    let east = East::start(keeping(folder.path()));
    let started = Instant::now();
    east.script.publish(snapshot([of("a.local", 0..1)])).await;
    saved(folder.path(), &snapshot([of("a.local", 0..1)])).await;
    assert!(started.elapsed() < Duration::from_secs(1));
    for n in 2..100 {
        east.script.publish(snapshot([of("a.local", 0..n)])).await;
    }
    east.counts("a.local=99").await;
    assert_eq!(*store(folder.path()).load().unwrap().unwrap().snapshot, snapshot([of("a.local", 0..1)]));
    // At the end what is pending is written.
    east.intake().flush(&east.registered.feed).await;
    assert_eq!(*store(folder.path()).load().unwrap().unwrap().snapshot, snapshot([of("a.local", 0..99)]));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_later_change_is_written_after_the_interval() {
    let folder = TempDir::new().unwrap();
    let east = East::start(keeping(folder.path()));
    let started = Instant::now();
    for n in [1, 2] {
        let next = snapshot([of("a.local", 0..n)]);
        east.script.publish(next.clone()).await;
        saved(folder.path(), &next).await;
    }
    assert!((10..12).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_told_and_the_registry_waited_for() {
    let folder = with(&snapshot([of("a.local", 0..20)]));
    fs::write(store(folder.path()).path(), "pilot-snapshot 1 0000000000000000\n{}").unwrap();
    let east = East::start(keeping(folder.path()));
    east.script.fail(RegistryError::unavailable("gone")).await;
    until("told", || east.intake().disk().unwrap().error.is_some()).await;
    let error = east.intake().disk().unwrap().error.unwrap();
    assert!(error.contains("checksum") && error.contains("set aside as"), "{error}");
    assert!(!east.intake().state().is_settled());
    east.script.publish(snapshot([of("a.local", 0..1)])).await;
    saved(folder.path(), &snapshot([of("a.local", 0..1)])).await;
}

/// A disk that fails is trouble with the disk, not with the registry.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_shown_and_tried_again() {
    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("inner");
    let east = East::start(keeping(&inner));
    east.script.publish(snapshot([of("a.local", 0..1)])).await;
    east.counts("a.local=1").await;
    let disk = || east.intake().disk().unwrap();
    until("told", || disk().error.is_some()).await;
    assert!(disk().error.unwrap().contains("inner"), "the file is named");
    fs::create_dir(&inner).unwrap();
    saved(&inner, &snapshot([of("a.local", 0..1)])).await;
    until("mended", || disk().error.is_none()).await;
    assert!(disk().saved_at.is_some());
}
