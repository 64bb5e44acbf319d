//! Many different answers: what a change costs where proxies differ in their place and their namespace.
//!
//! `cargo bench --bench scopes`; figures and budgets are in benches/README.md.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

#[allow(dead_code, reason = "each bench uses its part")]
#[path = "../support/machine.rs"]
mod machine;
#[allow(dead_code, reason = "each bench uses its part")]
#[path = "../support/measure.rs"]
mod measure;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use pilot::catalog::Policy;
use pilot::mesh::MeshOptions;
use pilot::proxy::{ConfigSource, Role, Scope};
use pilot::resources::{ResourceType, View};
use pilot::supervisor::Registered;
use pilot::world::{Debounce, Views, World};
use pilot_registry::{Locality, Service, SnapshotSink, channel};
use pilot_registry_testkit::{service, snapshot};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use machine::Process;
use measure::{Samples, timed};

/// How many endpoints a service has.
const ENDPOINTS: usize = 20;
/// The most scopes that clients may choose a name for: none does here.
const MAX_SCOPES: usize = 16;

/// How much there is.
struct Size {
    services: usize,
    namespaces: usize,
    places: usize,
    changes: u32,
}

#[tokio::main]
async fn main() {
    let size = match machine::is_smoke() {
        true => Size { services: 20, namespaces: 3, places: 2, changes: 2 },
        false => Size { services: 1_000, namespaces: 50, places: 20, changes: 50 },
    };
    let asked = std::env::args().skip_while(|arg| arg != NAMESPACES).nth(1);
    if let Some(namespaces) = asked {
        let namespaces = namespaces.parse().expect("it is a number");
        return measure(&Size { namespaces, ..size }).await;
    }
    println!("{}\n", machine::description());
    if machine::is_smoke() {
        return measure(&size).await;
    }
    // Memory that one has freed would be the next one's: each has a process of its own.
    for namespaces in [size.namespaces, 5 * size.namespaces] {
        let own = std::env::current_exe().expect("this program has a path");
        let run = Command::new(own).args(["--bench", NAMESPACES, &namespaces.to_string()]).status().await;
        assert!(run.is_ok_and(|it| it.success()), "the bench with {namespaces} namespaces failed");
    }
}

/// How many namespaces there are, on the command line.
const NAMESPACES: &str = "--namespaces";

async fn measure(size: &Size) {
    let (sink, feed) = channel();
    let registered = Registered::new("bench", "bench", 0, feed, Policy::default());
    let options = MeshOptions { prefer_near: true, ..MeshOptions::default() };
    let world = World::new(vec![registered], options, MAX_SCOPES);
    let mut tasks = JoinSet::new();
    let (done, mut translated) = mpsc::channel(1_024);
    tasks.spawn({
        let world = world.clone();
        let debounce = Debounce::new(Duration::from_millis(1), Duration::from_millis(1));
        async move { world.follow(debounce, |it| _ = done.try_send(it.took)).await }
    });
    let mut services: Vec<_> = (0..size.services).map(|at| one(size, at, 0)).collect();
    sink.publish(snapshot(services.iter().cloned()));

    let process = Process::of(std::process::id());
    let router = Scope::new(Role::Router, ConfigSource::Ads);
    let mut common = world.subscribe(&router).expect("it is not limited");
    common.wait_for(|_| true).await;
    let before = process.resident();
    let scopes: Vec<Scope> = scopes(size).collect();
    let count = scopes.len();
    let started = Instant::now();
    // The places' endpoints come with the first namespace, and are those of all others, too.
    let (first, others) = scopes.split_at(size.places);
    let mut views = follow(&world, first).await;
    let with_places = process.resident();
    views.extend(follow(&world, others).await);
    let all = started.elapsed();
    let after = process.resident();
    let share = |from: u64, to: u64, of: usize| (to.saturating_sub(from) >> 10) as usize / of.max(1);
    println!("{} services x {ENDPOINTS} endpoints, {count} scopes:", size.services);
    println!("  {} namespaces x {} places", size.namespaces, size.places);
    println!("  memory of a place, with one scope {:>25} kB", share(before, with_places, first.len()));
    println!("  memory of each further scope {:>30} kB", share(with_places, after, others.len()));
    println!("  all of them from nothing {:>34} ms", measure::ms(all));
    println!("{:>36} {:>10} {:>10} (ms)", "min", "median", "max");
    while translated.try_recv().is_ok() {}

    let middle = size.services / 2;
    let mut follow =
        Follow { sink: &sink, services: &mut services, views: &mut views, translated: &mut translated };
    follow.change("an endpoint changes", size.changes, |step| (middle, one(size, middle, step))).await;
    follow
        .change("one service more", size.changes, |step| {
            let at = size.services + step as usize;
            (at, one(size, at, 0))
        })
        .await;
    println!();
}

/// A service that clients of one namespace call by a name of its own, with endpoints in all places.
fn one(size: &Size, at: usize, step: u32) -> Arc<Service> {
    let builder = service(&format!("service-{at:05}.bench.local")).http(8080);
    let builder = builder.namespace(&namespace(at % size.namespaces)).local_name(&format!("short-{at}"));
    let endpoint = |builder: pilot_registry_testkit::ServiceBuilder, number: usize| {
        let place = number % size.places;
        let address = format!("10.{}.{}.{number}", at >> 8, at & 0xff);
        let builder = builder.endpoint(&address, 9000).region(&region(place)).zone(&zone(place));
        if number == 0 { builder.weight(1 + step) } else { builder }
    };
    (0..ENDPOINTS).fold(builder, endpoint).build()
}

fn namespace(at: usize) -> String {
    format!("ns-{at}")
}

fn region(place: usize) -> String {
    format!("region-{}", place / 4)
}

fn zone(place: usize) -> String {
    format!("zone-{place}")
}

fn scopes(size: &Size) -> impl Iterator<Item = Scope> {
    (0..size.namespaces).flat_map(|at| {
        let namespace = namespace(at).try_into().ok();
        let scope = Scope { namespace, ..Scope::new(Role::Router, ConfigSource::Ads) };
        let at = move |place| {
            let locality = Locality { region: region(place), zone: zone(place), ..Locality::default() };
            Scope { locality, ..scope.clone() }
        };
        (0..size.places).map(at)
    })
}

/// One stream of each scope, with its first view.
async fn follow(world: &World, scopes: &[Scope]) -> Vec<Views> {
    let mut views = Vec::new();
    for scope in scopes {
        views.push(world.subscribe(scope).expect("they are not limited"));
    }
    for views in &mut views {
        views.wait_for(|_| true).await;
    }
    views
}

/// All streams, and what makes them move.
struct Follow<'a> {
    sink: &'a SnapshotSink,
    services: &'a mut Vec<Arc<Service>>,
    views: &'a mut [Views],
    translated: &'a mut mpsc::Receiver<Duration>,
}

impl Follow<'_> {
    async fn change(&mut self, what: &str, times: u32, change: impl Fn(u32) -> (usize, Arc<Service>)) {
        let (mut ready, mut woken) = (Vec::new(), Vec::new());
        for step in 1..=times {
            let (at, service) = change(step);
            match self.services.get_mut(at) {
                Some(place) => *place = service,
                None => self.services.push(service),
            }
            let (next, _) = timed(|| snapshot(self.services.iter().cloned()));
            let seen: Vec<_> = self.views.iter_mut().map(Views::latest).collect();
            let started = Instant::now();
            self.sink.publish(next);
            let waiting = self.views.iter_mut().zip(seen).map(|(views, before)| next_view(views, before));
            let mut waiting: FuturesUnordered<_> = waiting.collect();
            while waiting.next().await.is_some() {}
            woken.push(started.elapsed());
            ready.extend(self.translated.recv().await);
        }
        println!("  {what:<22} layers {}", ready.into_iter().collect::<Samples>());
        println!("  {:<22} views  {}", "", woken.into_iter().collect::<Samples>());
    }
}

/// Waits for a view that is another one than before, and for what is new in it.
async fn next_view(views: &mut Views, before: Option<Arc<View>>) -> usize {
    loop {
        views.changed().await;
        match (views.peek(), &before) {
            (Some(now), Some(before)) if !Arc::ptr_eq(&now, before) => {
                let changes = now.changes_since(before);
                return ResourceType::ALL.map(|kind| changes.of(kind).len()).iter().sum();
            }
            _ => {}
        }
    }
}
