//! A process that a test has started: the testkit's, with what these tests ask of it.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};

use pilot_registry_testkit::server;

use super::wait::until;

/// A running program. It is killed when it is dropped, and the end of its log is shown when a test fails.
pub(crate) struct Process {
    name: String,
    process: server::Process,
}

impl Process {
    /// Starts a program that writes all its output into `folder/name.log`, behind what is there.
    pub(crate) fn spawn(name: &str, folder: &Path, command: &mut Command) -> Self {
        let process = server::Process::spawn(name, folder, command).unwrap();
        Self { name: name.to_owned(), process }
    }

    /// Ends it at once, without a chance to say good-bye.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends it a signal: `TERM` asks it to end, `STOP` halts it until `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name).unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let name = self.name.clone();
        until(&format!("{name} ends"), async || self.status().ok_or("it runs")).await
    }

    /// The variables of its environment, as they were when it began.
    pub(crate) fn environment(&self) -> Vec<String> {
        let variables = fs::read(format!("/proc/{}/environ", self.process.id())).unwrap();
        let variables = variables.split(|byte| *byte == 0).filter(|it| !it.is_empty());
        variables.map(|it| String::from_utf8_lossy(it).into_owned()).collect()
    }

    /// Its exit status, if it has ended.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        self.process.status()
    }

    /// Panics when it has ended, for nobody needs to wait for it any more.
    pub(crate) fn assert_alive(&mut self) {
        if let Some(status) = self.status() {
            panic!("{} ended: {status}", self.name);
        }
    }

    /// Everything that it has written.
    pub(crate) fn output(&self) -> String {
        self.process.output()
    }
}
