//! What following a large cluster takes. The follower is a process of its own: the system counts the memory
//! of a whole process. The long form has 5,000 services with 100,000 endpoints and pods; `PILOT_MEMORY_SERVICES` is another number.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and tells what it measured")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/large.rs"]
mod large;

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::Cluster;
use large::{ENDPOINTS, fill};
use pilot_registry_kubernetes::Config;
use pilot_registry_testkit::{Runner, effort};

/// The most bytes for an endpoint, its pod, and its share of everything else, at the worst moment: measured
/// are about 2,000 ...
const MOST: usize = 2_800;
/// ... beside what does not depend on the cluster: code that was not used before, buffers.
const FIXED: usize = 16 << 20;
/// Tells the process that is the follower where the cluster is ...
const FOLLOW: &str = "PILOT_MEMORY_KUBECONFIG";
/// ... and the trust domain of identities: with one, pods are transferred as a whole.
const TRUST: &str = "PILOT_MEMORY_TRUST_DOMAIN";

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match std::env::var_os(FOLLOW) {
        Some(kubeconfig) => {
            let (kubeconfig, trust_domain) = (Some(kubeconfig.into()), std::env::var(TRUST)?);
            runtime.block_on(follow(Config { kubeconfig, trust_domain, ..Config::default() }))
        }
        None => runtime.block_on(measure()),
    }
}

/// The follower: prints what it took, in bytes, until everything was known and at the most.
async fn follow(config: Config) -> Result<()> {
    let before = memory("VmRSS")?;
    let registry = pilot_registry_kubernetes::registry(config)?;
    let started = tokio::time::Instant::now();
    let mut runner = Runner::start(std::sync::Arc::new(registry)).with_patience(Duration::from_secs(300));
    let snapshot = runner.until("a snapshot", |state| Some(state.published.as_ref()?.value.clone())).await?;
    let (took, most) = (memory("VmRSS")? - before, memory("VmHWM")? - before);
    println!("{} {took} {most} {}", snapshot.endpoint_count(), started.elapsed().as_millis());
    Ok(())
}

async fn measure() -> Result<()> {
    let services =
        std::env::var("PILOT_MEMORY_SERVICES").map_or(Ok(effort(500, 5_000)), |text| text.parse())?;
    let cluster = Cluster::start().await?;
    (0..services).for_each(|number| fill(&cluster, number));
    let ways = [
        (true, "", "streamed"),
        (false, "", "in pages"),
        (true, "example.org", "streamed, with identities"),
        (false, "example.org", "in pages, with identities"),
    ];
    for (streaming, trust_domain, way) in ways {
        cluster.server.set_streaming(streaming);
        let kubeconfig = cluster.file("kubeconfig");
        let output = tokio::task::spawn_blocking(move || {
            let mut follower = Command::new(std::env::current_exe()?);
            follower.env(FOLLOW, kubeconfig).env(TRUST, trust_domain);
            follower.stdin(Stdio::null()).stderr(Stdio::inherit()).output()
        });
        let text = String::from_utf8(output.await??.stdout)?;
        let told: Vec<usize> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [endpoints, took, most, millis] = told[..] else { anyhow::bail!("the follower said {text:?}") };
        println!(
            "{services} services, {endpoints} endpoints, listed {way}: {} MiB, at most {} MiB ({} bytes for an \
             endpoint), known after {millis} ms",
            took >> 20,
            most >> 20,
            most / endpoints.max(1)
        );
        ensure!(endpoints == services * ENDPOINTS, "{endpoints} endpoints came");
        ensure!(most < FIXED + MOST * endpoints, "{most} bytes for {endpoints} endpoints");
    }
    println!("requests: {:?}", cluster.server.requests());
    Ok(())
}

/// A figure of this process, in bytes.
fn memory(what: &str) -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).context("the system counts memory")?;
    let kib: usize = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
