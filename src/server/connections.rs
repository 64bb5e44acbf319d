//! Serves connections: HTTP/2, keepalive, an age, and an end.
//!
//! ```text
//!  a connection ─┬─ old, or idle ──► GOAWAY, then its streams end ─┐ whoever is still there
//!                └─ pilot ends ────► GOAWAY; streams end by chance ┴─ after the drain time is cut off
//! ```
//!
//! The GOAWAY goes first: a client that only lost its stream would open the next one on the same connection, and
//! replicas of pilot behind one address would never share the load evenly.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt;

use super::Settings;
use super::admission::Admission;
use super::caller::Caller;
use super::discovery::Discovery;
use super::protocol;
use super::unread::WatchingExecutor;
use crate::opening::Rewound;
use crate::shutdown::Shutdown;
use crate::supervisor::jittered;

/// A connection on which nothing was open for this long is closed: it holds a place.
const IDLE: Duration = Duration::from_secs(60);

/// How many bytes of its requests a client may send before they are read.
const STREAM_WINDOW: u32 = 64 << 10;

/// How many bytes of a response wait to be sent, besides what the client's windows and the socket take.
const SEND_BUFFER: usize = 128 << 10;

/// What answers requests.
pub(super) type Service = Admission<Discovery<Routes>>;

/// How connections are served.
pub(super) struct Connections {
    http2: Builder<WatchingExecutor>,
    service: Service,
    max_age: Option<Duration>,
    /// How long a client has to leave once it was asked to.
    linger: Duration,
    shutdown: Shutdown,
}

impl Connections {
    pub(super) fn new(
        service: Service,
        settings: &Settings,
        streams: WatchingExecutor,
        linger: Duration,
        shutdown: Shutdown,
    ) -> Self {
        let mut http2 = Builder::new(streams);
        http2
            .timer(TokioTimer::new())
            // A client that is not read from keeps that much here.
            .initial_stream_window_size(STREAM_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            // Clients without ADS open a stream for each cluster. All streams together are bounded by admission.
            .max_concurrent_streams(None)
            .keep_alive_interval(Some(settings.keepalive_interval).filter(|it| !it.is_zero()))
            .keep_alive_timeout(settings.keepalive_timeout);
        Self { http2, service, max_age: settings.max_age, linger, shutdown }
    }

    /// Serves what comes until shutdown begins, and what has come until it ends.
    pub(super) async fn serve(self: Arc<Self>, incoming: impl Stream<Item = Rewound>) {
        let mut connections = JoinSet::new();
        {
            let mut incoming = pin!(incoming);
            let mut begun = pin!(self.shutdown.begun());
            loop {
                tokio::select! {
                    () = &mut begun => break,
                    Some(connection) = incoming.next() => {
                        connections.spawn(Arc::clone(&self).one(connection));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
            // The port is closed here.
        }
        while connections.join_next().await.is_some() {}
    }

    async fn one(self: Arc<Self>, connection: Rewound) {
        let caller = Caller::of(connection.stream());
        let service = service_fn(|request: Request<Incoming>| {
            let (service, caller) = (self.service.clone(), caller.clone());
            async move {
                let mut request = request.map(Body::new);
                if let Some(refusal) = protocol::refusal(&request) {
                    return Ok::<_, Infallible>(refusal);
                }
                request.extensions_mut().insert(caller);
                service.oneshot(request).await
            }
        });
        let mut connection = pin!(self.http2.serve_connection(TokioIo::new(connection), service));
        tokio::select! {
            ended = &mut connection => return note(&caller, ended),
            () = self.is_over(&caller) => {}
        }
        connection.as_mut().graceful_shutdown();
        if !self.shutdown.has_begun() {
            // At the end of all, streams leave one after the other, by themselves.
            caller.leave();
        }
        tokio::select! {
            ended = &mut connection => note(&caller, ended),
            () = sleep(self.linger) => tracing::debug!(peer = %caller, "a client that was asked to leave is cut off"),
        }
    }

    /// Waits until the client is to leave.
    async fn is_over(&self, caller: &Caller) {
        let old = async {
            match self.max_age {
                // Half of the age is certain, the other half by chance: what came together leaves apart.
                Some(age) => sleep(age / 2 + jittered(age / 2)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = old => {}
            () = caller.idle(IDLE) => {}
            () = self.shutdown.begun() => {}
        }
    }
}

fn note(caller: &Caller, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(peer = %caller, %error, "a connection broke");
    }
}
