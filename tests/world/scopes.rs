//! Scopes: which proxies share what, and how many there may be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pilot::catalog::Policy;
use pilot::mesh::MeshOptions;
use pilot::proxy::{ConfigSource, Proxy, Role, Scope, Transport};
use pilot::resources::{ResourceType, View};
use pilot::supervisor::Registered;
use pilot::world::{Debounce, TooManyScopes, World};
use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_registry::{Service, channel};
use pilot_registry_testkit::{ServiceBuilder, service, snapshot};
use tokio::task::JoinSet;

use super::{
    Fixture, MAX_DELAY, MAX_SCOPES, QUIET, a, b, clusters, router, shares, start, start_near, until,
};

#[tokio::test(start_paused = true)]
async fn proxies_of_one_scope_share_one_set() {
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    scripts[0].publish(snapshot([a()])).await;
    let (mut one, mut other) = (world.subscribe(&router()).unwrap(), world.subscribe(&router()).unwrap());
    let (one, other) = (until(&mut one, |_| true).await, until(&mut other, |_| true).await);
    assert!(Arc::ptr_eq(&one, &other));
    let sidecar = Scope::new(Role::Sidecar, ConfigSource::Ads);
    let other = until(&mut world.subscribe(&sidecar).unwrap(), |_| true).await;
    assert!(!Arc::ptr_eq(&one, &other));
}

fn named(role: Role, cluster: &str) -> Scope {
    Scope::new(role, ConfigSource::PerType { cluster: cluster.into(), delta: true })
}

/// P19: names that clients think up are limited, and cost neither the ADS proxies nor the usual name anything.
#[tokio::test(start_paused = true)]
async fn a_flood_of_names_is_refused_and_ads_is_served() {
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    scripts[0].publish(snapshot([a()])).await;
    let mut early = world.subscribe(&router()).unwrap();
    let floods = (0..100).map(|n| world.subscribe(&named(Role::Router, &format!("flood-{n}"))));
    let flood: Vec<_> = floods.collect();
    let (mut followed, refused): (Vec<_>, Vec<_>) = flood.into_iter().partition(Result::is_ok);
    assert_eq!((followed.len(), refused.len()), (MAX_SCOPES, 100 - MAX_SCOPES));
    assert_eq!(refused[0].as_ref().err(), Some(&TooManyScopes(MAX_SCOPES)));
    assert!(TooManyScopes(MAX_SCOPES).to_string().contains("[xds] max_scopes"));

    let sidecar = Scope::new(Role::Sidecar, ConfigSource::Ads);
    let mut late = world.subscribe(&sidecar).unwrap();
    let mut usual = world.subscribe(&named(Role::Ingress, "pilot")).unwrap();
    for sets in [&mut early, &mut late, &mut usual].into_iter().chain(followed.iter_mut().flatten()) {
        until(sets, |_| true).await;
    }
    scripts[0].publish(snapshot([b()])).await;
    until(&mut early, |set| clusters(set) == ["outbound|80||b.local"]).await;

    // A name that nobody uses any more makes place for another.
    followed.pop();
    let mut next = world.subscribe(&named(Role::Router, "flood-99")).unwrap();
    until(&mut next, |set| clusters(set) == ["outbound|80||b.local"]).await;
    assert!(world.subscribe(&named(Role::Router, "flood-98")).is_err());
}

fn proxy_at(region: &str, zone: &str, sub_zone: &str) -> Proxy {
    let locality = core::Locality { region: region.into(), zone: zone.into(), sub_zone: sub_zone.into() };
    let node = core::Node { id: "envoy".into(), locality: Some(locality), ..Default::default() };
    Proxy::from_node(Some(&node)).unwrap()
}

fn placed(zones: &[&str]) -> Arc<Service> {
    let with = |builder: ServiceBuilder, (at, zone): (u32, &&str)| {
        builder.endpoint(&format!("10.0.0.{at}"), 8080).region("eu").zone(zone)
    };
    (1..).zip(zones).fold(service("a.local").http(80), with).build()
}

/// However many places clients think up, those count where endpoints are.
#[tokio::test(start_paused = true)]
async fn places_that_no_endpoint_has_make_no_scopes() {
    let Fixture { world, scripts, _tasks } = start_near("east");
    let scope = |proxy: &Proxy| world.scope(proxy, Transport::Ads);
    assert_eq!(scope(&proxy_at("eu", "a", "")), router(), "nothing is known yet");
    scripts[0].publish(snapshot([placed(&["a", "b"])])).await;
    until(&mut world.subscribe(&router()).unwrap(), |_| true).await;

    let named = |proxy: &Proxy| scope(proxy).to_string();
    assert_eq!(named(&proxy_at("eu", "a", "rack-1")), "router near eu/a");
    let invented: BTreeSet<String> =
        (0..1_000).map(|n| named(&proxy_at("eu", &format!("z{n}"), ""))).collect();
    assert_eq!(invented, BTreeSet::from(["router near eu".to_owned()]));
    let invented: BTreeSet<String> =
        (0..1_000).map(|n| named(&proxy_at(&format!("r{n}"), "a", ""))).collect();
    assert_eq!(invented, BTreeSet::from(["router".to_owned()]));

    let mut sets = world.subscribe(&router()).unwrap();
    let before = until(&mut sets, |_| true).await;
    scripts[0].publish(snapshot([placed(&["b"])])).await;
    until(&mut sets, |set| set.generation() > before.generation()).await;
    assert_eq!(named(&proxy_at("eu", "a", "")), "router near eu", "nothing is there any more");
}

#[tokio::test(start_paused = true)]
async fn where_nearness_is_not_asked_for_places_make_no_scopes() {
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    scripts[0].publish(snapshot([placed(&["a", "b"])])).await;
    until(&mut world.subscribe(&router()).unwrap(), |_| true).await;
    assert_eq!(world.scope(&proxy_at("eu", "a", ""), Transport::Ads), router());
}

/// Only endpoints differ from place to place: all else is there once.
#[tokio::test(start_paused = true)]
async fn proxies_of_different_places_share_all_but_endpoints() {
    let Fixture { world, scripts, _tasks } = start_near("east");
    scripts[0].publish(snapshot([placed(&["a", "b"]), b()])).await;
    until(&mut world.subscribe(&router()).unwrap(), |_| true).await;
    let scopes = ["a", "b"].map(|zone| world.scope(&proxy_at("eu", zone, ""), Transport::Ads));
    let mut sets = scopes.map(|scope| world.subscribe(&scope).unwrap());
    let one = until(&mut sets[0], |_| true).await;
    let other = until(&mut sets[1], |_| true).await;
    for kind in [ResourceType::Cluster, ResourceType::Listener, ResourceType::Route] {
        assert!(shares(&one, &other, kind), "{kind}");
    }
    let endpoints = |set: &View, name: &str| Arc::clone(set.of(ResourceType::Endpoint).get(name).unwrap());
    let (differs, same) = ("outbound|80||a.local", "outbound|80||b.local");
    assert_ne!(endpoints(&one, differs), endpoints(&other, differs));
    assert!(Arc::ptr_eq(&endpoints(&one, same), &endpoints(&other, same)));
}

/// A proxy of that namespace.
fn proxy_in(namespace: &str) -> Proxy {
    let id = format!("router~127.0.0.1~laptop~{namespace}.svc.cluster.local");
    Proxy::from_node(Some(&core::Node { id, ..Default::default() })).unwrap()
}

fn web(namespace: &str) -> ServiceBuilder {
    let web = service(&format!("web.{namespace}")).http(80).endpoint("10.0.0.1", 8080);
    web.namespace(namespace).local_name("web")
}

/// However many namespaces clients think up, those count whose clients have names of their own.
#[tokio::test(start_paused = true)]
async fn namespaces_that_have_no_names_of_their_own_make_no_scopes() {
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    let named = |namespace: &str| world.scope(&proxy_in(namespace), Transport::Ads).to_string();
    assert_eq!(named("shop"), "router", "nothing is known yet");
    scripts[0].publish(snapshot([web("shop").build(), web("bank").build()])).await;
    let mut sets = world.subscribe(&router()).unwrap();
    let before = until(&mut sets, |_| true).await;
    assert_eq!(["shop", "bank", "default"].map(named), ["router in shop", "router in bank", "router"]);
    let invented: BTreeSet<String> = (0..1_000).map(|n| named(&format!("n{n}"))).collect();
    assert_eq!(invented, BTreeSet::from(["router".to_owned()]));

    scripts[0].publish(snapshot([web("shop").build()])).await;
    until(&mut sets, |set| set.generation() > before.generation()).await;
    assert_eq!(["shop", "bank"].map(named), ["router in shop", "router"], "there is none any more");
}

/// Where both matter, scopes are of both, and share what each of both shares.
#[tokio::test(start_paused = true)]
async fn proxies_of_different_namespaces_share_all_but_names() {
    let Fixture { world, scripts, _tasks } = start_near("east");
    let services = |address: &str| {
        snapshot([placed(&["a", "b"]), web("bank").build(), web("shop").endpoint(address, 80).build()])
    };
    scripts[0].publish(services("10.0.0.2")).await;
    until(&mut world.subscribe(&router()).unwrap(), |_| true).await;
    let scopes = ["bank", "shop"].map(|namespace| {
        let mut proxy = proxy_in(namespace);
        proxy.locality = proxy_at("eu", "a", "").locality;
        world.scope(&proxy, Transport::Ads)
    });
    assert_eq!(scopes[0].to_string(), "router in bank near eu/a");
    let mut sets = scopes.map(|scope| world.subscribe(&scope).unwrap());
    let one = until(&mut sets[0], |_| true).await;
    let other = until(&mut sets[1], |_| true).await;
    for kind in [ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener] {
        assert!(shares(&one, &other, kind), "{kind}");
    }
    assert_ne!(one.of(ResourceType::Route).version(), other.of(ResourceType::Route).version());

    scripts[0].publish(services("10.0.0.3")).await;
    for (sets, before) in sets.iter_mut().zip([one, other]) {
        let after = until(sets, |set| set.generation() > before.generation()).await;
        for kind in [ResourceType::Cluster, ResourceType::Listener, ResourceType::Route] {
            assert!(shares(&before, &after, kind), "{kind}");
        }
        assert_eq!(after.changes_since(&before).of(ResourceType::Endpoint).len(), 1);
    }
}

/// A scope that is new is translated alone: who asks for one does not have all others translated again.
#[tokio::test(start_paused = true)]
async fn a_new_scope_is_translated_alone() {
    let (sink, feed) = channel();
    sink.publish(snapshot([a()]));
    let registered = Registered::new("east", "scripted", 0, feed, Policy::default());
    let world = World::new(vec![registered], MeshOptions::default(), MAX_SCOPES);
    let translations = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    let mut first = world.subscribe(&router()).unwrap();
    tasks.spawn({
        let (world, translations) = (world.clone(), Arc::clone(&translations));
        let count = move |_| _ = translations.fetch_add(1, Ordering::Relaxed);
        async move { world.follow(Debounce::new(QUIET, MAX_DELAY), count).await }
    });
    until(&mut first, |_| true).await;
    let mut held = vec![first];
    for name in ["x", "y", "z"] {
        let mut sets = world.subscribe(&named(Role::Router, name)).unwrap();
        until(&mut sets, |_| true).await;
        held.push(sets);
    }
    let (change, shared, own) = (1, 1, 4);
    assert_eq!(translations.load(Ordering::Relaxed), change + shared + own);
}
