//! The state machine of one stream: requests and sets in, responses out. No IO, no clock.

mod answered;
mod respond;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::builds::Stand;
use super::composed::Composed;
use super::older::Older;
use super::order::Order;
use super::parts::{self, RoutesAsked};
use super::rejections::Rejection;
use super::secrets::Secrets;
use super::shared::Shared;
use super::type_state::TypeState;
use super::untold;
use super::variant::{
    Asked, Limits, MAX_NAME, MAX_UNKNOWN_TYPES, Refusal, RequestOutcome, Response, Variant,
};
use crate::proxy::Scope;
use crate::resources::{PerType, Resource, ResourceType, View, secret_type_url};

/// A secret is what its name says: it has one version.
const SECRET_VERSION: &str = "1";

/// How long a type URL may be, in bytes.
const MAX_TYPE_URL: usize = 512;

/// What waits for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Nothing.
    Nothing,
    /// Something, and the client has not answered yet what it was sent last.
    ForAnswer,
    /// Something, and the client has answered: only its next request, or the end of patience, lets it go.
    ForRequest,
}

/// One stream.
#[derive(Debug)]
pub struct Machine<V: Variant> {
    /// The type of a stream that serves one; `None` = aggregated.
    only: Option<ResourceType>,
    limits: Limits,
    shared: Arc<Shared>,
    /// Whom the client is like.
    scope: Option<Arc<Scope>>,
    /// The nonce of the last response that it was sent as one of another scope, on this stream.
    moved: Option<u64>,
    view: Option<Arc<View>>,
    types: PerType<TypeState>,
    order: Order,
    nonces: u64,
    updates: u64,
    /// By type URL: whether the one answer was given.
    unknown: BTreeMap<String, Option<Composed>>,
    secrets: Secrets,
    variant: std::marker::PhantomData<V>,
}

impl<V: Variant> Machine<V> {
    /// A stream on which nothing was said. `only`: the type of a stream that serves one.
    pub fn new(only: Option<ResourceType>, limits: Limits, shared: Arc<Shared>) -> Self {
        Self {
            only,
            limits,
            shared,
            scope: None,
            moved: None,
            view: None,
            types: PerType::default(),
            order: Order::new(only.is_none()),
            nonces: 0,
            updates: 0,
            unknown: BTreeMap::new(),
            secrets: Secrets::default(),
            variant: std::marker::PhantomData,
        }
    }

    /// The views that follow are those of that scope.
    pub fn follows(&mut self, scope: Arc<Scope>) {
        if self.scope.as_ref().is_some_and(|before| *before != scope) {
            self.moved = Some(self.nonces);
        }
        self.scope = Some(scope);
    }

    /// Takes in a request. Ask for [`responses`](Self::responses) afterwards.
    ///
    /// # Errors
    /// The stream has to end.
    pub fn request(&mut self, request: impl Into<V::Request>) -> Result<RequestOutcome, Refusal> {
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
            scope: self.scope.as_deref(),
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
        Ok(RequestOutcome { kind: Some(kind), answer })
    }

    /// Takes in a newer view. Ask for [`responses`](Self::responses) afterwards.
    pub fn update(&mut self, view: Arc<View>) {
        self.updates += 1;
        match self.view.replace(Arc::clone(&view)) {
            None => {
                for (kind, state) in self.types.iter_mut() {
                    if kind == ResourceType::VirtualHost {
                        let untold = self.shared.untold.of(self.scope.as_deref(), kind);
                        parts::settle_told(state, view.of(kind), &untold, self.updates);
                        continue;
                    }
                    let untold = self.shared.untold.of(self.scope.as_deref(), kind);
                    state.settle_claims(view.of(kind), &untold, self.updates);
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

    /// Whether something waits for the client to ask, and should not wait for ever. While a response is unanswered, the
    /// client is slow, and nothing else.
    pub fn is_waiting(&self) -> bool {
        self.waits() == Waits::ForRequest
    }

    /// Whether the client has all of a type that it asks for, but for what it refuses.
    pub fn is_settled(&self, kind: ResourceType) -> bool {
        let state = &self.types[kind];
        let is_awaiting = || self.view.as_ref().is_some_and(|view| self.order.is_awaiting(view));
        let awaits = kind == ResourceType::Endpoint && is_awaiting();
        let asks = state.subscription.is_wildcard() || !state.subscription.names().is_empty();
        state.requested && (state.is_quiet() || !asks && state.in_flight.is_empty()) && !awaits
    }

    /// What waits for the client.
    pub fn waits(&self) -> Waits {
        let is_untold = parts::is_untold(&self.types[ResourceType::VirtualHost]);
        if self.view.is_none() || !(is_untold || self.order.is_withholding(&self.types, self.updates)) {
            return Waits::Nothing;
        }
        let is_idle = self.types.values().all(|state| state.in_flight.is_empty());
        if is_untold || is_idle { Waits::ForRequest } else { Waits::ForAnswer }
    }

    /// The number of the last update.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The client has had its time for what came with that update, and before. Ask for
    /// [`responses`](Self::responses) afterwards.
    pub fn end_patience(&mut self, update: u64) {
        parts::end_patience(&mut self.types[ResourceType::VirtualHost]);
        self.order.end_patience(&mut self.types, update);
    }

    /// The client turned out to have no word for virtual hosts: it will not answer what it was sent of them.
    pub fn forget_virtual_hosts(&mut self) {
        self.types[ResourceType::VirtualHost] = TypeState::default();
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

    /// What the client has instead of a version that it refuses, with what that leads to. Nothing where the client may
    /// have it from another scope than its own.
    pub fn older(&self, rejection: &Rejection) -> Option<Older> {
        let view = self.view.as_ref().filter(|_| self.moved.is_none())?;
        let has = |kind: ResourceType, name: &str| {
            self.types[kind].has(view.of(kind), name).resource().map(Arc::clone)
        };
        Older::of(rejection, has)
    }

    /// The client wants the virtual hosts of the routes that it asks for.
    fn follow_routes(&mut self, asked: RoutesAsked) {
        let mut state = std::mem::take(&mut self.types[ResourceType::VirtualHost]);
        let view = self.view.as_ref().map(|view| view.of(ResourceType::VirtualHost));
        let routes = &self.types[ResourceType::Route];
        let untold = self.shared.untold.of(self.scope.as_deref(), ResourceType::VirtualHost);
        parts::follow(&mut state, routes, asked, view, &self.shared.lists, &untold, self.updates);
        self.types[ResourceType::VirtualHost] = state;
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

    fn unknown_type(&mut self, request: &V::Request) -> Result<RequestOutcome, Refusal> {
        let url = V::parts(request).type_url;
        if url == secret_type_url() {
            self.secrets.request::<V>(request);
            return Ok(RequestOutcome { kind: None, answer: None });
        }
        let first = !self.unknown.contains_key(url);
        if first && self.unknown.len() == MAX_UNKNOWN_TYPES {
            return Err(Refusal::TooManyTypes);
        }
        let answer = V::nothing_of(request, first);
        let owed = self.unknown.entry(url.to_owned()).or_default();
        if answer.is_some() {
            *owed = answer;
        }
        Ok(RequestOutcome { kind: None, answer: None })
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
        let nonce: Box<str> = (self.nonces + 1).to_string().into();
        if let Some(composed) = self.secrets.compose(&nonce) {
            self.nonces += 1;
            let resources = composed.resources.len();
            let message = V::response(composed, &secret_type_url(), SECRET_VERSION, &nonce);
            let version = SECRET_VERSION.into();
            responses.push(Response { kind: None, nonce, version, resources, generation: 0, message });
        }
        responses
    }
}

impl<V: Variant> Drop for Machine<V> {
    fn drop(&mut self) {
        // Who takes the state of the world tells of nothing.
        if V::STALE_REQUESTS_COUNT {
            untold::note_unanswered(&self.shared, self.scope.as_deref(), self.moved, &self.types);
        }
    }
}

fn fits(part: &'static str, bytes: usize, max: usize) -> Result<(), Refusal> {
    if bytes > max { Err(Refusal::TooLong { part, bytes, max }) } else { Ok(()) }
}
