//! State of the world, one machine, rule by rule.

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route};
use pilot::xds::{Answer, Refusal, Sotw};
use pilot_envoy_api::envoy::service::discovery::v3::DiscoveryRequest;

use crate::driver::{LIMITS, Stream};
use crate::things::{Things, two_services};

const NOTHING: [&str; 0] = [];

fn clusters(names: &[&str]) -> Things {
    let mut things = Things::default();
    names.iter().for_each(|name| things.dns_cluster(name, "1"));
    things
}

#[test]
fn p02_a_stale_request_is_not_answered() {
    let mut things = clusters(&["a", "b"]);
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Cluster, &["a"]);
    let first = stream.last(Cluster).nonce.clone();
    stream.ack(Cluster);
    things.dns_cluster("a", "2");
    stream.update(&things.publish());
    assert_eq!(stream.received(), ["cds a@1", "cds a@2"]);

    // Written before the second response arrived: neither an answer to it nor a subscription.
    let stale = stream.request_for(Cluster, &["a", "b"], &first);
    assert_eq!(stream.request(stale).answer, None);
    assert_eq!(stream.received(), NOTHING);

    // The client says it again in its answer to the second.
    stream.ask(Cluster, &["a", "b"]);
    assert_eq!(stream.received(), ["cds a@2 b@1"]);
}

#[test]
fn p02_a_nonce_of_another_type_is_stale_and_begins_nothing() {
    let mut things = two_services();
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Route, &["r"]);
    let nonce = stream.last(Route).nonce.clone();
    let wrong_type = stream.request_for(Endpoint, &["a"], &nonce);
    stream.request(wrong_type);
    assert_eq!(stream.received(), ["rds r@1"]);
    stream.ack(Route);
    stream.ask(Endpoint, &["a"]);
    assert_eq!(stream.received(), ["eds a@1"]);
}

#[test]
fn p02_a_nonce_of_an_earlier_stream_does_not_shut_a_client_out() {
    let mut stream = Stream::<Sotw>::ads(&clusters(&["a"]).publish());
    let request = stream.request_for(Cluster, &[], "a-nonce-of-long-ago");
    stream.request(request);
    assert_eq!(stream.received(), ["cds a@1"]);
}

#[test]
fn p04_l19_a_nack_is_not_answered_until_the_content_changes() {
    for (kind, names) in [(Cluster, &[][..]), (Route, &["x"]), (Endpoint, &["x"]), (Listener, &["x"])] {
        let mut things = Things::default();
        things.put(kind, "x", "1", Vec::new());
        let mut stream = Stream::<Sotw>::ads(&things.publish());
        stream.ask(kind, names);
        stream.ack(kind);
        things.put(kind, "x", "bad", Vec::new());
        stream.update(&things.publish());
        let first = format!("{kind} x@1");
        assert_eq!(stream.received(), [first.clone(), format!("{kind} x@bad")]);

        // As Envoy does it: the accepted version, the rejected response's nonce, the reason.
        let outcome = stream.nack(kind);
        assert!(matches!(outcome.answer, Some(Answer::Nack { message, .. }) if message == "no good"));
        stream.ask(kind, names);
        assert_eq!(stream.received(), NOTHING, "{kind}");

        things.put(kind, "x", "1", Vec::new());
        stream.update(&things.publish());
        assert_eq!(stream.received(), NOTHING, "{kind}: that is what it still has");
        things.put(kind, "x", "2", Vec::new());
        stream.update(&things.publish());
        assert_eq!(stream.settle(), [format!("{kind} x@2")]);
    }
}

#[test]
fn p04_the_very_first_response_may_be_rejected() {
    let mut things = clusters(&["a"]);
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Cluster, &[]);
    stream.nack(Cluster);
    assert_eq!(stream.received(), ["cds a@1"]);
    things.dns_cluster("a", "2");
    stream.update(&things.publish());
    assert_eq!(stream.received(), ["cds a@2"]);
}

#[test]
fn p04_a_nack_that_changes_the_subscription_does_both() {
    let mut things = two_services();
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Endpoint, &["a"]);
    let nonce = stream.last(Endpoint).nonce.clone();
    let request = DiscoveryRequest {
        error_detail: Some(Default::default()),
        ..stream.request_for(Endpoint, &["a", "b"], &nonce)
    };
    let outcome = stream.request(request);
    assert!(matches!(outcome.answer, Some(Answer::Nack { .. })));
    assert_eq!(stream.received(), ["eds a@1", "eds b@1"]);
}

#[test]
fn p02_an_empty_nonce_in_mid_stream_is_a_first_request() {
    let mut things = two_services();
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Cluster, &["a"]);
    stream.ask(Endpoint, &["a"]);
    stream.settle();
    stream.ask_anew(Cluster, &[]);
    assert_eq!(
        stream.settle(),
        ["cds a@1 b@1", "eds a@1"],
        "all, and the endpoints because the cluster warms"
    );
    stream.ask_anew(Endpoint, &["a", "b"]);
    assert_eq!(stream.settle(), ["eds a@1 b@1"]);
    // Also while a response is unanswered.
    things.endpoints("a", "2");
    stream.update(&things.publish());
    stream.ask_anew(Endpoint, &["a"]);
    assert_eq!(stream.received(), ["eds a@2", "eds a@2"]);
}

#[test]
fn p05_an_empty_first_list_is_the_wildcard_for_cds_and_lds_only() {
    let mut things = two_services();
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    for kind in ResourceType::ASKED {
        stream.ask(kind, &[]);
    }
    stream.ack(Cluster);
    stream.end_patience();
    assert_eq!(stream.received(), ["cds a@1 b@1", "lds l@1"]);
}

#[test]
fn p05_once_names_were_given_an_empty_list_means_nothing() {
    let mut things = clusters(&["a", "b"]);
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Cluster, &[]);
    stream.ack(Cluster);
    stream.ask(Cluster, &["*", "a"]);
    stream.ask(Cluster, &["a"]);
    stream.settle();
    things.dns_cluster("b", "2");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), NOTHING, "only a is wanted");
    things.dns_cluster("a", "2");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), ["cds a@2"]);

    stream.ask(Cluster, &[]);
    things.dns_cluster("a", "3");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), NOTHING, "nothing is wanted");
    stream.ask(Cluster, &["*"]);
    assert_eq!(stream.settle(), ["cds a@3 b@2"]);
}

#[test]
fn p05_an_empty_name_subscribes_to_nothing() {
    let mut things = clusters(&["a"]);
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Cluster, &[""]);
    assert_eq!(stream.settle(), NOTHING);
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Cluster, &["a"]);
    stream.ack(Cluster);
    stream.ask(Cluster, &[""]);
    things.dns_cluster("a", "2");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), ["cds a@1"]);
}

#[test]
fn p05_a_resource_by_name_only_is_not_in_the_wildcard() {
    let mut things = clusters(&["a"]);
    things.by_name_only(Cluster, "hidden", "1");
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Cluster, &[]);
    stream.ack(Cluster);
    stream.ask(Cluster, &["*", "hidden"]);
    assert_eq!(stream.received(), ["cds a@1", "cds a@1 hidden@1"]);
}

#[test]
fn p05_what_leaves_the_wildcard_is_removed() {
    let mut things = clusters(&["a", "b"]);
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Cluster, &[]);
    stream.ack(Cluster);
    things.by_name_only(Cluster, "b", "1");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), ["cds a@1 b@1", "cds a@1"]);
}

#[test]
fn p11_l18_removing_the_last_resource_sends_an_empty_response_once() {
    for kind in [Cluster, Listener] {
        let mut things = Things::default();
        things.put(kind, "x", "1", Vec::new());
        let mut stream = Stream::<Sotw>::ads(&things.publish());
        stream.ask(kind, &[]);
        stream.ack(kind);
        things.remove(kind, "x");
        stream.update(&things.publish());
        assert_eq!(stream.settle(), [format!("{kind} x@1"), format!("{kind}")]);
        stream.ask(kind, &[]);
        assert_eq!(stream.settle(), NOTHING);
    }
}

#[test]
fn p11_a_client_that_asks_is_told_that_there_is_nothing() {
    let mut things = clusters(&[]);
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Cluster, &[]);
    stream.ask(Listener, &["xds-name"]);
    assert_eq!(stream.settle(), ["cds", "lds"]);
}

#[test]
fn p12_only_what_changed_is_sent_of_eds_and_rds() {
    let mut things = two_services();
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Endpoint, &["a"]);
    stream.ack(Endpoint);
    stream.ask(Endpoint, &["a", "b"]);
    stream.ack(Endpoint);
    things.endpoints("b", "2");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), ["eds a@1", "eds b@1", "eds b@2"]);
}

#[test]
fn p12_what_is_wanted_again_is_sent_again_though_unchanged() {
    let mut things = two_services();
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Endpoint, &["a", "b"]);
    stream.ack(Endpoint);
    stream.ask(Endpoint, &["a"]);
    stream.ask(Endpoint, &["a", "b"]);
    assert_eq!(stream.settle(), ["eds a@1 b@1", "eds b@1"]);
}

#[test]
fn p07_names_that_do_not_exist_are_remembered() {
    let mut things = two_services();
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Endpoint, &["later"]);
    stream.ask(Cluster, &["a", "later"]);
    assert_eq!(stream.settle(), ["cds a@1"]);
    things.service("later", "1");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), ["cds a@1 later@1", "eds later@1"]);
}

#[test]
fn p12_what_was_gone_and_came_back_is_sent_though_it_is_the_same() {
    let mut things = Things::default();
    things.endpoints("a", "1");
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Endpoint, &["a"]);
    stream.ack(Endpoint);
    things.remove(Endpoint, "a");
    stream.update(&things.publish());
    things.endpoints("a", "1");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), ["eds a@1", "eds a@1"]);
}

#[test]
fn p13_the_order_of_resources_is_that_of_names() {
    let mut things = clusters(&["c", "a", "b"]);
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Cluster, &["b", "c", "a", "b", "c"]);
    assert_eq!(stream.received(), ["cds a@1 b@1 c@1"]);
}

#[test]
fn p16_changes_that_come_while_a_response_is_unanswered_are_merged() {
    let mut things = clusters(&["a"]);
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Cluster, &[]);
    for content in ["2", "3", "4"] {
        things.dns_cluster("a", content);
        stream.update(&things.publish());
    }
    assert_eq!(stream.received(), ["cds a@1"]);
    stream.ack(Cluster);
    assert_eq!(stream.settle(), ["cds a@4"]);
}

#[test]
fn p17_l03_equal_bytes_send_nothing() {
    let mut things = two_services();
    let mut stream = Stream::<Sotw>::ads(&things.publish());
    stream.ask(Cluster, &[]);
    stream.ask(Endpoint, &["a", "b"]);
    stream.ask(Listener, &[]);
    stream.settle();
    // Another set with the same content, and a change that is undone before it could be sent.
    let mut again = two_services();
    stream.update(&again.publish());
    things.endpoints("a", "2");
    stream.update(&things.publish());
    assert_eq!(stream.received(), ["eds a@2"], "and no listener");
    things.endpoints("b", "2");
    stream.update(&things.publish());
    things.endpoints("b", "1");
    stream.update(&things.publish());
    assert_eq!(stream.settle(), NOTHING);
}

#[test]
fn p18_an_unknown_type_is_answered_as_empty_once_and_the_stream_goes_on() {
    let mut stream = Stream::<Sotw>::ads(&clusters(&["a"]).publish());
    let url = "type.googleapis.com/envoy.service.runtime.v3.Runtime";
    let request = |nonce: &str| DiscoveryRequest {
        type_url: url.to_owned(),
        resource_names: vec!["cert".to_owned()],
        response_nonce: nonce.to_owned(),
        ..Default::default()
    };
    assert_eq!(stream.request(request("")).kind, None);
    stream.request(request("1"));
    stream.ask(Cluster, &[]);
    assert_eq!(stream.received(), [url, "cds a@1"]);
}

#[test]
fn p18_types_without_end_are_refused() {
    let mut stream = Stream::<Sotw>::ads(&clusters(&[]).publish());
    let request = |url: String| DiscoveryRequest { type_url: url, ..Default::default() };
    let refused = (0..10_000).find_map(|n| stream.try_request(request(format!("type/{n}"))).err());
    assert_eq!(refused, Some(Refusal::TooManyTypes));
}

#[test]
fn p19_more_names_than_the_limit_are_refused() {
    let mut stream = Stream::<Sotw>::ads(&clusters(&[]).publish());
    let names: Vec<String> = (0..=LIMITS.max_names).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let request = stream.request_for(Endpoint, &names, "");
    let refused = stream.try_request(request).unwrap_err();
    assert_eq!(refused, Refusal::TooManyNames { kind: Endpoint, names: 101, max: 100 });
}

#[test]
fn p19_names_and_types_that_are_too_long_are_refused() {
    let mut stream = Stream::<Sotw>::ads(&clusters(&["a"]).publish());
    let request = stream.request_for(Endpoint, &["short", &"x".repeat(4097)], "");
    let refused = stream.try_request(request).unwrap_err();
    assert_eq!(refused, Refusal::TooLong { part: "a resource name", bytes: 4097, max: 4096 });
    let request = DiscoveryRequest { type_url: "x".repeat(513), ..Default::default() };
    let refused = stream.try_request(request).unwrap_err();
    assert_eq!(refused.to_string(), "a type_url of 513 bytes: at most 512 are allowed");
    stream.ask(Endpoint, &["x".repeat(4096).as_str()]);
}

#[test]
fn p20_l12_nothing_is_answered_before_it_is_known() {
    let mut stream = Stream::<Sotw>::new(None);
    stream.ask(Cluster, &[]);
    stream.ask(Endpoint, &["a"]);
    stream.ask(Listener, &[]);
    assert_eq!(stream.received(), NOTHING);
    stream.update(&two_services().publish());
    assert_eq!(stream.settle(), ["cds a@1 b@1", "eds a@1", "lds l@1"]);
}

#[test]
fn a_stream_of_one_type_refuses_others_and_an_aggregated_one_needs_a_type() {
    let set = clusters(&["a"]).publish();
    let mut stream = Stream::<Sotw>::of(Cluster, &set);
    let request = stream.request_for(Route, &["r"], "");
    assert!(matches!(stream.try_request(request), Err(Refusal::WrongType { .. })));
    stream.request(DiscoveryRequest::default());
    assert_eq!(stream.received(), ["cds a@1"], "on such a stream the type may be left out");
    let mut stream = Stream::<Sotw>::ads(&set);
    assert_eq!(stream.try_request(DiscoveryRequest::default()), Err(Refusal::NoType));
}
