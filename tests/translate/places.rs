//! What documents say of places: to whom it is told, and what becomes of endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot::mesh::Mesh;
use pilot::proxy::{Proxy, Scope, Transport};
use pilot::translate::{LayerKey, Layers};
use pilot_envoy_api::envoy::config::cluster::v3::Cluster;
use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use pilot_envoy_api::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use pilot_registry::{Locality, Resolution, ServiceSpec};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::drawn_rules::Store;
use crate::rules::decode;
use crate::world::{mesh, resolved, router, spec, translate};

const CLUSTER: &str = "outbound|80||shop.local";

fn locality(text: &str) -> Locality {
    let mut parts = text.split('/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Locality { region: next(), zone: next(), sub_zone: next() }
}

/// A service with an endpoint at each of these places, `region/zone`, maybe with a label: `region/zone version=v1`.
fn placed(host: &str, places: &[&str]) -> ServiceSpec {
    let endpoints: Vec<String> = (1..=places.len()).map(|i| format!("10.0.0.{i}:80")).collect();
    let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    let mut spec = spec(host, &["80/http"], &endpoints);
    for (endpoint, place) in spec.endpoints.iter_mut().zip(places) {
        let (place, label) = place.split_once(' ').unwrap_or((place, ""));
        endpoint.locality = locality(place);
        endpoint.labels =
            label.split_once('=').map(|(key, value)| (key.into(), value.into())).into_iter().collect();
    }
    spec
}

fn document(name: &str, namespace: &str, spec: Value) -> Value {
    let metadata = json!({ "name": name, "namespace": namespace });
    json!({ "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": metadata, "spec": spec })
}

/// All that a document says of a host is this of places.
fn says(host: &str, setting: Value) -> Value {
    let policy = json!({ "loadBalancer": { "localityLbSetting": setting } });
    document("shop", "default", json!({ "host": host, "trafficPolicy": policy }))
}

fn ruled(specs: Vec<ServiceSpec>, documents: &[Value]) -> Mesh {
    let mut store = Store::default();
    store.take(documents);
    Mesh { rules: store.rules, ..mesh(specs) }
}

fn at(place: &str) -> Scope {
    Scope { locality: locality(place), ..router() }
}

/// The last part of each endpoint's address, by priority: `1 2 | 3`.
fn priorities(assignment: &ClusterLoadAssignment) -> String {
    let mut by_priority: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for locality in &assignment.endpoints {
        let of = by_priority.entry(locality.priority).or_default();
        of.extend(locality.lb_endpoints.iter().map(|one| {
            let Some(HostIdentifier::Endpoint(endpoint)) = &one.host_identifier else { panic!("{one:?}") };
            match endpoint.address.as_ref().unwrap().address.as_ref().unwrap() {
                core::address::Address::SocketAddress(it) => {
                    it.address.rsplit('.').next().unwrap().to_owned()
                }
                other => panic!("{other:?}"),
            }
        }));
    }
    assert!(by_priority.keys().copied().eq(0..by_priority.len() as u32), "gaps");
    let each = by_priority.into_values().map(|mut of| {
        of.sort();
        of.join(" ")
    });
    each.collect::<Vec<_>>().join(" | ")
}

fn seen(mesh: &Mesh, scope: &Scope) -> String {
    let translation = translate(mesh, scope);
    let cluster: Cluster = decode(&translation, CLUSTER);
    let name = cluster.eds_cluster_config.unwrap().service_name;
    priorities(&decode(&translation, &name))
}

#[test]
fn what_a_document_says_of_places_counts_in_place_of_the_option() {
    let places = ["eu/a", "eu/b", "us/a", "asia/a"];
    for (setting, ignore, prefer) in [
        (json!({}), "1 2 3 4", "1 | 2 | 3 4"),
        (json!({ "enabled": true }), "1 | 2 | 3 4", "1 | 2 | 3 4"),
        (json!({ "enabled": false }), "1 2 3 4", "1 2 3 4"),
        (json!({ "failover": [{ "from": "eu", "to": "asia" }] }), "1 | 2 | 4 | 3", "1 | 2 | 4 | 3"),
        (json!({ "failover": [{ "from": "us", "to": "asia" }] }), "1 | 2 | 3 4", "1 | 2 | 3 4"),
        (json!({ "failoverPriority": ["topology.kubernetes.io/region"] }), "1 2 | 3 4", "1 2 | 3 4"),
        (json!({ "failoverPriority": ["topology.kubernetes.io/region=us"] }), "3 | 1 2 4", "3 | 1 2 4"),
        (json!({ "distribute": [{ "from": "eu/a", "to": { "us": 70, "asia": 30 } }] }), "3 4", "3 4"),
        (json!({ "distribute": [{ "from": "us/*", "to": { "us": 100 } }] }), "1 2 3 4", "1 2 3 4"),
        (json!({ "enabled": false, "failover": [{ "from": "eu", "to": "us" }] }), "1 2 3 4", "1 2 3 4"),
    ] {
        let mut mesh = ruled(vec![placed("shop.local", &places)], &[says("shop.local", setting.clone())]);
        assert_eq!(seen(&mesh, &at("eu/a")), ignore, "{setting}, ignore");
        mesh.options.prefer_near = true;
        assert_eq!(seen(&mesh, &at("eu/a")), prefer, "{setting}, prefer");
    }
}

#[test]
fn endpoints_that_share_more_labels_with_a_proxy_go_first() {
    let places = ["eu/a version=v1", "eu/b version=v2", "us/a version=v1", "us/b"];
    let setting = json!({ "failoverPriority": ["version", "topology.kubernetes.io/region", "topology.kubernetes.io/zone"] });
    let mesh = ruled(vec![placed("shop.local", &places)], &[says("shop.local", setting)]);
    for (version, expected) in [
        ("v1", "1 | 3 | 2 4"),
        ("v2", "2 | 1 3 4"),
        // What nobody has is shared with nobody, and what neither has is shared.
        ("v9", "1 2 3 4"),
        ("", "4 | 1 2 3"),
    ] {
        assert_eq!(seen(&mesh, &scope_of(&mesh, "eu/a", version)), expected, "{version:?}");
    }
}

/// The scope of a router there, with a label.
fn scope_of(mesh: &Mesh, place: &str, version: &str) -> Scope {
    let node = core::Node {
        id: "router~10.9.9.9~a~default.local".into(),
        locality: Some(core::Locality {
            region: locality(place).region,
            zone: locality(place).zone,
            sub_zone: String::new(),
        }),
        user_agent_name: "envoy".into(),
        ..Default::default()
    };
    let mut proxy = Proxy::from_node(Some(&node)).unwrap();
    if !version.is_empty() {
        proxy.labels.insert("version".into(), version.into());
    }
    let scope = mesh.scope(&proxy, Transport::Ads);
    Scope { client: router().client, ..scope }
}

#[test]
fn proxies_are_told_apart_by_what_documents_and_endpoints_say() {
    let service = || placed("shop.local", &["eu/a version=v1", "us/a"]);
    let plain = mesh(vec![service()]);
    assert_eq!(scope_of(&plain, "eu/a", "v1").to_string(), "router", "nobody asks");
    let shares = json!({ "distribute": [{ "from": "asia/x/*", "to": { "eu": 100 } }] });
    let by_place = ruled(vec![service()], &[says("shop.local", shares)]);
    let by_label = ruled(vec![service()], &[says("shop.local", json!({ "failoverPriority": ["version"] }))]);
    for (mesh, place, version, expected) in [
        (&by_place, "eu/a", "v1", "router near eu/a"),
        (&by_place, "eu/z", "v1", "router near eu"),
        (&by_place, "asia/x", "", "router near asia/x"),
        (&by_place, "asia/y", "", "router"),
        (&by_label, "mars/a", "v1", "router near version=v1"),
        (&by_label, "mars/a", "v2", "router near version=(none)"),
        (&by_label, "mars/a", "v3", "router near version=(none)"),
        (&by_label, "mars/a", "", "router"),
    ] {
        // The namespace of a document makes a difference, too.
        let scope = Scope { namespace: None, ..scope_of(mesh, place, version) };
        assert_eq!(scope.to_string(), expected, "{place} {version}");
    }
}

#[test]
fn localities_of_a_place_weigh_what_a_document_says() {
    let places = ["eu/a", "eu/a", "eu/b", "us/a", "us/b", "asia/a"];
    let setting = json!({ "distribute": [{ "from": "eu/*", "to": { "eu/a": 50, "us/*": 40, "asia": 10 } }] });
    let mesh = ruled(vec![placed("shop.local", &places)], &[says("shop.local", setting)]);
    let translation = translate(&mesh, &at("eu/b"));
    let assignment: ClusterLoadAssignment = decode(&translation, CLUSTER);
    let weights = assignment.endpoints.iter().map(|it| {
        let place = it.locality.as_ref().unwrap();
        (format!("{}/{}", place.region, place.zone), it.load_balancing_weight.unwrap().value / 1_000_000)
    });
    let expected = [("eu/a", 50), ("us/a", 20), ("us/b", 20), ("asia/a", 10)];
    let expected: BTreeMap<String, u32> = expected.map(|(place, weight)| (place.to_owned(), weight)).into();
    assert_eq!(weights.collect::<BTreeMap<_, _>>(), expected);
    let cluster: Cluster = decode(&translation, CLUSTER);
    let config = cluster.common_lb_config.unwrap();
    assert!(config.locality_config_specifier.is_some(), "Envoy looks at weights of localities: {config:?}");
}

#[test]
fn subsets_ports_and_namespaces_have_places_of_their_own() {
    let near = json!({ "loadBalancer": { "localityLbSetting": { "enabled": true } } });
    let far = json!({ "loadBalancer": { "localityLbSetting": { "failoverPriority": ["version=v2"] } } });
    let of_all = json!({
        "host": "shop.local",
        "trafficPolicy": near,
        "subsets": [{ "name": "all", "labels": {}, "trafficPolicy": far }, { "name": "v1", "labels": { "version": "v1" } }],
    });
    let of_shop = json!({ "host": "shop.local", "exportTo": ["."], "trafficPolicy": far, "subsets": [{ "name": "v1", "labels": { "version": "v1" } }] });
    let places = ["eu/a version=v1", "us/a version=v2", "us/b version=v1"];
    let documents = [document("all", "default", of_all), document("own", "shop", of_shop)];
    let mesh = ruled(vec![placed("shop.local", &places)], &documents);
    let own = Scope { namespace: Some("shop".to_owned().try_into().unwrap()), ..at("eu/a") };
    for (scope, cluster, expected) in [
        (&at("eu/a"), CLUSTER, "1 | 2 3"),
        (&at("eu/a"), "outbound|80|all|shop.local", "2 | 1 3"),
        (&at("eu/a"), "outbound|80|v1|shop.local", "1 | 3"),
        (&own, CLUSTER, "2 | 1 3"),
        (&own, "outbound|80|v1|shop.local", "1 3"),
    ] {
        let translation = translate(&mesh, scope);
        let made: Cluster = decode(&translation, cluster);
        let name = made.eds_cluster_config.unwrap().service_name;
        assert_eq!(priorities(&decode(&translation, &name)), expected, "{scope} {cluster} {name}");
    }
}

#[test]
fn names_that_proxies_resolve_are_ordered_by_place_too() {
    let service = resolved(placed("shop.local", &["eu/a", "us/a"]), Resolution::Dns);
    let mesh = ruled(vec![service], &[says("shop.local", json!({ "enabled": true }))]);
    let cluster: Cluster = decode(&translate(&mesh, &at("us/a")), CLUSTER);
    assert_eq!(priorities(&cluster.load_assignment.unwrap()), "2 | 1");
}

#[test]
fn places_have_a_layer_of_the_services_concerned_and_a_change_of_others_touches_none() {
    let world = |other: &[&str]| {
        let shares = json!({ "distribute": [{ "from": "eu/*", "to": { "us": 100 } }] });
        let specs = vec![placed("shop.local", &["us/a", "asia/a"]), placed("other.local", other)];
        ruled(specs, &[says("shop.local", shares)])
    };
    let scope = at("eu/a");
    let key = LayerKey::of(&scope).into_iter().find(|key| matches!(key, LayerKey::Place { .. })).unwrap();
    let mut layers = Layers::default();
    layers.follow(&scope);
    let mut follow = |mesh: Mesh| {
        layers.advance(Arc::new(mesh), Instant::now());
        let layer = Arc::clone(layers.get(&key).unwrap().layer());
        let names: Vec<String> =
            layer.sets.iter().flat_map(|(_, set)| set.iter().map(|it| it.name().to_string())).collect();
        (layer, names)
    };
    let (before, names) = follow(world(&["eu/a", "us/a"]));
    assert_eq!(names, [CLUSTER]);
    let (after, _) = follow(world(&["eu/a", "us/b", "asia/a"]));
    assert!(Arc::ptr_eq(&before, &after), "nothing of a place changed");
    let (_, gone) = follow(Mesh { rules: Default::default(), ..world(&["eu/a"]) });
    assert!(gone.is_empty(), "{gone:?}");
}
