//! Route configurations of virtual hosts: which of them may be ahead of their clusters (P15a), and which of them a client
//! refuses (P4a).

use pilot::resources::ResourceType::{Cluster, Endpoint, Listener, Route};
use pilot::xds::Delta;

use crate::driver::Stream;
use crate::order::NOTHING;
use crate::things::Things;

/// An Envoy that has two services, each with a virtual host.
fn envoy(hosts: &[&str]) -> (Things, Stream<Delta>) {
    let mut things = Things::default();
    things.service("a", "1");
    things.service("b", "1");
    things.listener("l", "1", &["r"]);
    things.rope("r", hosts);
    let mut delta = Stream::<Delta>::ads(&things.publish());
    for (kind, names) in [(Cluster, &[][..]), (Endpoint, &["a", "b"]), (Listener, &[]), (Route, &["r"])] {
        delta.ask(kind, names);
    }
    let came = delta.settle();
    assert_eq!(came.last().unwrap(), &format!("rds r@{}", hosts.join("+")), "{came:?}");
    (things, delta)
}

/// 404 is better than 503.
#[test]
fn p15_a_new_virtual_host_waits_for_its_own_cluster_and_holds_up_nothing_else() {
    let (mut things, mut delta) = envoy(&["x>a"]);
    things.service("c", "1");
    things.rope("r", &["w>c", "x>a"]);
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["cds c@1"]);
    things.rope("r", &["w>c", "x>b"]);
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["rds r@x>b"]);
    delta.ack(Route);
    delta.ack(Cluster);
    delta.ask(Endpoint, &["c"]);
    assert_eq!(delta.settle(), ["eds c@1", "rds r@w>c+x>b"]);
}

#[test]
fn p15_what_takes_a_domain_from_a_cluster_that_is_there_waits_and_holds_up_nothing_else() {
    let (mut things, mut delta) = envoy(&["x>a", "y>b"]);
    things.service("c", "1");
    things.rope("r", &["w>c", "x>c", "y>a"]);
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["cds c@1", "rds r@x>a+y>a"]);
    delta.ack(Route);
    delta.ack(Cluster);
    assert_eq!(delta.received(), NOTHING);
    delta.ask(Endpoint, &["c"]);
    assert_eq!(delta.received(), ["eds c@1"]);
    delta.ack(Endpoint);
    assert_eq!(delta.settle(), ["rds r@w>c+x>c+y>a"]);
}

/// `1/x` and `2/x` are two virtual hosts of one domain.
#[test]
fn p15_a_domain_that_moves_to_another_virtual_host_moves_in_one_piece() {
    let (mut things, mut delta) = envoy(&["1/x>a", "y>b"]);
    things.service("c", "1");
    things.rope("r", &["2/x>c", "y>a"]);
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["cds c@1", "rds r@1/x>a+y>a"]);
    delta.ask(Endpoint, &["c"]);
    assert_eq!(delta.settle(), ["eds c@1", "rds r@2/x>c+y>a"]);
}

/// An Envoy of which `x` leads to `d`, which finds its endpoints itself.
fn with_dns() -> (Things, Stream<Delta>) {
    let (mut things, mut delta) = envoy(&["x>a"]);
    things.dns_cluster("d", "1");
    things.rope("r", &["x>d"]);
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["cds d@1", "rds r@x>d"]);
    (things, delta)
}

/// Envoy uses a cluster as it was until the new one has its endpoints.
#[test]
fn p15_a_domain_stays_with_a_cluster_that_serves_while_its_next_version_warms() {
    let (mut things, mut delta) = with_dns();
    things.service("d", "2");
    things.service("c", "1");
    things.rope("r", &["x>c"]);
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["cds c@1 d@2"]);
    delta.ack(Cluster);
    assert_eq!(delta.received(), NOTHING, "d serves and c does not");
    delta.ask(Endpoint, &["c", "d"]);
    assert_eq!(delta.received(), ["eds c@1 d@2"]);
    delta.ack(Endpoint);
    assert_eq!(delta.settle(), ["rds r@x>c"]);
}

/// The first of them serves until the last is ready, however many come between.
#[test]
fn p15_a_domain_stays_with_a_cluster_that_serves_while_it_changes_again_and_again() {
    let (mut things, mut delta) = with_dns();
    for version in ["2", "3", "4"] {
        things.service("d", version);
        delta.update(&things.publish());
        assert_eq!(delta.received(), [format!("cds d@{version}")]);
        delta.ack(Cluster);
    }
    things.service("c", "1");
    things.rope("r", &["x>c"]);
    delta.update(&things.publish());
    delta.ack(Cluster);
    assert_eq!(delta.received(), ["cds c@1"]);
    delta.ask(Endpoint, &["c", "d"]);
    assert_eq!(delta.settle(), ["eds c@1 d@4", "rds r@x>c"]);
}

/// The client answers late, and more services come before it does: each route comes with the answer for its own service.
#[test]
fn p15_a_burst_of_services_delays_no_routes() {
    let (mut things, mut delta) = envoy(&["x>a"]);
    let mut hosts = vec!["x>a".to_owned()];
    let name = |round: usize| format!("new-{round:02}");
    for round in 0..50 {
        things.service(&name(round), "1");
        hosts.push(format!("z{round:02}>{}", name(round)));
        things.rope("r", &hosts.iter().map(String::as_str).collect::<Vec<_>>());
        delta.update(&things.publish());
        if round > 0 {
            delta.ask(Endpoint, &[&name(round - 1)]);
        }
        // One round trip: what was sent in the last round is answered.
        delta.ack(Cluster);
        if round > 0 {
            delta.ack(Endpoint);
        }
        let came = delta.received();
        if round > 0 {
            let routes = came.iter().rfind(|it| it.starts_with("rds"));
            let expected = format!("rds r@{}", hosts[..round + 1].join("+"));
            assert_eq!(routes, Some(&expected), "round {round}: {came:?}");
            delta.ack(Route);
        }
    }
}

/// It has nothing of these routes yet, and will have what is on its way when the answer comes.
#[test]
fn p15_a_domain_of_first_routes_that_are_on_their_way_waits_for_its_new_cluster() {
    let (mut things, mut delta) = envoy(&["x>a"]);
    things.rope("s", &["x>a"]);
    things.listener("m", "1", &["s"]);
    delta.update(&things.publish());
    delta.ack(Listener);
    delta.ask(Route, &["s"]);
    assert_eq!(delta.received(), ["lds m@1", "rds s@x>a"]);
    things.service("c", "1");
    things.rope("s", &["x>c"]);
    delta.update(&things.publish());
    delta.ask(Route, &["s"]);
    assert_eq!(delta.received(), ["cds c@1", "rds s@x>a"], "it asked again before it answered");
    delta.ask(Endpoint, &["c"]);
    assert_eq!(delta.settle(), ["eds c@1", "rds s@x>c"]);
}

/// Also if they were gone for a moment: what is on its way to it then is of routes that there were before.
#[test]
fn p15_first_routes_that_go_and_come_back_while_they_are_on_their_way_wait_for_their_new_cluster() {
    let (mut things, mut delta) = envoy(&["x>a"]);
    things.rope("s", &["x>a"]);
    things.listener("m", "1", &["s"]);
    delta.update(&things.publish());
    delta.ack(Listener);
    delta.ask(Route, &["s"]);
    assert_eq!(delta.received(), ["lds m@1", "rds s@x>a"]);
    things.remove(Route, "s");
    delta.update(&things.publish());
    things.service("c", "1");
    things.rope("s", &["x>c"]);
    delta.update(&things.publish());
    delta.ask(Route, &["s"]);
    assert_eq!(delta.received(), ["cds c@1", "rds s@x>a"]);
    delta.ask(Endpoint, &["c"]);
    assert_eq!(delta.settle(), ["eds c@1", "rds s@x>c"]);
}

#[test]
fn p15_a_new_port_waits_for_what_there_was_when_it_came_and_no_longer() {
    let (mut things, mut delta) = envoy(&["x>a"]);
    things.service("c", "1");
    things.rope("s", &["x>c"]);
    things.listener("m", "1", &["s"]);
    delta.update(&things.publish());
    delta.ack(Listener);
    delta.ask(Route, &["s"]);
    assert_eq!(delta.received(), ["cds c@1", "lds m@1"], "nobody is to come to nothing there");
    delta.ask(Endpoint, &["c"]);
    things.service("d", "1");
    things.rope("s", &["x>c", "y>d"]);
    delta.update(&things.publish());
    delta.ack(Cluster);
    delta.ack(Endpoint);
    assert_eq!(delta.received(), ["eds c@1", "cds d@1", "rds s@x>c+y>d"]);
}

#[test]
fn p15_a_virtual_host_that_goes_stays_until_what_came_with_that_is_there() {
    let (mut things, mut delta) = envoy(&["x>a", "y>b"]);
    things.service("c", "1");
    things.rope("r", &["y>b"]);
    things.rope("s", &["x>c"]);
    things.listener("m", "1", &["s"]);
    delta.update(&things.publish());
    delta.ask(Endpoint, &["c"]);
    delta.ask(Route, &["s"]);
    let came = delta.settle();
    let of = |text: &str| came.iter().position(|it| it == text).unwrap_or_else(|| panic!("{text}: {came:?}"));
    assert!(of("rds s@x>c") < of("rds r@y>b"), "{came:?}");
    assert!(of("eds c@1") < of("rds r@y>b"), "{came:?}");
}

#[test]
fn p04_the_virtual_host_that_is_refused_is_found_and_the_others_change() {
    let (mut things, mut delta) = envoy(&["u>a", "v>a", "w>a", "x>a"]);
    things.rope("r", &["u>b", "v>a!bad", "w>b", "x>b", "y>b"]);
    delta.update(&things.publish());
    let is_bad = |_: &str, content: &str| content.contains("bad");
    let came = delta.judge(is_bad);
    assert_eq!(came.last().unwrap(), "rds r@u>b+v>a+w>b+x>b+y>b", "{came:?}");
    assert!(came.len() <= 7, "{came:?}");
    assert_eq!(delta.refused(Route), ["r (virtual host v)"]);
    // It stays as it was, whatever else changes.
    things.rope("r", &["u>a", "v>a!bad", "w>b", "x>b"]);
    delta.update(&things.publish());
    assert_eq!(delta.judge(is_bad), ["rds r@u>a+v>a+w>b+x>b"]);
    things.rope("r", &["u>a", "v>b", "w>b", "x>b"]);
    delta.update(&things.publish());
    assert_eq!(delta.judge(is_bad), ["rds r@u>a+v>b+w>b+x>b"]);
    assert_eq!(delta.refused(Route), NOTHING);
}

#[test]
fn p04_the_virtual_host_that_one_client_refused_is_tried_alone_by_the_next_and_the_others_come_at_once() {
    let shared = std::sync::Arc::<pilot::xds::Shared>::default();
    let mut things = Things::default();
    things.rope("r", &["u>a", "v>a!bad", "w>a", "x>a"]);
    let set = things.publish();
    for is_first in [true, false] {
        let mut delta = Stream::<Delta>::beside(None, &shared);
        delta.update(&set);
        delta.ask(Route, &["r"]);
        let came = delta.judge(|_, content| content.contains("bad"));
        let (all, good) = ("rds r@u>a+v>a!bad+w>a+x>a", "rds r@u>a+w>a+x>a");
        match is_first {
            true => assert_eq!((came.len() > 3, came.last().unwrap().as_str()), (true, good), "{came:?}"),
            false => assert_eq!(came, [all, good, all]),
        }
        assert_eq!(delta.refused(Route), ["r (virtual host v)"]);
    }
}
