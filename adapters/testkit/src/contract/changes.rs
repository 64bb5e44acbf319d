//! Changes on a platform that works: C4, C5, C6, C11.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use pilot_registry::{Health, Service};

use super::{Bench, Verdict};
use crate::{Backend, Operation, ServiceBuilder, service};

/// C4: a service that is added, changed or removed is seen.
///
/// # Errors
/// The rule is broken.
pub async fn c04_services_come_change_and_go(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    let mut runner = bench.run();
    bench.agrees(&mut runner).await.context("the first list")?;
    bench.put(service("c.local").http(80).endpoint("10.0.0.3", 8080).build()).await?;
    bench.agrees(&mut runner).await.context("a service was added")?;
    let changed = service("a.local").grpc(80).tcp(81).endpoint("10.0.0.1", 8081).build();
    bench.put(changed).await?;
    bench.agrees(&mut runner).await.context("a service's ports were changed")?;
    bench.delete("b.local").await?;
    bench.agrees(&mut runner).await.context("a service was removed")?;
    bench.put(service("b.local").tcp(90).endpoint("10.0.0.2", 9090).build()).await?;
    bench.agrees(&mut runner).await.context("a service came back")?;
    bench.verdict()
}

/// C5: endpoints are seen to come, go, move, change their port and their health; IPv4 and IPv6.
///
/// # Errors
/// The rule is broken.
pub async fn c05_endpoints_come_change_and_go(backend: &mut dyn Backend) -> Result<Verdict> {
    let one = || service("a.local").http(80).endpoint("10.0.0.1", 8080);
    let two = || one().endpoint("10.0.0.2", 8080);
    let steps: [(&str, ServiceBuilder); 11] = [
        ("no endpoint", service("a.local").http(80)),
        ("an endpoint is added", one()),
        ("another endpoint is added", two()),
        ("an endpoint is removed", one()),
        ("an IPv6 endpoint is added", one().endpoint("2001:db8::1", 8080)),
        ("an IPv6 endpoint moves", one().endpoint("2001:db8::2", 8080)),
        ("an endpoint moves", one().endpoint("10.0.0.3", 8080)),
        ("an endpoint's port changes", one().endpoint("10.0.0.3", 8081)),
        ("an endpoint gets unhealthy", one().endpoint("10.0.0.3", 8081).health(Health::Unhealthy)),
        ("an endpoint gets healthy", one().endpoint("10.0.0.3", 8081).health(Health::Healthy)),
        ("the last endpoints go", service("a.local").http(80)),
    ];
    let mut bench = Bench::new(backend);
    let mut runner = bench.run();
    let mut before: Option<Arc<Service>> = None;
    for (step, after) in steps {
        let after = after.build();
        let seen = bench.backend.as_seen(&after);
        if before.as_ref() == Some(&seen) {
            bench.cannot_say(step);
        }
        bench.put(after).await?;
        bench.agrees(&mut runner).await.context(step)?;
        before = Some(seen);
    }
    bench.verdict()
}

/// C6: the same content in another order is equal, and writing what is there once more is no change.
///
/// # Errors
/// The rule is broken.
pub async fn c06_order_and_rewrites_are_no_change(backend: &mut dyn Backend) -> Result<Verdict> {
    let mut bench = Bench::with_two(backend).await?;
    let several = service("c.local").http(80).http2(81).alias("d.local");
    let several =
        several.endpoint("10.0.0.5", 8080).endpoint("10.0.0.4", 8080).label("b", "2").label("a", "1");
    bench.put(several.build()).await?;
    let mut runner = bench.run();
    bench.agrees(&mut runner).await?;
    if bench.can(Operation::Rewrite) {
        let revision = runner.revision();
        bench.backend.rewrite().await?;
        bench.nothing_came_since(revision, &mut runner).await?;
    }
    // Whoever reads it for the first time reads the same.
    bench.agrees(&mut bench.run()).await?;
    bench.verdict()
}

/// C11: 1,000 rapid changes converge to the last state, with at most as many revisions as changes.
///
/// # Errors
/// The rule is broken.
pub async fn c11_rapid_changes_converge(backend: &mut dyn Backend) -> Result<Verdict> {
    const CHANGES: u32 = 1_000;
    let mut bench = Bench::with_two(backend).await?;
    let mut runner = bench.run();
    bench.agrees(&mut runner).await?;
    let before = runner.revision();
    for n in 1..=CHANGES {
        let host = format!("rapid{}.local", n % 7);
        match n % 10 {
            0 if bench.has(&host) => bench.delete(&host).await?,
            _ => bench.put(service(&host).http(80).endpoint("10.0.0.9", 1000 + n).build()).await?,
        }
        if n <= CHANGES / 2 {
            // One half change by change, where the backend itself never waits; the other in one go.
            tokio::task::yield_now().await;
        }
    }
    bench.agrees(&mut runner).await?;
    let revisions = runner.revision() - before;
    let most = u64::from(CHANGES) * bench.backend.changes_per_put();
    ensure!(revisions <= most, "{CHANGES} changes made {revisions} revisions");
    bench.verdict()
}
