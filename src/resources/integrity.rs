//! Checks that no resource names another one that is not in the view, but for what documents of users name.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Origin, ResourceType, View};

/// A reference to a resource that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dangling {
    /// The type of the resource that names the missing one.
    pub from_type: ResourceType,
    /// The resource that names the missing one.
    pub from: Arc<str>,
    /// The missing resource's type.
    pub to_type: ResourceType,
    /// The missing resource.
    pub to: Arc<str>,
}

/// Every reference of the view that leads nowhere, in order. Where documents lead, nothing need be there.
pub fn dangling(view: &View) -> Vec<Dangling> {
    let mut found = Vec::new();
    for from_type in ResourceType::ALL {
        for resource in view.of(from_type).iter() {
            if matches!(resource.origin(), Origin::Document(..)) {
                continue;
            }
            let hosts = resource.rope().into_iter().flat_map(|rope| rope.virtual_hosts());
            let by_documents = hosts.filter(|host| matches!(host.origin(), Origin::Document(..)));
            let may_be_gone: BTreeSet<_> = by_documents.flat_map(|host| host.clusters()).collect();
            for (to_type, to) in resource.references().filter(|(_, to)| !may_be_gone.contains(to)) {
                if view.of(to_type).get(to).is_none() {
                    let (from, to) = (Arc::clone(resource.name()), Arc::clone(to));
                    found.push(Dangling { from_type, from, to_type, to });
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}
