//! What a stream keeps: nothing of what the client has, as long as that is what there is.

use std::sync::Arc;

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route};
use pilot::xds::{Delta, Shared, Sotw};

use crate::driver::{Dialect, Stream};
use crate::order::envoys;
use crate::things::two_services;

fn assert_keeps_nothing<V: Dialect>(stream: &Stream<V>) {
    for kind in ResourceType::ASKED {
        let state = stream.machine.state(kind);
        assert!(state.copies.is_empty() && state.in_flight.is_empty(), "{kind}: {state:?}");
    }
}

#[test]
fn a_client_that_has_everything_costs_nothing_for_it() {
    let mut things = two_services();
    let (mut sotw, mut delta) = envoys(&mut things);
    assert_keeps_nothing(&sotw);
    assert_keeps_nothing(&delta);
    // Whatever came, changed and went.
    things.service("c", "1");
    things.endpoints("a", "2");
    things.route("r", "2", &["a", "b", "c"]);
    things.listener("m", "1", &[]);
    let set = things.publish();
    sotw.update(&set);
    delta.update(&set);
    delta.ask(Endpoint, &["c"]);
    sotw.ask(Endpoint, &["a", "b", "c"]);
    sotw.settle();
    delta.settle();
    things.remove_service("c");
    things.route("r", "3", &["a", "b"]);
    things.remove(Listener, "m");
    let set = things.publish();
    sotw.update(&set);
    delta.update(&set);
    sotw.settle();
    delta.settle();
    assert_keeps_nothing(&sotw);
    assert_keeps_nothing(&delta);
    // Nor for what it brings.
    let mut back = Stream::<Delta>::ads(&set);
    back.come_back(Cluster, &[], &["a@1", "b@1"]);
    back.come_back(Endpoint, &["a", "b"], &["a@2", "b@1"]);
    back.come_back(Listener, &[], &["l@1"]);
    back.come_back(Route, &["r"], &["r@3"]);
    assert_keeps_nothing(&back);
}

#[test]
fn clients_that_ask_for_the_same_share_the_list_of_names() {
    let (shared, mut things) = (Arc::<Shared>::default(), two_services());
    let mut streams = [(); 2].map(|()| Stream::<Delta>::beside(None, &shared));
    let mut sotw = Stream::<Sotw>::beside(None, &shared);
    let set = things.publish();
    sotw.update(&set);
    sotw.ask(Endpoint, &["b", "a", "c"]);
    for stream in &mut streams {
        stream.update(&set);
        stream.ask(Endpoint, &["a"]);
        stream.ask(Endpoint, &["c", "b"]);
    }
    let names = |stream: &Stream<Delta>| stream.machine.state(Endpoint).subscription.names().clone();
    assert!(names(&streams[0]).is_shared_with(&names(&streams[1])));
    assert!(names(&streams[0]).is_shared_with(sotw.machine.state(Endpoint).subscription.names()));
    streams[0].drop_names(Endpoint, &["b"]);
    assert!(!names(&streams[0]).is_shared_with(&names(&streams[1])));
    streams[1].drop_names(Endpoint, &["b"]);
    assert!(names(&streams[0]).is_shared_with(&names(&streams[1])));
}
