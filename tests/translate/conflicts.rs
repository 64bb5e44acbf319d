//! Who gets what two services claim.

use pilot::resources::ResourceType;
use pilot::translate::{Translator, translate};
use pilot_envoy_api::envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints};
use pilot_envoy_api::google::protobuf::Any;
use pilot_registry::Resolution;
use prost::Message;

use crate::world::{empty, mesh, mesh_after, resolved, router, source, spec};

fn conflicts(mesh: &pilot::mesh::Mesh) -> Vec<String> {
    translate(mesh, &router()).conflicts.iter().map(ToString::to_string).collect()
}

fn bound(mesh: &pilot::mesh::Mesh) -> Vec<String> {
    let translation = translate(mesh, &router());
    let listeners = translation.types[ResourceType::Listener as usize].resources().iter();
    listeners.map(|listener| listener.name().to_string()).collect()
}

fn endpoints(mesh: &pilot::mesh::Mesh, cluster: &str) -> Vec<LocalityLbEndpoints> {
    let translation = translate(mesh, &router());
    let resource = translation.types[ResourceType::Endpoint as usize].get(cluster).unwrap();
    let any = Any::decode(resource.any_bytes()).unwrap();
    ClusterLoadAssignment::decode(any.value).unwrap().endpoints
}

#[test]
fn the_first_host_gets_a_tcp_port() {
    let tcp = |host| spec(host, &["3306/tcp"], &[]);
    let expected = "listener 127.0.0.1:3306: claimed by b.local:3306, goes to a.local:3306: \
                    its host comes first in the alphabet";
    assert_eq!(conflicts(&mesh(vec![tcp("b.local"), tcp("a.local")])), [expected]);
}

#[test]
fn the_preferred_registry_goes_before_the_alphabet() {
    let sources = [
        source("far", 1, vec![spec("a.local", &["3306/tcp"], &[])]),
        source("near", 0, vec![spec("b.local", &["3306/tcp"], &[])]),
    ];
    let expected = "listener 127.0.0.1:3306: claimed by a.local:3306, goes to b.local:3306: \
                    its registry is preferred";
    assert_eq!(conflicts(&mesh_after(&empty(), &sources)), [expected]);
}

#[test]
fn http_services_share_a_port_and_others_do_not() {
    let http = |host| spec(host, &["80/http"], &[]);
    assert!(conflicts(&mesh(vec![http("a.local"), http("b.local")])).is_empty());
    let with_tcp = mesh(vec![spec("a.local", &["80/tcp"], &[]), http("b.local"), http("c.local")]);
    let losers = conflicts(&with_tcp);
    assert_eq!(losers.len(), 2, "{losers:?}");
    assert!(losers.iter().all(|loser| loser.contains("goes to a.local:80")), "{losers:?}");
}

#[test]
fn a_host_goes_before_an_alias_and_the_first_alias_before_the_second() {
    let with_aliases = |host, aliases: &[&str]| {
        let mut spec = spec(host, &["80/http"], &[]);
        spec.aliases = aliases.iter().map(|alias| alias.parse().unwrap()).collect();
        spec
    };
    let services = vec![with_aliases("a", &["c", "x"]), with_aliases("b", &["x"]), with_aliases("c", &[])];
    let expected = [
        "name c: claimed by a, goes to c: a service's own host goes before an alias",
        "name x: claimed by b, goes to a: its host comes first in the alphabet",
    ];
    assert_eq!(conflicts(&mesh(services)), expected);
}

#[test]
fn http_listen_goes_before_services() {
    let expected = "listener 127.0.0.1:15080: claimed by a.local:15080, goes to http_listen: \
                    pilot.toml asks for it";
    assert_eq!(conflicts(&mesh(vec![spec("a.local", &["15080/http"], &[])])), [expected]);
}

#[test]
fn a_name_of_a_bound_listener_is_no_grpc_name() {
    let expected = "name http_listen: claimed by http_listen:80, goes to pilot: \
                    names of that form belong to bound listeners";
    assert_eq!(conflicts(&mesh(vec![spec("http_listen", &["80/grpc"], &[])])), [expected]);
}

#[test]
fn endpoints_that_do_not_fit_the_resolution_are_reported() {
    let sources = [
        source("near", 0, vec![spec("a.local", &["80/http"], &["10.0.0.1:80"])]),
        source(
            "far",
            1,
            vec![resolved(spec("a.local", &["80/http"], &["a.example.com:80"]), Resolution::Dns)],
        ),
    ];
    let expected = "endpoint a.example.com of a.local: claimed by registry far, goes to registry near: \
                    the preferred registry decides how the service is resolved";
    assert_eq!(conflicts(&mesh_after(&empty(), &sources)), [expected]);
}

const MEND: &str =
    "an endpoint listens there: give the service another port, or [router] bind another address";

#[test]
fn the_routers_own_listener_is_no_endpoint() {
    let mesh = mesh(vec![spec("a.local", &["80/http"], &["127.0.0.1:15080"])]);
    let expected = "endpoint 127.0.0.1 of a.local: claimed by a.local:80, goes to http_listen: \
                    it is the router's own listener, requests would go round for ever";
    assert_eq!(conflicts(&mesh), [expected]);
    assert!(endpoints(&mesh, "outbound|80||a.local").is_empty());
}

#[test]
fn a_unix_socket_gets_no_datagrams() {
    let mesh = mesh(vec![spec("a.local", &["53/udp", "54/tcp"], &["unix:/run/a.sock:53"])]);
    let expected = "endpoint unix:/run/a.sock of a.local: claimed by a.local:53, goes to nobody: \
                    no proxy sends datagrams to Unix sockets: give the endpoint an IP address";
    assert_eq!(conflicts(&mesh), [expected]);
    assert!(endpoints(&mesh, "outbound|53||a.local").is_empty());
    assert_eq!(endpoints(&mesh, "outbound|54||a.local").len(), 1);
}

/// Such a listener would connect to itself, connection after connection.
#[test]
fn no_listener_is_made_where_an_endpoint_listens() {
    for (port, endpoint, kind) in [
        ("9080/http", "127.0.0.1:9080", "listener"),
        ("9080/tcp", "127.0.0.1:9080", "listener"),
        ("9080/udp", "127.0.0.1:9080", "UDP listener"),
    ] {
        let expected = format!(
            "{kind} 127.0.0.1:9080: claimed by loop.local:9080, goes to an endpoint of loop.local:9080: {MEND}"
        );
        let mesh = mesh(vec![spec("loop.local", &[port], &[endpoint])]);
        assert_eq!(conflicts(&mesh), [expected], "{port} {endpoint}");
        assert_eq!(bound(&mesh), ["http_listen"], "{port} {endpoint}");
    }
}

#[test]
fn an_endpoint_of_any_service_keeps_a_listener_away_and_only_of_its_own_protocol() {
    let a = |port| spec("a.local", &[port], &["127.0.0.1:9181"]);
    let b = || spec("b.local", &["80/tcp"], &["127.0.0.1:9080"]);
    let expected = format!(
        "listener 127.0.0.1:9080: claimed by a.local:9080, goes to an endpoint of b.local:80: {MEND}"
    );
    assert_eq!(conflicts(&mesh(vec![a("9080/http"), b()])), [expected]);
    assert!(conflicts(&mesh(vec![a("9080/udp"), b()])).is_empty());
}

#[test]
fn virtual_addresses_and_listeners_at_any_address_can_be_an_endpoints_too() {
    let mut at_virtual_address = spec("a.local", &["81/tcp"], &["198.51.100.7:81"]);
    at_virtual_address.virtual_addresses = vec!["198.51.100.7".parse().unwrap()];
    assert_eq!(bound(&mesh(vec![at_virtual_address])), ["http_listen"]);
    let mut everywhere = empty();
    everywhere.options.bind = "0.0.0.0".parse().unwrap();
    let services = vec![spec("a.local", &["81/tcp"], &["127.0.0.1:81"])];
    assert_eq!(bound(&mesh_after(&everywhere, &[source("file", 0, services)])), ["http_listen"]);
}

#[test]
fn an_endpoint_that_goes_gives_the_listener_back() {
    let world = |endpoint| vec![source("file", 0, vec![spec("a.local", &["81/tcp"], &[endpoint])])];
    let mut translator = Translator::new(router());
    let mut mesh = empty();
    for (endpoint, conflicts) in [("127.0.0.1:82", 0), ("127.0.0.1:81", 1), ("127.0.0.1:83", 0)] {
        mesh = mesh_after(&mesh, &world(endpoint));
        let translation = translator.translate(&mesh);
        assert_eq!(translation.conflicts.len(), conflicts, "{endpoint}");
        assert_eq!(translation.types, translate(&mesh, &router()).types, "{endpoint}");
    }
}
