//! Routes that a client takes in parts: virtual hosts one by one (VHDS, P25). What is said here of Envoy was tried on
//! Envoy 1.40.

use pilot::resources::ResourceType::{Cluster, Endpoint, Listener, Route, VirtualHost};
use pilot::xds::Delta;

use crate::driver::Stream;
use crate::order::NOTHING;
use crate::things::Things;

/// Two services, and routes `r~v` with these virtual hosts.
pub(crate) fn things(hosts: &[&str]) -> Things {
    let mut things = Things::default();
    things.service("a", "1");
    things.service("b", "1");
    things.listener("l", "1", &["r~v"]);
    things.parts("r~v", hosts);
    things
}

/// An Envoy that has all but routes.
pub(crate) fn newcomer(things: &mut Things) -> Stream<Delta> {
    let mut delta = Stream::<Delta>::ads(&things.publish());
    for (kind, names) in [(Cluster, &[][..]), (Endpoint, &["a", "b"]), (Listener, &[])] {
        delta.ask(kind, names);
    }
    delta.settle();
    delta
}

/// An Envoy that has everything.
fn envoy(hosts: &[&str]) -> (Things, Stream<Delta>) {
    let mut things = things(hosts);
    let mut delta = newcomer(&mut things);
    delta.ask(Route, &["r~v"]);
    delta.ask(VirtualHost, &[]);
    delta.settle();
    (things, delta)
}

/// Envoy does not say which virtual hosts it wants, and of further routes it says nothing at all.
#[test]
fn p25_virtual_hosts_come_behind_their_routes_without_being_asked_for() {
    let mut things = things(&["x>a", "y>b"]);
    things.parts("q~v", &["z>a"]);
    let mut delta = newcomer(&mut things);
    delta.ask(Route, &["r~v"]);
    assert_eq!(delta.received(), ["rds r~v@parts", "vhds r~v/x@>a r~v/y@>b"]);
    delta.ask(VirtualHost, &[]);
    assert_eq!(delta.received(), NOTHING);
    delta.ask(Route, &["q~v"]);
    assert_eq!(delta.received(), ["rds q~v@parts", "vhds q~v/z@>a"]);
    assert_eq!(delta.settle(), NOTHING);
}

#[test]
fn p25_one_service_more_is_one_virtual_host_more() {
    let (mut things, mut delta) = envoy(&["x>a", "y>b"]);
    things.service("c", "1");
    things.parts("r~v", &["w>c", "x>a", "y>b"]);
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["cds c@1"]);
    delta.ask(Endpoint, &["c"]);
    assert_eq!(delta.settle(), ["eds c@1", "vhds r~v/w@>c"]);
}

#[test]
fn p25_a_cluster_goes_after_the_virtual_host_that_named_it() {
    let (mut things, mut delta) = envoy(&["x>a", "y>b"]);
    things.remove_service("b");
    things.parts("r~v", &["x>a"]);
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["vhds -r~v/y"]);
    delta.ack(VirtualHost);
    assert_eq!(delta.settle(), ["cds -b", "eds -b"]);
}

/// In two responses it would be nobody's for a while, or Envoy would refuse it.
#[test]
fn p25_a_domain_that_moves_between_virtual_hosts_moves_in_one_response() {
    let (mut things, mut delta) = envoy(&["1/x>a", "y>b"]);
    things.service("c", "1");
    things.parts("r~v", &["2/x>c", "y>a"]);
    delta.update(&things.publish());
    assert_eq!(delta.received(), ["cds c@1", "vhds r~v/y@>a"]);
    delta.ask(Endpoint, &["c"]);
    assert_eq!(delta.settle(), ["eds c@1", "vhds r~v/2~x@>c -r~v/1~x"]);
}

/// Envoy makes its whole table anew for each response.
#[test]
fn p25_changes_are_merged_while_a_response_is_unanswered() {
    let (mut things, mut delta) = envoy(&["x>a"]);
    for hosts in [&["x>b"][..], &["x>b", "y>a"], &["x>b", "y>b"]] {
        things.parts("r~v", hosts);
        delta.update(&things.publish());
    }
    assert_eq!(delta.received(), ["vhds r~v/x@>b"]);
    delta.ack(VirtualHost);
    assert_eq!(delta.received(), ["vhds r~v/y@>b"]);
}

/// Envoy has dropped them, whatever it has acknowledged.
#[test]
fn p25_routes_that_are_taken_anew_come_with_all_their_virtual_hosts() {
    let (mut things, mut delta) = envoy(&["x>a", "y>b"]);
    delta.drop_names(Route, &["r~v"]);
    things.parts("r~v", &["x>b", "y>b"]);
    delta.update(&things.publish());
    assert_eq!(delta.received(), NOTHING);
    delta.ask(Route, &["r~v"]);
    assert_eq!(delta.received(), ["rds r~v@parts", "vhds r~v/x@>b r~v/y@>b"]);
    // The answer is not to what it was told before.
    delta.drop_names(Route, &["r~v"]);
    delta.ask(Route, &["r~v"]);
    assert_eq!(delta.received(), ["rds r~v@parts", "vhds r~v/x@>b r~v/y@>b"]);
    assert_eq!(delta.settle(), NOTHING);
}

/// A listener waits for a word about some virtual host.
#[test]
fn p25_routes_without_virtual_hosts_are_answered_with_the_removal_of_one_that_never_was() {
    let mut things = things(&[]);
    let mut delta = newcomer(&mut things);
    delta.ask(Route, &["r~v"]);
    assert_eq!(delta.received(), ["rds r~v@parts", "vhds -r~v/-"]);
    delta.settle();
    things.parts("r~v", &["x>a"]);
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["vhds r~v/x@>a"]);
    things.parts("r~v", &[]);
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["vhds -r~v/x"]);
}

/// Routes that come after the client has asked for them come before their virtual hosts.
#[test]
fn p25_virtual_hosts_never_come_before_their_routes() {
    let mut things = things(&["x>a"]);
    let mut delta = newcomer(&mut things);
    delta.ask(Route, &["r~v", "q~v"]);
    assert_eq!(delta.received(), ["rds r~v@parts -q~v", "vhds r~v/x@>a"]);
    delta.ack(VirtualHost);
    things.parts("q~v", &["z>a"]);
    delta.update(&things.publish());
    assert_eq!(delta.received(), NOTHING, "routes are unanswered");
    delta.ack(Route);
    assert_eq!(delta.received(), ["rds q~v@parts", "vhds q~v/z@>a"]);
}

fn version(things: &Things, routes: &str, host: &str) -> String {
    things.of(VirtualHost)[routes].rope().unwrap().get(host).unwrap().version().to_string()
}

/// An Envoy that comes back with what it has, but for routes.
pub(crate) fn returning(things: &mut Things) -> Stream<Delta> {
    let mut delta = Stream::<Delta>::ads(&things.publish());
    delta.come_back(Cluster, &[], &["a@1", "b@1"]);
    delta.come_back(Endpoint, &["a", "b"], &["a@1", "b@1"]);
    delta.come_back(Listener, &[], &["l@1"]);
    delta
}

#[test]
fn p25_who_comes_back_is_sent_what_differs_and_nothing_else() {
    let mut things = things(&["w>a", "x>a", "y>b"]);
    let has = ["w", "x", "y"].map(|host| format!("r~v/{host}@{}", version(&things, "r~v", host)));
    let has = has.each_ref().map(String::as_str);
    let mut delta = returning(&mut things);
    delta.come_back(Route, &["r~v"], &["r~v@parts"]);
    assert_eq!(delta.received(), NOTHING, "it will say what it has");
    delta.come_back(VirtualHost, &[], &has);
    assert_eq!(delta.settle(), NOTHING);

    things.parts("r~v", &["2/w>a", "x>a", "y>a"]);
    let mut delta = returning(&mut things);
    delta.come_back(Route, &["r~v"], &["r~v@parts"]);
    delta.come_back(VirtualHost, &[], &has);
    // What a virtual host of before was responsible for is not known.
    assert_eq!(delta.settle(), ["vhds r~v/2~w@>a r~v/y@>a -r~v/w"]);
    things.parts("r~v", &["2/w>a", "x>a"]);
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["vhds -r~v/y"]);
}

/// Envoy lists virtual hosts of routes that it has let go of, and has none of them.
#[test]
fn p25_virtual_hosts_that_a_client_lists_count_only_if_it_lists_their_routes() {
    let mut things = things(&["x>a"]);
    let has = format!("r~v/x@{}", version(&things, "r~v", "x"));
    for (names, routes) in [(&["r~v"][..], &[][..]), (&[], &[])] {
        let mut delta = returning(&mut things);
        delta.come_back(Route, names, routes);
        delta.come_back(VirtualHost, &[], &[&has]);
        if names.is_empty() {
            assert_eq!(delta.settle(), NOTHING);
            delta.ask(Route, &["r~v"]);
        }
        assert_eq!(delta.settle(), ["rds r~v@parts", "vhds r~v/x@>a"]);
    }
}

#[test]
fn p25_what_a_client_has_is_known_in_whatever_order_it_tells() {
    let mut things = things(&["x>a"]);
    let has = format!("r~v/x@{}", version(&things, "r~v", "x"));
    let mut delta = returning(&mut things);
    delta.come_back(VirtualHost, &[], &[&has]);
    delta.come_back(Route, &["r~v"], &["r~v@parts"]);
    assert_eq!(delta.settle(), NOTHING);
    things.parts("r~v", &["x>b"]);
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["vhds r~v/x@>b"]);
}

#[test]
fn p25_what_a_client_tells_of_routes_that_it_has_taken_anew_is_of_before() {
    let mut things = things(&["x>a"]);
    let has = format!("r~v/x@{}", version(&things, "r~v", "x"));
    let mut delta = returning(&mut things);
    delta.come_back(Route, &["r~v"], &["r~v@parts"]);
    delta.drop_names(Route, &["r~v"]);
    delta.ask(Route, &["r~v"]);
    assert_eq!(delta.received(), ["rds r~v@parts", "vhds r~v/x@>a"]);
    delta.come_back(VirtualHost, &[], &[&has]);
    assert_eq!(delta.settle(), NOTHING);
}

/// What they were before is not known, so they come in one response, and have to be tried apart.
#[test]
fn p4a_a_virtual_host_that_who_comes_back_refuses_holds_up_no_other() {
    let mut things = things(&["x>a", "y>b"]);
    let has = ["x", "y"].map(|host| format!("r~v/{host}@{}", version(&things, "r~v", host)));
    things.parts("r~v", &["bad>a", "x>b", "y>a"]);
    let mut delta = returning(&mut things);
    delta.come_back(Route, &["r~v"], &["r~v@parts"]);
    delta.come_back(VirtualHost, &[], &has.each_ref().map(String::as_str));
    let all = delta.judge(|name, _| name.contains("bad"));
    assert_eq!(all[..2], ["vhds r~v/bad@>a r~v/x@>b r~v/y@>a", "vhds r~v/x@>b r~v/y@>a"]);
    assert_eq!(delta.refused(VirtualHost), ["r~v (virtual host bad)"]);
}

#[test]
fn p25_who_never_tells_what_it_has_is_sent_all_after_a_while() {
    let mut things = things(&["x>a"]);
    let mut delta = returning(&mut things);
    delta.come_back(Route, &["r~v"], &["r~v@parts"]);
    assert_eq!(delta.received(), NOTHING);
    assert!(delta.machine.is_waiting());
    delta.end_patience();
    assert_eq!(delta.received(), ["vhds r~v/x@>a"]);
}

/// Clusters of virtual hosts that are not known yet, or of which an older version is there, stay.
#[test]
fn p25_no_cluster_goes_while_what_a_client_brought_may_lead_to_it() {
    let mut things = things(&["x>a", "y>b"]);
    let has = ["x", "y"].map(|host| format!("r~v/{host}@{}", version(&things, "r~v", host)));
    things.remove_service("b");
    things.parts("r~v", &["x>a", "y>a"]);
    let mut delta = returning(&mut things);
    delta.come_back(Route, &["r~v"], &["r~v@parts"]);
    assert_eq!(delta.received(), NOTHING);
    delta.come_back(VirtualHost, &[], &has.each_ref().map(String::as_str));
    assert_eq!(delta.received(), ["vhds r~v/y@>a"]);
    delta.ack(VirtualHost);
    assert_eq!(delta.settle(), ["cds -b", "eds -b"]);
}

#[test]
fn p4a_a_refused_virtual_host_is_found_and_what_was_dropped_with_it_is_sent_again() {
    let (mut things, mut delta) = envoy(&["x>a", "y>b"]);
    things.parts("r~v", &["bad>a", "v>a", "w>b", "x>b"]);
    delta.update(&things.publish());
    let all = delta.judge(|name, _| name.contains("bad"));
    assert_eq!(all[0], "vhds r~v/bad@>a r~v/v@>a r~v/w@>b r~v/x@>b -r~v/y");
    assert_eq!(delta.refused(VirtualHost), ["r~v (virtual host bad)"]);
    let sent = |host: &str| all.iter().filter(|text| text.contains(&format!(" r~v/{host}@"))).count();
    assert!(["v", "w", "x"].iter().all(|host| sent(host) >= 2), "{all:?}");
    assert!(all.iter().skip(1).filter(|text| text.contains("-r~v/y")).count() >= 1, "{all:?}");
    // It is not tried again, and holds up nothing.
    things.parts("r~v", &["bad>a", "v>b", "w>b", "x>b"]);
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["vhds r~v/v@>b"]);
    things.parts("r~v", &["v>b", "w>b", "x>b"]);
    delta.update(&things.publish());
    assert_eq!(delta.settle(), NOTHING, "it never had it");
    assert_eq!(delta.refused(VirtualHost), NOTHING);
}

#[test]
fn p4a_a_virtual_host_that_the_words_name_is_tried_alone() {
    for words in [
        "Only unique values for domains are permitted. Duplicate entry of domain w in route r~v",
        "goo.gle/debugstr  \nname: \"r~v/w\"\nroutes {\n}\n: Proto constraint validation failed",
    ] {
        let (mut things, mut delta) = envoy(&["x>a"]);
        things.parts("r~v", &["s>a", "t>a", "u>a", "v>a", "w>b", "x>a"]);
        delta.update(&things.publish());
        delta.received();
        delta.refuse(VirtualHost, words);
        assert_eq!(delta.received(), ["vhds r~v/s@>a r~v/t@>a r~v/u@>a r~v/v@>a"]);
        delta.ack(VirtualHost);
        assert_eq!(delta.received(), ["vhds r~v/w@>b"]);
        delta.refuse(VirtualHost, words);
        assert_eq!(delta.settle(), NOTHING);
        assert_eq!(delta.refused(VirtualHost), ["r~v (virtual host w)"]);
    }
}

/// Which of several Envoy took is luck.
#[test]
fn p25_routes_share_a_response_until_one_is_refused() {
    let (mut things, mut delta) = envoy(&["x>a"]);
    things.parts("q~v", &["y>a"]);
    delta.update(&things.publish());
    delta.ask(Route, &["q~v"]);
    delta.settle();
    things.parts("q~v", &["y>b"]);
    things.parts("r~v", &["bad>a", "x>a"]);
    delta.update(&things.publish());
    let all = delta.judge(|name, _| name.contains("bad"));
    assert_eq!(all, ["vhds q~v/y@>b r~v/bad@>a", "vhds q~v/y@>b", "vhds r~v/bad@>a"]);
    assert_eq!(delta.refused(VirtualHost), ["r~v (virtual host bad)"]);
}

/// Envoy keeps their virtual hosts until it lets go of the routes.
#[test]
fn p25_routes_that_go_and_come_back_are_brought_to_what_they_are_now() {
    let (mut things, mut delta) = envoy(&["x>a", "y>b"]);
    things.remove(Listener, "l");
    things.remove(Route, "r~v");
    things.remove(VirtualHost, "r~v");
    things.remove_service("b");
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["lds -l", "rds -r~v", "cds -b", "eds -b"]);
    things.listener("l", "2", &["r~v"]);
    things.parts("r~v", &["x>a", "z>a"]);
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["lds l@2", "rds r~v@parts", "vhds r~v/z@>a -r~v/y"]);
}

/// An Envoy that refuses the routes drops what comes behind them.
#[test]
fn p25_virtual_hosts_of_refused_routes_are_sent_again_behind_the_next() {
    let mut things = things(&["x>a"]);
    let mut delta = newcomer(&mut things);
    delta.ask(Route, &["r~v"]);
    assert_eq!(delta.received(), ["rds r~v@parts", "vhds r~v/x@>a"]);
    delta.nack(Route);
    delta.ack(VirtualHost);
    assert_eq!(delta.received(), NOTHING);
    things.put(Route, "r~v", "better", vec![(VirtualHost, "r~v".into())]);
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["rds r~v@better", "vhds r~v/x@>a"]);
}

/// It has a virtual host of each service in two routes: 120, of which it may name 100 of each other type.
#[test]
fn p10_p19_a_client_comes_back_with_more_virtual_hosts_than_it_may_name_clusters() {
    let mut things = Things::default();
    let services: Vec<String> = (0..60).map(|n| format!("c{n}")).collect();
    services.iter().for_each(|name| things.service(name, "1"));
    things.listener("l", "1", &["p~v", "q~v"]);
    let hosts: Vec<String> = (0..60).map(|n| format!("h{n}>c{n}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    ["p~v", "q~v"].iter().for_each(|routes| things.parts(routes, &hosts));
    let names: Vec<&str> = services.iter().map(String::as_str).collect();
    let mut delta = Stream::<Delta>::ads(&things.publish());
    for (kind, names) in [(Cluster, &[][..]), (Endpoint, &names), (Listener, &[]), (Route, &["p~v", "q~v"])] {
        delta.ask(kind, names);
    }
    delta.ask(VirtualHost, &[]);
    let came = delta.settle();
    let held = |kind: &str| -> Vec<&str> {
        let of_kind = came.iter().filter_map(|it| it.strip_prefix(kind));
        of_kind.flat_map(|it| it.split(' ').filter(|it| !it.is_empty())).collect()
    };
    assert_eq!(held("vhds ").len(), 120, "all is served");
    let host = |routes: &str, n: usize| {
        let name = format!("h{n}");
        format!("{routes}/{name}@{}", version(&things, routes, &name))
    };
    let hosts: Vec<String> = ["p~v", "q~v"]
        .iter()
        .flat_map(|it| (0..60).map(move |n| (it, n)))
        .map(|(it, n)| host(it, n))
        .collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    // The connection is old: the same client comes back with what it has.
    let mut again = Stream::<Delta>::ads(&things.publish());
    again.come_back(Cluster, &[], &held("cds "));
    again.come_back(Endpoint, &names, &held("eds "));
    again.come_back(Listener, &[], &held("lds "));
    again.come_back(Route, &["p~v", "q~v"], &held("rds "));
    again.come_back(VirtualHost, &[], &hosts);
    assert_eq!(again.settle(), NOTHING, "it is sent nothing again");
}
