//! README.md says what is so: its snippets are loaded and run, and what it names is there.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

#[path = "support"]
#[allow(dead_code, reason = "each test uses a part")]
mod support {
    pub(crate) mod http;
    pub(crate) mod loopback;
    pub(crate) mod tools;
    pub(crate) mod wait;
}

use support::loopback::own_address;
use support::tools;

/// A fenced block.
struct Snippet {
    language: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

fn snippets() -> Vec<Snippet> {
    let text = readme();
    // Every other part is inside of a fence.
    let inside = text.split("```").skip(1).step_by(2);
    let snippet = |part: &str| {
        let (language, text) = part.split_once('\n').unwrap();
        Snippet { language: language.to_owned(), text: text.to_owned() }
    };
    inside.map(snippet).collect()
}

/// The snippets that are files of services, and those that are pilot.toml.
fn files() -> (Vec<Snippet>, Vec<Snippet>) {
    let files = snippets().into_iter().filter(|it| it.language == "toml" || it.language == "yaml");
    files.partition(|it| it.text.contains("[[service]]") || it.text.starts_with("service:"))
}

/// A folder in which the README's commands are: those that are not on every machine are stand-ins.
struct Shell {
    folder: TempDir,
    address: Ipv4Addr,
    servers: Vec<Child>,
}

impl Shell {
    /// `envoy` is there if it is given.
    fn new(envoy: Option<&Path>) -> Self {
        let address = own_address();
        let folder = TempDir::new().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_pilot"), bin.join("pilot")).unwrap();
        let script = |name: &str, text: &str| {
            let path = bin.join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        script(
            "my-client",
            "test \"$1\" = xds:///catalog.local:9070 && grep -q xds_servers \"$GRPC_XDS_BOOTSTRAP\"",
        );
        // Built already; and a demo that ends.
        script(
            "cargo",
            "test \"$1 $2 $3\" = 'run --release --' && shift 3 && exec pilot \"$@\" --duration 2s",
        );
        if let Some(envoy) = envoy {
            // Its admin pages too at the address of this test; without its shared memory, which a killed
            // Envoy would leave behind.
            let own = format!("sed -i s/127.0.0.1/{address}/ \"$2\"; set -- \"$@\" --disable-hot-restart");
            let envoy = format!("exec '{}' \"$@\"", envoy.display());
            script("envoy", &format!("if test \"$1\" = -c; then {own}; fi\n{envoy}"));
        }
        let shell = Self { folder, address, servers: Vec::new() };
        fs::create_dir(shell.folder.path().join("examples")).unwrap();
        let services = fs::read_to_string(root().join("examples/services.toml")).unwrap();
        shell.write("examples/services.toml", &services.replace("127.0.0.1", &shell.address.to_string()));
        shell
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        let address = self.address.to_string();
        command.args(["-ec", &line.replace("127.0.0.1", &address)]).current_dir(self.folder.path());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PILOT_"))
        {
            command.env_remove(name);
        }
        let path = format!("{}:{}", self.folder.path().join("bin").display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).stdin(Stdio::null());
        for (key, port) in [("XDS_LISTEN", 18000), ("ADMIN_LISTEN", 18080), ("ROUTER_HTTP_LISTEN", 15080)] {
            command.env(format!("PILOT_{key}"), format!("{address}:{port}"));
        }
        command.env("PILOT_ROUTER_BIND", address);
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn succeeds(&self, line: &str) {
        let output = self.run(line);
        let said =
            [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
        assert!(output.status.success(), "README.md: {line}: {}\n{said}", output.status);
    }

    /// Starts what does not end by itself.
    fn spawn(&mut self, line: &str) {
        let mut command = self.command(&format!("exec {}", line.trim_end_matches(" &")));
        self.servers.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    /// Waits until there is what curl would get.
    async fn answers(&self, host: &str, url: &str) {
        let (server, path) = url.strip_prefix("http://127.0.0.1:").unwrap().split_once('/').unwrap();
        let server = SocketAddr::from((self.address, server.parse().unwrap()));
        support::wait::until(url, async || support::http::body(server, host, &format!("/{path}")).await)
            .await;
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _gone = server.kill().and_then(|()| server.wait().map(drop));
        }
    }
}

#[tokio::test]
async fn commands_do_what_they_are_there_for() {
    let envoy = tools::envoy();
    let mut shell = Shell::new(envoy.as_deref());
    let (services, configs) = files();
    shell.write("pilot.toml", &configs[0].text);
    shell.write("services.toml", &services[0].text.replace("127.0.0.1", &shell.address.to_string()));
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
                    shell.answers("reviews.local", line.rsplit(' ').next().unwrap()).await;
                }
            }
            "curl" => shell.answers("localhost", line.split_whitespace().nth(1).unwrap()).await,
            "python3" => {
                shell.spawn(&line);
                let port = line.split_whitespace().nth(3).unwrap();
                shell.answers("localhost", &format!("http://127.0.0.1:{port}/")).await;
            }
            "envoy" => shell.spawn(&line),
            "pilot" if line == "pilot serve" => {
                shell.spawn(&line);
                shell.answers("localhost", "http://127.0.0.1:18080/readyz").await;
            }
            _ => shell.succeeds(&line),
        }
    }
    assert_eq!(shell.servers.len(), if envoy.is_some() { 4 } else { 3 }, "the README serves");
}

#[test]
fn files_are_in_order() {
    let (services, configs) = files();
    assert!(services.len() >= 2 && !configs.is_empty());
    let shell = Shell::new(None);
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
    let shell = Shell::new(None);
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
    for file in ["README.md", "examples/README.md"] {
        let path = root().join(file);
        let text = fs::read_to_string(&path).unwrap();
        let links: Vec<&str> = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
        assert!(!links.is_empty());
        for link in links.iter().filter(|link| !link.starts_with("https://")) {
            let target: PathBuf = path.parent().unwrap().join(link);
            assert!(target.exists(), "{file} links to {link}");
        }
    }
}
