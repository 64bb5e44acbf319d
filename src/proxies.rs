//! The connected proxies: written by their streams, read by the admin server.
//!
//! ```text
//!  stream ── connect ──► Connection ── update(type) ──► Proxies ── list ──► /debug/proxies
//!                           └ dropped with the stream: gone from the list
//! ```
//!
//! A proxy is its node id. It may have many streams: one per type, and some clients one per cluster.

mod progress;
mod report;
mod status;
mod told;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::proxy::{Proxy, Scope, Transport};
use crate::resources::{PerType, ResourceType};
use crate::xds::Shared;

pub(crate) use progress::Progress;
pub use report::{NackReport, NotFound, ProxyStatus, StreamStatus, TypeReport};
pub(crate) use status::NAMES_MAX;
pub use status::{Acked, Nack, RefusedStatus, Sent, SyncState, TypeStatus, WithheldStatus};
pub(crate) use told::Told;

/// All connected proxies.
#[derive(Clone, Default)]
pub struct Proxies(Arc<Inner>);

#[derive(Default)]
struct Inner {
    next_id: AtomicU64,
    streams: Mutex<BTreeMap<StreamKey, Arc<Stream>>>,
    told: Told,
    shared: Arc<Shared>,
    progress: Progress,
}

/// What a stream is listed by: the node id, and how many streams of all proxies came before.
type StreamKey = (Arc<str>, u64);

struct Stream {
    proxy: Proxy,
    transport: Transport,
    delta: bool,
    peer: Option<SocketAddr>,
    connected_at: SystemTime,
    scope: Mutex<Scope>,
    /// Boxed, because most streams of clients that do not aggregate have one type.
    types: Mutex<PerType<Option<Box<TypeStatus>>>>,
    /// How many there may be is bounded by the stream.
    unknown_types: Mutex<BTreeSet<String>>,
}

/// A stream's place in the list. It leaves the list when this is dropped.
#[must_use = "the stream is listed for as long as this lives"]
pub struct Connection {
    proxies: Proxies,
    key: StreamKey,
    stream: Arc<Stream>,
}

/// What a proxy is told: the scope, and how it asks for each type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// The scope of its newest stream.
    pub scope: Scope,
    /// Whether it follows everything there is, by type; `false` for types that it does not ask for.
    pub wildcard: PerType<bool>,
}

/// One stream, as it is now.
pub(crate) struct OpenStream<'a> {
    /// Who the client is.
    pub(crate) proxy: &'a Proxy,
    /// How it asks.
    pub(crate) transport: Transport,
    /// The IP address that it comes from.
    pub(crate) peer: Option<IpAddr>,
    /// What its configuration depends on.
    pub(crate) scope: Scope,
    /// How each type stands that it asks for.
    pub(crate) types: &'a PerType<Option<Box<TypeStatus>>>,
}

impl Proxies {
    /// Lists a stream of a proxy.
    pub fn connect(
        &self,
        proxy: &Proxy,
        transport: Transport,
        delta: bool,
        peer: Option<SocketAddr>,
    ) -> Connection {
        let stream = Arc::new(Stream {
            proxy: proxy.clone(),
            transport,
            delta,
            peer,
            connected_at: SystemTime::now(),
            scope: Mutex::new(proxy.scope(transport)),
            types: Mutex::default(),
            unknown_types: Mutex::default(),
        });
        let key = (Arc::clone(&proxy.id), self.0.next_id.fetch_add(1, Ordering::Relaxed));
        self.0.streams.lock().insert(key.clone(), Arc::clone(&stream));
        self.0.progress.note();
        Connection { proxies: self.clone(), key, stream }
    }

    /// Every proxy with its streams, ordered by node id; streams in the order in which they came. Where
    /// clients of different kinds, or at different addresses, share an id, each has its entry.
    pub fn list(&self) -> Vec<ProxyStatus> {
        let mut proxies: BTreeMap<Client, (ProxyStatus, BTreeSet<SocketAddr>)> = BTreeMap::new();
        let mut peers: BTreeMap<Arc<str>, BTreeSet<IpAddr>> = BTreeMap::new();
        for stream in self.streams() {
            peers.entry(Arc::clone(&stream.proxy.id)).or_default().extend(stream.peer_ip());
            let new = || (ProxyStatus::of(&stream.proxy, stream.peer_ip()), BTreeSet::new());
            let (proxy, connections) = proxies.entry(stream.client()).or_insert_with(new);
            proxy.streams.push(stream.status());
            connections.extend(stream.peer);
        }
        let whole = |((id, ..), (proxy, connections)): (Client, (ProxyStatus, BTreeSet<SocketAddr>))| {
            let peers = peers.get(&id).into_iter().flatten().copied().collect();
            ProxyStatus { peers, connections: connections.len(), ..proxy }
        };
        proxies.into_iter().map(whole).collect()
    }

    /// Looks at each stream, by node id, then in the order in which they came.
    pub(crate) fn each(&self, mut look: impl FnMut(OpenStream<'_>)) {
        for stream in self.streams() {
            let scope = stream.scope.lock().clone();
            let (proxy, transport, peer) = (&stream.proxy, stream.transport, stream.peer_ip());
            look(OpenStream { proxy, transport, peer, scope, types: &stream.types.lock() });
        }
    }

    /// Tells when a stream has come further.
    pub(crate) fn progress(&self) -> &Progress {
        &self.0.progress
    }

    /// The node ids of all proxies, in order.
    pub(crate) fn ids(&self) -> BTreeSet<Arc<str>> {
        self.0.streams.lock().keys().map(|(id, _)| Arc::clone(id)).collect()
    }

    /// The other IP address from which a proxy of that node id comes, if there is one. A machine has several
    /// loopback addresses, which count as one.
    pub(crate) fn twin(&self, id: &str, peer: Option<SocketAddr>) -> Option<IpAddr> {
        let own = peer?.ip().to_canonical();
        let is_other = |ip: &IpAddr| *ip != own && !(ip.is_loopback() && own.is_loopback());
        let streams = self.0.streams.lock();
        streams.range(keys_of(id)).filter_map(|(_, stream)| stream.peer_ip()).find(is_other)
    }

    /// What the machines of all streams share, and what proxies refuse.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// What the log has said of proxies.
    pub(crate) fn told(&self) -> &Told {
        &self.0.told
    }

    /// What the proxy of that node id is told; `None` when it is not connected.
    pub fn subscriber(&self, id: &str) -> Option<Subscriber> {
        let streams: Vec<_> =
            self.0.streams.lock().range(keys_of(id)).map(|(_, it)| Arc::clone(it)).collect();
        let newest = streams.last()?;
        let mut wildcard = PerType::<bool>::default();
        for stream in &streams {
            let types = stream.types.lock();
            let all = types.iter().filter(|(_, status)| status.as_ref().is_some_and(|it| it.wildcard));
            all.for_each(|(kind, _)| wildcard[kind] = true);
        }
        Some(Subscriber { scope: newest.scope.lock().clone(), wildcard })
    }

    /// How many proxies there are.
    pub fn len(&self) -> usize {
        let streams = self.0.streams.lock();
        let clients: HashSet<_> = streams.values().map(|it| (&*it.proxy.id, it.peer_ip())).collect();
        clients.len()
    }

    /// How many node ids proxies at several addresses have.
    pub(crate) fn shared_ids(&self) -> usize {
        let streams = self.streams();
        let peers =
            |same: &&[Arc<Stream>]| same.iter().filter_map(|it| it.peer_ip()).collect::<BTreeSet<_>>();
        streams.chunk_by(|a, b| a.proxy.id == b.proxy.id).filter(|same| peers(same).len() > 1).count()
    }

    /// How many proxies there are in each state, which is the worst of their types.
    pub(crate) fn states(&self) -> BTreeMap<SyncState, usize> {
        let mut proxies: BTreeMap<Client, SyncState> = BTreeMap::new();
        for stream in self.streams() {
            let worst = stream.types.lock().values().flatten().map(|status| status.state()).max();
            let state = proxies.entry(stream.client()).or_insert(SyncState::Acked);
            *state = worst.map_or(*state, |worst| worst.max(*state));
        }
        let mut states = BTreeMap::new();
        proxies.into_values().for_each(|state| *states.entry(state).or_default() += 1);
        states
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.streams.lock().is_empty()
    }

    /// All streams, by node id, then in the order in which they came.
    fn streams(&self) -> Vec<Arc<Stream>> {
        self.0.streams.lock().values().cloned().collect()
    }
}

impl Connection {
    /// Records what the proxy's configuration depends on now.
    pub fn follows(&self, scope: Scope) {
        *self.stream.scope.lock() = scope;
        self.proxies.0.progress.note();
    }

    /// Records that the proxy asks for a type that does not exist here.
    pub fn asks_for_unknown(&self, type_url: &str) {
        self.stream.unknown_types.lock().insert(type_url.to_owned());
    }

    /// Records what became of a type on this stream.
    pub fn update(&self, kind: ResourceType, change: impl FnOnce(&mut TypeStatus)) {
        // Who takes whole routes may have asked for virtual hosts before it refused to take any.
        if kind == ResourceType::VirtualHost && !self.stream.scope.lock().client.has_vhds() {
            return;
        }
        change(self.stream.types.lock()[kind].get_or_insert_default());
        self.proxies.0.progress.note();
    }

    /// The proxy has no word for that type.
    pub fn forget(&self, kind: ResourceType) {
        self.stream.types.lock()[kind] = None;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.proxies.0.streams.lock().remove(&self.key);
        self.proxies.0.progress.note();
    }
}

/// What tells proxies from each other: node id, name and version, address.
type Client = (Arc<str>, Arc<str>, Option<IpAddr>);

impl Stream {
    fn client(&self) -> Client {
        (Arc::clone(&self.proxy.id), Arc::clone(&self.proxy.user_agent), self.peer_ip())
    }

    fn peer_ip(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }

    fn status(&self) -> StreamStatus {
        let types = self.types.lock();
        let reports = ResourceType::ALL.into_iter().filter_map(|kind| {
            let status = types[kind].as_ref()?;
            Some((kind.as_str().to_owned(), TypeReport::of(status)))
        });
        StreamStatus {
            transport: match self.transport {
                Transport::Ads => "ads",
                Transport::PerType { .. } => "per_type",
            }
            .to_owned(),
            delta: self.delta,
            peer: self.peer.map(|peer| peer.to_string()),
            scope: self.scope.lock().to_string(),
            connected_at: crate::rfc3339::format(self.connected_at),
            types: reports.collect(),
            unknown_types: self.unknown_types.lock().clone(),
        }
    }
}

/// The keys of all streams of one node id.
fn keys_of(id: &str) -> RangeInclusive<StreamKey> {
    let id = Arc::<str>::from(id);
    (Arc::clone(&id), 0)..=(id, u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pilot_envoy_api::envoy::config::core::v3::Node;

    fn proxy(id: &str) -> Proxy {
        Proxy::from_node(Some(&Node { id: id.into(), ..Default::default() })).unwrap()
    }

    #[test]
    fn streams_are_grouped_by_proxy_and_leave_with_their_connection() {
        let proxies = Proxies::default();
        let per_type = Transport::PerType { delta: true };
        let a1 = proxies.connect(&proxy("a"), per_type, true, None);
        let b = proxies.connect(&proxy("b"), Transport::Ads, false, None);
        let a2 = proxies.connect(&proxy("a"), per_type, true, None);
        let streams = || -> Vec<(String, usize)> {
            proxies.list().into_iter().map(|proxy| (proxy.id, proxy.streams.len())).collect()
        };
        assert_eq!(streams(), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!(proxies.len(), 2);
        drop((a1, b));
        assert_eq!(streams(), [("a".to_owned(), 1)]);
        drop(a2);
        assert!(proxies.is_empty());
    }

    #[test]
    fn a_subscriber_is_described_over_all_its_streams() {
        let proxies = Proxies::default();
        let per_type = Transport::PerType { delta: false };
        let clusters = proxies.connect(&proxy("a"), per_type, false, None);
        let endpoints = proxies.connect(&proxy("a"), per_type, false, None);
        clusters.update(ResourceType::Cluster, |status| status.wildcard = true);
        endpoints.update(ResourceType::Endpoint, |status| status.names = 1);
        let expected = Subscriber {
            scope: proxy("a").scope(per_type),
            wildcard: PerType::of(|kind| kind == ResourceType::Cluster),
        };
        assert_eq!(proxies.subscriber("a"), Some(expected));
        assert_eq!(proxies.subscriber("b"), None);
    }
}
