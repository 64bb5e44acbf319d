//! Ends a process group when we are killed and can do nothing about it any more.
//!
//! A shell reads from a pipe whose other end only this process holds. When this process ends, for whatever
//! reason, the system closes the pipe, and the shell ends the group: SIGTERM first, SIGKILL ten seconds
//! later.

use std::io;
use std::process::Stdio;

use rustix::process::{Pid, getpid};
use tokio::process::{Child, Command};

const SCRIPT: &str = r#"read -r _
kill -s TERM -- "-$1" || exit
for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    kill -s 0 -- "-$1" || exit
done
kill -s KILL -- "-$1""#;

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// With its pipe. Killed when it is dropped.
    _shell: Child,
}

impl Watchdog {
    /// Watches over that process group.
    pub(super) fn of(group: Pid) -> io::Result<Self> {
        let mut command = Command::new("sh");
        let name = format!("pilot-watchdog-{}", getpid().as_raw_pid());
        command.args(["-c", SCRIPT, &name]).arg(group.as_raw_pid().to_string());
        // A signal from the terminal, or to our group, does not reach it.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { _shell: command.spawn()? })
    }
}
