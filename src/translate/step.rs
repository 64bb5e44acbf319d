//! From one mesh to the next: what changed, and what becomes of it where a translation fails.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use super::rules::{Touched, TouchedGateways, asks_for_places, touched};
use crate::catalog::{Catalog, CatalogService, ServiceChange, changes};
use crate::mesh::Mesh;
use crate::resources::PublishedAt;
use imbl::OrdMap;
use pilot_registry::{Hostname, Namespace, ServiceId};

/// One mesh, and what differs from the one before.
pub struct Step {
    /// Counts the meshes of this process.
    pub(super) generation: u64,
    /// When the change that led to it was published by a registry.
    pub(super) changed: PublishedAt,
    pub(super) mesh: Arc<Mesh>,
    before: Option<Arc<Mesh>>,
    since: OnceLock<Since>,
    all: OnceLock<Vec<ServiceChange>>,
    scoped: OnceLock<ScopedHosts>,
    all_scoped: OnceLock<ScopedHosts>,
}

/// What differs from the mesh before.
struct Since {
    services: Vec<ServiceChange>,
    hosts: BTreeSet<Arc<str>>,
    gateways: TouchedGateways,
}

/// Hosts of which not everybody sees the same service, with the namespaces of those who may see another.
pub(super) type ScopedHosts = BTreeMap<Hostname, BTreeSet<Namespace>>;

impl Step {
    /// The step from `before` to `mesh`; `None` = from nothing.
    pub(super) fn new(
        before: Option<Arc<Mesh>>,
        mesh: Arc<Mesh>,
        generation: u64,
        changed: PublishedAt,
    ) -> Self {
        let (since, all) = (OnceLock::new(), OnceLock::new());
        let (scoped, all_scoped) = (OnceLock::new(), OnceLock::new());
        Self { generation, changed, mesh, before, since, all, scoped, all_scoped }
    }

    /// Finds out what differs, which takes time in a large mesh.
    pub fn prepare(&self) {
        self.changes();
        self.scoped_changes();
    }

    /// The services that differ from the mesh before.
    pub(super) fn changes(&self) -> &[ServiceChange] {
        &self.since().services
    }

    /// The hosts of rules, which maybe no service has, of which something else may be said now.
    pub(super) fn touched_hosts(&self) -> &BTreeSet<Arc<str>> {
        &self.since().hosts
    }

    /// What is to be looked at again of Gateways.
    pub(super) fn touched_gateways(&self) -> &TouchedGateways {
        &self.since().gateways
    }

    fn since(&self) -> &Since {
        self.since.get_or_init(|| {
            let nothing = Mesh::default();
            let before = self.before.as_deref().unwrap_or(&nothing);
            let mut changes = changes(before.catalog.shared_services(), self.mesh.catalog.shared_services());
            let Touched { services, hosts, gateways } = touched(before, &self.mesh, &changes);
            let is_known = |id: &ServiceId| changes.binary_search_by(|it| it.id().cmp(&Some(id))).is_ok();
            let find = |mesh: &Mesh, id: &ServiceId| mesh.catalog.find(id).cloned();
            let more: Vec<_> = services.iter().filter(|id| !is_known(id)).collect();
            let more =
                more.into_iter().map(|id| ServiceChange { old: find(before, id), new: find(&self.mesh, id) });
            let more: Vec<_> = more.collect();
            if !more.is_empty() {
                changes.extend(more);
                changes.sort_by(|a, b| a.id().cmp(&b.id()));
            }
            Since { services: changes, hosts, gateways }
        })
    }

    /// Whether rules say of a service that changed what it looks like from places, or said so before.
    pub(super) fn asks_for_places(&self) -> bool {
        let nothing = Mesh::default();
        let before = self.before.as_deref().unwrap_or(&nothing);
        let asks = |mesh: &Mesh, service: &Option<Arc<CatalogService>>| {
            service.as_ref().is_some_and(|service| asks_for_places(mesh, service))
        };
        let has_places = [before, &*self.mesh].iter().any(|mesh| !mesh.rules.places().is_empty());
        has_places && self.changes().iter().any(|it| asks(before, &it.old) || asks(&self.mesh, &it.new))
    }

    /// The services of this mesh, as if there had been none before: for a layer that is made from nothing.
    pub(super) fn everything(&self) -> &[ServiceChange] {
        self.all.get_or_init(|| changes(&Arc::default(), self.mesh.catalog.shared_services()))
    }

    /// The hosts among [`changes`](Self::changes) of which not everybody sees, or saw, the same service.
    pub(super) fn scoped_changes(&self) -> &ScopedHosts {
        self.scoped.get_or_init(|| self.scoped(self.changes()))
    }

    /// The same, among [`everything`](Self::everything).
    pub(super) fn scoped_everything(&self) -> &ScopedHosts {
        self.all_scoped.get_or_init(|| self.scoped(self.everything()))
    }

    fn scoped(&self, changes: &[ServiceChange]) -> ScopedHosts {
        let mut scoped = ScopedHosts::new();
        let catalogs: Vec<&Catalog> =
            self.before.iter().chain([&self.mesh]).map(|mesh| &mesh.catalog).collect();
        // Most meshes have no such service, and most changes are of others.
        let catalogs: Vec<&Catalog> = catalogs.into_iter().filter(|it| it.has_namespaces()).collect();
        for host in changes.iter().filter_map(|change| Some(&change.id()?.host)) {
            let of_host = catalogs.iter().flat_map(|catalog| catalog.of_host(host.as_str()));
            for namespaces in of_host.filter_map(|service| service.visibility().namespaces()) {
                scoped.entry(host.clone()).or_default().extend(namespaces.iter().cloned());
            }
        }
        scoped
    }

    /// Whether what was translated for the mesh before can be continued.
    pub(super) fn continues(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.options == self.mesh.options)
    }
}

/// The services whose translation failed: they keep what they had before.
pub(super) type Failures = OrdMap<ServiceId, FailedTranslation>;

/// A translation that failed, which is a bug.
#[derive(Clone, Debug)]
pub(super) struct FailedTranslation {
    /// The words of the panic.
    pub(super) why: Arc<str>,
    /// The service as it was translated last; `None` = never.
    pub(super) last: Option<Arc<CatalogService>>,
}

/// Translates something. A panic costs what was to be translated, and nothing else.
pub(super) fn attempt<T>(translate: impl FnOnce() -> T) -> Result<T, Arc<str>> {
    // What it reads is immutable, and what it would have made is lost.
    catch_unwind(AssertUnwindSafe(translate)).map_err(|panic| reason(&*panic).into())
}

fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure_with_its_words() {
        assert_eq!(attempt(|| 1), Ok(1));
        assert_eq!(attempt(|| panic!("no such port")).unwrap_err().as_ref(), "no such port");
        let port = 80;
        assert_eq!(attempt(|| panic!("port {port}")).unwrap_err().as_ref(), "port 80");
    }
}
