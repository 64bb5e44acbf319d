//! Real Envoys refuse one resource among hundreds. The others come, change and go; status names the one.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route};
use pilot::resources::{Origin, PerType, Resource, Rope, TypeSet, is_in_parts};
use pilot_envoy_api::envoy::config::route::v3::{self as route};

use crate::e2e::handmade::{Server, ads, cluster, endpoints, listener, name, virtual_host};
use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::tools::{envoy, oldest_envoy};
use crate::support::wait::{holds, throughout, until};

/// How many services are good.
const GOOD: usize = 300;

/// What is refused, and what status calls it.
const CULPRITS: [(ResourceType, &str); 3] =
    [(Cluster, "bad-cluster"), (Endpoint, "service-007"), (Listener, "bad-listener")];

/// Services with these numbers at that backend, and the four that are refused.
fn resources(
    address: Ipv4Addr,
    backend: &Backend,
    numbers: std::ops::Range<usize>,
    routes: &str,
) -> PerType<TypeSet> {
    let at = (backend.socket().ip().to_string(), u32::from(backend.socket().port()));
    let mut sets = PerType::<TypeSet>::default();
    let mut rope = Rope::new(&route::RouteConfiguration { name: routes.to_owned(), ..Default::default() });
    for number in numbers {
        let name = name(number);
        sets[Cluster].insert(Arc::new(cluster(&name, true)));
        let at = if number == 7 { ("not-an-ip.example", 80) } else { (at.0.as_str(), at.1) };
        sets[Endpoint].insert(Arc::new(endpoints(&name, at)));
        rope.insert(virtual_host(&name, number == 9));
    }
    sets[Cluster].insert(Arc::new(cluster("bad-cluster", false)));
    sets[Listener].insert(Arc::new(listener("good-listener", Some((address, 15080).into()), routes)));
    sets[Listener].insert(Arc::new(listener("bad-listener", None, routes)));
    let rope = Resource::from_rope(routes.into(), rope, Origin::Shared);
    if is_in_parts(routes) {
        let vhds = Some(route::Vhds { config_source: ads() });
        let skeleton = route::RouteConfiguration { name: routes.to_owned(), vhds, ..Default::default() };
        let references = vec![(ResourceType::VirtualHost, routes.into())];
        sets[Route].insert(Arc::new(Resource::new(routes.into(), &skeleton, references, Origin::Shared)));
        sets[ResourceType::VirtualHost].insert(Arc::new(rope));
    } else {
        sets[Route].insert(Arc::new(rope));
    }
    sets
}

async fn refuses_one_of_each(binary: Option<PathBuf>, kind: Kind, routes: &str) {
    let Some(binary) = binary else { return };
    let [one, other] = [Backend::http("one").await, Backend::http("other").await];
    let server = Server::start().await;
    let address = server.pilot.address();
    server.publish(resources(address, &one, 0..GOOD, routes), 1);
    let envoy = Envoy::spawn(&binary, &server.pilot, kind);
    for number in [0, 150, GOOD - 1] {
        envoy.answers(&name(number), "one").await;
    }
    let of = if is_in_parts(routes) { ResourceType::VirtualHost } else { Route };
    let host = format!("{routes} (virtual host service-009)");
    let culprits = CULPRITS.into_iter().chain([(of, host.as_str())]);
    let expected: BTreeMap<String, Vec<String>> =
        culprits.map(|(kind, name)| (kind.to_string(), vec![name.to_owned()])).collect();
    let blamed = async || {
        let refused = server.refused()?;
        holds(refused == expected, format!("{refused:?}"))
    };
    until("the four are found", blamed).await;
    let nacks = server.nacks();
    throughout("nothing is tried again", Duration::from_secs(1), async || {
        holds(server.nacks() == nacks, format!("{:?}", server.nacks()))
    })
    .await;
    // The good ones change, come and go, and nothing that is refused goes with them.
    server.publish(resources(address, &other, 1..GOOD + 1, routes), 2);
    for number in [1, 150, GOOD] {
        envoy.answers(&name(number), "other").await;
    }
    envoy.knows_nothing_of(&name(0)).await;
    until("still the four", blamed).await;
    assert_eq!(server.nacks(), nacks);
}

#[tokio::test(flavor = "multi_thread")]
async fn p04_one_of_each_type_is_refused_and_300_services_go_on_delta() {
    refuses_one_of_each(envoy(), Kind::Delta, "routes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p25_one_of_each_type_is_refused_and_300_services_in_parts_go_on() {
    refuses_one_of_each(envoy(), Kind::Delta, "routes~v").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p04_one_of_each_type_is_refused_and_300_services_go_on_sotw() {
    refuses_one_of_each(envoy(), Kind::Sotw, "routes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p04_one_of_each_type_is_refused_by_the_oldest_envoy_and_300_services_go_on() {
    refuses_one_of_each(oldest_envoy(), Kind::Delta, "routes").await;
}
