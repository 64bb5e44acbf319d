//! Several clients of one server, without sockets: everything that can happen has happened after each step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};
use pilot::metrics::{Format, Metrics};
use pilot::proxies::{Proxies, TypeReport};
use pilot::proxy::{Proxy, Scope, Transport};
use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route};
use pilot::resources::View;
use pilot::shutdown::{Trigger, shutdown};
use pilot::world::{TooManyScopes, Views};
use pilot::xds::Delta;
use pilot::xds::stream::{FirstSyncs, Peer, ResourceSource, StreamContext, serve};
use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::config::core::v3::Node;
use pilot_envoy_api::envoy::config::core::v3::node::UserAgentVersionType;
use pilot_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tokio::sync::{mpsc, watch};
use tonic::Status;

use crate::driver::{Content, Dialect, LIMITS, delta_request};
use crate::reports::answer;
use crate::things::Things;

/// What clients are told. Those of the namespace `shop`, which are at 203.0.113.x, see something else than all others.
#[derive(Clone)]
struct Source {
    all: watch::Sender<Option<Arc<View>>>,
    shop: watch::Sender<Option<Arc<View>>>,
    /// Who has moved to the other side.
    moved: Arc<Mutex<BTreeSet<String>>>,
}

impl ResourceSource for Source {
    fn scope(&self, proxy: &Proxy, transport: Transport) -> Scope {
        let is_of_shop =
            proxy.id.starts_with("203.0.113.") != self.moved.lock().unwrap().contains(&*proxy.id);
        let namespace = is_of_shop.then(|| "shop".to_owned().try_into().unwrap());
        Scope { namespace, ..proxy.scope(transport) }
    }

    fn subscribe(&self, scope: &Scope) -> Result<Views, TooManyScopes> {
        let seen = if scope.namespace.is_some() { &self.shop } else { &self.all };
        Ok(Views::of(seen.subscribe()))
    }
}

/// The server, and what it has.
pub(crate) struct Fleet {
    pub(crate) things: Things,
    pub(crate) context: StreamContext,
    source: Source,
    _running: Trigger,
}

impl Fleet {
    pub(crate) fn new(mut things: Things) -> Self {
        let mut seen = || watch::Sender::new(Some(things.publish()));
        let source = Source { all: seen(), shop: seen(), moved: Arc::default() };
        let (running, shutdown) = shutdown();
        let context = StreamContext {
            source: Arc::new(source.clone()),
            proxies: Proxies::default(),
            metrics: Metrics::new(),
            limits: LIMITS,
            max_request_bytes: 4 << 20,
            first_syncs: FirstSyncs::new(),
            drain: std::time::Duration::ZERO,
            shutdown,
        };
        Self { things, context, source, _running: running }
    }

    pub(crate) fn publish(&mut self) {
        self.source.all.send_replace(Some(self.things.publish()));
    }

    /// What those of the namespace `shop` see.
    pub(crate) fn publish_to_shop(&mut self, things: &mut Things) {
        self.source.shop.send_replace(Some(things.publish()));
    }

    /// The client is of the other namespace from now on.
    pub(crate) fn moves(&self, member: &Member) {
        self.source.moved.lock().unwrap().insert(member.id.clone());
        [&self.source.all, &self.source.shop].into_iter().for_each(|seen| seen.send_modify(|_| ()));
    }

    /// A delta client of that name and version at that address, which has asked for everything there is.
    pub(crate) fn join(&self, build: &str, address: &str) -> Member {
        let (name, version) = build.split_once(' ').unwrap();
        let version = UserAgentVersionType::UserAgentVersion(version.to_owned());
        let node = Node {
            id: address.to_owned(),
            user_agent_name: name.to_owned(),
            user_agent_version_type: Some(version),
            ..Node::default()
        };
        let (requests, mut inbound) = mpsc::channel(16);
        let inbound = stream::poll_fn(move |context| inbound.poll_recv(context).map(|it| it.map(Ok)));
        let peer = Peer::from(Some(format!("{address}:7").parse().unwrap()));
        let responses = serve::<Delta, _>(&self.context, inbound, None, peer).boxed();
        let (waiting, has) = Default::default();
        let mut member = Member { id: address.to_owned(), node, requests, responses, waiting, has };
        for kind in ResourceType::ASKED {
            let names: Vec<&str> = match kind {
                Cluster | Listener | ResourceType::VirtualHost => Vec::new(),
                Endpoint => vec!["a", "b", "c"],
                Route => vec!["r"],
            };
            member.send(delta_request(kind, &names, &[]));
        }
        member
    }

    /// What `pilot proxies` shows of it.
    pub(crate) fn report(&self, member: &Member, kind: ResourceType) -> TypeReport {
        let all = self.context.proxies.list();
        let proxy = all.iter().find(|proxy| proxy.id == member.id).unwrap();
        proxy.streams[0].types[kind.as_str()].clone()
    }

    /// What new clients are spared, as `build refused-by resource`.
    pub(crate) fn withheld(&self) -> Vec<String> {
        let all = self.context.proxies.shared().builds.withheld();
        all.iter().map(|it| format!("{} {} {}", it.build, it.refused_by, it.rejection)).collect()
    }

    pub(crate) fn metric(&self, line: &str) -> String {
        let world = pilot::world::World::new(Vec::new(), pilot::mesh::MeshOptions::default(), 1);
        let text = self.context.metrics.encode(Format::Prometheus, &world, &self.context.proxies);
        text.lines().find_map(|it| it.strip_prefix(line)).unwrap().trim().to_owned()
    }
}

/// One client.
pub(crate) struct Member {
    id: String,
    node: Node,
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: BoxStream<'static, Result<DeltaDiscoveryResponse, Status>>,
    waiting: Vec<DeltaDiscoveryResponse>,
    /// `cds a` -> content.
    has: BTreeMap<String, String>,
}

impl Member {
    fn send(&mut self, request: DeltaDiscoveryRequest) {
        let node = Some(self.node.clone());
        self.requests.try_send(DeltaDiscoveryRequest { node, ..request }).unwrap();
        self.receive();
    }

    fn receive(&mut self) {
        let next = || self.responses.next().now_or_never().flatten();
        self.waiting.extend(std::iter::from_fn(next).map(Result::unwrap));
    }

    /// Takes what comes until nothing more does, but for responses with content that contains `bad`: these it
    /// refuses in these words.
    pub(crate) fn judge(&mut self, bad: &str, words: &str) {
        self.receive();
        while !self.waiting.is_empty() {
            let response = self.waiting.remove(0);
            let content = <Delta as Dialect>::content(&response);
            let is_bad = content.resources.iter().any(|(_, content)| content.contains(bad));
            if !is_bad {
                self.take(&content);
            }
            self.send(answer(&response, is_bad.then_some(words)));
            self.receive();
        }
    }

    /// Lets the server do what it can, and answers nothing.
    pub(crate) fn receive_only(&mut self) {
        self.receive();
    }

    pub(crate) fn accept(&mut self) {
        self.judge("nothing has this", "");
    }

    fn take(&mut self, content: &Content) {
        let kind = ResourceType::from_type_url(&content.type_url).unwrap();
        let taken = content.resources.iter().map(|(name, it)| (format!("{kind} {name}"), it.clone()));
        self.has.extend(taken);
        content.removed.iter().for_each(|name| _ = self.has.remove(&format!("{kind} {name}")));
    }

    /// What it has of that: `cds a`.
    pub(crate) fn has(&self, what: &str) -> Option<&str> {
        self.has.get(what).map(String::as_str)
    }
}
