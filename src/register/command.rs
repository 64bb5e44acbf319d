//! A program that is registered while it runs.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use super::process::Process;

/// A running program. It is killed, with its process group, when this is dropped.
#[derive(Debug)]
pub struct Command(Process);

/// A signal that asks a program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT
    Interrupt,
    /// SIGTERM
    Terminate,
}

impl Command {
    /// Starts a program. It has a process group of its own, so that Ctrl-C in a terminal does not end it
    /// before it has drained; therefore it cannot read from that terminal.
    ///
    /// # Errors
    /// There is no such program, or it cannot be executed.
    pub fn start(program: &OsString, arguments: &[OsString]) -> io::Result<Self> {
        let mut command = tokio::process::Command::new(program);
        command.args(arguments);
        if io::stdin().is_terminal() {
            // The terminal would stop it (SIGTTIN): it is no longer in the foreground.
            command.stdin(Stdio::null());
        }
        Process::spawn(&mut command).map(Self)
    }

    /// Waits until it has ended. May be dropped and called again.
    ///
    /// # Errors
    /// The system does not tell.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    /// Asks it to end.
    pub fn signal(&self, signal: Signal) {
        self.0.signal(match signal {
            Signal::Interrupt => rustix::process::Signal::INT,
            Signal::Terminate => rustix::process::Signal::TERM,
        });
    }

    /// The exit code by which shells pass such an end on: 128 and the signal's number when one has killed it.
    pub fn exit_code(status: ExitStatus) -> u8 {
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }
}
