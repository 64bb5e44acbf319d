//! What one service becomes for clients of a namespace that see it otherwise than everybody.

use std::sync::Arc;

use pilot_registry::{Hostname, Namespace, ServiceId};

use super::base::{Base, clusters_of};
use super::entrances::{Entrances, LocalEntrances, RouteKey, VirtualHosts, reuse};
use super::names;
use super::sight::Sight;
use crate::catalog::CatalogService;
use crate::resources::{Resource, ResourceType};

/// What is there beside and instead of what everybody sees of a service.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    pub(super) clusters: Vec<Arc<Resource>>,
    pub(super) listeners: Vec<Arc<Resource>>,
    pub(super) virtual_hosts: VirtualHosts,
    /// By the names that only this namespace uses.
    pub(super) local: LocalEntrances,
    pub(super) withheld: Withheld,
}

/// What everybody has of a service, and clients of the namespace do not, unless something else has the same name.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    pub(super) resources: Vec<(ResourceType, Arc<str>)>,
    pub(super) virtual_hosts: Vec<(RouteKey, Arc<str>)>,
}

impl Overlay {
    /// For a service in the eyes of a namespace. `old`: what was there.
    pub(super) fn new(
        id: &ServiceId,
        sight: &Sight,
        namespace: &Namespace,
        base: &Base,
        old: Option<&Self>,
    ) -> Self {
        let everybodys = || base.service(&id.host);
        let made = match sight {
            Sight::Hidden(entrances) => {
                let clusters = everybodys().into_iter().flat_map(cluster_names);
                let mut withheld = Withheld::of(entrances);
                withheld.resources.extend(clusters.map(|name| (ResourceType::Cluster, name)));
                Self { withheld, ..Self::default() }
            }
            Sight::Named(entrances) => {
                let local = everybodys().map(|service| {
                    LocalEntrances::new(service, &entrances.grants, namespace, &base.context())
                });
                Self { local: local.unwrap_or_default(), ..Self::default() }
            }
            Sight::Other { entrances, grants } => {
                let own = everybodys().map(|service| Self::entered(service, grants, namespace, base));
                let mut own = own.unwrap_or_default();
                own.withheld = Withheld::of(entrances);
                own.leave_out(entrances);
                own
            }
            Sight::Scoped { service, grants } => {
                let clusters = clusters_of(service, &base.context());
                Self { clusters, ..Self::entered(service, grants, namespace, base) }
            }
        };
        made.reusing(old)
    }

    fn entered(
        service: &CatalogService,
        grants: &super::claims::Grants,
        namespace: &Namespace,
        base: &Base,
    ) -> Self {
        let context = base.context();
        let local = LocalEntrances::new(service, grants, namespace, &context);
        let Entrances { listeners, virtual_hosts, .. } = Entrances::new(service, grants.clone(), &context);
        Self { listeners, virtual_hosts, local, ..Self::default() }
    }

    /// What is as everybody has it is said by the base.
    fn leave_out(&mut self, everybodys: &Entrances) {
        self.listeners.retain(|own| {
            let is_same = everybodys.listeners.contains(own);
            if is_same {
                self.withheld.resources.retain(|(_, name)| name != own.name());
            }
            !is_same
        });
        self.virtual_hosts.retain(|at, own| {
            let is_same = everybodys.virtual_hosts.get(at).is_some_and(|other| other == own);
            if is_same {
                let is_it = |(key, name): &(RouteKey, Arc<str>)| *key == at.0 && name == own.name();
                self.withheld.virtual_hosts.retain(|withheld| !is_it(withheld));
            }
            !is_same
        });
    }

    fn reusing(mut self, old: Option<&Self>) -> Self {
        if let Some(old) = old {
            reuse(&mut self.clusters, &old.clusters);
            reuse(&mut self.listeners, &old.listeners);
            super::entrances::reuse_hosts(&mut self.virtual_hosts, &old.virtual_hosts);
            self.local = self.local.reusing(Some(&old.local));
        }
        self
    }

    /// The resources that it has.
    pub(super) fn resources(&self) -> impl Iterator<Item = (ResourceType, &Arc<Resource>)> {
        let clusters = self.clusters.iter().map(|resource| (ResourceType::Cluster, resource));
        let listeners = self.listeners.iter().chain(&self.local.listeners);
        clusters.chain(listeners.map(|resource| (ResourceType::Listener, resource)))
    }
}

impl Withheld {
    fn of(entrances: &Entrances) -> Self {
        let listeners = entrances.listeners.iter().map(|it| (ResourceType::Listener, Arc::clone(it.name())));
        let hosts = entrances.virtual_hosts.iter().map(|((key, _), host)| (*key, Arc::clone(host.name())));
        Self { resources: listeners.collect(), virtual_hosts: hosts.collect() }
    }
}

fn cluster_names(service: &CatalogService) -> impl Iterator<Item = Arc<str>> {
    let host: &Hostname = service.host();
    service.ports().iter().map(|port| names::cluster(port.number, "", host).into())
}
