//! A proxy that does not say where it runs, runs where its workload does.

use std::sync::Arc;

use pilot::proxy::{Proxy, Transport};
use pilot::world::World;
use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_registry::Service;
use pilot_registry_testkit::{service, snapshot};

use super::{Fixture, a, router, start, start_near, until};

const POD: &str = "10.9.0.7";

fn proxy(address: &str, locality: Option<core::Locality>) -> Proxy {
    let id = format!("router~{address}~gateway-0.shop~shop.svc.cluster.local");
    Proxy::from_node(Some(&core::Node { id, locality, ..Default::default() })).unwrap()
}

fn scope(world: &World, proxy: &Proxy) -> String {
    world.scope(proxy, Transport::Ads).to_string()
}

/// A service with an endpoint at each of these addresses, in a zone.
fn gateway(places: &[(&str, &str)]) -> Arc<Service> {
    let builder = service("gateway.local").http(80);
    let with = |builder: pilot_registry_testkit::ServiceBuilder, (address, zone): &(&str, &str)| {
        builder.endpoint(address, 8080).region("eu").zone(zone)
    };
    places.iter().fold(builder, with).build()
}

#[tokio::test(start_paused = true)]
async fn the_scope_follows_the_workload() {
    let Fixture { world, scripts, _tasks } = start_near("east");
    let (proxy, mut sets) = (proxy(POD, None), world.subscribe(&router()).unwrap());
    assert_eq!(scope(&world, &proxy), "router", "nothing is known yet");
    let steps: [(&[(&str, &str)], &str); 5] = [
        (&[("10.9.0.8", "a")], "router"),
        (&[(POD, "a"), ("10.9.0.8", "b")], "router near eu/a"),
        (&[(POD, "b"), ("10.9.0.8", "b")], "router near eu/b"),
        (&[(POD, "c")], "router near eu/c"),
        (&[("10.9.0.8", "b")], "router"),
    ];
    let mut generation = 0;
    for (places, expected) in steps {
        scripts[0].publish(snapshot([gateway(places), a()])).await;
        // Streams look at their scope again when resources have changed: they have.
        generation = until(&mut sets, |set| set.generation() > generation).await.generation();
        assert_eq!(scope(&world, &proxy), expected, "{places:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_proxy_says_itself_wins() {
    let Fixture { world, scripts, _tasks } = start_near("east");
    scripts[0].publish(snapshot([gateway(&[(POD, "a"), ("10.9.0.8", "b")])])).await;
    until(&mut world.subscribe(&router()).unwrap(), |_| true).await;
    let said = |region: &str, zone: &str| {
        let locality = core::Locality { region: region.into(), zone: zone.into(), ..Default::default() };
        scope(&world, &proxy(POD, Some(locality)))
    };
    assert_eq!(said("eu", "b"), "router near eu/b");
    assert_eq!(said("eu", ""), "router near eu", "a part that it does not say is not filled in");
    assert_eq!(said("us", "x"), "router", "nor is a place replaced that nothing is at");
    assert_eq!(said("", ""), "router near eu/a");
}

/// Every machine has a loopback: who is at 127.0.0.1 is not told from others.
#[tokio::test(start_paused = true)]
async fn loopback_is_no_workload() {
    let Fixture { world, scripts, _tasks } = start_near("east");
    scripts[0].publish(snapshot([gateway(&[("127.0.0.1", "a"), ("::1", "a"), ("10.9.0.8", "b")])])).await;
    until(&mut world.subscribe(&router()).unwrap(), |_| true).await;
    for address in ["127.0.0.1", "::1", "0.0.0.0", "laptop"] {
        assert_eq!(scope(&world, &proxy(address, None)), "router", "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_nearness_is_not_asked_for_workloads_make_no_scopes() {
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    scripts[0].publish(snapshot([gateway(&[(POD, "a")])])).await;
    until(&mut world.subscribe(&router()).unwrap(), |_| true).await;
    assert_eq!(scope(&world, &proxy(POD, None)), "router");
}
