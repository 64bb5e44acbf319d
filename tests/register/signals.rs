//! What signals do on every kind of registry, whatever `pilot register` is doing.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use pilot::shutdown::SAME;
use pilot_registry::Health::{Draining, Healthy};

use super::bench::Bench;
use super::rules::{NEVER, is_gone};
use crate::support::process::Process;
use crate::support::wait::{holds, throughout, until};

/// Waits until it has taken the first signal, and another one is a second.
async fn ending(register: &mut Process) {
    until("it is asked to end", async || {
        holds(register.output().contains("ending in order"), register.output())
    })
    .await;
    throughout("it ends in order", SAME, async || holds(register.status().is_none(), "it ended")).await;
}

/// `timeout` and others signal a process, and its group a moment later.
pub(crate) async fn signals_of_one_moment_are_one(mut bench: Bench) {
    let mut register = bench.register(8081, &["--drain-time", NEVER]);
    bench.sees(&[(8081, Healthy)]).await;
    register.signal("TERM");
    register.signal("INT");
    bench.sees(&[(8081, Draining)]).await;
    throughout("it drains", SAME, async || holds(register.status().is_none(), "it ended")).await;
    register.signal("TERM");
    assert_eq!(register.ended().await.code(), Some(1));
}

/// With the least ttl that both take, a sign of life is due every 333 ms, also while it drains.
pub(crate) async fn it_ends_with_a_drain_time_below_at_and_above_a_third_of_its_ttl(mut bench: Bench) {
    for (port, drain) in [(8081, "100ms"), (8082, "333ms"), (8083, "2s")] {
        let mut register = bench.register(port, &["--ttl", "1s", "--drain-time", drain]);
        bench.until("it is there", |found| found.get(&port) == Some(&Healthy)).await;
        register.signal("TERM");
        assert_eq!(register.ended().await.code(), Some(0), "{drain}: {}", register.output());
        bench.until("it is gone", |found| !found.contains_key(&port)).await;
    }
}

pub(crate) async fn a_second_signal_ends_at_once(mut bench: Bench) {
    let pid = bench.file("pid");
    let command = format!("echo $$ > '{}'; trap '' TERM; while :; do sleep 0.05; done", pid.display());
    let mut register =
        bench.register(8081, &["--ttl", "1s", "--drain-time", NEVER, "--", "sh", "-c", &command]);
    bench.sees(&[(8081, Healthy)]).await;
    register.signal("TERM");
    bench.sees(&[(8081, Draining)]).await;
    // Also when signs of life have been given while it drains.
    throughout("it drains", Duration::from_secs(1), async || holds(register.status().is_none(), "it ended"))
        .await;
    register.signal("TERM");
    assert_eq!(register.ended().await.code(), Some(1));
    is_gone(&pid).await;
}

pub(crate) async fn a_second_signal_ends_it_while_the_registry_is_silent(mut bench: Bench) {
    for (port, drain) in [(8081, NEVER), (8082, "0s")] {
        let mut register = bench.register(port, &["--drain-time", drain]);
        bench.until("it is there", |found| found.get(&port) == Some(&Healthy)).await;
        bench.signal_server("STOP");
        register.signal("TERM");
        ending(&mut register).await;
        register.signal("INT");
        assert_eq!(register.ended().await.code(), Some(1), "{}", register.output());
        let said = register.output();
        assert!(said.contains("ended at once"), "{said}");
        bench.signal_server("CONT");
    }
}

/// There is nothing to drain, and nobody to take it out of.
pub(crate) async fn a_signal_ends_at_once_what_was_never_registered(mut bench: Bench) {
    bench.kill_server();
    let command = "trap 'exit 3' TERM; while :; do sleep 0.05; done";
    let mut register = bench.register(8081, &["--drain-time", NEVER, "--", "sh", "-c", command]);
    until("the registry is missed", async || {
        holds(register.output().contains("registration failed"), register.output())
    })
    .await;
    register.signal("TERM");
    assert_eq!(register.ended().await.code(), Some(3), "{}", register.output());
    let said = register.output();
    assert!(said.contains("the registry has never confirmed it") && !said.contains("draining"), "{said}");
}

/// A log that nobody reads blocks who writes it, and that is who would have to end.
pub(crate) async fn a_second_signal_ends_it_though_nobody_reads_its_log(mut bench: Bench) {
    let log = bench.file("log");
    assert!(Command::new("mkfifo").arg(&log).status().unwrap().success());
    let mut register = bench.register_with_log(8081, &["--drain-time", NEVER], &log);
    let nobody_reads = File::open(&log).unwrap();
    bench.sees(&[(8081, Healthy)]).await;
    // As long as the pipe has room, this writes; then it waits like everybody else.
    let mut pipe = File::options().write(true).open(&log).unwrap();
    let fills = std::thread::spawn(move || while pipe.write_all(&[b'.'; 4096]).is_ok() {});
    register.signal("TERM");
    // It cannot say that it has heard the first one.
    throughout("it is blocked", Duration::from_secs(1), async || {
        holds(register.status().is_none(), "it ended")
    })
    .await;
    register.signal("TERM");
    assert_eq!(register.ended().await.code(), Some(1));
    drop(nobody_reads);
    fills.join().unwrap();
}

/// Whoever closes a terminal, or asks all servers to reload, ends no instance, and no program.
pub(crate) async fn sighup_is_ignored_and_does_not_reach_the_command(mut bench: Bench) {
    let (told, begun) = (bench.file("told"), bench.file("begun"));
    let command = format!(
        "trap 'touch \"{}\"' HUP; touch '{}'; while :; do sleep 0.05; done",
        told.display(),
        begun.display()
    );
    let mut register = bench.register(8081, &["--drain-time", "0s", "--", "sh", "-c", &command]);
    bench.sees(&[(8081, Healthy)]).await;
    until("the command runs", async || holds(begun.exists(), "no")).await;
    register.signal("HUP");
    until("it is said", async || holds(register.output().contains("SIGHUP is ignored"), register.output()))
        .await;
    register.signal("TERM");
    register.ended().await;
    assert!(!told.exists(), "the command got it");
    bench.sees(&[]).await;
    let said = register.output();
    assert_eq!(said.matches("SIGHUP").count(), 1, "{said}");
    assert!(said.contains("ending in order") && said.contains("removed"), "{said}");
}
