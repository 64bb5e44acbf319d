//! A process that a test has started: its output is kept, and it ends with the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::wait::until;

/// A running program. It is killed when it is dropped, and its log is shown when a test fails.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program that writes all its output into `folder/name.log`, behind what is there.
    pub(crate) fn spawn(name: &str, folder: &Path, command: &mut Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let err = out.try_clone().unwrap();
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self { name: name.to_owned(), child, log }
    }

    /// Ends it at once, without a chance to say good-bye.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal: `TERM` asks it to end, `STOP` halts it until `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let arguments = [&format!("-{name}"), &self.child.id().to_string()];
        let status = Command::new("kill").args(arguments).status().unwrap();
        assert!(status.success(), "{} cannot be signalled", self.name);
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let name = self.name.clone();
        until(&format!("{name} ends"), async || self.status().ok_or("it runs")).await
    }

    /// The variables of its environment, as they were when it began.
    pub(crate) fn environment(&self) -> Vec<String> {
        let variables = fs::read(format!("/proc/{}/environ", self.child.id())).unwrap();
        let variables = variables.split(|byte| *byte == 0).filter(|it| !it.is_empty());
        variables.map(|it| String::from_utf8_lossy(it).into_owned()).collect()
    }

    /// Its exit status, if it has ended.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Panics when it has ended, for nobody needs to wait for it any more.
    pub(crate) fn assert_alive(&mut self) {
        if let Some(status) = self.status() {
            panic!("{} ended: {status}", self.name);
        }
    }

    /// Everything that it has written.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            let last = &lines[lines.len().saturating_sub(60)..];
            eprintln!("---- {} wrote:\n{}\n----", self.name, last.join("\n"));
        }
    }
}
