//! Layers that fail or take their time, and what becomes of all others meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use pilot_registry::{Locality, Service, channel};
use pilot_registry_testkit::{Script, Scripted, service, snapshot};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::catalog::Policy;
use crate::proxy::{ConfigSource, Role};
use crate::resources::ResourceType;
use crate::supervisor::supervise;
use crate::translate::{Job, LayerKey, Maker};

const DEADLINE: Duration = Duration::from_secs(60);
const SIDECAR: LayerKey = LayerKey::Base(Role::Sidecar, ConfigSource::Ads);

struct Fixture {
    world: World,
    script: Script,
    failures: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// A world of one registry, which does something before it makes a layer.
fn start(first: impl Fn(&Job) + Send + Sync + 'static) -> Fixture {
    let (mut tasks, failures) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    let ((registry, script), (sink, feed)) = (Scripted::new(), channel());
    let east = Registered::new("east", "scripted", 0, feed, Policy::default());
    let options = MeshOptions { prefer_near: true, ..MeshOptions::default() };
    let world = World::new(vec![east.clone()], options, 3);
    world.0.store.make_with(Maker::after(first));
    tasks.spawn(async move { supervise(&east, &registry, &sink).await });
    tasks.spawn({
        let (world, failures) = (world.clone(), Arc::clone(&failures));
        let count = move |it: Translated| _ = failures.fetch_add(it.failures, Ordering::Relaxed);
        let debounce = Debounce::new(Duration::from_millis(1), Duration::from_millis(10));
        async move { world.follow(debounce, count).await }
    });
    Fixture { world, script, failures, _tasks: tasks }
}

fn sidecar() -> Scope {
    Scope::new(Role::Sidecar, ConfigSource::Ads)
}

fn router() -> Scope {
    Scope::new(Role::Router, ConfigSource::Ads)
}

fn web(host: &str) -> Arc<Service> {
    let service = service(host).http(80).endpoint("10.0.0.1", 80).region("eu").zone("a");
    service.endpoint("10.0.0.2", 80).region("eu").zone("b").build()
}

fn names(view: &View, kind: ResourceType) -> Vec<String> {
    view.of(kind).iter().map(|it| it.name().trim_start_matches("outbound|80||").to_owned()).collect()
}

fn clusters(view: &View) -> Vec<String> {
    names(view, ResourceType::Cluster)
}

async fn until(views: &mut Views, expected: impl Fn(&View) -> bool) -> Arc<View> {
    timeout(DEADLINE, views.wait_for(expected)).await.expect("it does not come")
}

/// The step is not lost for it, although nothing of it changes again.
#[tokio::test]
async fn a_layer_that_cannot_be_continued_is_made_from_nothing_at_once() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let broken = Arc::clone(&is_broken);
    let Fixture { world, script, failures, _tasks } = start(move |job| {
        let breaks = *job.key() == SIDECAR && !job.is_from_nothing();
        assert!(!(breaks && broken.load(Ordering::Relaxed)), "no such claim");
    });
    script.publish(snapshot([web("a")])).await;
    let mut views = world.subscribe(&sidecar()).unwrap();
    until(&mut views, |view| clusters(view) == ["a"]).await;
    is_broken.store(true, Ordering::Relaxed);
    script.publish(snapshot([web("a"), web("b")])).await;
    let view = until(&mut views, |view| clusters(view) == ["a", "b"]).await;
    assert_eq!(names(&view, ResourceType::Endpoint), ["a", "b"]);
    assert_eq!(failures.load(Ordering::Relaxed), 1);
    assert!(world.broken().is_empty());
}

#[tokio::test]
async fn a_layer_that_cannot_be_made_stays_as_it_was_is_shown_and_made_at_the_next_change() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let broken = Arc::clone(&is_broken);
    let Fixture { world, script, failures, _tasks } = start(move |job| {
        assert!(!(*job.key() == SIDECAR && broken.load(Ordering::Relaxed)), "no such claim");
    });
    script.publish(snapshot([web("a"), web("c")])).await;
    let [mut views, mut others] = [sidecar(), router()].map(|scope| world.subscribe(&scope).unwrap());
    until(&mut views, |view| clusters(view) == ["a", "c"]).await;
    is_broken.store(true, Ordering::Relaxed);
    script.publish(snapshot([web("a"), web("b")])).await;
    until(&mut others, |view| clusters(view) == ["a", "b"]).await;
    let view = until(&mut views, |view| names(view, ResourceType::Endpoint) == ["a", "b"]).await;
    assert_eq!(clusters(&view), ["a", "c"], "the last good state");
    let shown: Vec<_> = world.broken().into_iter().map(|(layer, why)| format!("{layer}: {why}")).collect();
    assert_eq!(shown, ["base of sidecar: no such claim"]);
    assert_eq!(failures.load(Ordering::Relaxed), 1);
    is_broken.store(false, Ordering::Relaxed);
    script.publish(snapshot([web("b")])).await;
    until(&mut views, |view| clusters(view) == ["b"]).await;
    assert!(world.broken().is_empty());
}

/// Holds up who passes while it is shut.
#[derive(Default)]
struct Barrier {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Barrier {
    fn pass(&self) {
        self.opened.wait_while(&mut self.is_open.lock(), |is_open| !*is_open);
    }

    fn open(&self) {
        *self.is_open.lock() = true;
        self.opened.notify_all();
    }
}

#[tokio::test]
async fn changes_and_other_newcomers_wait_for_no_newcomer() {
    let barrier = Arc::new(Barrier::default());
    let held = Arc::clone(&barrier);
    let Fixture { world, script, .. } = &start(move |job| {
        if *job.key() == SIDECAR {
            held.pass();
        }
    });
    // The test fails without its threads left waiting.
    let _open = scopeguard(&barrier);
    script.publish(snapshot([web("a")])).await;
    let mut served = world.subscribe(&router()).unwrap();
    until(&mut served, |view| clusters(view) == ["a"]).await;
    let mut newcomer = world.subscribe(&sidecar()).unwrap();
    for hosts in [&["a", "b"][..], &["b"], &["b", "c"]] {
        script.publish(snapshot(hosts.iter().map(|host| web(host)))).await;
        until(&mut served, |view| clusters(view) == hosts).await;
    }
    let place = Locality { region: "eu".into(), zone: "a".into(), sub_zone: String::new() };
    let mut near = world.subscribe(&Scope { locality: place, ..router() }).unwrap();
    until(&mut near, |view| clusters(view) == ["b", "c"]).await;
    assert!(newcomer.latest().is_none());
    barrier.open();
    let view = until(&mut newcomer, |_| true).await;
    assert_eq!(clusters(&view), ["b", "c"], "it has caught up with what came meanwhile");
}

/// Opens the barrier when the test is over, however it ends.
fn scopeguard(barrier: &Arc<Barrier>) -> impl Drop {
    struct Open(Arc<Barrier>);
    impl Drop for Open {
        fn drop(&mut self) {
            self.0.open();
        }
    }
    Open(Arc::clone(barrier))
}

/// Holds up the making of a layer that is continued, from some time on.
#[derive(Default)]
struct Hold {
    barrier: Arc<Barrier>,
    holds: AtomicBool,
    reached: Notify,
}

impl Hold {
    fn pass(&self, job: &Job, held: &LayerKey) {
        if job.key() == held && !job.is_from_nothing() && self.holds.load(Ordering::Relaxed) {
            self.reached.notify_one();
            self.barrier.pass();
        }
    }

    /// From now on.
    fn begin(&self) {
        self.holds.store(true, Ordering::Relaxed);
    }

    async fn reached(&self) {
        timeout(DEADLINE, self.reached.notified()).await.expect("it is to be made");
    }
}

fn ingress() -> Scope {
    Scope::new(Role::Ingress, ConfigSource::Ads)
}

/// A world that makes the layer of ingresses when it may.
fn start_holding_ingresses() -> (Fixture, Arc<Hold>) {
    let hold = Arc::new(Hold::default());
    let of_jobs = Arc::clone(&hold);
    let held = LayerKey::Base(Role::Ingress, ConfigSource::Ads);
    (start(move |job| of_jobs.pass(job, &held)), hold)
}

#[tokio::test]
async fn a_newcomer_waits_for_no_change_of_others() {
    let (Fixture { world, script, .. }, hold) = &start_holding_ingresses();
    let _open = scopeguard(&hold.barrier);
    script.publish(snapshot([web("a")])).await;
    let mut served = world.subscribe(&ingress()).unwrap();
    until(&mut served, |view| clusters(view) == ["a"]).await;
    hold.begin();
    script.publish(snapshot([web("a"), web("b")])).await;
    hold.reached().await;
    let mut newcomer = world.subscribe(&sidecar()).unwrap();
    let first = until(&mut newcomer, |_| true).await;
    assert_eq!(clusters(&first), ["a"], "what everybody sees");
    hold.barrier.open();
    for views in [&mut newcomer, &mut served] {
        let view = until(views, |view| clusters(view) == ["a", "b"]).await;
        assert_eq!(names(&view, ResourceType::Endpoint), ["a", "b"]);
    }
    script.publish(snapshot([web("b")])).await;
    until(&mut newcomer, |view| clusters(view) == ["b"]).await;
}

#[tokio::test]
async fn who_comes_and_goes_in_a_quiet_mesh_leaves_nothing() {
    let Fixture { world, script, .. } = &start(|_| {});
    script.publish(snapshot([web("a")])).await;
    until(&mut world.subscribe(&router()).unwrap(), |_| true).await;
    for _ in 0..1000 {
        drop(world.subscribe(&router()).unwrap());
    }
    let (dropped, made) = world.0.store.kept();
    assert!(dropped <= made.len(), "{dropped} wait to be forgotten of {made:?}");
    let _stays = world.subscribe(&router()).unwrap();
    for zone in 0..50 {
        let locality = Locality { region: "eu".into(), zone: zone.to_string(), ..Locality::default() };
        until(&mut world.subscribe(&Scope { locality, ..router() }).unwrap(), |_| true).await;
    }
    let (_, made) = world.0.store.kept();
    assert!(made.len() < 10, "newcomers push out who has left: {made:?}");
}

#[tokio::test]
async fn a_layer_that_everybody_leaves_while_a_step_is_taken_is_let_go() {
    let (Fixture { world, script, .. }, hold) = &start_holding_ingresses();
    let _open = scopeguard(&hold.barrier);
    script.publish(snapshot([web("a")])).await;
    let mut stays = world.subscribe(&router()).unwrap();
    let mut leaves = world.subscribe(&ingress()).unwrap();
    for views in [&mut stays, &mut leaves] {
        until(views, |_| true).await;
    }
    hold.begin();
    script.publish(snapshot([web("a"), web("b")])).await;
    hold.reached().await;
    drop(leaves);
    // Of who chooses a name, those that nobody sees any more do not count: they are forgotten.
    let chosen = ConfigSource::PerType { cluster: "mine".into(), delta: true };
    let _newcomer = world.subscribe(&Scope::new(Role::Router, chosen)).unwrap();
    hold.barrier.open();
    until(&mut stays, |view| clusters(view) == ["a", "b"]).await;
    let (_, made) = world.0.store.kept();
    assert!(!made.contains(&LayerKey::Base(Role::Ingress, ConfigSource::Ads)), "{made:?}");
}

#[tokio::test]
async fn a_layer_that_nobody_waits_for_any_more_is_not_begun() {
    let begun = Arc::new(AtomicUsize::new(0));
    let of_jobs = Arc::clone(&begun);
    let Fixture { world, script, .. } = &start(move |job| {
        if *job.key() == SIDECAR {
            of_jobs.fetch_add(1, Ordering::Relaxed);
        }
    });
    script.publish(snapshot([web("a")])).await;
    until(&mut world.subscribe(&router()).unwrap(), |_| true).await;
    drop(world.subscribe(&sidecar()).unwrap());
    until(&mut world.subscribe(&ingress()).unwrap(), |_| true).await;
    assert_eq!(begun.load(Ordering::Relaxed), 0);
}
