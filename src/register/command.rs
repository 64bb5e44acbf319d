//! A program that is registered while it runs.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use super::process::Process;
use super::watchdog::Watchdog;

/// A running program. It is killed, with its process group, when this is dropped, and ended also when we are
/// killed ourselves.
#[derive(Debug)]
pub struct Command {
    process: Process,
    /// Where it could be started.
    watchdog: Option<Watchdog>,
}

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
    /// before it has drained; therefore it cannot read from that terminal. It gets none of the `withheld`
    /// environment variables.
    ///
    /// # Errors
    /// There is no such program, or it cannot be executed.
    pub fn start(program: &OsString, arguments: &[OsString], withheld: &[String]) -> io::Result<Self> {
        let mut command = tokio::process::Command::new(program);
        command.args(arguments);
        withheld.iter().for_each(|variable| _ = command.env_remove(variable));
        if io::stdin().is_terminal() {
            // The terminal would stop it (SIGTTIN): it is no longer in the foreground.
            command.stdin(Stdio::null());
        }
        let process = Process::spawn(&mut command)?;
        let watchdog = process.running().and_then(|group| {
            let started = Watchdog::of(group);
            if let Err(error) = &started {
                tracing::warn!(%error, "nobody ends the command when pilot is killed: sh cannot be started");
            }
            started.ok()
        });
        Ok(Self { process, watchdog })
    }

    /// Waits until it has ended. May be dropped and called again.
    ///
    /// # Errors
    /// The system does not tell.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait().await?;
        // Its process group may soon be another's.
        self.watchdog = None;
        Ok(status)
    }

    /// Asks it to end.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(match signal {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn start(script: &str) -> Command {
        Command::start(&"sh".into(), &["-c".into(), script.into()], &[]).unwrap()
    }

    #[tokio::test]
    async fn its_end_is_told_as_shells_tell_it() {
        for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill $$", 143)] {
            let status = start(script).ended().await.unwrap();
            assert_eq!(Command::exit_code(status), code, "{script}");
        }
    }

    #[tokio::test]
    async fn it_gets_the_signals_that_are_meant_for_it() {
        for (signal, number) in [(Signal::Interrupt, 2), (Signal::Terminate, 15)] {
            // Who runs this in the background or under nohup ignores some of them, and so would the program.
            let arguments = ["--default-signal=INT,TERM", "sleep", "3600"].map(OsString::from);
            let mut command = Command::start(&"env".into(), &arguments, &[]).unwrap();
            let told = async {
                loop {
                    command.signal(signal);
                    // What comes before `env` has begun may be ignored.
                    if let Ok(status) = timeout(Duration::from_millis(50), command.ended()).await {
                        break status.unwrap();
                    }
                }
            };
            let status = timeout(Duration::from_secs(30), told).await.unwrap();
            assert_eq!(status.signal(), Some(number));
        }
    }

    #[tokio::test]
    async fn what_is_not_there_does_not_start() {
        let error = Command::start(&"./no-such-program".into(), &[], &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
