//! The command line: one file per verb, each with its arguments and what it does.
//!
//! To add a verb: a file with `#[derive(clap::Args)] pub struct Args` and `Args::run`, a line in [`Verb`]
//! and one in [`Cli::run`]. What it does for `async` goes through [`block_on`].

pub mod bootstrap;
pub mod check;
mod client;
pub mod completions;
pub mod config_cmd;
#[cfg(feature = "file")]
pub mod demo;
pub mod deregister;
mod document;
mod documents;
pub mod explain;
pub mod help;
mod listing;
mod logging;
mod output;
mod place;
pub mod plan;
pub mod proxies;
pub mod register;
pub mod registries;
pub mod rules;
pub mod schema;
pub mod serve;
pub mod services;
pub mod version;
pub mod wait;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{self, Loaded, Problem, Problems, Setting};
use crate::registries::expected_to_write;

pub use logging::init as init_logging;
pub use output::{Output, OutputFormat, Table, print};

/// Bad configuration, like bad arguments: there is something to mend before trying again.
pub const EXIT_INVALID: u8 = 2;

/// What blocks a thread at the end has so long to be done.
const BLOCKED_MAX: Duration = Duration::from_secs(1);

/// Tells every Envoy of a mesh where its services are and how to reach them.
///
/// pilot learns services from registries (files, Consul, etcd, Kubernetes), and serves them to Envoy and to gRPC
/// clients over xDS. pilot.toml says which registries, and where it listens. Without a command, pilot serves.
///
/// Example: pilot check --config pilot.toml
#[derive(Debug, Parser)]
#[command(name = "pilot", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What all verbs understand.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The configuration file.
    #[arg(
        short = 'c',
        long,
        value_name = "FILE",
        env = "PILOT_CONFIG",
        default_value = "pilot.toml",
        global = true
    )]
    config: PathBuf,
    /// What to log: a level (error, warn, info, debug, trace) or module=level, separated by commas. The
    /// same as --set log.filter=..., and as the variable PILOT_LOG.
    #[arg(long, value_name = "FILTER", global = true)]
    log: Option<String>,
    /// A value for a key of the configuration, which wins over the file and the environment:
    /// --set xds.listen=127.0.0.1:19000. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting, global = true)]
    set: Vec<Setting>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(serve::Args),
    #[cfg(feature = "file")]
    Demo(demo::Args),
    #[command(visible_alias = "validate")]
    Check(check::Args),
    Schema(schema::Args),
    Services(services::Args),
    #[command(visible_aliases = ["proxy-status", "ps"])]
    Proxies(proxies::Args),
    Registries(registries::Args),
    Rules(rules::Args),
    Wait(wait::Args),
    Explain(explain::Args),
    Plan(plan::Args),
    #[command(visible_alias = "proxy-config")]
    Config(config_cmd::Args),
    Bootstrap(bootstrap::Args),
    Register(Box<register::Args>),
    Deregister(deregister::Args),
    Completions(completions::Args),
    Version(version::Args),
    Help(help::Args),
}

impl Cli {
    /// Reads the arguments of this process. Ends it with a message where they make no sense; where the verb is unknown and
    /// like no other, the message names all verbs.
    pub fn read() -> Self {
        Self::try_parse().unwrap_or_else(|mut error| {
            let verb = std::env::args().nth(1);
            let is_verb = matches!(error.get(ContextKind::InvalidSubcommand), Some(ContextValue::String(name)) if Some(name) == verb.as_ref());
            if is_verb && error.get(ContextKind::SuggestedSubcommand).is_none() {
                let verbs: Vec<_> = Self::command().get_subcommands().map(|it| it.get_name().to_owned()).collect();
                let known = format!("expected one of {}", verbs.join(", "));
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![known.into()]));
            }
            error.exit()
        })
    }

    /// Does what was asked for.
    ///
    /// # Errors
    /// Whatever went wrong; [`explain`] says it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Self { global, verb } = self;
        match verb {
            None => serve::Args::default().run(&global),
            Some(Verb::Serve(args)) => args.run(&global),
            #[cfg(feature = "file")]
            Some(Verb::Demo(args)) => args.run(&global),
            Some(Verb::Check(args)) => args.run(&global),
            Some(Verb::Schema(args)) => args.run(),
            Some(Verb::Services(args)) => args.run(&global),
            Some(Verb::Proxies(args)) => args.run(&global),
            Some(Verb::Registries(args)) => args.run(&global),
            Some(Verb::Rules(args)) => args.run(&global),
            Some(Verb::Wait(args)) => args.run(&global),
            Some(Verb::Explain(args)) => args.run(&global),
            Some(Verb::Plan(args)) => args.run(&global),
            Some(Verb::Config(args)) => args.run(&global),
            Some(Verb::Bootstrap(args)) => args.run(&global),
            Some(Verb::Register(args)) => args.run(&global),
            Some(Verb::Deregister(args)) => args.run(&global),
            Some(Verb::Completions(args)) => args.run(),
            Some(Verb::Version(args)) => args.run(&global),
            Some(Verb::Help(args)) => args.run(),
        }
    }
}

impl Global {
    /// Reads the configuration with everything that overrides it. Warnings are written to standard error.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn load(&self) -> Result<Loaded, Problems> {
        let loaded = self.load_quietly()?;
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        Ok(loaded)
    }

    /// The same for those who write into a registry. Where there is no file, they hear which registries can be written
    /// to.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn load_to_write(&self) -> Result<Loaded, Problems> {
        match self.config.try_exists() {
            Ok(false) => {
                let message = format!(
                    "there is no such file: --config or PILOT_CONFIG name another. It says which registry is written \
                     to, in one line: {}",
                    expected_to_write()
                );
                Err(Problem::with_file(self.config.display().to_string(), message).into())
            }
            _ => self.load(),
        }
    }

    fn load_quietly(&self) -> Result<Loaded, Problems> {
        // What is not Unicode is no value of ours either, and is refused under the variable's name.
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment: BTreeMap<String, String> =
            std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect();
        let flags = self.flags();
        config::load(&self.config, &environment, &flags)
    }

    /// What the command line says of keys of the configuration.
    fn flags(&self) -> Vec<Setting> {
        let log = self.log.iter().map(|filter| Setting::new("--log", "log.filter", filter));
        self.set.iter().cloned().chain(log).collect()
    }
}

fn setting(text: &str) -> Result<Setting, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Setting::new(format!("--set {key}"), key, value)),
        _ => Err("expected KEY=VALUE, like push.quiet=50ms".into()),
    }
}

/// Runs a future to its end, on all cores. What still blocks a thread then, like a disk or a program that does
/// not answer, is not waited for.
///
/// # Errors
/// Those of the future, or the system has no threads left.
pub fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(future);
    runtime.shutdown_timeout(BLOCKED_MAX);
    outcome
}

/// Writes to standard error what went wrong, and tells the exit code: 2 where the configuration is to be
/// mended, else 1.
pub fn explain(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Problems>() {
        Some(Problems(problems)) => {
            for problem in problems {
                eprintln!("error: {problem}");
            }
            ExitCode::from(EXIT_INVALID)
        }
        None => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// A program or a disk that never answers does not keep pilot from ending.
    #[test]
    fn end_does_not_wait_for_a_thread_that_blocks() {
        let (_hangs, never) = sync_channel::<()>(1);
        let (ended, end) = sync_channel(1);
        std::thread::spawn(move || {
            let outcome = block_on(async move {
                let (begun, begins) = tokio::sync::oneshot::channel();
                tokio::task::spawn_blocking(move || {
                    _ = begun.send(());
                    never.recv()
                });
                Ok(begins.await?)
            });
            ended.send(outcome.is_ok())
        });
        assert_eq!(end.recv_timeout(Duration::from_secs(30)), Ok(true));
    }
}
