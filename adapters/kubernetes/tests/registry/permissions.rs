//! Who may not read something, or is not known: what is served all the same, and what is said.

use anyhow::Result;
use pilot_registry::{ErrorKind, Service, Snapshot, State};
use serde_json::json;

use crate::cluster::{Cluster, TOKEN};
use crate::{PAY, WEB, until, until_checked, until_hosts, until_live};

#[tokio::test]
async fn what_may_not_be_read_is_left_out_named_and_the_rest_is_served() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    cluster.pod("shop", "web", "10.0.0.1", &json!({ "version": "v1" }));
    cluster.server.set_forbidden("pods", true);
    let mut runner = cluster.run(cluster.config());
    let web = until(&mut runner, WEB, |_| true).await?;
    assert!(web.endpoints[0].labels.is_empty());
    let trouble = runner.degraded().await?.error;
    assert_eq!(trouble.kind(), ErrorKind::Denied);
    let said = trouble.chain();
    assert!(said.contains("pods") && said.contains("list and watch"), "{said}");
    // It is followed all the same.
    cluster.serve("shop", "pay", &["10.0.0.2"]);
    until_hosts(&mut runner, &[PAY, WEB]).await?;
    // Permissions arrive a little after their cause: soon enough for whoever waits here.
    cluster.server.set_forbidden("pods", false);
    until(&mut runner, WEB, |web| !web.endpoints[0].labels.is_empty()).await?;
    until_live(&mut runner).await
}

#[tokio::test]
async fn a_permission_that_is_lost_takes_nothing_away() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.pod("shop", "web", "10.0.0.1", &json!({ "version": "v1" }));
    cluster.serve("shop", "web", &["10.0.0.1"]);
    cluster.node("node-1", "north");
    let whole =
        |web: &Service| !web.endpoints[0].labels.is_empty() && web.endpoints[0].locality.region == "north";
    let mut runner = cluster.run(cluster.config());
    until(&mut runner, WEB, whole).await?;
    until_checked(&cluster, &mut runner).await?;
    until_checked(&cluster, &mut runner).await?;
    ["pods", "nodes"].iter().for_each(|one| cluster.server.set_forbidden(one, true));
    cluster.server.end_watches();
    assert_eq!(runner.degraded().await?.error.kind(), ErrorKind::Denied);
    cluster.serve("shop", "web", &["10.0.0.1", "10.0.0.2"]);
    let web = until(&mut runner, WEB, |web| web.endpoints.len() == 2).await?;
    assert!(whole(&web));
    // Nor does another attempt, for which there never was one.
    cluster.relay.refuse();
    let unavailable = |state: &State<Snapshot>| {
        state.troubles().any(|trouble| trouble.error.kind() == ErrorKind::Unavailable).then_some(())
    };
    runner.until("the attempt to end", unavailable).await?;
    cluster.serve("shop", "web", &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    cluster.relay.open();
    let web = until(&mut runner, WEB, |web| web.endpoints.len() == 3).await?;
    assert!(whole(&web));
    // What is there when it may be read again counts, and nothing else.
    cluster.server.delete("pods", "shop", "web-10-0-0-1");
    ["pods", "nodes"].iter().for_each(|one| cluster.server.set_forbidden(one, false));
    until(&mut runner, WEB, |web| web.endpoints[0].labels.is_empty()).await?;
    until_live(&mut runner).await
}

#[tokio::test]
async fn services_that_may_not_be_read_are_unknown_not_empty() -> Result<()> {
    for resource in ["services", "endpointslices"] {
        let cluster = Cluster::start().await?;
        cluster.serve("shop", "web", &["10.0.0.1"]);
        cluster.server.set_forbidden(resource, true);
        let mut runner = cluster.run(cluster.config());
        let error = runner.degraded().await?.error;
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.chain().contains(resource), "{}", error.chain());
        assert!(runner.feed().published().is_none());
        cluster.server.set_forbidden(resource, false);
        until_hosts(&mut runner, &[WEB]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn credentials_that_change_are_read_again() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    std::fs::write(cluster.file("token"), "old")?;
    cluster.write_kubeconfig(&json!({ "tokenFile": cluster.file("token") }))?;
    let mut runner = cluster.run(cluster.config());
    assert_eq!(runner.degraded().await?.error.kind(), ErrorKind::Denied);
    std::fs::write(cluster.file("token"), TOKEN)?;
    until_hosts(&mut runner, &[WEB]).await?;
    until_live(&mut runner).await
}

#[tokio::test]
async fn a_kubeconfig_that_makes_no_sense_is_not_quoted() -> Result<()> {
    let cluster = Cluster::start().await?;
    let broken = "users:\n- name: a\n  user: { token: open-sesame-8841, }}\nclusters: [[[\n";
    std::fs::write(cluster.file("kubeconfig"), broken)?;
    let error = cluster.run(cluster.config()).degraded().await?.error;
    assert_eq!(error.kind(), ErrorKind::Malformed);
    let said = format!("{} {error:?}", error.chain());
    assert!(said.contains("line") && !said.contains("sesame"), "{said}");
    Ok(())
}
