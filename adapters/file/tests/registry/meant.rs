//! What is missing because somebody took it away, and what is only missing.

use std::fs;
use std::io::Write;

use pilot_registry::ErrorKind;

use crate::running::{BROKEN, Running, running_file, services};

/// After an unmount a folder is there and has no files.
#[tokio::test]
async fn a_folder_without_files_is_a_fault_for_as_long_as_it_lasts() {
    let running = Running::start("services", |folder| {
        fs::create_dir(folder.join("services")).unwrap();
        fs::write(folder.join("services/1.toml"), services(&["a.local"])).unwrap();
    });
    running.until_hosts(&["a.local"]).await;
    let before = running.feed.published().unwrap();
    fs::rename(running.path("services/1.toml"), running.path("1.toml")).unwrap();
    let none = "services: the folder has no file that ends in .toml, .yaml, .yml or .json";
    assert_eq!(running.until_fault(none).await, ErrorKind::Unavailable);
    running.write("services/notes.txt", "");
    running.until_fault(none).await;
    fs::remove_dir_all(running.path("services")).unwrap();
    running.until_fault("services: cannot be read: it does not exist").await;
    let now = running.feed.published().unwrap();
    assert_eq!((now.checked, running.hosts()), (before.checked, vec!["a.local".to_owned()]));
    fs::create_dir(running.path("services")).unwrap();
    fs::rename(running.path("1.toml"), running.path("services/1.toml")).unwrap();
    running.until_live().await;
    assert_eq!(running.hosts(), ["a.local"]);
}

#[tokio::test]
async fn a_folder_without_files_is_unknown_at_the_start() {
    let running = Running::start(".", |_| {});
    running.until_fault("the folder has no file that ends in .toml").await;
    assert!(running.feed.published().is_none());
    running.write("1.toml", "service = []\n");
    running.until_live().await;
    assert!(running.feed.published().unwrap().value.services().is_empty());
}

#[tokio::test]
async fn a_file_may_become_a_folder_and_a_folder_a_file() {
    let running = running_file();
    running.until_hosts(&["a.local"]).await;
    // As containers make one in the place of a file that does not exist.
    fs::remove_file(running.path("services.toml")).unwrap();
    fs::create_dir(running.path("services.toml")).unwrap();
    running.until_fault("services.toml: it is an empty folder: expected a file").await;
    running.write("services.toml/1.toml", BROKEN);
    running.until_fault("services.toml/1.toml:2:8: ").await;
    assert_eq!(running.hosts(), ["a.local"]);
    running.write("services.toml/1.toml", &services(&["b.local"]));
    running.until_hosts(&["b.local"]).await;
    fs::rename(running.path("services.toml"), running.path("folder")).unwrap();
    running.write("services.toml", &services(&["c.local"]));
    running.until_hosts(&["c.local"]).await;
    running.until_live().await;
}

/// The registry is asked again when what went is to be confirmed.
#[tokio::test]
async fn another_attempt_keeps_what_a_broken_file_said() {
    let mut running = Running::start(".", |folder| {
        fs::write(folder.join("1.toml"), services(&["a.local"])).unwrap();
        fs::write(folder.join("2.toml"), services(&["b.local"])).unwrap();
    });
    running.until_hosts(&["a.local", "b.local"]).await;
    running.write("1.toml", BROKEN);
    running.until_fault("1.toml:2:8: ").await;
    running.restart().await;
    running.write("2.toml", &services(&["c.local"]));
    running.until_hosts(&["a.local", "c.local"]).await;
}

#[tokio::test]
async fn what_a_file_says_is_meant_and_a_file_that_is_gone_from_a_folder_may_be_no_ones_wish() {
    let meant = |running: &Running| running.feed.published().unwrap().value.is_deliberate();
    let running = running_file();
    running.until_hosts(&["a.local"]).await;
    assert!(meant(&running));
    running.write("services.toml", "service = []\n");
    running.until_hosts(&[]).await;
    assert!(meant(&running));

    let running = Running::start(".", |folder| {
        fs::write(folder.join("1.toml"), services(&["a.local"])).unwrap();
        fs::write(folder.join("2.toml"), services(&["b.local"])).unwrap();
    });
    running.until_hosts(&["a.local", "b.local"]).await;
    assert!(!meant(&running), "nobody knows which files there were before");
    running.write("1.toml", "service = []\n");
    running.until_hosts(&["b.local"]).await;
    assert!(!meant(&running), "one file says nothing of others that may be missing");
}

/// Without files there is nothing that could be missing.
#[tokio::test]
async fn another_file_of_a_folder_that_changes_does_not_say_that_what_went_was_meant() {
    let running = Running::start(".", |folder| fs::write(folder.join("1.toml"), "service = []\n").unwrap());
    let meant = || running.feed.published().unwrap().value.is_deliberate();
    running.until_live().await;
    running.write("2.toml", &services(&["b.local"]));
    running.until_hosts(&["b.local"]).await;
    assert!(meant());
    fs::rename(running.path("2.toml"), running.path("2")).unwrap();
    running.until_hosts(&[]).await;
    assert!(!meant());
    running.write("1.toml", &services(&["a.local"]));
    running.until_hosts(&["a.local"]).await;
    assert!(!meant());
    fs::rename(running.path("2"), running.path("3.toml")).unwrap();
    running.until_hosts(&["a.local", "b.local"]).await;
    assert!(meant(), "all that went is back");
    running.write("3.toml", "service = []\n");
    running.until_hosts(&["a.local"]).await;
    assert!(meant());
}

/// The guard holds what is missing from it. What is there when the writer has finished is what somebody wrote.
#[tokio::test]
async fn half_a_file_means_nothing_by_what_is_missing_until_its_writer_closes_it() {
    let running = running_file();
    let meant = || running.feed.published().unwrap().value.is_deliberate();
    let all = ["a.local", "b.local", "c.local", "d.local"];
    running.write("services.toml", &services(&all));
    running.until_hosts(&all).await;
    assert!(meant());
    let mut file = fs::File::create(running.path("services.toml")).unwrap();
    file.write_all(services(&["a.local"]).as_bytes()).unwrap();
    running.until_hosts(&["a.local"]).await;
    assert!(!meant());
    // Nor when it is looked at again for another reason.
    running.reload.ask();
    file.write_all(services(&["b.local"]).as_bytes()).unwrap();
    running.until_hosts(&["a.local", "b.local"]).await;
    assert!(!meant());
    file.write_all(services(&["c.local"]).as_bytes()).unwrap();
    drop(file);
    running.until_hosts(&["a.local", "b.local", "c.local"]).await;
    assert!(meant());
}

/// Before there was a last good version, an entry with a mistake is missing, and nobody wanted that.
#[tokio::test]
async fn a_file_whose_entries_make_no_sense_means_nothing_by_what_is_missing() {
    let running = Running::start("services.toml", |folder| {
        let bad = services(&["b.local"]).replace("http", "htp");
        fs::write(folder.join("services.toml"), services(&["a.local"]) + &bad).unwrap();
    });
    running.until_hosts(&["a.local"]).await;
    assert!(!running.feed.published().unwrap().value.is_deliberate());
}

#[tokio::test]
async fn an_endpoint_that_is_there_twice_counts_once_and_is_named() {
    let twice = "endpoints = [{ address = '::1' }, { address = '[::1]' }]\n";
    let running = Running::start("services.toml", |folder| {
        fs::write(folder.join("services.toml"), services(&["a.local"]) + twice).unwrap();
    });
    running
        .until_skipped(":4:35 a.local", "endpoint ::1 port 80 is there twice: line 4 has it already")
        .await;
    let endpoints = running.feed.published().unwrap().value.endpoint_count();
    assert_eq!(endpoints, 1);
}
