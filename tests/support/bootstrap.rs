//! What clients are started with: as `pilot bootstrap` prints it.

use serde_json::Value;

use super::envoy::Kind;
use super::pilot::Pilot;

/// The bootstrap of an Envoy that asks in this way. `more`: further arguments, for example where it runs.
pub(crate) fn envoy(pilot: &Pilot, kind: Kind, more: &[&str]) -> Value {
    let admin = format!("{}:15000", pilot.address());
    let mut arguments = vec!["bootstrap", "-o", "json", "--admin-address", &admin];
    arguments.extend(match kind {
        Kind::Delta => &[][..],
        Kind::Sotw => &["--sotw"],
        Kind::PerTypeDelta => &["--per-type"],
        Kind::PerTypeSotw => &["--per-type", "--sotw"],
    });
    arguments.extend(more);
    print(pilot, &arguments)
}

/// The bootstrap of a gRPC client. `more`: further arguments, for example where it runs.
pub(crate) fn grpc(pilot: &Pilot, more: &[&str]) -> Value {
    print(pilot, &[&["bootstrap", "--grpc"], more].concat())
}

fn print(pilot: &Pilot, arguments: &[&str]) -> Value {
    let mut command = pilot.command(arguments);
    let output = command.arg("--config").arg(pilot.config()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}
