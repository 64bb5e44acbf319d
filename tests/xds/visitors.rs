//! Make before break with clients that come back, that know little, or that ask by name.

use pilot::resources::ResourceType::{Cluster, Endpoint, Listener, Route};
use pilot::xds::{Delta, Sotw};

use crate::driver::{Dialect, Stream};
use crate::order::NOTHING;
use crate::things::{Things, two_services};

/// What an Envoy says at once when it comes back, and what has happened to the service meanwhile.
#[test]
fn p10_p15_l11_a_cluster_that_vanished_meanwhile_stays_until_the_new_routes_are_acknowledged() {
    let mut things = two_services();
    things.remove_service("b");
    things.route("r", "2", &["a"]);
    let mut delta = Stream::<Delta>::ads(&things.publish());
    delta.come_back(Cluster, &[], &["a@1", "b@1"]);
    delta.come_back(Endpoint, &["a", "b"], &["a@1", "b@1"]);
    assert_eq!(delta.received(), NOTHING);
    delta.come_back(Listener, &[], &["l@1"]);
    assert_eq!(delta.received(), NOTHING, "the listener's route is not told of yet");
    delta.come_back(Route, &["r"], &["r@1"]);
    assert_eq!(delta.received(), ["rds r@2"]);
    delta.ack(Route);
    assert_eq!(delta.settle(), ["cds -b", "eds -b"]);
}

#[test]
fn p10_p15_a_cluster_that_vanishes_while_the_client_tells_what_it_has_stays_too() {
    let mut things = two_services();
    let mut delta = Stream::<Delta>::ads(&things.publish());
    delta.come_back(Cluster, &[], &["a@1", "b@1"]);
    delta.come_back(Endpoint, &["a", "b"], &["a@1", "b@1"]);
    things.remove_service("b");
    things.route("r", "2", &["a"]);
    delta.update(&things.publish());
    assert_eq!(delta.received(), NOTHING);
    delta.come_back(Listener, &[], &["l@1"]);
    delta.come_back(Route, &["r"], &["r@1"]);
    assert_eq!(delta.settle(), ["rds r@2", "cds -b", "eds -b"]);
}

#[test]
fn p10_p15_patience_ends_the_wait_for_a_client_that_has_no_listeners() {
    let mut things = two_services();
    let mut delta = Stream::<Delta>::ads(&things.publish());
    delta.come_back(Cluster, &[], &["a@1", "b@1", "gone@1"]);
    assert_eq!(delta.received(), NOTHING);
    assert!(delta.machine.is_waiting());
    delta.end_patience();
    assert_eq!(delta.settle(), ["cds -gone"]);
    assert!(!delta.machine.is_waiting());
    things.remove_service("a");
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["cds -a"], "that it has none is known now");
}

#[test]
fn p15_a_client_that_never_asks_for_endpoints_waits_once() {
    let mut things = two_services();
    let mut delta = Stream::<Delta>::ads(&things.publish());
    delta.ask(Cluster, &[]);
    delta.ask(Listener, &[]);
    delta.ask(Route, &["r"]);
    assert_eq!(delta.settle(), ["cds a@1 b@1", "lds l@1"]);
    assert!(delta.machine.is_waiting());
    delta.end_patience();
    assert_eq!(delta.settle(), ["rds r@1"]);
    things.service("c", "1");
    things.route("r", "2", &["c"]);
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["cds c@1", "rds r@2"]);
}

/// A gRPC client: one listener, then its routes, then the clusters that they name, then endpoints.
fn a_client_that_goes_from_the_listener_down<V: Dialect>(
    mut stream: Stream<V>,
    things: &mut Things,
    ask: fn(&mut Stream<V>, pilot::resources::ResourceType, &[&str], &[&str]),
    removed: &[&str],
) {
    ask(&mut stream, Listener, &["l"], &[]);
    ask(&mut stream, Route, &["r"], &[]);
    ask(&mut stream, Cluster, &["a", "b"], &[]);
    ask(&mut stream, Endpoint, &["a", "b"], &[]);
    assert_eq!(stream.settle(), ["lds l@1", "rds r@1", "cds a@1 b@1", "eds a@1 b@1"]);
    things.service("c", "1");
    things.route("r", "2", &["a", "c"]);
    stream.update(&things.publish());
    assert_eq!(stream.settle(), ["rds r@2"], "it asks for a cluster only when a route names it");
    ask(&mut stream, Cluster, &["a", "c"], &["b"]);
    ask(&mut stream, Endpoint, &["a", "c"], &["b"]);
    assert_eq!(stream.settle(), removed);
    things.remove_service("b");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), NOTHING);
    assert!(!stream.machine.is_waiting());
}

#[test]
fn p15_clients_that_ask_by_name_are_not_waited_for() {
    let mut things = two_services();
    let stream = Stream::<Sotw>::ads(&things.publish());
    let ask = |stream: &mut Stream<Sotw>, kind, names: &[&str], _: &[&str]| {
        stream.ask(kind, names);
    };
    a_client_that_goes_from_the_listener_down(stream, &mut things, ask, &["cds a@1 c@1", "eds c@1"]);

    let mut things = two_services();
    let stream = Stream::<Delta>::ads(&things.publish());
    let ask = |stream: &mut Stream<Delta>, kind, names: &[&str], dropped: &[&str]| {
        let new: Vec<&str> =
            names.iter().copied().filter(|name| !dropped.is_empty() || *name != "c").collect();
        let new: Vec<&str> = if dropped.is_empty() { new } else { vec!["c"] };
        stream.ask(kind, &new);
        stream.drop_names(kind, dropped);
    };
    a_client_that_goes_from_the_listener_down(stream, &mut things, ask, &["cds c@1", "eds c@1"]);
}

#[test]
fn p15_streams_of_one_type_wait_for_nothing() {
    let mut things = two_services();
    let set = things.publish();
    let mut routes = Stream::<Delta>::of(Route, &set);
    routes.come_back(Route, &["r", "gone"], &["gone@1"]);
    assert_eq!(routes.settle(), ["rds r@1 -gone"]);
    let mut clusters = Stream::<Sotw>::of(Cluster, &set);
    clusters.ask(Cluster, &[]);
    things.remove_service("b");
    clusters.update(&things.publish());
    assert_eq!(clusters.settle(), ["cds a@1 b@1", "cds a@1"]);
}

/// A first answer is complete: what is not in it, a client that comes back would remove.
#[test]
fn p11_p15_the_first_listeners_wait_for_clusters_rather_than_being_sent_in_part() {
    let mut things = two_services();
    things.put(Listener, "tcp", "1", vec![(Cluster, "a".into())]);
    let mut sotw = Stream::<Sotw>::ads(&things.publish());
    sotw.ask(Cluster, &[]);
    sotw.ask(Listener, &[]);
    sotw.ask(Endpoint, &["a", "b"]);
    assert_eq!(sotw.received(), ["cds a@1 b@1", "eds a@1 b@1"]);
    sotw.ack(Cluster);
    assert_eq!(sotw.received(), NOTHING);
    sotw.ack(Endpoint);
    assert_eq!(sotw.received(), ["lds l@1 tcp@1"]);
}
