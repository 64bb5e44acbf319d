//! What the public xDS conformance harness checks, in words of our own, so that it is checked without the
//! harness: each on an aggregated stream and on one of the type alone. Versions are the server's, and an
//! answer to nothing that was asked for is a failure.

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route};
use pilot::xds::{Delta, Sotw};
use pilot_envoy_api::envoy::service::discovery::v3::DiscoveryRequest;

use crate::driver::{Dialect, Stream};
use crate::things::Things;

const NOTHING: [&str; 0] = [];

/// These resources at version 1.
fn setup(kinds: &[ResourceType], names: &[&str]) -> Things {
    let mut things = Things::default();
    things.version("1");
    for kind in kinds {
        names.iter().for_each(|name| things.put(*kind, name, "1", Vec::new()));
    }
    things
}

fn change<V: Dialect>(
    stream: &mut Stream<V>,
    things: &mut Things,
    kind: ResourceType,
    name: &str,
    version: &str,
) {
    things.put(kind, name, version, Vec::new());
    things.version(version);
    stream.update(&things.publish());
}

/// Runs a scenario for each of these types, on both kinds of streams.
fn each<V: Dialect>(
    kinds: &[ResourceType],
    names: &[&str],
    scenario: impl Fn(ResourceType, Things, Stream<V>),
) {
    for kind in kinds {
        let things = || {
            let mut things = setup(&[*kind], names);
            let set = things.publish();
            (things, set)
        };
        let (server, set) = things();
        scenario(*kind, server, Stream::ads(&set));
        let (server, set) = things();
        scenario(*kind, server, Stream::of(*kind, &set));
    }
}

fn assert_version<V: Dialect>(stream: &Stream<V>, kind: ResourceType, version: &str) {
    assert_eq!(stream.last(kind).version, version);
}

#[test]
fn sotw_a_wildcard_gets_everything_then_updates_then_additions_in_one_response_each() {
    each::<Sotw>(&[Cluster, Listener], &["A", "B", "C"], |kind, mut things, mut stream| {
        stream.ask(kind, &[]);
        assert_eq!(stream.settle(), [format!("{kind} A@1 B@1 C@1")]);
        assert_version(&stream, kind, "1");
        change(&mut stream, &mut things, kind, "A", "2");
        assert_eq!(stream.settle(), [format!("{kind} A@2 B@1 C@1")]);
        assert_version(&stream, kind, "2");
        change(&mut stream, &mut things, kind, "D", "3");
        assert_eq!(stream.settle(), [format!("{kind} A@2 B@1 C@1 D@3")]);
        assert_version(&stream, kind, "3");
    });
}

#[test]
fn sotw_names_get_their_resources_and_those_changes_only() {
    each::<Sotw>(&ResourceType::ASKED, &["A", "B", "C", "D"], |kind, mut things, mut stream| {
        stream.ask(kind, &["B", "D"]);
        assert_eq!(stream.settle(), [format!("{kind} B@1 D@1")]);
        change(&mut stream, &mut things, kind, "B", "2");
        let full = if kind.has_wildcard() { " D@1" } else { "" };
        assert_eq!(stream.settle(), [format!("{kind} B@2{full}")]);
        assert_version(&stream, kind, "2");
        change(&mut stream, &mut things, kind, "A", "3");
        assert_eq!(stream.settle(), NOTHING);
    });
}

#[test]
fn sotw_a_name_that_does_not_exist_is_sent_once_it_does() {
    each::<Sotw>(&ResourceType::ASKED, &["A", "B", "C"], |kind, mut things, mut stream| {
        stream.ask(kind, &["A", "Z"]);
        assert_eq!(stream.settle(), [format!("{kind} A@1")]);
        change(&mut stream, &mut things, kind, "Z", "2");
        let full = if kind.has_wildcard() { "A@1 " } else { "" };
        assert_eq!(stream.settle(), [format!("{kind} {full}Z@2")]);
        assert_version(&stream, kind, "2");
    });
}

#[test]
fn sotw_fewer_names_get_fewer_resources() {
    each::<Sotw>(&ResourceType::ASKED, &["A", "B", "C", "D"], |kind, mut things, mut stream| {
        stream.ask(kind, &["A", "B", "C"]);
        stream.settle();
        stream.ask(kind, &["A"]);
        change(&mut stream, &mut things, kind, "A", "2");
        assert_eq!(stream.settle(), [format!("{kind} A@2")]);
        change(&mut stream, &mut things, kind, "B", "3");
        assert_eq!(stream.settle(), NOTHING);
    });
}

#[test]
fn sotw_unsubscribing_from_everything_ends_all_updates() {
    each::<Sotw>(&ResourceType::ASKED, &["A", "B", "C", "D"], |kind, mut things, mut stream| {
        stream.ask(kind, &["A", "B"]);
        stream.settle();
        stream.ask(kind, &[""]);
        change(&mut stream, &mut things, kind, "B", "2");
        assert_eq!(stream.settle(), NOTHING);
    });
}

#[test]
fn sotw_two_types_on_one_stream_do_not_wait_for_each_other() {
    for (one, two) in [(Cluster, Listener), (Route, Endpoint)] {
        let mut things = setup(&[one, two], &["A", "B", "C"]);
        let mut stream = Stream::<Sotw>::ads(&things.publish());
        stream.ask(one, &["B"]);
        stream.ack(one);
        stream.ask(two, &["B"]);
        assert_eq!(stream.received(), [format!("{one} B@1"), format!("{two} B@1")]);
        // An acknowledgement of the second response under the first one's type is no request.
        let nonce = stream.last(two).nonce.clone();
        let wrong = DiscoveryRequest {
            type_url: one.type_url().to_owned(),
            resource_names: vec!["B".to_owned()],
            response_nonce: nonce,
            version_info: "1".to_owned(),
            ..Default::default()
        };
        stream.request(wrong);
        assert_eq!(stream.received(), NOTHING);
        change(&mut stream, &mut things, one, "B", "2");
        assert_eq!(stream.received(), [format!("{one} B@2")], "though {two} was never acknowledged");
        assert_version(&stream, one, "2");
    }
}

#[test]
fn delta_names_come_one_after_the_other() {
    each::<Delta>(&ResourceType::ASKED, &["A", "B", "C"], |kind, _, mut stream| {
        stream.ask(kind, &["A"]);
        assert_eq!(stream.settle(), [format!("{kind} A@1")]);
        stream.ask(kind, &["B"]);
        assert_eq!(stream.settle(), [format!("{kind} B@1")]);
        assert_version(&stream, kind, "1");
    });
}

#[test]
fn delta_an_update_brings_only_what_changed() {
    each::<Delta>(&ResourceType::ASKED, &["A", "B", "C"], |kind, mut things, mut stream| {
        stream.ask(kind, &["A", "B", "C"]);
        stream.settle();
        let first = stream.last(kind).nonce.clone();
        change(&mut stream, &mut things, kind, "A", "2");
        assert_eq!(stream.settle(), [format!("{kind} A@2")]);
        assert_version(&stream, kind, "2");
        assert_ne!(stream.last(kind).nonce, first);
    });
}

#[test]
fn delta_a_missing_name_is_told_and_then_sent_at_the_same_version() {
    each::<Delta>(&ResourceType::ASKED, &["A"], |kind, mut things, mut stream| {
        stream.ask(kind, &["A", "B"]);
        assert_eq!(stream.settle(), [format!("{kind} A@1 -B")]);
        change(&mut stream, &mut things, kind, "B", "1");
        assert_eq!(stream.settle(), [format!("{kind} B@1")]);
        assert_version(&stream, kind, "1");
    });
}

#[test]
fn delta_a_removal_is_told_and_the_name_can_come_back() {
    each::<Delta>(&ResourceType::ASKED, &["A", "B"], |kind, mut things, mut stream| {
        stream.ask(kind, &["A", "B"]);
        stream.settle();
        things.remove(kind, "B");
        stream.update(&things.publish());
        assert_eq!(stream.settle(), [format!("{kind} -B")]);
        change(&mut stream, &mut things, kind, "B", "2");
        assert_eq!(stream.settle(), [format!("{kind} B@2")]);
    });
}

#[test]
fn delta_unsubscribed_names_get_no_updates() {
    each::<Delta>(&ResourceType::ASKED, &["A", "B"], |kind, mut things, mut stream| {
        stream.ask(kind, &["A", "B"]);
        stream.settle();
        for name in ["B", "A"] {
            stream.drop_names(kind, &[name]);
            change(&mut stream, &mut things, kind, name, "2");
            assert_eq!(stream.settle(), NOTHING);
        }
    });
}

#[test]
fn delta_two_types_on_one_stream_do_not_wait_for_each_other() {
    for (one, two) in [(Cluster, Listener), (Listener, Cluster), (Route, Endpoint), (Endpoint, Route)] {
        let mut things = setup(&[one, two], &["A", "B", "C"]);
        let mut stream = Stream::<Delta>::ads(&things.publish());
        stream.ask(one, &["B"]);
        stream.ask(two, &["B"]);
        assert_eq!(stream.received(), [format!("{one} B@1"), format!("{two} B@1")]);
        for kind in [one, two] {
            stream.ack(kind);
            change(&mut stream, &mut things, kind, "B", "2");
            assert_eq!(stream.received(), [format!("{kind} B@2")]);
        }
    }
}
