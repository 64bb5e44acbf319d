//! Who has the requests to a host, by which of its rules, and which documents would have them otherwise: for who asks why.

use std::sync::Arc;

use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_registry::{Namespace, Port};

use super::delegates::RulePlace;
use super::destinations::{left_out, made};
use super::lens::{self, ANYBODY, Ruled, Viewer, routes_of_host};
use crate::catalog::{CatalogService, visible};
use crate::mesh::Mesh;
use crate::proxy::Scope;
use crate::rules::{Kind, Ruling};

/// A document that says something of a host and does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The document.
    pub document: String,
    /// Why it does not count.
    pub why: String,
}

/// Who has the requests to a host.
#[derive(Clone, Debug, Default)]
pub struct Contest {
    /// The routes that the document makes; none = no document has them.
    pub routes: Vec<route::Route>,
    /// The rule from which each of them is; `None` = none, as where no rule is for the request.
    pub places: Vec<Option<RulePlace>>,
    /// The rules of the document that are for other proxies or ports only, and why they are.
    pub left_out: Vec<(RulePlace, String)>,
    /// The documents that do not count.
    pub lost: Vec<Lost>,
}

/// Who has the requests to a host and port, from proxies of that scope.
pub fn contest_of_routes(mesh: &Mesh, scope: &Scope, host: &str, port: Port) -> Contest {
    let viewer = viewer(scope);
    let service = service(mesh, scope, host);
    let (inorder, all) = match service {
        Some(service) => {
            let mut all = lens::naming(mesh, Kind::VirtualService, service);
            let names = [service.host()].into_iter().chain(service.aliases());
            let covering = names.flat_map(|name| mesh.rules.covering(Kind::VirtualService, name.as_str()));
            all.extend(covering.map(|(_, ruling)| ruling.clone()));
            (Ruled::of(mesh, service, viewer).routes, all)
        }
        // For hosts that no service has, only what is for all proxies counts.
        None => {
            let named = match host.strip_prefix('*') {
                Some(suffix) => mesh.rules.of_wildcard(Kind::VirtualService, suffix),
                None => mesh.rules.naming(Kind::VirtualService, host),
            };
            (routes_of_host(&mesh.rules, host, ANYBODY), named.to_vec())
        }
    };
    let viewer = if service.is_some() { viewer } else { ANYBODY };
    let made = |one| made(std::slice::from_ref(one), mesh, viewer, port, port);
    let winner = inorder.iter().position(|one| made(one).is_some());
    let made = winner.and_then(|at| made(&inorder[at]));
    let mut contest = Contest::default();
    for ruling in all {
        let at = inorder.iter().position(|one| *one == ruling);
        let why = match (at, winner) {
            (Some(at), Some(winner)) if at == winner => continue,
            (Some(at), Some(winner)) if at > winner => later(&inorder[winner], &ruling, viewer),
            (Some(_), _) => "none of its rules is for this proxy and port".to_owned(),
            (None, _) => unseen(&ruling, viewer),
        };
        let document = ruling.version.id.to_string();
        if contest.lost.iter().all(|lost| lost.document != document) {
            contest.lost.push(Lost { document, why });
        }
    }
    if let Some(winner) = winner {
        contest.left_out = left_out(&inorder[winner], mesh, viewer, port);
    }
    if let Some(made) = made {
        (contest.routes, contest.places) = (made.routes, made.places);
    }
    contest
}

/// The documents that say how the endpoints of a host are used by proxies of that scope, the first first, and those that do not
/// count.
pub fn contest_of_policies(mesh: &Mesh, scope: &Scope, host: &str) -> (Vec<String>, Vec<Lost>) {
    let Some(service) = service(mesh, scope, host) else { return Default::default() };
    let viewer = viewer(scope);
    let ruled = Ruled::of(mesh, service, viewer);
    let counting: Vec<&Ruling> = ruled.documents_of_policies().collect();
    let names = [service.host()].into_iter().chain(service.aliases());
    let covering = names.flat_map(|name| mesh.rules.covering(Kind::DestinationRule, name.as_str()));
    let mut all = lens::naming(mesh, Kind::DestinationRule, service);
    all.extend(covering.map(|(_, ruling)| ruling.clone()));
    let mut lost: Vec<Lost> = Vec::new();
    for ruling in all.iter().filter(|ruling| !counting.contains(ruling)) {
        let document = ruling.version.id.to_string();
        let first = counting.first().map(|first| &first.version.id);
        let why = match first {
            _ if !lens::is_policy_for(ruling, viewer) => {
                "it is not exported to the proxy's namespace, or selects other workloads".to_owned()
            }
            Some(first) if first.namespace != ruling.version.id.namespace => {
                format!("the documents of namespace {} are asked first", first.namespace)
            }
            Some(first) => format!(
                "{first} is more specific: it selects the proxy's workload, or names the host exactly"
            ),
            None => "no namespace that is asked has it".to_owned(),
        };
        if lost.iter().all(|it| it.document != document) {
            lost.push(Lost { document, why });
        }
    }
    (counting.iter().map(|ruling| ruling.version.id.to_string()).collect(), lost)
}

fn viewer(scope: &Scope) -> Viewer<'_> {
    let namespace = scope.namespace.as_ref().map_or(ANYBODY.namespace, Namespace::as_str);
    Viewer { namespace, labels: &scope.labels }
}

/// The service that these proxies see by that host.
fn service<'a>(mesh: &'a Mesh, scope: &Scope, host: &str) -> Option<&'a Arc<CatalogService>> {
    visible(mesh.catalog.of_host(host), scope.namespace.as_ref())
}

/// Why a document comes after the one that counts.
fn later(winner: &Ruling, other: &Ruling, viewer: Viewer<'_>) -> String {
    let id = &winner.version.id;
    let is_exact = |ruling: &Ruling| {
        ruling.virtual_service().is_some_and(|rule| rule.hosts.iter().any(|host| !host.starts_with('*')))
    };
    let class = |ruling: &Ruling| {
        let rule = ruling.virtual_service()?;
        lens::exported(&rule.export_to, &ruling.version.id.namespace, viewer.namespace)
    };
    if is_exact(winner) && !is_exact(other) {
        return format!("{id} names the host exactly, and this one by a wildcard");
    }
    if class(winner) < class(other) {
        return format!("{id} is exported to fewer namespaces, and goes first");
    }
    if winner.store != other.store {
        return format!("{id} is of the store {}, which is preferred", winner.store.name);
    }
    match (winner.version.age, other.version.age) {
        (Some(age), Some(other)) if age < other => format!("{id} is older"),
        (Some(_), None) => format!("{id} has an age, and this one has none"),
        _ if is_exact(winner) == is_exact(other) => format!("{id} comes first by name"),
        _ => format!("{id} comes first"),
    }
}

/// Why a document is not there for these proxies.
fn unseen(ruling: &Ruling, viewer: Viewer<'_>) -> String {
    let Some(rule) = ruling.virtual_service() else { return String::new() };
    if !rule.is_of_mesh() {
        return format!("it is for the gateways {} alone", rule.gateways.join(", "));
    }
    match viewer.namespace {
        "" => "it is not exported to all namespaces".to_owned(),
        namespace => format!("it is not exported to namespace {namespace}"),
    }
}
