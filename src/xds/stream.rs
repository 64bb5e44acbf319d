//! The thin loop around one machine: requests, sets and time in, responses out.
//!
//! The server that writes the responses polls the stream, so a stream has no task and no queue of its own.
//! From a client that does not read, nothing is read either.

mod context;
mod following;
mod in_hand;
mod notes;
mod patience;
mod peer;
mod spared;
mod stream_log;
mod turns;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status};
use tracing::field::display;

use notes::{refusal_name, refusal_status};
use patience::ClientPatience;
use spared::Spared;
use stream_log::StreamLog;

pub use context::{ResourceSource, StreamContext};
pub use in_hand::{Hold, InHand};
pub use peer::Peer;
pub use turns::{FirstSyncs, Turn};

use super::machine::Machine;
use super::names::Names;
use super::variant::{Refusal, Response, Variant};
use crate::metrics::StreamGuard;
use crate::proxies::Connection;
use crate::proxy::{Proxy, Scope, Transport};
use crate::resources::{PerType, ResourceType, View, secret_type_url};
use crate::shutdown;
use crate::world::Views;

/// How long listeners that a client could not bind wait until they are offered again: their ports may be free then.
const BIND_AGAIN: Duration = Duration::from_secs(60);

/// Serves one stream. `only`: the type of a stream that serves one; `None` = aggregated.
pub fn serve<V, S>(
    context: &StreamContext,
    inbound: S,
    only: Option<ResourceType>,
    peer: Peer,
) -> impl Stream<Item = Result<V::Response, Status>> + Send + use<V, S>
where
    V: Variant,
    S: Stream<Item = Result<V::Request, Status>> + Send + Unpin + 'static,
{
    let session = Session::<V, S>::new(context.clone(), inbound, only, peer);
    stream::unfold(Some(session), |session| async move {
        let mut session = session?;
        match session.next().await {
            Ok(Some(message)) => Some((Ok(message), Some(session))),
            Ok(None) => None,
            Err(status) => Some((Err(*status), None)),
        }
    })
}

struct Session<V: Variant, S> {
    context: StreamContext,
    inbound: S,
    only: Option<ResourceType>,
    peer: Option<SocketAddr>,
    /// Ends when the connection of the stream is to end.
    left: Pin<Box<WaitForCancellationFutureOwned>>,
    in_hand: InHand,
    /// The types that the client has asked for.
    asked: Vec<ResourceType>,
    machine: Machine<V>,
    outbox: VecDeque<Response<V::Response>>,
    client: Option<Client>,
    ends: Option<Instant>,
    ending: bool,
    /// Ends when shutdown begins; `ending` says that it has ended.
    shutdown_begun: BoxFuture<'static, ()>,
    patience: ClientPatience,
    /// When listeners that could not be bound are offered again.
    bind_again: Option<Instant>,
}

/// What is known once a stream has said who it is.
struct Client {
    proxy: Proxy,
    transport: Transport,
    scope: Arc<Scope>,
    connection: Connection,
    resources: Views,
    /// When the change behind the last response of each type was published.
    changed: PerType<Option<Instant>>,
    /// When the first change that the client is yet to be told of was published, of each type.
    news: PerType<Option<Instant>>,
    /// What the machine was last given of this scope. What the first set of a scope brings is no news: it may
    /// have been known for long.
    set: Option<Arc<View>>,
    /// The names that it asks for and that do not exist, as they were told last; the first of many.
    missing: PerType<Vec<Arc<str>>>,
    /// Whether it refuses something.
    refuses: PerType<Refuses>,
    /// What it refused when that was last looked at, of each type, as it is said; the first of many.
    refused: PerType<Vec<(Arc<str>, String)>>,
    /// The number of the newest mesh of which it has all that it asks for, and the names that it asks for; of each type.
    settled: PerType<(Option<u64>, Names)>,
    /// What it is not sent, because others like it refused it.
    spared: Spared,
    log: StreamLog,
    _open: StreamGuard,
}

/// Whether a client refuses something of a type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Refuses {
    /// It does not.
    #[default]
    Nothing,
    /// It does, and it is known what, or being found out.
    Known,
    /// It did, and nothing that it was sent can be the reason. Until its next answer.
    Unknown,
}

enum Event<R> {
    Request(Option<Result<R, Status>>),
    Resources,
    Refusals,
    PatienceOver,
    BindAgain,
    ShutdownBegun,
    DrainOver,
    AgeOver,
}

type StreamResult<T> = Result<T, Box<Status>>;

impl<V, S> Session<V, S>
where
    V: Variant,
    S: Stream<Item = Result<V::Request, Status>> + Send + Unpin + 'static,
{
    fn new(context: StreamContext, inbound: S, only: Option<ResourceType>, peer: Peer) -> Self {
        Self {
            machine: Machine::new(only, context.limits, Arc::clone(context.proxies.shared())),
            ends: None,
            shutdown_begun: Box::pin(context.shutdown.begun()),
            context,
            inbound,
            only,
            peer: peer.address,
            left: Box::pin(peer.leave.cancelled_owned()),
            in_hand: peer.in_hand,
            asked: Vec::new(),
            outbox: VecDeque::new(),
            client: None,
            ending: false,
            patience: ClientPatience::default(),
            bind_again: None,
        }
    }

    /// The next message to write; `None` when the client has left.
    async fn next(&mut self) -> StreamResult<Option<V::Response>> {
        let outcome = self.advance().await;
        let why = match &outcome {
            Ok(Some(_)) => return outcome,
            Ok(None) => "the client left",
            Err(status) => status.message(),
        };
        if let Some(client) = &mut self.client {
            client.log.because(why);
        }
        outcome
    }

    async fn advance(&mut self) -> StreamResult<Option<V::Response>> {
        loop {
            if let Some(response) = self.outbox.pop_front() {
                self.note_sent(&response);
                return Ok(Some(response.message));
            }
            // Held while the answers are composed, and let go before they are written.
            let mut turn = None;
            match self.event().await {
                Event::Request(None) => return Ok(None),
                Event::Request(Some(Ok(request))) => {
                    if self.is_first(&request) {
                        turn = Some(self.turn().await?);
                    }
                    self.take_request(request)?;
                    self.in_hand.release();
                }
                Event::Request(Some(Err(status))) => return self.broken(status),
                Event::Resources => {
                    self.follow_scope()?;
                    if self.client.as_ref().is_some_and(|client| client.set.is_none()) {
                        turn = Some(self.turn().await?);
                    }
                    self.take_resources();
                }
                Event::Refusals => {
                    if self.hear_of_refusals() {
                        self.give(true);
                    }
                }
                Event::PatienceOver => {
                    self.patience.over().into_iter().for_each(|update| self.machine.end_patience(update));
                }
                Event::BindAgain => {
                    self.bind_again = None;
                    self.machine.offer_unbound();
                }
                Event::ShutdownBegun => {
                    self.ending = true;
                    self.ends = Some(Instant::now() + shutdown::stream_end(self.context.drain));
                }
                Event::DrainOver => return Err(Status::unavailable("pilot is shutting down").into()),
                Event::AgeOver => return Err(too_old()),
            }
            self.outbox.extend(self.machine.responses());
            drop(turn);
            self.note_brought();
            self.note_missing();
            self.note_refusals();
            self.note_settled();
            self.patience.note(self.machine.waits(), self.machine.updates(), Instant::now());
            self.bind_again = match self.machine.has_unbound() {
                true => self.bind_again.or_else(|| Some(Instant::now() + BIND_AGAIN)),
                false => None,
            };
        }
    }

    async fn event(&mut self) -> Event<V::Request> {
        let resources = async {
            match &mut self.client {
                Some(client) => tokio::select! {
                    biased;
                    () = client.resources.changed() => Event::Resources,
                    () = client.spared.changed() => Event::Refusals,
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // What a client said before a change is heard before the change.
            biased;
            () = at(self.ends) => Event::DrainOver,
            () = &mut self.left => Event::AgeOver,
            () = &mut self.shutdown_begun, if !self.ending => Event::ShutdownBegun,
            request = self.inbound.next() => Event::Request(request),
            event = resources => event,
            () = at(self.patience.ends()) => Event::PatienceOver,
            () = at(self.bind_again) => Event::BindAgain,
        }
    }

    /// Whether the client asks for a type that it has not asked for on this stream.
    fn is_first(&mut self, request: &V::Request) -> bool {
        let kind = self.only.or_else(|| ResourceType::from_type_url(V::parts(request).type_url));
        let first = kind.filter(|kind| !self.asked.contains(kind));
        self.asked.extend(first);
        first.is_some()
    }

    /// Waits until it is this stream's turn to be sent much. Where it has to end, it does not wait.
    async fn turn(&mut self) -> StreamResult<Turn> {
        let _hold = self.in_hand.hold();
        tokio::select! {
            turn = self.context.first_syncs.turn(&self.context.metrics) => Ok(turn),
            () = &mut self.left => Err(too_old()),
        }
    }

    fn take_request(&mut self, request: V::Request) -> StreamResult<()> {
        if self.client.is_none() {
            let client = self.connect(&request)?;
            self.machine.follows(Arc::clone(&client.scope));
            self.client = Some(client);
            self.take_resources();
        }
        let wrong = |refusal: Refusal| {
            self.context.metrics.refused(refusal_name(&refusal));
            let id = self.client.as_ref().map(|client| &*client.proxy.id);
            tracing::warn!(proxy = id, variant = V::NAME, %refusal, "stream refused");
            Box::new(refusal_status(&refusal))
        };
        let type_url = V::parts(&request).type_url;
        let unknown = ResourceType::from_type_url(type_url).is_none().then(|| Box::<str>::from(type_url));
        let outcome = self.machine.request(request).map_err(wrong)?;
        let is_unable = following::cannot_take_parts(&outcome);
        match unknown.filter(|_| outcome.kind.is_none()) {
            Some(type_url) if *type_url == *secret_type_url() => {}
            Some(type_url) => self.note_unknown_type(type_url),
            None => self.note_outcome(outcome),
        }
        if is_unable { self.serve_whole_routes() } else { Ok(()) }
    }

    /// The client sent something that is no request, or went away.
    fn broken(&self, status: Status) -> StreamResult<Option<V::Response>> {
        let id = self.client.as_ref().map(|client| &*client.proxy.id);
        let peer = self.peer.map(display);
        match status.code() {
            // The client has not said who it is.
            Code::DeadlineExceeded | Code::ResourceExhausted => Err(status.into()),
            Code::OutOfRange => {
                self.context.metrics.refused("request_bytes");
                let max = self.context.max_request_bytes;
                tracing::warn!(proxy = id, peer, max, "stream refused: a request is too large");
                let reason = format!("a request is larger than {max} bytes ([xds] max_request_bytes)");
                Err(Status::resource_exhausted(reason).into())
            }
            Code::Cancelled | Code::Unknown | Code::Unavailable => Ok(None),
            _ => {
                self.context.metrics.refused("malformed");
                tracing::warn!(proxy = id, peer, %status, "stream refused: malformed request");
                Err(Status::invalid_argument(format!("malformed request: {}", status.message())).into())
            }
        }
    }
}

/// The next stream is to be opened on another connection: this one ends.
fn too_old() -> Box<Status> {
    Status::unavailable("the connection's maximum age is over: connect again").into()
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
