//! What the system says of this process, under the names that Prometheus' clients have agreed on.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::label::to_i64;

/// Adds what the system tells. What it does not tell is left out, and without `/proc` that is most of it.
pub(super) fn register(registry: &mut Registry) {
    let counter = Counter::<f64, AtomicU64>::default();
    counter.inc_by(processor_time().as_secs_f64());
    registry.register("process_cpu_seconds", "Processor time of this process, user and system", counter);
    let (pages, page) = (read("/proc/self/statm"), rustix::param::page_size());
    let mut numbers = pages.split_whitespace().map(|pages| pages.parse::<usize>().ok());
    let bytes = |pages: Option<Option<usize>>| pages.flatten().map(|pages| pages.saturating_mul(page));
    let (virtual_memory, resident) = (bytes(numbers.next()), bytes(numbers.next()));
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count());
    let most = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok());
    for (name, help, value) in [
        ("process_virtual_memory_bytes", "Virtual memory of this process", virtual_memory),
        ("process_resident_memory_bytes", "Resident memory of this process", resident),
        ("process_open_fds", "Open file descriptors of this process", open),
        ("process_max_fds", "The most file descriptors that this process may open", most),
    ] {
        if let Some(value) = value {
            let gauge = Gauge::<i64>::default();
            gauge.set(to_i64(value));
            registry.register(name, help, gauge);
        }
    }
    if let Some(started) = started() {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(started.as_secs_f64());
        registry.register("process_start_time_seconds", "When this process was started, in Unix time", gauge);
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), nanos)
}

/// Since the beginning of Unix time: of the machine's start (proc(5), `btime` in `/proc/stat`) and of this
/// process' after that.
fn started() -> Option<Duration> {
    let stat = read("/proc/stat");
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let after = ticks_after_boot(&read("/proc/self/stat"))?;
    let tick =
        Duration::from_secs(1).checked_div(u32::try_from(rustix::param::clock_ticks_per_second()).ok()?)?;
    Some(Duration::from_secs(boot) + tick.mul_f64(after as f64))
}

/// The field `starttime` of `/proc/self/stat`, the 22nd. The second is a name, which may have anything in it.
fn ticks_after_boot(stat: &str) -> Option<u64> {
    let (_, behind_the_name) = stat.rsplit_once(')')?;
    behind_the_name.split_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use prometheus_client::encoding::text::encode;

    use super::*;

    fn values() -> impl Fn(&str) -> f64 {
        let mut registry = Registry::default();
        register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        move |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
        }
    }

    #[test]
    fn what_is_told_is_true_of_this_process() {
        let value = values();
        let status = read("/proc/self/status");
        let known = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            1024.0 * line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<f64>().unwrap()
        };
        for (name, key) in
            [("process_resident_memory_bytes", "VmRSS"), ("process_virtual_memory_bytes", "VmSize")]
        {
            let (told, known) = (value(name), known(key));
            assert!(told > known / 4.0 && told < known * 4.0, "{name}: {told}, and the system says {known}");
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value("process_start_time_seconds");
        // Boot times are told in whole seconds.
        assert!((-2.0..3600.0).contains(&age), "{age}");
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
    }

    #[test]
    fn open_files_are_counted() {
        let before = values()("process_open_fds");
        let files: Vec<_> = (0..200).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        // Other tests open and close some, too.
        assert!(values()("process_open_fds") > before + 100.0);
        drop(files);
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_is_no_obstacle() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 8 9";
        assert_eq!(ticks_after_boot(stat), Some(123_456));
        assert_eq!(ticks_after_boot(""), None);
    }
}
