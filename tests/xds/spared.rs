//! Who else is spared a version that clients refuse: new ones of the same name and version (P4a).

use pilot::resources::ResourceType::{Cluster, Route};

use crate::fleet::{Fleet, Member};
use crate::things::Things;

const ENVOY: &str = "envoy 1.40.0";
const NAMES_NOBODY: &str = "no good";
const NO_TYPE: &str = "Error adding/updating cluster(s) a: no such type";

fn things() -> Things {
    let mut things = Things::default();
    ["a", "b"].iter().for_each(|name| things.service(name, "1"));
    things.listener("l", "1", &["r"]);
    things.rope("r", &["x>a", "y>b"]);
    things
}

fn address(last: usize) -> String {
    format!("192.0.2.{last}")
}

/// That many clients, which have everything.
fn fleet(things: Things, count: usize) -> (Fleet, Vec<Member>) {
    let fleet = Fleet::new(things);
    let join = |at| {
        let mut member = fleet.join(ENVOY, &address(at));
        member.accept();
        member
    };
    let members = (1..=count).map(join).collect();
    (fleet, members)
}

/// Cluster `a` becomes bad, and something else changes with it. Nobody has said anything of it.
fn spoil(fleet: &mut Fleet) {
    fleet.things.cluster("a", "bad");
    fleet.things.cluster("b", "2");
    fleet.publish();
}

fn newcomer(fleet: &Fleet, build: &str) -> Member {
    let mut member = fleet.join(build, "198.51.100.1");
    member.judge("bad", NO_TYPE);
    member
}

#[test]
fn p04_what_three_refuse_a_new_one_of_their_kind_is_spared_and_gets_all_else() {
    let (mut fleet, mut members) = fleet(things(), 3);
    spoil(&mut fleet);
    members.iter_mut().for_each(|member| member.judge("bad", NO_TYPE));
    assert_eq!(fleet.withheld(), ["envoy 1.40.0 3 a"]);
    let spared = newcomer(&fleet, ENVOY);
    let has = ["cds a", "cds b", "eds a", "rds r"].map(|what| spared.has(what));
    assert_eq!(has, [Some("1"), Some("2"), Some("1"), Some("x>a+y>b")]);
    // It is shown, at the proxy and in the metrics.
    let report = fleet.report(&spared, Cluster);
    assert!(report.nack.is_none());
    let [withheld] = report.withheld.as_slice() else { panic!("{report:?}") };
    assert_eq!((withheld.name.as_str(), withheld.version.as_str(), withheld.refused_by), ("a", "bad", 3));
    assert_eq!(withheld.message, "a: no such type");
    assert_eq!(fleet.metric("pilot_xds_withheld_resources{type=\"cds\"}"), "1");
    assert!(fleet.report(&spared, Route).withheld.is_empty());
}

#[test]
fn p04_clients_of_another_kind_are_offered_what_these_refuse() {
    let (mut fleet, mut members) = fleet(things(), 3);
    spoil(&mut fleet);
    members.iter_mut().for_each(|member| member.judge("bad", NO_TYPE));
    for other in ["envoy 1.36.2", "grpc 1.85"] {
        let mut member = fleet.join(other, "198.51.100.1");
        member.accept();
        assert_eq!(member.has("cds a"), Some("bad"), "{other}");
    }
    assert_eq!(newcomer(&fleet, ENVOY).has("cds a"), Some("1"), "what others accept says nothing of these");
}

#[test]
fn p04_what_may_be_the_fault_of_one_machine_is_offered_to_new_ones() {
    let (mut fleet, mut members) = fleet(things(), 3);
    spoil(&mut fleet);
    let words = "Error adding/updating cluster(s) a: Invalid path: /ca.pem";
    members.iter_mut().for_each(|member| member.judge("bad", words));
    assert_eq!(fleet.withheld(), [""; 0]);
    let mut other = fleet.join(ENVOY, "198.51.100.1");
    other.accept();
    assert_eq!(other.has("cds a"), Some("bad"));
}

#[test]
fn p04_two_are_enough_where_no_more_were_told_and_one_never_is() {
    let (mut fleet, mut members) = fleet(things(), 2);
    spoil(&mut fleet);
    members[0].judge("bad", NO_TYPE);
    assert_eq!(fleet.withheld(), [""; 0], "the other has not answered");
    members[1].judge("bad", NO_TYPE);
    assert_eq!(fleet.withheld(), ["envoy 1.40.0 2 a"]);
    drop(members);
    let (mut fleet, mut members) = self::fleet(things(), 1);
    spoil(&mut fleet);
    members[0].judge("bad", NO_TYPE);
    assert_eq!(fleet.withheld(), [""; 0]);
}

#[test]
fn p04_one_machine_with_many_clients_is_one() {
    let fleet_things = things();
    let mut fleet = Fleet::new(fleet_things);
    let mut members: Vec<Member> = (0..4).map(|_| fleet.join(ENVOY, "192.0.2.1")).collect();
    members.iter_mut().for_each(Member::accept);
    spoil(&mut fleet);
    members.iter_mut().for_each(|member| member.judge("bad", NO_TYPE));
    assert_eq!(fleet.withheld(), [""; 0]);
}

#[test]
fn p04_two_of_three_are_not_enough() {
    let (mut fleet, mut members) = fleet(things(), 3);
    spoil(&mut fleet);
    members[..2].iter_mut().for_each(|member| member.judge("bad", NO_TYPE));
    // The third is told, and silent.
    members[2].receive_only();
    assert_eq!(fleet.withheld(), [""; 0]);
    members[2].judge("bad", NO_TYPE);
    assert_eq!(fleet.withheld(), ["envoy 1.40.0 3 a"]);
}

#[test]
fn p04_what_one_of_the_kind_has_is_offered_to_new_ones_however_long_it_has_it() {
    let (mut fleet, mut members) = fleet(things(), 4);
    spoil(&mut fleet);
    let [first, others @ ..] = members.as_mut_slice() else { unreachable!() };
    first.accept();
    others.iter_mut().for_each(|member| member.judge("bad", NO_TYPE));
    // It is asked, and answers without a word of its client.
    first.receive_only();
    assert_eq!(fleet.withheld(), [""; 0]);
    let mut other = fleet.join(ENVOY, "198.51.100.1");
    other.accept();
    assert_eq!(other.has("cds a"), Some("bad"));
}

#[test]
fn p04_who_is_spared_gets_it_when_one_of_the_kind_accepts_it() {
    let (mut fleet, mut members) = fleet(things(), 4);
    spoil(&mut fleet);
    members[..3].iter_mut().for_each(|member| member.judge("bad", NO_TYPE));
    let mut spared = newcomer(&fleet, ENVOY);
    assert_eq!(spared.has("cds a"), Some("1"));
    members[3].accept();
    assert_eq!(fleet.withheld(), [""; 0]);
    spared.accept();
    assert_eq!(spared.has("cds a"), Some("bad"));
    assert!(fleet.report(&spared, Cluster).withheld.is_empty());
}

#[test]
fn p04_a_newer_version_is_offered_to_all_and_the_refused_one_is_forgotten() {
    let (mut fleet, mut members) = fleet(things(), 3);
    spoil(&mut fleet);
    members.iter_mut().for_each(|member| member.judge("bad", NO_TYPE));
    let mut spared = newcomer(&fleet, ENVOY);
    fleet.things.cluster("a", "3");
    fleet.publish();
    spared.accept();
    assert_eq!(spared.has("cds a"), Some("3"));
    assert!(fleet.report(&spared, Cluster).withheld.is_empty());
    members.iter_mut().for_each(Member::accept);
    assert_eq!(fleet.withheld(), [""; 0]);
}

#[test]
fn p04_what_nobody_had_in_an_older_version_is_offered() {
    let (mut fleet, mut members) = fleet(things(), 3);
    fleet.things.service("c", "bad");
    fleet.publish();
    let words = "Error adding/updating cluster(s) c: no such type";
    members.iter_mut().for_each(|member| member.judge("bad", words));
    assert_eq!(fleet.withheld(), [""; 0]);
}

/// Of a route configuration, it is the virtual host.
#[test]
fn p04_of_a_route_configuration_one_virtual_host_is_older_and_all_others_are_new() {
    let (mut fleet, mut members) = fleet(things(), 3);
    fleet.things.rope("r", &["x>b!bad", "y>a", "z>b"]);
    fleet.publish();
    members.iter_mut().for_each(|member| member.judge("bad", NAMES_NOBODY));
    assert_eq!(fleet.withheld(), ["envoy 1.40.0 3 r (virtual host x)"]);
    assert_eq!(members[0].has("rds r"), Some("x>a+y>a+z>b"));
    let mut spared = newcomer(&fleet, ENVOY);
    assert_eq!(spared.has("rds r"), Some("x>a+y>a+z>b"));
    // The others go on.
    fleet.things.rope("r", &["x>b!bad", "y>b"]);
    fleet.publish();
    spared.accept();
    assert_eq!(spared.has("rds r"), Some("x>a+y>b"));
    assert_eq!(fleet.report(&spared, Route).withheld[0].virtual_host.as_deref(), Some("x"));
}

#[test]
fn p04_what_an_older_version_names_is_kept_with_it() {
    let mut things = things();
    things.service("c", "1");
    things.rope("r", &["x>c", "y>b"]);
    let (mut fleet, mut members) = fleet(things, 3);
    fleet.things.rope("r", &["x>a!bad", "y>b"]);
    fleet.things.remove_service("c");
    fleet.publish();
    members.iter_mut().for_each(|member| member.judge("bad", NAMES_NOBODY));
    let mut spared = newcomer(&fleet, ENVOY);
    let has = ["rds r", "cds c", "eds c"].map(|what| spared.has(what));
    assert_eq!(has, [Some("x>c+y>b"), Some("1"), Some("1")]);
    // It goes when the older version does.
    fleet.things.rope("r", &["x>a", "y>b"]);
    fleet.publish();
    spared.accept();
    let has = ["rds r", "cds c"].map(|what| spared.has(what));
    assert_eq!(has, [Some("x>a+y>b"), None]);
}
