//! The two end-to-end properties, over random interleavings: after quiet a client has what there is, and at
//! each moment every cluster that its routes name is known to it. proptest prints the case that fails, with
//! the seed that repeats it (`PROPTEST_RNG_SEED`); `PROPTEST_CASES` runs more.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route};
use pilot::xds::{Delta, Sotw};
use pilot_registry_testkit::effort;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::model::{Envoy, Traits, Words, references};
use crate::things::Things;
use crate::world::router;

const SERVICES: [&str; 4] = ["a", "b", "c", "d"];
const ROUTES: [&str; 3] = ["r", "s", "t"];
const LISTENERS: [&str; 3] = ["l", "m", "n"];
const CLIENTS: usize = 3;

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
    /// What is there becomes such that clients refuse it, and how.
    Spoil(usize, usize, &'static str),
    /// What happened is published.
    Publish,
    /// What a client does, of those that there are.
    Of(usize, Deed),
}

/// What happens to a client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    Request,
    Response,
    Disconnect,
    Connect,
}

impl Deed {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            16 => Just(Self::Request),
            16 => Just(Self::Response),
            1 => Just(Self::Disconnect),
            2 => Just(Self::Connect),
        ]
    }

    pub(crate) fn happens_to<V: Words>(self, client: &mut Envoy<V>) {
        match self {
            Self::Request => _ = client.deliver_request(),
            Self::Response => _ = client.deliver_response(),
            Self::Disconnect => client.disconnect(),
            Self::Connect => client.connect(),
        }
    }
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
        2 => (0..4usize, 0..4usize, how()).prop_map(|(kind, n, how)| Step::Spoil(kind, n, how)),
        35 => (0..CLIENTS, Deed::any()).prop_map(|(client, deed)| Step::Of(client, deed)),
    ]
}

/// How something is refused: by its name, with all that comes with it, or by some clients only.
fn how() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["bad", "bad", "worse", "odd"])
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
            Step::Spoil(kind, n, how) => {
                let kind = ResourceType::ASKED[*kind];
                let names = self.things.of(kind).keys().cloned().collect::<Vec<_>>();
                if let Some(name) = names.get(*n) {
                    self.spoil(kind, name, how);
                }
            }
            _ => {}
        }
    }
}

/// Clients of one server, of which the first takes what the others refuse as odd.
fn run<V: Words>(steps: &[Step], clients: usize) {
    let mut server = Server::default();
    let all = Traits { scope: Some(Arc::new(router())), ..Traits::default() };
    let first = server.things.publish();
    let client = |at| Envoy::<V>::with(&first, Traits { is_picky: at > 0, ..all.clone() });
    let mut envoys: Vec<_> = (0..clients).map(client).collect();
    for step in steps {
        match step {
            Step::Publish => {
                let view = server.things.publish();
                envoys.iter_mut().for_each(|envoy| envoy.update(&view));
            }
            Step::Of(client, deed) => deed.happens_to(&mut envoys[client % clients]),
            change => server.apply(change),
        }
    }
    let last = server.things.publish();
    for envoy in &mut envoys {
        envoy.update(&last);
        envoy.quiet();
        envoy.assert_in_sync(&server.things);
    }
}

/// The short form draws the same each time: it says whether a change broke something. The long form draws anew, and looks
/// for what nobody knows. A seed may be given, and is always said.
pub(crate) fn config() -> ProptestConfig {
    cases(64, 256)
}

/// The same, with so many cases.
pub(crate) fn cases(short: u32, long: u32) -> ProptestConfig {
    let mut config =
        ProptestConfig { max_shrink_iters: 20_000, failure_persistence: None, ..Default::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = effort(short, long);
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(effort(7, fastrand::u64(..)));
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
        run::<Delta>(&steps, 1);
    }

    #[test]
    fn an_envoy_with_sotw_is_in_sync_and_never_routes_into_nothing(steps in proptest::collection::vec(step(), 0..120)) {
        run::<Sotw>(&steps, 1);
    }

    #[test]
    fn what_one_envoy_with_delta_refuses_keeps_nothing_from_others(steps in proptest::collection::vec(step(), 0..200)) {
        run::<Delta>(&steps, CLIENTS);
    }
}

/// Cases that chance found, made small.
#[test]
fn interleavings_that_once_went_wrong() {
    use Step::{NoListener, NoService, Publish};
    let of = |deed| Step::Of(0, deed);
    let (request, response) = (|| of(Deed::Request), || of(Deed::Response));
    let (disconnect, connect) = (|| of(Deed::Disconnect), || of(Deed::Connect));
    let service = |n| Step::Service(n, false);
    let dns = |n| Step::Service(n, true);
    let tcp = |n| Step::Listener(n, vec![], vec![0]);
    let empty = |n| Step::Listener(n, vec![], vec![]);
    // Of two that it refused, neither could be left out: the client may have had others.
    run::<Sotw>(
        &[
            empty(1),
            empty(2),
            request(),
            response(),
            empty(0),
            Step::Spoil(2, 2, "bad"),
            request(),
            response(),
            disconnect(),
            Step::Spoil(2, 0, "worse"),
        ],
        1,
    );
    // A listener changed and vanished before the client that came back was told of the change.
    run::<Delta>(
        &[
            service(0),
            empty(2),
            Publish,
            request(),
            response(),
            request(),
            response(),
            disconnect(),
            service(1),
            connect(),
            tcp(2),
            Publish,
            request(),
            NoListener(2),
            request(),
            request(),
        ],
        1,
    );
    // A cluster that changed meanwhile was rejected, and the one before had never had endpoints.
    run::<Delta>(
        &[
            service(0),
            Publish,
            dns(0),
            request(),
            Publish,
            response(),
            disconnect(),
            tcp(0),
            connect(),
            Publish,
            request(),
            service(1),
            dns(0),
        ],
        1,
    );
    // The reason for a rejection vanished while the rejection was on its way.
    run::<Delta>(
        &[
            service(0),
            request(),
            request(),
            response(),
            response(),
            request(),
            request(),
            Publish,
            response(),
            request(),
            Publish,
            response(),
            service(2),
            NoService(0),
            Publish,
            service(1),
            request(),
            response(),
            response(),
            request(),
            NoService(2),
            Publish,
        ],
        1,
    );
    // A client came back with a cluster whose endpoints it never had, and rejected them.
    run::<Delta>(
        &[
            service(0),
            response(),
            tcp(0),
            connect(),
            Publish,
            request(),
            response(),
            disconnect(),
            connect(),
            request(),
            request(),
        ],
        1,
    );
    // A cluster came back while its removal was on its way.
    run::<Sotw>(
        &[
            request(),
            request(),
            response(),
            request(),
            service(0),
            Publish,
            response(),
            request(),
            response(),
            NoService(0),
            request(),
            request(),
            Publish,
            service(0),
            tcp(0),
        ],
        1,
    );
}
