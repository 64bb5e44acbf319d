//! Health and the debug pages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, ALLOW, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use pilot::admin::{Admin, Failure, Readiness, RegistryReport, serve};
use pilot::mesh::MeshOptions;
use pilot::metrics::Metrics;
use pilot::own_ports::OwnPorts;
use pilot::proxies::{Proxies, ProxyStatus, SyncState};
use pilot::proxy::{ConfigSource, Proxy, Role, Scope, Transport};
use pilot::resources::{Origin, Resource, ResourceType};
use pilot::shutdown::shutdown;
use pilot::world::World;
use pilot::xds::older::Older;
use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::google::protobuf::Any;
use pilot_registry::{Protocol, RegistryError, Snapshot};
use pilot_registry_testkit::service;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fixture::{DEADLINE, Pilot, pilot, pilot_near, proxy, snapshot, speaking};

async fn registries(pilot: &Pilot) -> Vec<RegistryReport> {
    let mut reports: BTreeMap<String, Vec<RegistryReport>> = pilot.get("/debug/registries").await.json();
    reports.remove("registries").unwrap()
}

#[tokio::test]
async fn pilot_is_alive_at_once_but_ready_only_when_every_registry_has_spoken() {
    let pilot = pilot(&["east", "local"]).await;
    assert_eq!(pilot.get("/livez").await.status, StatusCode::OK);
    let answer = pilot.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        answer.body,
        "not ready\nregistry east: has not answered yet\nregistry local: has not answered yet\n"
    );

    pilot.sinks[1].publish(Snapshot::default());
    pilot.feeds[0].attempt_failed(RegistryError::unavailable("connecting to 127.0.0.1:8500 failed"));
    let answer = pilot.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.body, "not ready\nregistry east: connecting to 127.0.0.1:8500 failed\n");
    let json = pilot.request(Method::GET, "/readyz").header(ACCEPT, "application/json");
    let answer = pilot.send(json.body(Empty::new()).unwrap()).await;
    let readiness: Readiness = answer.json();
    assert_eq!((readiness.ready, readiness.waiting.len()), (false, 1));
    let answer = pilot.get("/debug/services").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json::<Failure>().reasons, ["registry east: connecting to 127.0.0.1:8500 failed"]);

    pilot.sinks[0].publish(Snapshot::default());
    let answer = pilot.get_until("/readyz", |answer| answer.status == StatusCode::OK).await;
    assert_eq!(answer.body, "ready\n");
}

#[tokio::test]
async fn an_outage_keeps_pilot_ready_and_is_shown() {
    let pilot = pilot(&["east"]).await;
    pilot.sinks[0].publish(snapshot(&["a.local", "b.local"]));
    pilot.ready().await;
    pilot.feeds[0].attempt_failed(RegistryError::denied("the token was refused"));
    assert_eq!(pilot.get("/readyz").await.status, StatusCode::OK);
    let report = registries(&pilot).await.remove(0);
    let trouble = report.trouble.unwrap();
    assert_eq!((report.health.as_str(), trouble.kind.as_str()), ("degraded", "denied"));
    assert_eq!(trouble.error, "the token was refused");
    assert_eq!((report.services, report.endpoints, report.revision), (2, 2, Some(1)));
}

#[tokio::test]
async fn what_was_left_out_is_shown_by_name() {
    let pilot = pilot(&["east"]).await;
    pilot.sinks[0].skipped("reviews", "port 0 is not a port");
    pilot.sinks[0].publish(Snapshot::default());
    let report = registries(&pilot).await.remove(0);
    assert_eq!(report.skipped, BTreeMap::from([("reviews".to_owned(), "port 0 is not a port".to_owned())]));
    assert_eq!(
        (report.name.as_str(), report.kind.as_str(), report.health.as_str()),
        ("east", "scripted", "live")
    );
}

#[tokio::test]
async fn services_are_listed_and_one_is_shown_with_its_endpoints() {
    let pilot = pilot(&["east", "local"]).await;
    pilot.sinks[0].publish(snapshot(&["a.local"]));
    pilot.sinks[1].publish(snapshot(&["a.local", "b.local"]));
    pilot.ready().await;
    let all: Value = pilot.get("/debug/services").await.json();
    let hosts: Vec<_> =
        all["services"].as_array().unwrap().iter().map(|it| it["host"].as_str().unwrap()).collect();
    assert_eq!(hosts, ["a.local", "b.local"]);
    let one: Value = pilot.get("/debug/services?host=A.local.").await.json();
    assert_eq!(one["registries"], serde_json::json!(["east", "local"]));
    assert_eq!(
        one["instances"][0],
        serde_json::json!({
            "address": "127.0.0.1", "ports": { "80": 8080 }, "health": "unknown", "weight": 1,
            "locality": { "region": "", "zone": "a", "sub_zone": "" },
            "labels": {}, "registry": "east", "priority": 0,
        })
    );
    let answer = pilot.get("/debug/services?host=c.local").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.json::<Failure>().known, ["a.local", "b.local"]);
}

#[tokio::test]
async fn what_registries_say_differently_is_shown_with_the_service() {
    let pilot = pilot(&["east", "west"]).await;
    pilot.sinks[0].publish(speaking(Protocol::Http, &["a.local", "b.local"]));
    pilot.sinks[1].publish(speaking(Protocol::Tcp, &["a.local"]));
    pilot.ready().await;
    let all: Value = pilot.get("/debug/services").await.json();
    let conflict = &all["services"][0]["disagreements"][0];
    assert_eq!((&conflict["field"], &conflict["taken"]), (&"protocol of port 80".into(), &"east".into()));
    assert_eq!(conflict["said"][1], serde_json::json!({ "registry": "west", "priority": 1, "value": "tcp" }));
    assert_eq!(all["services"][1]["disagreements"], serde_json::json!([]));

    // The one endpoint that both know is one, as the preferred registry says.
    assert_eq!(all["services"][0]["endpoints"], 1);
    let one: Value = pilot.get("/debug/services?host=a.local").await.json();
    assert_eq!(one["disagreements"].as_array().unwrap().len(), 1);
    let shadowed: Vec<_> = one["instances"].as_array().unwrap().iter().map(|it| &it["shadowed_by"]).collect();
    assert_eq!(shadowed, [&Value::Null, &"east".into()]);
    let metrics = pilot.get("/metrics").await.body;
    assert!(metrics.lines().any(|line| line == "pilot_service_conflicts 1"), "{metrics}");
}

#[tokio::test]
async fn a_service_says_what_of_it_new_proxies_are_spared() {
    let pilot = pilot(&["east"]).await;
    pilot.sinks[0].publish(snapshot(&["a.local"]));
    pilot.ready().await;
    let shared = pilot.proxies.shared();
    let version = |text: &str| {
        let any = Any { value: text.to_owned().into(), ..Any::default() };
        let origin = Origin::Service("a.local".parse().unwrap());
        Arc::new(Resource::from_any("c".into(), text.to_owned(), any, Vec::new(), origin))
    };
    let rejection = shared.rejections.note(ResourceType::Cluster, &version("2"), "no such type", None);
    let build = shared.builds.of(&"envoy 1.40.0".into()).unwrap();
    let scope = Scope::new(Role::Router, ConfigSource::Ads);
    for last in 1..4 {
        let older = Older::of(&rejection, |_, _| Some(version("1")));
        assert!(build.refused(&rejection, "no such type", ([192, 0, 2, last].into(), &scope), older));
    }
    drop(rejection);
    let report: Value = pilot.get("/debug/services").await.json();
    let expected = "cds c: no such type; withheld from new proxies of envoy 1.40.0, refused by 3";
    assert_eq!(report["services"][0]["refused"], json!([expected]));
}

/// L14: elsewhere, what a proxy refused was seen by nobody.
#[tokio::test]
async fn a_refusal_is_shown_in_the_proxys_own_words() {
    let pilot = pilot(&["east"]).await;
    let connection = pilot.proxies.connect(&proxy("sidecar~10.0.0.1~a~b"), Transport::Ads, true, None);
    connection.update(ResourceType::Listener, |status| {
        status.wildcard = true;
        status.on_sent("1", "nonce", 2);
        status.on_nacked("1", "error adding listener '0.0.0.0:80': no such filter");
    });
    let mut answer: BTreeMap<String, Vec<ProxyStatus>> = pilot.get("/debug/proxies").await.json();
    let status = answer.remove("proxies").unwrap().remove(0);
    assert_eq!((status.id.as_str(), status.role.as_str()), ("sidecar~10.0.0.1~a~b", "sidecar"));
    let listeners = &status.streams[0].types["lds"];
    assert_eq!((listeners.state, listeners.resources), (SyncState::Nacked, Some(2)));
    let message = &listeners.nack.as_ref().unwrap().message;
    assert_eq!(message, "error adding listener '0.0.0.0:80': no such filter");
}

#[tokio::test]
async fn resources_are_those_of_the_proxys_scope_in_envoys_json() {
    let pilot = pilot(&["east"]).await;
    pilot.sinks[0].publish(snapshot(&["a.local"]));
    pilot.ready().await;
    let _connection = pilot.proxies.connect(&proxy("envoy-1"), Transport::Ads, true, None);
    let report: Value = pilot.get("/debug/resources?proxy=envoy-1").await.json();
    assert_eq!((&report["scope"], &report["connected"]), (&"router".into(), &true.into()));
    let types: Vec<_> = report["resources"].as_object().unwrap().keys().collect();
    assert_eq!(types, ["cds", "eds", "lds", "rds", "vhds"]);
    let report: Value = pilot.get("/debug/resources?node=sidecar~10.0.0.1~a~b&type=cds").await.json();
    assert_eq!((&report["scope"], &report["connected"]), (&"sidecar".into(), &false.into()));
    let clusters = report["resources"]["cds"].as_array().unwrap();
    assert_eq!(clusters.len(), 1);
    assert_eq!(clusters[0]["resource"]["name"], "outbound|80||a.local");
    assert_eq!(clusters[0]["resource"]["connect_timeout"], "5s");
}

/// A proxy that is not connected is told what one that runs there would be.
#[tokio::test]
async fn resources_of_a_proxy_that_is_only_described_are_those_of_its_place() {
    let pilot = pilot_near(&["east"]).await;
    pilot.sinks[0].publish(snapshot(&["a.local"]));
    pilot.ready().await;
    for (place, scope) in [
        ("", "router"),
        ("&zone=a", "router near /a"),
        ("&zone=a&sub_zone=rack-1", "router near /a"),
        ("&region=eu&zone=a", "router"),
    ] {
        let report: Value = pilot.get(&format!("/debug/resources?node=laptop{place}")).await.json();
        assert_eq!(report["scope"], scope, "{place}");
    }
}

/// Names of a namespace are shown with the service, and told to proxies that are in it.
#[tokio::test]
async fn names_of_a_namespace_are_for_those_in_it() {
    let pilot = pilot(&["east"]).await;
    let web = service("web.shop").http(80).namespace("shop").local_name("web").build();
    pilot.sinks[0].publish(Snapshot::new([web]).unwrap());
    pilot.ready().await;
    let all: Value = pilot.get("/debug/services").await.json();
    assert_eq!(all["services"][0]["local_names"], serde_json::json!({ "shop": ["web"] }));
    for (node, scope) in [
        ("laptop", "router"),
        ("laptop&namespace=bank", "router"),
        ("laptop&namespace=shop", "router in shop"),
        ("sidecar~10.0.0.1~cart~shop.svc.cluster.local", "sidecar in shop"),
    ] {
        let path = format!("/debug/resources?node={node}&type=rds&name=80");
        let report: Value = pilot.get(&path).await.json();
        assert_eq!(report["scope"], scope, "{node}");
        let routes = report["resources"]["rds"][0].to_string();
        assert_eq!(routes.contains("\"web\""), scope.ends_with("in shop"), "{routes}");
    }
    let wrong = pilot.get("/debug/resources?node=laptop&namespace=a%20b").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.body.contains("node.metadata.NAMESPACE"), "{}", wrong.body);

    let node = Node { id: "router~127.0.0.1~laptop~shop.mesh".into(), ..Node::default() };
    let proxy = Proxy::from_node(Some(&node)).unwrap();
    let _connection = pilot.proxies.connect(&proxy, Transport::Ads, true, None);
    let proxies: Value = pilot.get("/debug/proxies").await.json();
    assert_eq!(proxies["proxies"][0]["namespace"], "shop");
    let known = pilot.get(&format!("/debug/resources?proxy={}&namespace=shop", proxy.id)).await;
    assert_eq!(known.status, StatusCode::BAD_REQUEST, "it has said what it is");
}

/// Listeners of gRPC clients are there by name: an Envoy, which asks for all, does not get them.
#[tokio::test]
async fn resources_that_are_there_by_name_are_shown_to_those_who_get_them() {
    let pilot = pilot(&["east"]).await;
    pilot.sinks[0].publish(speaking(Protocol::Grpc, &["a.local"]));
    pilot.ready().await;
    let envoy = pilot.proxies.connect(&proxy("envoy"), Transport::Ads, true, None);
    envoy.update(ResourceType::Listener, |status| status.wildcard = true);
    let grpc = pilot.proxies.connect(&proxy("grpc"), Transport::Ads, false, None);
    grpc.update(ResourceType::Listener, |status| status.names = 1);
    let shown = async |path: &str| {
        let report: Value = pilot.get(path).await.json();
        let listeners = report["resources"]["lds"].as_array().unwrap().clone();
        listeners.iter().any(|listener| listener["name"] == "a.local:80")
    };
    assert!(!shown("/debug/resources?proxy=envoy&type=lds").await);
    assert!(shown("/debug/resources?proxy=envoy&type=lds&name=a.local:80").await);
    assert!(shown("/debug/resources?proxy=grpc").await);
    assert!(!shown("/debug/resources?node=grpc").await);
}

#[tokio::test]
async fn what_cannot_be_answered_says_what_can() {
    let pilot = pilot(&["east"]).await;
    pilot.sinks[0].publish(Snapshot::default());
    pilot.ready().await;
    let _connection = pilot.proxies.connect(&proxy("envoy-1"), Transport::Ads, true, None);
    for (path, status, known) in [
        ("/debug/resource", StatusCode::NOT_FOUND, "/debug/resources"),
        ("/debug/resources", StatusCode::BAD_REQUEST, "proxy"),
        ("/debug/resources?proxy=a&node=b", StatusCode::BAD_REQUEST, "proxy"),
        ("/debug/resources?proxy=envoy-2", StatusCode::NOT_FOUND, "envoy-1"),
        ("/debug/resources?proxy=envoy-1&zone=a", StatusCode::BAD_REQUEST, ""),
        ("/debug/resources?node=a&type=clusters", StatusCode::BAD_REQUEST, "cds"),
        ("/debug/proxies?id=a", StatusCode::BAD_REQUEST, ""),
        ("/debug/resources?node=", StatusCode::BAD_REQUEST, ""),
        ("/debug/resources?node=a&name=%7C", StatusCode::NOT_FOUND, ""),
    ] {
        let answer = pilot.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        let failure: Failure = answer.json();
        assert!(known.is_empty() || failure.known.iter().any(|it| it == known), "{path}: {failure:?}");
    }
}

#[tokio::test]
async fn only_get_and_head_are_answered_and_only_to_those_who_name_a_local_host() {
    let pilot = pilot(&["east"]).await;
    let answer = pilot.send(pilot.request(Method::POST, "/readyz").body(Empty::new()).unwrap()).await;
    assert_eq!(
        (answer.status, &answer.headers[ALLOW]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap())
    );
    let answer = pilot.send(pilot.request(Method::HEAD, "/livez").body(Empty::new()).unwrap()).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
    let foreign = Request::get("/debug/services").header(HOST, "rebound.example.com");
    let answer = pilot.send(foreign.body(Empty::new()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let index = pilot.get("/").await.body;
    assert!(index.contains("/readyz") && index.contains("/debug/resources"), "{index}");
}

#[tokio::test]
async fn the_server_ends_when_told_although_connections_are_open() {
    let mut pilot = pilot(&[]).await;
    let _idle = TcpStream::connect(pilot.addr).await.unwrap();
    assert_eq!(pilot.get("/livez").await.status, StatusCode::OK);
    pilot.stop.take().unwrap().send(()).unwrap();
    let ended = tokio::time::timeout(DEADLINE, pilot.tasks.join_next()).await;
    ended.expect("the server ends").unwrap().unwrap();
    assert!(TcpStream::connect(pilot.addr).await.is_err());
}

/// Else so many connections that say nothing keep probes waiting, one after the other.
#[tokio::test(start_paused = true)]
async fn half_a_request_is_not_waited_for_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let world = World::new(Vec::new(), MeshOptions::default(), 16);
    let (_trigger, shutdown) = shutdown();
    let admin = Admin {
        world,
        proxies: Proxies::default(),
        metrics: Metrics::new(),
        own: OwnPorts::default(),
        shutdown,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener, admin, std::future::pending()));
    let begun = Instant::now();
    let mut half = TcpStream::connect(addr).await.unwrap();
    half.write_all(b"GET /livez HTTP/1.1\r\nHost: ").await.unwrap();
    // Whether it is closed or reset does not matter.
    let _ended = half.read_to_end(&mut Vec::new()).await;
    assert!(begun.elapsed() <= Duration::from_secs(4), "{:?}", begun.elapsed());
}

/// Services of one host are told apart by their owners, and each is shown to who asks for its clients.
#[tokio::test]
async fn services_say_who_sees_them() {
    let pilot = pilot(&["east"]).await;
    let public = service("db.example").http(80).build();
    let own = service("db.example").http(81).namespace("shop").export_to(&[".", "bank"]).build();
    pilot.sinks[0].publish(Snapshot::new([public, own]).unwrap());
    pilot.ready().await;
    let all: Value = pilot.get("/debug/services").await.json();
    let [public, own] = [0, 1].map(|at| &all["services"][at]);
    assert_eq!((&public["owner"], &public["seen_by"]), (&Value::Null, &Value::Null));
    assert_eq!((&own["owner"], &own["seen_by"]), (&"shop".into(), &serde_json::json!(["bank", "shop"])));
    for (namespace, port) in
        [("", 80), ("&namespace=shop", 81), ("&namespace=bank", 81), ("&namespace=x", 80)]
    {
        let one: Value = pilot.get(&format!("/debug/services?host=db.example{namespace}")).await.json();
        assert_eq!(one["ports"][0]["number"], port, "{namespace}");
    }
    let resources = |namespace: &str| format!("/debug/resources?node=laptop{namespace}&type=cds");
    let [everybodys, shops] = ["outbound|80||db.example", "outbound|81||db.example"];
    for (namespace, there, hidden) in [("", everybodys, shops), ("&namespace=shop", shops, everybodys)] {
        let found = pilot.get(&resources(namespace)).await.body;
        assert!(found.contains(there) && !found.contains(hidden), "{namespace}: {found}");
    }
}
