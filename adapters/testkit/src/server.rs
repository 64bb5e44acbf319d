//! Real servers that tests start: found by `tests/run`, on loopback, on ports of their own, ended with the
//! test however it ends.

mod acceptor;
mod authority;
pub mod consul;
pub mod etcd;
mod gate;
pub mod kubernetes;
mod ports;
mod process;
mod relay;

use std::io::Write;
use std::path::PathBuf;

pub use acceptor::Acceptor;
pub use authority::{Authority, Certificate};
pub use gate::{Gate, Spoiling};
pub use ports::{free_address, own_address};
pub use process::Process;
pub use relay::Relay;

/// The path that `tests/run` has put into that variable, or `None`, after having said why the test is
/// skipped.
pub fn tool(variable: &str, what: &str) -> Option<PathBuf> {
    path_in(variable, what, "tests/run installs it and sets it")
}

/// The same of what `tests/run` does not install. `how` says how the variable comes to its value.
fn path_in(variable: &str, what: &str, how: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty());
    if path.is_none() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let line = format!("\nskipped: {test}: {what} is needed: {variable} is not set; {how}\n");
        // Not eprintln!, which is swallowed in a test that passes. `tests/run` counts these lines: each is
        // written in one go, so that those of other tests do not come in between.
        _ = std::io::stderr().write_all(line.as_bytes());
    }
    path.map(PathBuf::from)
}
