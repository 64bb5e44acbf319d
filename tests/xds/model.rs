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

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route};
use pilot::resources::View;
use pilot::xds::{Delta, Machine, Sotw};
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
    /// Names of the responses that it rejected, until it accepts them.
    rejected: BTreeSet<String>,
    /// How many responses there may be at most, and how many there were, on this stream.
    allowed: usize,
    responses: usize,
}

/// The client, its stream and what is on its way.
pub(crate) struct Envoy<V: Words> {
    pub(crate) machine: Machine<V>,
    kinds: [Kind; 4],
    responses: VecDeque<Content>,
    requests: VecDeque<V::Request>,
    connected: bool,
    /// What the server knows that it has is what it has.
    known: bool,
    /// The clusters that take traffic: those that once had their endpoints. A cluster that changes goes on as
    /// it was until it has the endpoints that it names now.
    active: BTreeSet<String>,
    latest: Arc<View>,
}

impl<V: Words> Envoy<V> {
    pub(crate) fn new(set: &Arc<View>) -> Self {
        let mut envoy = Self {
            machine: Machine::new(None, LIMITS),
            kinds: Default::default(),
            responses: VecDeque::new(),
            requests: VecDeque::new(),
            connected: false,
            known: true,
            active: BTreeSet::new(),
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
            // What was rejected together is sent again when one of it changes, each when what it names is there.
            let again = if changes.of(kind).is_empty() { 0 } else { state.rejected.len() };
            state.allowed += changes.of(kind).len() + again;
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
        self.responses.clear();
        self.requests.clear();
    }

    /// It comes back, and asks for everything at once.
    pub(crate) fn connect(&mut self) {
        if self.connected {
            return;
        }
        self.machine = Machine::new(None, LIMITS);
        self.machine.update(Arc::clone(&self.latest));
        self.connected = true;
        self.known = V::TELLS || self.kinds.iter().all(|kind| kind.having.is_empty());
        for of in ResourceType::ALL {
            let kind = &mut self.kinds[of as usize];
            // Each of what it brings and of what there is may have to be told of.
            kind.allowed = kind.having.len() + self.latest.of(of).len();
            (kind.asked, kind.last, kind.responses) = (false, None, 0);
            kind.rejected.clear();
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

    /// The next response arrives at the client, which accepts or rejects it.
    pub(crate) fn deliver_response(&mut self, accept: bool) -> bool {
        let Some(content) = self.responses.pop_front() else { return false };
        let kind = ResourceType::from_type_url(&content.type_url).unwrap();
        // No client has a reason to reject a response that brings nothing.
        let accept = accept || content.resources.is_empty();
        self.kinds[kind as usize].last = Some(content.clone());
        if accept {
            self.accept(kind, &content);
        } else {
            let names = content.resources.iter().map(|(name, _)| name).chain(&content.removed);
            self.kinds[kind as usize].rejected.extend(names.cloned());
        }
        let Kind { names, accepted, .. } = &self.kinds[kind as usize];
        let names: Vec<String> = names.iter().cloned().collect();
        let error = (!accept).then(|| Status { code: 13, ..Default::default() });
        self.requests.push_back(V::answer(&content, accepted, &names, error));
        self.follow(Cluster, Endpoint);
        self.follow(Listener, Route);
        self.check();
        true
    }

    /// Everything arrives and is accepted, until nothing is on its way.
    pub(crate) fn quiet(&mut self) {
        self.connect();
        let mut steps = 0;
        while self.deliver_request() || self.deliver_response(true) {
            steps += 1;
            assert!(steps < 10_000, "the two never stop talking");
        }
    }

    /// For each type that it rejected something of, one name that is still there.
    pub(crate) fn rejected(&self, things: &Things) -> Vec<(ResourceType, String)> {
        let still = ResourceType::ALL.into_iter().filter_map(|kind| {
            let rejected = &self.kinds[kind as usize].rejected;
            let name = rejected.iter().find(|name| things.of(kind).contains_key(*name))?;
            Some((kind, name.clone()))
        });
        still.collect()
    }

    /// What it has is what there is, of all that it wants; and nobody had to lose patience for that.
    pub(crate) fn assert_in_sync(&self, things: &Things) {
        for kind in ResourceType::ALL {
            let Kind { having, names, .. } = &self.kinds[kind as usize];
            let wanted = |name: &str| kind.has_wildcard() || names.contains(name);
            let there = things.of(kind).iter().filter(|(name, _)| wanted(name));
            let there: Having =
                there.map(|(name, resource)| (name.clone(), resource.version().to_owned())).collect();
            assert_eq!(*having, there, "{kind}");
        }
        assert!(!self.machine.is_waiting(), "patience should not be needed");
    }

    fn accept(&mut self, kind: ResourceType, content: &Content) {
        let state = &mut self.kinds[kind as usize];
        state.accepted.clone_from(&content.version);
        if V::is_full(kind) {
            state.having.clear();
            state.rejected.clear();
        }
        for (name, content) in &content.resources {
            state.rejected.remove(name);
            if kind.has_wildcard() || state.names.contains(name) {
                state.having.insert(name.clone(), content.clone());
            }
        }
        for name in &content.removed {
            state.rejected.remove(name);
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
            state.rejected.retain(|name| names.contains(name));
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
            has: (!state.asked).then_some(&state.having),
        };
        // Names of one request may be answered one by one, as what each of them names gets there.
        state.allowed += wish.added.len().max(1);
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
                || named(content, Endpoint).all(|name| endpoints.having.contains_key(&name))
        };
        let active = clusters.having.iter().filter(|(name, content)| ready(name, content));
        self.active = active.map(|(name, _)| name.clone()).collect();
        let idle = self.requests.is_empty() && self.responses.is_empty();
        self.known |= idle && self.kinds.iter().all(|kind| kind.rejected.is_empty());
        if !self.known {
            return;
        }
        let having = |kind: ResourceType| &self.kinds[kind as usize].having;
        let users = having(Listener).iter().chain(having(Route));
        for (user, content) in users {
            for cluster in named(content, Cluster) {
                assert!(
                    self.active.contains(&cluster),
                    "{user} ({content}) names {cluster}, which is not ready"
                );
            }
        }
    }
}
