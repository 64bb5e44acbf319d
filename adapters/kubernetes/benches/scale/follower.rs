//! The process that is measured: the adapter, and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use pilot_registry::{ServiceRegistry, Snapshot, channel};
use pilot_registry_kubernetes::{Config, registry};

use super::process::Process;

/// Tells the process that is the follower where the cluster is.
pub(crate) const FOLLOW: &str = "PILOT_BENCH_KUBECONFIG";

/// A running follower. It ends when this is dropped.
pub(crate) struct Follower {
    child: Child,
    told: BufReader<ChildStdout>,
    pub(crate) process: Process,
}

/// Something was published.
pub(crate) struct Published {
    pub(crate) endpoints: usize,
}

impl Follower {
    /// Starts it, and returns as soon as it is about to begin.
    pub(crate) fn start(kubeconfig: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(FOLLOW, kubeconfig).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (told, process) = (BufReader::new(child.stdout.take().unwrap()), Process::of(child.id()));
        let mut follower = Self { child, told, process };
        assert_eq!(follower.line(), "begin");
        follower
    }

    /// Waits until it has published something else.
    pub(crate) fn next(&mut self) -> Published {
        Published { endpoints: self.line().parse().unwrap() }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The follower: a line for everything that is published, with the number of endpoints.
pub(crate) fn follow(kubeconfig: PathBuf) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let registry = registry(Config { kubeconfig: Some(kubeconfig), ..Config::default() }).unwrap();
    let (sink, feed) = channel::<Snapshot>();
    tell("begin");
    runtime.block_on(async {
        let mut states = feed.subscribe();
        let report = async {
            let mut last = None;
            while states.changed().await.is_ok() {
                let published = states.borrow_and_update().published.clone();
                let Some(published) = published.filter(|it| Some(it.revision) != last) else { continue };
                last = Some(published.revision);
                tell(&published.value.endpoint_count().to_string());
            }
        };
        tokio::select! {
            Err(error) = registry.run(&sink) => panic!("{}", error.chain()),
            () = report => {}
        }
    });
}

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}
