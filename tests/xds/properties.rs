//! The two end-to-end properties, over random interleavings: after quiet a client has what there is, and at
//! each moment every cluster that its routes name is known to it. proptest prints the case that fails, with
//! the seed that repeats it (`PROPTEST_RNG_SEED`); `PROPTEST_CASES` runs more.

use std::collections::BTreeSet;

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route};
use pilot::xds::{Delta, Sotw};
use pilot_registry_testkit::effort;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::model::{Envoy, Words, references};
use crate::things::Things;

const SERVICES: [&str; 4] = ["a", "b", "c", "d"];
const ROUTES: [&str; 3] = ["r", "s", "t"];
const LISTENERS: [&str; 3] = ["l", "m", "n"];

/// What can happen.
#[derive(Clone, Debug)]
enum Step {
    /// A service appears, or its cluster changes; it finds its endpoints itself if `dns`.
    Service(usize, bool),
    Endpoints(usize),
    NoService(usize),
    /// A route to those of these services that exist.
    Route(usize, Vec<usize>),
    NoRoute(usize),
    /// A listener with those of these routes that exist, and directly to those of these services that do.
    Listener(usize, Vec<usize>, Vec<usize>),
    NoListener(usize),
    /// What is there becomes such that the client refuses it, and with `true` all that comes with it.
    Spoil(usize, usize, bool),
    /// What happened is published.
    Publish,
    Request,
    Response,
    Disconnect,
    Connect,
}

fn step() -> impl Strategy<Value = Step> {
    let some = |max: usize| proptest::collection::vec(0..max, 0..=max);
    prop_oneof![
        4 => (0..4usize, proptest::bool::weighted(0.2)).prop_map(|(n, dns)| Step::Service(n, dns)),
        3 => (0..4usize).prop_map(Step::Endpoints),
        2 => (0..4usize).prop_map(Step::NoService),
        4 => (0..3usize, some(4)).prop_map(|(n, services)| Step::Route(n, services)),
        1 => (0..3usize).prop_map(Step::NoRoute),
        3 => (0..3usize, some(3), some(4)).prop_map(|(n, routes, services)| Step::Listener(n, routes, services)),
        1 => (0..3usize).prop_map(Step::NoListener),
        8 => Just(Step::Publish),
        16 => Just(Step::Request),
        16 => Just(Step::Response),
        2 => (0..4usize, 0..4usize, any::<bool>()).prop_map(|(kind, n, all)| Step::Spoil(kind, n, all)),
        1 => Just(Step::Disconnect),
        2 => Just(Step::Connect),
    ]
}

/// The server's side. It never publishes a reference to something that is not there.
#[derive(Default)]
struct Server {
    things: Things,
    changes: usize,
}

impl Server {
    fn put(&mut self, kind: ResourceType, name: &str, references: &str) {
        self.changes += 1;
        let content = format!("{}{references}", self.changes);
        self.things.put(kind, name, &content, self::references(&content));
    }

    /// Content that clients refuse, with the same references.
    fn spoil(&mut self, kind: ResourceType, name: &str, how: &str) {
        let content = self.things.of(kind)[name].version().to_owned();
        let references = content.split(' ').skip(1).filter(|word| word.contains(':'));
        let references: String = references.map(|word| format!(" {word}")).collect();
        self.put(kind, name, &format!("{references} {how}"));
    }

    /// ` cds:a cds:b`, of what exists.
    fn naming(&self, kind: ResourceType, names: &[&str], chosen: &[usize]) -> String {
        let chosen: BTreeSet<&str> = chosen.iter().map(|n| names[*n]).collect();
        let there = chosen.into_iter().filter(|name| self.things.of(kind).contains_key(*name));
        there.map(|name| format!(" {kind}:{name}")).collect()
    }

    /// Removes something, and every mention of it.
    fn remove(&mut self, kind: ResourceType, name: &str) {
        self.things.remove(kind, name);
        let mention = format!("{kind}:{name}");
        for user in [Listener, Route] {
            let users = self.things.of(user).iter().map(|(name, it)| (name.clone(), it.version().to_owned()));
            for (user_name, content) in users.collect::<Vec<_>>() {
                if content.split(' ').any(|word| word == mention) {
                    let rest = content.split(' ').skip(1).filter(|word| *word != mention);
                    let rest: String = rest.map(|word| format!(" {word}")).collect();
                    self.put(user, &user_name, &rest);
                }
            }
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Service(n, true) => {
                self.put(Cluster, SERVICES[*n], "");
                self.things.remove(Endpoint, SERVICES[*n]);
            }
            Step::Service(n, false) => {
                let name = SERVICES[*n];
                self.put(Cluster, name, &format!(" eds:{name}"));
                if !self.things.of(Endpoint).contains_key(name) {
                    self.put(Endpoint, name, "");
                }
            }
            Step::Endpoints(n) if self.things.of(Endpoint).contains_key(SERVICES[*n]) => {
                self.put(Endpoint, SERVICES[*n], "");
            }
            Step::NoService(n) => {
                self.remove(Cluster, SERVICES[*n]);
                self.things.remove(Endpoint, SERVICES[*n]);
            }
            Step::Route(n, services) => {
                let clusters = self.naming(Cluster, &SERVICES, services);
                self.put(Route, ROUTES[*n], &clusters);
            }
            Step::NoRoute(n) => self.remove(Route, ROUTES[*n]),
            Step::Listener(n, routes, services) => {
                let routes = self.naming(Route, &ROUTES, routes);
                let clusters = self.naming(Cluster, &SERVICES, services);
                self.put(Listener, LISTENERS[*n], &format!("{routes}{clusters}"));
            }
            Step::NoListener(n) => self.things.remove(Listener, LISTENERS[*n]),
            Step::Spoil(kind, n, all) => {
                let kind = ResourceType::ASKED[*kind];
                let names = self.things.of(kind).keys().cloned().collect::<Vec<_>>();
                if let Some(name) = names.get(*n) {
                    self.spoil(kind, name, if *all { "worse" } else { "bad" });
                }
            }
            _ => {}
        }
    }
}

fn run<V: Words>(steps: &[Step]) {
    let mut server = Server::default();
    let mut envoy = Envoy::<V>::new(&server.things.publish());
    for step in steps {
        match step {
            Step::Publish => envoy.update(&server.things.publish()),
            Step::Request => _ = envoy.deliver_request(),
            Step::Response => _ = envoy.deliver_response(),
            Step::Disconnect => envoy.disconnect(),
            Step::Connect => envoy.connect(),
            change => server.apply(change),
        }
    }
    envoy.update(&server.things.publish());
    envoy.quiet();
    envoy.assert_in_sync(&server.things);
}

/// A seed of its own for each run, unless one is given, and always said.
pub(crate) fn config() -> ProptestConfig {
    let mut config =
        ProptestConfig { max_shrink_iters: 20_000, failure_persistence: None, ..Default::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = effort(64, 256);
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(fastrand::u64(..));
    }
    if let RngSeed::Fixed(seed) = config.rng_seed {
        eprintln!("PROPTEST_RNG_SEED={seed}");
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_envoy_with_delta_is_in_sync_and_never_routes_into_nothing(steps in proptest::collection::vec(step(), 0..120)) {
        run::<Delta>(&steps);
    }

    #[test]
    fn an_envoy_with_sotw_is_in_sync_and_never_routes_into_nothing(steps in proptest::collection::vec(step(), 0..120)) {
        run::<Sotw>(&steps);
    }
}

/// Cases that chance found, made small.
#[test]
fn interleavings_that_once_went_wrong() {
    use Step::{Connect, Disconnect, NoListener, NoService, Publish, Request, Response};
    let service = |n| Step::Service(n, false);
    let dns = |n| Step::Service(n, true);
    let tcp = |n| Step::Listener(n, vec![], vec![0]);
    let empty = |n| Step::Listener(n, vec![], vec![]);
    // A listener changed and vanished before the client that came back was told of the change.
    run::<Delta>(&[
        service(0),
        empty(2),
        Publish,
        Request,
        Response,
        Request,
        Response,
        Disconnect,
        service(1),
        Connect,
        tcp(2),
        Publish,
        Request,
        NoListener(2),
        Request,
        Request,
    ]);
    // A cluster that changed meanwhile was rejected, and the one before had never had endpoints.
    run::<Delta>(&[
        service(0),
        Publish,
        dns(0),
        Request,
        Publish,
        Response,
        Disconnect,
        tcp(0),
        Connect,
        Publish,
        Request,
        service(1),
        dns(0),
    ]);
    // The reason for a rejection vanished while the rejection was on its way.
    run::<Delta>(&[
        service(0),
        Request,
        Request,
        Response,
        Response,
        Request,
        Request,
        Publish,
        Response,
        Request,
        Publish,
        Response,
        service(2),
        NoService(0),
        Publish,
        service(1),
        Request,
        Response,
        Response,
        Request,
        NoService(2),
        Publish,
    ]);
    // A client came back with a cluster whose endpoints it never had, and rejected them.
    run::<Delta>(&[
        service(0),
        Response,
        tcp(0),
        Connect,
        Publish,
        Request,
        Response,
        Disconnect,
        Connect,
        Request,
        Request,
    ]);
    // A cluster came back while its removal was on its way.
    run::<Sotw>(&[
        Request,
        Request,
        Response,
        Request,
        service(0),
        Publish,
        Response,
        Request,
        Response,
        NoService(0),
        Request,
        Request,
        Publish,
        service(0),
        tcp(0),
    ]);
}
