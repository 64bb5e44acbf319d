//! Finds the addresses at which registries describe the workload otherwise than before.
//!
//! ```text
//!  services that differ by pointer ──► endpoints that differ ──► addresses ──► facts before != facts now
//! ```
//!
//! Of proxies at all other addresses, registries say what they said before. So nobody looks at these.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::net::IpAddr;

use pilot_registry::{Endpoint, Service};

use super::addresses::ip;
use super::changes::{ServiceChange, changes};
use super::lookup::Catalog;
use super::part::Part;
use super::service::CatalogService;
use super::workload::Workload;

impl Catalog {
    /// The addresses, canonical, of which [`workload`](Self::workload) has other [facts](Workload::facts) than
    /// before. Costs what differs: of a service of which one endpoint changed, one address is looked at. Where
    /// a service changed its namespace, or is known by other registries, all of its addresses are.
    pub fn moved(&self, before: &Self) -> BTreeSet<IpAddr> {
        let mut addresses = BTreeSet::new();
        for change in changes(before.shared_services(), self.shared_services()) {
            add_touched(&change, &mut addresses);
        }
        addresses.retain(|address| facts(self, *address) != facts(before, *address));
        addresses
    }
}

fn facts(catalog: &Catalog, address: IpAddr) -> Option<super::Facts<'_>> {
    catalog.workload(address).as_ref().map(Workload::facts)
}

/// Adds the addresses at which the change may matter.
fn add_touched(ServiceChange { old, new }: &ServiceChange, addresses: &mut BTreeSet<IpAddr>) {
    if let (Some(old), Some(new)) = (old, new)
        && old.parts().len() == new.parts().len()
        && old.parts().iter().zip(new.parts()).all(|(old, new)| are_alike(old, new))
    {
        for (old, new) in old.parts().iter().zip(new.parts()) {
            add_differing(&old.service, &new.service, addresses);
        }
        return;
    }
    let all = |service: &CatalogService| -> Vec<IpAddr> {
        service.endpoints().filter_map(|(_, endpoint)| ip(&endpoint.address)).collect()
    };
    for service in [old, new].into_iter().flatten() {
        addresses.extend(all(service));
    }
}

/// Whether what a registry says of the service as a whole is the same for the workloads behind it.
fn are_alike(old: &Part, new: &Part) -> bool {
    let facts = |part: &Part| (part.service.namespace.clone(), part.service.local_names.is_empty());
    old.registry == new.registry && old.priority == new.priority && facts(old) == facts(new)
}

/// Adds the addresses of the endpoints that only one of the two has, or of which they say different things.
/// Endpoints are ordered by address and ports.
fn add_differing(old: &Service, new: &Service, addresses: &mut BTreeSet<IpAddr>) {
    let (mut old, mut new) = (old.endpoints.iter().peekable(), new.endpoints.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => (&old.address, &old.ports).cmp(&(&new.address, &new.ports)),
        };
        let was = old.next_if(|_| order != Ordering::Greater);
        let is = new.next_if(|_| order != Ordering::Less);
        if !matches!((was, is), (Some(was), Some(is)) if say_the_same(was, is)) {
            addresses.extend(was.or(is).and_then(|endpoint| ip(&endpoint.address)));
        }
    }
}

/// Whether two endpoints at one place say the same of their workload: health and weight say nothing of it.
fn say_the_same(old: &Endpoint, new: &Endpoint) -> bool {
    old.locality == new.locality && old.labels == new.labels && old.identity == new.identity
}
