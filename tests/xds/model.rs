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
//! with content that is `worse` it takes nothing and names nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route};
use pilot::resources::{Resource, View};
use pilot::xds::{Delta, Machine, Shared, Sotw};
use pilot_envoy_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use pilot_envoy_api::google::rpc::Status;

use crate::driver::{Content, Dialect, LIMITS};
use crate::things::{References, Things};

/// The references that a content names.
pub(crate) fn references(content: &str) -> References {
    let words = content.split(' ').filter_map(|word| word.split_once(':'));
    let kind = |word: &str| ResourceType::ALL.into_iter().find(|kind| kind.as_str() == word).unwrap();
    words.map(|(word, name)| (kind(word), Arc::from(name))).collect()
}

fn named(content: &str, kind: ResourceType) -> impl Iterator<Item = String> {
    references(content).into_iter().filter(move |(to, _)| *to == kind).map(|(_, name)| name.to_string())
}

/// Whether the client refuses a resource with that content.
fn is_bad(content: &str) -> bool {
    content.ends_with("bad") || content.ends_with("worse")
}

/// What a client has of one type: content by name.
pub(crate) type Having = BTreeMap<String, String>;

/// A change of the names of one type, as the variants put it into words.
pub(crate) struct Wish<'a> {
    pub(crate) kind: ResourceType,
    pub(crate) names: &'a BTreeSet<String>,
    pub(crate) added: Vec<String>,
    pub(crate) dropped: Vec<String>,
    pub(crate) last: Option<&'a Content>,
    pub(crate) accepted: &'a str,
    /// What it has from an earlier stream, on the first request of a type.
    pub(crate) has: Option<&'a Having>,
}

pub(crate) trait Words: Dialect {
    /// Whether a response holds all there is of the type.
    fn is_full(kind: ResourceType) -> bool;
    /// Whether the server learns what a client has when it comes back.
    const TELLS: bool;
    fn wish(wish: Wish<'_>) -> Self::Request;
}

impl Words for Sotw {
    const TELLS: bool = false;

    fn is_full(kind: ResourceType) -> bool {
        kind.has_wildcard()
    }

    fn wish(wish: Wish<'_>) -> DiscoveryRequest {
        DiscoveryRequest {
            type_url: wish.kind.type_url().to_owned(),
            resource_names: wish.names.iter().cloned().collect(),
            response_nonce: wish.last.map(|last| last.nonce.clone()).unwrap_or_default(),
            version_info: wish.accepted.to_owned(),
            ..Default::default()
        }
    }
}

impl Words for Delta {
    const TELLS: bool = true;

    fn is_full(_kind: ResourceType) -> bool {
        false
    }

    fn wish(wish: Wish<'_>) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: wish.kind.type_url().to_owned(),
            resource_names_subscribe: wish.added,
            resource_names_unsubscribe: wish.dropped,
            initial_resource_versions: wish.has.cloned().unwrap_or_default(),
            ..Default::default()
        }
    }
}

/// One type, as the client sees it.
#[derive(Default)]
struct Kind {
    having: Having,
    names: BTreeSet<String>,
    asked: bool,
    last: Option<Content>,
    accepted: String,
    /// What it refused, with what it had of it then, until it takes another version.
    refused: BTreeMap<String, Option<String>>,
    /// What it took from responses that it refused: it does not tell of that when it comes back.
    untold: BTreeSet<String>,
    /// The same, where the refusal never arrived.
    lost: BTreeSet<String>,
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
    shared: Arc<Shared>,
    kinds: [Kind; 4],
    responses: VecDeque<Content>,
    requests: VecDeque<V::Request>,
    connected: bool,
    /// What the server knows that it has is what it has.
    known: bool,
    came_back: bool,
    /// The clusters that take traffic: those that once had their endpoints. A cluster that changes goes on as
    /// it was until it has the endpoints that it names now.
    active: BTreeSet<String>,
    /// The clusters that it refused and does not have in another version: what names them need not wait.
    excused: BTreeSet<String>,
    latest: Arc<View>,
}

impl<V: Words> Envoy<V> {
    pub(crate) fn new(set: &Arc<View>) -> Self {
        let shared = Arc::<Shared>::default();
        let mut envoy = Self {
            machine: Machine::new(None, LIMITS, Arc::clone(&shared)),
            shared,
            kinds: Default::default(),
            responses: VecDeque::new(),
            requests: VecDeque::new(),
            connected: false,
            known: true,
            came_back: false,
            active: BTreeSet::new(),
            excused: BTreeSet::new(),
            latest: Arc::clone(set),
        };
        envoy.connect();
        envoy
    }

    /// The server has something new.
    pub(crate) fn update(&mut self, set: &Arc<View>) {
        let changes = set.changes_since(&self.latest);
        for kind in ResourceType::ALL {
            let state = &mut self.kinds[kind as usize];
            state.allowed += changes.of(kind).len();
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
        self.machine = Machine::new(None, LIMITS, Arc::clone(&self.shared));
        self.machine.update(Arc::clone(&self.latest));
        self.came_back = self.kinds.iter().any(|kind| kind.asked);
        self.connected = true;
        let tells = |kind: &Kind| V::TELLS && kind.untold.is_empty();
        self.known = self.kinds.iter().all(|kind| tells(kind) || kind.having.is_empty());
        for of in ResourceType::ALL {
            let kind = &mut self.kinds[of as usize];
            // Each of what it brings and of what there is may have to be told of.
            kind.allowed = kind.having.len() + self.latest.of(of).len();
            (kind.asked, kind.last, kind.responses) = (false, None, 0);
            kind.alone.clear();
            kind.asks.clear();
            kind.stuck = V::is_full(of);
        }
        for kind in ResourceType::ALL {
            if kind.has_wildcard() || !self.kinds[kind as usize].names.is_empty() {
                let names = std::mem::take(&mut self.kinds[kind as usize].names);
                self.wish(kind, names);
            }
        }
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

    /// What it has is what there is, of all that it wants; and nobody had to lose patience for that.
    pub(crate) fn assert_in_sync(&self, things: &Things) {
        let kept = self.kept();
        for kind in ResourceType::ALL {
            let Kind { having, names, refused, .. } = &self.kinds[kind as usize];
            let wanted = |name: &str| kind.has_wildcard() || names.contains(name);
            let there = things.of(kind).iter().filter(|(name, _)| wanted(name));
            // Of what it refuses it keeps what it had.
            let best = |(name, resource): (&String, &Arc<Resource>)| match is_bad(resource.version()) {
                true => {
                    Some((name.clone(), refused.get(name).cloned().flatten().filter(|it| !it.is_empty())?))
                }
                false => Some((name.clone(), resource.version().to_owned())),
            };
            let there: Having = there.filter_map(best).collect();
            // What that names stays, too.
            let mut having = having.clone();
            // Nor is it known what an older version from before it came back names.
            let users: &[ResourceType] = match kind {
                Cluster => &[Listener, Route],
                Endpoint => &[Listener, Route, Cluster],
                Listener => &[],
                Route => &[Listener],
            };
            let unknown =
                self.came_back && users.iter().any(|it| !self.kinds[*it as usize].refused.is_empty());
            let stuck = self.kinds[kind as usize].stuck || unknown;
            // State of the world has no other word for "none".
            let lost = &self.kinds[kind as usize].lost;
            having.retain(|name, it| !it.is_empty() && (there.contains_key(name) || !lost.contains(name)));
            having
                .retain(|name, _| there.contains_key(name) || !(stuck || kept[kind as usize].contains(name)));
            assert_eq!(having, there, "{kind}");
        }
        let states = ResourceType::ALL.map(|kind| self.machine.state(kind));
        assert!(!self.machine.is_waiting(), "patience should not be needed: {states:?}");
    }

    /// What is named by what it keeps because it refuses another version of it.
    fn kept(&self) -> [BTreeSet<String>; 4] {
        let mut kept: [BTreeSet<String>; 4] = Default::default();
        for from in [Listener, Route, Cluster] {
            let Kind { having, refused, .. } = &self.kinds[from as usize];
            let old = |name: &String| refused.contains_key(name) || kept[from as usize].contains(name);
            let contents: Vec<_> =
                having.iter().filter(|(name, _)| old(name)).map(|(_, it)| it.clone()).collect();
            for to in ResourceType::ALL {
                kept[to as usize].extend(contents.iter().flat_map(|content| named(content, to)));
            }
        }
        kept
    }

    /// Takes of a response what it can, and says what is wrong with the rest.
    fn take(&mut self, kind: ResourceType, content: &Content) -> Option<Status> {
        let mut taken: Vec<(String, String)> = content.resources.clone();
        let bad: Vec<String> =
            taken.iter().filter(|(_, content)| is_bad(content)).map(|(name, _)| name.clone()).collect();
        if bad.is_empty() {
            self.accept(kind, content, taken);
            self.kinds[kind as usize].accepted.clone_from(&content.version);
            return None;
        }
        let state = &mut self.kinds[kind as usize];
        state.allowed += 2 * taken.len() + 2;
        for (name, content) in taken.iter().filter(|(_, content)| is_bad(content)) {
            let had = state.having.get(name).cloned();
            state.refused.insert(name.clone(), had);
            let alone = state.alone.entry((name.clone(), content.clone())).or_default();
            *alone += usize::from(taken.len() == 1);
            let asks = state.asks.get(name).copied().unwrap_or_default().max(1);
            assert!(*alone <= asks || kind == Listener, "{kind} {name}@{content} is tried twice");
        }
        let message = if let Some((name, _)) = taken.iter().find(|it| it.1.ends_with("worse")) {
            // Envoy prints the resource. A client that has forgotten what it has needs the name.
            let name = if V::is_full(kind) { name.clone() } else { String::new() };
            taken.clear();
            format!("name: \"{name}\"\n: Proto constraint validation failed")
        } else if kind.has_wildcard() {
            taken.retain(|(name, _)| !bad.contains(name));
            let what = if kind == Cluster { "cluster" } else { "listener" };
            let each: Vec<String> = bad.iter().map(|name| format!("{name}: no good")).collect();
            format!("Error adding/updating {what}(s) {}", each.join(", "))
        } else {
            taken.sort_by_key(|(name, _)| name.bytes().map(|byte| byte.wrapping_mul(37)).collect::<Vec<_>>());
            taken.truncate(taken.iter().position(|(_, content)| is_bad(content)).unwrap());
            "malformed IP address".to_owned()
        };
        if !taken.is_empty() || message.contains("(s)") {
            let mut whole = content.clone();
            if !kind.has_wildcard() {
                whole.removed.clear();
            }
            let names: Vec<String> = taken.iter().map(|(name, _)| name.clone()).collect();
            self.accept(kind, &whole, taken);
            self.kinds[kind as usize].untold.extend(names);
        }
        Some(Status { code: 13, message, ..Default::default() })
    }

    fn accept(&mut self, kind: ResourceType, response: &Content, taken: Vec<(String, String)>) {
        let state = &mut self.kinds[kind as usize];
        state.stuck = false;
        if V::is_full(kind) {
            let stays: BTreeSet<&String> = response.resources.iter().map(|(name, _)| name).collect();
            state.having.retain(|name, _| stays.contains(name));
            state.refused.retain(|name, _| stays.contains(name));
        }
        for (name, content) in taken {
            if state.having.get(&name) != Some(&content) {
                state.refused.remove(&name);
            }
            state.untold.remove(&name);
            if kind.has_wildcard() || state.names.contains(&name) {
                state.having.insert(name, content);
            }
        }
        for name in &response.removed {
            state.refused.remove(name);
            state.untold.remove(name);
            state.having.remove(name);
        }
    }

    /// It wants of one type what it has of another names.
    fn follow(&mut self, from: ResourceType, to: ResourceType) {
        let having = &self.kinds[from as usize].having;
        let names: BTreeSet<String> = having.values().flat_map(|content| named(content, to)).collect();
        let state = &mut self.kinds[to as usize];
        if names != state.names {
            state.having.retain(|name, _| names.contains(name));
            state.refused.retain(|name, _| names.contains(name));
            state.untold.retain(|name| names.contains(name));
            self.wish(to, names);
        }
    }

    fn wish(&mut self, kind: ResourceType, names: BTreeSet<String>) {
        let state = &mut self.kinds[kind as usize];
        let mut told = state.having.clone();
        told.retain(|name, _| !state.untold.contains(name));
        let wish = Wish {
            kind,
            names: &names,
            added: names.difference(&state.names).cloned().collect(),
            dropped: state.names.difference(&names).cloned().collect(),
            last: state.last.as_ref(),
            accepted: &state.accepted,
            has: (!state.asked).then_some(&told),
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
            let content = V::content(&response.message);
            let kind = response.kind.unwrap();
            for (_, content) in &content.resources {
                self.kinds[Endpoint as usize].allowed += named(content, Endpoint).count();
                self.kinds[Route as usize].allowed += named(content, Route).count();
            }
            let state = &mut self.kinds[kind as usize];
            state.responses += 1;
            assert!(state.responses <= state.allowed, "P21: {kind} {content:?} without a cause");
            self.responses.push_back(content);
        }
    }

    /// Every cluster that the client's routes and listeners name is known to it, with endpoints.
    fn check(&mut self) {
        let [clusters, endpoints, ..] = &self.kinds;
        let ready = |name: &str, content: &str| {
            self.active.contains(name)
                || named(content, Endpoint)
                    .all(|name| endpoints.having.contains_key(&name) || endpoints.refused.contains_key(&name))
        };
        let active = clusters.having.iter().filter(|(name, content)| ready(name, content));
        self.active = active.map(|(name, _)| name.clone()).collect();
        self.excused.extend(clusters.refused.keys().cloned());
        self.excused.retain(|name| !self.active.contains(name));
        let idle = self.requests.is_empty() && self.responses.is_empty();
        self.known |= idle;
        if !self.known {
            return;
        }
        let having = |kind: ResourceType| &self.kinds[kind as usize].having;
        let users = having(Listener).iter().chain(having(Route));
        for (user, content) in users {
            for cluster in named(content, Cluster) {
                assert!(
                    self.active.contains(&cluster) || self.excused.contains(&cluster),
                    "{user} ({content}) names {cluster}, which is not ready"
                );
            }
        }
    }
}
