//! README.md says what is so: its snippets are loaded and run, and what it names is there.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

#[path = "support"]
#[allow(dead_code, reason = "each test uses a part")]
mod support {
    pub(crate) mod http;
    pub(crate) mod loopback;
    pub(crate) mod shell;
    pub(crate) mod snippets;
    pub(crate) mod tools;
    pub(crate) mod wait;
}

use support::shell::Shell;
use support::snippets::Snippet;
use support::tools;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

fn snippets() -> Vec<Snippet> {
    support::snippets::snippets("README.md")
}

/// The snippets that are files of services, and those that are pilot.toml.
fn files() -> (Vec<Snippet>, Vec<Snippet>) {
    let files = snippets().into_iter().filter(|it| it.language == "toml" || it.language == "yaml");
    files.partition(|it| it.text.contains("[[service]]") || it.text.starts_with("service:"))
}

/// A folder in which the README's commands are: those that are not on every machine are stand-ins. `envoy`
/// is there if it is given.
fn shell(envoy: Option<&Path>) -> Shell {
    let shell = Shell::new();
    let client = "test \"$1\" = xds:///catalog.local:9070 && grep -q xds_servers \"$GRPC_XDS_BOOTSTRAP\"";
    shell.script("my-client", client);
    // Built already; and a demo that ends.
    let demo = "test \"$1 $2 $3\" = 'run --release --' && shift 3 && exec pilot \"$@\" --duration 2s";
    shell.script("cargo", demo);
    if let Some(envoy) = envoy {
        shell.envoy(envoy);
    }
    shell.copy("examples/services.toml");
    shell
}

/// Waits until there is what curl would get.
async fn answers(shell: &Shell, host: &str, url: &str) {
    let (server, path) = url.strip_prefix("http://127.0.0.1:").unwrap().split_once('/').unwrap();
    let server = SocketAddr::from((shell.address(), server.parse().unwrap()));
    support::wait::until(url, async || support::http::body(server, host, &format!("/{path}")).await).await;
}

#[tokio::test]
async fn commands_do_what_they_are_there_for() {
    let envoy = tools::envoy();
    let mut shell = shell(envoy.as_deref());
    let (services, configs) = files();
    shell.write("pilot.toml", &configs[0].text);
    shell.write_moved("services.toml", &services[0].text);
    let sh = snippets().into_iter().filter(|it| it.language == "sh");
    let lines: Vec<String> =
        sh.flat_map(|it| it.text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        let command = line.split_whitespace().next().unwrap_or("#");
        match command {
            // It runs this test.
            "tests/run" => {
                assert!(fs::metadata(root().join(&line)).unwrap().permissions().mode() & 0o111 != 0)
            }
            "cargo" | "envoy" if envoy.is_none() => {}
            "curl" if line.contains("Host:") => {
                assert!(line.starts_with("curl -H 'Host: reviews.local' http"), "{line}");
                if envoy.is_some() {
                    answers(&shell, "reviews.local", line.rsplit(' ').next().unwrap()).await;
                }
            }
            "curl" => answers(&shell, "localhost", line.split_whitespace().nth(1).unwrap()).await,
            "python3" => {
                shell.spawn(&line);
                let port = line.split_whitespace().nth(3).unwrap();
                answers(&shell, "localhost", &format!("http://127.0.0.1:{port}/")).await;
            }
            "envoy" => shell.spawn(&line),
            "pilot" if line == "pilot serve" => {
                shell.spawn(&line);
                answers(&shell, "localhost", "http://127.0.0.1:18080/readyz").await;
            }
            _ => {
                shell.succeeds(&line);
            }
        }
    }
    assert_eq!(shell.servers(), if envoy.is_some() { 4 } else { 3 }, "the README serves");
}

#[test]
fn files_are_in_order() {
    let (services, configs) = files();
    assert!(services.len() >= 2 && !configs.is_empty());
    let shell = shell(None);
    for snippet in &services {
        shell.write(&format!("services.{}", snippet.language), &snippet.text);
        shell.write("pilot.toml", &format!("registry.local.file.path = 'services.{}'", snippet.language));
        shell.succeeds("pilot check");
    }
    for snippet in &configs {
        shell.write("pilot.toml", &snippet.text);
        shell.succeeds("pilot check");
    }
}

#[test]
fn snippets_are_of_kinds_that_are_checked() {
    for Snippet { language, text } in snippets() {
        assert!(["sh", "toml", "yaml", "text"].contains(&language.as_str()), "{language:?}: {text}");
    }
}

#[test]
fn every_key_of_a_services_file_and_every_verb_is_shown() {
    let (services, _) = files();
    let shown: String = services.iter().map(|it| it.text.as_str()).collect();
    let shell = shell(None);
    let schema: Value = serde_json::from_slice(&shell.run("pilot schema services").stdout).unwrap();
    for definition in ["Service", "Port", "Endpoint"] {
        let keys = schema["$defs"][definition]["properties"].as_object().unwrap();
        for key in keys.keys() {
            assert!(shown.contains(&format!("{key} = ")), "README.md shows no {key} of {definition}");
        }
    }
    let help = String::from_utf8(shell.run("pilot --help").stdout).unwrap();
    let verbs = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let verbs = verbs.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    for verb in verbs.filter(|verb| *verb != "help") {
        let shown = ["pilot ", "-- "].iter().any(|before| readme().contains(&format!("{before}{verb}")));
        assert!(shown, "README.md does not show pilot {verb}");
    }
}

#[test]
fn links_lead_somewhere() {
    let examples = ["consul", "etcd", "kubernetes", "migration"].map(|it| format!("examples/{it}/README.md"));
    for file in ["README.md", "examples/README.md"].iter().map(ToString::to_string).chain(examples) {
        let path = root().join(&file);
        let text = fs::read_to_string(&path).unwrap();
        let links: Vec<&str> = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
        assert!(!links.is_empty());
        for link in links.iter().filter(|link| !link.starts_with("https://")) {
            let link = link.split('#').next().unwrap();
            let target: PathBuf = path.parent().unwrap().join(link);
            assert!(target.exists(), "{file} links to {link}");
        }
    }
}
