//! Registering in the foreground: how signals and the end of a program are handled.

use std::ffi::OsString;
use std::io;
use std::pin::Pin;
use std::process::{ExitCode, ExitStatus};

use anyhow::Context;
use pilot_registry::Registrar;
use tokio::signal::unix::SignalKind;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::register::{self, Command, Farewell, Plan, Signal, Stage};
use crate::shutdown::{self, HangUps, Signals};

/// There is such a command, but it cannot be started; there is none (POSIX, Shell Command Language, 2.8.2).
const CANNOT_EXECUTE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Registers until a signal comes or the command, where there is one, ends. The command gets none of the `withheld`
/// environment variables. Tells the exit code.
pub(super) async fn run(
    registrar: &dyn Registrar,
    plan: &Plan,
    command: &[OsString],
    withheld: &[String],
) -> anyhow::Result<ExitCode> {
    const NO_SIGNALS: &str = "signals cannot be handled here";
    // Before the command: a signal that comes while it is started must not end only us.
    let signals = Signals::new().context(NO_SIGNALS)?;
    let mut hang_ups = HangUps::unless_ignored().context(NO_SIGNALS)?;
    let mut last_resort = JoinSet::new();
    last_resort.spawn(shutdown::end_for_sure());
    tokio::select! {
        code = registered(registrar, plan, command, withheld, signals) => code,
        never = hang_ups.ignore() => match never {},
    }
}

async fn registered(
    registrar: &dyn Registrar,
    plan: &Plan,
    command: &[OsString],
    withheld: &[String],
    mut signals: Signals,
) -> anyhow::Result<ExitCode> {
    let mut command = match command.split_first() {
        None => None,
        Some((program, arguments)) => {
            register::port::warn_if_taken(plan).await;
            match Command::start(program, arguments, withheld) {
                Ok(command) => Some(command),
                Err(error) => return Ok(not_started(program, &error)),
            }
        }
    };
    let (stage, stages) = watch::channel(Stage::Serving);
    let registered = std::pin::pin!(register::register(registrar, plan, stages));
    let left = until_left(registered, &stage, &mut command, &mut signals).await?;
    match (left, command) {
        (End::AtOnce, _) => {
            let left = registrar.left_behind(&plan.registration, None);
            tracing::warn!("ended at once. If the instance is registered: {left}");
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
                if asked.replace(same(signal)).is_some() {
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
        Farewell::Removed | Farewell::NotThere | Farewell::Never(None) => ExitCode::SUCCESS,
        Farewell::Never(Some(_)) | Farewell::Left(_) => ExitCode::FAILURE,
    }
}

/// The signal to pass on.
fn same(signal: SignalKind) -> Signal {
    if signal == SignalKind::interrupt() { Signal::Interrupt } else { Signal::Terminate }
}
