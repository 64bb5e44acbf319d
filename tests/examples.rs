//! The examples do what they say: they are built, run and asked.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::PathBuf;
use std::process::Stdio;

use pilot_registry_testkit::server::tool;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

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

use support::http;
use support::loopback::own_address;
use support::shell::Shell;
use support::snippets::{Snippet, snippets};
use support::tools;
use support::wait::{PATIENCE, holds, until};

/// Builds an example, as `cargo test` for one test alone does not, and tells where it is.
async fn example(name: &str) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--workspace", "--example", name]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().await.unwrap();
    assert!(built.success(), "{name} does not build");
    let deps = std::env::current_exe().unwrap();
    deps.parent().unwrap().parent().unwrap().join("examples").join(name)
}

async fn accepted(platform: &TcpListener) -> TcpStream {
    timeout(PATIENCE, platform.accept()).await.expect("the registry connects").unwrap().0
}

fn start(example: &PathBuf, arguments: [String; 3]) -> Child {
    let mut command = Command::new(example);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().unwrap()
}

#[tokio::test]
async fn registry_of_ones_own_is_followed() {
    let example = example("custom_registry").await;
    let address = own_address();
    let (xds, admin) = ((address, 18000).into(), (address, 18080).into());
    let platform = TcpListener::bind((address, 7000)).await.unwrap();
    let places: [std::net::SocketAddr; 3] = [platform.local_addr().unwrap(), xds, admin];
    let mut child = start(&example, places.map(|place| place.to_string()));
    let debug = async |path: &str| {
        let body = http::body(admin, "localhost", path).await?;
        serde_json::from_str::<Value>(&body).map_err(|error| format!("{path}: {error}: {body}"))
    };
    let hosts = async || {
        let report = debug("/debug/services").await?;
        let services = report["services"].as_array().ok_or(format!("no services: {report}"))?;
        Ok::<Vec<_>, String>(services.iter().map(|it| it["host"].as_str().unwrap().to_owned()).collect())
    };
    let knows = async |expected: &[&str]| {
        until(&format!("it knows {expected:?}"), async || {
            let hosts = hosts().await?;
            holds(hosts == expected, format!("{hosts:?}"))
        })
        .await;
    };

    let mut stream = accepted(&platform).await;
    stream.write_all(b"reviews.local 127.0.0.1:9181\nreviews.local [::1]:9182\nnonsense\n.\n").await.unwrap();
    knows(&["reviews.local"]).await;
    let registries = debug("/debug/registries").await.unwrap().to_string();
    assert!(registries.contains("nonsense") && registries.contains("expected a host"), "{registries}");

    // A list that is not whole is not published, and what was known outlives the connection.
    stream.write_all(b"ratings.local 127.0.0.1:9183\n").await.unwrap();
    drop(stream);
    let mut stream = accepted(&platform).await;
    knows(&["reviews.local"]).await;
    stream.write_all(b"ratings.local 127.0.0.1:9183\n.\n").await.unwrap();
    knows(&["ratings.local"]).await;

    let interrupted = Command::new("kill").args(["-INT", &child.id().unwrap().to_string()]).status().await;
    assert!(interrupted.unwrap().success());
    let ended = timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
    assert!(ended.success(), "{ended}");
}

/// Follows the page of an example, in its folder, with these tools on PATH. What the page shows of an output
/// is what comes.
async fn follow(folder: &str, tools: &[PathBuf]) {
    let Some(envoy) = tools::envoy() else { return };
    let mut shell = Shell::new();
    for program in ["curl", "python3"] {
        if !shell.run(&format!("command -v {program}")).status.success() {
            return tools::skipped(&format!("{program} is needed"));
        }
    }
    shell.envoy(&envoy);
    tools.iter().for_each(|tool| shell.link(tool));
    shell.copy("examples/backend.py");
    ["pilot.toml", "register.sh"].iter().for_each(|file| shell.copy(&format!("{folder}/{file}")));
    shell.enter(folder);
    let page = snippets(&format!("{folder}/README.md"));
    let shown = |n: usize| page.get(n + 1).filter(|it| it.language == "text").map(|it| it.text.as_str());
    for (n, Snippet { text, .. }) in page.iter().enumerate().filter(|(_, it)| it.language == "sh") {
        for line in text.lines() {
            enter(&mut shell, line, shown(n)).await;
        }
    }
    assert_eq!(shell.servers(), 6, "the page starts a registry, three backends, pilot and Envoy");
}

/// Types a line: a server goes on, everything else is repeated until it succeeds as it is to.
async fn enter(shell: &mut Shell, line: &str, shown: Option<&str>) {
    let serves = ["consul ", "etcd ", "envoy ", "pilot serve"].iter().any(|server| line.starts_with(server));
    if serves || line.ends_with(" &") {
        return shell.spawn(line);
    }
    if line == "kill $(jobs -p)" {
        // Those that the page has started with "&" came after the registry and before pilot.
        return (1..=3).for_each(|n| shell.interrupt(n));
    }
    let ends = line == "pilot registries";
    if ends {
        // What the page has made so far is in order: nothing is claimed twice.
        let services = shell.succeeds("pilot services");
        assert!(!services.contains("claimed"), "{services}");
        // The page says so above this line.
        shell.interrupt(0);
    }
    until(line, async || {
        let output = shell.run(line);
        let [said, errors] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
        let expected = match shown {
            Some(shown) => said == shown,
            None if ends => said.contains("degraded"),
            None => output.status.success(),
        };
        holds(expected, format!("{}: {said}{errors}", output.status))
    })
    .await;
}

#[tokio::test]
async fn page_of_consul_is_as_it_says() {
    let Some(consul) = tool("PILOT_TEST_CONSUL", "a real Consul") else { return };
    follow("examples/consul", &[consul]).await;
}

#[tokio::test]
async fn page_of_etcd_is_as_it_says() {
    let Some(etcd) = tool("PILOT_TEST_ETCD", "a real etcd") else { return };
    follow("examples/etcd", &[etcd.join("etcd"), etcd.join("etcdctl")]).await;
}
