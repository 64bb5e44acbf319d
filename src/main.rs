//! The `pilot` command: arguments in, exit code out. See [`pilot::cli`] for the verbs.

use std::process::ExitCode;

use pilot::cli::{Cli, explain};

/// Gives memory back within seconds. What glibc's allocator has used once, when all proxies of a mesh came at one time, it
/// mostly keeps.
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Cli::read().run() {
        Ok(code) => code,
        Err(error) => explain(&error),
    }
}
