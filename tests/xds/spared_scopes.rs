//! What new clients are spared where not all clients see the same, and what one client can do by refusing much (P4a).

use std::net::IpAddr;
use std::sync::Arc;

use pilot::proxy::{ConfigSource, Role, Scope};
use pilot::resources::ResourceType::Cluster;
use pilot::resources::View;
use pilot::xds::builds::{Build, Builds, Stand};
use pilot::xds::older::Older;
use pilot::xds::{Rejection, Rejections};

use crate::fleet::{Fleet, Member};
use crate::things::Things;

const ENVOY: &str = "envoy 1.40.0";
const NO_TYPE: &str = "Error adding/updating cluster(s) a: no such type";

fn things(a: &str) -> Things {
    let mut things = Things::default();
    things.service("a", a);
    things.listener("l", "1", &["r"]);
    things.rope("r", &["x>a"]);
    things
}

/// That many clients in each of two namespaces, which have everything, and refuse the next version of cluster `a`.
fn two_namespaces(common: usize, shop: usize) -> (Fleet, Things, Vec<Member>) {
    let mut fleet = Fleet::new(things("1"));
    let mut of_shop = things("secret");
    fleet.publish_to_shop(&mut of_shop);
    let addresses = (1..=common).map(|at| format!("192.0.2.{at}"));
    let addresses = addresses.chain((1..=shop).map(|at| format!("203.0.113.{at}")));
    let mut members: Vec<Member> = addresses.map(|address| fleet.join(ENVOY, &address)).collect();
    members.iter_mut().for_each(Member::accept);
    fleet.things.cluster("a", "bad");
    of_shop.cluster("a", "bad");
    fleet.publish();
    fleet.publish_to_shop(&mut of_shop);
    members.iter_mut().for_each(|member| member.judge("bad", NO_TYPE));
    (fleet, of_shop, members)
}

fn newcomer(fleet: &Fleet, address: &str) -> Member {
    let mut member = fleet.join(ENVOY, address);
    member.judge("bad", NO_TYPE);
    member
}

#[test]
fn p04_an_older_version_is_given_only_to_those_who_see_what_had_it() {
    let (fleet, _, _members) = two_namespaces(0, 3);
    assert_eq!(fleet.withheld(), ["envoy 1.40.0 3 a"]);
    assert_eq!(newcomer(&fleet, "203.0.113.9").has("cds a"), Some("secret"));
    assert_eq!(newcomer(&fleet, "192.0.2.9").has("cds a"), None, "nobody who sees the same had another");
    let (fleet, _, _members) = two_namespaces(3, 3);
    assert_eq!(newcomer(&fleet, "203.0.113.9").has("cds a"), Some("secret"));
    assert_eq!(newcomer(&fleet, "192.0.2.9").has("cds a"), Some("1"));
}

/// What it got instead of the version that is no good was for its former namespace to see.
#[test]
fn p04_a_spared_client_that_moves_is_given_what_others_of_its_new_namespace_had() {
    let (fleet, _, _members) = two_namespaces(3, 3);
    let mut moving = newcomer(&fleet, "203.0.113.9");
    assert_eq!(moving.has("cds a"), Some("secret"));
    fleet.moves(&moving);
    moving.judge("bad", NO_TYPE);
    assert_eq!(moving.has("cds a"), Some("1"));
}

/// That it is no good is known of all of the kind.
#[test]
fn p04_who_refuses_a_version_counts_in_all_namespaces() {
    let (fleet, _, _members) = two_namespaces(1, 2);
    assert_eq!(fleet.withheld(), ["envoy 1.40.0 3 a"]);
    assert_eq!(newcomer(&fleet, "192.0.2.9").has("cds a"), Some("1"));
}

#[test]
fn p04_a_version_that_is_gone_from_one_namespace_is_spared_to_those_of_another() {
    let (mut fleet, mut of_shop, mut members) = two_namespaces(3, 3);
    of_shop.cluster("a", "2");
    fleet.publish_to_shop(&mut of_shop);
    members.iter_mut().for_each(|member| member.judge("bad", NO_TYPE));
    assert_eq!(newcomer(&fleet, "192.0.2.9").has("cds a"), Some("1"));
    assert_eq!(newcomer(&fleet, "203.0.113.9").has("cds a"), Some("2"));
    fleet.things.cluster("a", "2");
    fleet.publish();
    members.iter_mut().for_each(|member| member.judge("bad", NO_TYPE));
    assert_eq!(fleet.withheld(), [""; 0]);
}

fn scope() -> Scope {
    Scope::new(Role::Router, ConfigSource::Ads)
}

fn build() -> Arc<Build> {
    Builds::default().of(&ENVOY.into()).unwrap()
}

/// A view with that many clusters, and a refusal of each.
fn refusals(count: usize) -> (Arc<View>, Vec<Arc<Rejection>>) {
    let (mut things, rejections) = (Things::default(), Rejections::default());
    (0..count).for_each(|at| things.dns_cluster(&format!("c{at:04}"), "1"));
    let view = things.publish();
    let refused = view.of(Cluster).iter().map(|it| rejections.note(Cluster, it, "no good", None)).collect();
    (view, refused)
}

fn refuse(build: &Build, view: &View, rejection: &Rejection, last: u8) -> bool {
    let older = Older::of(rejection, |kind, name| view.of(kind).get(name).cloned());
    build.refused(rejection, "no good", (IpAddr::from([192, 0, 2, last]), &scope()), older)
}

/// Each stream of the build that is woken looks at all that is known.
#[test]
fn p04_a_machine_that_refuses_much_wakes_few_and_takes_the_place_of_nothing_that_is_withheld() {
    let (build, (view, refused)) = (build(), refusals(1000));
    (1..4).for_each(|last| assert!(refuse(&build, &view, &refused[0], last)));
    assert_eq!(build.withheld(&scope()).len(), 1);
    let mut news = build.subscribe();
    let mut wakes = || std::mem::replace(&mut news, build.subscribe()).has_changed().unwrap();
    let woken = refused.iter().filter(|it| refuse(&build, &view, it, 77) && wakes()).count();
    assert!((1..10).contains(&woken), "{woken}");
    assert_eq!(build.withheld(&scope()).len(), 1);
    // It is heard for all that, and so is everybody else.
    assert!(refuse(&build, &view, &refused[999], 78));
    assert!(wakes(), "others are asked whether they have it");
    refuse(&build, &view, &refused[999], 79);
    assert_eq!(build.withheld(&scope()).len(), 2);
}

#[test]
fn p04_however_many_refuse_much_nothing_that_is_withheld_is_forgotten() {
    let (build, (view, refused)) = (build(), refusals(2000));
    for rejection in &refused[..200] {
        (1..4).for_each(|last| assert!(refuse(&build, &view, rejection, last)));
    }
    for (at, rejection) in refused.iter().enumerate().skip(200) {
        refuse(&build, &view, rejection, u8::try_from(10 + at % 200).unwrap());
    }
    assert_eq!(build.withheld(&scope()).len(), 200);
    // As many as there is place for; of more, it is not even said that they count.
    for rejection in &refused[200..300] {
        (1..4).for_each(|last| _ = refuse(&build, &view, rejection, last));
    }
    assert_eq!(build.withheld(&scope()).len(), 256);
    assert!(!refuse(&build, &view, &refused[1999], 1));
}

#[test]
fn p04_who_accepts_what_nobody_is_spared_wakes_nobody() {
    let (build, (view, refused)) = (build(), refusals(1));
    refuse(&build, &view, &refused[0], 1);
    let news = build.subscribe();
    build.testify(None, |_| Stand::Accepted);
    (2..5).for_each(|last| _ = refuse(&build, &view, &refused[0], last));
    assert!(!news.has_changed().unwrap() && build.withheld(&scope()).is_empty());
}
