//! The example of a systemd unit: systemd takes it, and pilot takes its arguments.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::tools::skipped;

fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/register/payments.service");
    fs::read_to_string(path).unwrap()
}

#[test]
fn systemd_takes_the_example() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skipped("systemd-analyze is needed: Debian has it in the package systemd");
    }
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("payments.service");
    // It looks whether the program is there.
    fs::write(&file, unit().replace("/usr/local/bin/pilot", env!("CARGO_BIN_EXE_pilot"))).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // It also speaks of the machine's own units.
    assert!(output.status.success() && !said.contains("payments.service"), "{output:?}");
}

#[test]
fn pilot_takes_the_arguments_of_the_example() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("pilot.toml");
    fs::write(&config, "registry.local.file.path = 'services.toml'").unwrap();
    let unit = unit().replace("\\\n", " ").replace("/etc/pilot/pilot.toml", config.to_str().unwrap());
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/pilot ")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pilot")).args(line.split_whitespace()).output().unwrap();
    // As far as that the registry is none that can be written to.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no registry of pilot.toml can be written to"), "{said}");
}
