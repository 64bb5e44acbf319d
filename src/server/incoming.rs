//! The connections that the server takes: bounded in number, and closed if they never speak HTTP/2.
//!
//! ```text
//!  accept ─┬─ a place is free ─┬─ it begins HTTP/2 ─► Rewound, which holds the place until it is dropped
//!          │                   └─ it does not ──────► told what the port speaks, and closed
//!          ├─ none is free ─────► closed at once
//!          └─ it fails ─────────► a pause: without it, a process out of file descriptors would only spin
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::stranger::Strangers;
use crate::metrics::Metrics;
use crate::opening::{Opening, Rewound, WireProtocol};

/// How long nothing is accepted after accepting has failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Limits on connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    /// How many there may be at once.
    pub(super) max: usize,
    /// How long a client has for the first bytes that make it one of HTTP/2.
    pub(super) preface_timeout: Duration,
}

/// The connections of a listener, for ever.
pub(super) fn incoming(
    listener: TcpListener,
    limits: ConnectionLimits,
    strangers: Arc<Strangers>,
    metrics: Metrics,
) -> impl Stream<Item = Rewound> {
    let acceptor = Acceptor::new(limits, strangers, metrics);
    stream::unfold((listener, acceptor), |(listener, mut acceptor)| async move {
        let connection = acceptor.next(|| listener.accept()).await;
        Some((connection, (listener, acceptor)))
    })
}

struct Acceptor {
    limits: ConnectionLimits,
    places: Arc<Semaphore>,
    strangers: Arc<Strangers>,
    metrics: Metrics,
    /// Clients that have not said yet what they speak. Each holds a place.
    openings: FuturesUnordered<BoxFuture<'static, Option<Rewound>>>,
    /// Of a row of failures, and of refusals, only the first is logged.
    is_failing: bool,
    is_full: bool,
}

impl Acceptor {
    fn new(limits: ConnectionLimits, strangers: Arc<Strangers>, metrics: Metrics) -> Self {
        let places = Arc::new(Semaphore::new(limits.max.min(Semaphore::MAX_PERMITS)));
        let openings = FuturesUnordered::new();
        Self { limits, places, strangers, metrics, openings, is_failing: false, is_full: false }
    }

    async fn next<F>(&mut self, accept: impl Fn() -> F) -> Rewound
    where
        F: Future<Output = io::Result<(TcpStream, SocketAddr)>>,
    {
        loop {
            tokio::select! {
                Some(opened) = self.openings.next() => if let Some(connection) = opened {
                    return connection;
                },
                accepted = accept() => self.accepted(accepted).await,
            }
        }
    }

    async fn accepted(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let failing = accepted.as_ref().is_err_and(|error| !is_of_the_client(error));
        let was_failing = std::mem::replace(&mut self.is_failing, failing);
        match accepted {
            Ok((stream, peer)) => self.admit(stream, peer),
            Err(error) if failing => {
                if !was_failing {
                    tracing::error!(%error, "xDS connections cannot be accepted: trying again");
                }
                sleep(PAUSE).await;
            }
            Err(error) => tracing::debug!(%error, "a client left before it was accepted"),
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let was_full = std::mem::replace(&mut self.is_full, place.is_none());
        let Some(place) = place else {
            self.metrics.refused("connections");
            if !was_full {
                let max = self.limits.max;
                tracing::warn!(%peer, max, "connections are refused: too many are open ([xds] max_streams)");
            }
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "setting TCP_NODELAY");
        }
        let (limit, strangers) = (self.limits.preface_timeout, Arc::clone(&self.strangers));
        let opened = open(stream, peer, place, limit, strangers);
        self.openings.push(opened.boxed());
    }
}

/// Waits for what the client says first; `None` = it is none of HTTP/2, and the connection is closed.
async fn open(
    mut stream: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
    limit: Duration,
    strangers: Arc<Strangers>,
) -> Option<Rewound> {
    match timeout(limit, Opening::read(&mut stream)).await {
        Ok(Ok(opening)) if opening.protocol == WireProtocol::Http2 => {
            Some(Rewound::new(opening.bytes, stream).holding(place))
        }
        // Probes of the port connect, and say nothing.
        Ok(Ok(opening)) if opening.bytes.is_empty() => None,
        Ok(Ok(opening)) => {
            strangers.refuse(stream, peer, opening).await;
            None
        }
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a client left before it said anything");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, ?limit, "the client did not begin HTTP/2 in time");
            None
        }
    }
}

/// Whether a failure is about the one connection that would have been accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_process_out_of_descriptors_does_not_spin() {
        let limits = ConnectionLimits { max: 1, preface_timeout: PAUSE };
        let metrics = Metrics::new();
        let strangers = Arc::new(Strangers::new(None, metrics.clone()));
        let mut acceptor = Acceptor::new(limits, strangers, metrics);
        let attempts = Cell::new(0);
        let fails = || {
            attempts.set(attempts.get() + 1);
            // EMFILE
            std::future::ready(Err(io::Error::from_raw_os_error(24)))
        };
        assert!(timeout(PAUSE * 20, acceptor.next(fails)).await.is_err());
        assert!((15..=21).contains(&attempts.get()), "{} attempts", attempts.get());
    }
}
