//! The addresses at which endpoints listen. A listener at such an address would connect to itself without
//! end, or keep the endpoint from binding its port. Who sees the endpoint's service does not matter: its port is taken.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use imbl::OrdSet;
use pilot_registry::{Port, Protocol, ServiceId};

use super::conflict::Claim;
use super::reachable::{fits, listeners_at};
use crate::catalog::CatalogService;

/// The sockets of all endpoints of a mesh.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets(OrdSet<Socket>);

/// A listener's address at which an endpoint of a service's port listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Socket {
    udp: bool,
    at: SocketAddr,
    /// `None` only to look for the first.
    holder: Option<(ServiceId, Port)>,
}

impl Sockets {
    /// Replaces the sockets of a service's endpoints. Gives the listeners that may be affected: none, if
    /// the endpoints did not change.
    pub(super) fn replace(
        &mut self,
        old: Option<&CatalogService>,
        new: Option<&CatalogService>,
    ) -> BTreeSet<Claim> {
        let old = old.map(sockets).unwrap_or_default();
        let new = new.map(sockets).unwrap_or_default();
        let mut touched = BTreeSet::new();
        for gone in old.difference(&new) {
            self.0.remove(gone);
            touched.insert(gone.listener());
        }
        for come in new.difference(&old) {
            touched.insert(come.listener());
            self.0.insert(come.clone());
        }
        touched
    }

    /// The first port of a service of which an endpoint listens where the listener would be.
    pub(super) fn holder(&self, claim: &Claim) -> Option<&(ServiceId, Port)> {
        let (udp, at) = match claim {
            Claim::Listener(at) => (false, *at),
            Claim::UdpListener(at) => (true, *at),
            _ => return None,
        };
        let first = self.0.range(Socket { udp, at, holder: None }..).next()?;
        first.holder.as_ref().filter(|_| first.udp == udp && first.at == at)
    }
}

impl Socket {
    fn listener(&self) -> Claim {
        if self.udp { Claim::UdpListener(self.at) } else { Claim::Listener(self.at) }
    }
}

fn sockets(service: &CatalogService) -> BTreeSet<Socket> {
    let mut sockets = BTreeSet::new();
    for port in service.ports() {
        for (_, endpoint) in service.endpoints().filter(|(_, endpoint)| fits(service, endpoint)) {
            let Some(own) = endpoint.ports.get(&port.number) else { continue };
            let holder = Some((service.id().clone(), port.number));
            let socket = |at| Socket { udp: port.protocol == Protocol::Udp, at, holder: holder.clone() };
            sockets.extend(listeners_at(&endpoint.address, *own).map(socket));
        }
    }
    sockets
}
