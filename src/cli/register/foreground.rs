//! Registering in the foreground: how signals and the end of a program are handled.

use std::ffi::OsString;
use std::io;
use std::pin::Pin;
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
    let registered = std::pin::pin!(register::register(registrar, plan, stages));
    let left = until_left(registered, &stage, &mut command, &mut signals).await?;
    match (left, command) {
        (End::AtOnce, _) => {
            tracing::warn!("ended at once: the registry takes the instance away after its ttl");
            Ok(ExitCode::FAILURE)
        }
        (End::Left { ended: Some(status), .. }, _) => Ok(ExitCode::from(Command::exit_code(status))),
        (End::Left { asked, .. }, Some(command)) => {
            until_ended(command, asked.unwrap_or(Signal::Terminate), &mut signals).await
        }
        (End::Left { farewell, .. }, None) => Ok(verdict(&farewell)),
    }
}

/// How the registration ended.
enum End {
    /// By a second signal.
    AtOnce,
    /// The instance is no longer registered.
    Left {
        farewell: Farewell,
        /// The signal that asked for it.
        asked: Option<Signal>,
        /// How the command ended, if it did.
        ended: Option<ExitStatus>,
    },
}

/// Tells the registration what signals and the command say, until it has ended.
async fn until_left(
    mut registered: Pin<&mut impl Future<Output = Farewell>>,
    stage: &watch::Sender<Stage>,
    command: &mut Option<Command>,
    signals: &mut Signals,
) -> anyhow::Result<End> {
    let (mut asked, mut ended) = (None, None);
    // What is gone drains no more.
    let reach = |next: Stage| stage.send_modify(|stage| *stage = next.max(*stage));
    loop {
        tokio::select! {
            farewell = &mut registered => return Ok(End::Left { farewell, asked, ended }),
            signal = signals.next() => {
                if asked.replace(signal).is_some() {
                    return Ok(End::AtOnce);
                }
                tracing::info!("ending in order: one more signal would end it at once");
                reach(Stage::Draining);
            }
            status = end_of(command), if ended.is_none() => {
                let status = status.context("nothing is known of the command's end")?;
                tracing::info!(%status, "the command has ended");
                ended = Some(status);
                reach(Stage::Gone);
            }
        }
    }
}

/// Passes the signal on and waits, for as long as it takes; one more signal kills the command.
async fn until_ended(
    mut command: Command,
    signal: Signal,
    signals: &mut Signals,
) -> anyhow::Result<ExitCode> {
    command.signal(signal);
    tokio::select! {
        status = command.ended() => {
            let status = status.context("nothing is known of the command's end")?;
            tracing::info!(%status, "the command has ended");
            Ok(ExitCode::from(Command::exit_code(status)))
        }
        // It is killed when it is dropped, on the way out.
        _second = signals.next() => {
            tracing::warn!("the command is killed");
            Ok(ExitCode::FAILURE)
        }
    }
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
