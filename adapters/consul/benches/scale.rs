//! 5,000 services with 15 instances each: how long until they are in sync, and what it costs afterwards.
//! `cargo test --benches` runs it with 200 and few changes, which shows only that it works.
//!
//! ```text
//!  thread "consul" (a fake agent) ◄── loopback ──► thread "registry" (the adapter)
//! ```
//!
//! Each side has a thread of its own, so that the system says what each costs.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and may panic")]

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use pilot_registry::{Feed, Health, ServiceRegistry, Snapshot, State, channel};
use pilot_registry_consul::{Config, registry};
use pilot_registry_testkit::server::consul::FakeConsul;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const INSTANCES: usize = 15;

/// How much is measured.
#[derive(Clone, Copy)]
struct Size {
    /// More than have a long poll each.
    services: usize,
    changes: usize,
    /// Until the rounds of probes that follow a start are over.
    settle: Duration,
    /// How long it is watched while nothing changes: twice as long as all that is checked once takes.
    idle: Duration,
    /// Long enough for a round of probes and the rest after it.
    rest: Duration,
}

impl Size {
    /// `cargo bench` passes `--bench`, `cargo test` does not.
    fn asked_for() -> Self {
        let given = |flag: &str| std::env::args().any(|argument| argument == flag);
        let full = given("--bench") && !given("--smoke");
        let size = |services, changes, [settle, idle, rest]: [u64; 3]| {
            let millis = Duration::from_millis;
            Self { services, changes, settle: millis(settle), idle: millis(idle), rest: millis(rest) }
        };
        if full { size(5_000, 20, [10_000, 60_000, 2_000]) } else { size(200, 2, [100, 500, 100]) }
    }
}

fn main() {
    let size = Size::asked_for();
    let consul = start_consul(size.services);
    let feed = start_registry(&consul);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&consul, &feed, size));
}

/// The agent, with its catalog, on a thread that runs as long as the bench.
fn start_consul(services: usize) -> Arc<FakeConsul> {
    let (started, consul) = sync_channel(1);
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let consul = Arc::new(FakeConsul::start(None).await.unwrap());
            for service in 0..services {
                consul.put(&name(service), &entries(service, INSTANCES, "passing"));
            }
            started.send(Arc::clone(&consul)).unwrap();
            std::future::pending::<()>().await;
        });
    };
    std::thread::Builder::new().name("consul".into()).spawn(serve).unwrap();
    consul.recv().unwrap()
}

fn start_registry(consul: &FakeConsul) -> Feed<Snapshot> {
    let config = Config { address: format!("http://{}", consul.address()), ..Config::default() };
    let registry = registry(config).unwrap();
    let (sink, feed) = channel();
    let follow = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let Err(error) = runtime.block_on(registry.run(&sink));
        panic!("{}", error.chain());
    };
    std::thread::Builder::new().name("registry".into()).spawn(follow).unwrap();
    feed
}

async fn measure(consul: &FakeConsul, feed: &Feed<Snapshot>, size: Size) {
    let began = Instant::now();
    until(feed, |state| state.published.is_some()).await;
    let endpoints = feed.published().unwrap().value.endpoint_count();
    println!("in sync: {} endpoints after {:?}, CPU {:?}", endpoints, began.elapsed(), cpu("registry"));
    assert_eq!(endpoints, size.services * INSTANCES);
    let counts = consul.counts();
    println!("connections: {} open, {} at most, {} opened", counts.open, counts.most, counts.opened);

    sleep(size.settle).await;
    let (before, requests) = (cpu("registry"), consul.counts().requests);
    sleep(size.idle).await;
    let spent = cpu("registry") - before;
    let asked = consul.counts().requests - requests;
    println!("idle for {:?}: CPU {spent:?}, {asked} requests", size.idle);

    let sick = |change: usize| (7, INSTANCES, change.is_multiple_of(2));
    changes(consul, feed, size, "health of an instance", sick).await;
    let same = |change: usize| (7, INSTANCES + 1 - change % 2, false);
    changes(consul, feed, size, "an instance more or less of one service", same).await;
    let other = |change: usize| (change * 119 + 40, INSTANCES + 1, false);
    changes(consul, feed, size, "an instance more of ever another service", other).await;
    let counts = consul.counts();
    println!("connections: {} open, {} at most, {} opened", counts.open, counts.most, counts.opened);
}

/// Makes changes one after the other, and says when they were seen and what they cost. `change` says of
/// which service, how many instances it has then, and whether the first is critical.
async fn changes(
    consul: &FakeConsul,
    feed: &Feed<Snapshot>,
    size: Size,
    what: &str,
    change: impl Fn(usize) -> (usize, usize, bool),
) {
    let (before, mut times) = (cpu("registry"), Vec::new());
    let requests = consul.counts().requests;
    for number in 0..size.changes {
        let (service, count, critical) = change(number);
        let (status, health) =
            if critical { ("critical", Health::Unhealthy) } else { ("passing", Health::Healthy) };
        let (host, entries) = (format!("{}.service.consul", name(service)), entries(service, count, status));
        consul.put(&name(service), &entries);
        let began = Instant::now();
        until(feed, |state| {
            let snapshot = &state.published.as_ref().unwrap().value;
            let seen = &snapshot.get(&host).unwrap().endpoints;
            seen.len() == count && seen[0].health == health
        })
        .await;
        times.push(began.elapsed());
        sleep(size.rest).await;
    }
    times.sort();
    let spent = (cpu("registry") - before) / u32::try_from(size.changes).unwrap();
    let asked = (consul.counts().requests - requests) / size.changes;
    let (middle, last) = (times[size.changes / 2], times[size.changes - 1]);
    println!("{what}: seen after {middle:?} (at most {last:?}); each CPU {spent:?}, {asked} requests");
}

async fn until(feed: &Feed<Snapshot>, there: impl Fn(&State<Snapshot>) -> bool + Send + Sync) {
    let mut states = feed.subscribe();
    let seen = states.wait_for(|state| there(state));
    tokio::time::timeout(Duration::from_secs(120), seen).await.unwrap().unwrap();
}

fn name(service: usize) -> String {
    format!("s{service:04}")
}

/// As large as what a real agent says. Only the first instance has that state.
fn entries(service: usize, count: usize, first: &str) -> Vec<Value> {
    let name = name(service);
    let entry = |number: usize| {
        let (node, id) = (format!("node-{}", (service * 31 + number * 7) % 500), format!("{name}-{number}"));
        let address = format!("10.{}.{}.{}", service / 250, service % 250, number + 1);
        let check = |id: &str, service: &str, status: &str| {
            json!({
                "Node": node, "CheckID": id, "Name": "a check", "Status": status, "Notes": "",
                "Output": "TCP connect 10.0.0.1:8080: Success", "ServiceID": service, "ServiceName": service,
                "ServiceTags": [], "Type": "tcp", "Definition": {}, "CreateIndex": 15, "ModifyIndex": 15,
            })
        };
        let status = if number == 0 { first } else { "passing" };
        json!({
            "Node": {
                "ID": "40e4a748-2192-161a-0510-9bf59fe950b5", "Node": node, "Address": "10.200.0.1",
                "Datacenter": "dc1", "TaggedAddresses": { "lan": "10.200.0.1", "wan": "10.200.0.1" },
                "Meta": { "consul-network-segment": "", "zone": "a" }, "CreateIndex": 10, "ModifyIndex": 10,
            },
            "Service": {
                "ID": id, "Service": name, "Tags": ["http", "version=v1"], "Address": address,
                "TaggedAddresses": { "lan_ipv4": { "Address": address, "Port": 8080 } },
                "Meta": { "team": "payments" }, "Port": 8080, "Weights": { "Passing": 1, "Warning": 1 },
                "EnableTagOverride": false, "Proxy": { "MeshGateway": {}, "Expose": {} }, "Connect": {},
                "CreateIndex": 14, "ModifyIndex": 14,
            },
            "Checks": [check("serfHealth", "", "passing"), check(&format!("tcp:{id}"), &name, status)],
        })
    };
    (0..count).map(entry).collect()
}

/// The processor time that the thread of that name has had, in steps of 10 ms (proc_pid_stat(5)).
fn cpu(thread: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == thread)
    };
    let stat = |path: std::path::PathBuf| std::fs::read_to_string(path.join("stat")).unwrap();
    let ticks = |stat: String| -> u64 {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    Duration::from_millis(tasks.filter(named).map(stat).map(ticks).sum::<u64>() * 10)
}
