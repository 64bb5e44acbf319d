//! The command line, as a user meets it: the real binary, its output and its exit codes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "cli/bootstrap.rs"]
mod bootstrap;
#[path = "cli/check.rs"]
mod check;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/registering.rs"]
mod registering;
#[path = "cli/reload.rs"]
mod reload;
#[path = "cli/serve.rs"]
mod serve;

use std::path::Path;
use std::process::{Command, Output};

#[path = "support"]
#[allow(dead_code, reason = "each test uses a part")]
mod support {
    pub(crate) mod process;
    pub(crate) mod wait;
}

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

#[test]
fn check_takes_the_folder_of_a_pilot_toml() {
    let folder = folder(CONFIG, SERVICES);
    let output = pilot(folder.path(), &[], &["check", "."]);
    assert!(
        stdout(&output).ends_with("pilot.toml is in order: 1 registry, 1 service, 2 endpoints\n"),
        "{output:?}"
    );
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
        "reviews.local cannot be reached at 127.0.0.1:9080: ratings.local has it (only HTTP services, or TLS services, can share \
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
fn the_log_has_a_short_variable() {
    let folder = folder(CONFIG, SERVICES);
    let output = pilot(folder.path(), &[("PILOT_LOG", "inof")], &["check"]);
    assert!(stdout(&output).contains("PILOT_LOG") && stdout(&output).contains("log.filter"), "{output:?}");
    let both = [("PILOT_LOG", "inof"), ("PILOT_LOG_FILTER", "debug")];
    assert_eq!(pilot(folder.path(), &both, &["check"]).status.code(), Some(0));
    let flag = pilot(folder.path(), &[("PILOT_LOG", "inof")], &["check", "--log", "warn"]);
    assert_eq!((flag.status.code(), stderr(&flag)), (Some(0), ""));
}

/// By whatever it was said: a flag, a variable, the file.
#[test]
fn a_part_of_the_log_filter_that_names_nothing_is_a_warning() {
    let folder = folder(CONFIG, SERVICES);
    let warning = "log.filter: nosuch=debug has no effect, because no module of pilot or of a library is called \
                   \"nosuch\": pilot's own are pilot, ";
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("xds.listen={}", taken.local_addr().unwrap());
    let serve = ["serve", "--set", &listen];
    for (variable, flag, place) in
        [("nosuch=debug,warn", "", "PILOT_LOG"), ("info", "info,nosuch=debug", "--log")]
    {
        let log: &[&str] = if flag.is_empty() { &[] } else { &["--log", flag] };
        let output = pilot(folder.path(), &[("PILOT_LOG", variable)], &[&serve, log].concat());
        let told = stderr(&output).matches(&format!("warning: {place}: {warning}")).count();
        assert_eq!(told, 1, "{output:?}");
        let output = pilot(folder.path(), &[("PILOT_LOG", variable)], &[&["check"], log].concat());
        assert!(stdout(&output).contains("nosuch=debug has no effect"), "{output:?}");
        assert_eq!(output.status.code(), Some(0));
    }
    let output = pilot(folder.path(), &[], &["check", "--log", "info,hyper=debug,pilot::xds=debug"]);
    assert!(!stdout(&output).contains("has no effect"), "{output:?}");
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
fn check_names_the_variables_of_other_tools_that_do_not_count() {
    let folder = folder("[registry.east.consul]\naddress = \"http://10.0.0.9:8500\"\n", SERVICES);
    let output = pilot(folder.path(), &[("CONSUL_HTTP_ADDR", "10.0.0.8:8500")], &["check"]);
    assert!(
        stdout(&output)
            .contains("CONSUL_HTTP_ADDR  -    it does not count: [registry.east.consul] has address"),
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(0));
}
