//! The rules about permissions, once more as a user whom permissions bind: for root there is no file
//! without them.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::backend::{ROOT, permissions_matter};

/// The tests that take permissions away.
const TESTS: [&str; 2] = ["c14_errors_are_of_their_kind", "operations_converge"];
/// Each of them is there for a folder and for one file.
const PASSED: &str = "4 passed; 0 failed";
/// Nobody, on every Linux.
const USER: &str = "65534";

#[test]
fn permissions_are_respected_by_a_user_without_privileges() {
    // Otherwise the tests that are meant run as such a user anyway.
    if permissions_matter().unwrap() {
        return;
    }
    let possible = unprivileged("true".as_ref()).output().is_ok_and(|output| output.status.success());
    if !possible {
        // Not eprintln!, which is swallowed in a test that passes.
        let why = "setpriv (util-linux) is not there or cannot change the user: no test of permissions";
        writeln!(std::io::stderr(), "skipped: {why}").unwrap();
        return;
    }
    run_unprivileged().unwrap();
}

fn run_unprivileged() -> Result<()> {
    let folder = TempDir::new()?;
    open(folder.path(), 0o755)?;
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary)?;
    open(&temporary, 0o777)?;
    // Where it was built, the user may not be able to go.
    let tests = folder.path().join("tests");
    fs::copy(std::env::current_exe()?, &tests)?;
    open(&tests, 0o755)?;
    let output = unprivileged(&tests)
        .args(TESTS)
        .current_dir(&temporary)
        .env("TMPDIR", &temporary)
        .output()
        .context("running setpriv")?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let said = said.concat();
    ensure!(output.status.success() && said.contains(PASSED), "{}: {said}", output.status);
    ensure!(!said.contains(ROOT), "permissions did not matter to user {USER}: {said}");
    Ok(())
}

fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]).arg(program);
    command
}

fn open(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode)).with_context(|| path.display().to_string())
}
