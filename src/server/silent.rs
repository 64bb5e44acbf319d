//! Streams that have not said who they are: few of each connection and each address, and none for long.
//!
//! ```text
//!  opened ──1 s──► counts as silent ──10 s──► closed, unless bytes of the request come: then after 60 s
//!            ├ too many are: refused
//!            └ another stream of that address has said who it is: closed after 60 s. Too many of these are: refused
//! ```
//!
//! An Envoy without ADS opens a stream for each cluster, hundreds at once, and they say nothing until it has dealt with
//! the whole response that named the clusters: half a second for 300 of them, many seconds for thousands. It has said who
//! it is on another stream by then. Many Envoys may come from one address, too. So it is not streams that are bounded
//! by connection and address, but silence of who is not known at all. Who shares an address with a known client, behind a
//! NAT or on loopback, may still not keep all others out: all silent streams of known addresses have half of the places.

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
    /// How many streams of known addresses may be silent.
    known_max: usize,
    metrics: Metrics,
    counts: Mutex<Counts>,
    said: Said<IpAddr>,
}

#[derive(Default)]
struct Counts {
    connections: HashMap<SocketAddr, usize>,
    addresses: HashMap<IpAddr, usize>,
    /// How many streams of an address have said who they are.
    known: HashMap<IpAddr, usize>,
    /// How many streams of known addresses are silent.
    silent_beside_known: usize,
}

/// A silent stream's place.
struct SilentPlace {
    streams: SilentStreams,
    peer: SocketAddr,
    /// Whether it is one of those beside another stream of that address, which has said who it is.
    is_beside_known: bool,
    _counted: StreamGuard,
}

impl SilentStreams {
    /// None yet. Each may say nothing for `timeout`, and counts as silent after a tenth of it. `places`: how many streams
    /// there may be.
    pub(super) fn new(timeout: Duration, places: usize, metrics: Metrics) -> Self {
        let known_max = (places / 2).max(1);
        Self(Arc::new(Inner { timeout, known_max, metrics, counts: Mutex::default(), said: Said::default() }))
    }

    /// A stream was opened by that peer.
    pub(super) fn opened(&self, peer: Option<SocketAddr>) -> FirstRequest {
        let (peer, opened, timeout) = (peer.unwrap_or(UNKNOWN), Instant::now(), self.0.timeout);
        let (due, alarm) = (opened + timeout, Box::pin(sleep(timeout / 10)));
        FirstRequest { streams: self.clone(), peer, opened, due, alarm, place: None }
    }

    fn enter(&self, peer: SocketAddr) -> Result<SilentPlace, Status> {
        let (ip, mut counts) = (peer.ip().to_canonical(), self.0.counts.lock());
        let is_beside_known = counts.known.contains_key(&ip);
        if is_beside_known {
            if counts.silent_beside_known >= self.0.known_max {
                drop(counts);
                let why = "half of all streams have not sent a request, which says who the client is";
                return Err(self.refuse(ip, Status::resource_exhausted(why)));
            }
            counts.silent_beside_known += 1;
            drop(counts);
            let (streams, _counted) = (self.clone(), self.0.metrics.silent_stream());
            return Ok(SilentPlace { streams, peer, is_beside_known, _counted });
        }
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
        let (streams, _counted) = (self.clone(), self.0.metrics.silent_stream());
        Ok(SilentPlace { streams, peer, is_beside_known, _counted })
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

impl Drop for SilentPlace {
    fn drop(&mut self) {
        let mut counts = self.streams.0.counts.lock();
        if self.is_beside_known {
            counts.silent_beside_known -= 1;
            return;
        }
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

/// A stream that has said who it is, until this is dropped: its address is known meanwhile.
pub(super) struct IdentifiedStream {
    streams: SilentStreams,
    address: IpAddr,
}

impl Drop for IdentifiedStream {
    fn drop(&mut self) {
        leave(&mut self.streams.0.counts.lock().known, self.address);
    }
}

/// The wait for the first request of a stream. It is over when this is dropped.
pub(super) struct FirstRequest {
    streams: SilentStreams,
    peer: SocketAddr,
    opened: Instant,
    /// When the request is to be there, of a client that is not known.
    due: Instant,
    alarm: Pin<Box<Sleep>>,
    place: Option<SilentPlace>,
}

impl FirstRequest {
    /// A part of the request came: the rest has its time, too.
    pub(super) fn progress(&mut self) {
        self.due = (Instant::now() + self.streams.0.timeout).min(self.latest());
    }

    /// It came.
    pub(super) fn came(self) -> IdentifiedStream {
        let (streams, address) = (self.streams.clone(), self.address());
        *streams.0.counts.lock().known.entry(address).or_default() += 1;
        IdentifiedStream { streams, address }
    }

    /// Why the stream is closed, once it is.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        loop {
            ready!(self.alarm.as_mut().poll(context));
            let is_known = self.streams.0.counts.lock().known.contains_key(&self.address());
            let end = if is_known { self.latest() } else { self.due };
            if Instant::now() >= end {
                return Poll::Ready(self.too_late());
            }
            if self.place.is_none() {
                match self.streams.enter(self.peer) {
                    Ok(place) => self.place = Some(place),
                    Err(status) => return Poll::Ready(status),
                }
            }
            self.alarm.as_mut().reset(end);
        }
    }

    fn address(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }

    fn latest(&self) -> Instant {
        self.opened + self.streams.0.timeout * 6
    }

    fn too_late(&self) -> Status {
        let waited = self.opened.elapsed().as_secs_f64();
        let why = format!("no request came within {waited:.1} s: the first one says who the client is");
        self.streams.refuse(self.address(), Status::deadline_exceeded(why))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::future::join_all;
    use tonic::Code;

    use super::*;

    const TIME: Duration = Duration::from_secs(10);

    fn open(silent: &SilentStreams, port: u16) -> FirstRequest {
        silent.opened(Some(([192, 0, 2, 1], port).into()))
    }

    /// How that many streams end, each of a connection of its own, that never say anything; and when the last does.
    async fn ends(silent: &SilentStreams, streams: u16) -> (Vec<Code>, Duration) {
        let (mut streams, begun) =
            ((0..streams).map(|port| open(silent, port)).collect::<Vec<_>>(), Instant::now());
        let ends = streams.iter_mut().map(|stream| poll_fn(|context| stream.poll(context)));
        let codes = join_all(ends).await.iter().map(Status::code).collect();
        (codes, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_known_may_have_few_silent_streams() {
        let silent = SilentStreams::new(TIME, 2000, Metrics::new());
        let (codes, took) = ends(&silent, 100).await;
        let refused = codes.iter().filter(|code| **code == Code::ResourceExhausted).count();
        assert_eq!((refused, took), (100 - ADDRESS_MAX, TIME));
        assert!(silent.0.counts.lock().addresses.is_empty(), "all places are free");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_known_may_have_many_for_longer() {
        let silent = SilentStreams::new(TIME, 2000, Metrics::new());
        let known = [open(&silent, 1).came(), open(&silent, 2).came()];
        assert_eq!(ends(&silent, 1000).await, (vec![Code::DeadlineExceeded; 1000], TIME * 6));
        let (codes, took) = ends(&silent, 1500).await;
        let refused = codes.iter().filter(|code| **code == Code::ResourceExhausted).count();
        assert_eq!((refused, took), (500, TIME * 6), "the other half of the places is free");
        drop(known);
        assert_eq!(ends(&silent, 1).await, (vec![Code::DeadlineExceeded], TIME), "it is not known any more");
    }
}
