//! Warming (P14): a cluster that is sent gets its endpoints after it, whatever a client has of them.

use pilot::resources::ResourceType::{Cluster, Endpoint, Listener, Route};
use pilot::xds::Delta;

use crate::driver::Stream;
use crate::order::envoys;
use crate::things::two_services;

#[test]
fn p14_a_cluster_that_changes_gets_its_endpoints_again() {
    let mut things = two_services();
    let (mut sotw, mut delta) = envoys(&mut things);
    things.cluster("a", "2");
    let set = things.publish();
    sotw.update(&set);
    delta.update(&set);
    assert_eq!(sotw.settle(), ["cds a@2 b@1", "eds a@1"]);
    assert_eq!(delta.settle(), ["cds a@2", "eds a@1"]);
}

#[test]
fn p14_endpoints_that_are_on_their_way_are_sent_again_after_the_cluster() {
    let mut things = two_services();
    let (mut sotw, _) = envoys(&mut things);
    things.endpoints("a", "2");
    sotw.update(&things.publish());
    things.cluster("a", "2");
    sotw.update(&things.publish());
    assert_eq!(sotw.settle(), ["eds a@2", "cds a@2 b@1", "eds a@2"]);
}

#[test]
fn p14_a_cluster_that_is_tried_again_gets_its_endpoints_too() {
    let mut things = two_services();
    let (mut sotw, mut delta) = envoys(&mut things);
    things.cluster("a", "2");
    things.cluster("b", "bad");
    let set = things.publish();
    sotw.update(&set);
    delta.update(&set);
    sotw.nack(Cluster);
    delta.nack(Cluster);
    sotw.ack(Endpoint);
    delta.ack(Endpoint);
    assert_eq!(sotw.settle()[2..], ["cds a@2 b@1", "eds a@1", "cds a@2 b@bad", "eds b@1"]);
    assert_eq!(delta.settle()[2..], ["cds a@2", "eds a@1", "cds b@bad", "eds b@1"]);
}

#[test]
fn p14_a_cluster_that_changed_while_the_client_was_away_gets_its_endpoints() {
    let mut things = two_services();
    things.cluster("a", "2");
    let mut delta = Stream::<Delta>::ads(&things.publish());
    delta.come_back(Cluster, &[], &["a@1", "b@1"]);
    delta.come_back(Endpoint, &["a", "b"], &["a@1", "b@1"]);
    assert_eq!(delta.received(), ["cds a@2", "eds a@1"]);
    let mut delta = Stream::<Delta>::ads(&things.publish());
    delta.come_back(Endpoint, &["a", "b"], &["a@1", "b@1"]);
    delta.come_back(Cluster, &[], &["a@1", "b@1"]);
    assert_eq!(delta.received(), ["cds a@2", "eds a@1"]);
}

/// It has taken the listener, too, from a response of an earlier stream that it refused, and does not tell of that.
#[test]
fn p14_routes_that_a_client_brought_are_not_taken_from_it_because_it_refuses_newer_ones() {
    let mut things = two_services();
    things.route("r", "bad", &["a"]);
    let mut delta = Stream::<Delta>::ads(&things.publish());
    delta.come_back(Route, &["r"], &["r@1"]);
    delta.nack(Route);
    assert_eq!(delta.received(), ["rds r@bad"]);
    delta.ask(Listener, &[]);
    assert_eq!(delta.settle(), ["lds l@1"]);
}
