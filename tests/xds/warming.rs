//! Warming (P14): a cluster that is sent gets its endpoints after it, whatever a client has of them. A listener whose routes
//! are taken in parts waits for a word of some virtual host (P25).

use pilot::resources::ResourceType::{Cluster, Endpoint, Listener, Route, VirtualHost};
use pilot::xds::Delta;

use crate::driver::Stream;
use crate::order::{NOTHING, envoys};
use crate::parts::{newcomer, returning, things};
use crate::things::{Things, two_services};

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

/// Its listener warms until it hears of some virtual host. It may refuse the listener that comes in its place, too.
#[test]
fn p25_of_routes_that_went_while_they_came_a_client_hears_that_there_are_no_virtual_hosts() {
    let mut things = things(&["x>a"]);
    let mut delta = Stream::<Delta>::ads(&things.publish());
    for kind in [Cluster, Listener] {
        delta.ask(kind, &[]);
        delta.ack(kind);
    }
    delta.ask(Route, &["r~v"]);
    assert_eq!(
        delta.received(),
        ["cds a@1 b@1", "lds l@1", "rds r~v@parts"],
        "the clusters have no endpoints"
    );
    things.listener("l", "2", &[]);
    [Route, VirtualHost].into_iter().for_each(|kind| things.remove(kind, "r~v"));
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["lds l@2", "vhds -r~v/-"]);
    delta.refuse(Listener, "Error adding/updating listener(s) l: no such filter");
    assert_eq!(delta.settle(), NOTHING);
}

/// It refused the only ones that it was told of, and the listener that comes in place of the one that waits.
#[test]
fn p25_of_routes_that_went_when_their_virtual_hosts_were_refused_a_client_hears_that_there_are_none() {
    for hosts in [&["x>a"][..], &["x>a", "y>b"]] {
        let mut things = things(hosts);
        let mut delta = newcomer(&mut things);
        delta.ask(Route, &["r~v"]);
        delta.received();
        delta.ack(Route);
        things.listener("l", "2", &[]);
        [Route, VirtualHost].into_iter().for_each(|kind| things.remove(kind, "r~v"));
        delta.update(&things.publish());
        assert_eq!(delta.received(), ["lds l@2"], "virtual hosts are unanswered");
        delta.refuse(Listener, "Error adding/updating listener(s) l: no such filter");
        delta.nack(VirtualHost);
        assert_eq!(delta.settle(), ["vhds -r~v/-"]);
    }
}

/// It went before it heard of any virtual host.
#[test]
fn p25_of_routes_that_went_meanwhile_who_comes_back_hears_that_there_are_no_virtual_hosts() {
    let mut things = things(&["x>a"]);
    things.listener("l", "2", &[]);
    [Route, VirtualHost].into_iter().for_each(|kind| things.remove(kind, "r~v"));
    let mut delta = returning(&mut things);
    assert_eq!(delta.received(), ["lds l@2"]);
    delta.refuse(Listener, "Error adding/updating listener(s) l: no such filter");
    delta.come_back(Route, &["r~v"], &["r~v@parts"]);
    delta.come_back(VirtualHost, &[], &[]);
    assert_eq!(delta.settle(), ["vhds -r~v/-"]);
    assert_eq!(delta.settle(), NOTHING);
}

/// The client refused the endpoints of its cluster, which are gone, and refuses what the cluster is now.
#[test]
fn p14_endpoints_that_went_while_it_was_found_out_which_are_refused_are_waited_for_no_longer() {
    let mut things = Things::default();
    ["a", "b"].into_iter().for_each(|name| things.service(name, "1"));
    things.listener("l", "1", &[]);
    let mut delta = Stream::<Delta>::ads(&things.publish());
    [Cluster, Listener].into_iter().for_each(|kind| _ = delta.ask(kind, &[]));
    delta.settle();
    things.put(Listener, "m", "1", vec![(Cluster, "a".into())]);
    delta.update(&things.publish());
    delta.ask(Endpoint, &["a", "b"]);
    assert_eq!(delta.received(), ["eds a@1 b@1"]);
    things.put(Cluster, "a", "2", vec![(Endpoint, "c".into())]);
    things.remove(Endpoint, "a");
    things.endpoints("c", "1");
    things.remove(Listener, "l");
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["cds a@2"]);
    delta.refuse(Endpoint, "malformed IP address");
    delta.refuse(Cluster, "Error adding/updating cluster(s) a: no good");
    let told = delta.settle();
    assert!(told.contains(&"lds m@1".to_owned()) && told.contains(&"lds -l".to_owned()), "{told:?}");
    assert!(!delta.machine.is_waiting());
}

#[test]
fn p14_a_client_has_all_endpoints_although_a_cluster_named_others_when_it_came() {
    let mut things = Things::default();
    things.service("a", "1");
    let mut delta = Stream::<Delta>::ads(&things.publish());
    delta.ask(Cluster, &[]);
    things.put(Cluster, "a", "2", vec![(Endpoint, "c".into())]);
    things.remove(Endpoint, "a");
    things.endpoints("c", "1");
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["cds a@1", "cds a@2"]);
    delta.ask(Endpoint, &["c"]);
    assert!(!delta.machine.is_settled(Endpoint));
    assert_eq!(delta.settle(), ["eds c@1"]);
    assert!(delta.machine.is_settled(Endpoint));
}

/// It refuses a cluster, which becomes another one, and is again what it refused.
#[test]
fn p14_endpoints_of_a_refused_cluster_are_waited_for_no_longer_when_it_is_that_again() {
    let mut things = Things::default();
    things.dns_cluster("a", "1");
    things.listener("l", "1", &[]);
    let mut delta = Stream::<Delta>::ads(&things.publish());
    [Cluster, Listener].into_iter().for_each(|kind| _ = delta.ask(kind, &[]));
    delta.settle();
    things.service("a", "2");
    things.remove(Listener, "l");
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["cds a@2"]);
    things.put(Cluster, "a", "3", vec![(Endpoint, "c".into())]);
    things.endpoints("c", "1");
    delta.update(&things.publish());
    delta.refuse(Cluster, "Error adding/updating cluster(s) a: no good");
    things.cluster("a", "2");
    delta.update(&things.publish());
    delta.refuse(Cluster, "Error adding/updating cluster(s) a: no good");
    assert!(delta.settle().contains(&"lds -l".to_owned()));
    assert!(!delta.machine.is_waiting());
}
