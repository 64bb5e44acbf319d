//! The file registry on real files: what is served while they change, break and come back.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "registry/meant.rs"]
mod meant;
#[path = "registry/running.rs"]
mod running;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use pilot_registry::{ErrorKind, RegistryHealth};
use pilot_registry_file::Config;
use tokio::time::timeout;

use running::{BROKEN, Running, running_file, services};

#[tokio::test]
async fn l20_a_write_in_place_is_seen() {
    let running = running_file();
    running.until_hosts(&["a.local"]).await;
    for _ in 0..5 {
        running.write("services.toml", &services(&["a.local", "b.local"]));
        running.until_hosts(&["a.local", "b.local"]).await;
        running.write("services.toml", &services(&["a.local"]));
        running.until_hosts(&["a.local"]).await;
    }
}

#[tokio::test]
async fn l20_an_atomic_rename_is_seen() {
    let running = running_file();
    running.until_hosts(&["a.local"]).await;
    for host in ["b.local", "c.local", "d.local"] {
        running.write("new", &services(&[host]));
        fs::rename(running.path("new"), running.path("services.toml")).unwrap();
        running.until_hosts(&[host]).await;
    }
}

#[tokio::test]
async fn l20_a_symlink_swap_as_of_a_config_map_is_seen() {
    let version = |folder: &Path, name: &str, host: &str| {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("services.toml"), services(&[host])).unwrap();
        symlink(name, folder.join("..new")).unwrap();
        fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    };
    // Once by the file's own path, once by the folder that it is mounted at.
    for path in ["services.toml", "."] {
        let running = Running::start(path, |folder| {
            version(folder, "..1", "a.local");
            symlink("..data/services.toml", folder.join("services.toml")).unwrap();
        });
        running.until_hosts(&["a.local"]).await;
        version(running.folder.path(), "..2", "b.local");
        fs::remove_dir_all(running.path("..1")).unwrap();
        running.until_hosts(&["b.local"]).await;
        // The new target is followed too.
        running.write("..2/services.toml", &services(&["c.local"]));
        running.until_hosts(&["c.local"]).await;
    }
}

#[tokio::test]
async fn l20_deletion_keeps_what_was_and_recreation_is_seen() {
    let running = running_file();
    running.until_hosts(&["a.local"]).await;
    fs::remove_file(running.path("services.toml")).unwrap();
    assert_eq!(
        running.until_fault("services.toml: cannot be read: it does not exist").await,
        ErrorKind::Unavailable
    );
    assert_eq!(running.hosts(), ["a.local"]);
    running.write("services.toml", &services(&["b.local"]));
    running.until_hosts(&["b.local"]).await;
    running.until_live().await;
}

#[tokio::test]
async fn l20_a_replaced_parent_folder_is_seen() {
    let running = Running::start("conf/here/services.toml", |folder| {
        fs::create_dir_all(folder.join("conf/here")).unwrap();
        fs::write(folder.join("conf/here/services.toml"), services(&["a.local"])).unwrap();
    });
    running.until_hosts(&["a.local"]).await;
    fs::rename(running.path("conf"), running.path("old")).unwrap();
    running.until_fault("does not exist").await;
    fs::create_dir_all(running.path("conf/here")).unwrap();
    running.write("conf/here/services.toml", &services(&["b.local"]));
    running.until_hosts(&["b.local"]).await;
    running.write("conf/here/services.toml", &services(&["c.local"]));
    running.until_hosts(&["c.local"]).await;
}

/// A file system may give the new folder the old one's inode; a folder that comes back has it anyway.
#[tokio::test]
async fn l20_a_folder_that_is_replaced_or_back_at_once_is_still_followed() {
    let running = Running::start("here/services.toml", |folder| {
        fs::create_dir(folder.join("here")).unwrap();
        fs::write(folder.join("here/services.toml"), services(&["a.local"])).unwrap();
    });
    running.until_hosts(&["a.local"]).await;
    fs::remove_dir_all(running.path("here")).unwrap();
    fs::create_dir(running.path("here")).unwrap();
    running.write("here/services.toml", &services(&["b.local"]));
    running.until_hosts(&["b.local"]).await;
    running.write("here/services.toml", &services(&["c.local"]));
    running.until_hosts(&["c.local"]).await;
    fs::rename(running.path("here"), running.path("away")).unwrap();
    fs::write(running.path("away/services.toml"), services(&["d.local"])).unwrap();
    fs::rename(running.path("away"), running.path("here")).unwrap();
    running.until_hosts(&["d.local"]).await;
    running.write("here/services.toml", &services(&["e.local"]));
    running.until_hosts(&["e.local"]).await;
}

/// The metric of the data's age counts from `checked`.
#[tokio::test(start_paused = true)]
async fn l17_what_is_published_is_checked_again_though_nothing_happens() {
    let running = running_file();
    running.until_hosts(&["a.local"]).await;
    let mut last = running.feed.published().unwrap();
    for _ in 0..3 {
        let mut states = running.feed.subscribe();
        let newer = states.wait_for(|state| state.published.as_ref().unwrap().checked > last.checked);
        assert!(timeout(Duration::from_secs(31), newer).await.is_ok(), "not checked for 31 s");
        let now = running.feed.published().unwrap();
        assert_eq!((now.revision, now.changed), (last.revision, last.changed));
        last = now;
    }
}

#[tokio::test]
async fn what_somebody_asks_to_reload_is_read_again_at_once() {
    let running = running_file();
    running.until_hosts(&["a.local"]).await;
    let last = running.feed.published().unwrap();
    let mut states = running.feed.subscribe();
    running.reload.ask();
    let newer = states.wait_for(|state| state.published.as_ref().unwrap().checked > last.checked);
    // Unasked, it would be read again after 30 s.
    assert!(timeout(Duration::from_secs(20), newer).await.is_ok(), "not read again");
    assert!(running.reload.what().ends_with("services.toml"), "{}", running.reload.what());
}

#[tokio::test]
async fn l18_a_missing_file_is_unknown_and_an_empty_list_is_empty() {
    let running = Running::start("sub/services.toml", |_| {});
    running.until_fault("it does not exist").await;
    assert!(running.feed.published().is_none());
    fs::create_dir(running.path("sub")).unwrap();
    running.write("sub/services.toml", "service = []\n");
    running.until_live().await;
    assert!(running.feed.published().unwrap().value.services().is_empty());
}

#[tokio::test]
async fn l18_a_truncated_file_removes_nothing() {
    let running = running_file();
    running.until_hosts(&["a.local"]).await;
    running.write("services.toml", "");
    assert_eq!(running.until_fault("services.toml:1:1: the file is empty").await, ErrorKind::Malformed);
    assert_eq!(running.hosts(), ["a.local"]);
}

#[tokio::test]
async fn l13_a_broken_file_keeps_its_last_good_state_and_the_others_go_on() {
    let running = Running::start(".", |folder| {
        fs::write(folder.join("1.toml"), services(&["a.local"])).unwrap();
        fs::write(folder.join("2.yaml"), "service:\n- {host: b.local, ports: [{port: 1, protocol: tcp}]}\n")
            .unwrap();
    });
    running.until_hosts(&["a.local", "b.local"]).await;
    running.write("1.toml", BROKEN);
    assert_eq!(running.until_fault("1.toml:2:8: ").await, ErrorKind::Malformed);
    running.write("2.yaml", "service:\n- {host: c.local, ports: [{port: 1, protocol: tcp}]}\n");
    running.until_hosts(&["a.local", "c.local"]).await;
    running.write("1.toml", &services(&["d.local"]));
    running.until_hosts(&["c.local", "d.local"]).await;
    running.until_live().await;
}

#[tokio::test]
async fn a_file_that_was_broken_from_the_start_is_named_and_the_others_are_served() {
    let running = Running::start(".", |folder| {
        fs::write(folder.join("1.toml"), BROKEN).unwrap();
        fs::write(folder.join("2.toml"), services(&["b.local"])).unwrap();
    });
    running.until_fault("1.toml:2:8: ").await;
    running.until_hosts(&["b.local"]).await;
}

#[tokio::test]
async fn nothing_is_published_while_every_file_is_broken_from_the_start() {
    let running = Running::start(".", |folder| fs::write(folder.join("1.toml"), BROKEN).unwrap());
    running.until_fault("1.toml:2:8: ").await;
    assert!(running.feed.published().is_none());
    running.write("1.toml", &services(&["a.local"]));
    running.until_hosts(&["a.local"]).await;
}

#[tokio::test]
async fn l13_a_bad_entry_hides_only_itself() {
    let bad = services(&["bad.local"]).replace("http", "htp");
    let running = Running::start("services.toml", |folder| {
        fs::write(folder.join("services.toml"), services(&["a.local"]) + &bad).unwrap();
    });
    running.until_hosts(&["a.local"]).await;
    running.until_skipped("services.toml:6:34 bad.local", "unknown protocol \"htp\": expected one of").await;
    assert!(matches!(running.feed.health(), RegistryHealth::Live));
}

#[tokio::test]
async fn an_entry_that_becomes_bad_keeps_its_last_good_version() {
    let running = Running::start("services.toml", |folder| {
        fs::write(folder.join("services.toml"), services(&["a.local", "b.local"])).unwrap();
    });
    running.until_hosts(&["a.local", "b.local"]).await;
    running.write("services.toml", &services(&["b.local", "c.local"]).replacen("= 80", "= 70000", 1));
    running.until_hosts(&["b.local", "c.local"]).await;
    running.until_skipped(":3:19 b.local", "its last good version stays in force").await;
    // Still there after a second look, and gone when it is removed.
    running.write("services.toml", &services(&["b.local", "d.local"]).replacen("= 80", "= 0", 1));
    running.until_hosts(&["b.local", "d.local"]).await;
    running.write("services.toml", &services(&["d.local"]));
    running.until_hosts(&["d.local"]).await;
}

#[tokio::test]
async fn an_entry_whose_host_becomes_bad_removes_nothing_until_it_is_mended() {
    let running = running_file();
    running.until_hosts(&["a.local"]).await;
    running.write("services.toml", &services(&["a local", "b.local"]));
    running.until_hosts(&["a.local", "b.local"]).await;
    running.until_skipped(":2:8", "what the file said before stays in force: a.local").await;
    running.write("services.toml", &services(&["c.local", "b.local"]));
    running.until_hosts(&["b.local", "c.local"]).await;
}

#[tokio::test]
async fn the_first_of_two_entries_with_one_host_is_in_force() {
    let running = Running::start(".", |folder| {
        fs::write(folder.join("1.toml"), services(&["a.local", "A.local."])).unwrap();
        fs::write(folder.join("2.toml"), services(&["b.local", "a.local"])).unwrap();
    });
    running.until_hosts(&["a.local", "b.local"]).await;
    running.until_skipped("1.toml:5:8 a.local", "1.toml:2:8 is the one in force").await;
    running.until_skipped("2.toml:5:8 a.local", "1.toml:2:8 is the one in force").await;
}

#[tokio::test]
async fn a_file_taken_out_of_a_folder_takes_its_services_along() {
    let running = Running::start(".", |folder| {
        fs::write(folder.join("1.toml"), services(&["a.local"])).unwrap();
        fs::write(folder.join("2.toml"), services(&["b.local"])).unwrap();
        for ignored in [".3.toml", "4.toml~", ".5.toml.swp", "notes.txt"] {
            fs::write(folder.join(ignored), BROKEN).unwrap();
        }
    });
    running.until_hosts(&["a.local", "b.local"]).await;
    running.until_live().await;
    fs::remove_file(running.path("1.toml")).unwrap();
    running.until_hosts(&["b.local"]).await;
    running.write("3.toml", &services(&["c.local"]));
    running.until_hosts(&["b.local", "c.local"]).await;
    running.write("2.toml", "service = []\n");
    running.write("3.toml", "service = []\n");
    running.until_hosts(&[]).await;
    running.until_live().await;
}

#[tokio::test]
async fn an_unreadable_file_keeps_what_it_said() {
    let running = running_file();
    running.until_hosts(&["a.local"]).await;
    // A folder in its place: unlike a lack of permission, it stops root too.
    fs::remove_file(running.path("services.toml")).unwrap();
    symlink("services.toml", running.path("services.toml")).unwrap();
    running.until_fault("its symbolic links form a cycle").await;
    assert_eq!(running.hosts(), ["a.local"]);
}

#[tokio::test]
async fn files_that_cannot_be_read_say_why() {
    let running = Running::start(".", |folder| {
        symlink("2.toml", folder.join("1.toml")).unwrap();
        symlink("1.toml", folder.join("2.toml")).unwrap();
        fs::write(folder.join("good.toml"), services(&["a.local"])).unwrap();
    });
    running.until_fault("1.toml: cannot be read: its symbolic links form a cycle").await;
    running.until_hosts(&["a.local"]).await;
    running.write("0.json", "\u{fffd}");
    let bytes = [b"service = []\n# ".as_slice(), &[0xff]].concat();
    for name in ["1.toml", "2.toml", "0.json"] {
        fs::remove_file(running.path(name)).unwrap();
    }
    fs::write(running.path("0.toml"), bytes).unwrap();
    running.until_fault("0.toml:2: byte 15 is not UTF-8").await;
    fs::remove_file(running.path("0.toml")).unwrap();
    fs::create_dir(running.path("0.toml")).unwrap();
    running.until_fault("0.toml: it is a folder: expected a file").await;
    assert_eq!(running.hosts(), ["a.local"]);
}

#[tokio::test]
async fn a_file_without_read_permission_is_denied() {
    use std::os::unix::fs::PermissionsExt;
    let running = running_file();
    running.until_hosts(&["a.local"]).await;
    let file = running.path("services.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&file).is_ok() {
        // Root reads everything: then it stays readable, and is followed.
        running.write("services.toml", &services(&["b.local"]));
        running.until_hosts(&["b.local"]).await;
        return;
    }
    assert_eq!(running.until_fault("cannot be read: permission denied").await, ErrorKind::Denied);
    assert_eq!(running.hosts(), ["a.local"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    running.until_live().await;
}

#[tokio::test]
async fn limits_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    // 200 MB that take no room on the disk.
    fs::File::create(folder.path().join("big.toml")).unwrap().set_len(200_000_000).unwrap();
    fs::write(folder.path().join("good.toml"), services(&["a.local"])).unwrap();
    let config = Config { max_files: 3, ..Config::new(folder.path()) };
    let running = Running::with(folder, config);
    running.until_fault("big.toml: the file has 200000000 bytes, more than the 67108864").await;
    running.until_hosts(&["a.local"]).await;
    fs::remove_file(running.path("big.toml")).unwrap();
    running.until_live().await;
    for name in ["1.toml", "2.toml", "3.toml"] {
        running.write(name, &services(&[&format!("{name}.local")]));
    }
    running.until_fault("more files than the 3 that max_files allows").await;
    assert!(running.hosts().contains(&"a.local".to_owned()));
}

#[tokio::test]
async fn unchanged_content_makes_no_revision() {
    let running = running_file();
    running.until_hosts(&["a.local"]).await;
    running.write("services.toml", &(services(&["a.local"]) + "# a comment\n"));
    running.write("services.toml", &services(&["a.local", "b.local"]));
    running.until_hosts(&["a.local", "b.local"]).await;
    let before = running.feed.published().unwrap();
    running.write("services.toml", &services(&["b.local", "a.local"]));
    running
        .until("a look at the file", |state| state.published.as_ref().unwrap().checked > before.checked)
        .await;
    assert_eq!(running.feed.published().unwrap().revision, before.revision);
}

#[tokio::test]
async fn a_thousand_rapid_changes_converge() {
    let running = running_file();
    running.until_hosts(&["a.local"]).await;
    for number in 0..1000 {
        running.write("new", &services(&[&format!("n{number}.local")]));
        fs::rename(running.path("new"), running.path("services.toml")).unwrap();
    }
    running.until_hosts(&["n999.local"]).await;
    assert!(running.feed.published().unwrap().revision <= 1001);
}

#[tokio::test]
async fn dropping_the_attempt_stops_it_and_a_second_one_behaves_like_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services.toml");
    fs::write(&file, services(&["a.local"])).unwrap();
    let mut running = Running::with(folder, Config::new(&file));
    running.until_hosts(&["a.local"]).await;
    running.task.shutdown().await;
    let revision = running.feed.published().unwrap().revision;
    let old = running.feed.clone();
    running.write("services.toml", &services(&["b.local"]));
    let Running { folder, .. } = running;
    let second = Running::with(folder, Config::new(&file));
    second.until_hosts(&["b.local"]).await;
    assert_eq!(old.published().unwrap().revision, revision);
}
