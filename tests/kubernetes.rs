//! pilot as a whole and a Kubernetes API server: a migration from machines, and a rolling restart under load.
#![cfg(all(feature = "file", feature = "kubernetes"))]
#![allow(clippy::unwrap_used, reason = "what a test cannot go on without ends it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

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
use support::wait::{holds, throughout, until};

const TOKEN: &str = "open-sesame-3307";
const HOST: &str = "web.shop.svc.cluster.local";
/// The port of all pods.
const PORT: u16 = 9080;
/// How long a pod lives on once it is marked as terminating: less than the pause before their end (`preStop`)
/// that pods are usually given.
const GRACE: Duration = Duration::from_secs(2);

/// An API server with the service `web` in `shop`.
async fn cluster() -> KubernetesServer {
    let server = KubernetesServer::start(TOKEN).await.unwrap();
    let metadata = json!({ "namespace": "shop", "name": "web" });
    let ports = json!([{ "name": "http", "port": 9080 }]);
    server.put("services", json!({ "metadata": metadata, "spec": { "ports": ports } }));
    server
}

/// How a pod is, in the order in which it happens.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Starting,
    Ready,
    /// It still serves, but is to be left alone.
    Terminating,
}

/// What the controller of slices says of the service: one slice of all pods, which have one port.
fn write_slice(server: &KubernetesServer, pods: impl IntoIterator<Item = (SocketAddr, Stage)>) {
    let mut port = 0;
    let endpoint = |(address, stage): (SocketAddr, Stage)| {
        port = address.port();
        let conditions = json!({
            "ready": stage == Stage::Ready, "serving": stage != Stage::Starting,
            "terminating": stage == Stage::Terminating,
        });
        json!({ "addresses": [address.ip()], "conditions": conditions })
    };
    let endpoints: Vec<_> = pods.into_iter().map(endpoint).collect();
    let metadata = json!({
        "namespace": "shop", "name": "web-hx4qz", "labels": { "kubernetes.io/service-name": "web" },
    });
    let ports = json!([{ "name": "http", "port": port }]);
    server.put(
        "endpointslices",
        json!({ "metadata": metadata, "addressType": "IPv4", "ports": ports, "endpoints": endpoints }),
    );
}

/// The pods of a Deployment, the oldest first.
struct Pods<'a> {
    server: &'a KubernetesServer,
    pods: VecDeque<(Backend, Stage)>,
}

impl Pods<'_> {
    /// Starts so many more, and waits until they listen.
    async fn start(&mut self, count: usize) {
        for _ in 0..count {
            let pod = Backend::http_at_port("web", PORT).await;
            self.pods.push_back((pod, Stage::Starting));
        }
        self.tell();
    }

    /// Pods that have started are ready.
    fn become_ready(&mut self) {
        let starting = self.pods.iter_mut().filter(|(_, stage)| *stage == Stage::Starting);
        starting.for_each(|(_, stage)| *stage = Stage::Ready);
        self.tell();
    }

    /// The oldest pods are marked, and end after the time that they have for it, whoever knows of it by then.
    async fn end(&mut self, count: usize, load: &Load) {
        self.pods.iter_mut().take(count).for_each(|(_, stage)| *stage = Stage::Terminating);
        self.tell();
        throughout("requests are answered while pods terminate", GRACE, async || {
            load.more(1).await;
            Ok::<_, String>(())
        })
        .await;
        self.pods.drain(..count);
        self.tell();
    }

    fn tell(&self) {
        write_slice(self.server, self.pods.iter().map(|(pod, stage)| (pod.socket(), *stage)));
    }
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
    write_slice(&server, [("10.0.1.1:8080".parse().unwrap(), Stage::Ready)]);
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
    let mut pods = Pods { server: &server, pods: VecDeque::new() };
    pods.start(PODS).await;
    pods.become_ready();
    // The default protocol is TCP; the port's name says HTTP.
    let pilot = pilot(&server, "service = []").await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.answers(HOST, "web").await;
    let load = Load::start(envoy.http_address(), &[HOST], 4, &[]);
    for _ in 0..PODS / STEP {
        pods.start(STEP).await;
        pods.become_ready();
        pods.end(STEP, &load).await;
    }
    until("new pods alone are known", async || {
        let report = pilot.debug(&format!("/debug/services?host={HOST}")).await?;
        holds(report["endpoints"] == PODS && report["health"] == json!({ "healthy": PODS }), report)
    })
    .await;
    until("every new pod has served", async || {
        let idle = pods.pods.iter().filter(|(pod, _)| pod.served() == 0).count();
        holds(idle == 0, format!("{idle} have not"))
    })
    .await;
    load.finish().await.assert_no_failure();
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
