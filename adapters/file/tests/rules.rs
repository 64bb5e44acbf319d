//! The store of rules on real files: how people and tools change them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use pilot_registry::{RegistryHealth, Texts};
use pilot_registry_file::{RulesConfig, rules};
use pilot_registry_testkit::Runner;

fn follow(folder: &Path) -> Runner<Texts> {
    Runner::of_rules(Arc::new(rules(RulesConfig::new(folder)).unwrap()))
}

/// Names and contents.
fn texts(value: &Texts) -> Vec<(String, String)> {
    let of = |place: &str| place.rsplit('/').next().unwrap().to_owned();
    value.iter().map(|(place, text)| (of(place), text.text.to_string())).collect()
}

/// Waits until these are the texts, and the store is in order or not; gives the revision.
async fn has(runner: &mut Runner<Texts>, expected: &[(&str, &str)], is_live: bool) -> u64 {
    let expected: Vec<_> =
        expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let what = format!("{expected:?}");
    let seen = runner.until(&what, |state| {
        let published = state.published.as_ref()?;
        let is_it = matches!(state.health(), RegistryHealth::Live) == is_live;
        (is_it && texts(&published.value) == expected).then_some(published.revision)
    });
    seen.await.unwrap()
}

#[tokio::test]
async fn a_swap_of_a_config_map_changes_all_files_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let write = |version: &str, text: &str| {
        fs::create_dir(at(version)).unwrap();
        ["a.yaml", "b.yaml"].iter().for_each(|file| fs::write(at(version).join(file), text).unwrap());
        symlink(version, at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
    };
    write("..1", "one");
    ["a.yaml", "b.yaml"].iter().for_each(|file| symlink(format!("..data/{file}"), at(file)).unwrap());
    let mut runner = follow(folder.path());
    assert_eq!(has(&mut runner, &[("a.yaml", "one"), ("b.yaml", "one")], true).await, 1);
    for (revision, version, text) in [(2, "..2", "two"), (3, "..3", "three")] {
        write(version, text);
        assert_eq!(has(&mut runner, &[("a.yaml", text), ("b.yaml", text)], true).await, revision);
        fs::remove_dir_all(at(&format!("..{}", revision - 1))).unwrap();
    }
}

#[tokio::test]
async fn what_takes_the_place_of_a_file_and_cannot_be_read_keeps_its_text_and_stops_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a.yaml"), "a").unwrap();
    fs::write(at("b.yaml"), "b").unwrap();
    // What editors leave beside a file is none.
    ["a.yaml~", ".a.yaml.swp", "4913", "#a.yaml#"].iter().for_each(|file| fs::write(at(file), "x").unwrap());
    let mut runner = follow(folder.path());
    has(&mut runner, &[("a.yaml", "a"), ("b.yaml", "b")], true).await;
    fs::remove_file(at("a.yaml")).unwrap();
    has(&mut runner, &[("b.yaml", "b")], true).await;
    fs::write(at("a.yaml"), "a").unwrap();
    has(&mut runner, &[("a.yaml", "a"), ("b.yaml", "b")], true).await;
    let mut other = 0;
    // Each is put in its place by a rename, as editors save.
    let mut replace = |make: &dyn Fn(&Path)| {
        make(&at(".new"));
        fs::rename(at(".new"), at("a.yaml")).unwrap();
        other += 1;
        let text = format!("b{other}");
        fs::write(at("b.yaml"), &text).unwrap();
        text
    };
    let text = replace(&|new| symlink("nowhere", new).unwrap());
    has(&mut runner, &[("a.yaml", "a"), ("b.yaml", &text)], false).await;
    let text = replace(&|new| fs::write(new, [0xff, 0xfe]).unwrap());
    has(&mut runner, &[("a.yaml", "a"), ("b.yaml", &text)], false).await;
    let pipe = |new: &Path| assert!(Command::new("mkfifo").arg(new).status().unwrap().success());
    let text = replace(&pipe);
    has(&mut runner, &[("a.yaml", "a"), ("b.yaml", &text)], false).await;
    let text = replace(&|new| fs::write(new, "again").unwrap());
    has(&mut runner, &[("a.yaml", "again"), ("b.yaml", &text)], true).await;
}
