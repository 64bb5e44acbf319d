//! What clients of namespaces see otherwise than everybody.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use pilot_registry::{Hostname, Namespace, ServiceId};

use super::{Base, Fragment};
use crate::catalog::{CatalogService, visible};
use crate::proxy::Viewpoint;
use crate::resources::ResourceType;
use crate::translate::claims::Affected;
use crate::translate::rules::{self, Ruled};
use crate::translate::sight::{Seen, Sight, Sights};

impl Base {
    /// What these clients see otherwise than everybody.
    pub(in crate::translate) fn sights(&self, viewpoint: &Viewpoint) -> Sights {
        let of_namespace = |namespace| self.sights.get(namespace).cloned();
        let mut sights = viewpoint.namespace.as_ref().and_then(of_namespace).unwrap_or_default();
        if !viewpoint.labels.is_empty() {
            for host in &self.labelled {
                let id = ServiceId::of_all(host.clone());
                match self.seen(viewpoint, &id) {
                    Some(seen) => _ = sights.insert(id, seen),
                    None => _ = sights.remove(&id),
                }
            }
        }
        sights
    }

    /// The namespaces that see otherwise what they did in the base before; `None` = all may, because routes differ.
    pub(in crate::translate) fn seen_otherwise_since(&self, before: &Self) -> Option<BTreeSet<Namespace>> {
        let [routes, old] = [self, before].map(|base| &base.layer.sets[ResourceType::Route]);
        if !Arc::ptr_eq(&self.layer, &before.layer) && routes.differing(old).next().is_some() {
            return None;
        }
        let namespace = |item: DiffItem<'_, '_, Namespace, _>| match item {
            DiffItem::Add(it, _) | DiffItem::Remove(it, _) | DiffItem::Update { old: (it, _), .. } => {
                it.clone()
            }
        };
        Some(before.sights.diff(&self.sights).map(namespace).collect())
    }

    /// Whether rules that ask for labels of proxies may say something else than in the base before.
    pub(in crate::translate) fn labelled_differ_since(&self, before: &Self) -> bool {
        let generation = |base: &Self, host| base.fragments.get(host).map(|fragment| fragment.generation);
        !self.labelled.ptr_eq(&before.labelled)
            || self.labelled.iter().any(|host| generation(self, host) != generation(before, host))
    }

    /// Where a service of a host is seen that may not be seen any more, or no other in its place.
    pub(super) fn note_group(
        &self,
        before: &[Arc<CatalogService>],
        now: &[Arc<CatalogService>],
        affected: &mut Affected,
    ) {
        let all = || before.iter().chain(now);
        let namespaces: BTreeSet<&Namespace> =
            all().filter_map(|service| service.visibility().namespaces()).flatten().collect();
        for namespace in namespaces {
            let ids = all().map(|service| service.id().clone());
            affected.special.entry(namespace.clone()).or_default().extend(ids);
        }
    }

    /// The namespaces that may see otherwise what everybody sees otherwise now.
    pub(super) fn note_viewers(
        &self,
        host: &Hostname,
        old: Option<&Fragment>,
        new: Option<&Fragment>,
        affected: &mut Affected,
    ) {
        let [before, now] = [old, new].map(|fragment| fragment.map(|fragment| &fragment.entrances));
        let is_ruled = old.into_iter().chain(new).any(|fragment| fragment.is_named);
        if before.map(Arc::as_ptr) == now.map(Arc::as_ptr) && !is_ruled {
            return;
        }
        let mut namespaces: BTreeSet<Namespace> = BTreeSet::new();
        for Fragment { service, entrances, viewers, .. } in old.into_iter().chain(new) {
            namespaces.extend(viewers.iter().cloned());
            namespaces.extend(entrances.grants.local_names.keys().cloned());
            namespaces.extend(self.ledger.differing(service, &self.options));
        }
        // Who sees another service of the host does not have the subsets of this one.
        let others = self.scoped.get(host).into_iter().flat_map(|scoped| scoped.iter());
        let seeing = others.filter(|_| is_ruled).filter_map(|it| it.service.visibility().namespaces());
        namespaces.extend(seeing.flatten().cloned());
        for namespace in namespaces {
            affected.special.entry(namespace).or_default().insert(ServiceId::of_all(host.clone()));
        }
    }

    /// Finds out anew what clients of namespaces see.
    pub(super) fn update_sights(&mut self, affected: Affected) {
        for (namespace, services) in affected.special {
            let viewpoint = Viewpoint { namespace: Some(namespace.clone()), ..Viewpoint::default() };
            let mut sights = self.sights(&viewpoint);
            for id in services {
                match self.seen(&viewpoint, &id) {
                    Some(seen) if sights.get(&id) == Some(&seen) => {}
                    Some(seen) => _ = sights.insert(id, seen),
                    None => _ = sights.remove(&id),
                }
            }
            match sights.is_empty() {
                true => _ = self.sights.remove(&namespace),
                false => _ = self.sights.insert(namespace, sights),
            }
        }
    }

    /// The same, as rules are now.
    fn seen(&self, viewpoint: &Viewpoint, id: &ServiceId) -> Option<Seen> {
        let sight = self.sight(viewpoint, id)?;
        let ruled = match self.fragments.get(&id.host).filter(|_| id.owner.is_none()) {
            Some(fragment) if fragment.is_named => fragment.generation,
            Some(_) => 0,
            None => {
                let service = self.of_host(&id.host).into_iter().find(|service| service.id() == id)?;
                if rules::is_named(&self.mesh, &service) { self.generation } else { 0 }
            }
        };
        Some(Seen { sight, ruled })
    }

    /// Whether rules say something else of a service to these clients.
    fn is_ruled_otherwise(&self, fragment: &Fragment, viewpoint: &Viewpoint) -> bool {
        let Fragment { service, ruled: everybodys, viewers, .. } = fragment;
        // The namespaces of `note_viewers`: no others are looked at each time.
        let is_viewer = |namespace: &Namespace| viewers.contains(namespace);
        if viewpoint.labels.is_empty() && !viewpoint.namespace.as_ref().is_some_and(is_viewer) {
            return false;
        }
        let viewer = self.seen_from(viewpoint).viewer;
        let own = Ruled::of(&self.mesh, service, viewer);
        !own.has_the_policies_of(everybodys)
            || !own.has_the_routes_of(everybodys, viewer)
            || rules::leads_otherwise(&self.mesh, &own.routes, viewer)
    }

    /// What these clients see of a service; `None` = what everybody sees.
    fn sight(&self, viewpoint: &Viewpoint, id: &ServiceId) -> Option<Sight> {
        let namespace = viewpoint.namespace.as_ref();
        let of_host = self.of_host(&id.host);
        let service = of_host.iter().find(|service| service.id() == id)?;
        let seen = visible(&of_host, namespace);
        let is_seen = seen.is_some_and(|seen| Arc::ptr_eq(seen, service));
        let grants = || self.ledger.grants(service, namespace, &self.options);
        if id.owner.is_some() {
            return is_seen.then(|| Sight::Scoped { service: Arc::clone(service), grants: grants().into() });
        }
        let fragment = self.fragments.get(&id.host)?;
        let everybodys = &fragment.entrances;
        let entrances = Arc::clone(everybodys);
        if !is_seen {
            return Some(Sight::Hidden(entrances));
        }
        let grants = grants();
        let is_same = grants.names == everybodys.grants.names
            && grants.ports == everybodys.grants.ports
            && !self.is_ruled_otherwise(fragment, viewpoint);
        match is_same {
            true if grants.local_names.is_empty() || namespace.is_none() => None,
            true => Some(Sight::Named(entrances)),
            false => Some(Sight::Other { entrances, grants: grants.into() }),
        }
    }
}
