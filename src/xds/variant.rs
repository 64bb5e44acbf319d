//! The shapes of the protocol: what its two variants have in common, what requests and answers mean, what ends a
//! stream.

use std::sync::Arc;

use bytes::Bytes;
use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::google::rpc::Status as RpcStatus;
use prost::{DecodeError, Message};

use super::composed::{Composed, Scene};
use super::parts::RoutesAsked;
use super::rejections::Rejection;
use super::shared::Shared;
use super::type_state::TypeState;
use crate::proxy::Scope;
use crate::resources::{ResourceType, TypeView};

/// How many types that pilot does not know one stream may ask for.
pub(super) const MAX_UNKNOWN_TYPES: usize = 32;

/// How long a name, or the version that a client has of it, may be, in bytes: streams keep them.
pub(super) const MAX_NAME: usize = 4096;

/// How long the names of a stream and type may be on average, in bytes. Those of services take about 60.
const NAME_BYTES: usize = 150;

/// One of the protocol's two variants: state of the world, or delta.
pub trait Variant: Sized + Send + 'static {
    /// What clients send.
    type Request: ReadMessage + Send + 'static;
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

    /// What a request for routes says of those that the client takes in parts. `first`: it is the first for routes.
    fn routes_in_parts(_request: &Self::Request, _first: bool) -> Option<RoutesAsked> {
        None
    }

    /// Brings a subscription to what a request says.
    ///
    /// # Errors
    /// More names than are allowed.
    fn subscribe(state: &mut TypeState, asked: &Asked<'_>, request: Self::Request) -> Result<(), Refusal>;

    /// What the client is to be sent now, if anything.
    fn compose(state: &mut TypeState, scene: &Scene<'_>) -> Option<Composed>;

    /// Makes the message.
    fn response(composed: Composed, type_url: &str, version: &str, nonce: &str) -> Self::Response;

    /// The names in a request that the client is to be sent. `listed`: those that it listed before, where each request lists all.
    fn asked_names(request: &Self::Request, listed: &mut Vec<String>) -> Vec<String>;

    /// The answer to a request for a type that does not exist: none of it does (P18). `None`: the request
    /// asks for nothing that was not answered before.
    fn nothing_of(request: &Self::Request, first: bool) -> Option<Composed>;
}

/// A message as it is read.
pub trait ReadMessage: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// It is malformed.
    fn read(message: Bytes) -> Result<Self, DecodeError>;
}

impl<M: Message + Default> ReadMessage for M {
    fn read(message: Bytes) -> Result<Self, DecodeError> {
        M::decode(message)
    }
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

/// What there is when a client asks for something.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The type that it asks for.
    pub kind: ResourceType,
    /// What there is; `None` = nothing is known yet.
    pub view: Option<TypeView<'a>>,
    /// How much it may ask for.
    pub limits: Limits,
    /// What the streams of all clients share.
    pub shared: &'a Shared,
    /// Whom the client is like. `None`: not known.
    pub scope: Option<&'a Scope>,
    /// The number of the last update.
    pub update: u64,
}

impl Asked<'_> {
    /// Whether it may give so many names.
    ///
    /// # Errors
    /// It may not.
    pub fn allows(&self, names: usize) -> Result<(), Refusal> {
        let (kind, max) = (self.kind, self.limits.max_names);
        if names > max { Err(Refusal::TooManyNames { kind, names, max }) } else { Ok(()) }
    }

    /// Whether it may give names of these lengths: those that do not exist are kept for it alone.
    ///
    /// # Errors
    /// It may not.
    pub fn allows_bytes(&self, lengths: impl Iterator<Item = usize>) -> Result<(), Refusal> {
        let (kind, bytes) = (self.kind, lengths.sum());
        let max = self.limits.max_names.saturating_mul(NAME_BYTES).max(MAX_NAME);
        if bytes > max { Err(Refusal::TooManyBytes { kind, bytes, max }) } else { Ok(()) }
    }
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
    /// Too long names, of too many.
    #[error(
        "{kind} names of {bytes} bytes together on one stream: at most {max} are allowed ([xds] max_names, 150 each)"
    )]
    TooManyBytes {
        /// The type.
        kind: ResourceType,
        /// How long all names are together.
        bytes: usize,
        /// How long they may be.
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
pub struct RequestOutcome {
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
        /// Whom that is about, as far as it was found out by it.
        culprits: Vec<Arc<Rejection>>,
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
