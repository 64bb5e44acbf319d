//! The routes of one service, or of a host that no service has, with the clusters to which they lead.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use pilot_envoy_api::envoy::config::route::v3 as route;
use route::route_action::HashPolicy;

use super::lens::{Ruled, Viewer, delegate, led_to, seen};
use super::{Asker, Destinations, RulePlace, expanded, matches, numbered_routes, policy, why_not_for};
use crate::catalog::CatalogService;
use crate::mesh::Mesh;
use crate::resources::Origin;
use crate::rules::Ruling;
use crate::rules::kinds::{Delegate, Destination, HttpRoute, MESH, Redirect};
use crate::translate::connections::TcpSettings;
use crate::translate::{fallback, names};
use pilot_registry::Port;

/// Routes that a document asks for.
pub(in crate::translate) struct DocumentRoutes {
    pub(in crate::translate) routes: Vec<route::Route>,
    /// The rules from which they are, of each; `None` = none.
    pub(in crate::translate) places: Vec<Option<RulePlace>>,
    /// The clusters to which they lead, whether they are there or not: they may come, and others may see them.
    pub(in crate::translate) clusters: Vec<Arc<str>>,
    /// The document.
    pub(in crate::translate) document: Arc<str>,
    /// Whether it matters at which port the requests come in.
    pub(in crate::translate) asks_where: bool,
}

impl DocumentRoutes {
    /// Whether a route is for all requests.
    pub(in crate::translate) fn is_whole(&self) -> bool {
        self.routes.last().is_some_and(takes_all)
    }

    /// What a virtual host with these routes is there for.
    pub(in crate::translate) fn origin(&self, service: Option<&CatalogService>) -> Origin {
        Origin::Document(Arc::clone(&self.document), service.map(|service| service.host().clone()))
    }
}

/// Whether a route is for all requests.
pub(in crate::translate) fn takes_all(route: &route::Route) -> bool {
    route.r#match.as_ref().is_some_and(matches::is_everything)
}

/// The routes of requests to a port, by the first of these documents that has a rule for them. `at`: the port at which they
/// come in. `None` = none has.
pub(in crate::translate) fn made(
    documents: &[Ruling],
    mesh: &Mesh,
    viewer: Viewer<'_>,
    port: Port,
    at: Port,
) -> Option<DocumentRoutes> {
    documents.iter().find_map(|document| by_document(document, mesh, viewer, (port, at)))
}

/// The routes of a document at a Gateway, without an answer to requests that none is for. `None` = it has none for these
/// proxies there.
pub(in crate::translate) fn at_gateway(
    document: &Ruling,
    mesh: &Mesh,
    viewer: Viewer<'_>,
    gateway: &str,
    port: Port,
) -> Option<DocumentRoutes> {
    own_routes(document, mesh, viewer, asker(viewer, gateway, (port, port)))
}

fn by_document(
    document: &Ruling,
    mesh: &Mesh,
    viewer: Viewer<'_>,
    ports: (Port, Port),
) -> Option<DocumentRoutes> {
    let mut made = own_routes(document, mesh, viewer, asker(viewer, MESH, ports))?;
    if !made.is_whole() {
        let words = format!("pilot: no rule of {} is for this request", made.document);
        made.routes.push(fallback::not_found(matches::everything(), words));
        made.places.push(None);
    }
    Some(made)
}

fn own_routes(
    document: &Ruling,
    mesh: &Mesh,
    viewer: Viewer<'_>,
    asker: Asker<'_>,
) -> Option<DocumentRoutes> {
    let rules = all_rules(document, mesh)?;
    let namespace = document.version.id.namespace.as_str();
    let finder = ClusterFinder::new(mesh, viewer, namespace);
    let (places, rules): (Vec<RulePlace>, Vec<_>) = rules.into_iter().unzip();
    let asks_where = rules.iter().any(|rule| rule.redirect.as_ref().is_some_and(Redirect::asks_where));
    let numbered = numbered_routes(&rules, asker, &finder)?.into_iter();
    let text: Arc<str> = document.version.id.to_string().into();
    let (places, routes): (Vec<_>, Vec<_>) = numbered
        .map(|(at, route)| {
            let place = places.get(at).cloned();
            (place.clone(), route::Route { name: route_name(&text, place.as_ref(), &route.name), ..route })
        })
        .unzip();
    let clusters = finder.into_named();
    Some(DocumentRoutes { routes, places, clusters, document: text, asks_where })
}

/// The name of a route, for logs: the document, the rule of it, and what the author calls that.
fn route_name(document: &str, place: Option<&RulePlace>, given: &str) -> String {
    let rule = place.map(|place| format!(" {place}")).unwrap_or_default();
    let given = if given.is_empty() { String::new() } else { format!(" {given}") };
    format!("{document}{rule}{given}")
}

/// The rules of a document that are for other proxies or ports only, and why they are.
pub(super) fn left_out(
    document: &Ruling,
    mesh: &Mesh,
    viewer: Viewer<'_>,
    port: Port,
) -> Vec<(RulePlace, String)> {
    let rules = all_rules(document, mesh).unwrap_or_default();
    let asker = asker(viewer, MESH, (port, port));
    rules.into_iter().filter_map(|(place, rule)| Some((place, why_not_for(&rule, asker)?))).collect()
}

/// The rules of a document, with those to which it delegates. Names are meant as in the document that has them.
fn all_rules(document: &Ruling, mesh: &Mesh) -> Option<Vec<(RulePlace, HttpRoute)>> {
    let rule = document.virtual_service()?;
    let namespace = document.version.id.namespace.as_str();
    let find = |named: &Delegate| delegate(&mesh.rules, document, named);
    Some(expanded(rule, find, |of, rule| match of == namespace {
        true => Cow::Borrowed(rule),
        false => Cow::Owned(qualified(rule, mesh, of)),
    }))
}

fn asker<'a>(viewer: Viewer<'a>, gateway: &'a str, (port, at): (Port, Port)) -> Asker<'a> {
    let Viewer { namespace, labels } = viewer;
    Asker { namespace, labels, gateway, port: port.get(), at: at.get() }
}

/// The same rule, with destinations named by the hosts of their services.
fn qualified(rule: &HttpRoute, mesh: &Mesh, namespace: &str) -> HttpRoute {
    let mut rule = rule.clone();
    let routes = rule.route.iter_mut().map(|route| &mut route.destination);
    let mirrors = rule.mirrors.iter_mut().map(|mirror| &mut mirror.destination);
    for destination in routes.chain(mirrors).chain(&mut rule.mirror) {
        if let Some(service) = mesh.named(&destination.host, namespace) {
            destination.host = service.host().to_string();
        }
    }
    rule
}

/// Finds clusters, and notes which.
pub(super) struct ClusterFinder<'a> {
    mesh: &'a Mesh,
    viewer: Viewer<'a>,
    /// The document's.
    namespace: &'a str,
    /// By name; `None` = it is not there for the viewer.
    found: RefCell<BTreeMap<Arc<str>, Option<Found>>>,
}

/// What routes to a cluster are told.
struct Found {
    hash_policies: Vec<HashPolicy>,
    rewrites_host: bool,
    tcp: TcpSettings,
}

impl<'a> ClusterFinder<'a> {
    /// For a document of that namespace.
    pub(super) fn new(mesh: &'a Mesh, viewer: Viewer<'a>, namespace: &'a str) -> Self {
        Self { mesh, viewer, namespace, found: RefCell::default() }
    }

    /// All clusters that were asked for.
    pub(super) fn into_named(self) -> Vec<Arc<str>> {
        self.found.into_inner().into_keys().collect()
    }

    /// What connections to a cluster are told.
    pub(super) fn tcp(&self, cluster: &str) -> TcpSettings {
        self.found.borrow().get(cluster).and_then(Option::as_ref).map(|found| found.tcp).unwrap_or_default()
    }

    /// The name of one that is not there is a name, too: Envoy answers 503, as with Istio.
    fn find(&self, destination: &Destination, asked: u16) -> String {
        let subset = destination.subset.as_deref().unwrap_or_default();
        let wanted = destination.port.map(|port| port.number);
        let meant = led_to(self.mesh, &destination.host, self.namespace);
        let Some(service) = meant.and_then(|service| seen(self.mesh, service, self.viewer)) else {
            let host = meant.map_or(destination.host.as_str(), |service| service.host().as_str());
            return format!("outbound|{}|{subset}|{}", wanted.unwrap_or(asked), host.to_ascii_lowercase());
        };
        let only = match service.ports() {
            [only] => Some(only.number.get()),
            _ => None,
        };
        let number = wanted.or(only).unwrap_or(asked);
        let port = service.ports().iter().find(|port| port.number.get() == number);
        // Whatever its protocol: a cluster of that name is there.
        let Some(port) = port else {
            return format!("outbound|{number}|{subset}|{}", service.host());
        };
        let name = names::cluster(port.number, subset, service.host());
        self.note(&name, service, subset, port.number);
        name
    }

    /// Notes the cluster of a subset of a service, if it is there.
    fn note(&self, name: &str, service: &CatalogService, subset: &str, port: Port) {
        let ruled = Ruled::of(self.mesh, service, self.viewer);
        if subset.is_empty() || ruled.subset(subset).is_some() {
            let found = Found {
                hash_policies: policy::hash_policies(&ruled, subset, port),
                rewrites_host: service.lead().rewrite_host,
                tcp: policy::tcp(&ruled, subset, port),
            };
            self.found.borrow_mut().insert(name.into(), Some(found));
        }
    }
}

impl Destinations for ClusterFinder<'_> {
    fn cluster(&self, destination: &Destination, asked: u16) -> String {
        let name = self.find(destination, asked);
        self.found.borrow_mut().entry(name.as_str().into()).or_default();
        name
    }

    fn hash_policies(&self, cluster: &str) -> Vec<HashPolicy> {
        let found = self.found.borrow();
        let found = found.get(cluster).and_then(Option::as_ref);
        found.map(|found| found.hash_policies.clone()).unwrap_or_default()
    }

    fn rewrites_host(&self, cluster: &str) -> bool {
        self.found.borrow().get(cluster).and_then(Option::as_ref).is_some_and(|found| found.rewrites_host)
    }
}
