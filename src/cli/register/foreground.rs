//! Registered in the foreground: what signals, and the end of a command, do.

use std::ffi::OsString;
use std::io;
use std::process::{ExitCode, ExitStatus};

use anyhow::Context;
use pilot_registry::Registrar;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::watch;

use crate::register::{self, Command, Farewell, Plan, Signal, Stage};

/// There is such a command, but it cannot be started; there is none (POSIX, Shell Command Language, 2.8.2).
const CANNOT_EXECUTE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Registers until a signal comes or the command, where there is one, ends. Tells the exit code.
pub(super) async fn run(
    registrar: &dyn Registrar,
    plan: &Plan,
    command: &[OsString],
) -> anyhow::Result<ExitCode> {
    // Before the command: a signal that comes while it is started must not end only us.
    let mut signals = Signals::new().context("signals cannot be handled here")?;
    let mut command = match command.split_first() {
        None => None,
        Some((program, arguments)) => match Command::start(program, arguments) {
            Ok(command) => Some(command),
            Err(error) => return Ok(not_started(program, &error)),
        },
    };
    let (stage, stages) = watch::channel(Stage::Serving);
    let mut registered = std::pin::pin!(register::register(registrar, plan, stages));
    let mut asked: Option<Signal> = None;
    let mut ended: Option<ExitStatus> = None;
    let farewell = loop {
        tokio::select! {
            farewell = &mut registered => break farewell,
            signal = signals.next() => {
                if asked.replace(signal).is_some() {
                    tracing::warn!("ended at once: the registry takes the instance away after its ttl");
                    return Ok(ExitCode::FAILURE);
                }
                tracing::info!("ending: a second signal ends at once");
                stage.send_replace(Stage::Draining);
            }
            status = end_of(&mut command), if ended.is_none() => {
                let status = status.context("nothing is known of the command's end")?;
                tracing::info!(%status, "the command has ended");
                ended = Some(status);
                stage.send_replace(Stage::Gone);
            }
        }
    };
    let Some(running) = &mut command else { return Ok(verdict(&farewell)) };
    let status = match ended {
        Some(status) => status,
        None => {
            running.signal(asked.unwrap_or(Signal::Terminate));
            tokio::select! {
                status = running.ended() => status.context("nothing is known of the command's end")?,
                // Killed when it is dropped, on the way out.
                _second = signals.next() => {
                    tracing::warn!("the command is killed");
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
    };
    Ok(ExitCode::from(Command::exit_code(status)))
}

/// Lasts for ever where there is no command.
async fn end_of(command: &mut Option<Command>) -> io::Result<ExitStatus> {
    match command {
        Some(command) => command.ended().await,
        None => std::future::pending().await,
    }
}

fn not_started(program: &OsString, error: &io::Error) -> ExitCode {
    eprintln!("error: {} cannot be started: {error}", program.to_string_lossy());
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_EXECUTE })
}

fn verdict(farewell: &Farewell) -> ExitCode {
    match farewell {
        Farewell::Removed | Farewell::NotThere => ExitCode::SUCCESS,
        Farewell::Left(_) => ExitCode::FAILURE,
    }
}

/// The signals that ask for the end.
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    /// Not where it is ignored: `nohup` says that the end of the terminal is not ours.
    hang_up: Option<unix::Signal>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let hang_up = (!hang_up_is_ignored()).then(|| unix::signal(SignalKind::hangup())).transpose()?;
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hang_up,
        })
    }

    /// The next one.
    async fn next(&mut self) -> Signal {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            _ = hang_up => Signal::HangUp,
        }
    }
}

/// Whether we were started with SIGHUP ignored (proc(5), `SigIgn`: bit 0 is signal 1).
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
