//! 5,000 services with 100,000 endpoints and 100,000 pods: how long until they are known, what that asks of
//! the API server, and what it costs afterwards.
//!
//! ```text
//!  this process: an API server (the testkit's) ◄── loopback ──► a process of its own: the adapter
//! ```
//!
//! The system counts the memory and the processor time of a process: those of the follower hold nothing of
//! the server's. The time until all is known does hold the server's work, on the same machine.
//!
//! `cargo test --benches` runs it in smoke size. `PILOT_BENCH_SERVICES=500` makes it another one, and
//! `PILOT_BENCH_BINARY=target/release/pilot` lets it start that pilot as a whole, too, and start it again.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and may panic")]
#![allow(clippy::disallowed_methods, reason = "it measures the machine's time, from outside of any runtime")]

#[path = "../../tests/support/cluster.rs"]
mod cluster;
mod follower;
#[path = "../../tests/support/large.rs"]
mod large;
mod pilot;
mod process;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster::Cluster;
use follower::Follower;
use large::ENDPOINTS;

/// Changes of each sort.
const CHANGES: usize = 20;
/// Between two of them: each is seen alone.
const REST: Duration = Duration::from_millis(200);

fn main() {
    if let Some(kubeconfig) = std::env::var_os(follower::FOLLOW) {
        return follower::follow(kubeconfig.into());
    }
    let smoke = !std::env::args().any(|argument| argument == "--bench");
    let services = std::env::var("PILOT_BENCH_SERVICES").ok().map(|text| text.parse().unwrap());
    let services: usize = services.unwrap_or(if smoke { 60 } else { 5_000 });
    // What changes is ever another service.
    assert!(services >= 2 * CHANGES, "at least {} services are needed", 2 * CHANGES);
    let idle = Duration::from_secs(if smoke { 1 } else { 130 });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let cluster = runtime.block_on(Cluster::start()).unwrap();
    (0..services).for_each(|number| large::fill(&cluster, number));
    println!("{services} services, {} endpoints, as many pods", services * ENDPOINTS);
    for streaming in [false, true] {
        cluster.server.set_streaming(streaming);
        println!("\nlists {}:", if streaming { "are streamed" } else { "have pages" });
        let mut follower = ready(&cluster, services);
        if streaming {
            rest(&cluster, &follower, idle);
            changes(&cluster, &mut follower, services);
        }
    }
    if let Some(binary) = std::env::var_os("PILOT_BENCH_BINARY") {
        println!("\npilot as a whole:");
        for start in ["started", "started again"] {
            let before = cluster.server.requests();
            let ready = pilot::start(binary.as_ref(), &cluster.file("kubeconfig"));
            println!("{start}: {ready}; requests: {}", asked(&cluster, &before));
        }
    }
}

/// From nothing until everything is known.
fn ready(cluster: &Cluster, services: usize) -> Follower {
    let before = cluster.server.requests();
    let began = Instant::now();
    let mut follower = Follower::start(&cluster.file("kubeconfig"));
    let empty = follower.process.resident();
    let known = follower.next();
    let took = began.elapsed();
    assert_eq!(known.endpoints, services * ENDPOINTS);
    let process = &follower.process;
    let (resident, most) = (process.resident().saturating_sub(empty), process.peak().saturating_sub(empty));
    println!("ready after {took:.2?}, CPU {:?}", process.cpu());
    println!(
        "memory: {} MiB more than before, at most {} MiB: {} bytes for an endpoint with its pod",
        resident >> 20,
        most >> 20,
        most / (services * ENDPOINTS) as u64
    );
    println!("requests: {}", asked(cluster, &before));
    follower
}

/// Nothing happens.
fn rest(cluster: &Cluster, follower: &Follower, time: Duration) {
    let (before, cpu) = (cluster.server.requests(), follower.process.cpu());
    std::thread::sleep(time);
    let spent = follower.process.cpu() - cpu;
    println!("idle for {time:?}: CPU {spent:?}; requests: {}", asked(cluster, &before));
}

fn changes(cluster: &Cluster, follower: &mut Follower, services: usize) {
    let before = cluster.server.requests();
    // The last one of an odd number is missing, or back.
    let same = |change: usize| large::serve(cluster, services / 2, ENDPOINTS - (change + 1) % 2);
    measured(follower, "an endpoint less or more of one service", same);
    let other = |change: usize| large::serve(cluster, change * services / (2 * CHANGES), ENDPOINTS - 1);
    measured(follower, "an endpoint less of ever another service", other);
    let label = |change: usize| large::relabel(cluster, services - 1, &format!("v{}", change + 2));
    measured(follower, "a label of a pod", label);
    println!("requests of all changes: {}", asked(cluster, &before));
}

/// Makes changes one after the other, and says when they were published and what they cost.
fn measured(follower: &mut Follower, what: &str, change: impl Fn(usize)) {
    let (mut times, before) = (Vec::new(), follower.process.cpu());
    for number in 0..CHANGES {
        let began = Instant::now();
        change(number);
        follower.next();
        times.push(began.elapsed());
        std::thread::sleep(REST);
    }
    times.sort();
    let spent = (follower.process.cpu() - before) / u32::try_from(CHANGES).unwrap();
    let (middle, last) = (times[CHANGES / 2], times[CHANGES - 1]);
    println!("{what}: published after {middle:.2?} (at most {last:.2?}); each CPU {spent:.2?}");
}

/// What the server was asked since then.
fn asked(cluster: &Cluster, before: &BTreeMap<String, usize>) -> String {
    let now = cluster.server.requests();
    let more = now.iter().map(|(what, count)| (what, count - before.get(what).unwrap_or(&0)));
    let more: Vec<_> = more.filter(|(_, count)| *count > 0).collect();
    let sum: usize = more.iter().map(|(_, count)| count).sum();
    let each: Vec<String> = more.iter().map(|(what, count)| format!("{what} {count}")).collect();
    format!("{sum} ({})", each.join(", "))
}
