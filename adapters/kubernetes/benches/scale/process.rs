//! What a process uses, as the kernel counts it: /proc.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A process, by its id.
pub(crate) struct Process(PathBuf);

impl Process {
    pub(crate) fn of(id: u32) -> Self {
        Self(format!("/proc/{id}").into())
    }

    /// Processor time of all its threads, in steps of 10 ms (proc_pid_stat(5)).
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(self.0.join("stat")).unwrap();
        // The second field is the name in parentheses, which may hold spaces; times are 14 and 15.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that it ever was.
    pub(crate) fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> u64 {
        let status = fs::read_to_string(self.0.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}
