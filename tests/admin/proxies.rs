//! Connected proxies, with the workloads that they run beside.

use pilot::proxy::{Proxy, Transport};
use pilot_envoy_api::envoy::config::core::v3::{Locality, Node};
use pilot_registry::{Service, Snapshot};
use pilot_registry_testkit::service;
use serde_json::{Value, json};

use crate::fixture::{Pilot, pilot_near, proxy};
use crate::verbs::ask;

const POD: &str = "router~10.9.0.7~gateway-0.shop~shop.svc.cluster.local";

/// A workload at 10.9.0.7 that serves two services, and another one.
async fn with_workloads() -> Pilot {
    let pilot = pilot_near(&["east"]).await;
    let gateway = service("gateway.shop").namespace("shop").http(80).http(81);
    let gateway = gateway.endpoint("10.9.0.7", 8080).serving(80, 8079).label("app", "gateway").zone("a");
    let metrics = service("metrics.shop").namespace("shop").http(9090);
    let metrics =
        metrics.endpoint("10.9.0.7", 9090).label("app", "gateway").label("job", "metrics").zone("a");
    let web = service("web.shop").namespace("shop").http(80).endpoint("10.9.0.8", 8080).zone("b");
    let identified = |built: std::sync::Arc<Service>| {
        let mut spec = built.as_ref().clone().into_spec();
        spec.endpoints[0].identity = Some("spiffe://mesh/ns/shop/sa/gateway".parse().unwrap());
        std::sync::Arc::new(Service::new(spec).unwrap())
    };
    let services = [identified(gateway.build()), identified(metrics.build()), web.build()];
    pilot.sinks[0].publish(Snapshot::new(services).unwrap());
    pilot.ready().await;
    pilot
}

#[tokio::test]
async fn the_workload_of_a_proxy_is_shown_and_the_place_that_counts() {
    let pilot = with_workloads().await;
    let at = Locality { zone: "b".into(), ..Locality::default() };
    let says = Node { id: POD.replace("gateway-0", "b"), locality: Some(at), ..Node::default() };
    let proxies =
        [Proxy::from_node(Some(&says)).unwrap(), proxy(POD), proxy("router~127.0.0.1~laptop~local")];
    let connect = |proxy: &Proxy| pilot.proxies.connect(proxy, Transport::Ads, true, None);
    let _connections = proxies.each_ref().map(connect);
    let answer: Value = pilot.get("/debug/proxies").await.json();
    let [says, silent, laptop] = [0, 1, 2].map(|at| &answer["proxies"][at]);

    let zone = |zone: &str| json!({ "region": "", "zone": zone, "sub_zone": "" });
    let workload = json!({
        "services": [{ "host": "gateway.shop", "ports": [80, 81] }, { "host": "metrics.shop", "ports": [9090] }],
        "registries": ["east"], "namespace": "shop", "labels": { "app": "gateway" },
        "identity": "spiffe://mesh/ns/shop/sa/gateway", "locality": zone("a"),
    });
    assert_eq!((&silent["address"], &silent["workload"]), (&"10.9.0.7".into(), &workload));
    assert_eq!((&silent["locality"], &silent["effective_locality"]), (&zone(""), &zone("a")));
    assert_eq!((&says["workload"], &says["effective_locality"]), (&workload, &zone("b")));
    assert_eq!(silent["effective_namespace"], "shop", "the proxy says so itself");
    let nothing = (&Value::Null, &Value::Null, &zone(""));
    assert_eq!((&laptop["address"], &laptop["workload"], &laptop["effective_locality"]), nothing);

    // What such a proxy would be told is told in the same way.
    let node = pilot.get(&format!("/debug/resources?node={POD}")).await.json::<Value>();
    assert_eq!(node["scope"], "router near /a");

    let table = ask(&pilot, &["proxies"]).await.stdout;
    let last: Vec<_> = table.lines().map(|line| line.rsplit("  ").next().unwrap()).collect();
    assert_eq!(last, ["WORKLOAD", "gateway.shop +1", "gateway.shop +1", "-"]);
}

#[tokio::test]
async fn before_anything_is_known_proxies_have_no_workload() {
    let pilot = pilot_near(&["east"]).await;
    let _connection = pilot.proxies.connect(&proxy(POD), Transport::Ads, true, None);
    let answer: Value = pilot.get("/debug/proxies").await.json();
    assert_eq!(answer["proxies"][0]["workload"], Value::Null);
}
