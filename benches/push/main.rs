//! What a thousand clients cost: memory, the first sync, one change, one service more or less, and coming back.
//!
//! `cargo bench --bench push [-- --clients 1000 --services 1000 --changes 20]`; figures and budgets are in
//! benches/README.md.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

#[allow(dead_code, reason = "each bench uses its part")]
#[path = "../support/machine.rs"]
mod machine;
#[allow(dead_code, reason = "each bench uses its part")]
#[path = "../support/measure.rs"]
mod measure;
#[allow(dead_code, reason = "each bench uses its part")]
#[path = "../support/services.rs"]
mod services;

mod client;
mod probe;
mod server;
mod tally;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::task::JoinSet;

use client::Wants;
use measure::{Samples, ms};
use pilot::resources::ResourceType;
use probe::Probe;
use server::Server;
use tally::Tally;
use wire::{Delta, Sotw, Variant};

/// The server's, as in `src/main.rs`.
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ENDPOINTS: usize = 20;

/// How many times as long as between changes the server is left alone before its memory is read: until its allocator has
/// given back what is free.
const RESTS: u32 = 50;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Size {
    services: usize,
    clients: usize,
    changes: u32,
    /// How long the server is left alone before its memory is read, and between changes.
    rest: Duration,
}

fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some(server::ARGUMENT) {
        return server::serve();
    }
    let size = Size::of_arguments()?;
    let only = argument("--only");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("{}\n", machine::description());
    println!("{} services x {ENDPOINTS} endpoints, {} ADS clients", size.services, size.clients);
    let runs = |what: &str| only.as_deref().is_none_or(|only| only == what);
    if runs("delta") {
        runtime.block_on(async {
            let (mut server, mut clients) = in_sync::<Delta>("delta", wants(size), size).await?;
            changes(&mut server, &mut clients, size).await?;
            more_and_less(&mut server, &mut clients, ResourceType::Route, size).await
        })?;
    }
    if runs("vhds") {
        runtime.block_on(async {
            let wants = wants_in_parts(size);
            let (mut server, mut clients) =
                in_sync::<Delta>("delta, routes in parts (VHDS)", wants, size).await?;
            more_and_less(&mut server, &mut clients, ResourceType::VirtualHost, size).await
        })?;
    }
    if runs("sotw") {
        runtime.block_on(async {
            let (mut server, mut clients) = in_sync::<Sotw>("state of the world", wants(size), size).await?;
            changes(&mut server, &mut clients, size).await
        })?;
    }
    if runs("reconnect") {
        runtime.block_on(reconnect(size))?;
    }
    Ok(())
}

impl Size {
    fn of_arguments() -> anyhow::Result<Self> {
        let smoke = machine::is_smoke();
        let number = |name: &str, smoke_size: usize, size: usize| match argument(name) {
            Some(given) => given.parse().with_context(|| format!("{name} {given}")),
            None => Ok(if smoke { smoke_size } else { size }),
        };
        Ok(Self {
            services: number("--services", 10, 1_000)?,
            clients: number("--clients", 3, 1_000)?,
            changes: u32::try_from(number("--changes", 2, 20)?)?,
            rest: Duration::from_millis(if smoke { 30 } else { 300 }),
        })
    }
}

fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != name).nth(1)
}

/// Clients of one server.
struct Clients {
    tally: Arc<Tally>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Clients {
    fn new() -> Self {
        Self { tally: Arc::default(), tasks: JoinSet::new() }
    }

    fn spawn(&mut self, client: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.tasks.spawn(client);
    }

    /// Waits until all have what they wait for. Returns when each had it, in order.
    async fn complete(&mut self) -> anyhow::Result<Vec<Duration>> {
        tokio::select! {
            complete = self.tally.complete() => complete,
            Some(ended) = self.tasks.join_next() => {
                ended?.context("a client failed")?;
                bail!("a client has ended")
            }
        }
    }
}

/// What clients want that take routes as a whole.
fn wants(size: Size) -> Wants {
    wants_of(size, false)
}

/// What clients want that take routes in parts.
fn wants_in_parts(size: Size) -> Wants {
    wants_of(size, true)
}

fn wants_of(size: Size, in_parts: bool) -> Wants {
    let cluster = |number| format!("outbound|{}||{}", services::PORT, services::host(number));
    Wants::new((0..size.services).map(cluster), cluster(size.services), &services::PORT.to_string(), in_parts)
}

/// A server that knows the mesh and has translated it.
async fn warm_server(size: Size) -> anyhow::Result<(Server, Wants)> {
    let mut server = Server::start()?;
    server.publish(size.services, ENDPOINTS)?;
    let held = client::held(server.address, &wants(size)).await?;
    tokio::time::sleep(size.rest * RESTS).await;
    Ok((server, held))
}

/// A server with all clients in sync.
async fn in_sync<V: Variant>(name: &str, wants: Wants, size: Size) -> anyhow::Result<(Server, Clients)> {
    let (server, _) = warm_server(size).await?;
    let process = server.process();
    let (memory, cpu) = (process.resident(), process.cpu());
    process.forget_peak();

    let mut clients = Clients::new();
    clients.tally.begin(size.clients);
    let wants = Arc::new(wants);
    let probe = Probe::begin(server.admin);
    let started = tally::now();
    for number in 0..size.clients {
        let client = client::follow::<V>(server.address, number, Arc::clone(&wants), clients.tally.clone());
        clients.spawn(client);
    }
    let arrivals = clients.complete().await?;
    let probed = probe.end()?;
    tokio::time::sleep(size.rest * RESTS).await;
    let took = last(&arrivals).saturating_sub(started);
    let (resources, bytes) = clients.tally.traffic();
    println!("\n{name}");
    print("from nothing to in sync", &ms(took), "ms, the last client");
    print("  server CPU", &ms(process.cpu().saturating_sub(cpu)), "ms");
    print("  sent", &(bytes >> 20).to_string(), &format!("MiB in {resources} resources"));
    print("  /livez meanwhile, 90 %", &ms(probed.quantile(0.9)), "ms");
    print("  /livez meanwhile, the longest", &ms(probed.quantile(1.0)), "ms");
    let kb = |bytes: u64| (bytes.saturating_sub(memory) / size.clients as u64 / 1000).to_string();
    print("server memory per client", &kb(process.resident()), "kB, idle");
    print("  at the most", &kb(process.peak()), "kB, in the first sync");
    print("  server without clients", &(memory >> 20).to_string(), "MiB");
    Ok((server, clients))
}

/// One endpoint changes, again and again.
async fn changes(server: &mut Server, clients: &mut Clients, size: Size) -> anyhow::Result<()> {
    let mut latencies = Vec::new();
    let cpu = server.process().cpu();
    for step in 1..=size.changes {
        clients.tally.begin(size.clients);
        let service = step as usize * 37 % size.services;
        let published = server.change(service, step)?;
        let arrivals = clients.complete().await?;
        latencies.push(arrivals.into_iter().map(|at| at.saturating_sub(published)).collect::<Samples>());
        tokio::time::sleep(size.rest).await;
    }
    let cpu = server.process().cpu().saturating_sub(cpu) / size.changes;
    println!("{:<32} {:>10} {:>10} {:>10}", "one endpoint changes (ms)", "min", "median", "max");
    for (name, share) in [("first", 0.0), ("half", 0.5), ("99 %", 0.99), ("last", 1.0)] {
        let samples: Samples = latencies.iter().map(|samples| samples.quantile(share)).collect();
        println!("{:<32} {samples}", format!("  {name} of the clients has it"));
    }
    print("  server CPU", &ms(cpu), "ms for each change, ACKs included");
    Ok(())
}

/// One service more, which is there when its route is, in a response of that type, and one less, which is gone when its
/// cluster is; in turns.
async fn more_and_less(
    server: &mut Server,
    clients: &mut Clients,
    routes: ResourceType,
    size: Size,
) -> anyhow::Result<()> {
    let steps = [(size.services + 1, routes), (size.services, ResourceType::Cluster)];
    let mut costs = [const { (Vec::new(), Duration::ZERO, 0) }; 2];
    let rounds = size.changes.div_ceil(4);
    for _ in 0..rounds {
        for ((services, last_of), (took, cpu, bytes)) in steps.iter().zip(&mut costs) {
            let before = server.process().cpu();
            clients.tally.begin_of(size.clients, Some(*last_of));
            let published = server.resize(*services, ENDPOINTS)?;
            let arrivals = clients.complete().await?;
            tokio::time::sleep(size.rest).await;
            took.push(last(&arrivals).saturating_sub(published));
            *cpu += server.process().cpu().saturating_sub(before);
            *bytes += clients.tally.traffic().1;
        }
    }
    let times = u64::from(rounds) * size.clients as u64;
    for (what, (took, cpu, bytes)) in ["one service more", "one service less"].into_iter().zip(costs) {
        let samples: Samples = took.into_iter().collect();
        println!("{:<32} {samples}", format!("{what} (ms), last client"));
        print("  server CPU", &ms(cpu / u32::try_from(times)?), "ms for each client");
        print("  sent", &(bytes / times).to_string(), "bytes to each client");
    }
    Ok(())
}

/// Clients come back to a pilot that was restarted, with what they hold.
async fn reconnect(size: Size) -> anyhow::Result<()> {
    let (before, held) = warm_server(size).await?;
    drop(before);
    let (server, _) = warm_server(size).await?;
    let process = server.process();
    let cpu = process.cpu();
    let mut clients = Clients::new();
    let (count, held) = (size.clients * 2, Arc::new(held));
    clients.tally.begin(count);
    let started = tally::now();
    for number in 0..count {
        let client = client::come_back(server.address, number, Arc::clone(&held), clients.tally.clone());
        clients.spawn(client);
    }
    let arrivals = clients.complete().await?;
    tokio::time::sleep(size.rest).await;
    let (resources, bytes) = clients.tally.traffic();
    println!("\n{count} delta clients come back to a restarted pilot with what they hold");
    print("until the last was answered", &ms(last(&arrivals).saturating_sub(started)), "ms");
    print("  server CPU", &ms(process.cpu().saturating_sub(cpu)), "ms");
    print("  sent again", &resources.to_string(), &format!("resources, {bytes} bytes"));
    anyhow::ensure!(resources == 0, "what clients hold is not sent again");
    Ok(())
}

fn last(arrivals: &[Duration]) -> Duration {
    arrivals.last().copied().unwrap_or_default()
}

fn print(what: &str, value: &str, unit: &str) {
    println!("{what:<32} {value:>10} {unit}");
}
