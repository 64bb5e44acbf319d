//! However newcomers, changes and failures come together: in the end everybody sees what a translation from nothing gives.

mod during_steps;

use std::sync::atomic::{AtomicBool, Ordering};

use pilot_registry::{Locality, Service};
use pilot_registry_testkit::{service, snapshot};
use proptest::prelude::*;

use super::*;
use crate::catalog::{Catalog, Source};
use crate::mesh::MeshOptions;
use crate::proxy::{ClientKind, ConfigSource, Role};
use crate::resources::ResourceType;
use crate::translate::translate;

#[derive(Clone, Debug)]
enum Event {
    /// A service comes, changes or goes.
    Service(usize, u32),
    /// Somebody comes to see that, or leaves.
    Scope(usize),
    /// What is wanted is begun.
    Begin,
    /// What was begun is made, and arrives.
    Arrive(usize),
    /// All that is wanted is begun, made, and arrives.
    CatchUp,
    /// From now on making a layer fails, or does not.
    Fail(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..4usize, 0..6u32).prop_map(|(service, form)| Event::Service(service, form)),
        2 => (0..7usize).prop_map(Event::Scope),
        3 => Just(Event::Begin),
        5 => (0..4usize).prop_map(Event::Arrive),
        2 => Just(Event::CatchUp),
        1 => proptest::bool::ANY.prop_map(Event::Fail),
    ]
}

fn scopes() -> [Scope; 7] {
    let ads = |role| Scope::new(role, ConfigSource::Ads);
    let within = |namespace: &str| Some(namespace.to_owned().try_into().unwrap());
    let near = |zone: &str| Locality { region: "eu".into(), zone: zone.into(), ..Locality::default() };
    [
        ads(Role::Router),
        ads(Role::Sidecar),
        Scope { client: ClientKind::EnvoyWithVhds, ..ads(Role::Sidecar) },
        Scope { namespace: within("shop"), ..ads(Role::Sidecar) },
        Scope { locality: near("a"), ..ads(Role::Router) },
        Scope { locality: near("b"), namespace: within("shop"), ..ads(Role::Router) },
        Scope { client: ClientKind::EnvoyWithVhds, namespace: within("shop"), ..ads(Role::Sidecar) },
    ]
}

/// `None` = it is gone.
fn form(index: usize, form: u32) -> Option<Arc<Service>> {
    let (host, namespace) =
        (format!("s{index}.local"), if index.is_multiple_of(2) { "shop" } else { "bank" });
    let made = match form {
        0 => return None,
        1 => service(&host).http(80),
        2 => service(&host).http(81).local_name(&format!("short-{index}")),
        3 => service(&host).tcp(5432),
        4 => service(&host).http(80).local_name("web"),
        _ => service(&host).http(80).http(81),
    };
    let made = made.namespace(namespace).endpoint(&format!("10.0.0.{form}"), 80).region("eu").zone("a");
    Some(made.endpoint("10.0.1.1", 80).region("eu").zone("b").build())
}

struct World {
    layers: Layers,
    scopes: Vec<Scope>,
    services: [Option<Arc<Service>>; 4],
    seen: BTreeSet<usize>,
    begun: Vec<Job>,
    fails: Arc<AtomicBool>,
}

impl World {
    fn new(scopes: Vec<Scope>) -> Self {
        let (mut layers, fails) = (Layers::default(), Arc::new(AtomicBool::new(false)));
        let failing = Arc::clone(&fails);
        layers.make_with(Maker::after(move |job| {
            // Not all of them: what is above and below a layer that fails goes on.
            let is_one = matches!(job.key(), LayerKey::Base(Role::Sidecar, _) | LayerKey::Audience(..));
            assert!(!(is_one && failing.load(Ordering::Relaxed)), "no such thing");
        }));
        let (services, seen, begun) = ([const { None }; 4], BTreeSet::new(), Vec::new());
        let mut world = Self { layers, scopes, services, seen, begun, fails };
        world.advance();
        world
    }

    fn advance(&mut self) {
        let step = self.step();
        self.layers.take(&step, Results::new());
    }

    fn step(&self) -> Arc<Step> {
        let source = Source {
            registry: "east".into(),
            priority: 0,
            snapshot: Arc::new(snapshot(self.services.iter().flatten().cloned())),
            held: None,
            documents: None,
        };
        let before = self.layers.mesh().map(|mesh| mesh.catalog.clone()).unwrap_or_default();
        let options = MeshOptions { prefer_near: true, ..MeshOptions::default() };
        let mesh = Arc::new(Mesh { catalog: Catalog::merge(&[source], &before), options, ..Mesh::default() });
        self.layers.step(mesh, PublishedAt::now())
    }

    /// The layers of those who are there.
    fn used(&self) -> BTreeSet<LayerKey> {
        self.seen.iter().flat_map(|index| LayerKey::of(&self.scopes[*index])).collect()
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Service(index, made) => {
                self.services[*index] = form(*index, *made);
                self.advance();
            }
            Event::Scope(index) if self.seen.remove(index) => {
                let left = self.used();
                let gone = LayerKey::of(&self.scopes[*index]).into_iter().filter(|key| !left.contains(key));
                gone.for_each(|key| self.layers.forget(&key));
            }
            Event::Scope(index) => {
                self.seen.insert(*index);
                self.layers.follow(&self.scopes[*index]);
            }
            Event::Begin => self.begun.extend(self.layers.newcomers(PublishedAt::now())),
            Event::Arrive(index) if *index < self.begun.len() => {
                let built = self.begun.remove(*index).build();
                match self.layers.arrived(built, PublishedAt::now()) {
                    Arrived::Unused => {}
                    Arrived::Behind(job) => self.begun.push(job),
                    Arrived::Ready(step, done) => self.layers.take(&step, done),
                }
            }
            Event::Arrive(_) => {}
            Event::CatchUp => self.catch_up(),
            Event::Fail(fails) => self.fails.store(*fails, Ordering::Relaxed),
        }
    }

    fn catch_up(&mut self) {
        for _ in 0..1000 {
            self.apply(&Event::Begin);
            if self.begun.is_empty() {
                return;
            }
            self.apply(&Event::Arrive(0));
        }
        panic!("it never ends");
    }

    /// Nothing fails any more, and all that is begun arrives.
    fn settle(&mut self) {
        self.apply(&Event::Fail(false));
        self.advance();
        self.catch_up();
        assert!(self.begun.is_empty() && self.layers.wanted.is_empty() && self.layers.broken.is_empty());
    }

    fn is_as_if_made_from_nothing(&self) -> Result<(), TestCaseError> {
        let mesh = self.layers.mesh().unwrap();
        for scope in self.seen.iter().map(|index| &self.scopes[*index]) {
            let view = self.layers.view(scope).expect("it is there");
            let expected = translate(mesh, scope, PublishedAt::now());
            prop_assert_eq!(versions(&view), versions(&expected.view), "{}", scope);
            prop_assert_eq!(self.layers.conflicts(scope), expected.conflicts);
        }
        Ok(())
    }
}

fn versions(view: &View) -> [String; 5] {
    ResourceType::ALL.map(|kind| view.of(kind).version().to_string())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: pilot_registry_testkit::effort(200, 4000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_comes_late_or_failed_is_in_the_end_as_if_made_from_nothing(
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut world = World::new(scopes().into());
        events.iter().for_each(|event| world.apply(event));
        world.settle();
        world.is_as_if_made_from_nothing()?;
    }
}

#[test]
fn a_name_of_a_namespace_goes_to_the_next_who_claims_it() {
    let mut world = World::new(scopes().into());
    [Event::Service(0, 4), Event::Service(2, 4), Event::Scope(5)].iter().for_each(|it| world.apply(it));
    world.settle();
    let web = |world: &World| {
        let view = world.layers.view(&scopes()[5]).unwrap();
        let hosts = view.of(ResourceType::Route).get("80").unwrap().rope().unwrap().virtual_hosts();
        let called = hosts.filter(|host| host.domains().any(|domain| domain == "web"));
        called.map(|host| host.name().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(web(&world), ["s0.local:80/shop"]);
    world.apply(&Event::Service(0, 0));
    assert_eq!(web(&world), ["s2.local:80/shop"]);
    world.apply(&Event::Service(0, 4));
    assert_eq!(web(&world), ["s0.local:80/shop"]);
}
