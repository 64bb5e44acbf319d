//! The `pilot` command: arguments in, exit code out. See [`pilot::cli`] for the verbs.

use std::process::ExitCode;

use pilot::cli::{Cli, explain};

fn main() -> ExitCode {
    match Cli::read().run() {
        Ok(code) => code,
        Err(error) => explain(&error),
    }
}
