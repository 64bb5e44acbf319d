//! What a client may have and not tell of when it comes back (P10): what it took of a response that it refused, or whose
//! answer was lost with its stream.

use std::sync::Arc;

use pilot::resources::ResourceType::{self, Cluster, Listener};
use pilot::xds::{Delta, Shared};

use crate::driver::Stream;
use crate::order::NOTHING;
use crate::refusals::{clusters, router};
use crate::things::Things;

/// Those of which Envoy takes one and refuses another in one response.
const KINDS: [ResourceType; 2] = [Cluster, Listener];

/// What there is of one type.
struct One(ResourceType, Things);

impl One {
    fn put(&mut self, name: &str, content: &str) {
        match self.0 {
            Cluster => self.1.dns_cluster(name, content),
            _ => self.1.listener(name, content, &[]),
        }
    }

    fn remove(&mut self, name: &str) {
        self.1.remove(self.0, name);
    }

    /// Envoy's words for a refusal of `b`.
    fn refusal(&self) -> String {
        let kind = if self.0 == Cluster { "cluster" } else { "listener" };
        format!("Error adding/updating {kind}(s) b: no such type\n")
    }
}

/// A client that has `a` and `b`, and what the server remembers when it is gone.
fn clients() -> impl Iterator<Item = (One, Stream<Delta>, Arc<Shared>)> {
    KINDS.into_iter().map(|kind| {
        let (mut one, shared) = (One(kind, Things::default()), Arc::<Shared>::default());
        ["a", "b"].iter().for_each(|name| one.put(name, "1"));
        let mut delta = Stream::<Delta>::beside(None, &shared);
        delta.update(&one.1.publish());
        delta.ask(kind, &[]);
        assert_eq!(delta.settle(), [format!("{kind} a@1 b@1")]);
        (one, delta, shared)
    })
}

/// What a client is sent of the type that comes back, and says that it has both as they were.
fn told(one: &mut One, shared: &Arc<Shared>) -> Vec<String> {
    let mut delta = Stream::<Delta>::beside(None, shared);
    delta.update(&one.1.publish());
    delta.come_back(one.0, &[], &["a@1", "b@1"]);
    // Nothing is taken from it before it has told what it uses.
    KINDS.into_iter().filter(|kind| *kind != one.0).for_each(|kind| _ = delta.ask(kind, &[]));
    let own = format!("{} ", one.0);
    delta.settle().into_iter().filter(|it| it.starts_with(&own)).collect()
}

#[test]
fn p10_what_changed_in_a_refused_response_and_is_as_before_is_sent_to_who_says_that_it_has_that() {
    for (mut one, mut delta, shared) in clients() {
        one.put("a", "2");
        one.put("b", "bad");
        delta.update(&one.1.publish());
        delta.refuse(one.0, &one.refusal());
        drop(delta);
        ["a", "b"].iter().for_each(|name| one.put(name, "1"));
        assert_eq!(told(&mut one, &shared), [format!("{} a@1", one.0)]);
        assert_eq!(told(&mut one, &Arc::default()), NOTHING, "who never heard of it is believed");
    }
}

#[test]
fn p10_what_changed_in_an_unanswered_response_and_is_as_before_is_sent_to_who_says_that_it_has_that() {
    for (mut one, mut delta, shared) in clients() {
        one.put("a", "2");
        delta.update(&one.1.publish());
        drop(delta);
        one.put("a", "1");
        assert_eq!(told(&mut one, &shared), [format!("{} a@1", one.0)]);
    }
}

/// It may have let go of it, and say that it has it: Envoy's list is of what it acknowledged.
#[test]
fn p10_what_went_in_an_unanswered_response_and_is_back_is_sent_to_who_says_that_it_has_it() {
    for (mut one, mut delta, shared) in clients() {
        one.remove("a");
        delta.update(&one.1.publish());
        assert_eq!(delta.received(), [format!("{} -a", one.0)]);
        drop(delta);
        one.put("a", "1");
        assert_eq!(told(&mut one, &shared), [format!("{} a@1", one.0)]);
    }
}

#[test]
fn p10_what_came_in_an_unanswered_response_and_is_gone_is_taken_away_by_name() {
    for (mut one, mut delta, shared) in clients() {
        one.put("c", "1");
        delta.update(&one.1.publish());
        drop(delta);
        one.remove("c");
        assert_eq!(told(&mut one, &shared), [format!("{} -c", one.0)]);
    }
}

/// It is not among what the client says that it has.
#[test]
fn p04_p10_what_was_taken_from_a_refused_response_is_taken_away_by_name() {
    let shared = Arc::<Shared>::default();
    let mut things = clusters(&["a", "b"]);
    let mut first = Stream::<Delta>::beside(None, &shared);
    first.update(&things.publish());
    first.ask(Cluster, &[]);
    first.refuse(Cluster, "Error adding/updating cluster(s) b: no such type");
    things.remove(Cluster, "a");
    let mut again = Stream::<Delta>::beside(None, &shared);
    again.update(&things.publish());
    again.come_back(Cluster, &[], &["c@1"]);
    again.ask(Listener, &[]);
    assert_eq!(again.settle(), ["cds b@1", "lds", "cds -a -c"]);
    // A client that sees something else does not hear of it.
    let mut other = Stream::<Delta>::beside(None, &shared);
    other.machine.follows(Arc::new(router()));
    other.update(&things.publish());
    other.come_back(Cluster, &[], &["c@1"]);
    other.ask(Listener, &[]);
    assert_eq!(other.settle(), ["cds b@1", "lds", "cds -c"]);
}
