//! All services of the mesh, and what is asked of them. `merge.rs` makes them.

use std::net::IpAddr;
use std::sync::Arc;

use pilot_registry::{Hostname, Locality, Namespace, ServiceId};

use super::disagreement::Disagreement;
use super::index::Indexes;
use super::part::Source;
use super::service::CatalogService;
use super::workload::Workload;

/// All services of the mesh, ordered by id: by host, those that everybody sees first.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub(super) services: Arc<Vec<Arc<CatalogService>>>,
    pub(super) index: Indexes,
    /// What it was made of, in the order of registries.
    pub(super) sources: Arc<[Source]>,
}

/// The same services, whoever said so.
impl PartialEq for Catalog {
    fn eq(&self, other: &Self) -> bool {
        self.services == other.services && self.index == other.index
    }
}

impl Catalog {
    /// The services, ordered by id.
    pub fn services(&self) -> &[Arc<CatalogService>] {
        &self.services
    }

    /// The registries that it was made of.
    pub fn registries(&self) -> Vec<Source> {
        self.sources.iter().filter(|source| source.documents.is_none()).cloned().collect()
    }

    /// The same list, to be kept: lists that are one allocation are equal.
    pub(crate) fn shared_services(&self) -> &Arc<Vec<Arc<CatalogService>>> {
        &self.services
    }

    /// The service of that id.
    pub fn find(&self, id: &ServiceId) -> Option<&Arc<CatalogService>> {
        let at = self.services.binary_search_by(|service| service.id().cmp(id));
        at.ok().map(|at| &self.services[at])
    }

    /// The service of that name; of several, the one that everybody sees. Aliases do not count.
    pub fn get(&self, host: &str) -> Option<&Arc<CatalogService>> {
        self.of_host(host).first()
    }

    /// The services of that host: at most one without an owner, which comes first, and one of each namespace.
    pub fn of_host(&self, host: &str) -> &[Arc<CatalogService>] {
        let first = self.services.partition_point(|service| service.host().as_str() < host);
        let rest = &self.services[first..];
        &rest[..rest.iter().take_while(|service| service.host().as_str() == host).count()]
    }

    /// All services that somebody calls so: by their hosts, by aliases, by names that only one namespace uses.
    pub fn called(&self, name: &str) -> impl Iterator<Item = &Arc<CatalogService>> {
        let name = Hostname::or_wildcard(name).ok();
        let ids: Vec<_> = name.iter().flat_map(|name| self.index.names.called(name)).collect();
        ids.into_iter().filter_map(|id| self.find(id))
    }

    /// The service that clients of a namespace call so: by its host first, then by an alias, then by a name that only
    /// they use.
    pub fn named(&self, name: &str, namespace: &str) -> Option<&Arc<CatalogService>> {
        let seen = |service: &&Arc<CatalogService>| match service.visibility().namespaces() {
            None => true,
            Some(namespaces) => namespaces.iter().any(|it| it.as_str() == namespace),
        };
        let class = |service: &&Arc<CatalogService>| {
            let is_named = |other: &Hostname| other.as_str().eq_ignore_ascii_case(name);
            let is_local = |(of, local): &(Namespace, Hostname)| of.as_str() == namespace && is_named(local);
            match service {
                it if is_named(it.host()) => Some(0),
                it if it.aliases().iter().any(is_named) => Some(1),
                it if it.local_names().iter().any(is_local) => Some(2),
                _ => None,
            }
        };
        let all = self.called(name).filter(seen).filter_map(|service| {
            let is_everybodys = service.id().owner.is_none();
            Some(((class(&service)?, is_everybodys), service))
        });
        all.min_by(|(a, one), (b, other)| (a, one.id()).cmp(&(b, other.id()))).map(|(_, service)| service)
    }

    /// The part of a proxy's locality that tells endpoints from each other: some are there, too.
    pub fn known_part(&self, locality: &Locality) -> Locality {
        self.index.localities.known_part(locality)
    }

    /// What is known of the workload at that address; `None` where no service has an endpoint, where more than
    /// 64 endpoints are, and of loopback, which is another machine's, too.
    pub fn workload(&self, address: IpAddr) -> Option<Workload<'_>> {
        let address = address.to_canonical();
        let services = self.index.addresses.services(address).filter_map(|id| self.find(id));
        Workload::at(address, services.map(|service| &**service))
    }

    /// Whether clients of that namespace may see something else than everybody: names of their own, or services that
    /// not everybody sees.
    pub fn differs_in(&self, namespace: &Namespace) -> bool {
        self.index.namespaces.contains(namespace)
    }

    /// Whether it [differs](Self::differs_in) in any namespace.
    pub fn has_namespaces(&self) -> bool {
        !self.index.namespaces.is_empty()
    }

    /// Whether [`known_part`](Self::known_part) answers the same in both.
    pub fn knows_the_places_of(&self, other: &Self) -> bool {
        self.index.localities.same(&other.index.localities)
    }

    /// Whether [`differs_in`](Self::differs_in) answers the same in both.
    pub fn has_the_namespaces_of(&self, other: &Self) -> bool {
        self.index.namespaces.same(&other.index.namespaces)
    }

    /// Everything that registries disagree about, with the service that it is about.
    pub fn disagreements(&self) -> impl Iterator<Item = (&ServiceId, &Disagreement)> {
        self.services.iter().flat_map(|service| service.disagreements().iter().map(|it| (service.id(), it)))
    }

    /// What registries disagree about now and did not before, with the service that it is about.
    pub fn disagreements_since<'a>(
        &'a self,
        earlier: &'a Self,
    ) -> impl Iterator<Item = (&'a ServiceId, &'a Disagreement)> {
        self.disagreements().filter(|(id, disagreement)| {
            earlier.find(id).is_none_or(|before| !before.disagreements().contains(disagreement))
        })
    }

    /// Whether both hold the same allocations, which after [`Catalog::merge`] means: nothing changed.
    pub fn same(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<CatalogService>, &Arc<CatalogService>)| Arc::ptr_eq(a, b);
        self.services.len() == other.services.len() && self.services.iter().zip(&*other.services).all(same)
    }
}
