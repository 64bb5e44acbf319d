//! Which documents say something of a service, and to whom.
//!
//! A service may be named by its host, an alias, a local name of the document's namespace, or in Kubernetes' short form
//! where pilot.toml has a domain. Of routes, the first document that has a rule for who asks counts, whole. Of policies,
//! one namespace is asked: that of the proxy, of the service, or the root namespace, the first that has any.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot_registry::{Labels, Namespace};

use crate::catalog::{CatalogService, visible};
use crate::mesh::Mesh;
use crate::rules::kinds::{DestinationRule, SourceCondition, Subset, VirtualService};
use crate::rules::{Kind, Rules, Ruling};

/// What proxies have in common, as far as rules ask for it.
#[derive(Clone, Copy, Debug)]
pub(in crate::translate) struct Viewer<'a> {
    pub(in crate::translate) namespace: &'a str,
    pub(in crate::translate) labels: &'a Labels,
}

/// Proxies of no namespace that makes a difference.
pub(in crate::translate) const ANYBODY: Viewer<'static> = Viewer { namespace: "", labels: &BTreeMap::new() };

/// The kinds of documents that say something of services.
const ABOUT: [Kind; 2] = [Kind::VirtualService, Kind::DestinationRule];

/// What rules say of one service.
#[derive(Clone, Debug, Default)]
pub(in crate::translate) struct Ruled {
    /// Of where its requests go: the first that has a rule for who asks counts.
    pub(in crate::translate) routes: Vec<Ruling>,
    /// Of how its endpoints are used: all of these, the first first.
    policies: Vec<Ruling>,
}

impl Ruled {
    /// Of a service, as these proxies are told it.
    pub(in crate::translate) fn of(mesh: &Mesh, service: &CatalogService, viewer: Viewer<'_>) -> Self {
        if mesh.rules.is_empty() {
            return Self::default();
        }
        Self { routes: routes(mesh, service, viewer), policies: policies(mesh, service, viewer) }
    }

    /// Whether no document says anything.
    pub(in crate::translate) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.policies.is_empty()
    }

    /// Whether endpoints are used in the same way.
    pub(in crate::translate) fn has_the_policies_of(&self, other: &Self) -> bool {
        let same = |(one, other): (&Ruling, &Ruling)| Arc::ptr_eq(&one.version, &other.version);
        self.policies.len() == other.policies.len() && self.policies.iter().zip(&other.policies).all(same)
    }

    /// The documents about how endpoints are used.
    pub(in crate::translate) fn policies(&self) -> impl Iterator<Item = &DestinationRule> {
        self.policies.iter().filter_map(Ruling::destination_rule)
    }

    /// The same, with who wrote them.
    pub(in crate::translate) fn documents_of_policies(&self) -> impl Iterator<Item = &Ruling> {
        self.policies.iter()
    }

    /// The subsets: of one name, the first definition counts.
    pub(in crate::translate) fn subsets(&self) -> Vec<&Subset> {
        let mut subsets: Vec<&Subset> = Vec::new();
        for subset in self.policies().flat_map(|rule| &rule.subsets) {
            if subsets.iter().all(|known| known.name != subset.name) {
                subsets.push(subset);
            }
        }
        subsets
    }

    /// Whether these proxies are told the same of where requests go.
    pub(in crate::translate) fn has_the_routes_of(&self, other: &Self, viewer: Viewer<'_>) -> bool {
        let same = |(one, other): (&Ruling, &Ruling)| Arc::ptr_eq(&one.version, &other.version);
        let has = |(key, value): (&String, &String)| viewer.labels.get(key) == Some(value);
        let is_for = |source: SourceCondition<'_>| {
            source.namespace.is_some_and(|source| source == viewer.namespace)
                || !source.labels.is_empty() && source.labels.iter().all(has)
        };
        let asks = |ruling: &Ruling| {
            let Some(rule) = ruling.virtual_service() else { return false };
            // Rules of other documents may ask for more.
            rule.http.iter().any(|http| http.delegate.is_some()) || rule.sources().any(is_for)
        };
        self.routes.len() == other.routes.len()
            && self.routes.iter().zip(&other.routes).all(same)
            && !self.routes.iter().any(asks)
    }

    /// The subset of that name.
    pub(in crate::translate) fn subset(&self, name: &str) -> Option<&Subset> {
        self.policies().flat_map(|rule| &rule.subsets).find(|subset| subset.name == name)
    }
}

/// Whether any document says something of the service, to whomever.
pub(in crate::translate) fn is_named(mesh: &Mesh, service: &CatalogService) -> bool {
    !mesh.rules.is_empty() && ABOUT.into_iter().any(|kind| !about(mesh, kind, service).is_empty())
}

/// All documents of a kind that name a service, to whomever they are exported.
pub(super) fn about(mesh: &Mesh, kind: Kind, service: &CatalogService) -> Vec<Ruling> {
    let mut all = naming(mesh, kind, service);
    let names = [service.host()].into_iter().chain(service.aliases());
    let covering = names.flat_map(|name| mesh.rules.covering(kind, name.as_str()));
    all.extend(covering.map(|(_, ruling)| ruling.clone()));
    all
}

/// The namespaces whose proxies rules may tell something else of a service than everybody: those of the documents that
/// name it, of the documents to which these delegate, of the policies of the services to which they lead, and those that
/// see other services there.
pub(in crate::translate) fn viewers(mesh: &Mesh, service: &CatalogService) -> BTreeSet<Namespace> {
    let routes = about(mesh, Kind::VirtualService, service);
    let mut found = viewers_of_policies(mesh, service);
    found.extend(with_delegates(mesh, &routes).iter().flat_map(Ruling::viewers));
    let mut seeing = BTreeSet::new();
    for destination in destinations(mesh, &routes) {
        found.extend(viewers_of_policies(mesh, destination));
        let there = of_host(mesh, destination);
        seeing.extend(there.filter_map(|other| other.visibility().namespaces()).flatten().cloned());
    }
    seeing.extend(found.iter().filter_map(|name| name.to_string().try_into().ok()));
    seeing
}

/// The namespaces whose proxies may use a service in another way than everybody.
fn viewers_of_policies(mesh: &Mesh, service: &CatalogService) -> BTreeSet<Arc<str>> {
    about(mesh, Kind::DestinationRule, service).iter().flat_map(Ruling::viewers).collect()
}

/// These documents, and those to which they delegate.
fn with_delegates(mesh: &Mesh, documents: &[Ruling]) -> Vec<Ruling> {
    let delegates = documents.iter().flat_map(Ruling::delegates);
    let delegates = delegates.filter_map(|id| mesh.rules.get(&id).cloned());
    documents.iter().cloned().chain(delegates).collect()
}

/// The services to which these documents send requests, and those to which they delegate.
fn destinations<'a>(mesh: &'a Mesh, documents: &[Ruling]) -> Vec<&'a Arc<CatalogService>> {
    let services = with_delegates(mesh, documents).into_iter().flat_map(|ruling| {
        let named = |host: Arc<str>| led_to(mesh, &host, &ruling.version.id.namespace);
        ruling.destinations().into_iter().filter_map(named).collect::<Vec<_>>()
    });
    services.collect()
}

/// The service to which a document of a namespace leads by a host. Where it sees none, one of that host, which others may see.
pub(super) fn led_to<'a>(mesh: &'a Mesh, host: &str, namespace: &str) -> Option<&'a Arc<CatalogService>> {
    mesh.named(host, namespace).or_else(|| mesh.catalog.of_host(&host.to_ascii_lowercase()).first())
}

/// Whether something else is there for these proxies than for everybody where these documents send requests.
pub(in crate::translate) fn leads_otherwise(mesh: &Mesh, documents: &[Ruling], viewer: Viewer<'_>) -> bool {
    let is_other =
        |service: &Arc<CatalogService>| match (seen(mesh, service, viewer), seen(mesh, service, ANYBODY)) {
            (Some(own), Some(all)) if Arc::ptr_eq(own, all) => !has_policies_of_all(mesh, own, viewer),
            (own, all) => own.is_some() || all.is_some(),
        };
    destinations(mesh, documents).into_iter().any(is_other)
}

fn has_policies_of_all(mesh: &Mesh, service: &CatalogService, viewer: Viewer<'_>) -> bool {
    Ruled::of(mesh, service, viewer).has_the_policies_of(&Ruled::of(mesh, service, ANYBODY))
}

/// All services of the host of that one: each is seen by somebody else.
pub(in crate::translate) fn of_host<'a>(
    mesh: &'a Mesh,
    service: &'a CatalogService,
) -> impl Iterator<Item = &'a Arc<CatalogService>> {
    mesh.catalog.called(service.host().as_str()).filter(|other| other.host() == service.host())
}

/// The service that these proxies see by the host of that one; `None` = none.
pub(in crate::translate) fn seen<'a>(
    mesh: &'a Mesh,
    service: &'a CatalogService,
    viewer: Viewer<'_>,
) -> Option<&'a Arc<CatalogService>> {
    let namespace = Namespace::try_from(viewer.namespace.to_owned()).ok();
    visible(of_host(mesh, service), namespace.as_ref())
}

/// Whether some document about the service asks for labels of proxies.
pub(in crate::translate) fn asks_for_labels(mesh: &Mesh, service: &CatalogService) -> bool {
    let asks = |ruling: &Ruling| !ruling.asked_labels().is_empty() || !ruling.delegates().is_empty();
    mesh.rules.asks_for_labels() && ABOUT.into_iter().any(|kind| about(mesh, kind, service).iter().any(asks))
}

/// The same, of a service whose requests go to others of which that is so, too.
pub(in crate::translate) fn depends_on_labels(mesh: &Mesh, service: &CatalogService, ruled: &Ruled) -> bool {
    mesh.rules.asks_for_labels()
        && (asks_for_labels(mesh, service)
            || destinations(mesh, &ruled.routes).into_iter().any(|service| asks_for_labels(mesh, service)))
}

/// Whether some document about the service says what it looks like from places.
pub(in crate::translate) fn asks_for_places(mesh: &Mesh, service: &CatalogService) -> bool {
    let asks = |ruling: &Ruling| ruling.destination_rule().is_some_and(DestinationRule::asks_for_places);
    !mesh.rules.places().is_empty() && about(mesh, Kind::DestinationRule, service).iter().any(asks)
}

/// The documents of a kind that name a service, without wildcards; the older ones first.
pub(super) fn naming(mesh: &Mesh, kind: Kind, service: &CatalogService) -> Vec<Ruling> {
    let rules = &mesh.rules;
    let names = || [service.host()].into_iter().chain(service.aliases());
    let mut found: Vec<Ruling> =
        names().flat_map(|name| rules.naming(kind, name.as_str())).cloned().collect();
    let of = |namespace: &str, name: &str| -> Vec<Ruling> {
        let named = rules.naming(kind, name).iter();
        named.filter(|ruling| ruling.version.id.namespace == namespace).cloned().collect()
    };
    for (namespace, name) in service.local_names() {
        found.extend(of(namespace.as_str(), name.as_str()));
    }
    for (name, namespace) in names().filter_map(|name| mesh.short_form(name.as_str())) {
        let is_other = mesh.catalog.named(name, namespace).is_some_and(|named| named.id() != service.id());
        if !is_other {
            found.extend(of(namespace, name));
        }
    }
    in_order(found)
}

fn in_order(mut found: Vec<Ruling>) -> Vec<Ruling> {
    found.sort_by(Ruling::by_age);
    found.dedup_by(|a, b| a.version.id == b.version.id);
    found
}

fn routes(mesh: &Mesh, service: &CatalogService, viewer: Viewer<'_>) -> Vec<Ruling> {
    let exact = naming(mesh, Kind::VirtualService, service);
    let mut all = for_viewer(exact, viewer);
    let names = [service.host()].into_iter().chain(service.aliases());
    let covering =
        names.flat_map(|name| mesh.rules.covering(Kind::VirtualService, name.as_str())).collect::<Vec<_>>();
    for wildcard in by_wildcard(&covering) {
        all.extend(for_viewer(wildcard, viewer));
    }
    all
}

/// The documents of each wildcard, the most specific one first.
fn by_wildcard(covering: &[(&str, &Ruling)]) -> Vec<Vec<Ruling>> {
    let mut groups: BTreeMap<(std::cmp::Reverse<usize>, &str), Vec<Ruling>> = BTreeMap::new();
    for (suffix, ruling) in covering {
        groups.entry((std::cmp::Reverse(suffix.len()), suffix)).or_default().push((*ruling).clone());
    }
    groups.into_values().map(in_order).collect()
}

/// The documents about requests to a host that no service has, in the order in which they count.
pub(in crate::translate) fn routes_of_host(rules: &Rules, host: &str, viewer: Viewer<'_>) -> Vec<Ruling> {
    let named = match host.strip_prefix('*') {
        Some(suffix) => rules.of_wildcard(Kind::VirtualService, suffix),
        None => rules.naming(Kind::VirtualService, host),
    };
    for_viewer(named.to_vec(), viewer)
}

/// Those that count for these proxies: first what is private to their namespace, then what is exported to it by name, then
/// what is everybody's.
fn for_viewer(rulings: Vec<Ruling>, viewer: Viewer<'_>) -> Vec<Ruling> {
    let class = |ruling: &Ruling| {
        let rule = ruling.virtual_service()?;
        exported(&rule.export_to, &ruling.version.id.namespace, viewer.namespace)
            .filter(|_| rule.is_of_mesh())
    };
    let mut seen: Vec<(u8, Ruling)> =
        rulings.into_iter().filter_map(|ruling| Some((class(&ruling)?, ruling))).collect();
    // Within a class, the order is that of age.
    seen.sort_by_key(|(class, _)| *class);
    seen.into_iter().map(|(_, ruling)| ruling).collect()
}

/// How a document is exported to a namespace: 0 = to it alone, 1 = to it by name, 2 = to all. `None` = it is not.
pub(super) fn exported(export_to: &[String], of: &str, to: &str) -> Option<u8> {
    let is_it = |namespace: &String| if namespace == "." { of == to } else { namespace == to };
    let is_all = export_to.is_empty() || export_to.iter().any(|namespace| namespace == "*");
    match export_to {
        [only] if is_it(only) => Some(0),
        several if several.iter().any(is_it) => Some(1),
        _ => is_all.then_some(2),
    }
}

fn policies(mesh: &Mesh, service: &CatalogService, viewer: Viewer<'_>) -> Vec<Ruling> {
    let exact = naming(mesh, Kind::DestinationRule, service);
    let names = [service.host()].into_iter().chain(service.aliases());
    let covering =
        names.flat_map(|name| mesh.rules.covering(Kind::DestinationRule, name.as_str())).collect::<Vec<_>>();
    let groups: Vec<Vec<Ruling>> = [exact].into_iter().chain(by_wildcard(&covering)).collect();
    let own = service.lead().namespace.as_str();
    let root = &*mesh.options.root_namespace;
    for namespace in [viewer.namespace, own, root] {
        for group in &groups {
            let of_it = group.iter().filter(|ruling| ruling.version.id.namespace == namespace);
            let fitting: Vec<&Ruling> = of_it.filter(|ruling| is_policy_for(ruling, viewer)).collect();
            let selects = |ruling: &&&Ruling| {
                ruling.destination_rule().is_some_and(|rule| rule.workload_selector.is_some())
            };
            let selected: Vec<Ruling> = fitting.iter().filter(selects).copied().cloned().collect();
            if !selected.is_empty() {
                return selected;
            }
            if !fitting.is_empty() {
                return fitting.into_iter().cloned().collect();
            }
        }
    }
    Vec::new()
}

pub(super) fn is_policy_for(ruling: &Ruling, viewer: Viewer<'_>) -> bool {
    let Some(rule) = ruling.destination_rule() else { return false };
    let of = &ruling.version.id.namespace;
    if let Some(selector) = &rule.workload_selector {
        let has = |(key, value): (&String, &String)| viewer.labels.get(key) == Some(value);
        return of == viewer.namespace && selector.match_labels.iter().all(has);
    }
    of == viewer.namespace || exported(&rule.export_to, of, viewer.namespace).is_some()
}

/// The document to which another one delegates, if that one may use it.
pub(in crate::translate) fn delegate<'a>(
    rules: &'a Rules,
    of: &Ruling,
    named: &crate::rules::kinds::Delegate,
) -> Option<(&'a str, &'a VirtualService)> {
    let root = &of.version.id.namespace;
    let ruling = rules.get(&named.document(root))?;
    let rule = ruling.virtual_service().filter(|rule| rule.hosts.is_empty())?;
    let namespace = ruling.version.id.namespace.as_str();
    exported(&rule.export_to, namespace, root).map(|_| (namespace, rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_goes_before_what_is_exported_by_name_and_that_before_what_is_everybodys() {
        let to =
            |namespaces: &[&str]| -> Vec<String> { namespaces.iter().map(|it| (*it).to_owned()).collect() };
        assert_eq!(exported(&to(&["."]), "apps", "apps"), Some(0));
        assert_eq!(exported(&to(&["apps"]), "shop", "apps"), Some(0));
        assert_eq!(exported(&to(&["apps", "web"]), "shop", "apps"), Some(1));
        assert_eq!(exported(&to(&["*"]), "shop", "apps"), Some(2));
        assert_eq!(exported(&[], "shop", "apps"), Some(2));
        assert_eq!(exported(&to(&["."]), "shop", "apps"), None);
    }
}
