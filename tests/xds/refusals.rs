//! What a refusal means (P4a): who is to blame, what is sent again, and what is not.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot::proxy::{ConfigSource, Role, Scope};
use pilot::resources::ResourceType::{Cluster, Endpoint, Listener, Route};
use pilot::xds::{Delta, Shared, Sotw};
use proptest::prelude::*;

use crate::driver::Stream;
use crate::order::{NOTHING, envoys};
use crate::properties::config;
use crate::things::{Things, two_services};

pub(crate) fn clusters(names: &[&str]) -> Things {
    let mut things = Things::default();
    names.iter().for_each(|name| things.dns_cluster(name, "1"));
    things
}

fn endpoints(names: &[&str]) -> Things {
    let mut things = Things::default();
    names.iter().for_each(|name| things.endpoints(name, "1"));
    things
}

pub(crate) fn router() -> Scope {
    Scope::new(Role::Router, ConfigSource::Ads)
}

const SIX: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[test]
fn p04_the_clusters_that_envoy_names_are_to_blame_and_the_others_are_there() {
    let words = "Error adding/updating cluster(s) b: no such type, d: Invalid path: /ca.pem";
    let mut things = clusters(&["a", "b", "c", "d"]);
    let (mut sotw, mut delta) =
        (Stream::<Sotw>::ads(&things.publish()), Stream::<Delta>::ads(&things.publish()));
    sotw.ask(Cluster, &[]);
    delta.ask(Cluster, &[]);
    sotw.refuse(Cluster, words);
    delta.refuse(Cluster, words);
    assert_eq!((sotw.settle().len(), delta.settle().len()), (1, 1), "nothing is sent again");
    assert_eq!(
        (sotw.refused(Cluster), delta.refused(Cluster)),
        (vec!["b".into(), "d".into()], vec!["b".into(), "d".into()])
    );
    let told: Vec<_> =
        delta.machine.state(Cluster).refusals().map(|(_, refused)| refused.words.to_string()).collect();
    assert_eq!(told, ["b: no such type", "d: Invalid path: /ca.pem"]);
    // What else changes comes without them.
    things.dns_cluster("a", "2");
    let set = things.publish();
    sotw.update(&set);
    delta.update(&set);
    assert_eq!(sotw.settle(), ["cds a@2 c@1"]);
    assert_eq!(delta.settle(), ["cds a@2"]);
    things.dns_cluster("b", "2");
    let set = things.publish();
    sotw.update(&set);
    delta.update(&set);
    assert_eq!(sotw.settle(), ["cds a@2 b@2 c@1"]);
    assert_eq!(delta.settle(), ["cds b@2"]);
    assert_eq!((sotw.refused(Cluster), delta.refused(Cluster)), (vec!["d".to_owned()], vec!["d".to_owned()]));
}

#[test]
fn p04_a_port_that_is_taken_is_the_fault_of_one_listener_which_is_offered_again() {
    let bind = "Error adding/updating listener(s) b: cannot bind '127.0.0.1:80': Permission denied\n";
    let mut things = Things::default();
    ["a", "b", "c"].iter().for_each(|name| things.listener(name, "1", &[]));
    let mut delta = Stream::<Delta>::ads(&things.publish());
    delta.ask(Listener, &[]);
    delta.refuse(Listener, bind);
    assert_eq!(delta.refused(Listener), ["b"]);
    assert!(delta.machine.has_unbound());
    delta.received();
    // On a slow timer.
    delta.offer_unbound();
    assert_eq!(delta.received(), ["lds b@1"]);
    assert_eq!(delta.refused(Listener), ["b"], "until it is known better");
    delta.refuse(Listener, bind);
    assert_eq!(delta.received(), NOTHING, "not in a loop");
    // When another goes, it may have had the port.
    things.remove(Listener, "a");
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["lds -a", "lds b@1"]);
    assert_eq!(delta.refused(Listener), NOTHING);
    assert!(!delta.machine.has_unbound());
}

/// Another listener that goes gives back an address. It mends nothing else, and each refusal is noise in logs.
#[test]
fn p04_only_a_listener_that_cannot_have_its_address_is_offered_again_when_another_goes() {
    let words = "Error adding/updating listener(s) b: cannot bind '127.0.0.1:80': Address already in use\nc: error \
                 adding listener: 'c' has duplicate address '127.0.0.1:80' as existing listener, to check if\nd: no \
                 such filter\n";
    let mut things = Things::default();
    ["a", "b", "c", "d", "e"].iter().for_each(|name| things.listener(name, "1", &[]));
    let mut delta = Stream::<Delta>::ads(&things.publish());
    delta.ask(Listener, &[]);
    delta.refuse(Listener, words);
    delta.received();
    things.remove(Listener, "a");
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["lds -a", "lds b@1 c@1"]);
    things.remove(Listener, "e");
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["lds -e"]);
    assert_eq!(delta.refused(Listener), ["d"]);
}

#[test]
fn p04_of_endpoints_the_bad_ones_are_found_by_halves_and_the_good_ones_come_at_once() {
    let is_bad = |name: &str, _: &str| name == "b";
    let mut things = endpoints(&SIX);
    let set = things.publish();
    let (mut sotw, mut delta) = (Stream::<Sotw>::ads(&set), Stream::<Delta>::ads(&set));
    let expected = [
        "eds a@1 b@1 c@1 d@1 e@1 f@1",
        "eds a@1 b@1 c@1",
        "eds a@1",
        "eds b@1 c@1",
        "eds b@1",
        "eds c@1",
        "eds d@1 e@1 f@1",
    ];
    sotw.ask(Endpoint, &SIX);
    assert_eq!(sotw.judge(is_bad), expected);
    delta.ask(Endpoint, &SIX);
    assert_eq!(delta.judge(is_bad), expected);
    assert_eq!(
        (sotw.refused(Endpoint), delta.refused(Endpoint)),
        (vec!["b".to_owned()], vec!["b".to_owned()])
    );
    // Nothing of that is sent again when another changes, nor b by the way.
    for round in 2..5 {
        things.endpoints("f", &round.to_string());
        let set = things.publish();
        sotw.update(&set);
        delta.update(&set);
        assert_eq!(sotw.judge(is_bad), [format!("eds f@{round}")]);
        assert_eq!(delta.judge(is_bad), [format!("eds f@{round}")]);
    }
}

#[test]
fn p04_other_changes_take_turns_with_the_search() {
    let mut things = endpoints(&SIX);
    let mut delta = Stream::<Delta>::ads(&things.publish());
    delta.ask(Endpoint, &["a", "b", "c", "d", "e", "f", "x"]);
    things.endpoints("x", "1");
    delta.update(&things.publish());
    let is_bad = |name: &str, _: &str| name == "a";
    let received = delta.judge(is_bad);
    let of =
        |text: &str| received.iter().position(|it| it == text).unwrap_or_else(|| panic!("{received:#?}"));
    assert!(of("eds x@1") < of("eds b@1 c@1"), "{received:?}");
}

#[test]
fn p04_what_one_client_was_found_to_refuse_the_next_one_means_too() {
    let shared = Arc::<Shared>::default();
    let set = endpoints(&SIX).publish();
    let is_bad = |name: &str, _: &str| name == "b";
    // The rest together, and then what is known of the other client.
    for expected in [7, 3] {
        let mut delta = Stream::<Delta>::beside(None, &shared);
        delta.update(&set);
        delta.ask(Endpoint, &SIX);
        let received = delta.judge(is_bad);
        assert_eq!(
            (received.len(), delta.refused(Endpoint)),
            (expected, vec!["b".to_owned()]),
            "{received:?}"
        );
        assert_eq!(shared.rejections.list().len(), 1);
    }
    assert_eq!(shared.rejections.list().len(), 0, "no client is left that refuses it");
}

/// A client may refuse what is good: because something is wrong with it, or because it lies.
#[test]
fn p04_what_another_client_refused_is_to_blame_only_if_it_is_refused_alone() {
    let shared = Arc::<Shared>::default();
    let set = endpoints(&SIX).publish();
    let mut other = Stream::<Delta>::beside(None, &shared);
    other.update(&set);
    other.ask(Endpoint, &["a"]);
    other.nack(Endpoint);
    assert_eq!(other.refused(Endpoint), ["a"]);
    let (mut sotw, mut delta) =
        (Stream::<Sotw>::beside(None, &shared), Stream::<Delta>::beside(None, &shared));
    let is_bad = |name: &str, _: &str| name == "f";
    sotw.update(&set);
    sotw.ask(Endpoint, &SIX);
    delta.update(&set);
    delta.ask(Endpoint, &SIX);
    let trials = (sotw.judge(is_bad), delta.judge(is_bad));
    assert_eq!((sotw.refused(Endpoint), delta.refused(Endpoint)), (vec!["f".into()], vec!["f".into()]));
    assert_eq!(trials.0.last().unwrap(), "eds a@1");
    assert!(trials.0.len() <= 12 && trials.1.len() <= 12, "{trials:#?}");
}

/// The same of virtual hosts.
#[test]
fn p04_the_virtual_host_that_another_client_refused_is_to_blame_only_if_it_is_refused_alone() {
    let shared = Arc::<Shared>::default();
    let mut things = two_services();
    things.rope("r", &["v>a", "w>a", "x>a", "y>a", "z>a"]);
    let mut join = || {
        let mut stream = Stream::<Delta>::beside(None, &shared);
        stream.update(&things.publish());
        [Cluster, Listener].into_iter().for_each(|kind| _ = stream.ask(kind, &[]));
        stream.ask(Endpoint, &["a", "b"]);
        stream.ask(Route, &["r"]);
        stream.settle();
        stream
    };
    let (mut other, mut delta) = (join(), join());
    things.rope("r", &["v>a", "w>a", "x>b", "y>a", "z>a"]);
    other.update(&things.publish());
    other.nack(Route);
    assert_eq!(other.refused(Route), ["r (virtual host x)"]);
    things.rope("r", &["v>b", "w>b", "x>b", "y>b", "z>b!bad"]);
    delta.update(&things.publish());
    let trials = delta.judge(|_, content| content.contains("!bad"));
    assert_eq!(delta.refused(Route), ["r (virtual host z)"], "{trials:#?}");
    assert_eq!(delta.last(Route).resources[0].1, "v>b+w>b+x>b+y>b+z>a");
    assert!(trials.len() <= 10, "{trials:#?}");
}

const MANY: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];

proptest! {
    #![proptest_config(config())]

    /// Whatever other clients refused.
    #[test]
    fn p04_the_bad_ones_of_many_are_found_by_at_most_twice_as_many_trials(
        bad in prop::collection::btree_set(0..MANY.len(), 0..6),
        known in prop::collection::btree_set(0..MANY.len(), 0..MANY.len()),
    ) {
        let shared = Arc::<Shared>::default();
        let set = endpoints(&MANY).publish();
        for name in known.iter().map(|at| MANY[*at]) {
            let mut other = Stream::<Delta>::beside(None, &shared);
            other.update(&set);
            other.ask(Endpoint, &[name]);
            other.nack(Endpoint);
        }
        let bad: BTreeSet<&str> = bad.iter().map(|at| MANY[*at]).collect();
        let mut delta = Stream::<Delta>::beside(None, &shared);
        delta.update(&set);
        delta.ask(Endpoint, &MANY);
        let trials = delta.judge(|name, _| bad.contains(name));
        prop_assert_eq!(delta.refused(Endpoint), bad.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        prop_assert!(trials.len() <= 2 * MANY.len(), "{:#?}", trials);
    }
}

/// A full state without the others would take them from the client.
#[test]
fn p04_a_search_in_state_of_the_world_keeps_what_was_accepted() {
    let mut things = clusters(&SIX);
    let mut sotw = Stream::<Sotw>::ads(&things.publish());
    sotw.ask(Cluster, &[]);
    sotw.settle();
    SIX.iter().for_each(|name| things.dns_cluster(name, "2"));
    sotw.update(&things.publish());
    let received = sotw.judge(|name, content| name == "b" && content == "2");
    let first = "cds a@2 b@2 c@2 d@2 e@2 f@2";
    let last = "cds a@2 b@1 c@2 d@2 e@2 f@2";
    assert_eq!((received[0].as_str(), received.last().unwrap().as_str()), (first, last));
    assert!(
        received.iter().all(|it| SIX.iter().all(|name| it.contains(&format!(" {name}@")))),
        "{received:?}"
    );
}

#[test]
fn p04_equal_versions_mean_equal_content() {
    let mut things = clusters(&["a", "b"]);
    let mut sotw = Stream::<Sotw>::ads(&things.publish());
    sotw.ask(Cluster, &[]);
    sotw.settle();
    let all = sotw.last(Cluster).version.clone();
    things.dns_cluster("b", "bad");
    let set = things.publish();
    sotw.update(&set);
    sotw.refuse(Cluster, "Error adding/updating cluster(s) b: no such type");
    things.dns_cluster("a", "2");
    sotw.update(&things.publish());
    assert_eq!(sotw.settle().last().unwrap(), "cds a@2 b@1");
    let part = sotw.last(Cluster).version.clone();
    let seen = [all, set.of(Cluster).version().to_owned(), things.publish().of(Cluster).version().to_owned()];
    assert!(!seen.contains(&part), "{seen:?} {part}");
}

/// Envoy warms a cluster that changes until its endpoints come: what it has of them does.
#[test]
fn p04_a_cluster_whose_endpoints_are_refused_is_not_left_waiting() {
    let mut things = two_services();
    let (_, mut delta) = envoys(&mut things);
    things.endpoints("a", "bad");
    delta.update(&things.publish());
    delta.nack(Endpoint);
    things.cluster("a", "2");
    delta.update(&things.publish());
    assert_eq!(delta.settle(), ["eds a@bad", "cds a@2", "eds a@1"]);
    assert_eq!(delta.refused(Endpoint), ["a"]);
}

/// A client whose scope changes has of a name what those of its scope before see.
#[test]
fn p04_what_a_client_has_of_another_scope_is_nothing_for_others_of_its_own() {
    let (shared, mut things) = (Arc::<Shared>::default(), clusters(&["a"]));
    let mut delta = Stream::<Delta>::beside(None, &shared);
    delta
        .machine
        .follows(Arc::new(Scope { namespace: Some("shop".to_owned().try_into().unwrap()), ..router() }));
    delta.update(&things.publish());
    delta.ask(Cluster, &[]);
    delta.settle();
    delta.machine.follows(Arc::new(router()));
    things.dns_cluster("a", "2");
    let set = things.publish();
    delta.update(&set);
    delta.nack(Cluster);
    let rejection = Arc::clone(&shared.rejections.list()[0]);
    assert!(delta.machine.older(&rejection).is_none());
    let refused = set.of(Cluster).get("a").unwrap();
    assert!(shared.rejections.kept(Cluster, refused, &router()).is_none());
}

#[test]
fn p04_a_refusal_of_what_the_client_has_is_no_reason_to_send_anything() {
    let mut things = two_services();
    let (_, mut delta) = envoys(&mut things);
    delta.ask(Endpoint, &["a"]);
    delta.nack(Endpoint);
    things.remove(Route, "r");
    things.listener("l", "2", &[]);
    delta.update(&things.publish());
    delta.nack(Listener);
    assert_eq!(delta.refused(Endpoint), NOTHING);
    assert_eq!(delta.received(), ["eds a@1", "lds l@2"]);
}
