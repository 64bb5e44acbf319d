//! Rules of the mapping, on objects as the API has them.

use pilot_registry::Health;
use serde_json::{Value, json};

use super::*;
use crate::cluster::{Entry, Interner, Node, Pod};
use crate::objects;

fn config() -> Config {
    Config { trust_domain: "mesh.local".to_owned(), ..Config::default() }
}

fn key(namespace: &str, name: &str) -> Key {
    Key { namespace: namespace.into(), name: name.into() }
}

fn service(metadata: Value, spec: Value) -> cluster::Service {
    let meta = serde_json::from_value(metadata).unwrap();
    cluster::Service::new(&meta, serde_json::from_value(spec).unwrap())
}

fn slice(name: &str, family: &str, ports: Value, endpoints: Value) -> (Key, Slice) {
    let object = json!({
        "metadata": { "name": name, "namespace": "shop", "labels": { "kubernetes.io/service-name": "web" } },
        "addressType": family, "ports": ports, "endpoints": endpoints,
    });
    let mut slice: objects::EndpointSlice = serde_json::from_value(object).unwrap();
    let meta = std::mem::take(&mut slice.metadata);
    (key("shop", name), Slice::new(&meta, slice, &mut Interner::default()).unwrap())
}

fn facts() -> Facts {
    let node = json!({ "labels": { "topology.kubernetes.io/region": "north", "topology.kubernetes.io/zone": "n1" } });
    let pod = json!({ "labels": { "version": "v2" }, "annotations": { "pilot/weight": "7" } });
    let spec = serde_json::from_value(json!({ "serviceAccountName": "web" })).unwrap();
    let pod = Pod::new(&serde_json::from_value(pod).unwrap(), Some(spec), &mut Interner::default());
    let mut facts = Facts::default();
    facts.nodes.insert("node-1".into(), Node::new(&serde_json::from_value(node).unwrap()));
    facts.pods.insert(key("shop", "web-1"), pod);
    facts
}

fn outcome(service: &cluster::Service, slices: &[(Key, Slice)]) -> Option<Outcome> {
    let slices = slices.iter().map(|(key, slice)| (key, slice));
    Mapping::new(&config()).unwrap().outcome(&key("shop", "web"), service, slices, &facts())
}

fn built(service: &cluster::Service, slices: &[(Key, Slice)]) -> Arc<Service> {
    let outcome = outcome(service, slices).unwrap();
    outcome.service.unwrap_or_else(|| panic!("{:?}", outcome.skipped))
}

fn one_port() -> Value {
    json!([{ "port": 80, "name": "http" }])
}

fn addresses(service: &Service) -> Vec<String> {
    service.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

#[test]
fn an_endpoint_has_the_facts_of_its_pod_and_its_node() {
    let endpoints = json!([{
        "addresses": ["10.0.0.1"], "nodeName": "node-1", "zone": "n2", "conditions": { "ready": true },
        "targetRef": { "kind": "Pod", "name": "web-1", "namespace": "shop" },
    }]);
    let slices = [slice("web-a", "IPv4", json!([{ "name": "http", "port": 8080 }]), endpoints)];
    let service =
        built(&service(json!({ "labels": { "team": "a" } }), json!({ "ports": one_port() })), &slices);
    let endpoint = &service.endpoints[0];
    assert_eq!(endpoint.labels, [("version".to_owned(), "v2".to_owned())].into());
    assert_eq!(endpoint.weight.get(), 7);
    assert_eq!(endpoint.identity.as_ref().unwrap().as_str(), "spiffe://mesh.local/ns/shop/sa/web");
    assert_eq!((endpoint.locality.region.as_str(), endpoint.locality.zone.as_str()), ("north", "n2"));
    assert_eq!(service.identities.len(), 1);
    assert_eq!(service.host.as_str(), "web.shop.svc.cluster.local");
    let aliases: Vec<_> = service.aliases.iter().map(Hostname::as_str).collect();
    assert_eq!(aliases, ["web.shop", "web.shop.svc"]);
    let local_names: Vec<_> = service.local_names.iter().map(Hostname::as_str).collect();
    assert_eq!((service.namespace.as_str(), local_names.as_slice()), ("shop", ["web"].as_slice()));
}

#[test]
fn a_duplicate_counts_once_as_the_best_that_is_said_of_it() {
    let ports = || json!([{ "name": "http", "port": 8080 }]);
    let is = |ready: bool| json!([{ "addresses": ["10.0.0.1"], "conditions": { "ready": ready } }]);
    let slices = [slice("web-a", "IPv4", ports(), is(false)), slice("web-b", "IPv4", ports(), is(true))];
    let service = built(&service(json!({}), json!({ "ports": one_port() })), &slices);
    assert_eq!(service.endpoints.len(), 1);
    assert_eq!(service.endpoints[0].health, Health::Healthy);
}

/// An old slice that is not gone yet has fewer ports, and says that the endpoint is not ready.
#[test]
fn of_each_port_a_duplicate_counts_as_the_best_that_is_said_of_it() {
    let http = || json!({ "name": "http", "port": 21103 });
    let is =
        |address: &str, ready: bool| json!([{ "addresses": [address], "conditions": { "ready": ready } }]);
    let ports = json!([{ "port": 80, "name": "http" }, { "port": 90, "name": "metrics" }]);
    let both = || json!([http(), { "name": "metrics", "port": 21104 }]);
    for (old, new) in [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "::ffff:127.0.0.1")] {
        let slices = [
            slice("web-a", "IPv4", json!([http()]), is(old, false)),
            slice("web-b", "IPv4", both(), is(new, true)),
        ];
        let service = built(&service(json!({}), json!({ "ports": ports.clone() })), &slices);
        let served: Vec<_> = service.endpoints.iter().map(|one| (one.ports.len(), one.health)).collect();
        assert_eq!(served, [(2, Health::Healthy)], "{old} {new}");
    }
}

/// The zones of endpoints in two slices: of each its own zone, whether it is ready, and its hints.
fn zones(first: &[(&str, bool, &[&str])], second: &[(&str, bool, &[&str])]) -> Vec<String> {
    let port = || json!([{ "name": "http", "port": 8080 }]);
    let members = |net: u8, of: &[(&str, bool, &[&str])]| {
        let member = |(at, (zone, ready, hints)): (usize, &(&str, bool, &[&str]))| {
            let hints: Vec<Value> = hints.iter().map(|zone| json!({ "name": zone })).collect();
            json!({
                "addresses": [format!("10.0.{net}.{}", at + 1)], "nodeName": "node-1", "zone": zone,
                "conditions": { "ready": ready, "serving": true, "terminating": !ready },
                "hints": { "forZones": hints, "forNodes": [{ "name": "node-1" }] },
            })
        };
        of.iter().enumerate().map(member).collect::<Value>()
    };
    let slices =
        [slice("a", "IPv4", port(), members(0, first)), slice("b", "IPv4", port(), members(1, second))];
    let service = built(&service(json!({}), json!({ "ports": one_port() })), &slices);
    assert!(service.endpoints.iter().all(|endpoint| endpoint.locality.region == "north"));
    service.endpoints.iter().map(|endpoint| endpoint.locality.zone.clone()).collect()
}

#[test]
fn an_endpoint_is_in_the_zone_of_its_hint() {
    assert_eq!(
        zones(&[("n1", true, &["n2"]), ("n1", true, &["n1"])], &[("n2", true, &["n3"])]),
        ["n2", "n1", "n3"]
    );
    // Of several, it is its own, and otherwise the same whatever their order.
    assert_eq!(zones(&[("n2", true, &["n1", "n2"])], &[("n1", true, &["n3", "n2"])]), ["n2", "n2"]);
}

#[test]
fn hints_count_when_every_ready_endpoint_of_the_service_has_one() {
    // One slice has hints already, the other not yet.
    assert_eq!(
        zones(&[("n1", true, &["n2"])], &[("n1", true, &[]), ("n3", true, &["n2"])]),
        ["n1", "n1", "n3"]
    );
    assert_eq!(zones(&[("n1", true, &["n2"])], &[("n3", true, &[""])]), ["n1", "n3"]);
    // What is draining has none, or an old one.
    assert_eq!(
        zones(&[("n1", true, &["n2"])], &[("n1", false, &[]), ("n3", false, &["n2"])]),
        ["n2", "n1", "n2"]
    );
    assert_eq!(zones(&[("n1", false, &["n2"])], &[]), ["n1"]);
}

#[test]
fn a_duplicate_has_the_hint_of_the_better_one() {
    let of = |name: &str, ready: bool, hints: Value| {
        let endpoint = json!({
            "addresses": ["10.0.0.1"], "zone": "n1", "conditions": { "ready": ready }, "hints": hints,
        });
        slice(name, "IPv4", json!([{ "name": "http", "port": 8080 }]), json!([endpoint]))
    };
    let slices = [of("a", false, json!(null)), of("b", true, json!({ "forZones": [{ "name": "n2" }] }))];
    let service = built(&service(json!({}), json!({ "ports": one_port() })), &slices);
    let zones: Vec<_> = service.endpoints.iter().map(|endpoint| endpoint.locality.zone.as_str()).collect();
    assert_eq!(zones, ["n2"]);
}

#[test]
fn a_named_target_port_is_each_slices_own() {
    let at = |ip: &str| json!([{ "addresses": [ip] }]);
    let port = |number: u32| json!([{ "name": "http", "port": number }]);
    let slices =
        [slice("a", "IPv4", port(8080), at("10.0.0.1")), slice("b", "IPv4", port(9090), at("10.0.0.2"))];
    let service = built(&service(json!({}), json!({ "ports": one_port() })), &slices);
    let own: Vec<u16> = service
        .endpoints
        .iter()
        .flat_map(|endpoint| endpoint.ports.values().map(|port| port.get()))
        .collect();
    assert_eq!(own, [8080, 9090]);
}

#[test]
fn a_pod_with_two_families_counts_once_by_the_services_first() {
    let of =
        |ip: &str, pod: &str| json!([{ "addresses": [ip], "targetRef": { "kind": "Pod", "name": pod } }]);
    let ports = || json!([{ "name": "http", "port": 8080 }]);
    let slices = [
        slice("a", "IPv4", ports(), of("10.0.0.1", "web-1")),
        slice("b", "IPv6", ports(), of("2001:db8::1", "web-1")),
        slice("c", "IPv6", ports(), of("2001:db8::2", "web-2")),
    ];
    let spec = |families: Value| json!({ "ports": one_port(), "ipFamilies": families, "clusterIPs": ["10.1.0.1", "2001:db8:1::1"] });
    let dual = built(&service(json!({}), spec(json!(["IPv4", "IPv6"]))), &slices);
    assert_eq!(addresses(&dual), ["10.0.0.1", "2001:db8::2"]);
    assert_eq!(dual.virtual_addresses.len(), 2);
    let dual = built(&service(json!({}), spec(json!(["IPv6", "IPv4"]))), &slices);
    assert_eq!(addresses(&dual), ["2001:db8::1", "2001:db8::2"]);
}

#[test]
fn protocols_come_from_annotations_then_the_port_then_its_name_then_the_default() {
    let ports = json!([
        { "port": 1, "name": "http-a" }, { "port": 2, "name": "b", "appProtocol": "kubernetes.io/h2c" },
        { "port": 3, "name": "grpc-c", "appProtocol": "example.com/own" }, { "port": 4, "name": "d" },
        { "port": 5, "name": "http-e", "appProtocol": "grpc" }, { "port": 6, "name": "f", "protocol": "UDP" },
        { "port": 7, "name": "g", "protocol": "SCTP" },
    ]);
    let said = |annotations: Value| {
        let service = service(json!({ "annotations": annotations }), json!({ "ports": ports }));
        let outcome = outcome(&service, &[]).unwrap();
        let service = outcome.service.unwrap();
        let protocols: Vec<_> = service.ports.iter().map(|port| port.protocol.as_str()).collect();
        let guessed: Vec<u16> = service.guessed_protocols.iter().map(|port| port.get()).collect();
        (protocols, guessed, [outcome.skipped, outcome.notes])
    };
    let (protocols, guessed, [skipped, notes]) = said(json!({}));
    assert_eq!((protocols, guessed), (vec!["http", "http2", "grpc", "tcp", "grpc", "udp"], vec![4]));
    assert_eq!((skipped.len(), notes.len()), (1, 0), "{skipped:?}");
    assert!(skipped[0].0.contains("g (7)") && skipped[0].1.contains("SCTP"), "{skipped:?}");
    let (protocols, guessed, _) = said(json!({ "pilot/protocol": "http, 1=redis, d=mongo" }));
    assert_eq!((protocols, guessed), (vec!["redis", "http", "http", "mongo", "http", "udp"], vec![]));
    let (protocols, _, [_, notes]) = said(json!({ "pilot/protocol": "htp" }));
    assert_eq!(protocols, ["http", "http2", "grpc", "tcp", "grpc", "udp"]);
    assert!(notes.iter().any(|(entry, _)| entry.contains("pilot/protocol")), "{notes:?}");
}

#[test]
fn of_two_ports_with_one_number_the_datagrams_are_left_out_and_reported() {
    let dns = json!([
        { "port": 53, "name": "dns", "protocol": "UDP" }, { "port": 53, "name": "dns-tcp", "protocol": "TCP" },
    ]);
    let outcome = outcome(&service(json!({}), json!({ "ports": dns })), &[]).unwrap();
    let ports = &outcome.service.unwrap().ports;
    assert_eq!((ports.len(), ports[0].name.as_str()), (1, "dns-tcp"));
    assert!(outcome.skipped[0].0.contains("port dns (53)"), "{:?}", outcome.skipped);
}

#[test]
fn an_external_name_is_resolved_by_the_proxy() {
    let spec =
        json!({ "type": "ExternalName", "externalName": "db.example.com", "ports": [{ "port": 5432 }] });
    let service = built(&service(json!({}), spec), &[]);
    assert_eq!(service.resolution, Resolution::Dns);
    assert_eq!(addresses(&service), ["db.example.com"]);
}

#[test]
fn what_has_no_port_is_left_out_and_reported() {
    let outcome = outcome(&service(json!({}), json!({ "clusterIP": "None" })), &[]).unwrap();
    assert!(outcome.service.is_none());
    assert!(outcome.skipped[0].0.contains("services shop/web"), "{:?}", outcome.skipped);
}

#[test]
fn what_is_to_be_ignored_is_neither_there_nor_reported() {
    let ignored =
        service(json!({ "annotations": { "pilot/ignore": "true" } }), json!({ "ports": one_port() }));
    assert!(outcome(&ignored, &[]).is_none());
}

#[test]
fn istios_annotation_says_who_sees_a_service() {
    for (words, seen_by, noted) in [
        ("*", "everybody", 0),
        (".", "namespace shop", 0),
        ("~", "nobody", 0),
        ("., bank", "namespace bank, shop", 0),
        ("*,bank", "namespace shop", 1),
        ("", "namespace shop", 1),
    ] {
        let annotations = json!({ "annotations": { "networking.istio.io/exportTo": words } });
        let outcome = outcome(&service(annotations, json!({ "ports": one_port() })), &[]).unwrap();
        assert_eq!(outcome.service.unwrap().visibility.to_string(), seen_by, "{words:?}");
        assert_eq!(outcome.notes.len(), noted, "{:?}", outcome.notes);
    }
}

#[test]
fn addresses_that_make_no_sense_hide_only_themselves() {
    let endpoints = json!([{ "addresses": ["10.0.0.1"] }, { "addresses": ["10.0.0"] }, { "addresses": [] }]);
    let slices = [slice("web-a", "IPv4", json!([{ "name": "http", "port": 8080 }]), endpoints)];
    let outcome = outcome(&service(json!({}), json!({ "ports": one_port() })), &slices).unwrap();
    assert_eq!(addresses(&outcome.service.unwrap()), ["10.0.0.1"]);
    assert_eq!(outcome.skipped.len(), 2, "{:?}", outcome.skipped);
}

#[test]
fn a_slice_of_names_is_refused() {
    let object = json!({ "metadata": {}, "addressType": "FQDN", "endpoints": [], "ports": [] });
    let slice: objects::EndpointSlice = serde_json::from_value(object).unwrap();
    let refused = Slice::new(&objects::Meta::default(), slice, &mut Interner::default()).map(Entry::Slice);
    assert!(refused.unwrap_err().contains("expected IPv4 or IPv6"));
}
