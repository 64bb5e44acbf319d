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

/// A page of an example, and what following it needs.
struct Page<'a> {
    folder: &'a str,
    name: &'a str,
    /// Programs on PATH, beside pilot and an Envoy.
    tools: &'a [PathBuf],
    /// Files of the folder that the page uses.
    files: &'a [&'a str],
    /// How many servers it starts.
    servers: usize,
}

/// Follows a page, in its folder. What the page shows of an output is what comes.
async fn follow(page: Page<'_>) {
    let Some(envoy) = tools::envoy() else { return };
    let mut shell = Shell::new();
    for program in ["curl", "python3"] {
        if !shell.run(&format!("command -v {program}")).status.success() {
            return tools::skipped(&format!("{program} is needed"));
        }
    }
    shell.envoy(&envoy);
    page.tools.iter().for_each(|tool| shell.link(tool));
    shell.copy("examples/backend.py");
    page.files.iter().for_each(|file| shell.copy(&format!("{}/{file}", page.folder)));
    shell.enter(page.folder);
    let blocks = snippets(&format!("{}/{}", page.folder, page.name));
    let shown = |n: usize| blocks.get(n + 1).filter(|it| it.language == "text").map(|it| it.text.as_str());
    let mut typed = Typed { shell, jobs: Vec::new() };
    for (n, Snippet { text, .. }) in blocks.iter().enumerate().filter(|(_, it)| it.language == "sh") {
        for line in text.lines() {
            typed.enter(line, shown(n)).await;
        }
    }
    assert_eq!(typed.shell.servers(), page.servers, "the page starts that many servers");
}

/// What was typed so far.
struct Typed {
    shell: Shell,
    /// The servers that were started with "&".
    jobs: Vec<usize>,
}

impl Typed {
    /// Types a line: a server goes on, everything else is repeated until it succeeds as it is to.
    async fn enter(&mut self, line: &str, shown: Option<&str>) {
        let shell = &mut self.shell;
        let servers = ["consul agent ", "etcd ", "envoy ", "pilot serve", "./start.sh"];
        if line.ends_with(" &") {
            self.jobs.push(shell.servers());
            return shell.spawn(line);
        }
        if servers.iter().any(|server| line.starts_with(server)) {
            return shell.spawn(line);
        }
        if line == "kill $(jobs -p)" {
            return self.jobs.drain(..).for_each(|n| shell.interrupt(n));
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
}

fn consul() -> Option<PathBuf> {
    tool("PILOT_TEST_CONSUL", "a real Consul")
}

fn etcd() -> Option<[PathBuf; 2]> {
    tool("PILOT_TEST_ETCD", "a real etcd")
        .map(|folder| ["etcd", "etcdctl"].map(|program| folder.join(program)))
}

#[tokio::test]
async fn page_of_consul_is_as_it_says() {
    let Some(consul) = consul() else { return };
    let files = ["pilot.toml", "register.sh"];
    follow(Page {
        folder: "examples/consul",
        name: "README.md",
        tools: &[consul],
        files: &files,
        servers: 6,
    })
    .await;
}

#[tokio::test]
async fn page_of_etcd_is_as_it_says() {
    let Some(etcd) = etcd() else { return };
    let files = ["pilot.toml", "register.sh"];
    follow(Page { folder: "examples/etcd", name: "README.md", tools: &etcd, files: &files, servers: 6 })
        .await;
}

/// All of the bookstore but its pages.
const BOOKSTORE: [&str; 18] = [
    "pilot.toml",
    "etcd.toml",
    "consul.toml",
    "services.toml",
    "service.py",
    "start.sh",
    "steps/00-versions.yaml",
    "steps/01-one-version.yaml",
    "steps/02-user.yaml",
    "steps/03-mirror.yaml",
    "steps/04-shift.yaml",
    "steps/05-delay.yaml",
    "steps/06-abort.yaml",
    "steps/07-retry.yaml",
    "steps/08-timeout.yaml",
    "steps/09-circuit.yaml",
    "steps/10-source.yaml",
    "steps/11-sticky.yaml",
];

#[tokio::test]
async fn page_of_the_bookstore_is_as_it_says() {
    let page =
        Page { folder: "examples/bookstore", name: "README.md", tools: &[], files: &BOOKSTORE, servers: 4 };
    follow(page).await;
}

#[tokio::test]
async fn page_of_the_bookstore_in_etcd_is_as_it_says() {
    let Some(etcd) = etcd() else { return };
    let page =
        Page { folder: "examples/bookstore", name: "etcd.md", tools: &etcd, files: &BOOKSTORE, servers: 4 };
    follow(page).await;
}

#[tokio::test]
async fn page_of_the_bookstore_in_consul_is_as_it_says() {
    let Some(consul) = consul() else { return };
    let tools = [consul];
    let page = Page {
        folder: "examples/bookstore",
        name: "consul.md",
        tools: &tools,
        files: &BOOKSTORE,
        servers: 4,
    };
    follow(page).await;
}
