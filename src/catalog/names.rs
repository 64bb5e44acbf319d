//! The names by which services are called: hosts, aliases, and names that only clients of a namespace use.

use imbl::OrdSet;
use pilot_registry::{Hostname, ServiceId};

use super::service::CatalogService;

/// Each name with each service that is called so.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NameIndex(OrdSet<(Hostname, ServiceId)>);

impl NameIndex {
    /// A service came, went, or changed. Most changes are of endpoints, and cost nothing here.
    pub(super) fn replace(&mut self, old: Option<&CatalogService>, new: Option<&CatalogService>) {
        let is_same = old.zip(new).is_some_and(|(old, new)| {
            old.id() == new.id() && old.aliases() == new.aliases() && old.local_names() == new.local_names()
        });
        if is_same {
            return;
        }
        for key in old.into_iter().flat_map(of) {
            self.0.remove(&key);
        }
        self.0.extend(new.into_iter().flat_map(of));
    }

    /// The services that somebody calls so.
    pub(super) fn called(&self, name: &Hostname) -> impl Iterator<Item = &ServiceId> {
        let from = (name.clone(), ServiceId::of_all(name.clone()));
        // A service's own host is any: the range begins with the name's first one.
        let first = self.0.range(..from.clone()).rev().take_while({
            let name = name.clone();
            move |(other, _)| *other == name
        });
        let rest = self.0.range(from..).take_while({
            let name = name.clone();
            move |(other, _)| *other == name
        });
        first.chain(rest).map(|(_, id)| id)
    }
}

fn of(service: &CatalogService) -> impl Iterator<Item = (Hostname, ServiceId)> {
    let local = service.local_names().iter().map(|(_, name)| name);
    let names = [service.host()].into_iter().chain(service.aliases()).chain(local);
    names.map(|name| (name.clone(), service.id().clone()))
}
