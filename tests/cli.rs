//! The command line, as a user meets it: the real binary, its output and its exit codes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "cli/check.rs"]
mod check;

use std::path::Path;
use std::process::{Command, Output};

#[path = "support"]
#[allow(dead_code, reason = "each test uses a part")]
mod support {
    pub(crate) mod process;
    pub(crate) mod wait;
}

#[path = "cli/reload.rs"]
mod reload;

use serde_json::{Value, json};

const SERVICES: &str = r#"
[[service]]
host = "reviews.local"
ports = [{ port = 9080, protocol = "http" }]
endpoints = [{ address = "127.0.0.1:9181" }, { address = "127.0.0.1:9182", weight = 2 }]
"#;

const CONFIG: &str = "[registry.local.file]\npath = \"services.toml\"\n";

fn pilot(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilot"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PILOT_")) {
        command.env_remove(name);
    }
    for name in
        ["CONSUL_HTTP_ADDR", "CONSUL_HTTP_TOKEN", "CONSUL_HTTP_SSL", "ETCDCTL_ENDPOINTS", "KUBECONFIG"]
    {
        command.env_remove(name);
    }
    command.current_dir(folder).args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn folder(config: &str, services: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pilot.toml"), config).unwrap();
    std::fs::write(folder.path().join("services.toml"), services).unwrap();
    folder
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn check_says_what_it_found() {
    let folder = folder(CONFIG, SERVICES);
    let output = pilot(folder.path(), &[], &["check"]);
    assert_eq!(
        stdout(&output),
        "REGISTRY  KIND  PRIORITY  SERVICES  ENDPOINTS\n\
         local     file  0         1         2\n\n\
         pilot.toml is in order: 1 registry, 1 service, 2 endpoints\n"
    );
    assert_eq!((stderr(&output), output.status.code()), ("", Some(0)));
}

/// What `serve` would refuse is refused.
#[test]
fn check_says_that_nothing_can_be_kept_on_disk() {
    let folder = folder(&format!("{CONFIG}[state]\ndir = \"services.toml\"\n"), SERVICES);
    for verb in ["check", "serve"] {
        let output = pilot(folder.path(), &[], &[verb]);
        let shown = format!("{}{}", stdout(&output), stderr(&output));
        assert!(shown.contains("state.dir") && shown.contains("expected a folder of pilot's own"), "{shown}");
        assert_eq!(output.status.code(), Some(2), "{verb}");
    }
}

#[test]
fn check_shows_every_problem_as_a_table() {
    let folder =
        folder("[xds]\nlisen = 1\n[admin]\nlisten = 5\n[registry.local.file]\npath = \"x\"\n", SERVICES);
    let output = pilot(folder.path(), &[], &["check"]);
    assert_eq!(
        stdout(&output),
        "PLACE            KEY           PROBLEM\n\
         pilot.toml:2:1   xds.lisen     unknown key: did you mean \"listen\"?\n\
         pilot.toml:4:10  admin.listen  5 does not fit: expected a string, like \"127.0.0.1:18080\"\n\n\
         2 problems in pilot.toml\n"
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn check_shows_problems_to_programs() {
    let folder = folder("[xds]\nlisen = 1\n[registry.local.file]\npath = \"x\"\n", SERVICES);
    let output = pilot(folder.path(), &[], &["check", "-o", "json"]);
    let expected = json!({
        "ok": false,
        "config": "pilot.toml",
        "registries": [],
        "problems": [{
            "file": "pilot.toml", "line": 2, "column": 1, "key": "xds.lisen",
            "message": "unknown key: did you mean \"listen\"?",
        }],
        "warnings": [],
    });
    assert_eq!(serde_json::from_str::<Value>(stdout(&output)).unwrap(), expected);
    assert_eq!(output.status.code(), Some(2));

    let yaml = pilot(folder.path(), &[], &["check", "-o", "yaml"]);
    assert!(stdout(&yaml).contains("ok: false\n"), "{}", stdout(&yaml));
}

#[test]
fn check_looks_into_services_files() {
    let folder = folder(CONFIG, &SERVICES.replace("\"http\"", "\"htp\""));
    let output = pilot(folder.path(), &[], &["check", "-o", "json"]);
    let report: Value = serde_json::from_str(stdout(&output)).unwrap();
    let problem = &report["problems"][0];
    assert!(problem["file"].as_str().unwrap().ends_with("services.toml"), "{problem}");
    assert_eq!(problem["line"], 4);
    assert!(problem["message"].as_str().unwrap().contains("htp"), "{problem}");
    assert_eq!(output.status.code(), Some(2));
}

/// What `serve` would decide is said, and is nothing to stop for.
#[test]
fn check_warns_of_what_services_and_registries_disagree_about() {
    let config = format!("{CONFIG}[registry.other.file]\npath = \"other.toml\"\n");
    let folder = folder(&config, SERVICES);
    let other = SERVICES.replace("\"http\"", "\"tcp\"");
    let clash =
        other.replace("reviews.local", "ratings.local").replace("9181", "9183").replace("9182", "9184");
    std::fs::write(folder.path().join("other.toml"), other + &clash).unwrap();
    let output = pilot(folder.path(), &[], &["check", "-o", "json"]);
    let report: Value = serde_json::from_str(stdout(&output)).unwrap();
    let warnings = [
        "reviews.local: protocol of port 9080: registry local says http, registry other says tcp, \
         local decides: of equal priority, its name comes first",
        "reviews.local cannot be reached at 127.0.0.1:9080: ratings.local has it (only HTTP services can share \
         a port; the first in the alphabet wins): give one of them another port",
    ];
    let places = [("services.toml", 3), ("services.toml", 3)];
    let expected: Vec<Value> = warnings
        .iter()
        .zip(places)
        .map(|(message, (file, line))| json!({ "file": file, "line": line, "column": 8, "message": message }))
        .collect();
    assert_eq!(report["warnings"], json!(expected));
    assert_eq!((&report["ok"], output.status.code()), (&json!(true), Some(0)));
    let output = pilot(folder.path(), &[], &["check"]);
    assert!(warnings.iter().all(|warning| stdout(&output).contains(warning)), "{}", stdout(&output));
}

#[test]
fn check_misses_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let output = pilot(folder.path(), &[], &["check"]);
    assert!(stdout(&output).contains("there is no such file: --config or PILOT_CONFIG"), "{output:?}");
    assert_eq!(output.status.code(), Some(2));

    std::fs::write(folder.path().join("pilot.toml"), CONFIG).unwrap();
    let output = pilot(folder.path(), &[], &["check"]);
    assert!(stdout(&output).contains("services.toml"), "{output:?}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn flags_win_over_the_environment() {
    let folder = folder(CONFIG, SERVICES);
    let environment = [("PILOT_XDS_MAX_NAMES", "many")];
    let output = pilot(folder.path(), &environment, &["check"]);
    assert!(stdout(&output).contains("PILOT_XDS_MAX_NAMES"), "{output:?}");
    assert_eq!(output.status.code(), Some(2));
    let output = pilot(folder.path(), &environment, &["check", "--set", "xds.max_names=7"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn adapters_refuse_with_line_and_column() {
    let folder = folder("[registry.local.file]\npath = \"\"\n", SERVICES);
    let output = pilot(folder.path(), &[], &["check", "-o", "json"]);
    let report: Value = serde_json::from_str(stdout(&output)).unwrap();
    let problem = &report["problems"][0];
    assert_eq!(problem["key"], "registry.local.file.path", "{report}");
    assert_eq!((&problem["line"], &problem["column"]), (&json!(2), &json!(8)));
}

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

#[test]
fn the_log_has_a_short_variable() {
    let folder = folder(CONFIG, SERVICES);
    let output = pilot(folder.path(), &[("PILOT_LOG", "inof")], &["check"]);
    assert!(stdout(&output).contains("PILOT_LOG") && stdout(&output).contains("log.filter"), "{output:?}");
    let both = [("PILOT_LOG", "inof"), ("PILOT_LOG_FILTER", "debug")];
    assert_eq!(pilot(folder.path(), &both, &["check"]).status.code(), Some(0));
    let flag = pilot(folder.path(), &[("PILOT_LOG", "inof")], &["check", "--log", "warn"]);
    assert_eq!((flag.status.code(), stderr(&flag)), (Some(0), ""));
}

#[test]
fn check_names_the_variables_of_other_tools_that_it_used_and_shows_no_token() {
    let folder = folder("[registry.east.consul]\n", SERVICES);
    let environment = [("CONSUL_HTTP_ADDR", "10.0.0.9:8500"), ("CONSUL_HTTP_TOKEN", "s3cret")];
    let output = pilot(folder.path(), &environment, &["check"]);
    assert!(
        stdout(&output).starts_with(
            "VARIABLE           KEY                             VALUE\n\
             CONSUL_HTTP_ADDR   registry.east.consul.address    http://10.0.0.9:8500\n\
             CONSUL_HTTP_TOKEN  registry.east.consul.token_env  CONSUL_HTTP_TOKEN\n"
        ),
        "{output:?}"
    );
    assert!(!format!("{output:?}").contains("s3cret"), "{output:?}");
    let wrong = pilot(folder.path(), &[("CONSUL_HTTP_ADDR", "http://c/v1")], &["check"]);
    assert!(
        stdout(&wrong).contains("CONSUL_HTTP_ADDR") && stdout(&wrong).contains("it has a path"),
        "{wrong:?}"
    );
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

#[test]
fn a_bootstrap_says_what_is_not_right_everywhere() {
    let folder = folder(CONFIG, SERVICES);
    let listen = [("PILOT_XDS_LISTEN", "0.0.0.0:18000")];
    let output = pilot(folder.path(), &listen, &["bootstrap"]);
    assert!(
        stdout(&output).contains("address: 127.0.0.1") || stdout(&output).contains("address: \"127.0.0.1\"")
    );
    assert!(stderr(&output).starts_with("warning: pilot listens on all addresses"), "{output:?}");
    assert!(stderr(&output).contains("--xds-address"), "{output:?}");
    let output = pilot(folder.path(), &listen, &["bootstrap", "--xds-address", "10.0.0.9:18000"]);
    assert_eq!(stderr(&output), "");
    let id = ["bootstrap", "--node-id", "ingress~10.0.0.9~edge~mesh"];
    let output = pilot(folder.path(), &[], &id);
    assert_eq!(
        stderr(&output),
        "warning: the role ingress is not served yet: it is told the same as a sidecar\n"
    );
    assert!(output.status.success() && !stdout(&output).is_empty());
}

#[test]
fn a_bootstrap_names_all_replicas() {
    let folder = folder(CONFIG, SERVICES);
    for flags in
        [vec!["--xds-address", "a:1,[::1]:2"], vec!["--xds-address", "a:1", "--xds-address", "[::1]:2"]]
    {
        let output = pilot(folder.path(), &[], &[&["bootstrap", "-o", "json"][..], &flags].concat());
        let bootstrap: Value = serde_json::from_str(stdout(&output)).unwrap();
        let cluster = &bootstrap["static_resources"]["clusters"][0];
        let endpoints = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"].as_array().unwrap();
        let address = |at: usize| &endpoints[at]["endpoint"]["address"]["socket_address"];
        assert_eq!(address(0), &json!({ "address": "a", "port_value": 1 }));
        assert_eq!(address(1), &json!({ "address": "::1", "port_value": 2 }));
        assert_eq!(endpoints.len(), 2);
    }
    let output = pilot(folder.path(), &[], &["bootstrap", "--xds-address", "a:1,::1:2"]);
    assert!(stderr(&output).contains("\"::1:2\"") && stderr(&output).contains("in brackets"), "{output:?}");
    let output = pilot(folder.path(), &[], &["bootstrap", "--xds-address", "http://a:1"]);
    assert!(stderr(&output).contains("it has a scheme: leave out http://"), "{output:?}");
}
