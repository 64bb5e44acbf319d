//! The same with newcomers that arrive, and scopes that come and go, while a step is being taken; with services that not
//! everybody sees, and with one host of two owners.

use super::*;

#[derive(Clone, Debug)]
enum During {
    /// A service comes, changes or goes, and a step is begun.
    Service(usize, u32),
    /// The next wave of the step. After the last one, what newcomers have brought is taken along, and all is committed.
    Wave,
    /// What comes between waves.
    Other(Event),
}

fn during() -> impl Strategy<Value = During> {
    let other = prop_oneof![
        4 => (0..12usize).prop_map(Event::Scope),
        4 => Just(Event::Begin),
        6 => (0..4usize).prop_map(Event::Arrive),
        1 => proptest::bool::ANY.prop_map(Event::Fail),
    ];
    prop_oneof![
        6 => (0..4usize, 0..10u32).prop_map(|(service, form)| During::Service(service, form)),
        8 => Just(During::Wave),
        15 => other.prop_map(During::Other),
    ]
}

fn all_scopes() -> Vec<Scope> {
    let ads = |role| Scope::new(role, ConfigSource::Ads);
    let within = |namespace: &str| Some(namespace.to_owned().try_into().unwrap());
    let near = |zone: &str| Locality { region: "eu".into(), zone: zone.into(), ..Locality::default() };
    let vhds = |namespace, locality| Scope {
        client: ClientKind::EnvoyWithVhds,
        namespace,
        locality,
        ..ads(Role::Router)
    };
    let more = [
        vhds(within("bank"), near("a")),
        vhds(within("shop"), near("a")),
        vhds(None, Locality::default()),
        Scope { namespace: within("bank"), ..ads(Role::Sidecar) },
        Scope { namespace: within("bank"), locality: near("b"), ..ads(Role::Router) },
    ];
    scopes().into_iter().chain(more).collect()
}

/// `None` = it is gone.
fn any_form(index: usize, of: u32) -> Option<Arc<Service>> {
    let own = format!("s{index}.local");
    let made = match (of, index) {
        (0..=5, _) => return form(index, of),
        (6, 0 | 1) => service("db.local").http(80).export_to(&["."]),
        (6, 2) => service("db.local").http(80).http(81),
        (6, _) => service(&own).http(80).export_to(&["shop"]),
        (7, _) => service(&own).http(80).export_to(&[".", "shop"]).alias("web"),
        (8, _) => service(&own).tcp(80).export_to(&["."]),
        _ => service(&own).http(81).alias("web").local_name("web"),
    };
    let namespace = if index.is_multiple_of(2) { "shop" } else { "bank" };
    let made = made.namespace(namespace).endpoint(&format!("10.0.0.{of}"), 80).region("eu").zone("a");
    Some(made.endpoint("10.0.1.1", 80).region("eu").zone("b").build())
}

/// A step that is being taken.
struct Taking {
    step: Arc<Step>,
    done: Results,
    waves: usize,
}

struct Stepwise {
    world: World,
    taking: Option<Taking>,
}

impl Stepwise {
    fn begin(&mut self) {
        self.finish();
        let step = self.world.step();
        self.taking = Some(Taking { step, done: Results::new(), waves: 0 });
    }

    fn wave(&mut self) {
        let Some(Taking { step, mut done, waves }) = self.taking.take() else { return };
        let jobs = self.world.layers.jobs(&step, Wave::ALL[waves], &done);
        done.extend(jobs.into_iter().map(Job::run));
        if waves + 1 < Wave::ALL.len() {
            self.taking = Some(Taking { step, done, waves: waves + 1 });
        } else {
            self.world.layers.take(&step, done);
        }
    }

    fn finish(&mut self) {
        while self.taking.is_some() {
            self.wave();
        }
    }

    fn apply(&mut self, event: &During) {
        match event {
            During::Service(index, made) => {
                self.finish();
                self.world.services[*index] = any_form(*index, *made);
                self.begin();
            }
            During::Wave => self.wave(),
            During::Other(event) => self.world.apply(event),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: pilot_registry_testkit::effort(300, 20_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_comes_and_goes_while_a_step_is_taken_is_in_the_end_as_if_made_from_nothing(
        events in prop::collection::vec(during(), 1..60),
    ) {
        let mut stepwise = Stepwise { world: World::new(all_scopes()), taking: None };
        events.iter().for_each(|event| stepwise.apply(event));
        stepwise.finish();
        let mut world = stepwise.world;
        world.settle();
        world.is_as_if_made_from_nothing()?;
        let used = world.used();
        let left: Vec<_> = world.layers.keys().filter(|key| !used.contains(*key)).collect();
        prop_assert!(left.is_empty(), "nobody sees {:?}", left);
    }
}
