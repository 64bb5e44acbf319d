//! What the contract does not ask: permissions, selections, what a change costs, watches that end.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "support/cluster.rs"]
mod cluster;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cluster::Cluster;
use http::StatusCode;
use pilot_registry::{Endpoint, ErrorKind, RegistryHealth, Service, Snapshot, State};
use pilot_registry_kubernetes::Config;
use pilot_registry_testkit::Runner;
use serde_json::json;
use tokio::time::Instant;

const WEB: &str = "web.shop.svc.cluster.local";
const PAY: &str = "pay.shop.svc.cluster.local";

fn hosts(snapshot: &Snapshot) -> Vec<String> {
    snapshot.services().iter().map(|service| service.host.to_string()).collect()
}

fn get(state: &State<Snapshot>, host: &str) -> Option<Arc<Service>> {
    state.published.as_ref()?.value.get(host).cloned()
}

/// Waits until a service is there that looks right.
async fn until(runner: &mut Runner, host: &str, right: impl Fn(&Service) -> bool) -> Result<Arc<Service>> {
    runner.until(host, |state| get(state, host).filter(|service| right(service))).await
}

async fn until_hosts(runner: &mut Runner, expected: &[&str]) -> Result<()> {
    let found = |state: &State<Snapshot>| {
        let published = state.published.as_ref()?;
        (hosts(&published.value) == expected).then_some(())
    };
    runner.until("the expected hosts", found).await
}

async fn until_live(runner: &mut Runner) -> Result<()> {
    let live = |state: &State<Snapshot>| matches!(state.health(), RegistryHealth::Live).then_some(());
    runner.until("the registry to be live", live).await
}

/// Waits until every watch has said that nothing happened.
async fn until_checked(cluster: &Cluster, runner: &mut Runner) -> Result<()> {
    let before = runner.feed().published().unwrap().checked;
    cluster.server.bookmark();
    let checked = |state: &State<Snapshot>| (state.published.as_ref()?.checked > before).then_some(());
    runner.until("a check", checked).await
}

/// Waits until every watch has lasted for a while: one that ends as soon as it has begun is another matter.
async fn until_old(cluster: &Cluster, runner: &mut Runner) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        until_checked(cluster, runner).await?;
    }
    Ok(())
}

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
async fn a_node_that_comes_later_says_where_its_endpoints_are() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    let mut runner = cluster.run(cluster.config());
    until(&mut runner, WEB, |web| web.endpoints[0].locality.region.is_empty()).await?;
    cluster.node("node-1", "north");
    until(&mut runner, WEB, |web| web.endpoints[0].locality.region == "north").await?;
    Ok(())
}

#[tokio::test]
async fn hints_say_where_clients_look_for_endpoints_and_may_be_taken_back() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.node("node-1", "north");
    cluster.serve("shop", "web", &["10.0.0.1", "10.0.0.2"]);
    let mut runner = cluster.run(cluster.config());
    // Nothing but the hints changes, as when a controller assigns endpoints anew.
    for (hints, zones) in
        [(["n1", "n2"], ["n1", "n2"]), (["n2", "n1"], ["n2", "n1"]), (["n2", ""], ["n1", "n1"])]
    {
        hint(&cluster, "web", &hints);
        let places = zones.map(|zone| ("north", zone));
        let place = |endpoint: &Endpoint| (endpoint.locality.region.clone(), endpoint.locality.zone.clone());
        let right = |web: &Service| {
            let found: Vec<_> = web.endpoints.iter().map(place).collect();
            found == places.map(|(region, zone)| (region.to_owned(), zone.to_owned()))
        };
        until(&mut runner, WEB, right).await?;
    }
    until_live(&mut runner).await
}

/// Writes the slice of a service with one endpoint for each hint, all of them in one zone. The empty hint is none.
fn hint(cluster: &Cluster, service: &str, hints: &[&str]) {
    let endpoint = |(at, hint): (usize, &&str)| {
        let zones = if hint.is_empty() { json!(null) } else { json!([{ "name": hint }]) };
        json!({
            "addresses": [format!("10.0.0.{}", at + 1)], "nodeName": "node-1", "zone": "n1",
            "conditions": { "ready": true }, "hints": { "forZones": zones },
        })
    };
    let endpoints: Vec<_> = hints.iter().enumerate().map(endpoint).collect();
    let metadata = json!({
        "namespace": "shop", "name": format!("{service}-1"), "labels": { "kubernetes.io/service-name": service },
    });
    let ports = json!([{ "name": "http", "port": 8080 }]);
    let slice =
        json!({ "metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": ports });
    cluster.server.put("endpointslices", slice);
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

#[tokio::test]
async fn only_what_is_selected_is_followed() -> Result<()> {
    let cluster = Cluster::start().await?;
    for (namespace, name) in [("shop", "web"), ("shop", "pay"), ("bank", "pay")] {
        cluster.serve(namespace, name, &["10.0.0.1"]);
        let meta = json!({ "namespace": namespace, "name": name, "labels": { "app": name } });
        let ports = json!([{ "port": 80, "name": "http" }]);
        cluster.server.put("services", json!({ "metadata": meta, "spec": { "ports": ports } }));
    }
    let namespace = |name: &str, mesh: &str| {
        cluster.server.put("namespaces", json!({ "metadata": { "name": name, "labels": { "mesh": mesh } } }));
    };
    namespace("shop", "on");
    namespace("bank", "off");
    let named = Config { namespaces: vec!["shop".to_owned()], ..cluster.config() };
    until_hosts(&mut cluster.run(named), &[PAY, WEB]).await?;
    let labelled = Config { service_selector: "app=web".to_owned(), ..cluster.config() };
    until_hosts(&mut cluster.run(labelled), &[WEB]).await?;
    let mut runner = cluster.run(Config { namespace_selector: "mesh=on".to_owned(), ..cluster.config() });
    until_hosts(&mut runner, &[PAY, WEB]).await?;
    namespace("bank", "on");
    until_hosts(&mut runner, &["pay.bank.svc.cluster.local", PAY, WEB]).await?;
    namespace("shop", "off");
    until_hosts(&mut runner, &["pay.bank.svc.cluster.local"]).await
}

#[tokio::test]
async fn of_two_services_with_one_host_one_is_left_out_by_name() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.serve("shop", "web", &["10.0.0.1"]);
    cluster.serve("bank", "web", &["10.0.0.2"]);
    let mut runner = cluster.run(Config { host: "{service}.mesh".parse().unwrap(), ..cluster.config() });
    let web = until(&mut runner, "web.mesh", |_| true).await?;
    assert_eq!(web.namespace.as_str(), "bank");
    assert!(runner.feed().with_state(|state| state.skipped.contains_key("services shop/web")));
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
    std::fs::write(cluster.file("token"), "open-sesame-8841")?;
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
