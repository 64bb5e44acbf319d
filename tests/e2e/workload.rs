//! A proxy that says nothing but its pod's address: what Kubernetes says of the pod is known of the proxy.

use serde_json::{Value, json};

use super::platform::{Kubernetes, Platform};
use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::load::Load;
use crate::support::pilot::Pilot;
use crate::support::tools::envoy;
use crate::support::wait::{holds, until};

/// No packet is sent there: it is who the proxy is.
const POD: &str = "10.9.0.7";
const NODE_ID: &str = "router~10.9.0.7~gateway-0.shop~shop.svc.cluster.local";

/// A cluster with a node in each of two zones.
struct Cluster(Kubernetes);

impl Cluster {
    async fn start() -> Option<Self> {
        let cluster = Self(Kubernetes::start().await?);
        for zone in ["a", "b"] {
            let labels =
                json!({ "topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": zone });
            cluster.put("nodes", json!({ "metadata": { "name": format!("node-{zone}"), "labels": labels } }));
        }
        Some(cluster)
    }

    fn put(&self, resource: &str, object: Value) {
        self.0.server.put(resource, object);
    }

    fn service(&self, name: &str) {
        let metadata = json!({ "namespace": "shop", "name": name });
        let ports = json!([{ "name": "http", "port": 80 }]);
        self.put("services", json!({ "metadata": metadata, "spec": { "ports": ports } }));
    }

    /// A slice with one endpoint.
    fn slice(&self, service: &str, id: &str, port: u16, endpoint: &Value) {
        let labels = json!({ "kubernetes.io/service-name": service });
        self.put(
            "endpointslices",
            json!({
                "metadata": { "namespace": "shop", "name": format!("{service}-{id}"), "labels": labels },
                "addressType": "IPv4", "ports": [{ "name": "http", "port": port }], "endpoints": [endpoint],
            }),
        );
    }

    /// An instance of `web`. Its region is its node's; so is its zone, unless the slice has it.
    fn web(&self, backend: &Backend, id: &str, zone: Option<&str>) {
        let at = backend.socket();
        let endpoint = json!({
            "addresses": [at.ip()], "nodeName": format!("node-{id}"), "zone": zone,
            "conditions": { "ready": true },
        });
        self.slice("web", id, at.port(), &endpoint);
    }

    /// The proxy's pod, of a service of its own, runs on that node.
    fn gateway_on(&self, node: &str) {
        self.service("gateway");
        let metadata = json!({ "namespace": "shop", "name": "gateway-0", "labels": { "app": "gateway" } });
        let spec = json!({ "serviceAccountName": "gateway", "nodeName": node });
        self.put("pods", json!({ "metadata": metadata, "spec": spec }));
        let target = json!({ "kind": "Pod", "namespace": "shop", "name": "gateway-0" });
        let endpoint = json!({
            "addresses": [POD], "nodeName": node, "targetRef": target, "conditions": { "ready": false },
        });
        self.slice("gateway", "0", 15080, &endpoint);
    }
}

/// What `pilot proxies -o json` says of the only one.
fn shown(pilot: &Pilot) -> Value {
    let url = format!("http://{}", pilot.admin_address());
    let output = pilot.command(&["proxies", "-o", "json", "--admin", &url]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["proxies"][0].clone()
}

/// When its streams were opened.
fn opened(proxy: &Value) -> Vec<&Value> {
    let streams = proxy["streams"].as_array().unwrap();
    streams.iter().map(|stream| &stream["connected_at"]).collect()
}

/// Requests are answered by this backend, and not by the other.
async fn answers_alone(load: &Load, envoy: &Envoy, name: &str, other: &Backend) {
    let host = Kubernetes::host("web");
    envoy.answers_only(&host, name).await;
    // A request that was on its way when things changed may still come.
    until("requests on their way have come", async || {
        let before = other.served();
        load.more(50).await;
        holds(other.served() == before, "the other one is asked")
    })
    .await;
    let before = other.served();
    load.more(200).await;
    assert_eq!(other.served(), before, "the other one was asked");
}

async fn the_place_of_its_pod_is_a_proxys(kind: Kind) {
    let (Some(binary), Some(cluster)) = (envoy(), Cluster::start().await) else { return };
    let (a, b) = (Backend::http("a").await, Backend::http("b").await);
    cluster.service("web");
    cluster.web(&a, "a", None);
    cluster.web(&b, "b", Some("b"));
    cluster.gateway_on("node-a");
    let tables = cluster.0.tables("east") + "trust_domain = \"mesh.test\"\n[mesh]\nlocality = \"prefer\"\n";
    let mut pilot = Pilot::prepare_with(&tables);
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start_with(&binary, &pilot, kind, &["--node-id", NODE_ID]).await;
    let host = Kubernetes::host("web");
    envoy.answers(&host, "a").await;
    let load = Load::start(envoy.http_address(), &[&host], 2, &[]);
    answers_alone(&load, &envoy, "a", &b).await;

    let proxy = shown(&pilot);
    let place = json!({ "region": "eu", "zone": "a", "sub_zone": "" });
    let workload = json!({
        "services": [{ "host": Kubernetes::host("gateway"), "ports": [80] }],
        "registries": ["east"], "namespace": "shop", "labels": { "app": "gateway" },
        "identity": "spiffe://mesh.test/ns/shop/sa/gateway", "locality": place,
    });
    assert_eq!((&proxy["id"], &proxy["workload"]), (&NODE_ID.into(), &workload));
    assert_eq!(proxy["effective_locality"], place);
    let nowhere = json!({ "region": "", "zone": "", "sub_zone": "" });
    assert_eq!(proxy["locality"], nowhere, "the proxy itself says nothing");

    // The pod is there before it moves, and its place is followed while the streams stay.
    for (node, name, other) in [("node-b", "b", &a), ("node-a", "a", &b)] {
        cluster.gateway_on(node);
        answers_alone(&load, &envoy, name, other).await;
    }
    // Of a pod that serves nothing, nothing is known.
    cluster.0.server.delete("endpointslices", "shop", "gateway-0");
    until("both zones are asked", async || {
        let before = b.served();
        load.more(50).await;
        holds(b.served() > before, "b is not asked")
    })
    .await;
    let last = shown(&pilot);
    assert_eq!((&last["workload"], opened(&last)), (&Value::Null, opened(&proxy)));
    load.finish().await.assert_no_failure();
    envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_of_its_pod_is_a_proxys_delta() {
    the_place_of_its_pod_is_a_proxys(Kind::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_of_its_pod_is_a_proxys_per_type_sotw() {
    the_place_of_its_pod_is_a_proxys(Kind::PerTypeSotw).await;
}
