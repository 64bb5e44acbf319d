//! What following costs: how often the server is asked, at a start, for a change and when a watch ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use pilot_registry::{RegistryHealth, Service, WatchState, WatchStatus};
use pilot_registry_kubernetes::Config;
use pilot_registry_testkit::Runner;
use serde_json::json;

use crate::cluster::Cluster;
use crate::{PAY, WEB, until, until_checked, until_hosts, until_live, until_old};

#[tokio::test]
async fn a_start_asks_once_for_each_resource() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    let mut runner = cluster.run(cluster.config());
    until_hosts(&mut runner, &[WEB]).await?;
    let asked: Vec<_> = cluster.server.requests().into_iter().collect();
    let once = ["endpointslices", "nodes", "pods", "services"].map(|what| (format!("watch {what}"), 1));
    assert_eq!(asked, once);
    Ok(())
}

/// One says 422; one whose storage cannot report progress begins to stream, and says 500 in the stream.
#[tokio::test]
async fn a_server_that_does_not_stream_lists_is_asked_for_pages() -> Result<()> {
    for (streaming, progress) in [(false, true), (true, false)] {
        let cluster = Cluster::start().await?;
        cluster.server.set_streaming(streaming);
        cluster.server.set_progress(progress);
        for name in ["a", "b", "c", "d", "e"] {
            cluster.serve("shop", name, &["10.0.0.1"]);
        }
        let mut runner = cluster.run(Config { page_size: 2, ..cluster.config() });
        let all = ["a", "b", "c", "d", "e"].map(|name| format!("{name}.shop.svc.cluster.local"));
        until_hosts(&mut runner, &all.each_ref().map(String::as_str)).await?;
        assert_eq!((cluster.asked("list services"), cluster.asked("list pods")), (3, 1));
        // The one that is refused is for a list as well.
        until_checked(&cluster, &mut runner).await?;
        assert_eq!(cluster.asked("watch services"), 2);
        until_live(&mut runner).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_change_costs_what_changed() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    cluster.serve("shop", "pay", &["10.0.0.2"]);
    cluster.pod("shop", "web", "10.0.0.1", &json!({ "version": "v1" }));
    let mut runner = cluster.run(cluster.config());
    let pay = until(&mut runner, PAY, |_| true).await?;
    cluster.pod("shop", "web", "10.0.0.1", &json!({ "version": "v2" }));
    let labelled = |web: &Service| web.endpoints[0].labels.get("version").is_some_and(|found| found == "v2");
    until(&mut runner, WEB, labelled).await?;
    let revision = runner.revision();
    cluster.node("node-2", "south");
    // Nobody is on that node, and nobody is the pod's.
    cluster.pod("shop", "job", "10.0.0.9", &json!({}));
    until_checked(&cluster, &mut runner).await?;
    assert_eq!(runner.revision(), revision);
    assert!(Arc::ptr_eq(&pay, &until(&mut runner, PAY, |_| true).await?));
    assert_eq!(cluster.asked("watch services") + cluster.asked("list services"), 1);
    Ok(())
}

#[tokio::test]
async fn a_connection_that_breaks_costs_no_list() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.server.set_streaming(false);
    cluster.serve("shop", "web", &["10.0.0.1"]);
    let mut runner = cluster.run(cluster.config());
    until_hosts(&mut runner, &[WEB]).await?;
    until_old(&cluster, &mut runner).await?;
    cluster.relay.cut();
    cluster.serve("shop", "pay", &["10.0.0.2"]);
    until_hosts(&mut runner, &[PAY, WEB]).await?;
    assert!(matches!(runner.feed().health(), RegistryHealth::Live));
    assert_eq!((cluster.asked("list services"), cluster.asked("list endpointslices")), (1, 1));
    Ok(())
}

/// All connections at once, so also those that are idle and that the next request would be sent on.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_over_and_over_again_cost_no_list() -> Result<()> {
    let modes = [true, false].into_iter().cycle().take(6);
    futures_util::future::try_join_all(modes.map(broken_over_and_over_again)).await.map(drop)
}

async fn broken_over_and_over_again(streaming: bool) -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.server.set_streaming(streaming);
    cluster.serve("shop", "web", &["10.0.0.1"]);
    let mut runner = cluster.run(cluster.config());
    until_hosts(&mut runner, &[WEB]).await?;
    for opened in 1..=5 {
        until_opened(&cluster, &mut runner, opened).await?;
        cluster.relay.cut();
    }
    until_opened(&cluster, &mut runner, 6).await
}

/// Waits until every watch has been opened so many times, from one list on, and is no longer one that has just
/// begun.
async fn until_opened(cluster: &Cluster, runner: &mut Runner, times: u64) -> Result<()> {
    const LASTING: Duration = Duration::from_millis(700);
    loop {
        until_checked(cluster, runner).await?;
        let watches = runner.feed().status().watches;
        for (name, watch) in &watches {
            assert_eq!(watch.lists, 1, "{name}: {watch:?}");
        }
        let mut watches = watches.values();
        let lasts = |watch: &WatchStatus| watch.opened == times && watch.since.elapsed() > LASTING;
        if watches.all(|watch| watch.state == WatchState::Watching && lasts(watch)) {
            return Ok(());
        }
    }
}

/// Here it shows when the next request is sent on a connection: on the one that the server's version was asked
/// for on, which is idle.
#[tokio::test]
async fn connections_that_a_load_balancer_forgot_cost_no_list() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    let mut runner = cluster.run(cluster.config());
    until_hosts(&mut runner, &[WEB]).await?;
    until_opened(&cluster, &mut runner, 1).await?;
    cluster.relay.forget();
    // Every watch breaks.
    cluster.server.bookmark();
    until_opened(&cluster, &mut runner, 2).await
}

#[tokio::test]
async fn a_watch_that_ends_in_order_is_resumed_without_a_list() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.server.set_streaming(false);
    cluster.serve("shop", "web", &["10.0.0.1"]);
    let mut runner = cluster.run(cluster.config());
    until_hosts(&mut runner, &[WEB]).await?;
    // The first may be the beginning of a watch; then all are open.
    until_checked(&cluster, &mut runner).await?;
    until_checked(&cluster, &mut runner).await?;
    cluster.server.end_watches();
    cluster.serve("shop", "pay", &["10.0.0.2"]);
    until_hosts(&mut runner, &[PAY, WEB]).await?;
    assert_eq!(cluster.asked("list services"), 1);
    until_live(&mut runner).await
}

#[tokio::test]
async fn lost_history_is_listed_anew_in_place() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1", "10.0.0.3"]);
    cluster.serve("shop", "pay", &["10.0.0.2"]);
    for address in ["10.0.0.1", "10.0.0.3"] {
        cluster.pod("shop", "web", address, &json!({ "version": "v1" }));
    }
    let mut runner = cluster.run(cluster.config());
    let web = until(&mut runner, WEB, |web| web.endpoints.len() == 2).await?;
    // Then every watch has lasted for a while.
    until_checked(&cluster, &mut runner).await?;
    until_checked(&cluster, &mut runner).await?;
    // No watch sees this: nothing else runs until the next await.
    cluster.server.delete("services", "shop", "pay");
    cluster.server.delete("pods", "shop", "web-10-0-0-3");
    cluster.server.compact();
    until_hosts(&mut runner, &[WEB]).await?;
    until_live(&mut runner).await?;
    until(&mut runner, WEB, |web| web.endpoints[1].labels.is_empty()).await?;
    assert_eq!(web.endpoints[0].labels.len(), 1);
    let asked: Vec<usize> = cluster.server.requests().into_values().collect();
    assert_eq!(asked, [2, 2, 2, 2], "each resource was listed twice, by one attempt");
    Ok(())
}
