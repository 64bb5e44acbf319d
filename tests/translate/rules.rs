//! Rules that a reader of golden files would miss.

use std::sync::Arc;

use pilot::mesh::Mesh;
use pilot::proxy::{ConfigSource, Role, Scope};
use pilot::resources::ResourceType;
use pilot::translate::Translation;
use pilot_envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use pilot_envoy_api::envoy::config::route::v3::RouteConfiguration;
use pilot_envoy_api::google::protobuf::Any;
use pilot_registry::{Resolution, Weight};
use prost::{Message, Name};

use crate::world::{
    Translator, empty, mesh, mesh_after, resolved, router, same, shares, source, spec, translate,
};

pub(crate) fn decode<M: Message + Name + Default>(translation: &Translation, name: &str) -> M {
    let kind = ResourceType::from_type_url(&M::type_url()).unwrap();
    let resource = translation.view.of(kind).get(name).unwrap_or_else(|| panic!("no {name}"));
    let any = Any::decode(resource.any_bytes()).unwrap();
    M::decode(any.value).unwrap()
}

/// The endpoints of a cluster, as a router is told them.
pub(crate) fn assignment(mesh: &Mesh, cluster: &str) -> ClusterLoadAssignment {
    decode(&translate(mesh, &router()), cluster)
}

fn names(translation: &Translation, kind: ResourceType) -> Vec<&str> {
    translation.view.of(kind).iter().map(|resource| &**resource.name()).collect()
}

/// lessons.md L3: an endpoint change never touches a listener.
#[test]
fn l3_an_endpoint_change_touches_its_endpoints_only() {
    let world = |endpoints: &[&str]| {
        vec![
            spec("a.local", &["80/http", "81/tcp", "82/grpc"], endpoints),
            spec("b.local", &["80/http"], &["10.0.0.9:80"]),
        ]
    };
    let mut translator = Translator::new(router());
    let first = mesh(world(&["10.0.0.1:80"]));
    let before = translator.translate(&first);
    let second = mesh_after(&first, &[source("file", 0, world(&["10.0.0.1:80", "10.0.0.2:80"]))]);
    let after = translator.translate(&second);
    for kind in [ResourceType::Cluster, ResourceType::Listener, ResourceType::Route] {
        assert!(shares(&before, &after, kind), "{kind}");
    }
    let endpoints = |translation: &Translation, name| {
        Arc::clone(translation.view.of(ResourceType::Endpoint).get(name).unwrap())
    };
    let (other, own) = ("outbound|80||b.local", "outbound|80||a.local");
    assert!(Arc::ptr_eq(&endpoints(&before, other), &endpoints(&after, other)));
    assert_ne!(endpoints(&before, own), endpoints(&after, own));
}

/// lessons.md L18: known to be empty is not unknown.
#[test]
fn l18_a_service_without_endpoints_has_an_empty_assignment() {
    let translation = translate(&mesh(vec![spec("a.local", &["80/http"], &[])]), &router());
    let assignment: ClusterLoadAssignment = decode(&translation, "outbound|80||a.local");
    assert!(assignment.endpoints.is_empty());
}

/// gRPC refuses a service whose priorities have a gap.
#[test]
fn a_registry_that_adds_no_endpoint_leaves_no_gap_in_the_priorities() {
    let at = |registry, priority, endpoint| {
        source(registry, priority, vec![spec("a.local", &["80/http"], &[endpoint])])
    };
    let sources = [at("a", 0, "10.0.0.1:80"), at("b", 1, "10.0.0.1:80"), at("c", 2, "10.0.0.2:80")];
    let translation = translate(&mesh_after(&empty(), &sources), &router());
    let assignment: ClusterLoadAssignment = decode(&translation, "outbound|80||a.local");
    let priorities: Vec<u32> = assignment.endpoints.iter().map(|locality| locality.priority).collect();
    assert_eq!(priorities, [0, 1]);
}

#[test]
fn a_bare_host_means_the_only_http_port_or_80_or_the_lowest() {
    let services = vec![
        spec("one.local", &["22/tcp", "9090/http"], &[]),
        spec("eighty.local", &["79/http", "80/http"], &[]),
        spec("lowest.local", &["9001/http", "9000/http"], &[]),
    ];
    let translation = translate(&mesh(services), &router());
    let routes: RouteConfiguration = decode(&translation, "http_listen");
    let bare = |host: &&str| {
        let domain = |domain: &String| domain == host;
        let found = routes.virtual_hosts.iter().find(|virtual_host| virtual_host.domains.iter().any(domain));
        found.map(|virtual_host| virtual_host.name.clone())
    };
    let hosts = ["one.local", "eighty.local", "lowest.local"];
    let expected = ["one.local:9090", "eighty.local:80", "lowest.local:9000"];
    assert_eq!(hosts.iter().filter_map(bare).collect::<Vec<_>>(), expected);
}

#[test]
fn without_listeners_of_http_ports_a_router_has_those_of_other_ports_and_http_listen() {
    let mut quiet =
        mesh(vec![spec("a.local", &["80/http", "22/tcp"], &[]), spec("b.local", &["80/tcp"], &[])]);
    quiet.options.http_port_listeners = false;
    let sidecar = Scope::new(Role::Sidecar, ConfigSource::Ads);
    let router = translate(&quiet, &router());
    assert_eq!(names(&router, ResourceType::Listener), ["127.0.0.1_22", "127.0.0.1_80", "http_listen"]);
    assert!(router.conflicts.is_empty(), "the TCP service has port 80: {:?}", router.conflicts);
    assert_eq!(names(&router, ResourceType::Route), ["http_listen"]);
    // Who has no http_listen is led to HTTP services by their ports.
    let sidecar = translate(&quiet, &sidecar);
    assert_eq!(names(&sidecar, ResourceType::Route), ["80"]);
}

/// Clients put the port that they dial into the Host header, whatever stands between.
#[test]
fn a_host_with_a_port_that_no_http_port_of_it_has_means_the_default_port() {
    let mut one = spec("one.local", &["79/http", "80/http"], &[]);
    one.aliases = vec!["one".parse().unwrap()];
    let two = spec("two.local", &["80/http", "15080/tcp"], &[]);
    let translation = translate(&mesh(vec![one, two]), &router());
    let routes: RouteConfiguration = decode(&translation, "http_listen");
    let domains = |name: &str| {
        let found = routes.virtual_hosts.iter().find(|host| host.name == name);
        found.map(|host| host.domains.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_or_default()
    };
    assert_eq!(domains("one.local:79"), ["one.local:79", "one:79"]);
    let default = ["one.local:80", "one.local", "one.local:*", "one:80", "one", "one:*"];
    assert_eq!(domains("one.local:80"), default);
    assert_eq!(domains("two.local:80"), ["two.local:80", "two.local", "two.local:*"]);
    let of_port: RouteConfiguration = decode(&translation, "80");
    assert!(of_port.ignore_port_in_host_matching);
    assert!(!routes.ignore_port_in_host_matching);
}

/// Adding the second one is one change of one resource.
#[test]
fn what_a_port_does_with_hosts_that_no_service_has_is_in_its_routes() {
    let world = |hosts: &[&str]| hosts.iter().map(|host| spec(host, &["80/http"], &[])).collect::<Vec<_>>();
    let mut translator = Translator::new(router());
    let mut last = mesh(world(&["a.local"]));
    let before = translator.translate(&last);
    let fallback = |translation: &Translation| -> Vec<String> {
        let routes: RouteConfiguration = decode(translation, "80");
        let host = routes.virtual_hosts.last().unwrap();
        assert_eq!(host.domains, ["*"]);
        host.routes.iter().map(|route| format!("{:?}", route.action)).collect()
    };
    assert!(fallback(&before)[0].contains("outbound|80||a.local"));
    for (hosts, words) in [
        (&["a.local", "b.local"][..], "port 80 has services a.local and b.local: say which"),
        (&["a", "b", "c", "d", "e", "f", "g"][..], "port 80 has services a, b, c, d, e and more: say which"),
    ] {
        last = mesh_after(&last, &[source("file", 0, world(hosts))]);
        let after = translator.translate(&last);
        assert!(fallback(&after)[0].contains(words), "{:?}", fallback(&after));
        let listener = |translation: &Translation| {
            Arc::clone(translation.view.of(ResourceType::Listener).get("127.0.0.1_80").unwrap())
        };
        assert!(Arc::ptr_eq(&listener(&before), &listener(&after)), "the listener stays");
    }
}

#[test]
fn weights_of_a_priority_fit_32_bits() {
    let addresses: Vec<String> = (0..5_000).map(|i| format!("10.0.{}.{}:80", i / 250, i % 250 + 1)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut heavy = spec("a.local", &["80/http"], &addresses);
    for endpoint in &mut heavy.endpoints[1..] {
        endpoint.weight = Weight::MAX.try_into().unwrap();
    }
    let translation = translate(&mesh(vec![heavy]), &router());
    let assignment: ClusterLoadAssignment = decode(&translation, "outbound|80||a.local");
    let weights = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    let weights: Vec<u64> =
        weights.map(|endpoint| endpoint.load_balancing_weight.unwrap().value.into()).collect();
    assert_eq!(weights.len(), 5_000);
    assert!(weights.iter().all(|weight| *weight > 0));
    assert!(weights.iter().sum::<u64>() <= u32::MAX.into());
}

#[test]
fn grpc_clients_are_not_offered_what_they_refuse() {
    let dns = resolved(spec("dns.local", &["80/grpc"], &[]), Resolution::Dns);
    let translation = translate(&mesh(vec![dns, spec("web.local", &["81/http"], &[])]), &router());
    let listeners = names(&translation, ResourceType::Listener);
    assert_eq!(listeners, ["127.0.0.1_80", "127.0.0.1_81", "http_listen"]);
}

#[test]
fn names_of_removed_services_go_to_those_that_wait_for_them() {
    let world = |hosts: &[&str]| hosts.iter().map(|host| spec(host, &["3306/tcp"], &[])).collect::<Vec<_>>();
    let mut translator = Translator::new(router());
    let first = mesh(world(&["a.local", "b.local"]));
    assert_eq!(translator.translate(&first).conflicts.len(), 1);
    let second = mesh_after(&first, &[source("file", 0, world(&["b.local"]))]);
    let after = translator.translate(&second);
    assert!(after.conflicts.is_empty());
    assert_eq!(names(&after, ResourceType::Listener), ["127.0.0.1_3306", "http_listen"]);
    assert!(same(&after, &translate(&second, &router())));
    assert!(same(&translator.translate(&empty()), &translate(&empty(), &router())));
}
