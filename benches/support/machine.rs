//! What the figures were measured on, and what a process uses. Reads /proc.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Whether this run is to show only that the bench works: `cargo bench` passes `--bench`, `cargo test` does
/// not.
pub(crate) fn is_smoke() -> bool {
    let given = |flag: &str| std::env::args().any(|arg| arg == flag);
    given("--smoke") || given("--test") || !given("--bench")
}

/// Processor, memory, kernel, compiler, date and load, in one paragraph.
pub(crate) fn description() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_default();
    let mhz = field("/proc/cpuinfo", "cpu MHz").unwrap_or_default();
    let memory = kib("/proc/meminfo", "MemTotal").unwrap_or_default() >> 20;
    let kernel = read("/proc/sys/kernel/osrelease");
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let load = read("/proc/loadavg");
    let date = pilot::rfc3339::format(SystemTime::now());
    format!(
        "{cores} cores, {model}, {mhz} MHz; {memory} GiB; Linux {}; {}; {date}; load average {}",
        kernel.trim(),
        rustc.unwrap_or_default(),
        load.split(' ').take(3).collect::<Vec<_>>().join(" "),
    )
}

/// A process as the kernel sees it.
#[derive(Clone, Debug)]
pub(crate) struct Process(PathBuf);

impl Process {
    /// The process of that id.
    pub(crate) fn of(id: u32) -> Self {
        Self(format!("/proc/{id}").into())
    }

    /// The time that its threads have spent on a processor, in their own code and in the kernel's. The
    /// kernel counts in hundredths of a second here.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(self.0.join("stat")).unwrap_or_default();
        // The second field is the name in parentheses, which may hold spaces; times are 14 and 15.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        self.status("VmRSS")
    }

    /// The most resident memory since the start or since [`Process::forget_peak`], in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.status("VmHWM")
    }

    /// Begins a new measurement of [`Process::peak`].
    pub(crate) fn forget_peak(&self) {
        // Where the kernel refuses, the peak is that of the whole run.
        _ = std::fs::write(self.0.join("clear_refs"), "5");
    }

    fn status(&self, key: &str) -> u64 {
        kib(&self.0.join("status").to_string_lossy(), key).unwrap_or_default() << 10
    }
}

fn kib(file: &str, key: &str) -> Option<u64> {
    field(file, key)?.split(' ').next()?.parse().ok()
}

fn field(file: &str, key: &str) -> Option<String> {
    let text = read(file);
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}
