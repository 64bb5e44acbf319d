//! What a registry says first after pilot was started anew is compared with its last known good on disk.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use pilot::catalog::Policy;
use pilot_registry::Snapshot;
use pilot_registry_testkit::snapshot;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use crate::disk::{is_from_disk, keeping, saved, store, until, with};
use crate::follow::{DEADLINE, East};
use crate::services::{counts, of};

/// What pilot knew before it ended.
fn before() -> Snapshot {
    snapshot([of("a.local", 0..20), of("b.local", 20..25)])
}

/// What a store says that was started anew, and into which somebody has written already.
fn wiped() -> Snapshot {
    snapshot([of("c.local", 0..1)])
}

const BESIDE: &str = "a.local=20 b.local=5 c.local=1";

/// pilot starts, and the registry answers before anything else happens.
async fn answers_first(folder: &Path, said: Snapshot) -> East {
    let east = East::start(keeping(folder));
    east.script.publish(said).await;
    east
}

fn on_disk(folder: &Path) -> Snapshot {
    Snapshot::clone(&store(folder).load().unwrap().unwrap().snapshot)
}

fn held(east: &East) -> usize {
    east.intake().state().known.unwrap().held.map_or(0, |held| held.endpoints())
}

#[tokio::test(start_paused = true)]
async fn what_a_wiped_registry_lacks_is_held_beside_what_it_says_and_let_go() {
    let folder = with(&before());
    let started = Instant::now();
    let mut east = answers_first(folder.path(), wiped()).await;
    let began = east.held(25).await;
    assert!(began - started < Duration::from_millis(100), "what it says waits for nothing");
    let known = east.intake().state().known.unwrap();
    assert_eq!(counts(&known.snapshot), BESIDE);
    assert!(!is_from_disk(&known));
    timeout(DEADLINE, east.script.attempted(2)).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 10, "a second read is asked for");
    assert_eq!(on_disk(folder.path()), before(), "the good file stays while something is held");
    let ended = east.counts("c.local=1").await;
    assert_eq!((ended - began).as_secs(), 40, "which is waited for, for one hold time more");
    saved(folder.path(), &wiped()).await;
    assert_eq!(east.intake().holds(), 1);
}

#[tokio::test(start_paused = true)]
async fn second_read_after_a_start_confirms() {
    let folder = with(&before());
    let mut east = answers_first(folder.path(), snapshot([])).await;
    let began = east.held(25).await;
    timeout(DEADLINE, east.script.attempted(2)).await.unwrap();
    east.script.beside().publish(snapshot([])).await;
    let confirmed = east.counts("").await;
    assert_eq!((confirmed - began).as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn registry_that_fills_up_after_a_start_loses_nothing() {
    let folder = with(&before());
    let east = answers_first(folder.path(), snapshot([])).await;
    east.held(25).await;
    east.script.publish(snapshot([of("a.local", 0..7), of("b.local", 20..25)])).await;
    east.held(13).await;
    east.script.publish(before()).await;
    east.held(0).await;
    assert_eq!(*east.intake().state().known.unwrap().snapshot, before());
}

#[tokio::test(start_paused = true)]
async fn people_let_go_of_what_is_held_after_a_start() {
    let folder = with(&before());
    let east = answers_first(folder.path(), wiped()).await;
    east.held(25).await;
    assert_eq!(east.intake().release().unwrap().endpoints(), 25);
    assert_eq!(counts(&east.intake().state().known.unwrap().snapshot), "c.local=1");
    saved(folder.path(), &wiped()).await;
}

/// As while pilot runs: few endpoints fewer, all of them replaced, one service less.
#[tokio::test(start_paused = true)]
async fn ordinary_changes_while_pilot_was_away_are_not_held() {
    let b = || of("b.local", 20..25);
    let changes = [
        ("a.local=18 b.local=5", snapshot([of("a.local", 0..18), b()])),
        ("a.local=20 b.local=5", snapshot([of("a.local", 100..120), b()])),
        ("b.local=5", snapshot([b()])),
        ("a.local=20", snapshot([of("a.local", 0..20)])),
    ];
    for (expected, said) in changes {
        let folder = with(&before());
        let east = answers_first(folder.path(), said.clone()).await;
        east.counts(expected).await;
        assert_eq!(held(&east), 0, "{expected}");
        saved(folder.path(), &said).await;
        assert_eq!(east.intake().holds(), 0, "{expected}");
    }
}

/// In two days without pilot, much may go for good reasons.
#[tokio::test(start_paused = true)]
async fn what_was_saved_days_ago_holds_nothing() {
    let folder = TempDir::new().unwrap();
    let days_ago = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    store(folder.path()).save(&before(), days_ago).unwrap();
    let east = answers_first(folder.path(), wiped()).await;
    east.counts("c.local=1").await;
    assert_eq!(held(&east), 0);
    saved(folder.path(), &wiped()).await;
}

/// What is not believed is compared with nothing.
#[tokio::test(start_paused = true)]
async fn damaged_file_is_set_aside_and_holds_nothing() {
    let folder = with(&before());
    fs::write(store(folder.path()).path(), "pilot-snapshot 1 0000000000000000\n{}").unwrap();
    let east = answers_first(folder.path(), wiped()).await;
    east.counts("c.local=1").await;
    assert_eq!(held(&east), 0);
    saved(folder.path(), &wiped()).await;
    let names = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name());
    let aside = names.filter(|name| name.to_string_lossy().contains(".damaged-")).count();
    assert_eq!(aside, 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_guard_the_first_answer_is_believed() {
    let folder = with(&before());
    let east = East::start(Policy { guard: None, ..keeping(folder.path()) });
    east.script.publish(wiped()).await;
    east.counts("c.local=1").await;
    until("believed", || held(&east) == 0).await;
    saved(folder.path(), &wiped()).await;
}
