//! Refusals (P4a) by clients of state of the world that came back: it is not known what they have.

use std::sync::Arc;

use pilot::proxy::Scope;
use pilot::resources::ResourceType::Cluster;
use pilot::xds::{Shared, Sotw};
use pilot_envoy_api::envoy::service::discovery::v3::DiscoveryRequest;

use crate::driver::Stream;
use crate::order::NOTHING;
use crate::refusals::{clusters, router};
use crate::things::Things;

/// A client that comes back may have an older version of what it refuses.
#[test]
fn p04_in_state_of_the_world_nothing_is_taken_from_a_client_that_came_back_because_it_refuses_a_change() {
    let mut things = clusters(&["a", "b"]);
    let mut sotw = Stream::<Sotw>::ads(&things.publish());
    let request =
        DiscoveryRequest { version_info: "what it had".to_owned(), ..sotw.request_for(Cluster, &[], "") };
    sotw.request(request);
    sotw.refuse(Cluster, "Error adding/updating cluster(s) b: no such type");
    things.dns_cluster("a", "2");
    sotw.update(&things.publish());
    assert_eq!(sotw.received(), ["cds a@1 b@1", "cds a@2 b@1"]);
    sotw.refuse(Cluster, "Error adding/updating cluster(s) b: no such type");
    assert_eq!(sotw.received(), NOTHING);
}

/// A client of state of the world with this server's memory of others, which has something from an earlier stream.
fn come_back(shared: &Arc<Shared>, things: &mut Things, scope: &Scope) -> Stream<Sotw> {
    let mut sotw = Stream::<Sotw>::beside(None, shared);
    sotw.machine.follows(Arc::new(scope.clone()));
    sotw.update(&things.publish());
    let asks = sotw.request_for(Cluster, &[], "");
    sotw.request(DiscoveryRequest { version_info: "what it had".to_owned(), ..asks });
    sotw
}

/// It may have an older version of each, and a response without some would take these from it.
#[test]
fn p04_in_state_of_the_world_a_client_that_came_back_and_names_nobody_is_sent_everything_at_the_next_change()
{
    let mut things = clusters(&["a", "b", "c"]);
    let mut sotw = come_back(&Arc::default(), &mut things, &router());
    sotw.nack(Cluster);
    assert_eq!(sotw.received(), ["cds a@1 b@1 c@1"]);
    assert_eq!(sotw.refused(Cluster), NOTHING, "it may be any of them");
    things.dns_cluster("a", "2");
    sotw.update(&things.publish());
    assert_eq!(sotw.received(), ["cds a@2 b@1 c@1"]);
    // What changes before it has answered does not wait for the next change.
    things.dns_cluster("a", "3");
    sotw.update(&things.publish());
    sotw.nack(Cluster);
    sotw.nack(Cluster);
    assert_eq!((sotw.received(), sotw.refused(Cluster)), (vec!["cds a@3 b@1 c@1".to_owned()], vec![]));
    things.dns_cluster("b", "2");
    things.remove(Cluster, "c");
    sotw.update(&things.publish());
    assert_eq!(sotw.settle(), ["cds a@3 b@2"]);
    // Now it is known what it has.
    ["a", "b"].into_iter().for_each(|name| things.dns_cluster(name, "4"));
    sotw.update(&things.publish());
    let trials = sotw.judge(|name, content| name == "b" && content == "4");
    assert_eq!(trials, ["cds a@4 b@4", "cds a@4 b@2", "cds a@4 b@4"]);
    assert_eq!(sotw.refused(Cluster), ["b"]);
}

#[test]
fn p04_in_state_of_the_world_a_client_that_came_back_is_tried_with_what_others_of_its_scope_kept() {
    let shared = Arc::<Shared>::default();
    let mut things = clusters(&["a", "b"]);
    let mut first = Stream::<Sotw>::beside(None, &shared);
    first.machine.follows(Arc::new(router()));
    first.update(&things.publish());
    first.ask(Cluster, &[]);
    first.settle();
    things.dns_cluster("a", "2");
    first.update(&things.publish());
    first.nack(Cluster);
    assert_eq!(first.refused(Cluster), ["a"]);
    things.dns_cluster("b", "2");
    let is_bad = |name: &str, content: &str| name == "a" && content == "2";
    let mut again = come_back(&shared, &mut things, &router());
    assert_eq!(again.judge(is_bad), ["cds a@2 b@2", "cds a@1 b@2", "cds a@2 b@2"]);
    assert_eq!(again.refused(Cluster), ["a"]);
    // What others see is not for those of this scope to see.
    let shop = Scope { namespace: Some("shop".to_owned().try_into().unwrap()), ..router() };
    let mut other = come_back(&shared, &mut things, &shop);
    assert_eq!((other.judge(is_bad), other.refused(Cluster)), (vec!["cds a@2 b@2".to_owned()], vec![]));
}
