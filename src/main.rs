//! The `pilot` command: arguments in, exit code out. See [`pilot::cli`] for the verbs.

use std::process::ExitCode;

use clap::Parser;
use pilot::cli::{Cli, explain};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => explain(&error),
    }
}
