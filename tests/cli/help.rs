//! What every verb has: help, suggestions, completions, schemas, the version.

use serde_json::{Value, json};

use super::{CONFIG, SERVICES, folder, pilot, stderr, stdout};

#[test]
fn schemas_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, title) in [(vec!["schema"], "pilot.toml"), (vec!["schema", "config"], "pilot.toml")] {
        let output = pilot(folder.path(), &[], &arguments);
        let schema: Value = serde_json::from_str(stdout(&output)).unwrap();
        assert_eq!(schema["title"], title);
    }
    let output = pilot(folder.path(), &[], &["schema", "services"]);
    let schema: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["$id"].is_string() && schema["title"].is_string(), "{schema}");
    assert!(schema.to_string().contains("\"endpoints\""));
    for (value, field) in [("etcd-service", "virtual_addresses"), ("etcd-instance", "locality")] {
        let output = pilot(folder.path(), &[], &["schema", value]);
        let schema: Value = serde_json::from_str(stdout(&output)).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["properties"][field].is_object() && schema["title"].is_string(), "{schema}");
    }
}

#[test]
fn completions_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = pilot(folder.path(), &[], &["completions", shell]);
        assert!(stdout(&output).contains("pilot") && stdout(&output).contains("schema"), "{shell}");
        assert_eq!(output.status.code(), Some(0), "{shell}");
    }
}

#[test]
fn unknown_input_gets_a_suggestion() {
    let folder = folder(CONFIG, SERVICES);
    for (arguments, suggestion) in [
        (vec!["chek"], "'check'"),
        (vec!["check", "--confg", "x"], "'--config'"),
        (vec!["check", "-o", "jsn"], "'json'"),
        (vec!["schema", "service"], "'services'"),
        (vec!["check", "--set", "push.quiet"], "KEY=VALUE"),
    ] {
        let output = pilot(folder.path(), &[], &arguments);
        assert!(stderr(&output).contains(suggestion), "{arguments:?}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_verb_that_is_like_no_other_is_refused_with_all_there_are() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, verbs) in [(vec!["status"], true), (vec!["registries", "a", "b"], false)] {
        let output = pilot(folder.path(), &[], &arguments);
        let listed = stderr(&output).contains("expected one of serve, demo, check, ");
        assert_eq!((listed, output.status.code()), (verbs, Some(2)), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn the_demo_has_services_of_its_own_in_any_folder() {
    let folder = tempfile::tempdir().unwrap();
    let output = pilot(folder.path(), &[], &["demo", "--envoy", "no-envoy-here"]);
    assert!(stderr(&output).contains("no-envoy-here"), "{output:?}");
    let output = pilot(folder.path(), &[], &["demo", "--services", "gone.toml"]);
    assert_eq!(stderr(&output), "error: gone.toml: there is no such file\n");
}

#[test]
fn every_verb_explains_itself_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    let help = pilot(folder.path(), &[], &["--help"]);
    let verbs = stdout(&help).split("Commands:").nth(1).unwrap().split("Options:").next().unwrap().to_owned();
    // What is said of a verb may go on in further lines, which begin with more spaces.
    let verbs =
        verbs.lines().filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let verbs = verbs.filter_map(|line| line.split_whitespace().next());
    for verb in verbs.filter(|verb| *verb != "help") {
        let output = pilot(folder.path(), &[], &[verb, "--help"]);
        assert!(stdout(&output).contains("Example"), "{verb}: {}", stdout(&output));
    }
}

#[test]
fn verbs_have_the_names_that_hands_expect() {
    let folder = folder(CONFIG, SERVICES);
    for (alias, verb) in
        [("validate", "check"), ("proxy-status", "proxies"), ("ps", "proxies"), ("proxy-config", "config")]
    {
        let helps = [alias, verb].map(|name| pilot(folder.path(), &[], &[name, "--help"]));
        assert_eq!(stdout(&helps[0]), stdout(&helps[1]), "{alias}");
        assert!(stdout(&pilot(folder.path(), &[], &["--help"])).contains(alias), "{alias}");
    }
    std::fs::rename(folder.path().join("pilot.toml"), folder.path().join("other.toml")).unwrap();
    let output = pilot(folder.path(), &[], &["validate", "-c", "other.toml"]);
    assert!(stdout(&output).contains("other.toml is in order"), "{output:?}");
}

#[test]
fn help_helps_with_itself_and_with_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        (vec!["help"], "Usage: pilot"),
        (vec!["help", "--help"], "Print this message, or the help of a command"),
        (vec!["help", "ps"], "Usage: pilot proxies"),
        (vec!["help", "registries", "release"], "Let go at once"),
        (vec!["help", "help"], "Print this message, or the help of a command"),
    ] {
        let output = pilot(folder.path(), &[], &arguments);
        assert!(stdout(&output).contains(said), "{arguments:?}: {output:?}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
    let output = pilot(folder.path(), &[], &["help", "chek"]);
    assert!(stderr(&output).contains("\"chek\" is no command: expected one of serve, "), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_version_is_told_though_no_server_answers() {
    let folder = folder(CONFIG, SERVICES);
    let own = env!("CARGO_PKG_VERSION");
    // Nothing listens at port 1.
    let admin = [("PILOT_ADMIN", "127.0.0.1:1")];
    let output = pilot(folder.path(), &admin, &["version"]);
    let table = format!(
        "COMPONENT  VERSION\nclient     {own}\nserver     unknown\n\nserver: pilot does not answer at 127.0.0.1:1"
    );
    assert!(stdout(&output).starts_with(&table), "{output:?}");
    assert_eq!(output.status.code(), Some(0));
    let output = pilot(folder.path(), &admin, &["version", "-o", "json"]);
    let report: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(report["client"], json!({ "version": own }));
    assert!(report["server"]["error"].as_str().unwrap().contains("does not answer"), "{report}");
    let output = pilot(folder.path(), &admin, &["version", "--client", "-o", "yaml"]);
    assert!(stdout(&output).contains(own) && !stdout(&output).contains("server"), "{output:?}");
}
