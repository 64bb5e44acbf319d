//! What one service becomes for clients of a namespace that see it otherwise than everybody.

use std::net::SocketAddr;
use std::sync::Arc;

use pilot_registry::ServiceId;

use super::base::{Base, clusters_of};
use super::entrances::{Entrances, LocalEntrances, RouteKey, VirtualHostsByRoute, reuse, reuse_values};
use super::shared_tls::TlsByAddress;
use super::sight::{Seen, Sight};
use crate::catalog::CatalogService;
use crate::proxy::Viewpoint;
use crate::resources::{Resource, ResourceType};

/// What is there beside and instead of what everybody sees of a service.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    pub(super) clusters: Vec<Arc<Resource>>,
    pub(super) listeners: Vec<Arc<Resource>>,
    pub(super) tls: TlsByAddress,
    pub(super) virtual_hosts: VirtualHostsByRoute,
    /// By the names that only this namespace uses.
    pub(super) local: LocalEntrances,
    pub(super) hidden: HiddenNames,
}

/// What everybody has of a service, and clients of the namespace do not, unless something else has the same name.
#[derive(Debug, Default)]
pub(super) struct HiddenNames {
    pub(super) resources: Vec<(ResourceType, Arc<str>)>,
    pub(super) virtual_hosts: Vec<(RouteKey, Arc<str>)>,
    /// The listeners in which the service's TLS ports are.
    pub(super) tls: Vec<SocketAddr>,
}

impl Overlay {
    /// For a service in the eyes of a namespace. `old`: what was there.
    pub(super) fn new(
        id: &ServiceId,
        seen: &Seen,
        viewpoint: &Viewpoint,
        base: &Base,
        old: Option<&Self>,
    ) -> Self {
        let everybodys = || base.service(&id.host);
        let made = match &seen.sight {
            Sight::Hidden(entrances) => {
                let mut hidden = HiddenNames::of(entrances);
                hidden.clusters(base.clusters(&id.host));
                Self { hidden, ..Self::default() }
            }
            Sight::Named(entrances) => {
                let local = everybodys().zip(viewpoint.namespace.as_ref()).map(|(service, namespace)| {
                    LocalEntrances::new(service, &entrances.grants, namespace, &base.seen_from(viewpoint))
                });
                Self { local: local.unwrap_or_default(), ..Self::default() }
            }
            Sight::Other { entrances, grants } => {
                let own = everybodys().map(|service| Self::entered(service, grants, viewpoint, base));
                let mut own = own.unwrap_or_default();
                own.hidden = HiddenNames::of(entrances);
                own.leave_out(entrances);
                if seen.ruled > 0 {
                    let all = base.clusters(&id.host);
                    let clusters = everybodys().map(|it| clusters_of(it, &base.seen_from(viewpoint)));
                    own.clusters = clusters.unwrap_or_default();
                    // A subset that only everybody has is not there.
                    let has = |name| own.clusters.iter().any(|own| own.name() == name);
                    own.hidden.clusters(all.iter().filter(|it| !has(it.name())));
                    // Those that are the same say nothing new.
                    own.clusters.retain(|own| !all.contains(own));
                }
                own
            }
            Sight::Scoped { service, grants } => {
                let clusters = clusters_of(service, &base.seen_from(viewpoint));
                Self { clusters, ..Self::entered(service, grants, viewpoint, base) }
            }
        };
        made.reusing(old)
    }

    fn entered(
        service: &CatalogService,
        grants: &super::claims::Grants,
        viewpoint: &Viewpoint,
        base: &Base,
    ) -> Self {
        let context = base.seen_from(viewpoint);
        let namespace = viewpoint.namespace.as_ref();
        let local = namespace.map(|namespace| LocalEntrances::new(service, grants, namespace, &context));
        let local = local.unwrap_or_default();
        let Entrances { listeners, tls, virtual_hosts, .. } =
            Entrances::new(service, grants.clone(), &context);
        Self { listeners, tls, virtual_hosts, local, ..Self::default() }
    }

    /// What is as everybody has it is said by the base.
    fn leave_out(&mut self, everybodys: &Entrances) {
        self.listeners.retain(|own| {
            let is_same = everybodys.listeners.contains(own);
            if is_same {
                self.hidden.resources.retain(|(_, name)| name != own.name());
            }
            !is_same
        });
        self.tls.retain(|at, own| {
            let is_same = everybodys.tls.get(at).is_some_and(|other| other == own);
            if is_same {
                self.hidden.tls.retain(|hidden| hidden != at);
            }
            !is_same
        });
        self.virtual_hosts.retain(|at, own| {
            let is_same = everybodys.virtual_hosts.get(at).is_some_and(|other| other == own);
            if is_same {
                let is_it = |(key, name): &(RouteKey, Arc<str>)| *key == at.0 && name == own.name();
                self.hidden.virtual_hosts.retain(|hidden| !is_it(hidden));
            }
            !is_same
        });
    }

    fn reusing(mut self, old: Option<&Self>) -> Self {
        if let Some(old) = old {
            reuse(&mut self.clusters, &old.clusters);
            reuse(&mut self.listeners, &old.listeners);
            reuse_values(&mut self.tls, &old.tls);
            reuse_values(&mut self.virtual_hosts, &old.virtual_hosts);
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

impl HiddenNames {
    fn of(entrances: &Entrances) -> Self {
        let listeners = entrances.listeners.iter().map(|it| (ResourceType::Listener, Arc::clone(it.name())));
        let hosts = entrances.virtual_hosts.iter().map(|((key, _), host)| (*key, Arc::clone(host.name())));
        let tls = entrances.tls.keys().copied().collect();
        Self { resources: listeners.collect(), virtual_hosts: hosts.collect(), tls }
    }

    fn clusters<'a>(&mut self, all: impl IntoIterator<Item = &'a Arc<Resource>>) {
        let names = all.into_iter().map(|cluster| (ResourceType::Cluster, Arc::clone(cluster.name())));
        self.resources.extend(names);
    }
}
