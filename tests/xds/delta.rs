//! Delta, one machine, rule by rule.

use pilot::resources::ResourceType::{Cluster, Endpoint, Listener, Route};
use pilot::xds::{Answer, Delta, Refusal};
use pilot_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use crate::driver::{LIMITS, Stream, delta_request};
use crate::things::{Things, two_services};

const NOTHING: [&str; 0] = [];

fn clusters(names: &[&str]) -> Things {
    let mut things = Things::default();
    names.iter().for_each(|name| things.dns_cluster(name, "1"));
    things
}

#[test]
fn p03_a_stale_request_still_changes_the_subscription() {
    let mut things = clusters(&["a", "b", "c"]);
    let mut stream = Stream::<Delta>::ads(&things.publish());
    stream.ask(Cluster, &["a"]);
    let first = stream.last(Cluster).nonce.clone();
    stream.ack(Cluster);
    things.dns_cluster("a", "2");
    stream.update(&things.publish());
    let stale = DeltaDiscoveryRequest { response_nonce: first, ..delta_request(Cluster, &["b"], &[]) };
    assert_eq!(stream.request(stale).answer, None, "it answers no response");
    stream.ask(Cluster, &["c"]);
    assert_eq!(stream.received(), ["cds a@1", "cds a@2", "cds b@1", "cds c@1"]);
}

#[test]
fn p04_l19_a_nack_is_not_answered_until_the_content_changes() {
    for kind in [Cluster, Endpoint, Listener, Route] {
        let mut things = Things::default();
        things.put(kind, "x", "bad", Vec::new());
        things.put(kind, "y", "1", Vec::new());
        let mut stream = Stream::<Delta>::ads(&things.publish());
        stream.ask(kind, &["x"]);
        let outcome = stream.nack(kind);
        assert!(matches!(outcome.answer, Some(Answer::Nack { .. })));
        stream.ask(kind, &["y"]);
        stream.ack(kind);
        assert_eq!(stream.received(), [format!("{kind} x@bad"), format!("{kind} y@1")]);
        things.put(kind, "x", "good", Vec::new());
        stream.update(&things.publish());
        assert_eq!(stream.settle(), [format!("{kind} x@good")]);
    }
}

#[test]
fn p04_what_was_refused_together_with_something_bad_is_told_again() {
    let mut things = clusters(&["a"]);
    let mut stream = Stream::<Delta>::ads(&things.publish());
    stream.ask(Cluster, &[]);
    stream.ack(Cluster);
    things.remove(Cluster, "a");
    things.dns_cluster("bad", "1");
    stream.update(&things.publish());
    things.remove(Cluster, "bad");
    stream.update(&things.publish());
    stream.nack(Cluster);
    assert_eq!(stream.settle(), ["cds a@1", "cds bad@1 -a", "cds -a"], "bad is not there, nor was it taken");
}

#[test]
fn p05_names_and_the_wildcard_may_be_combined() {
    let mut things = clusters(&["a", "b"]);
    things.by_name_only(Cluster, "hidden", "1");
    let mut stream = Stream::<Delta>::ads(&things.publish());
    stream.ask(Cluster, &[]);
    assert_eq!(stream.settle(), ["cds a@1 b@1"]);
    stream.ask(Cluster, &["a", "hidden"]);
    assert_eq!(stream.settle(), ["cds a@1 hidden@1"]);
    stream.drop_names(Cluster, &["*"]);
    assert_eq!(stream.settle(), NOTHING);
    things.dns_cluster("a", "2");
    things.dns_cluster("b", "2");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), ["cds a@2"], "unsubscribing the wildcard keeps the names");
    stream.drop_names(Cluster, &["a", "hidden"]);
    stream.request(delta_request(Cluster, &[], &[]));
    things.dns_cluster("a", "3");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), NOTHING, "an empty list no longer means everything");
    stream.ask(Cluster, &["*"]);
    assert_eq!(stream.settle(), ["cds a@3 b@2"]);
}

#[test]
fn p05_only_clusters_and_listeners_have_a_wildcard_without_a_name() {
    let mut stream = Stream::<Delta>::ads(&two_services().publish());
    stream.ask(Endpoint, &[]);
    stream.ask(Route, &[]);
    assert_eq!(stream.settle(), NOTHING);
    stream.ask(Listener, &[]);
    assert_eq!(stream.settle(), ["lds l@1"]);
}

#[test]
fn p06_a_name_that_is_asked_for_again_is_sent_again() {
    let mut stream = Stream::<Delta>::ads(&two_services().publish());
    stream.ask(Endpoint, &["a", "b"]);
    stream.ack(Endpoint);
    stream.ask(Endpoint, &["b"]);
    assert_eq!(stream.settle(), ["eds a@1 b@1", "eds b@1"]);
}

#[test]
fn p07_a_name_that_does_not_exist_is_answered_and_sent_when_it_is_created() {
    for kind in [Cluster, Endpoint, Listener, Route] {
        let mut things = Things::default();
        let mut stream = Stream::<Delta>::ads(&things.publish());
        stream.ask(kind, &["x"]);
        things.put(kind, "x", "1", Vec::new());
        stream.update(&things.publish());
        assert_eq!(stream.settle(), [format!("{kind} -x"), format!("{kind} x@1")]);
    }
}

#[test]
fn p08_unsubscribing_from_a_name_that_the_wildcard_matches_is_answered() {
    let mut things = clusters(&["a"]);
    things.by_name_only(Cluster, "hidden", "1");
    let mut stream = Stream::<Delta>::ads(&things.publish());
    stream.ask(Cluster, &["*", "a", "hidden", "gone"]);
    assert_eq!(stream.settle(), ["cds a@1 hidden@1 -gone"]);
    stream.drop_names(Cluster, &["a"]);
    stream.drop_names(Cluster, &["hidden", "gone"]);
    assert_eq!(stream.settle(), ["cds a@1", "cds -gone -hidden"]);
}

#[test]
fn p09_a_needless_unsubscription_is_tolerated_and_none_is_answered() {
    let mut stream = Stream::<Delta>::ads(&two_services().publish());
    stream.ask(Cluster, &[]);
    stream.ask(Endpoint, &["a", "b"]);
    stream.settle();
    stream.drop_names(Endpoint, &["a", "never"]);
    stream.drop_names(Cluster, &["never", "a"]);
    stream.drop_names(Route, &["never"]);
    assert_eq!(stream.settle(), NOTHING);
}

#[test]
fn p10_what_a_client_brings_is_not_sent_again() {
    let mut stream = Stream::<Delta>::of(Cluster, &clusters(&["a", "b", "c"]).publish());
    stream.come_back(Cluster, &[], &["a@1", "b@0", "gone@1"]);
    assert_eq!(stream.settle(), ["cds b@1 c@1 -gone"]);

    let mut things = two_services();
    things.endpoints("b", "2");
    let mut stream = Stream::<Delta>::ads(&things.publish());
    stream.come_back(Cluster, &["*"], &["a@1", "b@1"]);
    stream.come_back(Endpoint, &["a", "b"], &["a@1", "b@1"]);
    assert_eq!(stream.settle(), ["eds b@2"]);
    things.cluster("a", "2");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), ["cds a@2", "eds a@1"]);
}

#[test]
fn p10_what_a_client_brings_is_compared_also_when_nothing_is_known_yet() {
    let mut stream = Stream::<Delta>::new(None);
    stream.come_back(Cluster, &[], &["a@1", "b@0"]);
    stream.come_back(Endpoint, &["a", "b"], &["a@1", "b@1"]);
    assert_eq!(stream.received(), NOTHING);
    stream.update(&two_services().publish());
    assert_eq!(stream.received(), ["cds b@1", "eds b@1"], "the endpoints because the cluster warms");
}

#[test]
fn p13_a_name_is_in_a_response_once_and_in_order() {
    let mut stream = Stream::<Delta>::ads(&clusters(&["c", "a", "b"]).publish());
    stream.request(delta_request(Cluster, &["c", "*", "c", "z", "z"], &["y", "y"]));
    assert_eq!(stream.received(), ["cds a@1 b@1 c@1 -z"]);
}

#[test]
fn p16_changes_that_come_while_a_response_is_unanswered_are_merged() {
    let mut things = clusters(&["a", "b"]);
    let mut stream = Stream::<Delta>::ads(&things.publish());
    stream.ask(Cluster, &[]);
    things.dns_cluster("a", "2");
    stream.update(&things.publish());
    things.dns_cluster("a", "3");
    things.remove(Cluster, "b");
    things.dns_cluster("c", "1");
    stream.update(&things.publish());
    things.remove(Cluster, "c");
    stream.update(&things.publish());
    assert_eq!(stream.received(), ["cds a@1 b@1"]);
    assert_eq!(stream.settle(), ["cds a@3 -b"]);
}

#[test]
fn p17_l03_equal_bytes_send_nothing() {
    let mut things = two_services();
    let mut stream = Stream::<Delta>::ads(&things.publish());
    stream.ask(Cluster, &[]);
    stream.ask(Endpoint, &["a", "b"]);
    stream.ask(Listener, &[]);
    stream.settle();
    things.endpoints("a", "2");
    stream.update(&things.publish());
    things.endpoints("b", "2");
    stream.update(&things.publish());
    things.endpoints("b", "1");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), ["eds a@2"], "b is what it was, and no listener is touched");
}

#[test]
fn p18_names_of_an_unknown_type_do_not_exist() {
    let mut stream = Stream::<Delta>::ads(&clusters(&["a"]).publish());
    let url = "type.googleapis.com/envoy.service.runtime.v3.Runtime";
    let request = |names: &[&str]| DeltaDiscoveryRequest {
        type_url: url.to_owned(),
        ..delta_request(Cluster, names, &[])
    };
    stream.request(request(&["one", "*"]));
    stream.request(request(&[]));
    stream.request(request(&["two"]));
    stream.ask(Cluster, &[]);
    assert_eq!(stream.received(), [&format!("{url} -one"), &format!("{url} -two"), "cds a@1"]);
}

#[test]
fn p19_more_names_than_the_limit_are_refused_however_they_come() {
    let many: Vec<String> = (0..=LIMITS.max_names).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let held: Vec<String> = many.iter().map(|name| format!("{name}@1")).collect();
    let set = clusters(&["a"]).publish();
    let refused = |request: DeltaDiscoveryRequest| Stream::<Delta>::ads(&set).try_request(request);
    let expected = Err(Refusal::TooManyNames { kind: Endpoint, names: 101, max: 100 });
    assert_eq!(refused(delta_request(Endpoint, &many, &[])), expected);
    assert_eq!(refused(delta_request(Endpoint, &[], &many)), expected);
    let initial_resource_versions = held.into_iter().map(|held| (held, String::new())).collect();
    let claims = DeltaDiscoveryRequest { initial_resource_versions, ..delta_request(Endpoint, &[], &[]) };
    assert_eq!(refused(claims), expected);

    // One by one, and the same names again, which are no more than before.
    let mut stream = Stream::<Delta>::ads(&set);
    stream.ask(Endpoint, &many[..60]);
    stream.ask(Endpoint, &many[..60]);
    let refused = stream.try_request(delta_request(Endpoint, &many[60..], &[]));
    assert_eq!(refused, expected);
}

#[test]
fn p19_names_that_are_too_long_are_refused_however_they_come() {
    let set = clusters(&["a"]).publish();
    let refused = |request: DeltaDiscoveryRequest| Stream::<Delta>::ads(&set).try_request(request);
    let (long, short) = ("x".repeat(4097), "x".to_owned());
    let expected = Err(Refusal::TooLong { part: "a resource name", bytes: 4097, max: 4096 });
    assert_eq!(refused(delta_request(Endpoint, &["short", &long], &[])), expected);
    assert_eq!(refused(delta_request(Endpoint, &[], &[&long])), expected);
    for claim in [(long.clone(), short.clone()), (short, long.clone())] {
        let initial_resource_versions = [claim].into();
        let request =
            DeltaDiscoveryRequest { initial_resource_versions, ..delta_request(Endpoint, &[], &[]) };
        assert_eq!(refused(request), expected);
    }
    let type_url = "type.googleapis.com/no.such.Type".to_owned();
    let unknown = DeltaDiscoveryRequest { type_url, ..delta_request(Endpoint, &[&long], &[]) };
    assert_eq!(refused(unknown), expected);
}

#[test]
fn p09_many_names_go_at_once_and_no_others_with_them() {
    let names = ["a", "b", "c", "d", "e"];
    let mut things = clusters(&names);
    let mut stream = Stream::<Delta>::ads(&things.publish());
    stream.ask(Cluster, &names);
    assert_eq!(stream.settle(), ["cds a@1 b@1 c@1 d@1 e@1"]);
    stream.request(delta_request(Cluster, &[], &["d", "never", "b", "d", ""]));
    names.iter().for_each(|name| things.dns_cluster(name, "2"));
    stream.update(&things.publish());
    assert_eq!(stream.settle(), ["cds a@2 c@2 e@2"]);
}

#[test]
fn p08_a_name_and_the_wildcard_that_go_together_are_both_gone() {
    for dropped in [["a", "*"], ["*", "a"]] {
        let mut things = clusters(&["a", "b"]);
        let mut stream = Stream::<Delta>::ads(&things.publish());
        stream.ask(Cluster, &["*", "a"]);
        assert_eq!(stream.settle(), ["cds a@1 b@1"]);
        stream.request(delta_request(Cluster, &[], &dropped));
        things.dns_cluster("a", "2");
        stream.update(&things.publish());
        assert_eq!(stream.settle(), NOTHING, "{dropped:?}");
    }
}

#[test]
fn p20_l12_nothing_is_answered_before_it_is_known() {
    let mut stream = Stream::<Delta>::new(None);
    stream.ask(Cluster, &[]);
    stream.ask(Endpoint, &["a", "never"]);
    assert_eq!(stream.received(), NOTHING);
    stream.update(&two_services().publish());
    assert_eq!(stream.settle(), ["cds a@1 b@1", "eds a@1 -never"]);
}

#[test]
fn l18_a_wildcard_of_nothing_is_answered_once_with_nothing() {
    let mut stream = Stream::<Delta>::ads(&clusters(&[]).publish());
    stream.ask(Cluster, &[]);
    assert_eq!(stream.settle(), ["cds"]);
    stream.request(delta_request(Cluster, &[], &[]));
    assert_eq!(stream.settle(), NOTHING);
}

#[test]
fn p13_what_leaves_the_wildcard_and_is_then_asked_for_is_sent_and_not_removed() {
    let mut things = clusters(&["a"]);
    let mut stream = Stream::<Delta>::ads(&things.publish());
    stream.ask(Cluster, &[]);
    things.by_name_only(Cluster, "a", "2");
    stream.update(&things.publish());
    stream.ask(Cluster, &["a"]);
    assert_eq!(stream.settle(), ["cds a@1", "cds a@2"]);
}

#[test]
fn what_leaves_the_wildcard_is_removed() {
    let mut things = clusters(&["a", "b"]);
    let mut stream = Stream::<Delta>::ads(&things.publish());
    stream.ask(Cluster, &[]);
    things.by_name_only(Cluster, "b", "1");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), ["cds a@1 b@1", "cds -b"]);
}

#[test]
fn p06_the_wildcard_that_is_asked_for_again_is_sent_again() {
    let mut stream = Stream::<Delta>::ads(&clusters(&["a", "b"]).publish());
    stream.ask(Cluster, &[]);
    stream.settle();
    stream.ask(Cluster, &["*"]);
    assert_eq!(stream.settle(), ["cds a@1 b@1"]);
}

#[test]
fn p16_a_new_subscription_is_answered_though_a_response_is_unanswered() {
    let mut stream = Stream::<Delta>::ads(&two_services().publish());
    stream.ask(Endpoint, &["a"]);
    stream.ask(Endpoint, &["b", "never"]);
    stream.ask(Endpoint, &["a"]);
    assert_eq!(stream.received(), ["eds a@1", "eds b@1 -never", "eds a@1"]);
}

/// By the letter: a wildcard is a first request that subscribes to no name.
#[test]
fn p05_a_first_request_that_only_unsubscribes_is_a_wildcard() {
    let mut stream = Stream::<Delta>::ads(&clusters(&["a", "b"]).publish());
    stream.drop_names(Cluster, &["a"]);
    assert_eq!(stream.settle(), ["cds a@1 b@1"]);
}

#[test]
fn p05_a_star_is_everything_of_any_type() {
    let mut stream = Stream::<Delta>::ads(&two_services().publish());
    stream.ask(Endpoint, &["*"]);
    assert_eq!(stream.settle(), ["eds a@1 b@1"]);
}
