use std::collections::BTreeMap;

use pilot_registry::{Address, Health, Service};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{CheckStatus, TaggedAddress};

mod ports;

/// An instance with what matters, in the words of Consul.
fn entry(id: &str, service: Value) -> Value {
    let mut own = json!({ "ID": id, "Service": "web", "Port": 8080, "Address": "10.0.0.1" });
    for (key, value) in service.as_object().unwrap() {
        own[key] = value.clone();
    }
    let node = json!({ "Node": "n1", "Address": "10.0.0.9", "Datacenter": "dc1" });
    json!({ "Node": node, "Service": own, "Checks": [] })
}

fn checked(statuses: &[(&str, &str)]) -> Value {
    let mut entry = entry("1", json!({ "Weights": { "Passing": 9, "Warning": 2 } }));
    let check = |(id, status): &(&str, &str)| json!({ "CheckID": id, "Status": status });
    entry["Checks"] = statuses.iter().map(check).collect();
    entry
}

fn built(entries: &[Value], config: &Config) -> Service {
    let content = content("web", json!(entries).to_string().as_bytes(), config).unwrap();
    assert_eq!((content.skipped.len(), content.notes.len()), (0, 0), "nothing is wrong with them");
    Service::clone(&made(&content, &Settled::default(), config).service)
}

fn made(content: &Content, before: &Settled, config: &Config) -> Built {
    let host = content.host.as_ref().unwrap();
    service(host, content.instances.iter(), before, &Defaults::from(config)).unwrap().unwrap()
}

fn built_with(entry: Value, change: impl FnOnce(&mut Config)) -> Service {
    let mut config = Config::default();
    change(&mut config);
    built(&[entry], &config)
}

fn address(service: &Service) -> String {
    let endpoint = &service.endpoints[0];
    match endpoint.ports.values().next() {
        Some(port) => format!("{}:{port}", endpoint.address),
        None => endpoint.address.to_string(),
    }
}

#[test]
fn l01_the_worst_check_decides() {
    type Checks = &'static [(&'static str, &'static str)];
    let cases: [(Checks, Health, Health); 7] = [
        (&[], Health::Unknown, Health::Unknown),
        (&[("a", "passing"), ("b", "passing")], Health::Healthy, Health::Healthy),
        (&[("a", "passing"), ("b", "warning")], Health::Unhealthy, Health::Healthy),
        (&[("a", "warning"), ("b", "critical")], Health::Unhealthy, Health::Unhealthy),
        (&[("a", "of tomorrow")], Health::Unhealthy, Health::Unhealthy),
        (&[("_service_maintenance:1", "critical")], Health::Draining, Health::Draining),
        (&[("_node_maintenance", "critical"), ("a", "critical")], Health::Draining, Health::Draining),
    ];
    for (checks, by_default, warned) in cases {
        assert_eq!(built_with(checked(checks), |_| {}).endpoints[0].health, by_default, "{checks:?}");
        let also = |config: &mut Config| config.serve.push(CheckStatus::Warning);
        let service = built_with(checked(checks), also);
        assert_eq!(service.endpoints[0].health, warned, "{checks:?}");
        let warns = checks.contains(&("b", "warning"));
        assert_eq!(service.endpoints[0].weight.get(), if warns { 2 } else { 9 }, "{checks:?}");
    }
}

/// Without weights, and with those that Consul adds.
#[test]
fn a_warning_weighs_as_much_as_the_others_unless_it_says_otherwise() {
    for weights in [Value::Null, json!({ "Passing": 1, "Warning": 1 })] {
        let mut entry = checked(&[("a", "warning")]);
        entry["Service"]["Weights"] = weights;
        let service = built_with(entry, |config| config.serve.push(CheckStatus::Warning));
        assert_eq!((service.endpoints[0].health, service.endpoints[0].weight.get()), (Health::Healthy, 1));
    }
}

#[test]
fn a_weight_of_0_takes_no_traffic() {
    let mut entry = checked(&[("a", "passing")]);
    entry["Service"]["Weights"]["Passing"] = json!(0);
    assert_eq!(built_with(entry, |_| {}).endpoints[0].health, Health::Draining);
}

#[test]
fn tags_and_meta_are_labels_and_meta_wins() {
    let service = json!({
        "Tags": ["version=v1", "stage|test", "primary", "http", "=odd", "protocol=grpc", "a=b=c|d"],
        "Meta": { "version": "v2", "region": "eu", "protocol": "http2", "service_port": "80" },
    });
    let service = built_with(entry("1", service), |_| {});
    let labels: BTreeMap<&str, &str> =
        service.endpoints[0].labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected = [("=odd", ""), ("a", "b=c|d"), ("primary", ""), ("stage", "test"), ("version", "v2")];
    assert_eq!(labels, expected.into());
    assert_eq!(service.ports[0].protocol.as_str(), "http2", "meta wins over a tag");
}

#[test]
fn the_protocol_comes_from_meta_a_tag_or_the_name_of_the_port() {
    let cases = [
        (json!({}), "tcp"),
        (json!({ "Meta": { "protocol": "gRPC" } }), "grpc"),
        (json!({ "Tags": ["http"] }), "http"),
        (json!({ "Tags": ["protocol=redis"] }), "redis"),
        (json!({ "Meta": { "port_name": "http-web" } }), "http"),
        (json!({ "Meta": { "port_name": "web" } }), "tcp"),
    ];
    for (service, protocol) in cases {
        let name = service.to_string();
        assert_eq!(built_with(entry("1", service), |_| {}).ports[0].protocol.as_str(), protocol, "{name}");
    }
}

/// An instance that serves stays, whatever others call what it speaks.
#[test]
fn a_protocol_that_is_not_known_takes_nothing_away() {
    let cases = [
        (json!({ "Meta": { "protocol": "https" } }), "tcp"),
        (json!({ "Meta": { "protocol": "mysql" }, "Tags": ["http"] }), "http"),
        (json!({ "Meta": { "protocol": "", "port_name": "grpc-web" } }), "grpc"),
        (json!({ "Meta": { "protocol": "htp" }, "Ports": [{ "Name": "http", "Port": 80 }] }), "http"),
    ];
    for (said, protocol) in cases {
        let body = json!([entry("1", said.clone())]).to_string();
        let content = content("web", body.as_bytes(), &Config::default()).unwrap();
        let built = made(&content, &Settled::default(), &Config::default()).service;
        assert_eq!((built.endpoints.len(), built.ports[0].protocol.as_str()), (1, protocol), "{said}");
        assert_eq!(content.skipped, [], "it is served");
        let [(place, why)] = content.notes.as_slice() else { panic!("{:?}", content.notes) };
        assert_eq!(place, "web/n1/1");
        assert!(why.contains("protocol in its meta") && why.contains("one of http"), "{why}");
    }
}

#[test]
fn the_address_is_the_instances_or_its_nodes_or_the_one_that_is_asked_for() {
    let mut whole = entry("1", json!({}));
    whole["Service"]["TaggedAddresses"] = json!({ "wan": { "Address": "192.0.2.1", "Port": 443 } });
    whole["Node"]["TaggedAddresses"] = json!({ "wan": "192.0.2.9", "lan": "10.0.0.8" });
    let wan = |config: &mut Config| config.tagged_address = Some(TaggedAddress::Wan);
    let lan = |config: &mut Config| config.tagged_address = Some(TaggedAddress::Lan);
    assert_eq!(address(&built_with(whole.clone(), |_| {})), "10.0.0.1:8080");
    assert_eq!(address(&built_with(whole.clone(), wan)), "192.0.2.1:443");
    assert_eq!(address(&built_with(whole.clone(), lan)), "10.0.0.1:8080", "the instance has none of its own");
    whole["Service"]["Address"] = json!("");
    assert_eq!(address(&built_with(whole.clone(), |_| {})), "10.0.0.9:8080");
    assert_eq!(address(&built_with(whole.clone(), lan)), "10.0.0.8:8080");
    whole["Service"]["Address"] = json!("2001:db8::1");
    assert_eq!(address(&built_with(whole.clone(), |_| {})), "2001:db8::1:8080");
    whole["Service"]["Address"] = json!("db.example.com");
    let named = built_with(whole, |_| {});
    assert_eq!(named.resolution, pilot_registry::Resolution::Dns);
    assert!(matches!(named.endpoints[0].address, Address::Dns(_)));
}

#[test]
fn places_come_from_the_instance_the_node_and_the_datacenter() {
    let place = |service: Value, node: Value| {
        let mut entry = entry("1", service);
        entry["Node"]["Meta"] = node;
        let place = built_with(entry, |config| config.zone_meta = "az".into()).endpoints[0].locality.clone();
        format!("{}/{}/{}", place.region, place.zone, place.sub_zone)
    };
    assert_eq!(place(json!({}), Value::Null), "dc1//");
    assert_eq!(place(json!({}), json!({ "az": "a", "sub_zone": "r1" })), "dc1/a/r1");
    let node = json!({ "region": "eu", "az": "a" });
    assert_eq!(place(json!({ "Meta": { "az": "b" } }), node.clone()), "eu/b/");
    assert_eq!(place(json!({ "Locality": { "Region": "us", "Zone": "c" } }), node), "us/c/");
}

#[test]
fn proxies_and_gateways_and_other_tags_do_not_count() {
    let kinds = ["connect-proxy", "mesh-gateway", "ingress-gateway", "terminating-gateway", "api-gateway"];
    for kind in kinds {
        let body = json!([entry("1", json!({ "Kind": kind }))]).to_string();
        let read = |config: &Config| content("web", body.as_bytes(), config).unwrap();
        assert_eq!(read(&Config::default()).instances, [], "{kind}");
        let all = Config { connect_proxies: true, gateways: true, ..Config::default() };
        assert_eq!(read(&all).instances.len(), 1, "{kind}");
    }
    let body = json!([entry("1", json!({ "Tags": ["a"] })), entry("2", json!({ "Tags": ["b", "a"] }))]);
    let config = Config { tags: vec!["a".into(), "b".into()], ..Config::default() };
    assert_eq!(content("web", body.to_string().as_bytes(), &config).unwrap().instances.len(), 1);
}

#[test]
fn an_instance_without_port_describes_the_service_only() {
    let meta = json!({ "service_port": "80", "protocol": "http" });
    let service = built_with(entry("1", json!({ "Port": 0, "Meta": meta })), |_| {});
    assert_eq!((service.ports[0].number.get(), service.endpoints.len()), (80, 0));
}

#[test]
fn what_makes_no_sense_hides_only_itself() {
    let good = entry("good", json!({}));
    let cases = [
        (entry("1", json!({ "Port": 70_000 })), "65535"),
        (entry("1", json!({ "Port": 0 })), "service_port"),
        (entry("1", json!({ "Port": "many" })), "invalid type"),
        (entry("1", json!({ "Address": "not an address" })), "not an address"),
        (entry("1", json!({ "Meta": { "service_port": "0" } })), "65535"),
        (json!({ "Service": 5 }), "invalid type"),
    ];
    for (wrong, mentions) in cases {
        let body = json!([wrong, good]).to_string();
        let content = content("web", body.as_bytes(), &Config::default()).unwrap();
        assert_eq!(content.instances.len(), 1, "{wrong}");
        let [(entry, why)] = content.skipped.as_slice() else { panic!("{:?}", content.skipped) };
        assert!(entry.starts_with("web") && why.contains(mentions), "{entry}: {why}");
    }
    assert!(content("web", b"{}", &Config::default()).is_err());
}

#[test]
fn of_one_address_the_healthiest_counts() {
    let at = |id: &str, status: &str, weight: u32| {
        let mut entry = entry(id, json!({ "Weights": { "Passing": weight, "Warning": 1 } }));
        entry["Checks"] = json!([{ "CheckID": "c", "Status": status }]);
        entry
    };
    let service =
        built(&[at("1", "critical", 9), at("2", "passing", 3), at("3", "passing", 4)], &Config::default());
    let [only] = service.endpoints.as_slice() else { panic!("{:?}", service.endpoints) };
    assert_eq!((only.health, only.weight.get()), (Health::Healthy, 4));
}

/// Instances on these nodes with that state, as an answer that leaves out others, after the one before.
fn shown(nodes: &[u8], status: &str, after: Option<&Content>) -> Content {
    let on = |n: &u8| {
        let mut entry = checked(&[("a", status)]);
        entry["Node"]["Node"] = json!(format!("n{n}"));
        entry["Service"]["Address"] = json!(format!("10.0.0.{n}"));
        entry
    };
    let body = nodes.iter().map(on).collect::<Value>().to_string();
    let mut content = content("web", body.as_bytes(), &Config::default()).unwrap();
    if after.is_some() {
        content.keep("web", after);
    }
    content
}

fn healths(content: &Content) -> Vec<(String, Health)> {
    content.instances.iter().map(|one| (one.node().to_owned(), one.health)).collect()
}

/// Who could read all before loses nothing, whatever was hidden and shown again in between.
#[test]
fn what_could_be_read_is_kept_whatever_is_hidden_next() {
    let whole = shown(&[1, 2], "passing", None);
    let hidden = shown(&[1], "passing", Some(&whole));
    assert_eq!((hidden.kept, hidden.instances.len()), (1, 2));
    // The second is shown again, and there is a fourth, which the token may not read.
    let other = shown(&[1, 2], "passing", Some(&hidden));
    assert_eq!((other.kept, other.instances.len()), (0, 2));
    let last = shown(&[2], "passing", Some(&other));
    assert_eq!((last.kept, last.instances.len()), (1, 2));
    let again = shown(&[2], "passing", None);
    assert_eq!((again.kept, again.instances.len()), (0, 1), "all may be read again");
}

#[test]
fn who_never_could_read_all_keeps_nothing() {
    let nothing = Content::default();
    let some = shown(&[1, 2], "passing", Some(&nothing));
    assert_eq!(shown(&[1], "passing", Some(&some)).instances.len(), 1);
}

/// Nobody says any more that it is healthy; and nobody says that one which failed no longer does.
#[test]
fn what_is_kept_is_not_healthy_for_ever() {
    for (status, kept) in [("passing", Health::Unknown), ("critical", Health::Unhealthy)] {
        let whole = shown(&[1, 2], status, None);
        let hidden = shown(&[1], "passing", Some(&whole));
        let expected = [("n1".to_owned(), Health::Healthy), ("n2".to_owned(), kept)];
        assert_eq!(healths(&hidden), expected);
        let back = shown(&[1, 2], "passing", Some(&hidden));
        assert!(healths(&back).iter().all(|(_, health)| *health == Health::Healthy), "they are shown again");
    }
}

fn some_entry() -> impl Strategy<Value = Value> {
    let port = prop_oneof![Just(0u16), 8080..8083u16];
    let declared = proptest::option::of(80..82u16);
    let (name, status) = (0..3usize, 0..4usize);
    (1..4u8, port, declared, name, status, 1..4u32).prop_map(
        |(host, port, declared, name, status, weight)| {
            let mut meta = json!({});
            if let Some(declared) = declared {
                meta["service_port"] = json!(declared.to_string());
            }
            if name > 0 {
                meta["port_name"] = json!(["", "http", "admin"][name]);
            }
            let service = json!({
                "Port": port, "Meta": meta, "Address": format!("10.0.0.{host}"),
                "Weights": { "Passing": weight, "Warning": 1 },
            });
            let mut entry = entry(&format!("{host}-{port}"), service);
            let status = ["passing", "warning", "critical", "unheard of"][status];
            entry["Checks"] = json!([{ "CheckID": "c", "Status": status }]);
            entry
        },
    )
}

proptest! {
    /// Whatever instances there are, and in whatever order, one service comes of them or none.
    #[test]
    fn the_order_of_instances_does_not_matter(
        (one, other) in proptest::collection::vec(some_entry(), 0..8)
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
    ) {
        let build = |entries: &[Value]| {
            let content = content("web", json!(entries).to_string().as_bytes(), &Config::default()).unwrap();
            let some = !content.instances.is_empty();
            some.then(|| made(&content, &Settled::default(), &Config::default()).service)
        };
        prop_assert_eq!(build(&one), build(&other));
    }

    /// No body is a panic.
    #[test]
    fn no_body_is_a_panic(body in ".{0,60}") {
        _ = content("web", body.as_bytes(), &Config::default());
    }
}
