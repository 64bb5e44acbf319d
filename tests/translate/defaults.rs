//! What clusters and routes have where no rule says otherwise, and how rules say otherwise.

use pilot::mesh::Mesh;
use pilot::proxy::{ClientKind, ConfigSource, Role, Scope};
use pilot::resources::ResourceType;
use pilot_envoy_api::envoy::config::cluster::v3::{Cluster, cluster::LbPolicy};
use pilot_envoy_api::envoy::extensions::upstreams::http::v3::{HttpProtocolOptions, http_protocol_options};
use prost::Message;
use serde_json::{Value, json};

use crate::drawn_rules::Store;
use crate::rules::decode;
use crate::world::{mesh, router, spec, translate};

fn web(protocol: &str) -> Mesh {
    mesh(vec![spec("reviews.local", &[&format!("9080/{protocol}")], &["127.0.0.1:9181"])])
}

/// The cluster of the only service, with that policy.
fn cluster(protocol: &str, policy: &Value, scope: &Scope) -> Cluster {
    let document = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": { "name": "a" },
        "spec": { "host": "reviews.local", "trafficPolicy": policy },
    });
    let mut store = Store::default();
    store.take(&[document]);
    let mesh = Mesh { rules: store.rules.clone(), ..web(protocol) };
    decode(&translate(&mesh, scope), "outbound|9080||reviews.local")
}

fn options(cluster: &Cluster) -> HttpProtocolOptions {
    let any = cluster.typed_extension_protocol_options.values().next().unwrap();
    HttpProtocolOptions::decode(&*any.value).unwrap()
}

fn seconds(time: Option<pilot_envoy_api::google::protobuf::Duration>) -> Option<i64> {
    time.map(|time| time.seconds)
}

#[test]
fn a_policy_changes_what_it_says_and_nothing_else() {
    let usual = cluster("http", &json!({}), &router());
    let idle =
        |cluster: &Cluster| seconds(options(cluster).common_http_protocol_options.unwrap().idle_timeout);
    let probes = |cluster: &Cluster| {
        let options = cluster.upstream_connection_options.as_ref()?;
        options.tcp_keepalive.as_ref()?.keepalive_time.map(|time| time.value)
    };
    assert_eq!((idle(&usual), probes(&usual)), (Some(4), Some(30)));

    let one = cluster(
        "http",
        &json!({ "connectionPool": { "http": { "http1MaxPendingRequests": 7 } } }),
        &router(),
    );
    assert_eq!((idle(&one), probes(&one)), (Some(4), Some(30)));
    assert_eq!(one.outlier_detection, usual.outlier_detection);

    let pool = json!({ "tcp": { "idleTimeout": "70s", "tcpKeepalive": { "time": "99s" } } });
    let one = cluster("http", &json!({ "connectionPool": pool }), &router());
    assert_eq!((idle(&one), probes(&one)), (Some(70), Some(99)));
    let one = cluster("http", &json!({ "connectionPool": { "http": { "idleTimeout": "80s" } } }), &router());
    assert_eq!(idle(&one), Some(80));

    let one = cluster("http", &json!({ "outlierDetection": { "consecutive5xxErrors": 3 } }), &router());
    let outliers = one.outlier_detection.unwrap();
    assert_eq!(outliers.consecutive_5xx.unwrap().value, 3);
    assert!(!outliers.split_external_local_origin_errors, "the document takes the place of all");
}

#[test]
fn a_number_of_retries_takes_the_place_of_the_budget() {
    let breakers = |policy| {
        let cluster = cluster("http", &policy, &router());
        let threshold = cluster.circuit_breakers.unwrap().thresholds.remove(0);
        let budget = threshold.retry_budget.map(|budget| budget.budget_percent.unwrap().value);
        (budget, threshold.max_retries.map(|most| most.value))
    };
    assert_eq!(breakers(json!({})), (Some(20.0), None));
    assert_eq!(breakers(json!({ "retryBudget": { "percent": 35 } })), (Some(35.0), None));
    assert_eq!(breakers(json!({ "connectionPool": { "http": { "maxRetries": 4 } } })), (None, Some(4)));
}

#[test]
fn probes_of_http2_are_those_of_the_policy() {
    let pings = |policy| match options(&cluster("http2", &policy, &router())).upstream_protocol_options {
        Some(http_protocol_options::UpstreamProtocolOptions::ExplicitHttpConfig(it)) => match it
            .protocol_config
        {
            Some(http_protocol_options::explicit_http_config::ProtocolConfig::Http2ProtocolOptions(it)) => {
                let pings = it.connection_keepalive.unwrap();
                (seconds(pings.interval), seconds(pings.timeout), seconds(pings.connection_idle_interval))
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(pings(json!({})), (Some(360), Some(10), Some(10)));
    let own =
        json!({ "connectionPool": { "http": { "http2KeepAlive": { "interval": "30s", "timeout": "5s" } } } });
    assert_eq!(pings(own), (Some(30), Some(5), Some(10)));
}

/// They refuse a cluster with another way, and take the first of a list that they know.
#[test]
fn grpc_clients_are_told_a_way_of_balancing_that_all_of_them_have() {
    let grpc = Scope { client: ClientKind::Grpc, ..Scope::new(Role::Router, ConfigSource::AdsOfGrpc) };
    let policy = |simple: &str| json!({ "loadBalancer": { "simple": simple } });
    let of = |policy: &Value, scope: &Scope| {
        let cluster = cluster("grpc", policy, scope);
        let list = cluster.load_balancing_policy.as_ref().map_or(0, |list| list.policies.len());
        assert!(list == 0 || cluster.lb_policy() == LbPolicy::RoundRobin);
        (cluster.lb_policy(), list)
    };
    for (simple, list) in [("RANDOM", 2), ("LEAST_REQUEST", 2), ("ROUND_ROBIN", 0)] {
        assert_eq!(of(&policy(simple), &grpc), (LbPolicy::RoundRobin, list), "{simple}");
    }
    assert_eq!(of(&json!({}), &grpc), (LbPolicy::RoundRobin, 0));
    assert_eq!(of(&policy("RANDOM"), &router()), (LbPolicy::Random, 0));
    assert_eq!(of(&json!({}), &router()), (LbPolicy::LeastRequest, 0));
    let ring = json!({ "loadBalancer": { "consistentHash": { "httpHeaderName": "user" } } });
    assert_eq!(of(&ring, &grpc), (LbPolicy::RingHash, 0));
}

/// A mesh of a thousand services has a thousand of each: in pilot, on the way, and in each Envoy.
#[test]
fn what_a_service_costs_stays_small() {
    for (protocol, of_cluster, of_host) in [("http", 390, 290), ("grpc", 405, 290), ("tcp", 240, 0)] {
        let view = translate(&web(protocol), &router()).view;
        let clusters = view.of(ResourceType::Cluster).iter().map(|it| it.any_bytes().len());
        let clusters: usize = clusters.sum();
        let routes = view.of(ResourceType::Route).get("9080").and_then(|it| it.rope());
        let host = routes.and_then(|rope| rope.get("reviews.local:9080"));
        let host = host.map_or(0, |host| host.bytes().len());
        assert!(clusters <= of_cluster && host <= of_host, "{protocol}: {clusters}, {host}");
    }
}
