//! The listeners that TLS services share.

use std::net::SocketAddr;

use super::{Base, Work};
use crate::resources::{Resource, ResourceType};
use crate::translate::names;
use crate::translate::shared_tls::{self, TlsEntrances};

impl Base {
    /// Puts the listeners together in which something changed.
    pub(super) fn update_tls(&mut self, work: &mut Work) {
        for at in std::mem::take(&mut work.tls) {
            let made = self.tls_listener(at, &self.tls_at(at));
            match made {
                Some(made) => self.put(ResourceType::Listener, made, work),
                None => {
                    self.tls.remove(&at);
                    self.drop_unless_taken(ResourceType::Listener, &names::listener(at), work);
                }
            }
        }
    }

    /// What services add to the listener there.
    pub(in crate::translate) fn tls_at(&self, at: SocketAddr) -> TlsEntrances {
        self.tls.get(&at).cloned().unwrap_or_default()
    }

    /// The listener there.
    pub(in crate::translate) fn tls_listener(
        &self,
        at: SocketAddr,
        entrances: &TlsEntrances,
    ) -> Option<Resource> {
        shared_tls::listener(at, entrances, &self.options.traffic)
    }
}
