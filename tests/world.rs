//! From registries to resources: supervisor, catalog and world together, on the virtual clock.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "world/age.rs"]
mod age;
#[path = "world/conflicts.rs"]
mod conflicts;
#[path = "world/news.rs"]
mod news;
#[path = "world/scopes.rs"]
mod scopes;
#[path = "world/spared.rs"]
mod spared;
#[path = "world/streams.rs"]
mod streams;
#[path = "world/workloads.rs"]
mod workloads;

use std::sync::Arc;
use std::time::Duration;

use pilot::catalog::Policy;
use pilot::mesh::MeshOptions;
use pilot::proxy::{ConfigSource, Role, Scope};
use pilot::resources::{ResourceType, View};
use pilot::supervisor::{Registered, supervise};
use pilot::world::{Debounce, Views, World};
use pilot_registry::{RegistryError, RegistryHealth, Service, Snapshot, channel};
use pilot_registry_testkit::{Script, Scripted, service, snapshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const DEADLINE: Duration = Duration::from_secs(60);
const QUIET: Duration = Duration::from_millis(20);
const MAX_SCOPES: usize = 3;
const MAX_DELAY: Duration = Duration::from_millis(200);

/// A world whose registries follow scripts.
struct Fixture {
    world: World,
    scripts: Vec<Script>,
    _tasks: JoinSet<()>,
}

type Sets = Views;

fn router() -> Scope {
    Scope::new(Role::Router, ConfigSource::Ads)
}

fn start(names: &[&str]) -> Fixture {
    start_with(names.iter().map(|name| (*name, Policy::default())), MeshOptions::default())
}

/// The same, with one registry, and proxies that prefer what is near to them.
fn start_near(name: &str) -> Fixture {
    let options = MeshOptions { prefer_near: true, ..MeshOptions::default() };
    start_with([(name, Policy::default())].into_iter(), options)
}

/// The same, with registries that may be missing for ten seconds.
fn start_optional<const N: usize>(registries: [(&'static str, bool); N]) -> Fixture {
    let patience = |optional: bool| optional.then_some(Duration::from_secs(10));
    let policy = |optional| Policy { patience: patience(optional), ..Policy::default() };
    let registries = registries.into_iter().map(|(name, optional)| (name, policy(optional)));
    start_with(registries, MeshOptions::default())
}

fn start_with<'a>(registries: impl Iterator<Item = (&'a str, Policy)>, options: MeshOptions) -> Fixture {
    let mut tasks = JoinSet::new();
    let (mut scripts, mut registered) = (Vec::new(), Vec::new());
    for (priority, (name, policy)) in (0..).zip(registries) {
        let (registry, script) = Scripted::new();
        let (sink, feed) = channel();
        let east = Registered::new(name, "scripted", priority, feed, policy);
        registered.push(east.clone());
        tasks.spawn(async move { supervise(&east, &registry, &sink).await });
        scripts.push(script);
    }
    let world = World::new(registered, options, MAX_SCOPES);
    tasks.spawn({
        let world = world.clone();
        async move { world.follow(Debounce::new(QUIET, MAX_DELAY), |_| ()).await }
    });
    Fixture { world, scripts, _tasks: tasks }
}

/// Waits for a set in which `expected` is true, and returns it.
async fn until(sets: &mut Sets, expected: impl Fn(&View) -> bool) -> Arc<View> {
    timeout(DEADLINE, sets.wait_for(expected)).await.unwrap()
}

/// Whether both have the same resources of a type in memory.
fn shares(one: &View, other: &View, kind: ResourceType) -> bool {
    one.of(kind).iter().map(Arc::as_ptr).eq(other.of(kind).iter().map(Arc::as_ptr))
}

fn clusters(set: &View) -> Vec<&str> {
    set.of(ResourceType::Cluster).iter().map(|cluster| &**cluster.name()).collect()
}

fn a() -> Arc<Service> {
    service("a.local").http(80).endpoint("10.0.0.1", 8080).build()
}

fn b() -> Arc<Service> {
    service("b.local").http(80).endpoint("10.0.0.2", 8080).build()
}

/// L12, L18: not known yet is not empty. Nothing is served before all registries have spoken.
#[tokio::test(start_paused = true)]
async fn nothing_is_served_before_every_registry_has_spoken() {
    let Fixture { world, scripts, _tasks } = start(&["east", "west"]);
    let mut sets = world.subscribe(&router()).unwrap();
    scripts[0].publish(snapshot([a()])).await;
    scripts[1].fail(RegistryError::unavailable("connecting to 10.0.0.9:8500")).await;
    let unavailable = async {
        while world.waiting().iter().all(|waiting| !waiting.reason.contains("10.0.0.9:8500")) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, unavailable).await.unwrap();
    assert_eq!(world.waiting().len(), 1, "{:?}", world.waiting());
    assert!(world.mesh().is_none() && sets.latest().is_none());

    scripts[1].publish(Snapshot::default()).await;
    let set = until(&mut sets, |_| true).await;
    assert_eq!(clusters(&set), ["outbound|80||a.local"]);
    assert!(world.waiting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_optional_registry_is_missing_after_a_while_and_joins_later() {
    let Fixture { world, scripts, _tasks } = start_optional([("east", false), ("west", true)]);
    let mut sets = world.subscribe(&router()).unwrap();
    let started = Instant::now();
    scripts[0].publish(snapshot([a()])).await;
    let set = until(&mut sets, |_| true).await;
    assert_eq!(started.elapsed().as_secs(), 10);
    assert_eq!(clusters(&set), ["outbound|80||a.local"]);
    let missing: Vec<_> = world.waiting().into_iter().map(|it| it.registry.to_string()).collect();
    assert_eq!(missing, ["west"]);
    scripts[1].publish(snapshot([b()])).await;
    until(&mut sets, |set| clusters(set).len() == 2).await;
    assert!(world.waiting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_not_optional_is_waited_for_although_others_are() {
    let Fixture { world, scripts, _tasks } = start_optional([("east", false), ("west", true)]);
    let mut sets = world.subscribe(&router()).unwrap();
    scripts[1].publish(snapshot([b()])).await;
    let served = timeout(DEADLINE, sets.wait_for(|_| true)).await.is_ok();
    assert!(!served && world.mesh().is_none());
}

/// L12, L18: that no optional registry answers does not mean that there are no services.
#[tokio::test(start_paused = true)]
async fn nothing_is_served_while_nothing_is_known_of_any_registry() {
    let Fixture { world, scripts, _tasks } = start_optional([("east", true), ("west", true)]);
    let mut sets = world.subscribe(&router()).unwrap();
    let served = timeout(DEADLINE, sets.wait_for(|_| true)).await.is_ok();
    assert!(!served && world.mesh().is_none());
    assert_eq!(world.waiting().len(), 2);
    scripts[1].publish(snapshot([b()])).await;
    let set = until(&mut sets, |_| true).await;
    assert_eq!(clusters(&set), ["outbound|80||b.local"]);
}

/// L22: what disappears in a mass stays with the proxies, and what else changes reaches them.
#[tokio::test(start_paused = true)]
async fn what_is_held_stays_with_the_proxies() {
    let Fixture { world, scripts, _tasks } = start(&["east", "west"]);
    let mut sets = world.subscribe(&router()).unwrap();
    let many = (0..20).fold(service("a.local").http(80), |a, n| a.endpoint(&format!("10.0.0.{n}"), 8080));
    scripts[0].publish(snapshot([many.build()])).await;
    scripts[1].publish(Snapshot::default()).await;
    let first = until(&mut sets, |_| true).await;
    scripts[0].publish(Snapshot::default()).await;
    scripts[1].publish(snapshot([b()])).await;
    let set = until(&mut sets, |set| clusters(set).len() == 2).await;
    let changes = set.changes_since(&first);
    let changed: Vec<_> = changes.of(ResourceType::Endpoint).iter().map(|change| &*change.name).collect();
    assert_eq!(changed, ["outbound|80||b.local"]);
    world.registries()[0].intake.release().unwrap();
    until(&mut sets, |set| clusters(set) == ["outbound|80||b.local"]).await;
}

/// A registry that is known to be empty is served as such.
#[tokio::test(start_paused = true)]
async fn known_to_be_empty_is_served() {
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    scripts[0].publish(Snapshot::default()).await;
    let set = until(&mut world.subscribe(&router()).unwrap(), |_| true).await;
    assert!(clusters(&set).is_empty());
}

#[tokio::test]
async fn what_was_published_before_anybody_followed_counts() {
    let (sink, feed) = channel();
    sink.publish(snapshot([a()]));
    let registered = Registered::new("east", "scripted", 0, feed, Policy::default());
    let world = World::new(vec![registered], MeshOptions::default(), MAX_SCOPES);
    let mut tasks = JoinSet::new();
    let mut sets = world.subscribe(&router()).unwrap();
    tasks.spawn(async move { world.follow(Debounce::new(QUIET, MAX_DELAY), |_| ()).await });
    let set = until(&mut sets, |_| true).await;
    assert_eq!(clusters(&set), ["outbound|80||a.local"]);
}

/// L8: a registry that cannot be read is not one without services. What it said last stays in force, and
/// its failure does not hold back what others say.
#[tokio::test(start_paused = true)]
async fn one_registrys_failure_takes_nothing_away_and_holds_nothing_back() {
    let Fixture { world, scripts, _tasks } = start(&["east", "west"]);
    let mut sets = world.subscribe(&router()).unwrap();
    scripts[0].publish(snapshot([a()])).await;
    scripts[1].publish(Snapshot::default()).await;
    until(&mut sets, |_| true).await;
    scripts[0].fail(RegistryError::unavailable("gone")).await;
    scripts[1].publish(snapshot([b()])).await;
    let set = until(&mut sets, |set| clusters(set).len() == 2).await;
    assert_eq!(clusters(&set), ["outbound|80||a.local", "outbound|80||b.local"]);
}

/// L21: a panic in an adapter ends its attempt, not pilot. It is tried again like any failure.
#[tokio::test(start_paused = true)]
async fn a_panicking_adapter_is_tried_again() {
    let Fixture { world, mut scripts, _tasks } = start(&["east"]);
    let mut sets = world.subscribe(&router()).unwrap();
    scripts[0].publish(snapshot([a()])).await;
    until(&mut sets, |_| true).await;
    scripts[0].panic("a bug").await;
    timeout(DEADLINE, scripts[0].attempted(2)).await.unwrap();
    let health = world.registries()[0].feed.health();
    assert!(matches!(health, RegistryHealth::Degraded(_)), "{health:?}");
    scripts[0].publish(snapshot([b()])).await;
    until(&mut sets, |set| clusters(set) == ["outbound|80||b.local"]).await;
    assert!(matches!(world.registries()[0].feed.health(), RegistryHealth::Live));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_spaced_more_and_more_but_never_by_more_than_30_seconds() {
    let Fixture { mut scripts, _tasks, .. } = start(&["east"]);
    for attempt in 1..40 {
        let before = Instant::now();
        scripts[0].fail(RegistryError::denied("no")).await;
        scripts[0].attempted(attempt + 1).await;
        assert!(before.elapsed() <= Duration::from_secs(31), "attempt {attempt}: {:?}", before.elapsed());
    }
}

/// L24: the first change goes out at once; a storm of a thousand is merged into few.
#[tokio::test(start_paused = true)]
async fn a_storm_of_changes_is_merged_and_ends_at_the_last_state() {
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    let mut sets = world.subscribe(&router()).unwrap();
    scripts[0].publish(Snapshot::default()).await;
    let first = until(&mut sets, |_| true).await;
    for port in 1..1_000 {
        let moving = service("a.local").http(80).endpoint("10.0.0.1", port).build();
        scripts[0].publish(snapshot([moving])).await;
    }
    scripts[0].publish(snapshot([b()])).await;
    let last = until(&mut sets, |set| clusters(set) == ["outbound|80||b.local"]).await;
    let sets_made = last.generation() - first.generation();
    assert!(sets_made < 500, "{sets_made} sets for 1,000 changes");
}

/// L3: what changes nothing for a proxy makes no new set, and endpoints touch nothing but endpoints.
#[tokio::test(start_paused = true)]
async fn an_endpoint_change_touches_endpoints_only() {
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    let mut sets = world.subscribe(&router()).unwrap();
    scripts[0].publish(snapshot([a(), b()])).await;
    let before = until(&mut sets, |_| true).await;
    let moved = service("a.local").http(80).endpoint("10.0.0.7", 8080).build();
    scripts[0].publish(snapshot([moved, b()])).await;
    let after = until(&mut sets, |set| set.generation() > before.generation()).await;
    let changes = after.changes_since(&before);
    let changed = |kind| changes.of(kind).iter().map(|change| &*change.name).collect::<Vec<_>>();
    assert_eq!(changed(ResourceType::Endpoint), ["outbound|80||a.local"]);
    for kind in [ResourceType::Cluster, ResourceType::Listener, ResourceType::Route] {
        assert!(changed(kind).is_empty(), "{kind}");
        assert!(shares(&before, &after, kind), "{kind}");
    }
}

/// The same services have the same versions in another process: a restart resends nothing.
#[tokio::test(start_paused = true)]
async fn another_pilot_with_the_same_services_has_the_same_versions() {
    let mut versions = Vec::new();
    for services in [[a(), b()], [b(), a()]] {
        let Fixture { world, scripts, _tasks } = start(&["east"]);
        scripts[0].publish(snapshot(services)).await;
        let set = until(&mut world.subscribe(&router()).unwrap(), |_| true).await;
        versions.push(ResourceType::ALL.map(|kind| set.of(kind).version().to_owned()));
    }
    assert_eq!(versions[0], versions[1]);
}
