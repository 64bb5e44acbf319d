//! Who gets what two services claim.

use pilot::resources::ResourceType;
use pilot_envoy_api::envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints};
use pilot_envoy_api::google::protobuf::Any;
use pilot_registry::{Resolution, ServiceSpec};
use prost::Message;

use crate::world::{
    Translator, empty, mesh, mesh_after, port, resolved, router, same, source, spec, translate,
};

fn conflicts(mesh: &pilot::mesh::Mesh) -> Vec<String> {
    translate(mesh, &router()).conflicts.iter().map(ToString::to_string).collect()
}

fn bound(mesh: &pilot::mesh::Mesh) -> Vec<String> {
    let translation = translate(mesh, &router());
    let listeners = translation.view.of(ResourceType::Listener).iter();
    listeners.map(|listener| listener.name().to_string()).collect()
}

fn endpoints(mesh: &pilot::mesh::Mesh, cluster: &str) -> Vec<LocalityLbEndpoints> {
    let translation = translate(mesh, &router());
    let resource = translation.view.of(ResourceType::Endpoint).get(cluster).unwrap();
    let any = Any::decode(resource.any_bytes()).unwrap();
    ClusterLoadAssignment::decode(any.value).unwrap().endpoints
}

#[test]
fn the_first_host_gets_a_tcp_port() {
    let tcp = |host| spec(host, &["3306/tcp"], &[]);
    let expected = "b.local cannot be reached at 127.0.0.1:3306: a.local has it (only HTTP services, or TLS services, can share a \
                    port; the first in the alphabet wins): give one of them another port";
    assert_eq!(conflicts(&mesh(vec![tcp("b.local"), tcp("a.local")])), [expected]);
}

#[test]
fn the_preferred_registry_goes_before_the_alphabet() {
    let sources = [
        source("far", 1, vec![spec("a.local", &["3306/tcp"], &[])]),
        source("near", 0, vec![spec("b.local", &["3306/tcp"], &[])]),
    ];
    let expected = "a.local cannot be reached at 127.0.0.1:3306: b.local has it (only HTTP services, or TLS services, can share a \
                    port; its registry is preferred): give one of them another port";
    assert_eq!(conflicts(&mesh_after(&empty(), &sources)), [expected]);
}

/// A service of which nobody says what it speaks does not take a port from one of which somebody does.
#[test]
fn a_protocol_that_is_said_goes_before_a_guess() {
    let stated = || spec("b.local", &["80/http"], &[]);
    let guess = || ServiceSpec { guessed_protocols: [port(80)].into(), ..spec("a.local", &["80/tcp"], &[]) };
    let expected = "a.local cannot be reached at 127.0.0.1:80: b.local has it (only HTTP services, or TLS services, can share a \
                    port; a protocol that is said goes before one that was guessed): say what a.local speaks, or \
                    give one of them another port";
    assert_eq!(conflicts(&mesh(vec![guess(), stated()])), [expected]);
    let preferred = [source("near", 0, vec![guess()]), source("far", 1, vec![stated()])];
    assert_eq!(conflicts(&mesh_after(&empty(), &preferred)), [expected], "a preferred guess is a guess");
    assert_eq!(bound(&mesh_after(&empty(), &preferred)), ["127.0.0.1_80", "http_listen"]);

    let number = ServiceSpec { guessed: [port(80)].into(), ..spec("a.local", &["80/tcp"], &[]) };
    let expected = "a.local cannot be reached at 127.0.0.1:80: b.local has it (only HTTP services, or TLS services, can share a \
                    port; a port that is said goes before one that was guessed): say which port clients of \
                    a.local call, or give one of them another port";
    assert_eq!(conflicts(&mesh(vec![number, stated()])), [expected]);
}

#[test]
fn a_port_goes_to_who_begins_to_say_what_it_speaks() {
    let of = |host, guessed: &[u16]| ServiceSpec {
        guessed_protocols: guessed.iter().copied().map(port).collect(),
        ..spec(host, &["80/tcp"], &[])
    };
    let before = mesh(vec![of("a.local", &[80]), of("b.local", &[80])]);
    let sources = [source("file", 0, vec![of("a.local", &[80]), of("b.local", &[])])];
    let after = mesh_after(&before, &sources);
    let mut translator = Translator::new(router());
    for (mesh, loser) in
        [(&before, "b.local cannot"), (&after, "a.local cannot"), (&before, "b.local cannot")]
    {
        let translation = translator.translate(mesh);
        assert!(translation.conflicts[0].to_string().starts_with(loser), "{:?}", translation.conflicts);
        assert!(same(&translation, &translate(mesh, &router())));
    }
}

#[test]
fn http_services_share_a_port_and_others_do_not() {
    let http = |host| spec(host, &["80/http"], &[]);
    assert!(conflicts(&mesh(vec![http("a.local"), http("b.local")])).is_empty());
    let with_tcp = mesh(vec![spec("a.local", &["80/tcp"], &[]), http("b.local"), http("c.local")]);
    let losers = conflicts(&with_tcp);
    assert_eq!(losers.len(), 2, "{losers:?}");
    assert!(losers.iter().all(|loser| loser.contains("127.0.0.1:80: a.local has it")), "{losers:?}");
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
        "a cannot be called c: c has that name (a service's own host goes before an alias): \
         give one of them another",
        "b cannot be called x: a has that name (the first in the alphabet wins): give one of them another",
    ];
    assert_eq!(conflicts(&mesh(services)), expected);
}

#[test]
fn http_listen_goes_before_services() {
    let expected = "a.local gets no listener of its own at 127.0.0.1:15080: http_listen of pilot.toml has it: \
                    give the service another port";
    assert_eq!(conflicts(&mesh(vec![spec("a.local", &["15080/http"], &[])])), [expected]);
}

#[test]
fn a_name_of_a_bound_listener_is_no_grpc_name() {
    let expected = "http_listen cannot be reached as xds:///http_listen: Envoy's listeners have names of that \
                    form: name the port, xds:///http_listen:80";
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
    let expected = "a.local: endpoint a.example.com of registry far is not used: registry near is preferred, and \
                    decides how the service is resolved";
    assert_eq!(conflicts(&mesh_after(&empty(), &sources)), [expected]);
}

const MEND: &str = "give the service another port, or set [router] bind to another address";

#[test]
fn the_routers_own_listener_is_no_endpoint() {
    let mesh = mesh(vec![spec("a.local", &["80/http"], &["127.0.0.1:15080"])]);
    let expected = "a.local: endpoint 127.0.0.1 is not used at port 80: http_listen is there, and requests would \
                    go round for ever";
    assert_eq!(conflicts(&mesh), [expected]);
    assert!(endpoints(&mesh, "outbound|80||a.local").is_empty());
}

#[test]
fn a_unix_socket_gets_no_datagrams() {
    let mesh = mesh(vec![spec("a.local", &["53/udp", "54/tcp"], &["unix:/run/a.sock:53"])]);
    let expected = "a.local: endpoint unix:/run/a.sock is not used at port 53: no proxy sends datagrams to Unix \
                    sockets: give the endpoint an IP address";
    assert_eq!(conflicts(&mesh), [expected]);
    assert!(endpoints(&mesh, "outbound|53||a.local").is_empty());
    assert_eq!(endpoints(&mesh, "outbound|54||a.local").len(), 1);
}

/// Such a listener would connect to itself, connection after connection.
#[test]
fn no_listener_is_made_where_an_endpoint_listens() {
    let endpoint = "127.0.0.1:9080";
    for (port, kind, still) in
        [("9080/http", "", " (http_listen still reaches it)"), ("9080/tcp", "", ""), ("9080/udp", "UDP ", "")]
    {
        let expected = format!(
            "loop.local: {kind}port 9080 is taken by its own endpoint, so Envoy opens no listener at \
             127.0.0.1:9080{still}: {MEND}"
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
        "a.local: port 9080 is taken by an endpoint of b.local, so Envoy opens no listener at 127.0.0.1:9080 \
         (http_listen still reaches it): {MEND}"
    );
    assert_eq!(conflicts(&mesh(vec![a("9080/http"), b()])), [expected]);
    assert!(conflicts(&mesh(vec![a("9080/udp"), b()])).is_empty());
}

#[test]
fn virtual_addresses_and_listeners_at_any_address_can_be_an_endpoints_too() {
    let mut at_virtual_address = spec("a.local", &["81/tcp"], &["198.51.100.7:81"]);
    at_virtual_address.virtual_addresses = vec!["198.51.100.7".parse().unwrap()];
    assert_eq!(bound(&mesh(vec![at_virtual_address])), ["127.0.0.1_81", "http_listen"]);
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
        assert!(same(&translation, &translate(&mesh, &router())), "{endpoint}");
    }
}

fn with_address(host: &str, port: &str, address: &str) -> ServiceSpec {
    let virtual_addresses = vec![address.parse().unwrap()];
    ServiceSpec { virtual_addresses, ..spec(host, &[port], &[]) }
}

#[test]
fn a_service_with_a_virtual_address_has_the_routers_port_too_if_nobody_else_asks_for_it() {
    for (port, prefix) in [("3306/tcp", ""), ("3306/udp", "udp_")] {
        let db = || with_address("db.local", port, "10.96.0.9");
        let alone = mesh(vec![db()]);
        let both = ["10.96.0.9_3306", "127.0.0.1_3306"].map(|name| format!("{prefix}{name}"));
        let bound = bound(&alone);
        assert!(both.iter().all(|name| bound.contains(name)), "{bound:?}");
        assert!(conflicts(&alone).is_empty());
        // Whoever has no other way in goes before it, wherever it is in the alphabet.
        let contested = mesh(vec![db(), spec("zzz.local", &[port], &[])]);
        let at = if prefix.is_empty() { "127.0.0.1:3306" } else { "UDP 127.0.0.1:3306" };
        let expected = format!(
            "db.local cannot be reached at {at}: zzz.local has it: its virtual addresses are the way to it, or \
             give it a port that is free"
        );
        assert_eq!(conflicts(&contested), [expected]);
    }
}

/// A cluster may have hundreds of them.
#[test]
fn services_that_have_only_their_virtual_addresses_are_told_of_in_one_line() {
    let services = ["a", "b", "c", "d"].into_iter().zip(1..);
    let services =
        services.map(|(host, last)| with_address(host, "3306/tcp", &format!("10.96.0.{last}"))).collect();
    let expected = "b and 2 more cannot be reached at 127.0.0.1:3306: a has it: its virtual addresses are the way \
                    to it, or give it a port that is free";
    assert_eq!(conflicts(&mesh(services)), [expected]);
}
