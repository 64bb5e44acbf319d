//! The state machine of one stream: requests and sets in, responses out. No IO, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::google::rpc::Status as RpcStatus;

use super::composed::Composed;
use super::order::{Gate, Order, needs};
use super::type_state::{InFlight, TypeState};
use crate::resources::{ResourceType, TypeView, View};

/// How many types that pilot does not know one stream may ask for.
const MAX_UNKNOWN_TYPES: usize = 32;

/// How long a name, or the version that a client has of it, may be, in bytes: streams keep them.
const MAX_NAME: usize = 4096;

/// How long a type URL may be, in bytes.
const MAX_TYPE_URL: usize = 512;

/// One of the protocol's two variants: state of the world, or delta.
pub trait Variant: Sized + Send + 'static {
    /// What clients send.
    type Request: prost::Message + Default + Send + 'static;
    /// What clients are sent.
    type Response: prost::Message + Send + 'static;
    /// The variant's name: `sotw` or `delta`.
    const NAME: &'static str;
    /// Whether a request that answers an older response than the last says anything at all (P2, P3).
    const STALE_REQUESTS_COUNT: bool;

    /// The parts that both variants' requests have.
    fn parts(request: &Self::Request) -> RequestParts<'_>;

    /// The length of the longest of the names, and of the versions of resources, in a request.
    fn longest_name(request: &Self::Request) -> usize;

    /// Brings a subscription to what a request says. `set` is `None` while nothing is known.
    ///
    /// # Errors
    /// More names than `limits` allow.
    fn subscribe(
        state: &mut TypeState,
        kind: ResourceType,
        request: Self::Request,
        set: Option<TypeView<'_>>,
        limits: &Limits,
    ) -> Result<(), Refusal>;

    /// What the client is to be sent now, if anything.
    fn compose(
        state: &mut TypeState,
        kind: ResourceType,
        set: TypeView<'_>,
        gate: &Gate<'_>,
    ) -> Option<Composed>;

    /// Makes the message.
    fn response(composed: Composed, type_url: &str, version: &str, nonce: &str) -> Self::Response;

    /// The answer to a request for a type that does not exist: none of it does (P18). `None`: the request
    /// asks for nothing that was not answered before.
    fn nothing_of(request: &Self::Request, first: bool) -> Option<Composed>;
}

/// The parts that both variants' requests have.
#[derive(Debug)]
pub struct RequestParts<'a> {
    /// Who asks; on the first request of a stream.
    pub node: Option<&'a Node>,
    /// The type of all names in the request.
    pub type_url: &'a str,
    /// The response that it answers, if any.
    pub nonce: &'a str,
    /// Why that response was rejected, if it was.
    pub error: Option<&'a RpcStatus>,
}

/// Limits on what one client may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Names of one type.
    pub max_names: usize,
}

/// A request that ends the stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An aggregated stream needs a type in each request.
    #[error("the request has no type_url, which an aggregated stream needs")]
    NoType,
    /// A stream for one type was asked for another.
    #[error("this stream serves {serves}, and was asked for {asked:?}")]
    WrongType {
        /// The type URL that the stream serves.
        serves: &'static str,
        /// The type URL in the request.
        asked: String,
    },
    /// Too many names.
    #[error("{names} {kind} names on one stream: at most {max} are allowed ([xds] max_names)")]
    TooManyNames {
        /// The type.
        kind: ResourceType,
        /// How many names.
        names: usize,
        /// How many are allowed.
        max: usize,
    },
    /// Something is too long to be kept.
    #[error("{part} of {bytes} bytes: at most {max} are allowed")]
    TooLong {
        /// What is too long.
        part: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// Too many types that do not exist.
    #[error("more than {MAX_UNKNOWN_TYPES} unknown types on one stream")]
    TooManyTypes,
}

/// What a request meant, for status and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The type; `None` = one that pilot does not know.
    pub kind: Option<ResourceType>,
    /// What it says of a response.
    pub answer: Option<Answer>,
}

/// A client's answer to a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It uses it.
    Ack {
        /// The version that it uses now.
        version: Box<str>,
        /// The set that it was made from.
        generation: u64,
    },
    /// It keeps what it had.
    Nack {
        /// The version that it rejected.
        version: Box<str>,
        /// Why, in the client's words.
        message: String,
    },
}

/// A response to be written.
#[derive(Debug)]
pub struct Response<M> {
    /// Its type; `None` = one that pilot does not know.
    pub kind: Option<ResourceType>,
    /// Its nonce.
    pub nonce: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// How many resources it has.
    pub resources: usize,
    /// The set that it was made from.
    pub generation: u64,
    /// The message itself.
    pub message: M,
}

/// One stream.
#[derive(Debug)]
pub struct Machine<V: Variant> {
    /// The type of a stream that serves one; `None` = aggregated.
    only: Option<ResourceType>,
    limits: Limits,
    set: Option<Arc<View>>,
    types: [TypeState; 4],
    order: Order,
    nonces: u64,
    /// By type URL: whether the one answer was given.
    unknown: BTreeMap<String, Option<Composed>>,
    variant: std::marker::PhantomData<V>,
}

impl<V: Variant> Machine<V> {
    /// A stream on which nothing was said. `only`: the type of a stream that serves one.
    pub fn new(only: Option<ResourceType>, limits: Limits) -> Self {
        Self {
            only,
            limits,
            set: None,
            types: Default::default(),
            order: Order::new(only.is_none()),
            nonces: 0,
            unknown: BTreeMap::new(),
            variant: std::marker::PhantomData,
        }
    }

    /// Takes in a request. Ask for [`responses`](Self::responses) afterwards.
    ///
    /// # Errors
    /// The stream has to end.
    pub fn request(&mut self, request: V::Request) -> Result<Outcome, Refusal> {
        let parts = V::parts(&request);
        fits("a type_url", parts.type_url.len(), MAX_TYPE_URL)?;
        fits("a resource name", V::longest_name(&request), MAX_NAME)?;
        let Some(kind) = self.kind_of(parts.type_url)? else {
            return self.unknown_type(&request);
        };
        let state = &mut self.types[kind as usize];
        let answers_last = state.last_nonce.as_deref() == Some(parts.nonce);
        let set = self.set.as_ref().map(|set| set.of(kind));
        let answer = if answers_last { resolve(state, &parts, set) } else { None };
        // A nonce of this stream that is not this type's last is an older one or another type's.
        let issued = parts.nonce.parse().is_ok_and(|nonce: u64| nonce <= self.nonces);
        let stale = !answers_last && (state.last_nonce.is_some() || issued);
        if !stale || V::STALE_REQUESTS_COUNT {
            V::subscribe(state, kind, request, set, &self.limits)?;
            let first = !std::mem::replace(&mut state.requested, true);
            if first && kind == ResourceType::Cluster && state.returned {
                self.order.clusters_brought(&self.types);
            }
        }
        if kind == ResourceType::Endpoint {
            self.order.endpoints_heard(&mut self.types[kind as usize], set);
            self.answer_for_clusters();
        }
        Ok(Outcome { kind: Some(kind), answer })
    }

    /// Takes in a newer set. Ask for [`responses`](Self::responses) afterwards.
    pub fn update(&mut self, set: Arc<View>) {
        match &self.set {
            None => {
                for kind in ResourceType::ALL {
                    self.types[kind as usize].look_at_everything();
                    self.types[kind as usize].settle_claims(set.of(kind));
                    self.types[kind as usize].find_missing(set.of(kind));
                }
                self.order.clusters_brought(&self.types);
            }
            Some(before) => {
                let changes = set.changes_since(before);
                for kind in ResourceType::ALL {
                    let state = &mut self.types[kind as usize];
                    let changes = changes.of(kind);
                    changes.iter().for_each(|change| state.changed(change));
                    if kind == ResourceType::Listener {
                        let gone = changes.iter().filter(|change| change.resource.is_none());
                        gone.for_each(|change| state.lost(&change.name));
                    }
                    if changes.iter().any(|change| state.rejected.contains_key(&change.name)) {
                        state.retry(set.of(kind));
                    }
                }
                self.order.changed();
            }
        }
        self.set = Some(set);
    }

    /// What is to be written now.
    pub fn responses(&mut self) -> Vec<Response<V::Response>> {
        let mut responses = self.unknown_answers();
        let Some(set) = self.set.clone() else { return responses };
        // What a later type turns out not to need may let an earlier one go: twice is enough, because a
        // type that has been sent waits for its answer.
        for kind in [ResourceType::ALL, ResourceType::ALL].concat() {
            responses.extend(self.respond(kind, &set));
        }
        responses
    }

    /// Whether something waits for the client to ask or to answer, and should not wait for ever.
    pub fn is_waiting(&self) -> bool {
        self.set.is_some() && self.order.is_waiting(&self.types)
    }

    /// The client has had its time. Ask for [`responses`](Self::responses) afterwards.
    pub fn end_patience(&mut self) {
        self.order.end_patience(&mut self.types);
    }

    /// One type's state, for status.
    pub fn state(&self, kind: ResourceType) -> &TypeState {
        &self.types[kind as usize]
    }

    /// A client that asks for endpoints because it was sent their cluster is answered even if they are gone
    /// since: Envoy warms the cluster until it is, and takes no other cluster meanwhile, for 15 s.
    fn answer_for_clusters(&mut self) {
        let Some(set) = self.set.as_ref().map(|set| set.of(ResourceType::Endpoint)) else { return };
        let [clusters, endpoints, ..] = &mut self.types;
        let names = &mut endpoints.pending.names;
        if names.keys().all(|name| set.get(name).is_some()) {
            return;
        }
        let clusters = clusters.held.resources().iter();
        for name in clusters.flat_map(|cluster| needs(cluster, ResourceType::Endpoint)) {
            if let Some(answer) = names.get_mut(name).filter(|_| set.get(name).is_none()) {
                *answer = true;
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

    fn respond(&mut self, kind: ResourceType, set: &Arc<View>) -> Option<Response<V::Response>> {
        let state = &self.types[kind as usize];
        if !state.requested || state.in_flight.is_some() {
            return None;
        }
        if !state.pending.has_updates() && state.pending.removals.is_empty() {
            return None;
        }
        // The gate looks at the other types only.
        let mut state = std::mem::take(&mut self.types[kind as usize]);
        let gate = self.order.gate(kind, &state, &self.types, set);
        let composed = V::compose(&mut state, kind, set.of(kind), &gate);
        state.held.shrink();
        self.types[kind as usize] = state;
        let mut composed = composed?;
        composed.before.sort_by(|(a, _), (b, _)| a.cmp(b));
        composed.before.dedup_by(|(a, _), (b, _)| a == b);
        self.nonces += 1;
        let nonce: Box<str> = self.nonces.to_string().into();
        let version: Box<str> = match composed.partial {
            // Equal versions mean equal content.
            true => format!("{}+partial", set.of(kind).version()).into(),
            false => set.of(kind).version().into(),
        };
        let generation = set.generation();
        let before = std::mem::take(&mut composed.before);
        let (nonce_sent, version_sent) = (nonce.clone(), version.clone());
        let state = &mut self.types[kind as usize];
        state.in_flight = Some(InFlight { nonce: nonce_sent, version: version_sent, generation, before });
        state.last_nonce = Some(nonce.clone());
        self.order.sent(kind, &composed.fresh, &mut self.types);
        let count = composed.resources.len();
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

/// The client's answer to the response that is on its way, if it is one.
fn resolve(state: &mut TypeState, parts: &RequestParts<'_>, set: Option<TypeView<'_>>) -> Option<Answer> {
    let InFlight { version, generation, before, .. } = state.in_flight.take()?;
    Some(match parts.error {
        Some(error) => {
            let news = before.iter().any(|(name, _)| state.pending.has(name));
            state.refused(before);
            if let (true, Some(set)) = (news, set) {
                // What changed meanwhile may be the reason for the rejection.
                state.retry(set);
            }
            Answer::Nack { version, message: error.message.clone() }
        }
        None => {
            state.accepted(&before);
            Answer::Ack { version, generation }
        }
    })
}
