//! pilot as a whole and a Kubernetes API server: a migration from machines, and a rolling restart under load.
#![cfg(all(feature = "file", feature = "kubernetes"))]
#![allow(clippy::unwrap_used, reason = "what a test cannot go on without ends it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::net::SocketAddr;

use pilot_registry_testkit::server::kubernetes::{KubernetesServer, kubeconfig};
use serde_json::json;

#[path = "support"]
#[allow(dead_code, reason = "each test uses a part")]
mod support {
    pub(crate) mod backend;
    pub(crate) mod bootstrap;
    pub(crate) mod envoy;
    pub(crate) mod http;
    pub(crate) mod load;
    pub(crate) mod loopback;
    pub(crate) mod pilot;
    pub(crate) mod process;
    pub(crate) mod services;
    pub(crate) mod tools;
    pub(crate) mod wait;
}

use support::backend::Backend;
use support::envoy::{Envoy, Kind};
use support::load::Load;
use support::pilot::Pilot;
use support::services::{Place, service};
use support::tools::envoy;
use support::wait::{holds, until};

const TOKEN: &str = "open-sesame-3307";
const HOST: &str = "web.shop.svc.cluster.local";

/// An API server with the service `web` in `shop`.
async fn cluster() -> KubernetesServer {
    let server = KubernetesServer::start(TOKEN).await.unwrap();
    let metadata = json!({ "namespace": "shop", "name": "web" });
    let ports = json!([{ "name": "http", "port": 9080 }]);
    server.put("services", json!({ "metadata": metadata, "spec": { "ports": ports } }));
    server
}

/// What the controllers say of a pod: a slice of its own, since each has another port here.
fn endpoint(server: &KubernetesServer, pod: usize, address: SocketAddr, ready: bool, terminating: bool) {
    let metadata = json!({
        "namespace": "shop", "name": format!("web-{pod}"), "labels": { "kubernetes.io/service-name": "web" },
    });
    let conditions = json!({ "ready": ready, "serving": ready || terminating, "terminating": terminating });
    server.put(
        "endpointslices",
        json!({
            "metadata": metadata, "addressType": "IPv4",
            "ports": [{ "name": "http", "port": address.port() }],
            "endpoints": [{ "addresses": [address.ip()], "conditions": conditions }],
        }),
    );
}

/// A pilot that follows the cluster, and a file.
async fn pilot(server: &KubernetesServer, services: &str) -> Pilot {
    let mut pilot = Pilot::prepare(services);
    let registry = "[registry.cluster.kubernetes]\nkubeconfig = \"kubeconfig\"\n[registry.local.file]";
    pilot.configure("[registry.local.file]", registry);
    let server = format!("http://{}", server.address());
    let kubeconfig = kubeconfig(&json!({ "server": server }), &json!({ "token": TOKEN }));
    fs::write(pilot.folder().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    pilot.spawn();
    pilot.ready().await;
    pilot
}

/// Waits until pilot knows these endpoints of the service, by registry.
async fn knows(pilot: &Pilot, expected: &[(&str, &str)]) {
    until(&format!("pilot knows {expected:?}"), async || {
        let report = pilot.debug(&format!("/debug/services?host={HOST}")).await?;
        let instances = report["instances"].as_array().ok_or(format!("no instances: {report}"))?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let mut found: Vec<_> =
            instances.iter().map(|it| (text(&it["registry"]), text(&it["address"]))).collect();
        found.sort();
        let same = found.iter().map(|(registry, address)| (registry.as_str(), address.as_str()));
        holds(same.eq(expected.iter().copied()), format!("{found:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_service_moves_from_machines_into_a_cluster_without_a_flag_day() {
    let server = cluster().await;
    let machine = service(HOST, 9080, "http", &[Place::at("10.0.0.1:9080")]);
    let pilot = pilot(&server, &machine).await;
    knows(&pilot, &[("local", "10.0.0.1")]).await;
    endpoint(&server, 1, "10.0.1.1:8080".parse().unwrap(), true, false);
    knows(&pilot, &[("cluster", "10.0.1.1"), ("local", "10.0.0.1")]).await;
    pilot.write_services("service = []");
    knows(&pilot, &[("cluster", "10.0.1.1")]).await;
}

/// Twenty pods are replaced, four at a time, as a Deployment's controllers do it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_fails_no_request() {
    const PODS: usize = 20;
    const STEP: usize = 4;
    let Some(envoy) = envoy() else { return };
    let server = cluster().await;
    let mut pods = VecDeque::new();
    let start = async |number: usize| (number, Backend::http("web").await);
    for number in 0..PODS {
        let pod = start(number).await;
        endpoint(&server, number, pod.1.socket(), true, false);
        pods.push_back(pod);
    }
    // The default protocol is TCP; the port's name says HTTP.
    let pilot = pilot(&server, "service = []").await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.answers(HOST, "web").await;
    let load = Load::start(envoy.http_address(), &[HOST], 4, &[]);
    for round in 0..PODS / STEP {
        for number in (PODS + round * STEP..).take(STEP) {
            let pod = start(number).await;
            endpoint(&server, number, pod.1.socket(), false, false);
            endpoint(&server, number, pod.1.socket(), true, false);
            pods.push_back(pod);
        }
        let ended: Vec<_> = pods.drain(..STEP).collect();
        ended.iter().for_each(|(number, pod)| endpoint(&server, *number, pod.socket(), false, true));
        load.more(100).await;
        ended
            .iter()
            .for_each(|(number, _)| server.delete("endpointslices", "shop", &format!("web-{number}")));
        until("new pods alone are known", async || {
            let report = pilot.debug(&format!("/debug/services?host={HOST}")).await?;
            holds(report["endpoints"] == PODS && report["health"] == json!({ "healthy": PODS }), report)
        })
        .await;
        // The time that a pod has to end.
        load.more(400).await;
        drop(ended);
    }
    load.more(200).await;
    load.finish().await.assert_no_failure();
    assert!(pods.iter().all(|(_, pod)| pod.served() > 0), "every new pod has served");
    envoy.assert_no_rejections().await;
}

/// The documents of the example, as JSON.
fn manifests() -> Vec<serde_json::Value> {
    let text = include_str!("../examples/kubernetes/pilot.yaml");
    text.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

#[tokio::test]
async fn the_examples_role_allows_what_pilot_asks_for_and_no_more() {
    let server = cluster().await;
    let pilot = pilot(&server, "service = []").await;
    knows(&pilot, &[]).await;
    let asked: BTreeSet<String> =
        server.requests().keys().map(|asked| asked.split_once(' ').unwrap().1.to_owned()).collect();
    let role = manifests().into_iter().find(|document| document["kind"] == "ClusterRole").unwrap();
    let mut allowed = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        assert_eq!(rule["verbs"], json!(["list", "watch"]));
        let resources = rule["resources"].as_array().unwrap().iter();
        allowed.extend(resources.map(|resource| resource.as_str().unwrap().to_owned()));
    }
    assert_eq!(asked, allowed);
}

#[test]
fn the_examples_configuration_is_in_order() {
    let map = manifests().into_iter().find(|document| document["kind"] == "ConfigMap").unwrap();
    let text = map["data"]["pilot.toml"].as_str().unwrap();
    let loaded = pilot::config::parse("pilot.toml", text, &BTreeMap::new(), &[]).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(pilot::registries::build(&loaded).unwrap().len(), 1);
}
