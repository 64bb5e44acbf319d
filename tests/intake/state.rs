//! The file of the last known good: written whole, believed only when whole.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pilot::catalog::saved::{LoadError, SnapshotFile, prepare, probe};
use pilot_registry::Snapshot;
use pilot_registry_testkit::{service, snapshot, strategies};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::services::of;

const MAX_BYTES: u64 = 1 << 20;

fn store(folder: &Path, registry: &str, kind: &'static str) -> SnapshotFile {
    SnapshotFile::new(folder, registry, kind, MAX_BYTES)
}

fn some() -> Snapshot {
    snapshot([of("a.local", 0..3), of("b.local", 3..5)])
}

/// A file as it is when all is well.
fn saved() -> (TempDir, SnapshotFile) {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path(), "east", "consul");
    store.save(&some(), SystemTime::now()).unwrap();
    (folder, store)
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// The file is refused for that reason, and set aside; what is written next is read again.
fn assert_refused(folder: &TempDir, store: &SnapshotFile, reason: &str) {
    let error = store.load().unwrap_err();
    assert!(matches!(error, LoadError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains(reason), "{error}");
    assert!(store.load().unwrap().is_none(), "it is not tried again");
    assert!(names(folder).iter().any(|name| name.contains(".damaged-")), "{:?}", names(folder));
    store.save(&some(), SystemTime::now()).unwrap();
    assert_eq!(*store.load().unwrap().unwrap().snapshot, some());
}

proptest! {
    #[test]
    fn what_was_saved_is_read(snapshot in strategies::snapshot(), millis in 0..4_000_000_000_000u64) {
        let folder = TempDir::new().unwrap();
        let store = store(folder.path(), "east", "consul");
        let at = UNIX_EPOCH + Duration::from_millis(millis);
        store.save(&snapshot, at).unwrap();
        let saved = store.load().unwrap().unwrap();
        prop_assert_eq!((&*saved.snapshot, saved.saved_at), (&snapshot, at));
    }
}

#[test]
fn where_nothing_was_saved_there_is_nothing() {
    let folder = TempDir::new().unwrap();
    assert!(store(folder.path(), "east", "consul").load().unwrap().is_none());
    assert!(store(&folder.path().join("missing"), "east", "consul").load().unwrap().is_none());
}

#[test]
fn a_file_that_was_cut_off_anywhere_is_refused() {
    let (_folder, store) = saved();
    let whole = fs::read(store.path()).unwrap();
    for length in 0..whole.len() {
        fs::write(store.path(), &whole[..length]).unwrap();
        assert!(matches!(store.load(), Err(LoadError::Refused { .. })), "{length} bytes of {}", whole.len());
    }
}

#[test]
fn a_file_with_any_byte_changed_is_refused() {
    let (_folder, store) = saved();
    let whole = fs::read(store.path()).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0b100;
        fs::write(store.path(), &damaged).unwrap();
        assert!(matches!(store.load(), Err(LoadError::Refused { .. })), "byte {at} of {}", whole.len());
    }
}

#[test]
fn damage_is_told_and_set_aside() {
    let (folder, store) = saved();
    let mut bytes = fs::read(store.path()).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(store.path(), &bytes).unwrap();
    assert_refused(&folder, &store, "it is damaged: its checksum does not fit; set aside as ");

    let (folder, store) = saved();
    fs::write(store.path(), "services = []\n").unwrap();
    assert_refused(&folder, &store, "it is no file of pilot's");

    let (folder, store) = saved();
    fs::write(store.path(), [0xff; 300]).unwrap();
    assert_refused(&folder, &store, "it is no file of pilot's");

    let (folder, store) = saved();
    let text = fs::read_to_string(store.path()).unwrap();
    fs::write(store.path(), text.replacen("pilot-snapshot 1 ", "pilot-snapshot 3 ", 1)).unwrap();
    assert_refused(&folder, &store, "it is of version 3, and this pilot reads 2");
}

/// A pilot that knows nothing of visibility would show such a service to everybody: it refuses the file.
#[test]
fn who_sees_a_service_is_saved_for_those_who_understand_it() {
    let (_folder, store) = saved();
    let version = || fs::read_to_string(store.path()).unwrap().split(' ').nth(1).map(str::to_owned);
    assert_eq!(version().as_deref(), Some("1"), "older pilots read what they understand");
    let db = |namespace| service("db.example").http(80).namespace(namespace).export_to(&["."]).build();
    let snapshot = snapshot([of("db.example", 0..3), db("shop"), db("bank")]);
    store.save(&snapshot, SystemTime::now()).unwrap();
    assert_eq!(version().as_deref(), Some("2"));
    let loaded = store.load().unwrap().unwrap().snapshot;
    assert_eq!(*loaded, snapshot);
    let ids: Vec<_> = loaded.services().iter().map(|service| service.id().to_string()).collect();
    assert_eq!(ids, ["db.example", "db.example of namespace bank", "db.example of namespace shop"]);
}

#[test]
fn a_file_of_another_registry_or_kind_is_refused() {
    let (folder, east) = saved();
    for (name, kind) in [("west", "consul"), ("east", "etcd")] {
        let other = store(folder.path(), name, kind);
        if other.path() != east.path() {
            fs::copy(east.path(), other.path()).unwrap();
        }
        assert_refused(&folder, &other, "it holds the registry \"east\" of kind \"consul\"");
    }
}

/// What fits its checksum and makes no sense was written by somebody else.
#[test]
fn content_that_makes_no_sense_is_refused() {
    for (from, to) in [
        ("\"services\":2", "\"services\":3"),
        ("\"b.local\"", "\"a.local\""),
        ("\"b.local\"", "\"-\""),
        ("\"kind\"", "\"kin\""),
        ("\"saved_at_ms\":", "\"saved_at_ms\":-"),
    ] {
        let (folder, store) = saved();
        let text = fs::read_to_string(store.path()).unwrap();
        let (head, body) = text.split_once('\n').unwrap();
        let changed = body.replacen(from, to, 1);
        assert_ne!(body, changed, "{from}");
        let sum = xxhash_rust::xxh3::xxh3_64(changed.as_bytes());
        let head = head.rsplit_once(' ').unwrap().0;
        fs::write(store.path(), format!("{head} {sum:016x}\n{changed}")).unwrap();
        assert_refused(&folder, &store, "it is damaged: ");
    }
}

#[test]
fn of_what_was_set_aside_the_newest_few_stay() {
    let (folder, store) = saved();
    for n in 0..6 {
        fs::write(folder.path().join(format!("east.snapshot.damaged-{n:013}")), "old").unwrap();
    }
    fs::write(store.path(), "new").unwrap();
    store.load().unwrap_err();
    let left = names(&folder);
    assert_eq!(left.len(), 3, "{left:?}");
    assert_eq!(left[..2], ["east.snapshot.damaged-0000000000004", "east.snapshot.damaged-0000000000005"]);
}

#[test]
fn a_file_that_is_too_large_is_neither_written_nor_read() {
    let (folder, large) = saved();
    let small = SnapshotFile::new(folder.path(), "east", "consul", 100);
    let error = small.save(&some(), SystemTime::now()).unwrap_err();
    assert!(error.to_string().contains("[state] max_file_bytes allows 100"), "{error}");
    assert_eq!(*large.load().unwrap().unwrap().snapshot, some(), "what was there is there still");
    assert!(small.load().unwrap_err().to_string().contains("larger than [state] max_file_bytes"));
}

#[test]
fn a_folder_in_the_files_place_is_an_error_and_nothing_more() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path(), "east", "consul");
    fs::create_dir(store.path()).unwrap();
    assert!(matches!(store.load(), Err(LoadError::Read { .. })));
    assert!(store.save(&some(), SystemTime::now()).is_err());
    assert_eq!(names(&folder), ["east.snapshot"], "nothing half written stays");
}

#[test]
fn a_file_is_for_its_owner_alone_and_nothing_stays_beside_it() {
    let (folder, store) = saved();
    let mode = fs::metadata(store.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(names(&folder), ["east.snapshot"]);
}

/// The last writer wins, and what is read is always one of what was written.
#[test]
fn pilots_that_share_a_folder_never_spoil_a_file() {
    let (folder, reader) = saved();
    let versions: Vec<Snapshot> = (1..=20u8).map(|n| snapshot([of("a.local", 0..n)])).collect();
    let versions = Arc::new(versions);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (versions, writer) = (Arc::clone(&versions), store(folder.path(), "east", "consul"));
            scope.spawn(move || {
                for version in &*versions {
                    writer.save(version, SystemTime::now()).unwrap();
                }
            });
        }
        for _ in 0..200 {
            let read = reader.load().unwrap().unwrap();
            assert!(versions.contains(&read.snapshot) || *read.snapshot == some());
        }
    });
    assert_eq!(names(&folder), ["east.snapshot"]);
}

#[test]
fn a_folder_is_made_where_there_is_none() {
    let folder = TempDir::new().unwrap();
    let inner: PathBuf = folder.path().join("a/b");
    prepare(&inner).unwrap();
    assert_eq!(fs::read_dir(&inner).unwrap().count(), 0);
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(prepare(&file).is_err() && prepare(&file.join("under")).is_err());
}

#[test]
fn a_probe_tells_what_cannot_be_and_makes_nothing() {
    let folder = TempDir::new().unwrap();
    let inner: PathBuf = folder.path().join("a/b");
    probe(&inner).unwrap();
    probe(folder.path()).unwrap();
    assert_eq!(names(&folder), [""; 0]);
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(probe(&file).is_err() && probe(&file.join("under")).is_err());
}
