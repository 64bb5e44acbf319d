//! Make before break on aggregated streams (P15, L11), and that no gate stays shut.

use pilot::resources::ResourceType::{Cluster, Endpoint, Listener, Route};
use pilot::xds::{Delta, Sotw};

use crate::driver::Stream;
use crate::things::{Things, two_services};

pub(crate) const NOTHING: [&str; 0] = [];

/// An Envoy that has the two services, in both variants.
pub(crate) fn envoys(things: &mut Things) -> (Stream<Sotw>, Stream<Delta>) {
    let set = things.publish();
    let (mut sotw, mut delta) = (Stream::<Sotw>::ads(&set), Stream::<Delta>::ads(&set));
    for (kind, names) in [(Cluster, &[][..]), (Endpoint, &["a", "b"]), (Listener, &[]), (Route, &["r"])] {
        sotw.ask(kind, names);
        delta.ask(kind, names);
        sotw.settle();
        delta.settle();
    }
    (sotw, delta)
}

#[test]
fn p15_routes_to_a_new_cluster_wait_for_it_and_its_endpoints() {
    let mut things = two_services();
    let (mut sotw, mut delta) = envoys(&mut things);
    things.service("c", "1");
    things.route("r", "2", &["a", "b", "c"]);
    let set = things.publish();

    delta.update(&set);
    assert_eq!(delta.received(), ["cds c@1"]);
    delta.ack(Cluster);
    assert_eq!(delta.received(), NOTHING, "its endpoints were not asked for yet");
    delta.ask(Endpoint, &["c"]);
    assert_eq!(delta.received(), ["eds c@1"]);
    delta.ack(Endpoint);
    assert_eq!(delta.received(), ["rds r@2"]);

    sotw.update(&set);
    assert_eq!(sotw.received(), ["cds a@1 b@1 c@1"]);
    sotw.ack(Cluster);
    assert_eq!(sotw.received(), NOTHING);
    sotw.ask(Endpoint, &["a", "b", "c"]);
    assert_eq!(sotw.received(), ["eds c@1"]);
    sotw.ack(Endpoint);
    assert_eq!(sotw.received(), ["rds r@2"]);
}

#[test]
fn p15_endpoints_may_be_asked_for_before_the_cluster_is_acknowledged() {
    let mut things = two_services();
    let (_, mut delta) = envoys(&mut things);
    things.service("c", "1");
    things.route("r", "2", &["c"]);
    delta.update(&things.publish());
    delta.ask(Endpoint, &["c"]);
    delta.ack(Endpoint);
    assert_eq!(delta.received(), ["cds c@1", "eds c@1"]);
    delta.ack(Cluster);
    assert_eq!(delta.received(), ["rds r@2"]);
}

#[test]
fn p15_the_first_cluster_ever_is_waited_for_too() {
    let mut things = Things::default();
    things.listener("l", "1", &["r"]);
    things.route("r", "1", &[]);
    let mut delta = Stream::<Delta>::ads(&things.publish());
    delta.ask(Cluster, &[]);
    delta.ask(Listener, &[]);
    delta.ask(Route, &["r"]);
    assert_eq!(delta.settle(), ["cds", "lds l@1", "rds r@1"]);
    things.service("a", "1");
    things.route("r", "2", &["a"]);
    delta.update(&things.publish());
    delta.ack(Cluster);
    assert_eq!(delta.received(), ["cds a@1"], "it will ask for endpoints, though it has not before");
    delta.ask(Endpoint, &["a"]);
    delta.ack(Endpoint);
    assert_eq!(delta.received(), ["eds a@1", "rds r@2"]);
}

#[test]
fn p15_a_listener_that_names_a_new_cluster_waits_and_others_do_not() {
    let mut things = two_services();
    let (mut sotw, mut delta) = envoys(&mut things);
    things.dns_cluster("db", "1");
    things.put(Listener, "tcp", "1", vec![(Cluster, "db".into())]);
    things.listener("l", "2", &["r"]);
    let set = things.publish();

    delta.update(&set);
    // P14: also its routes again, because it warms.
    assert_eq!(delta.received(), ["cds db@1", "lds l@2", "rds r@1"]);
    delta.ack(Listener);
    assert_eq!(delta.received(), NOTHING);
    delta.ack(Cluster);
    assert_eq!(delta.settle(), ["lds tcp@1"]);

    sotw.update(&set);
    assert_eq!(sotw.received(), ["cds a@1 b@1 db@1", "lds l@2", "rds r@1"]);
    sotw.ack(Listener);
    assert_eq!(sotw.received(), NOTHING);
    sotw.ack(Cluster);
    assert_eq!(sotw.settle(), ["lds l@2 tcp@1"]);
}

#[test]
fn p15_l11_a_cluster_is_removed_after_the_routes_that_no_longer_name_it_are_acknowledged() {
    let mut things = two_services();
    let (mut sotw, mut delta) = envoys(&mut things);
    things.remove_service("b");
    things.route("r", "2", &["a"]);
    let set = things.publish();

    delta.update(&set);
    assert_eq!(delta.received(), ["rds r@2"]);
    delta.ack(Route);
    assert_eq!(delta.received(), ["cds -b"]);
    delta.ack(Cluster);
    assert_eq!(delta.received(), ["eds -b"]);
    delta.drop_names(Endpoint, &["b"]);
    assert_eq!(delta.settle(), NOTHING);

    sotw.update(&set);
    assert_eq!(sotw.received(), ["rds r@2"]);
    sotw.ack(Route);
    assert_eq!(sotw.received(), ["cds a@1"]);
    assert_eq!(sotw.settle(), NOTHING, "once");
}

#[test]
fn p15_cds_keeps_what_may_not_go_yet_and_says_so_in_its_version() {
    let mut things = two_services();
    let (mut sotw, _) = envoys(&mut things);
    things.remove_service("b");
    things.cluster("a", "2");
    things.route("r", "2", &["a"]);
    let set = things.publish();
    sotw.update(&set);
    assert_eq!(sotw.received(), ["cds a@2 b@1", "eds a@1", "rds r@2"]);
    let before = sotw.last(Cluster).version.clone();
    assert_ne!(before, set.of(Cluster).version(), "equal versions mean equal content");
    assert_eq!(sotw.settle(), ["cds a@2"]);
    assert_eq!(sotw.last(Cluster).version, set.of(Cluster).version());
}

#[test]
fn p15_a_rejected_route_holds_the_clusters_that_the_old_one_names() {
    let mut things = two_services();
    things.route("other", "1", &[]);
    let (_, mut delta) = envoys(&mut things);
    delta.ask(Route, &["other"]);
    delta.settle();
    things.remove_service("b");
    things.route("r", "bad", &["a"]);
    delta.update(&things.publish());
    delta.nack(Route);
    assert_eq!(delta.received(), ["rds r@bad"]);
    // Another route is accepted: the client still uses the old r.
    things.route("other", "2", &["a"]);
    delta.update(&things.publish());
    delta.ack(Route);
    assert_eq!(delta.received(), ["rds other@2"]);
    delta.end_patience();
    assert_eq!(delta.received(), NOTHING, "no patience ends that");
    things.route("r", "3", &["a"]);
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["rds r@3", "cds -b", "eds -b"]);
}

#[test]
fn p15_a_rejected_listener_holds_routes_and_clusters_that_the_old_one_names() {
    let mut things = two_services();
    let (mut sotw, mut delta) = envoys(&mut things);
    things.remove_service("a");
    things.remove_service("b");
    things.remove(Route, "r");
    things.listener("l", "bad", &[]);
    let set = things.publish();
    delta.update(&set);
    delta.nack(Listener);
    assert_eq!(delta.received(), ["lds l@bad"]);
    sotw.update(&set);
    sotw.nack(Listener);
    assert_eq!(sotw.received(), ["lds l@bad"]);
    things.remove(Listener, "l");
    let set = things.publish();
    delta.update(&set);
    assert_eq!(delta.settle(), ["lds -l", "rds -r", "cds -a -b", "eds -a -b"]);
    sotw.update(&set);
    assert_eq!(sotw.settle(), ["lds", "cds"]);
}

#[test]
fn p15_a_refused_cluster_that_a_client_never_had_holds_nothing() {
    let mut things = two_services();
    things.route("other", "1", &[]);
    let (_, mut delta) = envoys(&mut things);
    delta.ask(Route, &["other"]);
    delta.settle();
    things.service("c", "bad");
    things.route("r", "2", &["a", "b", "c"]);
    delta.update(&things.publish());
    delta.nack(Cluster);
    things.route("other", "2", &["a"]);
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["cds c@bad", "rds r@2", "rds other@2"]);
    assert!(!delta.machine.is_waiting());
    things.service("c", "good");
    delta.update(&things.publish());
    delta.ask(Endpoint, &["c"]);
    assert_eq!(delta.settle(), ["cds c@good", "eds c@good"]);
}

/// Endpoints and clusters may change faster than a client can answer.
#[test]
fn p15_routes_and_removals_do_not_starve_while_other_things_change() {
    let mut things = two_services();
    let (_, mut delta) = envoys(&mut things);
    things.remove_service("b");
    things.route("r", "2", &["a"]);
    things.endpoints("a", "2");
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["eds a@2", "rds r@2"]);
    for round in 0..10 {
        things.endpoints("a", &format!("x{round}"));
        things.dns_cluster("noise", &round.to_string());
        delta.update(&things.publish());
        delta.ack(Endpoint);
        if round > 0 {
            delta.ack(Cluster);
        }
    }
    delta.ack(Route);
    delta.ack(Cluster);
    let received = delta.received();
    assert!(received.contains(&"cds -b".to_owned()), "{received:?}");
}

#[test]
fn p15_a_service_that_comes_back_before_it_was_removed_stays() {
    let mut things = two_services();
    let (mut sotw, mut delta) = envoys(&mut things);
    things.remove_service("b");
    things.route("r", "2", &["a"]);
    let set = things.publish();
    sotw.update(&set);
    delta.update(&set);
    things.service("b", "1");
    things.route("r", "3", &["a", "b"]);
    let set = things.publish();
    sotw.update(&set);
    delta.update(&set);
    assert_eq!(sotw.settle(), ["rds r@2", "rds r@3"]);
    assert_eq!(delta.settle(), ["rds r@2", "rds r@3"]);
}

/// A gRPC client asks for clusters because of the listener that names them. One that has none yet, and asks for no
/// endpoints anew (as `@grpc/grpc-js-xds` after a service was made anew), does not wait for its listener.
#[test]
fn p15_who_names_its_clusters_is_told_of_a_new_listener_at_once() {
    let mut things = two_services();
    let names_a = || vec![(Cluster, "a".into())];
    things.put(Listener, "x", "1", names_a());
    let set = things.publish();
    let mut sotw = Stream::<Sotw>::ads(&set);
    for (kind, name) in [(Listener, "x"), (Cluster, "a"), (Endpoint, "a")] {
        sotw.ask(kind, &[name]);
        sotw.settle();
    }
    things.remove(Listener, "x");
    things.remove_service("a");
    sotw.update(&things.publish());
    sotw.settle();
    sotw.ask(Endpoint, &[]);
    things.service("a", "1");
    things.put(Listener, "x", "1", names_a());
    sotw.update(&things.publish());
    assert_eq!(sotw.settle(), ["cds a@1", "lds x@1"]);
    // What it has changes only when all that it names is there.
    things.service("b", "1");
    things.put(Listener, "x", "2", vec![(Cluster, "a".into()), (Cluster, "b".into())]);
    sotw.ask(Cluster, &["a", "b"]);
    sotw.update(&things.publish());
    assert!(!sotw.settle().contains(&"lds x@2".to_owned()), "it waits for the endpoints");
    sotw.ask(Endpoint, &["a", "b"]);
    assert!(sotw.settle().contains(&"lds x@2".to_owned()));
}

/// A TCP service moves to another port, to a cluster of another name.
#[test]
fn p15_a_listener_goes_when_what_came_with_that_is_there() {
    let mut things = two_services();
    things.put(Listener, "9600", "1", vec![(Cluster, "a".into())]);
    let (mut sotw, mut delta) = envoys(&mut things);
    things.remove(Listener, "9600");
    things.service("c", "1");
    things.put(Listener, "9601", "1", vec![(Cluster, "c".into())]);
    let set = things.publish();
    sotw.update(&set);
    delta.update(&set);
    assert_eq!((sotw.received(), delta.received()), (vec!["cds a@1 b@1 c@1".into()], vec!["cds c@1".into()]));
    sotw.ack(Cluster);
    delta.ack(Cluster);
    sotw.ask(Endpoint, &["a", "b", "c"]);
    delta.ask(Endpoint, &["c"]);
    let lds = |came: Vec<String>| came.into_iter().filter(|it| it.starts_with("lds")).collect::<Vec<_>>();
    assert_eq!(lds(sotw.settle()), ["lds 9600@1 9601@1 l@1", "lds 9601@1 l@1"]);
    assert_eq!(lds(delta.settle()), ["lds 9601@1", "lds -9600"]);
}

/// Its next version was dropped with what came beside it, and the client refuses the one that there is again.
#[test]
fn p15_endpoints_of_a_cluster_that_the_client_never_took_are_waited_for_no_longer() {
    let mut things = two_services();
    things.listener("m", "1", &[]);
    let (_, mut delta) = envoys(&mut things);
    things.service("c", "bad");
    delta.update(&things.publish());
    delta.refuse(Cluster, "Error adding/updating cluster(s) c: no good");
    assert_eq!(delta.received(), ["cds c@bad"]);
    things.service("c", "2");
    things.service("d", "worse");
    things.remove(Listener, "m");
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["cds c@2 d@worse"]);
    things.service("c", "bad");
    things.remove_service("d");
    delta.update(&things.publish());
    delta.nack(Cluster);
    let came = delta.settle();
    assert!(came.contains(&"lds -m".to_owned()), "{came:?}");
    assert!(!delta.machine.is_waiting());
}

/// Patience is for clients that never ask.
#[test]
fn p15_a_slow_client_is_waited_for_as_long_as_a_response_is_unanswered() {
    let mut things = two_services();
    let (_, mut delta) = envoys(&mut things);
    things.service("c", "1");
    things.route("r", "2", &["c"]);
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["cds c@1"]);
    assert!(!delta.machine.is_waiting(), "it has not answered yet");
    delta.ack(Cluster);
    assert!(delta.machine.is_waiting(), "it has not asked for the endpoints");
    delta.ask(Endpoint, &["c"]);
    assert!(!delta.machine.is_waiting());
}

/// A client may ask for some endpoints only. Where something changes each second, what is gone is to go all the same.
#[test]
fn p15_patience_ends_for_what_came_until_it_began_and_what_came_later_has_its_own() {
    let mut things = two_services();
    let (_, mut delta) = envoys(&mut things);
    things.service("c", "1");
    things.route("r", "2", &["c"]);
    delta.update(&things.publish());
    delta.ack(Cluster);
    assert_eq!(delta.received(), ["cds c@1"]);
    let begun = delta.machine.updates();
    things.service("d", "1");
    things.put(Listener, "9600", "1", vec![(Cluster, "d".into())]);
    things.remove_service("b");
    delta.update(&things.publish());
    delta.ack(Cluster);
    assert_eq!(delta.received(), ["cds d@1"]);
    delta.end_patience_until(begun);
    assert_eq!(delta.received(), ["rds r@2"], "nobody has asked for the endpoints of c");
    delta.ack(Route);
    assert_eq!(delta.received(), ["cds -b"]);
    delta.ack(Cluster);
    assert_eq!(delta.received(), ["eds -b"]);
    delta.ack(Endpoint);
    assert!(delta.machine.is_waiting(), "it may yet ask for the endpoints of d");
    delta.end_patience();
    assert_eq!(delta.received(), ["lds 9600@1"]);
}
