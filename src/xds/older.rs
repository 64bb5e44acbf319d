//! Versions from before a refusal, for clients that are spared the refused one.
//!
//! What an older version names may be gone by now. So it is kept beside it, and is there again with it; where some of it
//! is not known, the older version is not used.

use std::sync::Arc;

use super::rejections::{Key, Rejection};
use crate::resources::{PerType, Resource, ResourceType, Rope, TypeSet, View, VirtualHost};

/// How many resources are kept beside an older version at most.
const NEEDS_MAX: usize = 64;

/// What clients had of a resource, or of a virtual host, before they refused a newer version.
#[derive(Debug)]
pub struct Older {
    /// The version that they refused.
    refused: Key,
    last: Last,
    /// What the older version leads to.
    needs: Vec<(ResourceType, Arc<Resource>)>,
}

#[derive(Debug)]
enum Last {
    Resource(Arc<Resource>),
    Host(Arc<VirtualHost>),
}

impl Older {
    /// What a client has instead of a version that it refuses. `has`: what it has of any name. `None` = nothing.
    pub fn of(
        rejection: &Rejection,
        has: impl Fn(ResourceType, &str) -> Option<Arc<Resource>>,
    ) -> Option<Self> {
        let whole = has(rejection.kind, &rejection.name)?;
        let (last, named) = match &rejection.host {
            Some(host) => {
                let host = Arc::clone(whole.rope()?.get(host).filter(|host| host.is_known())?);
                let named = host.clusters().map(|name| (ResourceType::Cluster, Arc::clone(name))).collect();
                (Last::Host(host), named)
            }
            None => (Last::Resource(Arc::clone(&whole)), references(&whole)),
        };
        let mut needs: Vec<(ResourceType, Arc<Resource>)> = Vec::new();
        let mut named: Vec<(ResourceType, Arc<str>)> = named;
        while let Some((kind, name)) = named.pop().filter(|_| needs.len() < NEEDS_MAX) {
            let is_known = needs.iter().any(|(known, it)| *known == kind && *it.name() == name);
            if let Some(needed) = has(kind, &name).filter(|_| !is_known) {
                named.extend(references(&needed));
                needs.push((kind, needed));
            }
        }
        Some(Self { refused: rejection.key(), last, needs })
    }

    /// The version that is refused.
    pub fn refused(&self) -> &Key {
        &self.refused
    }

    /// The older version in the place of the refused one, with what it leads to. `there`: what a client of this view
    /// is told else. Nothing where there is another version by now, and where it would lead to what is not there.
    fn instead(&self, view: &View, there: &PerType<TypeSet>) -> Option<Vec<(ResourceType, Arc<Resource>)>> {
        let get = |kind: ResourceType, name: &str| there[kind].get(name).or_else(|| view.of(kind).get(name));
        let Key { kind, name, .. } = &self.refused;
        let now = get(*kind, name).filter(|now| self.refused.is_version_of(now))?;
        let (resource, mut named) = match &self.last {
            Last::Resource(resource) => (Arc::clone(resource), references(resource)),
            Last::Host(host) => {
                let mut rope = now.rope().filter(|rope| is_free(rope, host))?.clone();
                rope.insert(Arc::clone(host));
                let whole = Resource::from_rope(Arc::clone(name), rope, now.origin().clone());
                let named = host.clusters().map(|name| (ResourceType::Cluster, Arc::clone(name))).collect();
                (Arc::new(whole), named)
            }
        };
        let mut found = vec![(*kind, resource)];
        while let Some((kind, name)) = named.pop() {
            let is = |(of, it): &&(ResourceType, Arc<Resource>)| *of == kind && *it.name() == name;
            if get(kind, &name).is_some() || found.iter().any(|it| is(&it)) {
                continue;
            }
            let (_, needed) = self.needs.iter().find(is)?;
            named.extend(references(needed));
            found.push((kind, Arc::clone(needed)));
        }
        Some(found)
    }
}

/// The view with older versions where it has refused ones, and which of them that are. `share` finds equal resources
/// of other streams.
pub fn over(
    view: &Arc<View>,
    older: &[Arc<Older>],
    share: impl Fn(Arc<Resource>) -> Arc<Resource>,
) -> (Arc<View>, Vec<Arc<Older>>) {
    let (mut sets, mut in_force) = (PerType::<TypeSet>::default(), Vec::new());
    for older in older {
        let Some(found) = older.instead(view, &sets) else { continue };
        found.into_iter().for_each(|(kind, resource)| sets[kind].insert(resource));
        in_force.push(Arc::clone(older));
    }
    if in_force.is_empty() {
        return (Arc::clone(view), in_force);
    }
    let shared = |set: &TypeSet| TypeSet::new(set.iter().map(|it| share(Arc::clone(it))));
    (view.under(PerType::of(|kind| shared(&sets[kind]))), in_force)
}

/// Whether no other virtual host has a domain of this one: Envoy would refuse them all.
fn is_free(rope: &Rope, host: &VirtualHost) -> bool {
    let now = rope.get(host.name());
    let has_now = |domain: &str| now.is_some_and(|now| now.domains().any(|own| own == domain));
    let gained: Vec<&str> = host.domains().filter(|domain| !has_now(domain)).collect();
    let others = || rope.virtual_hosts().filter(|other| other.name() != host.name());
    gained.is_empty() || !others().any(|other| other.domains().any(|domain| gained.contains(&domain)))
}

fn references(resource: &Resource) -> Vec<(ResourceType, Arc<str>)> {
    resource.references().map(|(kind, name)| (kind, Arc::clone(name))).collect()
}

#[cfg(test)]
mod tests {
    use pilot_envoy_api::envoy::config::route::v3 as route;

    use super::*;
    use crate::resources::Origin;

    fn host(name: &str, domains: &[&str]) -> Arc<VirtualHost> {
        let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
        let message = route::VirtualHost { name: name.to_owned(), domains, ..Default::default() };
        Arc::new(VirtualHost::new(&message, Vec::new(), Origin::Shared))
    }

    #[test]
    fn an_older_virtual_host_takes_no_domain_from_another() {
        let mut rope = Rope::new(&route::RouteConfiguration::default());
        rope.insert(host("x", &["x", "x.local"]));
        rope.insert(host("y", &["y", "moved"]));
        assert!(is_free(&rope, &host("x", &["x"])));
        assert!(is_free(&rope, &host("x", &["x", "free"])));
        assert!(!is_free(&rope, &host("x", &["x", "moved"])));
    }
}
