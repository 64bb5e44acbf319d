use std::fs;
use std::time::Duration;

use super::*;

fn services(hosts: &[&str]) -> String {
    let service =
        |host: &&str| format!("[[service]]\nhost = '{host}'\nports = [{{ port = 80, protocol = 'http' }}]\n");
    hosts.iter().map(service).collect()
}

/// A folder, and what is remembered of it.
struct Folder {
    folder: tempfile::TempDir,
    last_good: LastGood,
    start: Instant,
}

impl Folder {
    fn of(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let it = Self { folder, last_good: LastGood::default(), start: Instant::now() };
        files.iter().for_each(|(name, text)| it.write(name, text));
        it
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("writable");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join(name)).expect("removable");
    }

    /// The hosts that are in force so many seconds after the start, and whether somebody meant it.
    fn at(&mut self, seconds: u64) -> (String, bool) {
        let now = self.start + Duration::from_secs(seconds);
        let view = self.last_good.look(&Config::new(self.folder.path()), now);
        let hosts: Vec<_> = view.value.services().iter().map(|service| service.host.as_str()).collect();
        (hosts.join(" "), view.means_it)
    }
}

#[test]
fn what_a_file_of_a_folder_says_is_meant_once_the_folder_has_been_known_for_a_while() {
    let mut folder = Folder::of(&[("a.toml", &services(&["a", "b"])), ("b.toml", &services(&["c"]))]);
    assert_eq!(folder.at(0), ("a b c".into(), false));
    folder.write("a.toml", &services(&["a"]));
    assert_eq!(folder.at(599), ("a c".into(), false));
    assert_eq!(folder.at(600), ("a c".into(), true));
    folder.write("a.toml", "service = []\n");
    assert_eq!(folder.at(601), ("c".into(), true));
}

#[test]
fn what_went_with_its_file_is_not_meant_until_it_is_back_or_its_time_is_over() {
    let mut folder = Folder::of(&[("a.toml", &services(&["a"])), ("b.toml", &services(&["b", "c"]))]);
    folder.at(0);
    folder.remove("b.toml");
    assert_eq!(folder.at(1000), ("a".into(), false));
    folder.write("a.toml", &services(&["a", "d"]));
    assert_eq!(folder.at(1001), ("a d".into(), false));
    folder.write("b.toml", &services(&["b"]));
    assert_eq!(folder.at(1002), ("a b d".into(), false), "half of it is not all of it");
    folder.write("b.toml", &services(&["b", "c"]));
    assert_eq!(folder.at(1003), ("a b c d".into(), true));
    folder.remove("b.toml");
    assert_eq!(folder.at(1004), ("a d".into(), false));
    assert_eq!(folder.at(1604), ("a d".into(), true));
}

#[test]
fn a_service_that_moves_to_another_file_is_not_missing_unless_endpoints_are() {
    let mut folder = Folder::of(&[("a.toml", &services(&["a"])), ("b.toml", &services(&["b"]))]);
    folder.at(0);
    folder.remove("b.toml");
    folder.write("c.toml", &(services(&["b"]) + "endpoints = [{ address = '::1' }]\n"));
    assert_eq!(folder.at(1000), ("a b".into(), true));
    folder.remove("c.toml");
    folder.write("d.toml", &services(&["b"]));
    assert_eq!(folder.at(1001), ("a b".into(), false));
}

#[test]
fn while_a_file_has_never_made_sense_no_change_of_another_is_all_that_was_meant() {
    let broken = "[[service]]\nhost = \n";
    let mut folder = Folder::of(&[("a.toml", &services(&["a", "b"])), ("b.toml", broken)]);
    folder.at(0);
    folder.write("a.toml", &services(&["a"]));
    assert_eq!(folder.at(1000), ("a".into(), false));
    folder.write("b.toml", &services(&["c"]));
    assert_eq!(folder.at(1001), ("a c".into(), true));
    // What it said stays, so nothing is missing.
    folder.write("b.toml", broken);
    folder.write("a.toml", "service = []\n");
    assert_eq!(folder.at(1002), ("c".into(), true));
    folder.write("c.toml", broken);
    folder.at(1003);
    folder.remove("c.toml");
    assert_eq!(folder.at(1004), ("c".into(), false), "nobody knows what it was to say");
}

/// Two namespaces have a service of one host: a mistake in one of them is none of the other's.
#[test]
fn services_of_one_host_are_told_apart_by_their_owners() {
    let owned = |namespace: &str, export_to: &str, port: u16| {
        format!(
            "[[service]]\nhost = 'db'\nnamespace = '{namespace}'\nexport_to = {export_to}\n\
             ports = [{{ port = {port}, protocol = 'tcp' }}]\n"
        )
    };
    let public = services(&["db"]);
    let mut folder = Folder::of(&[(
        "a.toml",
        &(public.clone() + &owned("shop", "['.']", 81) + &owned("bank", "['.']", 82)),
    )]);
    let in_force = |folder: &mut Folder| -> Vec<String> {
        let view = folder.last_good.look(&Config::new(folder.folder.path()), folder.start);
        let services = view.value.services().iter();
        services.map(|service| format!("{} {}", service.id(), service.ports[0].number)).collect()
    };
    let all = ["db 80", "db of namespace bank 82", "db of namespace shop 81"];
    assert_eq!(in_force(&mut folder), all);
    folder.write("a.toml", &(owned("shop", "['x y']", 83) + &public + &owned("bank", "['.']", 82)));
    assert_eq!(in_force(&mut folder), all, "its own last good version stays");
    folder.write("a.toml", &(owned("shop", "['.']", 83) + &public + &owned("shop", "['bank']", 84)));
    assert_eq!(
        in_force(&mut folder),
        ["db 80", "db of namespace shop 83"],
        "a namespace has one of each host"
    );
}

/// Of one that was never read, there is no last good content that could stay.
#[test]
fn files_of_which_nothing_is_in_force_are_told_from_those_that_broke_later() {
    let mut folder = Folder::of(&[("a.toml", "= no TOML"), ("b.toml", &services(&["b"]))]);
    let unread = |folder: &mut Folder| -> Vec<String> {
        let view = folder.last_good.look(&Config::new(folder.folder.path()), folder.start);
        assert!(!view.troubles.is_empty());
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        view.unread.iter().map(name).collect()
    };
    assert_eq!(unread(&mut folder), ["a.toml"]);
    folder.write("a.toml", &services(&["a"]));
    folder.at(0);
    folder.write("a.toml", "= no TOML");
    assert_eq!(unread(&mut folder), [""; 0]);
    let mut gone = Folder::of(&[]);
    assert_eq!(unread(&mut gone).len(), 1, "a folder without files has said nothing");
}
