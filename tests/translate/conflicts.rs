//! Who gets what two services claim.

use pilot::translate::translate;
use pilot_registry::Resolution;

use crate::world::{empty, mesh, mesh_after, resolved, router, source, spec};

fn conflicts(mesh: &pilot::mesh::Mesh) -> Vec<String> {
    translate(mesh, &router()).conflicts.iter().map(ToString::to_string).collect()
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
