//! Which services there are, and where their endpoints are.

use anyhow::Result;
use pilot_registry::{Endpoint, Service};
use pilot_registry_kubernetes::Config;
use serde_json::json;

use crate::cluster::Cluster;
use crate::{PAY, WEB, until, until_hosts, until_live};

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
