//! A client that does what an Envoy does, and looks at nothing that it gets.
//!
//! ```text
//!  CDS wildcard ─► EDS by name ─► LDS wildcard ─► RDS by name ─► in sync; each response is accepted
//!                                                          └─► VHDS, for who takes routes in parts ─► in sync
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::uri::PathAndQuery;
use pilot::resources::{self, ResourceType};
use tokio::sync::mpsc;
use tonic::transport::Endpoint;

use crate::tally::Tally;
use crate::wire::{self, Variant, Wanted};

/// A route that does not exist: the answer to it says that all that was asked before has been dealt with.
const PROBE: &str = "probe";

/// What all clients ask for, in the order in which they ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wants(pub(crate) Vec<Wanted>, Newcomer);

/// The endpoints of a service that may come, which a client asks for once it is told of the cluster.
#[derive(Clone, Debug, Default)]
struct Newcomer(Wanted);

impl Wants {
    /// All clusters, their endpoints by name, all listeners, the routes of the one port by name. `newcomer`: the cluster
    /// that may come later. `in_parts`: the routes' virtual hosts by themselves.
    pub(crate) fn new(
        clusters: impl Iterator<Item = String>,
        newcomer: String,
        routes: &str,
        in_parts: bool,
    ) -> Self {
        let names = |names: Vec<String>| names.into_iter().map(Bytes::from).collect();
        let wanted = |kind: ResourceType, names: Vec<Bytes>| Wanted {
            type_url: kind.type_url(),
            names,
            ..Wanted::default()
        };
        let routes = if in_parts { resources::in_parts(routes) } else { routes.to_owned() };
        let hosts = in_parts.then(|| wanted(ResourceType::VirtualHost, Vec::new()));
        let own = [
            wanted(ResourceType::Cluster, Vec::new()),
            wanted(ResourceType::Endpoint, names(clusters.collect())),
            wanted(ResourceType::Listener, Vec::new()),
            wanted(ResourceType::Route, names(vec![routes])),
        ];
        let own = own.into_iter().chain(hosts).collect();
        Self(own, Newcomer(wanted(ResourceType::Endpoint, names(vec![newcomer]))))
    }

    /// Whether it takes routes in parts.
    fn is_in_parts(&self) -> bool {
        self.0.iter().any(|wanted| wanted.type_url == ResourceType::VirtualHost.type_url())
    }

    fn at(&self, type_url: &str) -> anyhow::Result<usize> {
        let at = self.0.iter().position(|wanted| wanted.type_url == type_url);
        at.with_context(|| format!("a response of a type that was not asked for: {type_url:?}"))
    }
}

/// An open stream.
struct Connection<V: Variant> {
    requests: mpsc::Sender<V::Request>,
    responses: tonic::Streaming<V::Response>,
}

impl<V: Variant> Connection<V> {
    async fn open(server: SocketAddr) -> anyhow::Result<Self> {
        // Envoy's windows, since 1.36.
        let endpoint = Endpoint::from_shared(format!("http://{server}"))?
            .initial_stream_window_size(16 << 20)
            .initial_connection_window_size(24 << 20);
        let mut grpc =
            tonic::client::Grpc::new(endpoint.connect().await?).max_decoding_message_size(usize::MAX);
        grpc.ready().await?;
        let (requests, queued) = mpsc::channel(8);
        let codec = tonic_prost::ProstCodec::<V::Request, V::Response>::default();
        let outbound = tonic::Request::new(queue(queued));
        let response = grpc.streaming(outbound, PathAndQuery::from_static(V::PATH), codec).await?;
        Ok(Self { requests, responses: response.into_inner() })
    }

    async fn send(&self, request: V::Request) -> anyhow::Result<()> {
        self.requests.send(request).await.context("the stream has ended")
    }

    async fn next(&mut self) -> anyhow::Result<V::Response> {
        self.responses.message().await?.context("the server has ended the stream")
    }
}

fn queue<T>(requests: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    stream::unfold(requests, |mut requests| async move {
        let request = requests.recv().await?;
        Some((request, requests))
    })
}

/// Connects with nothing, gets in sync, and then follows for ever. Tells of being in sync, and of each
/// response after that.
pub(crate) async fn follow<V: Variant>(
    server: SocketAddr,
    number: usize,
    wants: Arc<Wants>,
    tally: Arc<Tally>,
) -> anyhow::Result<()> {
    let mut connection = Connection::<V>::open(server).await?;
    connection.send(V::subscribe(&wants.0[0], wire::node(number, wants.is_in_parts()))).await?;
    let (mut next, mut in_sync) = (1, false);
    loop {
        let response = connection.next().await?;
        let (type_url, resources) = V::content(&response);
        let at = wants.at(type_url)?;
        tally.received(resources);
        if in_sync {
            tally.followed(type_url);
            if at == 0
                && let Some(request) = V::follow_clusters(&wants.1.0, &response)
            {
                connection.send(request).await?;
            }
        }
        connection.send(V::accept(&wants.0[at], &response)).await?;
        if in_sync || at + 1 != next {
            continue;
        }
        match wants.0.get(next) {
            Some(wanted) => connection.send(V::subscribe(wanted, Bytes::new())).await?,
            None => {
                in_sync = true;
                tally.arrived();
            }
        }
        next += 1;
    }
}

/// What a client holds that is in sync: the same wishes, with the versions of everything.
pub(crate) async fn held(server: SocketAddr, wants: &Wants) -> anyhow::Result<Wants> {
    type Delta = wire::Delta;
    let mut connection = Connection::<Delta>::open(server).await?;
    let mut wants = wants.clone();
    for at in 0..wants.0.len() {
        let node = if at == 0 { wire::node(usize::MAX, wants.is_in_parts()) } else { Bytes::new() };
        connection.send(Delta::subscribe(&wants.0[at], node)).await?;
        let response = connection.next().await?;
        anyhow::ensure!(wants.at(&response.type_url)? == at, "types are answered in order");
        wants.0[at].held = response.resources.iter().map(wire::held).collect();
        connection.send(Delta::accept(&wants.0[at], &response)).await?;
    }
    Ok(wants)
}

/// Comes back with what it holds. Tells when all of that has been dealt with, and stays.
pub(crate) async fn come_back(
    server: SocketAddr,
    number: usize,
    held: Arc<Wants>,
    tally: Arc<Tally>,
) -> anyhow::Result<()> {
    type Delta = wire::Delta;
    let mut connection = Connection::<Delta>::open(server).await?;
    for (at, wanted) in held.0.iter().enumerate() {
        let node = if at == 0 { wire::node(number, held.is_in_parts()) } else { Bytes::new() };
        connection.send(Delta::subscribe(wanted, node)).await?;
    }
    let probe = Wanted { names: vec![PROBE.into()], held: Vec::new(), ..held.0[3].clone() };
    connection.send(Delta::subscribe(&probe, Bytes::new())).await?;
    loop {
        let response = connection.next().await?;
        tally.received(&response.resources);
        let at = held.at(&response.type_url)?;
        connection.send(Delta::accept(&held.0[at], &response)).await?;
        if response.removed_resources.iter().any(|name| name == PROBE) {
            tally.arrived();
        }
    }
}
