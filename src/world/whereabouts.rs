//! Wakes the streams of proxies that may belong to another scope now: of proxies at addresses of which registries
//! say something else, or of all proxies when places or namespaces came or went.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::signal::{Signal, Waiters};
use crate::catalog::Catalog;

/// Those who wait to be told.
#[derive(Default)]
pub(super) struct Whereabouts {
    everybody: Waiters,
    addresses: Mutex<Addresses>,
}

#[derive(Default)]
struct Addresses {
    known: HashMap<IpAddr, Weak<Waiters>>,
    /// How many entries are looked through when some may be dead.
    max: usize,
}

/// Held by who is to be told of one address.
pub(super) type Whereabout = Option<Arc<Waiters>>;

impl Whereabouts {
    /// Sets the signal when the proxy at that address may belong to another scope, for as long as what this gives is
    /// held.
    pub(super) fn follow(&self, address: Option<IpAddr>, signal: &Arc<Signal>) -> Whereabout {
        self.everybody.add(signal);
        let own = address.map(|address| self.addresses.lock().get(address));
        own.inspect(|own| own.add(signal))
    }

    /// Tells everybody that they may belong to another scope.
    pub(super) fn tell_everybody(&self) {
        self.everybody.set();
    }

    /// Tells those whom the change from one catalog to the next concerns. Costs what differs.
    pub(super) fn tell(&self, before: &Catalog, now: &Catalog) {
        if !now.knows_the_places_of(before) || !now.has_the_namespaces_of(before) {
            self.everybody.set();
        } else {
            self.addresses.lock().tell(&now.moved(before));
        }
    }
}

impl Addresses {
    fn get(&mut self, address: IpAddr) -> Arc<Waiters> {
        if let Some(known) = self.known.get(&address).and_then(Weak::upgrade) {
            return known;
        }
        if self.known.len() >= self.max {
            self.known.retain(|_, waiters| waiters.strong_count() > 0);
            self.max = 16.max(self.known.len() * 2);
        }
        let waiters = Arc::new(Waiters::default());
        self.known.insert(address, Arc::downgrade(&waiters));
        waiters
    }

    fn tell(&self, moved: &BTreeSet<IpAddr>) {
        let waiters = moved.iter().filter_map(|address| self.known.get(address)?.upgrade());
        waiters.for_each(|waiters| waiters.set());
    }
}
