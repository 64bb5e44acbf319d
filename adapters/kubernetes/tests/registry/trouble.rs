//! A server in trouble, with all resources or with one of them.

use std::time::Duration;

use anyhow::Result;
use http::StatusCode;
use pilot_registry::ErrorKind;
use pilot_registry_kubernetes::Config;
use serde_json::json;

use crate::cluster::Cluster;
use crate::{PAY, WEB, until, until_hosts, until_live, until_old};

#[tokio::test]
async fn pods_and_nodes_that_cannot_be_read_leave_services_served() -> Result<()> {
    let codes = [
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::GATEWAY_TIMEOUT,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::NOT_FOUND,
    ];
    futures_util::future::try_join_all(codes.map(served_without_pods_and_nodes)).await.map(drop)
}

async fn served_without_pods_and_nodes(code: StatusCode) -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.pod("shop", "web", "10.0.0.1", &json!({ "version": "v1" }));
    cluster.serve("shop", "web", &["10.0.0.1"]);
    ["pods", "nodes"].iter().for_each(|one| cluster.server.set_failing(one, Some(code)));
    let mut runner = cluster.run(cluster.config());
    let web = until(&mut runner, WEB, |_| true).await?;
    assert!(web.endpoints[0].labels.is_empty());
    let said = runner.degraded().await?.error.chain();
    assert!(said.contains("told without") && said.contains(code.as_str()), "{said}");
    ["pods", "nodes"].iter().for_each(|one| cluster.server.set_failing(one, None));
    until(&mut runner, WEB, |web| !web.endpoints[0].labels.is_empty()).await?;
    until_live(&mut runner).await?;
    assert_eq!(cluster.asked("watch services"), 1, "it was one attempt");
    Ok(())
}

#[tokio::test]
async fn pods_beyond_a_limit_leave_services_served() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1", "10.0.0.2"]);
    ["10.0.0.1", "10.0.0.2"].iter().for_each(|address| cluster.pod("shop", "web", address, &json!({})));
    let mut runner = cluster.run(Config { max_objects: 1, ..cluster.config() });
    until_hosts(&mut runner, &[WEB]).await?;
    let said = runner.degraded().await?.error.chain();
    assert!(said.contains("pods") && said.contains("max_objects"), "{said}");
    Ok(())
}

#[tokio::test]
async fn pods_that_fail_for_a_moment_are_waited_for() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.pod("shop", "web", "10.0.0.1", &json!({ "version": "v1" }));
    cluster.serve("shop", "web", &["10.0.0.1"]);
    cluster.server.set_failing("pods", Some(StatusCode::SERVICE_UNAVAILABLE));
    let mut runner = cluster.run(cluster.config());
    runner.degraded().await?;
    cluster.server.set_failing("pods", None);
    let web = until(&mut runner, WEB, |_| true).await?;
    assert_eq!(web.endpoints[0].labels.len(), 1, "services were told without pods");
    Ok(())
}

/// It is asked again by another attempt, after a pause: asking at once would be more of what ails it.
#[tokio::test]
async fn a_watch_that_the_server_ends_in_trouble_is_not_resumed_at_once() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    let mut runner = cluster.run(Config { pods: false, nodes: false, ..cluster.config() });
    until_hosts(&mut runner, &[WEB]).await?;
    until_old(&cluster, &mut runner).await?;
    cluster.server.fail_watches(StatusCode::TOO_MANY_REQUESTS);
    let error = runner.degraded().await?.error;
    assert!(error.chain().contains("429"), "{}", error.chain());
    cluster.serve("shop", "pay", &["10.0.0.2"]);
    until_hosts(&mut runner, &[PAY, WEB]).await?;
    until_live(&mut runner).await
}

/// It remembers its objects, and none of the versions that watches would go on from.
#[tokio::test]
async fn a_server_that_is_killed_and_started_again_is_listed_anew() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    let mut runner = cluster.run(cluster.config());
    until_hosts(&mut runner, &[WEB]).await?;
    until_old(&cluster, &mut runner).await?;
    cluster.server.stop();
    let error = runner.degraded().await?.error;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    cluster.serve("shop", "pay", &["10.0.0.2"]);
    cluster.server.start_again().await?;
    until_hosts(&mut runner, &[PAY, WEB]).await?;
    until_live(&mut runner).await
}

#[tokio::test]
async fn a_server_that_falls_silent_is_noticed() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    let config = Config { watch_renewal: Duration::from_secs(1), ..cluster.config() };
    let mut runner = cluster.run(config);
    until_hosts(&mut runner, &[WEB]).await?;
    cluster.relay.silence();
    // Nothing happens but time.
    tokio::time::pause();
    let error = runner.degraded().await?.error;
    tokio::time::resume();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    cluster.relay.refuse();
    cluster.relay.open();
    cluster.serve("shop", "pay", &["10.0.0.2"]);
    until_hosts(&mut runner, &[PAY, WEB]).await
}
