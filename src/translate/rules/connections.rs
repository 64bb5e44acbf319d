//! Where connections go to a port that is not HTTP, by the rules of a document.
//!
//! What a rule asks of a proxy, a port and an address is decided here, once: a listener is at one address, and Envoy is told
//! only what counts there. Names that clients ask for (SNI) are left to Envoy, which takes the most specific one.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use pilot_registry::{Protocol, ServicePort};

use super::destinations::ClusterFinder;
use super::lens::Viewer;
use super::{Asker, Destinations};
use crate::mesh::Mesh;
use crate::rules::Ruling;
use crate::rules::kinds::{ConnectionDestination, ConnectionMatch, MESH, VirtualService, network};
use crate::translate::connections::Lane;

/// Where connections go that a document is about.
#[derive(Clone, Debug)]
pub(in crate::translate) struct DocumentConnections {
    /// By the names that clients ask for.
    pub(in crate::translate) by_name: Vec<(Vec<String>, Lane)>,
    /// All others; `None` = they are closed.
    pub(in crate::translate) others: Option<Lane>,
    /// The clusters to which they lead.
    pub(in crate::translate) clusters: Vec<Arc<str>>,
    /// The document.
    pub(in crate::translate) document: Arc<str>,
}

/// By the first of these documents that has a rule for connections to an address. `None` = none has.
pub(in crate::translate) fn connections(
    documents: &[Ruling],
    mesh: &Mesh,
    viewer: Viewer<'_>,
    port: &ServicePort,
    at: SocketAddr,
) -> Option<DocumentConnections> {
    let is_tls = port.protocol == Protocol::Tls;
    let caller = Caller { asker: asker(viewer, port.number.get()), at };
    documents.iter().find_map(|document| by_document(document, mesh, caller, is_tls))
}

/// By a document, at a server of a Gateway. `is_tls`: TLS is not ended there. `at`: where the server listens.
pub(in crate::translate) fn connections_at_gateway(
    document: &Ruling,
    mesh: &Mesh,
    viewer: Viewer<'_>,
    gateway: &str,
    (at, is_tls): (SocketAddr, bool),
) -> Option<DocumentConnections> {
    let caller = Caller { asker: Asker { gateway, ..asker(viewer, at.port()) }, at };
    by_document(document, mesh, caller, is_tls)
}

fn by_document(
    document: &Ruling,
    mesh: &Mesh,
    caller: Caller<'_>,
    is_tls: bool,
) -> Option<DocumentConnections> {
    let rule = document.virtual_service()?;
    let Asker { namespace, labels, port, .. } = caller.asker;
    let finder = ClusterFinder::new(mesh, Viewer { namespace, labels }, &document.version.id.namespace);
    let mut by_name: Vec<(Vec<String>, Lane)> = Vec::new();
    for (names, route) in names_and_routes(rule, caller).filter(|_| is_tls) {
        by_name.push((names, lane(route, &finder, port)));
    }
    let others = tcp_route(rule, caller).map(|route| lane(route, &finder, port));
    if by_name.is_empty() && others.is_none() {
        return None;
    }
    let (clusters, document) = (finder.into_named(), document.version.id.to_string().into());
    Some(DocumentConnections { by_name, others, clusters, document })
}

/// Who calls, and what.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) asker: Asker<'a>,
    /// The address that is called.
    pub(super) at: SocketAddr,
}

pub(super) fn asker(Viewer { namespace, labels }: Viewer<'_>, port: u16) -> Asker<'_> {
    Asker { namespace, labels, gateway: MESH, port, at: port }
}

impl Caller<'_> {
    /// Whether a condition is for him, whatever name he asks for.
    pub(super) fn fulfils(&self, condition: &impl ConnectionMatch) -> bool {
        let Self { asker, at } = self;
        let (source, subnets) = (condition.source(), condition.subnets());
        let has = |(key, value): (&String, &String)| asker.labels.get(key) == Some(value);
        condition.port().is_none_or(|port| port == asker.port)
            && (source.gateways.is_empty() || source.gateways.iter().any(|it| it == asker.gateway))
            && source.labels.iter().all(has)
            && source.namespace.is_none_or(|namespace| namespace == asker.namespace)
            && (subnets.is_empty()
                || subnets.iter().any(|it| network(it).is_some_and(|it| it.contains(&at.ip()))))
    }
}

/// The names that the rules for TLS are about, and where connections to them go: of one name, the first rule counts.
pub(super) fn names_and_routes<'a>(
    rule: &'a VirtualService,
    caller: Caller<'a>,
) -> impl Iterator<Item = (Vec<String>, &'a [ConnectionDestination])> {
    let mut taken = BTreeSet::new();
    let conditions = rule.tls.iter().flat_map(|rule| rule.matches.iter().map(move |it| (it, &*rule.route)));
    conditions.filter(move |(condition, _)| caller.fulfils(*condition)).filter_map(
        move |(condition, route)| {
            let names = condition.sni_hosts.iter().map(|name| name.to_ascii_lowercase());
            let names: Vec<String> = names.filter(|name| taken.insert(name.clone())).collect();
            (!names.is_empty()).then_some((names, route))
        },
    )
}

/// Where connections go of which no more is known.
pub(super) fn tcp_route<'a>(
    rule: &'a VirtualService,
    caller: Caller<'_>,
) -> Option<&'a [ConnectionDestination]> {
    let is_for = |matches: &[_]| matches.is_empty() || matches.iter().any(|it| caller.fulfils(it));
    rule.tcp.iter().find(|rule| is_for(&rule.matches)).map(|rule| &*rule.route)
}

fn lane(route: &[ConnectionDestination], finder: &ClusterFinder<'_>, port: u16) -> Lane {
    let cluster = |to: &ConnectionDestination| finder.cluster(&to.destination, port);
    let clusters: Vec<(String, u32)> = match route {
        [only] => vec![(cluster(only), 1)],
        several => several.iter().filter(|to| to.weight > 0).map(|to| (cluster(to), to.weight)).collect(),
    };
    // A connection has the times of the first destination, as with Istio.
    let settings = clusters.first().map(|(first, _)| finder.tcp(first)).unwrap_or_default();
    Lane { clusters, settings }
}
