//! A child process with a process group of its own, which does not outlive the value that owns it.
//! [`Watchdog`](super::watchdog::Watchdog) ends it if this process is killed.

use std::io;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, ChildStdout, Command};

/// A child. When it is dropped while the child runs, the child and all that it has started (and that has
/// stayed in its process group) are killed.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts the command at the head of a process group of its own: a signal that a terminal sends to ours
    /// does not reach it.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        Ok(Self { child })
    }

    /// Waits until it has ended. May be dropped and called again.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// What it writes, where that was asked for. Only once.
    pub(super) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Sends it a signal, unless it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.running() {
            // The only error is that it has ended just now.
            let _ended = kill_process(pid, signal);
        }
    }

    /// Its id, until it has been waited for: so long nobody else has it.
    pub(super) fn running(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = self.running() {
            let _ended = kill_process_group(group, Signal::KILL);
        }
    }
}
