//! A client that behaves as Envoy does, on a connection that delivers when the test says so.
//!
//! ```text
//!  Machine ──► responses on their way ──► what the client has ──► the names it asks for next
//!     ▲                                                                       │
//!     └──────────────────── requests on their way ◄───────────────────────────┘
//! ```
//!
//! It wants all clusters and listeners, the endpoints that its clusters name and the routes that its
//! listeners name. References are read from a resource's content: `7 eds:a cds:b rds:r`.
//!
//! It refuses content that is `bad`: of clusters and listeners it takes the others and says which it refuses, of
//! endpoints and routes it takes those before the first bad one, in an order of its own, and names nobody. Of a response
//! with content that is `worse` it takes nothing and names nobody. What is `odd` only some clients refuse.
//!
//! Routes whose name says so it takes in parts, as Envoy 1.40 does ([`hosts`]).

#[path = "model/checks.rs"]
mod checks;
#[path = "model/hosts.rs"]
mod hosts;
#[path = "model/taking.rs"]
mod taking;
#[path = "model/words.rs"]
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use pilot::proxy::Scope;
use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route};
use pilot::resources::{ResourceChange, View};
use pilot::xds::{Machine, Shared};
use pilot_envoy_api::google::protobuf::Any;

use crate::driver::{Content, LIMITS};
use crate::things::Thing;

use hosts::InParts;
pub(crate) use words::{Having, Wish, Words, references};
use words::{named, routed};

/// What stands for a resource.
pub(crate) type Reading = Arc<dyn Fn(&Any, Option<&str>) -> Thing>;

/// What sets a client apart from others.
#[derive(Clone, Default)]
pub(crate) struct Traits {
    /// What the streams of its server share.
    pub(crate) shared: Arc<Shared>,
    pub(crate) scope: Option<Arc<Scope>>,
    /// How it reads resources that are none of [`crate::things`].
    pub(crate) reading: Option<Reading>,
    /// It refuses what is `odd`.
    pub(crate) is_picky: bool,
}

/// One type, as the client sees it.
#[derive(Default)]
struct Kind {
    having: Having,
    /// What it says that it has when it comes back: all that came in responses that it acknowledged.
    told: Having,
    names: BTreeSet<String>,
    asked: bool,
    last: Option<Content>,
    accepted: String,
    /// What it refused, with what it had of it then, until it takes another version.
    refused: BTreeMap<String, Option<String>>,
    /// What it took from responses that it refused: it tells of what it had before that when it comes back.
    untold: BTreeSet<String>,
    /// The same, where the refusal never arrived.
    lost: BTreeSet<String>,
    /// The same, where it was of another scope when it was sent them. Nobody of its present scope is to hear of that.
    foreign: BTreeSet<String>,
    /// It refused the whole of the first response of this stream: what is gone since the last it was not told.
    stuck: bool,
    /// How often it asked for a name on this stream.
    asks: BTreeMap<String, usize>,
    /// How often bad content was in a response of its own on this stream.
    alone: BTreeMap<(String, String), usize>,
    /// How many responses there may be at most, and how many there were, on this stream.
    allowed: usize,
    responses: usize,
}

/// The client, its stream and what is on its way.
pub(crate) struct Envoy<V: Words> {
    pub(crate) machine: Machine<V>,
    traits: Traits,
    kinds: [Kind; 5],
    in_parts: InParts,
    responses: VecDeque<Content>,
    requests: VecDeque<V::Request>,
    connected: bool,
    /// What the server knows that it has is what it has.
    known: bool,
    came_back: bool,
    /// The clusters that take traffic: those that once had their endpoints. A cluster that changes goes on as
    /// it was until it has the endpoints that it names now.
    active: BTreeSet<String>,
    /// Those of them that have had endpoints which the client took: requests to them were served.
    serving: BTreeSet<String>,
    /// The clusters that it refused and does not have in another version, and those that did not exist when something
    /// that names them was sent: that need not wait.
    excused: BTreeSet<String>,
    latest: Arc<View>,
    /// The nonce of the last response that it got as one of another scope, on this stream.
    moved: u64,
    /// The nonce of the last response.
    sent: u64,
    /// The route configurations that came on this stream. Of one that it came back with in another version it is not
    /// known where its names led, so that is sent as a whole.
    routes: BTreeSet<String>,
    /// Where names led when that was checked last, by route configuration and name.
    routed: BTreeMap<(String, String), BTreeSet<String>>,
    /// By type and version: what the client was told that it has in that version (state of the world).
    versions: BTreeMap<(ResourceType, String), Vec<(String, String)>>,
}

impl<V: Words> Envoy<V> {
    pub(crate) fn with(set: &Arc<View>, traits: Traits) -> Self {
        let mut envoy = Self {
            machine: Machine::new(None, LIMITS, Arc::clone(&traits.shared)),
            traits,
            kinds: Default::default(),
            in_parts: InParts::default(),
            responses: VecDeque::new(),
            requests: VecDeque::new(),
            connected: false,
            known: true,
            came_back: false,
            active: BTreeSet::new(),
            serving: BTreeSet::new(),
            excused: BTreeSet::new(),
            latest: Arc::clone(set),
            moved: 0,
            sent: 0,
            routes: BTreeSet::new(),
            routed: BTreeMap::new(),
            versions: BTreeMap::new(),
        };
        envoy.connect();
        envoy
    }

    /// It belongs to another scope from now on.
    pub(crate) fn moves(&mut self, scope: &Arc<Scope>, set: &Arc<View>) {
        self.traits.scope = Some(Arc::clone(scope));
        if V::TELLS {
            self.kinds.iter_mut().for_each(|kind| kind.foreign.extend(kind.untold.iter().cloned()));
        }
        if self.connected {
            self.machine.follows(Arc::clone(scope));
            self.moved = self.sent;
        }
        self.update(set);
    }

    /// The server has something new.
    pub(crate) fn update(&mut self, set: &Arc<View>) {
        let changes = set.changes_since(&self.latest);
        for kind in ResourceType::ALL {
            let state = &mut self.kinds[kind as usize];
            state.allowed += changes.of(kind).iter().map(parts).sum::<usize>();
            // What was gone, or another, may be tried once more when it is back.
            for change in changes.of(kind) {
                let asks = state.asks.entry(change.name.to_string()).or_default();
                *asks = (*asks).max(1) + 1;
            }
        }
        self.latest = Arc::clone(set);
        if self.connected {
            self.machine.update(Arc::clone(set));
            self.collect();
        }
    }

    /// The stream breaks; nothing that was on its way arrives.
    pub(crate) fn disconnect(&mut self) {
        self.connected = false;
        if !self.requests.is_empty() {
            self.kinds.iter_mut().for_each(|kind| kind.lost.extend(kind.untold.iter().cloned()));
        }
        self.responses.clear();
        self.requests.clear();
    }

    /// It comes back, and asks for everything at once.
    pub(crate) fn connect(&mut self) {
        if self.connected {
            return;
        }
        self.machine = Machine::new(None, LIMITS, Arc::clone(&self.traits.shared));
        self.traits.scope.iter().for_each(|scope| self.machine.follows(Arc::clone(scope)));
        self.machine.update(Arc::clone(&self.latest));
        self.came_back = self.kinds.iter().any(|kind| kind.asked);
        self.connected = true;
        (self.sent, self.moved) = (0, 0);
        self.routes.clear();
        let tells = |kind: &Kind| V::TELLS && kind.untold.is_empty();
        self.known = self.kinds.iter().all(|kind| tells(kind) || kind.having.is_empty());
        for of in ResourceType::ALL {
            let kind = &mut self.kinds[of as usize];
            // Each of what it brings and of what there is may have to be told of.
            let hosts = self.latest.of(of).iter().filter_map(|it| it.rope()).map(|rope| rope.len());
            kind.allowed = kind.having.len() + self.latest.of(of).len() + hosts.sum::<usize>();
            (kind.asked, kind.last, kind.responses) = (false, None, 0);
            kind.alone.clear();
            kind.asks.clear();
            kind.stuck = V::is_full(of);
        }
        for kind in ResourceType::ASKED {
            if kind.has_wildcard() || !self.kinds[kind as usize].names.is_empty() {
                let names = std::mem::take(&mut self.kinds[kind as usize].names);
                self.wish(kind, names);
            }
        }
        self.come_back_with_hosts();
    }

    /// The next request arrives at the server.
    pub(crate) fn deliver_request(&mut self) -> bool {
        let Some(request) = self.requests.pop_front() else { return false };
        self.machine.request(request).unwrap();
        self.collect();
        true
    }

    /// The next response arrives at the client, which takes of it what it can.
    pub(crate) fn deliver_response(&mut self) -> bool {
        let Some(content) = self.responses.pop_front() else { return false };
        let kind = ResourceType::from_type_url(&content.type_url).unwrap();
        self.kinds[kind as usize].last = Some(content.clone());
        let error = self.take(kind, &content);
        let Kind { names, accepted, .. } = &self.kinds[kind as usize];
        let names: Vec<String> = names.iter().cloned().collect();
        self.requests.push_back(V::answer(&content, accepted, &names, error));
        self.follow(Cluster, Endpoint);
        self.follow(Listener, Route);
        self.check();
        if kind == Route {
            self.routes.extend(content.resources.iter().map(|(name, _)| name.clone()));
            self.ask_for_hosts();
        }
        true
    }

    /// Everything arrives, until nothing is on its way.
    pub(crate) fn quiet(&mut self) {
        self.connect();
        let mut steps = 0;
        while self.deliver_request() || self.deliver_response() {
            steps += 1;
            assert!(steps < 10_000, "the two never stop talking");
        }
    }

    /// It wants of one type what it has of another names.
    fn follow(&mut self, from: ResourceType, to: ResourceType) {
        let having = &self.kinds[from as usize].having;
        let names: BTreeSet<String> = having.values().flat_map(|content| named(content, to)).collect();
        let state = &mut self.kinds[to as usize];
        if names != state.names {
            state.having.retain(|name, _| names.contains(name));
            state.told.retain(|name, _| names.contains(name));
            state.refused.retain(|name, _| names.contains(name));
            state.untold.retain(|name| names.contains(name));
            if to == Route {
                self.let_go_of_hosts(&names);
            }
            self.wish(to, names);
        }
    }

    fn wish(&mut self, kind: ResourceType, names: BTreeSet<String>) {
        let state = &mut self.kinds[kind as usize];
        let wish = Wish {
            kind,
            names: &names,
            added: names.difference(&state.names).cloned().collect(),
            dropped: state.names.difference(&names).cloned().collect(),
            last: state.last.as_ref(),
            accepted: &state.accepted,
            has: (!state.asked).then_some(&state.told),
        };
        // Names of one request may be answered one by one, as what each of them names gets there.
        state.allowed += wish.added.len().max(1);
        wish.added.iter().for_each(|name| *state.asks.entry(name.clone()).or_default() += 1);
        self.requests.push_back(V::wish(wish));
        state.names = names;
        state.asked = true;
    }

    /// P21: a response has a cause: a change, a subscription, or the warming of what names it (P14).
    fn collect(&mut self) {
        for response in self.machine.responses() {
            let content = match &self.traits.reading {
                Some(reading) => V::read(&response.message, &**reading),
                None => V::content(&response.message),
            };
            let kind = response.kind.unwrap();
            self.sent = response.nonce.parse().unwrap();
            for (_, content) in &content.resources {
                self.kinds[Endpoint as usize].allowed += named(content, Endpoint).count();
                self.kinds[Route as usize].allowed += named(content, Route).count();
                // Rules may name what is not there.
                let there = self.latest.of(Cluster);
                let nowhere =
                    routed(content).map(|(_, cluster)| cluster).filter(|it| there.get(it).is_none());
                self.excused.extend(nowhere.map(str::to_owned));
            }
            if kind == Route {
                self.expect_hosts(&content);
            }
            let state = &mut self.kinds[kind as usize];
            state.responses += 1;
            assert!(state.responses <= state.allowed, "P21: {kind} {content:?} without a cause");
            self.responses.push_back(content);
        }
    }
}

/// How many responses a change may need: what waits is told later.
fn parts(change: &ResourceChange) -> usize {
    let rope = |it: &Option<Arc<pilot::resources::Resource>>| it.as_ref()?.rope().cloned();
    match (rope(&change.before), rope(&change.resource)) {
        (Some(before), Some(now)) => now.changes_since(&before).len().max(1),
        (None, Some(now)) => now.len().max(1),
        _ => 1,
    }
}
