//! Wakes the streams of proxies that may belong to another scope now: of proxies at addresses of which registries
//! say something else, or of all proxies when places or namespaces came or went.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::catalog::Catalog;

type Count = watch::Sender<u64>;

/// Those who wait to be told.
#[derive(Default)]
pub(super) struct Whereabouts {
    everybody: Count,
    addresses: Mutex<Addresses>,
}

#[derive(Default)]
struct Addresses {
    known: HashMap<IpAddr, Weak<Count>>,
    /// How many entries are looked through when some may be dead.
    max: usize,
}

/// What one stream waits for.
pub(super) struct Whereabout {
    everybody: watch::Receiver<u64>,
    own: Option<(watch::Receiver<u64>, Arc<Count>)>,
}

impl Whereabouts {
    /// For a proxy at that address.
    pub(super) fn of(&self, address: Option<IpAddr>) -> Whereabout {
        let own = address.map(|address| {
            let count = self.addresses.lock().get(address);
            (count.subscribe(), count)
        });
        Whereabout { everybody: self.everybody.subscribe(), own }
    }

    /// Tells those whom the change from one catalog to the next concerns. Costs what differs.
    pub(super) fn tell(&self, before: &Catalog, now: &Catalog) {
        if !now.knows_the_places_of(before) || !now.has_the_namespaces_of(before) {
            self.everybody.send_modify(|count| *count += 1);
        } else {
            self.addresses.lock().tell(&now.moved(before));
        }
    }
}

impl Addresses {
    fn get(&mut self, address: IpAddr) -> Arc<Count> {
        if let Some(known) = self.known.get(&address).and_then(Weak::upgrade) {
            return known;
        }
        if self.known.len() >= self.max {
            self.known.retain(|_, count| count.strong_count() > 0);
            self.max = 16.max(self.known.len() * 2);
        }
        let count = Arc::new(Count::default());
        self.known.insert(address, Arc::downgrade(&count));
        count
    }

    fn tell(&self, moved: &BTreeSet<IpAddr>) {
        for count in moved.iter().filter_map(|address| self.known.get(address)?.upgrade()) {
            count.send_modify(|count| *count += 1);
        }
    }
}

impl Whereabout {
    /// Waits until the proxy may belong to another scope.
    pub(super) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        match &mut self.own {
            None => self.everybody.changed().await,
            Some((own, _)) => tokio::select! {
                changed = self.everybody.changed() => changed,
                changed = own.changed() => changed,
            },
        }
    }

    pub(super) fn mark_seen(&mut self) {
        self.everybody.borrow_and_update();
        if let Some((own, _)) = &mut self.own {
            own.borrow_and_update();
        }
    }

    pub(super) fn mark_changed(&mut self) {
        self.everybody.mark_changed();
    }
}
