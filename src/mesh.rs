//! One immutable state of the mesh: the catalog, the rules, and the options that translation depends on.

mod orders;
mod traffic;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{Labels, Locality, Namespace};

use crate::catalog::{Catalog, CatalogService, Source, Workload};
use crate::proxy::{Affinity, Proxy, Scope, Transport};
use crate::rules::Rules;
use crate::service_entries::ServiceEntries;

pub use orders::{LabelValues, Orders};
pub use traffic::{AccessLog, AccessLogFormat, Dns, Idle, Keepalive, Outliers, RetryLimits, Traffic};

/// Everything that the configuration of all proxies is made from.
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    /// All services.
    pub catalog: Catalog,
    /// The documents in force.
    pub rules: Rules,
    /// What pilot.toml says of all proxies.
    pub options: MeshOptions,
    /// The services of documents: they are in the catalog.
    pub entries: ServiceEntries,
    /// What was found out of all that.
    pub orders: Orders,
}

impl Mesh {
    /// Of nothing but these options.
    pub fn new(options: MeshOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// The same, of what these registries and documents say. What did not change is shared.
    #[must_use]
    pub fn next(&self, registries: &[Source], rules: Rules) -> Self {
        let entries = self.entries.next(&rules, registries);
        let sources: Vec<Source> = registries.iter().chain(entries.sources()).cloned().collect();
        let catalog = Catalog::merge(&sources, &self.catalog);
        Self { catalog, rules, entries, options: self.options.clone(), orders: Orders::default() }
    }

    /// The same with other documents.
    #[must_use]
    pub fn with_rules(&self, rules: Rules) -> Self {
        self.next(&self.catalog.registries(), rules)
    }

    /// The workload that a proxy runs beside, if registries know one at the proxy's address.
    pub fn workload(&self, address: Option<IpAddr>) -> Option<Workload<'_>> {
        self.catalog.workload(address?)
    }

    /// The service that a document of a namespace means by a name: one that its clients call so, or else, where pilot.toml
    /// has a domain, the one of that namespace in a Kubernetes cluster.
    pub fn named(&self, name: &str, namespace: &str) -> Option<&Arc<CatalogService>> {
        self.catalog.named(name, namespace).or_else(|| {
            let domain = self.options.domain.as_deref().filter(|_| !name.contains('.'))?;
            self.catalog.named(&format!("{name}.{namespace}.svc.{domain}"), namespace)
        })
    }

    /// The services that a document of a namespace may mean by a host, which may be a wildcard, whoever asks.
    pub fn meant<'a>(&'a self, host: &str, namespace: &str) -> Vec<&'a Arc<CatalogService>> {
        let Some(suffix) = host.strip_prefix('*') else {
            return self.catalog.called(host).chain(self.named(host, namespace)).collect();
        };
        let suffix = suffix.to_ascii_lowercase();
        let is_covered = |service: &&Arc<CatalogService>| {
            let mut names = [service.host()].into_iter().chain(service.aliases());
            // A star stands for something.
            names.any(|name| name.as_str().len() > suffix.len() && name.as_str().ends_with(&suffix))
        };
        self.catalog.services().iter().filter(is_covered).collect()
    }

    /// The short name of a host, and the namespace in which it is meant by that. `None` = it has none.
    pub fn short_form<'a>(&self, host: &'a str) -> Option<(&'a str, &'a str)> {
        let domain = self.options.domain.as_deref()?;
        host.strip_suffix(domain)?
            .strip_suffix(".svc.")?
            .split_once('.')
            .filter(|(_, rest)| !rest.contains('.'))
    }

    /// Whether proxies of that namespace may see something else than everybody.
    fn differs_in(&self, namespace: &Namespace) -> bool {
        self.catalog.differs_in(namespace) || self.rules.differ_in(namespace.as_str())
    }

    /// The scope of a proxy. Where it runs counts as far as some endpoint runs there, too, or a document names it, and its
    /// namespace if it makes a difference which services are there and what they are called: there are no more scopes than
    /// what registries and documents say makes, whatever clients say. What a proxy does not say of itself is said by its
    /// workload, which is looked for where that matters.
    pub fn scope(&self, proxy: &Proxy, transport: Transport) -> Scope {
        let places = self.rules.places();
        let has_namespaces = self.catalog.has_namespaces() || self.rules.has_viewers();
        let (near, named) = (self.options.prefer_near || !places.is_empty(), has_namespaces);
        let is_placeless = near && proxy.locality == Locality::default();
        let labelled = self.rules.asks_for_labels() || places.has_labels();
        let is_silent = is_placeless || named && proxy.namespace.is_none() || labelled;
        let workload = if is_silent { self.workload(proxy.address) } else { None };
        let place = || locality(&proxy.locality, workload.as_ref());
        let near = near.then(|| self.known_part(&place()));
        let namespace = named.then(|| namespace(proxy.namespace.as_ref(), workload.as_ref())).flatten();
        let usual = || named.then(Namespace::default);
        let namespace = namespace.cloned().or_else(usual).filter(|namespace| self.differs_in(namespace));
        let (affinity, labels) = match labelled {
            true => self.asked_labels(proxy, workload.as_ref()),
            false => (Affinity::new(), Labels::new()),
        };
        let scope = proxy.scope(transport);
        let client = if self.options.vhds { scope.client } else { scope.client.whole() };
        let (locality, labels) = (near.unwrap_or_default(), Arc::new(labels));
        Scope { client, locality, affinity: Arc::new(affinity), namespace, labels, ..scope }
    }

    /// The part of a proxy's locality that makes a difference: endpoints are there, or documents name it.
    fn known_part(&self, locality: &Locality) -> Locality {
        // Both are beginnings of the same.
        self.catalog.known_part(locality).max(self.rules.places().named_part(locality))
    }

    /// The labels of a proxy by which endpoints are ordered, and those that rules ask for: what registries say of its
    /// workload, then what it says itself.
    fn asked_labels(&self, proxy: &Proxy, workload: Option<&Workload<'_>>) -> (Affinity, Labels) {
        let mut labels = labels(&proxy.labels, workload);
        let affinity = self.affinity(&labels);
        labels.retain(|key, value| self.rules.asks_for(key, value));
        (affinity, labels)
    }
}

/// Where a proxy runs: where it says itself, or else where its workload does.
pub fn locality(said: &Locality, workload: Option<&Workload<'_>>) -> Locality {
    if *said != Locality::default() {
        return said.clone();
    }
    workload.map(Workload::locality).unwrap_or_default()
}

/// The labels of a proxy: those of its workload, and what it says itself of others.
pub fn labels(said: &Labels, workload: Option<&Workload<'_>>) -> Labels {
    let mut labels = said.clone();
    labels.extend(workload.map(Workload::labels).unwrap_or_default());
    labels
}

/// The namespace of a proxy: what it says itself, or else that of its workload.
pub fn namespace<'a>(said: Option<&'a Namespace>, workload: Option<&Workload<'a>>) -> Option<&'a Namespace> {
    said.or_else(|| workload?.namespace())
}

/// The namespace whose DestinationRules are everybody's, unless pilot.toml says otherwise. Istio's own.
pub const ROOT_NAMESPACE: &str = "istio-system";

/// What pilot.toml says of all proxies.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshOptions {
    /// How long a proxy waits for a connection to an endpoint. `[mesh] connect_timeout`.
    pub connect_timeout: Duration,
    /// What connections and requests get where no rule says otherwise.
    pub traffic: Traffic,
    /// The address on which outbound listeners of routers are bound. `[router] bind`.
    pub bind: IpAddr,
    /// Where routers serve every HTTP service by Host header. `[router] http_listen`.
    pub http_listen: Option<SocketAddr>,
    /// Whether routers that have `http_listen` also listen on each port with HTTP services. `[router]
    /// http_port_listeners`.
    pub http_port_listeners: bool,
    /// Whether a proxy is told to use the endpoints near to it first. `[mesh] locality`.
    pub prefer_near: bool,
    /// Whether Envoys that can take routes in parts do. `[xds] vhds`.
    pub vhds: bool,
    /// Whether a service without healthy endpoints is served by its unhealthy ones. `[mesh] panic`.
    pub serves_unhealthy: bool,
    /// Whether there are stores of rules. `[rules]`.
    pub has_rules: bool,
    /// What short names of rules are completed with: `cluster.local`. `[mesh] domain`.
    pub domain: Option<Arc<str>>,
    /// The namespace whose DestinationRules are everybody's. `[mesh] root_namespace`.
    pub root_namespace: Arc<str>,
}

impl Default for MeshOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            traffic: Traffic::default(),
            bind: Ipv4Addr::LOCALHOST.into(),
            http_listen: None,
            http_port_listeners: true,
            prefer_near: false,
            vhds: true,
            serves_unhealthy: false,
            has_rules: false,
            domain: None,
            root_namespace: ROOT_NAMESPACE.into(),
        }
    }
}
