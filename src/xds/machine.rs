//! The state machine of one stream: requests and sets in, responses out. No IO, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::answers::{self, Refusing};
use super::builds::Stand;
use super::client_copy::{Owed, Refused, Suspicion};
use super::composed::{Composed, Scene};
use super::in_flight::InFlight;
use super::older::Older;
use super::order::Order;
use super::parts::{self, RoutesAsked};
use super::rejections::Rejection;
use super::shared::Shared;
use super::type_state::{Base, TypeState};
use super::variant::{
    Answer, Asked, Limits, MAX_NAME, MAX_UNKNOWN_TYPES, Outcome, Refusal, RequestParts, Response, Variant,
};
use super::virtual_hosts;
use crate::resources::{PerType, Resource, ResourceType, TypeView, View, is_in_parts};

/// How long a type URL may be, in bytes.
const MAX_TYPE_URL: usize = 512;

/// One stream.
#[derive(Debug)]
pub struct Machine<V: Variant> {
    /// The type of a stream that serves one; `None` = aggregated.
    only: Option<ResourceType>,
    limits: Limits,
    shared: Arc<Shared>,
    view: Option<Arc<View>>,
    types: PerType<TypeState>,
    order: Order,
    nonces: u64,
    updates: u64,
    /// By type URL: whether the one answer was given.
    unknown: BTreeMap<String, Option<Composed>>,
    variant: std::marker::PhantomData<V>,
}

impl<V: Variant> Machine<V> {
    /// A stream on which nothing was said. `only`: the type of a stream that serves one.
    pub fn new(only: Option<ResourceType>, limits: Limits, shared: Arc<Shared>) -> Self {
        Self {
            only,
            limits,
            shared,
            view: None,
            types: PerType::default(),
            order: Order::new(only.is_none()),
            nonces: 0,
            updates: 0,
            unknown: BTreeMap::new(),
            variant: std::marker::PhantomData,
        }
    }

    /// Takes in a request. Ask for [`responses`](Self::responses) afterwards.
    ///
    /// # Errors
    /// The stream has to end.
    pub fn request(&mut self, request: impl Into<V::Request>) -> Result<Outcome, Refusal> {
        let request = request.into();
        let parts = V::parts(&request);
        fits("a type_url", parts.type_url.len(), MAX_TYPE_URL)?;
        fits("a resource name", V::longest_name(&request), MAX_NAME)?;
        let Some(kind) = self.kind_of(parts.type_url)? else {
            return self.unknown_type(&request);
        };
        let answer = self.resolve(kind, &parts);
        let view = self.view.clone();
        let asked = Asked {
            kind,
            view: view.as_ref().map(|view| view.of(kind)),
            limits: self.limits,
            shared: &self.shared,
            update: self.updates,
        };
        let state = &mut self.types[kind];
        let nonce = parts.nonce;
        let answers_last = state.last_nonce.as_deref() == Some(nonce);
        // A nonce of this stream that is not this type's last is an older one or another type's. None at all is that
        // of a first request.
        let issued = nonce.parse().is_ok_and(|nonce: u64| nonce <= self.nonces);
        let is_older = state.last_nonce.is_some() && !nonce.is_empty();
        let stale = !answers_last && (is_older || issued);
        if !stale || V::STALE_REQUESTS_COUNT {
            let first = !state.requested;
            let names_routes = kind == ResourceType::Route && self.only.is_none();
            let routes = names_routes.then(|| V::routes_in_parts(&request, first)).flatten();
            V::subscribe(state, &asked, request)?;
            // Virtual hosts are asked for by the routes that they belong to.
            state.requested |= kind != ResourceType::VirtualHost;
            if let Some(routes) = routes {
                self.follow_routes(routes);
            }
        }
        if kind == ResourceType::Endpoint {
            self.order.endpoints_asked(&mut self.types[kind], view.as_deref(), self.updates);
        }
        Ok(Outcome { kind: Some(kind), answer })
    }

    /// Takes in a newer view. Ask for [`responses`](Self::responses) afterwards.
    pub fn update(&mut self, view: Arc<View>) {
        self.updates += 1;
        match self.view.replace(Arc::clone(&view)) {
            None => {
                for (kind, state) in self.types.iter_mut() {
                    if kind == ResourceType::VirtualHost {
                        parts::settle_told(state, view.of(kind), self.updates);
                        continue;
                    }
                    state.settle_claims(view.of(kind), &self.shared.untold.of(kind), self.updates);
                    state.find_missing(view.of(kind));
                }
            }
            Some(before) => {
                let changes = view.changes_since(&before);
                for (kind, state) in self.types.iter_mut().filter(|(_, state)| state.requested) {
                    let changes = changes.of(kind);
                    changes.iter().for_each(|change| state.changed(change, self.updates));
                    if kind == ResourceType::Listener {
                        let gone = changes.iter().filter(|change| change.resource.is_none());
                        gone.for_each(|change| state.lost(&change.name));
                    }
                }
                self.order.changed();
            }
        }
    }

    /// What is to be written now.
    pub fn responses(&mut self) -> Vec<Response<V::Response>> {
        let mut responses = self.unknown_answers();
        let Some(view) = self.view.clone() else { return responses };
        // What a later type turns out not to need may let an earlier one go: twice is enough, because a
        // type that has been sent waits for its answer.
        for kind in [ResourceType::ALL, ResourceType::ALL].concat() {
            responses.extend(self.respond(kind, &view));
        }
        responses
    }

    /// Whether something waits for the client to ask or to answer, and should not wait for ever.
    pub fn is_waiting(&self) -> bool {
        let is_untold = parts::is_untold(&self.types[ResourceType::VirtualHost]);
        self.view.is_some() && (is_untold || self.order.is_waiting(&self.types))
    }

    /// The client has had its time. Ask for [`responses`](Self::responses) afterwards.
    pub fn end_patience(&mut self) {
        parts::end_patience(&mut self.types[ResourceType::VirtualHost]);
        self.order.end_patience(&mut self.types);
    }

    /// Whether the client could not open the ports of some listeners.
    pub fn has_unbound(&self) -> bool {
        self.types[ResourceType::Listener].refusals().any(|(_, refused)| is_unbound(refused))
    }

    /// Offers once more the listeners of which the client could not open the port. Ask for
    /// [`responses`](Self::responses) afterwards.
    pub fn offer_unbound(&mut self) {
        self.offer_listeners(is_unbound);
    }

    /// One type's state, for status.
    pub fn state(&self, kind: ResourceType) -> &TypeState {
        &self.types[kind]
    }

    /// The view that it was given last; `None` = none yet.
    pub fn view(&self) -> Option<&Arc<View>> {
        self.view.as_ref()
    }

    /// What the client has of a version that others refused.
    pub fn stand(&self, rejection: &Rejection) -> Stand {
        let (state, key) = (&self.types[rejection.kind], rejection.key());
        let Some(view) = self.view.as_ref().filter(|_| state.requested) else { return Stand::Elsewhere };
        let view = view.of(rejection.kind);
        let is = |resource: &Arc<Resource>| key.is_version_of(resource);
        if state.has(view, &rejection.name).resource().is_some_and(is) {
            Stand::Accepted
        } else if state.visible(view, &rejection.name).is_some_and(is) {
            Stand::Told
        } else {
            Stand::Elsewhere
        }
    }

    /// What the client has instead of a version that it refuses, with what that leads to.
    pub fn older(&self, rejection: &Rejection) -> Option<Older> {
        let view = self.view.as_ref()?;
        let has = |kind: ResourceType, name: &str| {
            self.types[kind].has(view.of(kind), name).resource().map(Arc::clone)
        };
        Older::of(rejection, has)
    }

    fn offer_listeners(&mut self, which: impl Fn(&Refused) -> bool) {
        let state = &mut self.types[ResourceType::Listener];
        for copy in state.copies.values_mut() {
            if let Some(refused) = copy.refused.as_mut().filter(|refused| which(refused)) {
                refused.again = true;
                copy.owed = copy.owed.max(Owed::News);
                state.due.most = state.due.most.max(Owed::News);
            }
        }
    }

    /// The client wants the virtual hosts of the routes that it asks for.
    fn follow_routes(&mut self, asked: RoutesAsked) {
        let mut state = std::mem::take(&mut self.types[ResourceType::VirtualHost]);
        let view = self.view.as_ref().map(|view| view.of(ResourceType::VirtualHost));
        let (routes, lists) = (&self.types[ResourceType::Route], &self.shared.lists);
        parts::follow(&mut state, routes, asked, view, lists, self.updates);
        self.types[ResourceType::VirtualHost] = state;
    }

    /// It has refused these routes. Of those that it does not have, it has dropped the virtual hosts that came behind.
    fn routes_refused<'a>(&mut self, names: impl Iterator<Item = &'a Arc<str>>, view: &View) {
        for name in names.filter(|name| is_in_parts(name)) {
            let hosts = &self.types[ResourceType::VirtualHost];
            let is_new = self.types[ResourceType::Route].has(view.of(ResourceType::Route), name).is_nothing();
            if is_new && hosts.subscription.has_name(name) {
                parts::anew(&mut self.types[ResourceType::VirtualHost], name, self.updates);
            }
        }
    }

    fn kind_of(&self, type_url: &str) -> Result<Option<ResourceType>, Refusal> {
        match (self.only, type_url) {
            (None, "") => Err(Refusal::NoType),
            (None, url) => Ok(ResourceType::from_type_url(url)),
            (Some(only), "") => Ok(Some(only)),
            (Some(only), url) if url == only.type_url() => Ok(Some(only)),
            (Some(only), url) => Err(Refusal::WrongType { serves: only.type_url(), asked: url.to_owned() }),
        }
    }

    /// The client's answer to a response that is on its way, if it is one.
    fn resolve(&mut self, kind: ResourceType, parts: &RequestParts<'_>) -> Option<Answer> {
        let view = self.view.clone()?;
        let state = &mut self.types[kind];
        let at = state.in_flight.iter().position(|flight| *flight.nonce == *parts.nonce)?;
        // Clients answer in order, so what they did not answer before this one is settled, too.
        let before: Vec<InFlight> = state.in_flight.drain(..at).collect();
        before.into_iter().for_each(|flight| answers::accept(state, flight, view.of(kind)));
        let flight = state.in_flight.pop_front()?;
        state.answered = true;
        let (version, generation) = (flight.version.clone(), flight.generation);
        let said: Vec<Arc<str>> = flight.items.iter().map(|(name, _)| Arc::clone(name)).collect();
        let freed = flight.items.iter().any(|(_, sent)| sent.is_none());
        let whole = flight.whole.as_ref().map(|whole| (Arc::clone(&whole.view), whole.subscription.clone()));
        let answer = match parts.error {
            Some(error) => {
                let refusing = Refusing {
                    kind,
                    view: view.of(kind),
                    words: &error.message,
                    shared: &self.shared,
                    full: !V::STALE_REQUESTS_COUNT && kind.has_wildcard(),
                    update: self.updates,
                };
                let culprits = refusing.take(state, flight);
                Answer::Nack { version, message: error.message.clone(), culprits }
            }
            None => {
                answers::accept(state, flight, view.of(kind));
                Answer::Ack { version, generation }
            }
        };
        let parts_are_refused = parts.error.is_some();
        match kind {
            ResourceType::Endpoint => {
                let was_said = |name: &Arc<str>| {
                    said.binary_search(name).is_ok()
                        || whole.as_ref().is_some_and(|(_, all)| all.covers(name))
                };
                let nonce = parts.nonce.parse().unwrap_or(u64::MAX);
                self.order.endpoints_answered(&self.types[kind], nonce, was_said);
            }
            ResourceType::Cluster => {
                if let Answer::Nack { culprits, .. } = &answer {
                    let gone = culprits.iter().filter_map(|culprit| view.of(kind).get(&culprit.name));
                    gone.for_each(|cluster| self.order.cluster_removed(cluster));
                }
            }
            // Its port may have been what another one could not have.
            ResourceType::Listener if freed && parts.error.is_none() => self.offer_listeners(|_| true),
            ResourceType::Route if parts_are_refused => {
                let names = whole.iter().flat_map(|(_, all)| all.names().iter());
                self.routes_refused(said.iter().chain(names), &view);
            }
            ResourceType::Listener | ResourceType::Route | ResourceType::VirtualHost => {}
        }
        Some(answer)
    }

    fn respond(&mut self, kind: ResourceType, view: &Arc<View>) -> Option<Response<V::Response>> {
        let state = &self.types[kind];
        let (due, busy) = (state.due, !state.in_flight.is_empty());
        let urgent = state.base == Base::Nothing || due.answer || due.most == Owed::Answer;
        let owes = due.most > Owed::Nothing || !state.trials.is_empty();
        if !state.requested || !(urgent || (owes && !busy)) {
            return None;
        }
        // The gate looks at the other types only.
        let mut state = std::mem::take(&mut self.types[kind]);
        self.order.hear(kind, &mut state, &self.types, view);
        let gate = self.order.gate(kind, &state, &self.types, view, &self.shared.composed);
        let mut scene = Scene { kind, view, gate, update: self.updates, trial: false, busy };
        let composed = compose::<V>(&mut state, &mut scene);
        drop(scene);
        self.types[kind] = state;
        let is_nothing = |it: &Composed| {
            kind == ResourceType::VirtualHost && it.resources.is_empty() && it.items.is_empty()
        };
        self.send(kind, view, composed.filter(|it| !is_nothing(it))?)
    }

    fn send(
        &mut self,
        kind: ResourceType,
        view: &Arc<View>,
        mut composed: Composed,
    ) -> Option<Response<V::Response>> {
        self.nonces += 1;
        let (nonce, generation): (Box<str>, _) = (self.nonces.to_string().into(), view.generation());
        let (items, whole) = (std::mem::take(&mut composed.items), composed.whole.take());
        let fresh: Vec<Arc<Resource>> = match &whole {
            Some(_) => composed.resources.clone(),
            None => items.iter().filter_map(|(_, sent)| sent.clone()).collect(),
        };
        if kind == ResourceType::Cluster {
            let gone = items.iter().filter(|(_, sent)| sent.is_none());
            let gone = gone.filter_map(|(name, _)| self.types[kind].copies.get(name)?.has.resource());
            gone.for_each(|cluster| self.order.cluster_removed(cluster));
        }
        let state = &mut self.types[kind];
        if kind == ResourceType::VirtualHost {
            virtual_hosts::encode(state, &mut composed, whole.is_some());
        }
        let whole = whole.filter(|_| state.base != Base::Accepted);
        let flight = InFlight {
            nonce: nonce.clone(),
            version: Box::default(),
            generation,
            items,
            whole,
            forgotten: false,
        };
        state.in_flight.push_back(flight);
        state.last_nonce = Some(nonce.clone());
        let version = version(state, view.of(kind));
        if let Some(flight) = state.in_flight.back_mut() {
            flight.version.clone_from(&version);
        }
        self.order.sent(kind, &fresh, &mut self.types, view, (self.nonces, self.updates));
        let count = composed.resources.len() + composed.parts.len();
        let message = V::response(composed, kind.type_url(), &version, &nonce);
        Some(Response { kind: Some(kind), nonce, version, resources: count, generation, message })
    }

    fn unknown_type(&mut self, request: &V::Request) -> Result<Outcome, Refusal> {
        let url = V::parts(request).type_url;
        let first = !self.unknown.contains_key(url);
        if first && self.unknown.len() == MAX_UNKNOWN_TYPES {
            return Err(Refusal::TooManyTypes);
        }
        let answer = V::nothing_of(request, first);
        let owed = self.unknown.entry(url.to_owned()).or_default();
        if answer.is_some() {
            *owed = answer;
        }
        Ok(Outcome { kind: None, answer: None })
    }

    fn unknown_answers(&mut self) -> Vec<Response<V::Response>> {
        let mut responses = Vec::new();
        for (url, owed) in &mut self.unknown {
            let Some(composed) = owed.take() else { continue };
            self.nonces += 1;
            let nonce: Box<str> = self.nonces.to_string().into();
            let message = V::response(composed, url, "", &nonce);
            let version = Box::default();
            responses.push(Response { kind: None, nonce, version, resources: 0, generation: 0, message });
        }
        responses
    }
}

fn fits(part: &'static str, bytes: usize, max: usize) -> Result<(), Refusal> {
    if bytes > max { Err(Refusal::TooLong { part, bytes, max }) } else { Ok(()) }
}

/// What the client is to be sent now: what is new, or the next trial, in turn.
fn compose<V: Variant>(state: &mut TypeState, scene: &mut Scene<'_>) -> Option<Composed> {
    for news in if state.due.trial_was_last { [true, false] } else { [false, true] } {
        let composed = match news {
            true => {
                scene.trial = false;
                V::compose(state, scene)
            }
            false if scene.busy || !begin_trial(state) => None,
            false => {
                scene.trial = true;
                V::compose(state, scene)
            }
        };
        if composed.is_some() {
            state.due.trial_was_last = !news;
            return composed;
        }
    }
    None
}

/// Puts the next group that may be to blame on trial. Says whether there is one.
fn begin_trial(state: &mut TypeState) -> bool {
    while let Some(group) = state.trials.pop() {
        let mut some = false;
        for name in group {
            if let Some(copy) = state.copies.get_mut(&name).filter(|it| it.suspicion == Suspicion::Waits) {
                copy.suspicion = Suspicion::OnTrial;
                some = true;
            }
        }
        if some {
            return true;
        }
    }
    false
}

/// The version of what the client is brought to: that of the view, if it is to have just that. Equal versions mean
/// equal content.
fn version(state: &TypeState, view: TypeView<'_>) -> Box<str> {
    let mut hash = Xxh3::new();
    let mut same = true;
    for (name, copy) in &state.copies {
        let there = state.visible(view, name);
        let sent = state.on_its_way(name).last();
        let latest = sent.unwrap_or_else(|| copy.has.resource());
        let version = |resource: Option<&Arc<Resource>>| resource.map_or("", |it| it.version()).to_owned();
        if version(latest) != version(there) {
            same = false;
            hash.update(name.as_bytes());
            hash.update(&[0]);
            hash.update(version(latest).as_bytes());
            hash.update(&[0]);
        }
    }
    if same {
        return view.version().into();
    }
    hash.update(view.version().as_bytes());
    format!("{:016x}", hash.digest()).into()
}

fn is_unbound(refused: &Refused) -> bool {
    refused.words.contains("cannot bind")
}
