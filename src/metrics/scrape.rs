//! What is known at the moment of a scrape: registries, the mesh, proxies.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::label::{OfRegistry, OfState, STATES, health_word, to_i64};
use super::served::ServedGauges;
use super::{proxies, rules};
use crate::proxies::Proxies;
use crate::supervisor::Registered;
use crate::translate::{Claim, Conflict};
use crate::world::World;

#[derive(Default)]
struct Gauges {
    health: Family<OfState, Gauge>,
    age: Family<OfRegistry, Gauge<f64, AtomicU64>>,
    revision: Family<OfRegistry, Gauge>,
    skipped: Family<OfRegistry, Gauge>,
    notes: Family<OfRegistry, Gauge>,
    guessed: Family<OfRegistry, Gauge>,
}

pub(super) fn registry(world: &World, connected: &Proxies) -> Registry {
    let mut registry = Registry::with_prefix("pilot");
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    registry.register("build", "The version of pilot", Info::new(version));
    proxies::register(&mut registry, connected);
    let help = "Different configurations that connected proxies are sent";
    single(&mut registry, "scopes", help, world.scopes());
    register_held(&mut registry, world.registries());
    single(
        &mut registry,
        "ready",
        "Whether enough is known of the registries to serve",
        usize::from(world.mesh().is_some()),
    );
    let age = Gauge::<f64, AtomicU64>::default();
    age.set(world.age().as_secs_f64());
    let help = "Age of the oldest change of a registry that is not served yet; 0 when all are";
    registry.register("world_age_seconds", help, age);
    let mesh = world.mesh();
    let services = mesh.as_ref().map_or(0, |mesh| mesh.catalog.services().len());
    single(&mut registry, "services", "Services of the mesh, of all registries together", services);

    let unserved = mesh
        .as_ref()
        .map_or(0, |mesh| mesh.catalog.services().iter().filter(|service| !service.is_served()).count());
    let help = "Services without a usable endpoint: clients get 503, or see [mesh] panic";
    single(&mut registry, "services_without_usable_endpoints", help, unserved);

    let disagreements = mesh.as_ref().map_or(0, |mesh| mesh.catalog.disagreements().count());
    single(
        &mut registry,
        "service_conflicts",
        "Things that registries say differently of one service",
        disagreements,
    );

    register_claims(&mut registry, world);
    rules::register(&mut registry, world, connected);

    let (gauges, served) = (Gauges::default(), ServedGauges::default());
    for registered in world.registries() {
        gauges.read(registered);
        served.read(registered);
    }
    gauges.register(&mut registry);
    served.register(&mut registry);
    registry
}

fn single(registry: &mut Registry, name: &str, help: &str, value: usize) {
    let gauge = Gauge::<i64>::default();
    gauge.set(to_i64(value));
    registry.register(name, help, gauge);
}

/// What is claimed, in words.
const CLAIMS: [&str; 4] = ["endpoint", "listener", "name", "virtual_address"];

fn word(claim: &Claim) -> &'static str {
    match claim {
        Claim::Endpoint(..) => CLAIMS[0],
        Claim::Listener(_) | Claim::UdpListener(_) => CLAIMS[1],
        Claim::Name(_) => CLAIMS[2],
        Claim::VirtualAddress(..) => CLAIMS[3],
    }
}

/// Adds what services claim and do not get, for whichever of the connected proxies.
fn register_claims(registry: &mut Registry, world: &World) {
    let sets = world.conflicts();
    let conflicts: BTreeSet<&Conflict> = sets.iter().flat_map(|(_, set)| set.iter()).collect();
    let counts = Family::<[(&str, &str); 1], Gauge>::default();
    for claim in CLAIMS {
        counts.get_or_create(&[("claim", claim)]).set(0);
    }
    for conflict in conflicts {
        counts.get_or_create(&[("claim", word(&conflict.claim))]).inc();
    }
    let help =
        "Things that a service claims and does not get, as another has them: `pilot services` names them";
    registry.register("claim_conflicts", help, counts);
}

/// Adds how long the oldest of what is held of each registry has been held.
fn register_held(registry: &mut Registry, registries: &[Registered]) {
    let held = Family::<OfRegistry, Gauge<f64, AtomicU64>>::default();
    for registered in registries {
        let known = registered.intake.state().known;
        let since = known.and_then(|known| known.held.as_deref().map(|held| held.since));
        let seconds = since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        held.get_or_create(&[("registry", registered.name.to_string())]).set(seconds);
    }
    registry.register("registry_held_seconds", "Time since the oldest hold of the registry began", held);
}

impl Gauges {
    fn read(&self, registered: &Registered) {
        let name = registered.name.to_string();
        let label = [("registry", name.clone())];
        let (health, published, skipped, notes) = registered.feed.with_state(|state| {
            (state.health(), state.published.clone(), state.skipped.len(), state.notes.len())
        });
        let health = health_word(&health);
        for state in STATES {
            let labels = [("registry", name.clone()), ("state", state.to_owned())];
            self.health.get_or_create(&labels).set(i64::from(state == health));
        }
        self.skipped.get_or_create(&label).set(to_i64(skipped));
        self.notes.get_or_create(&label).set(to_i64(notes));
        let guessed = published.as_ref().map_or(0, |published| published.value.guessed_ports());
        self.guessed.get_or_create(&label).set(to_i64(guessed));
        if let Some(published) = published {
            self.revision.get_or_create(&label).set(i64::try_from(published.revision).unwrap_or(i64::MAX));
        }
        if let Some(age) = registered.data_age() {
            self.age.get_or_create(&label).set(age.as_secs_f64());
        }
    }

    fn register(self, registry: &mut Registry) {
        registry.register("registry_health", "1 for the state that the registry is in", self.health);
        registry.register(
            "registry_data_age_seconds",
            "Time since the platform last said that what is served is its data",
            self.age,
        );
        registry.register(
            "registry_revision",
            "Changes since the start that the registry said",
            self.revision,
        );
        registry.register(
            "registry_skipped_entries",
            "Entries that make no sense and are skipped: they are not served",
            self.skipped,
        );
        registry.register(
            "registry_notes",
            "Entries that are served and want a word: a port that was guessed, a field that does not count",
            self.notes,
        );
        registry.register(
            "registry_guessed_ports",
            "Ports of services that are served at numbers which were guessed: `pilot services -o wide` names them",
            self.guessed,
        );
    }
}
