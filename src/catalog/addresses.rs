//! Which services have an endpoint at an address.
//!
//! ```text
//!  address ── hash ──► shard: (address, id), in order ──► ids ──► services
//! ```
//!
//! A catalog shares all unchanged shards with the one before it, so a change costs only what it touches. Of 5,000
//! services with 20 endpoints each, a shard holds about a hundred entries of 64 bytes, and a change of an endpoint
//! takes less than 0.1 ms, also without optimisation.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use pilot_registry::{Address, ServiceId};
use xxhash_rust::xxh3::xxh3_64;

use super::service::CatalogService;

const SHARDS: usize = 1024;

type Shard = Vec<(IpAddr, ServiceId)>;

/// The services that have an endpoint at an address, by canonical address. Loopback is everybody's, and
/// nobody's in particular: it is not here.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Addresses(Arc<[Arc<Shard>]>);

impl Default for Addresses {
    fn default() -> Self {
        let empty = Arc::new(Shard::new());
        Self((0..SHARDS).map(|_| Arc::clone(&empty)).collect())
    }
}

impl Addresses {
    /// A service came, changed or went. Costs what differs, and the shards that this is in.
    pub(super) fn replace(&mut self, old: Option<&CatalogService>, new: Option<&CatalogService>) {
        let [before, after] = [old, new].map(|service| service.map(of).unwrap_or_default());
        if let Some(old) = old {
            before.difference(&after).for_each(|address| self.remove(*address, old.id()));
        }
        if let Some(new) = new {
            after.difference(&before).for_each(|address| self.add(*address, new.id()));
        }
    }

    /// The services that have an endpoint at a canonical address, in order.
    pub(super) fn services(&self, address: IpAddr) -> impl Iterator<Item = &ServiceId> {
        let shard = &self.0[shard_of(address)];
        let first = shard.partition_point(|(known, _)| *known < address);
        shard[first..].iter().take_while(move |(known, _)| *known == address).map(|(_, id)| id)
    }

    fn add(&mut self, address: IpAddr, id: &ServiceId) {
        let entry = (address, id.clone());
        let shard = self.shard(address);
        if let Err(at) = shard.binary_search(&entry) {
            shard.insert(at, entry);
        }
    }

    fn remove(&mut self, address: IpAddr, id: &ServiceId) {
        let shard = self.shard(address);
        if let Ok(at) = shard.binary_search_by(|(known, of)| (known, of).cmp(&(&address, id))) {
            shard.remove(at);
        }
    }

    fn shard(&mut self, address: IpAddr) -> &mut Shard {
        Arc::make_mut(&mut Arc::make_mut(&mut self.0)[shard_of(address)])
    }
}

/// Where an address is in all catalogs of all pilots: equal catalogs are to be equal.
fn shard_of(address: IpAddr) -> usize {
    let hash = match address {
        IpAddr::V4(ip) => xxh3_64(&ip.octets()),
        IpAddr::V6(ip) => xxh3_64(&ip.octets()),
    };
    (hash % SHARDS as u64) as usize
}

fn of(service: &CatalogService) -> BTreeSet<IpAddr> {
    service.endpoints().filter_map(|(_, endpoint)| ip(&endpoint.address)).collect()
}

/// The canonical address under which it is indexed; `None` = it is not.
pub(super) fn ip(address: &Address) -> Option<IpAddr> {
    match address {
        Address::Ip(ip) => Some(ip.to_canonical()).filter(|ip| !ip.is_loopback()),
        Address::Unix(_) | Address::Dns(_) => None,
    }
}
