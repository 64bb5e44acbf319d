//! `pilot serve`: what stops it at its start, and what it says of registries then.

use super::reload::Serve;
use super::{CONFIG, SERVICES, folder, pilot, stderr};

/// What cannot be kept is said before anything is served.
#[test]
fn a_state_folder_that_cannot_be_written_in_is_refused_with_its_key() {
    let config = format!("[state]\ndir = \"services.toml\"\n{CONFIG}");
    let folder = folder(&config, SERVICES);
    let output = pilot(folder.path(), &[], &["serve"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = stderr(&output);
    assert!(said.contains("pilot.toml:2:7: state.dir: services.toml cannot be written in ("), "{said}");
    assert!(said.contains("expected a folder of pilot's own"), "{said}");
}

#[test]
fn a_port_that_cannot_be_listened_on_is_told_its_own_cure() {
    let folder = folder(CONFIG, SERVICES);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (listen, said, not_said) in [
        (taken.as_str(), "is another pilot running?", "CAP_NET_BIND_SERVICE"),
        ("192.0.2.1:18000", "192.0.2.1 is no address of this machine", "another pilot"),
    ] {
        let output = pilot(folder.path(), &[], &["serve", "--set", &format!("xds.listen={listen}")]);
        let words = stderr(&output);
        assert!(words.contains(said) && !words.contains(not_said) && words.contains("xds.listen"), "{words}");
        assert_eq!(output.status.code(), Some(1), "{words}");
    }
}

/// As `pilot check` says it.
#[tokio::test]
async fn a_path_that_leads_to_nothing_is_told_with_its_registry_and_key() {
    let mut serve = Serve::start("[registry.local.file]\npath = \"service.toml\"\n").await;
    serve
        .says(
            "WARN registry{table=\"registry.local.file\"}: pilot_registry_file::source: nothing of it was read since \
             pilot started: it is read again when it changes key=\"path\" problem=\"service.toml: cannot be read: it \
             does not exist; did you mean services.toml?\"",
        )
        .await;
}

/// Also where another thread reads the files.
#[tokio::test]
async fn a_file_that_is_read_again_is_told_with_its_registry() {
    let mut serve = Serve::start(CONFIG).await;
    serve.says("registry has answered registry=\"local\"").await;
    std::fs::write(serve.folder.path().join("services.toml"), "service = []\n").unwrap();
    serve
        .says(
            "INFO registry{table=\"registry.local.file\"}: pilot_registry_file::last_good: the file has changed and is \
             read again file=services.toml",
        )
        .await;
}
