//! How long it takes to translate a mesh, and to follow a change of it: catalog, translation, resource set.
//!
//! `cargo bench --bench translate`; figures and budgets are in benches/README.md.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

#[allow(dead_code, reason = "each bench uses its part")]
#[path = "../support/machine.rs"]
mod machine;
#[allow(dead_code, reason = "each bench uses its part")]
#[path = "../support/measure.rs"]
mod measure;
#[allow(dead_code, reason = "each bench uses its part")]
#[path = "../support/services.rs"]
mod services;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pilot::catalog::{Catalog, Source};
use pilot::mesh::{Mesh, MeshOptions};
use pilot::proxy::{ConfigSource, Role, Scope};
use pilot::resources::View;
use pilot::rules::{DocumentChange, Library, StoreRank};
use pilot::translate::{Layers, translate};
use pilot_registry::{Content, Locality, Service, Snapshot, Text, Texts};
use tokio::time::Instant;

use machine::Process;
use measure::{Samples, timed};

const ENDPOINTS: usize = 20;

/// Namespaces with proxies, among which the services are divided.
const NAMESPACES: usize = 50;

fn main() {
    let smoke = machine::is_smoke();
    println!("{}\n", machine::description());
    let sizes: &[usize] = if smoke { &[20] } else { &[1_000, 10_000] };
    for count in sizes {
        let (runs, changes) = if smoke { (1, 2) } else { (10, 50) };
        measure(*count, runs, changes);
    }
}

fn measure(count: usize, runs: usize, changes: usize) {
    println!("{count} services x {ENDPOINTS} endpoints{:>24} {:>10} {:>10}", "min", "median", "max (ms)");
    let process = Process::of(std::process::id());
    let services = services::services(count, ENDPOINTS);
    let mesh = mesh(&services);
    let before = process.resident();
    process.forget_peak();
    print("full translation", &Samples::of(runs, || translate(&mesh, &scope(), Instant::now())));
    let peak = process.peak().saturating_sub(before) >> 20;
    println!("{:<30} {peak:>10} MiB", "  most memory above the mesh's");

    near(&mesh, &process);
    named(count, changes, &process);

    let mut world = World::new(services, mesh);
    let middle = count / 2;
    world.follow("one endpoint", changes, |services, step| {
        services[middle] = services::service(middle, ENDPOINTS, step);
    });
    world.follow("one alias", changes, |services, step| {
        let alias = format!("alias-{step}.bench.local");
        services[middle] = services::builder(middle, ENDPOINTS, 0).alias(&alias).build();
    });
    world.follow("one port", changes, |services, step| {
        services[middle] = services::builder(middle, ENDPOINTS, 0).http(20_000 + step).build();
    });
    world.follow("one service more", changes, |services, step| {
        services.push(services::service(count + step as usize, ENDPOINTS, 0));
    });
    ruled(count, changes);
    println!();
}

/// A VirtualService of each service, and a change of one of them: where its requests go, and where they go as shares of
/// two subsets.
fn ruled(count: usize, changes: usize) {
    let mut mesh = mesh(&services::services(count, ENDPOINTS));
    let mut layers = Layers::default();
    layers.follow(&scope());
    layers.advance(Arc::new(mesh.clone()), Instant::now());
    let mut library = Library::default();
    let mut texts: BTreeMap<Arc<str>, Arc<Text>> =
        (0..count).map(|index| (format!("{index:05}").into(), document(index, 50))).collect();
    let mut last = Texts::from_iter(texts.clone());
    let rank = StoreRank { priority: 0, name: "bench".into() };
    let mut take = |texts: &Texts, mesh: &mut Mesh| {
        let changed = library.take(texts, "default").documents;
        let in_force = library.in_force();
        let change = |id| DocumentChange { store: rank.clone(), now: in_force.get(&id).cloned(), id };
        mesh.rules = mesh.rules.with(changed.into_iter().map(change)).0;
    };
    let ((), reading) = timed(|| take(&last, &mut mesh));
    let first = Arc::new(mesh.clone());
    let ((), translating) = timed(|| layers.advance(first, Instant::now()));
    print("rules: all are read", &[reading].into_iter().collect());
    print("  all are translated", &[translating].into_iter().collect());
    let step = |step: u32| {
        texts.insert(format!("{:05}", count / 2).into(), document(count / 2, step));
        let next = Texts::from_iter(texts.clone()).reusing(&last);
        let ((), reading) = timed(|| take(&next, &mut mesh));
        last = next;
        let mesh = Arc::new(mesh.clone());
        [reading, timed(|| layers.advance(mesh, Instant::now())).1]
    };
    let stages: Vec<[Duration; 2]> = (1..).take(changes).map(step).collect();
    let stage = |at: usize| stages.iter().map(|stages| stages[at]).collect::<Samples>();
    print("one rule changes: reading", &stage(0));
    print("  translation", &stage(1));
    print("  both", &stages.iter().map(|stages| stages.iter().sum()).collect());
}

fn document(index: usize, share: u32) -> Arc<Text> {
    let host = services::host(index);
    let text = format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: s{index}}}\nspec:\n  host: \
         {host}\n  subsets:\n  - {{name: v1, labels: {{version: v1}}}}\n  - {{name: v2, labels: {{version: \
         v2}}}}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: s{index}}}\nspec:\n  \
         hosts: [{host}]\n  http:\n  - match: [{{uri: {{prefix: /api/}}}}]\n    route:\n    - {{destination: {{host: \
         {host}, subset: v1}}, weight: {share}}}\n    - {{destination: {{host: {host}, subset: v2}}, weight: 50}}\n  - \
         route: [{{destination: {{host: {host}}}}}]\n"
    );
    Arc::new(Text { text: text.into(), age: None, namespace: None })
}

/// What each locality costs beside the layers that all share: two of three have endpoints of their own.
fn near(mesh: &Mesh, process: &Process) {
    let mut layers = Layers::default();
    layers.follow(&scope());
    let mesh = Arc::new(mesh.clone());
    layers.advance(Arc::clone(&mesh), Instant::now());
    let before = process.resident();
    let zones = ["a", "b", "c"]
        .map(|zone| Scope { locality: Locality { zone: zone.into(), ..Locality::default() }, ..scope() });
    let times = zones.map(|scope| {
        layers.follow(&scope);
        timed(|| layers.advance(Arc::clone(&mesh), Instant::now())).1
    });
    print("one more of 3 localities", &times.into_iter().collect());
    let grown = process.resident().saturating_sub(before) >> 20;
    println!("{:<30} {grown:>10} MiB", "  memory of all 3");
}

/// What namespaces with short names cost beside the layers that all share, and what a change costs all of them.
fn named(count: usize, changes: usize, process: &Process) {
    let own = |index: usize, step: u32| {
        let namespace = format!("ns-{}", index % NAMESPACES);
        let service = services::builder(index, ENDPOINTS, step).namespace(&namespace);
        service.local_name(&format!("short-{index}")).build()
    };
    let mut services: Vec<_> = (0..count).map(|index| own(index, 0)).collect();
    let mut mesh = mesh(&services);
    let mut layers = Layers::default();
    layers.follow(&scope());
    layers.advance(Arc::new(mesh.clone()), Instant::now());
    let before = process.resident();
    let namespace = |index: usize| format!("ns-{index}").try_into().expect("it is a namespace");
    let scopes = (0..NAMESPACES).map(|index| Scope { namespace: Some(namespace(index)), ..scope() });
    scopes.for_each(|scope| layers.follow(&scope));
    layers.advance(Arc::new(mesh.clone()), Instant::now());
    let grown = process.resident().saturating_sub(before) >> 10;
    println!("{:<30} {grown:>10} KiB", format!("memory of {NAMESPACES} namespaces"));
    let mut follow = |what: &str, change: &dyn Fn(&mut Vec<Arc<Service>>, u32)| {
        let step = |step: u32| {
            change(&mut services, step);
            mesh.catalog = Catalog::merge(&sources(&services), &mesh.catalog);
            let mesh = Arc::new(mesh.clone());
            timed(|| layers.advance(mesh, Instant::now())).1
        };
        print(&format!("{what}: {NAMESPACES} namespaces"), &(1..).take(changes).map(step).collect());
    };
    follow("one endpoint", &|services, step| services[count / 2] = own(count / 2, step));
    follow("one service more", &|services, step| services.push(own(count + step as usize, 0)));
}

/// A mesh that is followed from change to change, as pilot does it.
struct World {
    services: Vec<Arc<Service>>,
    mesh: Mesh,
    layers: Layers,
    view: Arc<View>,
}

impl World {
    fn new(services: Vec<Arc<Service>>, mesh: Mesh) -> Self {
        let mut layers = Layers::default();
        layers.follow(&scope());
        layers.advance(Arc::new(mesh.clone()), Instant::now());
        let view = Arc::new(layers.view(&scope()).expect("it is followed"));
        Self { services, mesh, layers, view }
    }

    /// Changes the services again and again, and measures each stage.
    fn follow(&mut self, what: &str, times: usize, change: impl Fn(&mut Vec<Arc<Service>>, u32)) {
        let stages: Vec<[Duration; 3]> = (1..).take(times).map(|step| self.step(step, &change)).collect();
        let stage = |at: usize| stages.iter().map(|stages| stages[at]).collect::<Samples>();
        print(&format!("{what}: catalog"), &stage(0));
        print("  translation", &stage(1));
        print("  what differs", &stage(2));
        let all = stages.iter().map(|stages| stages.iter().sum());
        print("  all three", &all.collect());
    }

    fn step(&mut self, step: u32, change: &impl Fn(&mut Vec<Arc<Service>>, u32)) -> [Duration; 3] {
        change(&mut self.services, step);
        let sources = sources(&self.services);
        let (catalog, merging) = timed(|| Catalog::merge(&sources, &self.mesh.catalog));
        self.mesh.catalog = catalog;
        let mesh = Arc::new(self.mesh.clone());
        let ((), translating) = timed(|| self.layers.advance(mesh, Instant::now()));
        let view = Arc::new(self.layers.view(&scope()).expect("it is followed"));
        let (changes, comparing) = timed(|| view.changes_since(&self.view));
        assert!(!changes.is_empty(), "each step of a bench changes something");
        self.view = view;
        [merging, translating, comparing]
    }
}

fn scope() -> Scope {
    Scope::new(Role::Router, ConfigSource::Ads)
}

fn mesh(services: &[Arc<Service>]) -> Mesh {
    let catalog = Catalog::merge(&sources(services), &Catalog::default());
    let options = MeshOptions { prefer_near: true, ..MeshOptions::default() };
    Mesh { catalog, options, ..Mesh::default() }
}

fn sources(services: &[Arc<Service>]) -> [Source; 1] {
    let snapshot = Snapshot::new(services.iter().cloned()).expect("hosts are numbered");
    [Source::new("bench", 0, Arc::new(snapshot))]
}

fn print(what: &str, samples: &Samples) {
    println!("{what:<30} {samples}");
}
