//! Streams that have not said who they are: few of each connection and each address, and none for long.
//!
//! ```text
//!  opened ──1 s──► counts as silent ──10 s──► closed, unless bytes of the request come: then after 60 s
//!            └ too many are: refused
//! ```
//!
//! An Envoy without ADS opens a stream for each cluster, hundreds at once, and each says at once who it is. Many
//! Envoys may come from one address. So it is not streams that are bounded by connection and address, but silence.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;

use crate::metrics::{Metrics, StreamGuard};
use crate::said::Said;

/// How many streams of one connection may be silent.
const CONNECTION_MAX: usize = 16;

/// How many streams of one address may be silent.
const ADDRESS_MAX: usize = 64;

/// Stands for all clients whose address the system does not know.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

/// The streams that have not said who they are.
#[derive(Clone)]
pub(super) struct SilentStreams(Arc<Inner>);

struct Inner {
    /// How long a stream may say nothing.
    timeout: Duration,
    metrics: Metrics,
    counts: Mutex<Counts>,
    said: Said<IpAddr>,
}

#[derive(Default)]
struct Counts {
    connections: HashMap<SocketAddr, usize>,
    addresses: HashMap<IpAddr, usize>,
}

/// A silent stream's place.
struct Place {
    streams: SilentStreams,
    peer: SocketAddr,
    _counted: StreamGuard,
}

impl SilentStreams {
    /// None yet. Each may say nothing for `timeout`, and counts as silent after a tenth of it.
    pub(super) fn new(timeout: Duration, metrics: Metrics) -> Self {
        Self(Arc::new(Inner { timeout, metrics, counts: Mutex::default(), said: Said::default() }))
    }

    /// A stream was opened by that peer.
    pub(super) fn opened(&self, peer: Option<SocketAddr>) -> FirstRequest {
        let (peer, grace) = (peer.unwrap_or(UNKNOWN), Box::pin(sleep(self.0.timeout / 10)));
        FirstRequest { streams: self.clone(), peer, opened: Instant::now(), alarm: grace, place: None }
    }

    fn enter(&self, peer: SocketAddr) -> Result<Place, Status> {
        let (ip, mut counts) = (peer.ip().to_canonical(), self.0.counts.lock());
        let own = counts.connections.get(&peer).copied().unwrap_or_default();
        let all = counts.addresses.get(&ip).copied().unwrap_or_default();
        if own >= CONNECTION_MAX || all >= ADDRESS_MAX {
            drop(counts);
            let why = "too many streams of this client have not sent a request, which says who it is";
            return Err(self.refuse(ip, Status::resource_exhausted(why)));
        }
        *counts.connections.entry(peer).or_default() += 1;
        *counts.addresses.entry(ip).or_default() += 1;
        drop(counts);
        Ok(Place { streams: self.clone(), peer, _counted: self.0.metrics.silent_stream() })
    }

    /// Closes a silent stream. The log says it once for each address.
    fn refuse(&self, peer: IpAddr, status: Status) -> Status {
        self.0.metrics.refused("silent");
        if self.0.said.first(peer) {
            tracing::warn!(%peer, "xDS port: a stream is closed: {}", status.message());
        }
        status
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.streams.0.counts.lock();
        leave(&mut counts.connections, self.peer);
        leave(&mut counts.addresses, self.peer.ip().to_canonical());
    }
}

fn leave<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    let Entry::Occupied(mut count) = counts.entry(key) else { return };
    *count.get_mut() -= 1;
    if *count.get() == 0 {
        count.remove();
    }
}

/// The wait for the first request of a stream. It is over when this is dropped.
pub(super) struct FirstRequest {
    streams: SilentStreams,
    peer: SocketAddr,
    opened: Instant,
    alarm: Pin<Box<Sleep>>,
    place: Option<Place>,
}

impl FirstRequest {
    /// A part of the request came: the rest has its time, too. Large requests take long on slow networks.
    pub(super) fn progress(&mut self) {
        if self.place.is_some() {
            let timeout = self.streams.0.timeout;
            let end = (Instant::now() + timeout).min(self.opened + timeout * 6);
            self.alarm.as_mut().reset(end);
        }
    }

    /// Why the stream is closed, once it is.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        loop {
            ready!(self.alarm.as_mut().poll(context));
            if self.place.is_some() {
                return Poll::Ready(self.too_late());
            }
            match self.streams.enter(self.peer) {
                Ok(place) => self.place = Some(place),
                Err(status) => return Poll::Ready(status),
            }
            self.alarm.as_mut().reset(self.opened + self.streams.0.timeout);
        }
    }

    fn too_late(&self) -> Status {
        let timeout = self.streams.0.timeout;
        let why = format!("no request came within {timeout:?}: the first one says who the client is");
        self.streams.refuse(self.peer.ip().to_canonical(), Status::deadline_exceeded(why))
    }
}
