//! README.md and the first page of docs/ say what is so: a reader who types what they show gets what they say.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::SocketAddr;
use std::path::Path;

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
use support::snippets::{Snippet, snippets};
use support::tools;

/// The snippets that are files of services, and those that are pilot.toml.
fn files(page: &str) -> (Vec<Snippet>, Vec<Snippet>) {
    let files = snippets(page).into_iter().filter(|it| it.language == "toml");
    files.partition(|it| it.text.contains("[[service]]"))
}

/// A folder in which a page's commands are: those that are not on every machine are stand-ins. `envoy` is
/// there if it is given.
fn shell(envoy: Option<&Path>) -> Shell {
    let shell = Shell::new();
    let client = "test \"$1\" = xds:///users.localhost:9070 && grep -q xds_servers \"$GRPC_XDS_BOOTSTRAP\"";
    shell.script("my-client", client);
    // Built and installed already; and a demo that ends.
    let demo = "case \"$*\" in 'install --locked --path .') exit 0;; 'run --release -- '*) ;; *) exit 1;; esac\n\
                shift 3 && exec pilot \"$@\" --duration 2s";
    shell.script("cargo", demo);
    if let Some(envoy) = envoy {
        shell.envoy(envoy);
    }
    shell.copy("examples/services.toml");
    shell
}

/// Waits until there is what curl would get.
async fn answers(shell: &Shell, url: &str) {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let (host, port) = authority.split_once(':').unwrap();
    assert!(host == "127.0.0.1" || host.ends_with(".localhost"), "{host} is not this machine");
    let server = SocketAddr::from((shell.address(), port.parse().unwrap()));
    let host = if host == "127.0.0.1" { "localhost" } else { authority };
    support::wait::until(url, async || support::http::body(server, host, &format!("/{path}")).await).await;
}

/// Types a page's commands, each terminal's after those above. Gives how many servers run then.
async fn follow(page: &str, envoy: Option<&Path>) -> usize {
    let mut shell = shell(envoy);
    let (services, configs) = files(page);
    shell.write("pilot.toml", &configs[0].text);
    shell.write_moved("services.toml", &services[0].text);
    let sh = snippets(page).into_iter().filter(|it| it.language == "sh");
    let lines: Vec<String> =
        sh.flat_map(|it| it.text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(lines.len() > 8, "{lines:?}");
    for line in lines {
        let command = line.split_whitespace().next().unwrap_or("#");
        match command {
            "envoy" | "curl" if envoy.is_none() => {}
            // It needs an Envoy, too.
            "cargo" if envoy.is_none() && line.contains("demo") => {}
            "curl" => answers(&shell, line.split_whitespace().nth(1).unwrap()).await,
            "python3" => {
                shell.spawn(&line);
                let port = line.split_whitespace().nth(3).unwrap();
                answers(&shell, &format!("http://127.0.0.1:{port}/")).await;
            }
            "envoy" => shell.spawn(&line),
            "pilot" if line == "pilot serve" => {
                shell.spawn(&line);
                answers(&shell, "http://127.0.0.1:18080/readyz").await;
            }
            _ => {
                shell.succeeds(&line);
            }
        }
    }
    shell.servers()
}

#[tokio::test]
async fn readme_does_what_it_says() {
    let envoy = tools::envoy();
    let servers = follow("README.md", envoy.as_deref()).await;
    assert_eq!(servers, if envoy.is_some() { 3 } else { 2 }, "the README serves");
}

#[tokio::test]
async fn first_page_does_what_it_says() {
    let envoy = tools::envoy();
    let servers = follow("docs/getting-started.md", envoy.as_deref()).await;
    assert_eq!(servers, if envoy.is_some() { 4 } else { 3 }, "the page serves");
}

#[test]
fn files_of_readme_are_in_order() {
    let (services, configs) = files("README.md");
    assert!(!services.is_empty() && !configs.is_empty());
    let shell = shell(None);
    for Snippet { text, .. } in &services {
        shell.write("services.toml", text);
        for Snippet { text, .. } in &configs {
            shell.write("pilot.toml", text);
            shell.succeeds("pilot check");
        }
    }
}

/// The lines of pilot.toml in the table of registries.
#[test]
fn registries_of_readme_are_in_order() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let lines: Vec<&str> = readme.split('`').filter(|it| it.starts_with("registry.")).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for line in lines {
        pilot::config::parse("README.md", line, &Default::default(), &[]).unwrap();
    }
}

#[test]
fn snippets_of_readme_are_of_kinds_that_are_checked() {
    for Snippet { language, text } in snippets("README.md") {
        assert!(["sh", "toml", "text"].contains(&language.as_str()), "{language:?}: {text}");
    }
}
