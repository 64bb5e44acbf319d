//! `pilot register` and `pilot deregister`: what is refused before anything is written.

use super::{CONFIG, SERVICES, folder, pilot, stderr, stdout};

#[test]
fn registering_says_what_can_be_registered_in() {
    let folder = folder(CONFIG, SERVICES);
    let instance = ["--service", "payments.mesh", "--port", "8080"];
    for (arguments, said) in [
        (
            vec!["register"],
            "no registry of pilot.toml can be written to: expected one of kind consul or etcd",
        ),
        (vec!["register", "--registry", "local"], "local is of kind file, which cannot be written to"),
        (vec!["register", "--registry", "east"], "there is no [registry.east]"),
    ] {
        let output = pilot(folder.path(), &[], &[arguments.as_slice(), &instance].concat());
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
        assert_eq!((stdout(&output), output.status.code()), ("", Some(2)), "{arguments:?}");
    }
    let output = pilot(folder.path(), &[], &["deregister", "--service", "payments.mesh", "--id", "one"]);
    assert!(stderr(&output).contains("expected one of kind consul or etcd"), "{output:?}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn without_pilot_toml_it_is_said_which_line_of_it_names_a_registry_that_can_be_written_to() {
    let empty = tempfile::tempdir().unwrap();
    for verb in [
        ["register", "--service", "payments", "--port", "8080"],
        ["deregister", "--service", "payments", "--id", "one"],
    ] {
        let output = pilot(empty.path(), &[], &verb);
        let said = stderr(&output);
        let (before, lines) = said.trim_end().split_once(", like ").unwrap_or_else(|| panic!("{said}"));
        assert!(before.starts_with("error: pilot.toml: there is no such file"), "{said}");
        assert!(!said.contains("file.path") && output.status.code() == Some(2), "{said}");
        // Each line is all that it takes.
        for line in lines.split(" or ") {
            let folder = folder(line, SERVICES);
            let checked = pilot(folder.path(), &[], &["check"]);
            assert!(checked.status.success(), "{line}: {}", stdout(&checked));
        }
    }
}

#[test]
fn what_cannot_be_registered_is_refused_with_what_can() {
    let folder = folder(CONFIG, SERVICES);
    for (arguments, said) in [
        ("--port 8080", "--service"),
        ("--service a", "--port"),
        ("--service a --port 80/htp", "unknown protocol"),
        ("--service a --port 0", "expected 1 to 65535"),
        ("--service a --port 80 --address 0.0.0.0", "nothing can be sent to it"),
        ("--service a --port 80 --address box", "expected an IPv4 or IPv6 address"),
        ("--service a --port 80 --weight 0", "expected 1 to 1000000"),
        ("--service a --port 80 --label v2", "expected KEY=VALUE"),
        (
            "--service a --port 80 --check https://a/",
            "expected http://host:port/path, tcp, tcp:PORT or exec:",
        ),
        ("--service a --port 80 --check-interval 1s", "--check"),
        ("--service a --port 80 --ttl 10ms", "expected 1s to 1h"),
        ("--service a --port 80 --once --ttl 5s", "cannot be used with"),
        ("--service a --port 80 --once -- true", "cannot be used with"),
    ] {
        let arguments: Vec<&str> = ["register"].into_iter().chain(arguments.split(' ')).collect();
        let output = pilot(folder.path(), &[], &arguments);
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
