//! `pilot demo` as a reader meets it: the real binary, and where it matters a real Envoy.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

#[path = "support"]
#[allow(dead_code, reason = "each test uses a part")]
mod support {
    pub(crate) mod loopback;
    pub(crate) mod tools;
    pub(crate) mod wait;
}

use support::loopback::own_address;
use support::tools::{envoy as real_envoy, skipped};
use support::wait::{PATIENCE, holds, until};

/// A demo in a folder of its own, on a loopback address of its own.
struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    folder: TempDir,
    address: Ipv4Addr,
}

/// The examples' services, at another address.
fn services(address: Ipv4Addr) -> String {
    let services = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/services.toml"));
    services.unwrap().replace("127.0.0.1", &address.to_string())
}

impl Demo {
    fn start(envoy: Option<&Path>, services: impl Fn(Ipv4Addr) -> String, arguments: &[&str]) -> Self {
        let (folder, address) = (TempDir::new().unwrap(), own_address());
        fs::create_dir(folder.path().join("tmp")).unwrap();
        fs::write(folder.path().join("services.toml"), services(address)).unwrap();
        let mut command = command(folder.path());
        command.arg("demo").args(["--services", "services.toml"]).args(arguments);
        for set in [
            format!("xds.listen={address}:18000"),
            format!("admin.listen={address}:18080"),
            format!("router.bind={address}"),
            format!("router.http_listen={address}:15080"),
        ] {
            command.args(["--set", &set]);
        }
        if let Some(envoy) = envoy {
            command.arg("--envoy").arg(envoy);
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, folder, address }
    }

    /// The next line of which that holds.
    async fn line(&mut self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = timeout(PATIENCE, async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if holds(&line) {
                    return Some(line);
                }
                last = line;
            }
            None
        });
        let found = found.await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}: {last}"));
        found.unwrap_or_else(|| panic!("{what}: the demo ended: {last}"))
    }

    /// The process of its Envoy, of which it tells.
    async fn envoy_pid(&mut self) -> String {
        let line = self.line("it tells of Envoy", |line| line.contains("(process ")).await;
        line.split("(process ").nth(1).unwrap().trim_end_matches(')').to_owned()
    }

    async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("the demo ends").unwrap()
    }

    async fn errors(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).await.unwrap();
        text
    }

    fn left_behind(&self) -> Vec<PathBuf> {
        fs::read_dir(self.folder.path().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilot"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PILOT_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).env("TMPDIR", folder.join("tmp")).env("XDG_CACHE_HOME", folder.join("cache"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn signal(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().await.unwrap().success(), "{signal} {pid}");
}

/// Whether a process runs. One that has ended and that nobody asks for does not.
fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

/// A program that is called envoy.
fn fake(folder: &Path, name: &str, script: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

const VERSION: &str = "[ \"$1\" = --version ] && echo 'envoy  version: 0/1.2.3/Clean/RELEASE/X' && exit";

#[tokio::test]
async fn traffic_follows_the_file_and_ctrl_c_leaves_nothing_behind() {
    let Some(envoy) = real_envoy() else { return };
    let mut demo = Demo::start(Some(&envoy), services, &[]);
    let envoy = demo.envoy_pid().await;
    let [v1, v2, v3] = [("v1", 9181), ("v2", 9182), ("v3", 9185)]
        .map(|(version, port)| format!("{version} at {}:{port} x", demo.address));
    let both = demo.line("both backends answer", |line| line.contains(&v1) && line.contains(&v2)).await;
    assert!(both.contains("ledger.local:9090 (tcp)"), "{both}");
    assert!(runs(&envoy) && !demo.left_behind().is_empty());

    let changed = services(demo.address).replace("9181", "9185").replace("\"v1\"", "\"v3\"");
    let (new, file) = (demo.folder.path().join("new"), demo.folder.path().join("services.toml"));
    fs::write(&new, changed).unwrap();
    fs::rename(new, file).unwrap();
    demo.line("the traffic follows", |line| line.contains(&v2) && line.contains(&v3) && !line.contains(&v1))
        .await;

    signal("-INT", &demo.child.id().unwrap().to_string()).await;
    let last = demo.line("it says how it was", |line| line.starts_with("ended: ")).await;
    assert!(last.ends_with(" requests answered, 0 failed"), "{last}");
    assert!(demo.ended().await.success());
    assert!(!runs(&envoy), "Envoy {envoy} is still there");
    assert_eq!(demo.left_behind(), Vec::<PathBuf>::new());
    for port in [18000, 18080, 15080, 9181, 9182, 9185] {
        assert!(TcpStream::connect((demo.address, port)).is_err(), "{port} is still open");
    }
}

#[tokio::test]
async fn traffic_shifts_with_the_command_that_it_says_and_back() {
    let Some(envoy) = real_envoy() else { return };
    let mut demo = Demo::start(Some(&envoy), services, &[]);
    let command = demo.line("it says how to shift traffic", |line| line.trim().starts_with("cp ")).await;
    let [v1, v2] =
        [("v1", 9181), ("v2", 9182)].map(|(version, port)| format!("{version} at {}:{port} x", demo.address));
    demo.line("both backends answer", |line| line.contains(&v1) && line.contains(&v2)).await;
    let run = async |command: &str| {
        assert!(Command::new("sh").args(["-c", command]).status().await.unwrap().success(), "{command}");
    };
    run(&command).await;
    demo.line("the traffic shifts", |line| line.contains(&v1) && !line.contains(&v2)).await;
    let folder = command.trim().rsplit(' ').next().unwrap();
    run(&format!("rm {folder}/shift.yaml")).await;
    // By the weights of the endpoints it has two of three requests.
    demo.line("and back", |line| line.contains(&format!("{v2}3"))).await;
    signal("-INT", &demo.child.id().unwrap().to_string()).await;
    demo.line("no request is lost", |line| line.ends_with(" requests answered, 0 failed")).await;
    assert!(demo.ended().await.success());
    assert_eq!(demo.left_behind(), Vec::<PathBuf>::new());
}

/// Its Envoy is a stand-in that is never ready, so that it is still at its beginning.
#[tokio::test]
async fn sighup_is_ignored_and_said() {
    let folder = TempDir::new().unwrap();
    let begun = folder.path().join("begun");
    let script = format!("{VERSION}\ntouch {}; exec sleep 300", begun.display());
    let envoy = fake(folder.path(), "envoy", &script);
    let mut demo = Demo::start(Some(&envoy), services, &[]);
    until("Envoy is started", async || holds(begun.exists(), "no")).await;
    let pid = demo.child.id().unwrap().to_string();
    signal("-HUP", &pid).await;
    let mut errors = BufReader::new(demo.child.stderr.take().unwrap()).lines();
    let said = timeout(PATIENCE, errors.next_line()).await.expect("it says so").unwrap().unwrap();
    assert!(said.contains("SIGHUP is ignored"), "{said}");
    assert!(demo.child.try_wait().unwrap().is_none(), "it goes on");
    signal("-TERM", &pid).await;
    assert!(demo.ended().await.success());
}

#[tokio::test]
async fn given_a_time_it_ends_and_says_whether_all_went_well() {
    let Some(envoy) = real_envoy() else { return };
    let mut demo = Demo::start(Some(&envoy), services, &["--duration", "3s"]);
    demo.line("it says how it was", |line| line.ends_with(" requests answered, 0 failed")).await;
    assert!(demo.ended().await.success());

    let nobody = |_| "service = [{ host = 'a.local', ports = [{ port = 9080, protocol = 'http' }] }]".into();
    let mut demo = Demo::start(Some(&envoy), nobody, &["--duration", "1s"]);
    demo.line("it says how it was", |line| line.starts_with("ended: 0 requests answered")).await;
    assert_eq!(demo.ended().await.code(), Some(1));
}

#[tokio::test]
async fn service_that_never_answers_has_failed_in_the_end() {
    let Some(envoy) = real_envoy() else { return };
    // Connections to it are open, and that is all.
    let silent = OnceLock::new();
    let with_silent = |address| {
        silent.get_or_init(|| TcpListener::bind((address, 9186)).unwrap());
        format!(
            "{}\n[[service]]\nhost = \"silent.local\"\nports = [{{ port = 9080, protocol = \"http\" }}]\n\
             endpoints = [{{ address = \"{address}:9186\" }}]\n",
            services(address)
        )
    };
    let mut demo = Demo::start(Some(&envoy), with_silent, &["--duration", "2s"]);
    let last = demo.line("it says how it was", |line| line.starts_with("ended: ")).await;
    assert!(last.ends_with(" 1 failed; never answered: silent.local:9080"), "{last}");
    assert_eq!(demo.ended().await.code(), Some(1));
}

#[tokio::test]
async fn envoy_that_is_gone_ends_the_demo() {
    let Some(envoy) = real_envoy() else { return };
    let mut demo = Demo::start(Some(&envoy), services, &[]);
    let envoy = demo.envoy_pid().await;
    signal("-KILL", &envoy).await;
    assert_eq!(demo.ended().await.code(), Some(1));
    let errors = demo.errors().await;
    assert!(errors.contains("Envoy ended (signal: 9"), "{errors}");
    assert_eq!(demo.left_behind(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn envoy_that_does_not_start_is_reported_with_the_end_of_its_log() {
    let folder = TempDir::new().unwrap();
    let envoy = fake(folder.path(), "envoy", &format!("{VERSION}\necho no such luck >&2; exit 3"));
    let mut demo = Demo::start(Some(&envoy), services, &[]);
    assert_eq!(demo.ended().await.code(), Some(1));
    let errors = demo.errors().await;
    assert!(errors.contains("Envoy ended (exit status: 3)") && errors.contains("no such luck"), "{errors}");
    assert_eq!(demo.left_behind(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn killed_demo_takes_envoy_with_it() {
    let probe = Command::new("setpriv").args(["--pdeathsig", "KILL", "--", "true"]).status().await;
    if !probe.is_ok_and(|status| status.success()) {
        return skipped("needs Linux and the setpriv of util-linux");
    }
    let folder = TempDir::new().unwrap();
    let pid_file = folder.path().join("pid");
    let script = format!(
        "{VERSION}\necho $$ >{pid}.new; mv {pid}.new {pid}; exec sleep 300",
        pid = pid_file.display()
    );
    let envoy = fake(folder.path(), "envoy", &script);
    let mut demo = Demo::start(Some(&envoy), services, &[]);
    let pid = until("Envoy is there", async || fs::read_to_string(&pid_file)).await;
    let pid = pid.trim();
    assert!(runs(pid));
    demo.child.kill().await.unwrap();
    until("Envoy is gone", async || holds(!runs(pid), "it runs")).await;
}

#[tokio::test]
async fn taken_port_that_was_asked_for_is_named_with_its_key() {
    let folder = TempDir::new().unwrap();
    let envoy = fake(folder.path(), "envoy", VERSION);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("admin.listen={}", taken.local_addr().unwrap());
    let set = ["--set", &taken];
    // The last one that is given wins, so it stands behind those of every test.
    let mut command = command(folder.path());
    fs::create_dir(folder.path().join("tmp")).unwrap();
    fs::write(folder.path().join("services.toml"), "service = []").unwrap();
    command.args(["demo", "--services", "services.toml", "--envoy"]).arg(envoy).args(set);
    command.args(["--set", &format!("xds.listen={}:18000", own_address())]);
    let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("(admin.listen): choose a free port with --set admin.listen="), "{errors}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn what_is_missing_is_said_with_what_mends_it() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("tmp")).unwrap();
    fs::write(folder.path().join("services.toml"), "service = []").unwrap();
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let services = ["--services", "services.toml"];
    for (python, arguments, message) in [
        ("", &services[..], "python3 cannot be run"),
        ("echo ensurepip is not available; exit 1", &services, "apt install python3-venv"),
        ("", &["--services", "none.toml"], "none.toml: there is no such file"),
        ("", &["--config", "services.toml"], "a configuration of its own"),
        ("", &["--services", "services.toml", "--envoy", "/dev/null"], "running /dev/null"),
        ("", &["--duration", "5"], "expected numbers with units"),
    ] {
        if !python.is_empty() {
            fake(&bin, "python3", python);
        }
        let mut command = command(folder.path());
        command.env("PATH", &bin).arg("demo").args(arguments);
        let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(message), "{arguments:?}: {errors}");
        assert!(!output.status.success());
        let cached = fs::read_dir(folder.path().join("cache/pilot")).map(|it| it.count()).unwrap_or(0);
        assert_eq!(cached, 0, "half an Envoy is left behind");
    }
}
