//! The real components that tests run against. `tests/run` installs them and says where they are.

use std::io::Write;
use std::path::PathBuf;

use pilot_registry_testkit::server::tool;

/// The newest Envoy.
pub(crate) fn envoy() -> Option<PathBuf> {
    tool("PILOT_TEST_ENVOY", "a real Envoy")
}

/// The oldest Envoy that pilot serves.
pub(crate) fn oldest_envoy() -> Option<PathBuf> {
    tool("PILOT_TEST_ENVOY_OLD", "the oldest Envoy")
}

/// A Python that has grpcio.
pub(crate) fn python() -> Option<PathBuf> {
    tool("PILOT_TEST_PYTHON", "a Python with grpcio")
}

/// The Node.js packages of a third gRPC client.
pub(crate) fn node_grpc() -> Option<PathBuf> {
    tool("PILOT_TEST_NODE_GRPC", "the gRPC client of Node.js")
}

/// Says why a test does not run here. `tests/run` counts these lines.
pub(crate) fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not `eprintln!`, of which nothing is seen when the test passes; on a line of its own.
    let _ = writeln!(std::io::stderr(), "\nskipped: {test}: {why}");
}
