//! Ports whose numbers registries have guessed are the same port in all of them.

use std::sync::Arc;

use pilot::catalog::Catalog;
use pilot_registry::{Protocol, Service};
use pilot_registry_testkit::service;

use super::{disagreements, merge, source};

/// The service's ports, and of each endpoint which of them it serves at which own.
fn shown(catalog: &Catalog) -> String {
    let web = catalog.get("web.mesh").unwrap();
    let ports = web.ports().iter().map(|port| format!("{}/{}/{}", port.number, port.name, port.protocol));
    let endpoints = web.endpoints().map(|(_, one)| {
        let ports: Vec<_> = one.ports.iter().map(|(service, own)| format!("{service}={own}")).collect();
        format!("{}:{}", one.address, ports.join("+"))
    });
    ports.chain(endpoints).collect::<Vec<_>>().join(" ")
}

fn guess(number: u32, address: &str) -> Arc<Service> {
    service("web.mesh").http(number).guessed().endpoint(address, number).build()
}

#[test]
fn registries_that_guess_have_one_port_and_the_preferred_one_decides() {
    let (east, west) = (guess(26_203, "10.0.0.1"), guess(26_201, "10.0.1.1"));
    let catalog = merge(&[source("west", 1, [west]), source("east", 0, [east])]);
    assert_eq!(shown(&catalog), "26203/http-26203/http 10.0.0.1:26203=26203 10.0.1.1:26203=26201");
    let moved: Vec<_> =
        catalog.get("web.mesh").unwrap().parts().iter().map(|part| part.moved().len()).collect();
    assert_eq!((moved, disagreements(&catalog)), (vec![0, 1], vec![]));
}

#[test]
fn a_guess_yields_to_what_another_registry_says() {
    let said = service("web.mesh").http(80).endpoint("10.0.1.1", 8080).build();
    let catalog = merge(&[source("east", 0, [guess(26_201, "10.0.0.1")]), source("west", 1, [said])]);
    assert_eq!(shown(&catalog), "80/http-80/http 10.0.0.1:80=26201 10.0.1.1:80=8080");
}

/// What the preferred registry has guessed is no opinion, so there is nothing to disagree about.
#[test]
fn a_guessed_protocol_yields_to_what_another_registry_says() {
    let guess = service("web.mesh").tcp(80).guessed_protocol().endpoint("10.0.0.1", 80).build();
    let said = service("web.mesh").http(80).endpoint("10.0.1.1", 8080).build();
    let catalog = merge(&[source("a", 0, [Arc::clone(&guess)]), source("b", 1, [said])]);
    assert_eq!(shown(&catalog), "80/http-80/http 10.0.0.1:80=80 10.0.1.1:80=8080");
    assert_eq!(disagreements(&catalog), Vec::<String>::new());
    let other = service("web.mesh").http(80).guessed_protocol().endpoint("10.0.1.1", 8080).build();
    let catalog = merge(&[source("a", 0, [guess]), source("b", 1, [other])]);
    assert_eq!(shown(&catalog), "80/tcp-80/tcp 10.0.0.1:80=80 10.0.1.1:80=8080");
    assert_eq!(disagreements(&catalog).len(), 1, "of two guesses the preferred one counts, and that is said");
}

#[test]
fn ports_with_names_are_the_same_by_their_names() {
    let of = |web: u32, api: u32, address: &str| {
        let two = service("web.mesh").named_port(web, "web", Protocol::Http).guessed().endpoint(address, web);
        two.named_port(api, "api", Protocol::Http).guessed().serving(api, api).build()
    };
    let catalog =
        merge(&[source("a", 0, [of(1001, 1002, "10.0.0.1")]), source("b", 0, [of(2001, 1001, "10.0.1.1")])]);
    let expected = "1001/web/http 1002/api/http 10.0.0.1:1001=1001+1002=1002 10.0.1.1:1001=2001+1002=1001";
    assert_eq!(shown(&catalog), expected);
}

/// Whose port it would be, nobody can tell.
#[test]
fn a_guess_that_may_be_several_ports_is_a_port_of_its_own() {
    let said = service("web.mesh").http(80).http(81).endpoint("10.0.1.1", 8080).build();
    let catalog = merge(&[source("a", 0, [guess(26_201, "10.0.0.1")]), source("b", 0, [said])]);
    assert_eq!(shown(&catalog).matches("/http-").count(), 3, "{}", shown(&catalog));
    let other = service("web.mesh").named_port(90, "admin", Protocol::Http).build();
    let named = service("web.mesh").named_port(26_201, "web", Protocol::Http).guessed().build();
    let catalog = merge(&[source("a", 0, [named]), source("b", 0, [other])]);
    assert_eq!(shown(&catalog), "90/admin/http 26201/web/http", "both say what they are called");
}

#[test]
fn the_only_port_is_the_same_whatever_is_spoken_and_that_is_a_conflict() {
    let tcp = service("web.mesh").tcp(26_203).guessed().endpoint("10.0.1.1", 26_203).build();
    let catalog = merge(&[source("east", 0, [guess(26_201, "10.0.0.1")]), source("west", 1, [tcp])]);
    assert_eq!(shown(&catalog), "26201/http-26201/http 10.0.0.1:26201=26201 10.0.1.1:26201=26203");
    assert!(disagreements(&catalog)[0].contains("protocol of port 26201"), "{:?}", disagreements(&catalog));
    let udp = service("web.mesh").port(53, Protocol::Udp).guessed().build();
    let catalog = merge(&[source("east", 0, [guess(26_201, "10.0.0.1")]), source("west", 1, [udp])]);
    assert_eq!(catalog.get("web.mesh").unwrap().ports().len(), 2, "datagrams are another transport");
}

/// Clients call it: it stays as long as any registry knows the service.
#[test]
fn a_number_stays_when_the_registry_that_guessed_it_goes() {
    let east = source("east", 0, [guess(26_201, "10.0.0.1")]);
    let west = source("west", 1, [guess(26_203, "10.0.1.1")]);
    let both = merge(&[east, west.clone()]);
    let alone = Catalog::merge(&[source("east", 0, []), west.clone()], &both);
    assert_eq!(shown(&alone), "26201/http-26201/http 10.0.1.1:26201=26203");
    let sources = [source("east", 0, [guess(26_207, "10.0.0.1")]), west];
    let back = Catalog::merge(&sources, &alone);
    assert_eq!(shown(&back), "26201/http-26201/http 10.0.0.1:26201=26207 10.0.1.1:26201=26203");
    assert!(Catalog::merge(&sources, &back).same(&back), "nothing has changed");
}

#[test]
fn an_endpoint_that_two_registries_write_differently_is_one() {
    let one = service("web.mesh").http(80).endpoint("10.0.0.1", 8080).build();
    let other = service("web.mesh").http(80).endpoint("::ffff:10.0.0.1", 8080).build();
    assert_eq!(one, other);
}
