//! What the registry tells of itself: the server's version, the ages of watches, the last errors.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "support/cluster.rs"]
mod cluster;

use anyhow::Result;
use cluster::Cluster;
use pilot_registry::{ErrorKind, Snapshot, State, Status, WatchState, WatchStatus};
use pilot_registry_kubernetes::Config;
use pilot_registry_testkit::Runner;

const ALL: [&str; 4] = ["endpointslices", "nodes", "pods", "services"];

/// A cluster with a service.
async fn with_service() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    Ok(cluster)
}

/// Waits until everything is watched, and that is right.
async fn until_watching(runner: &mut Runner, right: impl Fn(&Status) -> bool) -> Result<Status> {
    let watching = |watch: &WatchStatus| watch.state == WatchState::Watching;
    let look = |status: &Status| {
        let all = !status.watches.is_empty() && status.watches.values().all(watching);
        (all && right(status)).then(|| status.clone())
    };
    runner.until_status("all watches", look).await
}

async fn until_published(runner: &mut Runner) -> Result<()> {
    runner.until("services", |state: &State<Snapshot>| state.published.as_ref().map(|_| ())).await
}

#[tokio::test]
async fn the_servers_version_is_told() -> Result<()> {
    let cluster = with_service().await?;
    let mut runner = cluster.run(cluster.config());
    let version = |status: &Status| status.facts.get("server_version").cloned();
    assert_eq!(runner.until_status("the version", version).await?, "v1.36.2");
    until_published(&mut runner).await
}

#[tokio::test]
async fn a_version_that_may_not_be_read_hurts_nobody_and_an_old_one_is_not_shown() -> Result<()> {
    let cluster = with_service().await?;
    let mut runner = cluster.run(cluster.config());
    until_watching(&mut runner, |status| status.facts.contains_key("server_version")).await?;
    cluster.server.set_forbidden("version", true);
    cluster.relay.refuse();
    runner.degraded().await?;
    cluster.relay.open();
    let status = until_watching(&mut runner, |status| status.facts.is_empty()).await?;
    assert!(status.watches.values().all(|watch| watch.opened == 2), "{status:?}");
    let healed = |state: &State<Snapshot>| state.troubles().next().is_none().then_some(());
    runner.until("the registry to be in order", healed).await
}

#[tokio::test]
async fn a_watch_that_was_renewed_is_young_and_was_not_listed_again() -> Result<()> {
    let cluster = with_service().await?;
    let mut runner = cluster.run(cluster.config());
    let first = until_watching(&mut runner, |_| true).await?;
    assert_eq!(first.watches.keys().collect::<Vec<_>>(), ALL);
    cluster.server.bookmark();
    let heard =
        |status: &Status| ALL.iter().all(|one| status.watches[*one].heard > first.watches[*one].heard);
    let second = until_watching(&mut runner, heard).await?;
    for name in ALL {
        assert_eq!(
            second.watches[name].since, first.watches[name].since,
            "{name}: a bookmark is no new watch"
        );
    }
    cluster.server.end_watches();
    let renewed = |status: &Status| status.watches.values().all(|watch| watch.opened == 2);
    let third = until_watching(&mut runner, renewed).await?;
    for name in ALL {
        let watch = &third.watches[name];
        assert!(watch.since > second.watches[name].since && watch.heard >= Some(watch.since), "{watch:?}");
        assert_eq!(watch.lists, 1, "{name}");
        assert!(watch.last_error.is_none(), "{name}: a watch that ends in order is no error");
    }
    Ok(())
}

#[tokio::test]
async fn what_may_not_be_read_is_told_and_stays_as_the_last_error_when_it_may() -> Result<()> {
    // The first is asked for again in place, the second by another attempt.
    for resource in ["pods", "services"] {
        let cluster = with_service().await?;
        cluster.server.set_forbidden(resource, true);
        let mut runner = cluster.run(cluster.config());
        let refused = |status: &Status| status.watches.get(resource)?.last_error.clone();
        let error = runner.until_status("a refusal", refused).await?.error;
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.chain().contains(resource), "{}", error.chain());
        assert_ne!(runner.feed().status().watches[resource].state, WatchState::Watching);
        cluster.server.set_forbidden(resource, false);
        let status = until_watching(&mut runner, |_| true).await?;
        let watch = &status.watches[resource];
        let last = watch.last_error.as_ref().unwrap();
        assert!(last.at <= watch.since, "the error is older than the watch: {watch:?}");
        assert_eq!(last.error.kind(), ErrorKind::Denied);
        assert!(status.last_error.is_some(), "the registry's own is kept, too");
    }
    Ok(())
}

#[tokio::test]
async fn lost_history_is_told_of_what_lost_it() -> Result<()> {
    let cluster = with_service().await?;
    let mut runner = cluster.run(cluster.config());
    let first = until_watching(&mut runner, |_| true).await?;
    // Then every watch has lasted for a while.
    cluster.server.bookmark();
    let heard =
        |status: &Status| ALL.iter().all(|one| status.watches[*one].heard > first.watches[*one].heard);
    until_watching(&mut runner, heard).await?;
    cluster.server.compact();
    let relisted = |status: &Status| status.watches.values().all(|watch| watch.lists == 2);
    let status = until_watching(&mut runner, relisted).await?;
    let last = status.watches["pods"].last_error.as_ref().unwrap();
    assert_eq!(last.error.to_string(), "pods: the history is lost");
    Ok(())
}

#[tokio::test]
async fn each_chosen_namespace_has_its_watches() -> Result<()> {
    let cluster = with_service().await?;
    let namespaces = vec!["bank".to_owned(), "shop".to_owned()];
    let mut runner = cluster.run(Config { namespaces, pods: false, ..cluster.config() });
    let status = until_watching(&mut runner, |_| true).await?;
    let expected = [
        "endpointslices in namespace bank",
        "endpointslices in namespace shop",
        "nodes",
        "services in namespace bank",
        "services in namespace shop",
    ];
    assert_eq!(status.watches.keys().collect::<Vec<_>>(), expected);
    Ok(())
}

#[tokio::test]
async fn an_attempt_that_ended_watches_nothing() -> Result<()> {
    let cluster = with_service().await?;
    let mut runner = cluster.run(cluster.config());
    until_watching(&mut runner, |_| true).await?;
    runner.stop().await;
    let status = runner.feed().status();
    assert!(status.watches.values().all(|watch| watch.state == WatchState::Stopped), "{status:?}");
    Ok(())
}
