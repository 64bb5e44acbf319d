//! A proxy that does not say where it runs, runs where its workload does.

use std::sync::Arc;

use futures_util::FutureExt;
use pilot::catalog::Policy;
use pilot::mesh::MeshOptions;
use pilot::proxy::{Proxy, Transport};
use pilot::supervisor::Registered;
use pilot::world::{Debounce, World};
use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_registry::{Service, channel};
use pilot_registry_testkit::{service, snapshot};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{DEADLINE, Fixture, MAX_DELAY, MAX_SCOPES, QUIET, a, router, start, start_near, until};

const POD: &str = "10.9.0.7";

/// A domain of one label names no namespace.
fn proxy(address: &str, locality: Option<core::Locality>) -> Proxy {
    let id = format!("router~{address}~gateway-0~mesh");
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

/// A proxy that says no namespace has its workload's, where that makes a difference.
#[tokio::test(start_paused = true)]
async fn the_namespace_is_the_workloads_unless_the_proxy_says_one() {
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    let named =
        |host: &str, namespace: &str| service(host).namespace(namespace).http(80).local_name("web").build();
    let gateway = |host: &str, namespace: &str, address: &str| {
        service(host).namespace(namespace).http(80).endpoint(address, 8080).build()
    };
    let webs = [named("web.shop.mesh", "shop"), named("web.lab.mesh", "lab")];
    let mut sets = world.subscribe(&router()).unwrap();
    let (silent, mut generation) = (proxy(POD, None), 0);
    let steps: [(&[Arc<Service>], &str); 5] = [
        (&[], "router"),
        (&[gateway("g.shop.mesh", "shop", POD)], "router in shop"),
        (&[gateway("g.shop.mesh", "shop", POD), gateway("g.lab.mesh", "lab", POD)], "router"),
        (&[gateway("g.lab.mesh", "lab", POD)], "router in lab"),
        (&[gateway("g.else.mesh", "else", POD)], "router"),
    ];
    for (gateways, expected) in steps {
        scripts[0].publish(snapshot(webs.iter().chain(gateways).cloned())).await;
        generation = until(&mut sets, |set| set.generation() > generation).await.generation();
        assert_eq!(scope(&world, &silent), expected);
    }
    scripts[0].publish(snapshot(webs.iter().cloned().chain([gateway("g.shop.mesh", "shop", POD)]))).await;
    until(&mut sets, |set| set.generation() > generation).await;
    let says = format!("router~{POD}~gateway-0~lab.svc.cluster.local");
    let says = Proxy::from_node(Some(&core::Node { id: says, ..Default::default() })).unwrap();
    assert_eq!(
        (scope(&world, &silent), scope(&world, &says)),
        ("router in shop".into(), "router in lab".into())
    );
}

/// What a service's namespace is, is in no resource: streams look at their scopes all the same.
#[tokio::test(start_paused = true)]
async fn a_change_that_is_in_no_resource_is_followed() {
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    let web = service("web.shop.mesh").namespace("shop").http(80).local_name("web").build();
    let publish = |namespace: &str| {
        let gateway = service("gateway.mesh").namespace(namespace).http(80).endpoint(POD, 8080).build();
        scripts[0].publish(snapshot([Arc::clone(&web), gateway]))
    };
    let (proxy, mut sets) = (proxy(POD, None), world.subscribe_at(&router(), POD.parse().ok()).unwrap());
    publish("lab").await;
    let mut elsewhere = world.subscribe_at(&router(), "10.9.0.8".parse().ok()).unwrap();
    let before = until(&mut sets, |_| true).await;
    until(&mut elsewhere, |_| true).await;
    assert_eq!(scope(&world, &proxy), "router");
    publish("shop").await;
    timeout(DEADLINE, sets.changed()).await.unwrap();
    assert!(Arc::ptr_eq(&sets.latest().unwrap(), &before));
    assert_eq!(scope(&world, &proxy), "router in shop");
    assert!(elsewhere.changed().now_or_never().is_none(), "nothing is different for the proxy there");
}

/// A service's labels are in no resource, and make no scopes.
#[tokio::test(start_paused = true)]
async fn a_change_that_concerns_no_proxy_wakes_no_stream() {
    let (sink, feed) = channel();
    let registered = Registered::new("east", "scripted", 0, feed, Policy::default());
    let world = World::new(vec![registered], MeshOptions::default(), MAX_SCOPES);
    let mut sets = world.subscribe(&router()).unwrap();
    let (count, mut translations) = watch::channel(0);
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let world = world.clone();
        let count = move |_| count.send_modify(|count| *count += 1);
        async move { world.follow(Debounce::new(QUIET, MAX_DELAY), count).await }
    });
    let labelled = |version: &str| {
        let web = service("web.mesh").http(80).endpoint(POD, 8080).service_label("version", version);
        snapshot([web.build()])
    };
    sink.publish(labelled("v1"));
    until(&mut sets, |_| true).await;
    let before = *translations.borrow_and_update();
    sink.publish(labelled("v2"));
    timeout(DEADLINE, translations.wait_for(|count| *count > before)).await.unwrap().unwrap();
    let mesh = world.mesh().unwrap();
    assert_eq!(mesh.catalog.get("web.mesh").unwrap().lead().labels["version"], "v2");
    assert!(sets.changed().now_or_never().is_none());
}
