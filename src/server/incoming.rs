//! The connections that the server takes: bounded in number, and closed if they never speak HTTP/2.
//!
//! ```text
//!  accept ─┬─ a place is free ──► Connection, which holds the place until it is dropped
//!          ├─ none is free ─────► closed at once
//!          └─ it fails ─────────► a pause: without it, a process out of file descriptors would only spin
//! ```

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::metrics::Metrics;

/// How long nothing is accepted after accepting has failed.
const PAUSE: Duration = Duration::from_millis(500);

/// The length of what an HTTP/2 client says first (RFC 9113, section 3.4).
const PREFACE: usize = 24;

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
    metrics: Metrics,
) -> impl Stream<Item = Result<Connection, Infallible>> {
    let places = Arc::new(Semaphore::new(limits.max.min(Semaphore::MAX_PERMITS)));
    let acceptor = Acceptor { limits, places, metrics, is_failing: false, is_full: false };
    stream::unfold((listener, acceptor), |(listener, mut acceptor)| async move {
        let connection = acceptor.next(|| listener.accept()).await;
        Some((Ok(connection), (listener, acceptor)))
    })
}

struct Acceptor {
    limits: ConnectionLimits,
    places: Arc<Semaphore>,
    metrics: Metrics,
    /// Of a row of failures, and of refusals, only the first is logged.
    is_failing: bool,
    is_full: bool,
}

impl Acceptor {
    async fn next<F>(&mut self, accept: impl Fn() -> F) -> Connection
    where
        F: Future<Output = io::Result<(TcpStream, SocketAddr)>>,
    {
        loop {
            let accepted = accept().await;
            let failing = accepted.as_ref().is_err_and(|error| !is_of_the_client(error));
            let was_failing = std::mem::replace(&mut self.is_failing, failing);
            match accepted {
                Ok((stream, peer)) => {
                    if let Some(connection) = self.admit(stream, peer) {
                        return connection;
                    }
                }
                Err(error) if failing => {
                    if !was_failing {
                        tracing::error!(%error, "xDS connections cannot be accepted: trying again");
                    }
                    sleep(PAUSE).await;
                }
                Err(error) => tracing::debug!(%error, "a client left before it was accepted"),
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<Connection> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let was_full = std::mem::replace(&mut self.is_full, place.is_none());
        let Some(place) = place else {
            self.metrics.refused("connections");
            if !was_full {
                let max = self.limits.max;
                tracing::warn!(%peer, max, "connections are refused: too many are open ([xds] max_streams)");
            }
            return None;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "setting TCP_NODELAY");
        }
        let deadline = Some(Box::pin(sleep(self.limits.preface_timeout)));
        Some(Connection { stream, preface_left: PREFACE, deadline, _place: place })
    }
}

/// Whether a failure is about the one connection that would have been accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// A client's connection, which holds a place.
pub(super) struct Connection {
    stream: TcpStream,
    /// How many bytes are missing before the client counts as one.
    preface_left: usize,
    /// Until then they have to come.
    deadline: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn heard(&mut self, bytes: usize) {
        self.preface_left = self.preface_left.saturating_sub(bytes);
        if self.preface_left == 0 {
            self.deadline = None;
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        match (&polled, &mut self.deadline) {
            (_, None) => polled,
            (Poll::Ready(_), Some(_)) => {
                self.heard(buffer.filled().len() - before);
                polled
            }
            (Poll::Pending, Some(deadline)) => deadline
                .as_mut()
                .poll(context)
                .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not begin HTTP/2"))),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_process_out_of_descriptors_does_not_spin() {
        let limits = ConnectionLimits { max: 1, preface_timeout: PAUSE };
        let places = Arc::new(Semaphore::new(1));
        let mut acceptor =
            Acceptor { limits, places, metrics: Metrics::new(), is_failing: false, is_full: false };
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
