//! What becomes of a client's answer to a response, of all types.

use std::sync::Arc;

use super::Machine;
use crate::resources::{ResourceType, View, is_in_parts};
use crate::xds::answers::{self, Refusing};
use crate::xds::client_copy::{Owed, RefusedVersion};
use crate::xds::in_flight::InFlight;
use crate::xds::parts;
use crate::xds::untold;
use crate::xds::variant::{Answer, RequestParts, Variant};
use crate::xds::words::{is_of_address, is_unbound};

impl<V: Variant> Machine<V> {
    /// Whether the client could not open the ports of some listeners.
    pub fn has_unbound(&self) -> bool {
        let listeners = &self.types[ResourceType::Listener];
        listeners.refusals().any(|(_, refused)| is_unbound(&refused.words)) || self.secrets.has_refused()
    }

    /// Offers once more the listeners of which the client could not open the port. Ask for
    /// [`responses`](Self::responses) afterwards.
    pub fn offer_unbound(&mut self) {
        self.offer_listeners(|refused| is_unbound(&refused.words));
        self.secrets.offer_refused();
    }

    /// The client's answer to a response that is on its way, if it is one.
    pub(super) fn resolve(&mut self, kind: ResourceType, parts: &RequestParts<'_>) -> Option<Answer> {
        let view = self.view.clone()?;
        if kind == ResourceType::Cluster {
            self.order.clusters_answered(&self.types, &view);
        }
        let state = &mut self.types[kind];
        let at = state.in_flight.iter().position(|flight| *flight.nonce == *parts.nonce)?;
        // Clients answer in order, so what they did not answer before this one is settled, too.
        let before: Vec<InFlight> = state.in_flight.drain(..at).collect();
        before.into_iter().for_each(|flight| answers::accept(state, flight, view.of(kind)));
        let flight = state.in_flight.pop_front()?;
        let is_own = untold::is_since(self.moved, &flight);
        state.answered = true;
        let (version, generation) = (flight.version.clone(), flight.generation);
        let said: Vec<Arc<str>> = flight.items.iter().map(|(name, _)| Arc::clone(name)).collect();
        let freed = flight.items.iter().any(|(_, sent)| sent.is_none());
        let whole = flight.whole.as_ref().map(|whole| (Arc::clone(&whole.view), whole.subscription.clone()));
        let answer = match parts.error {
            Some(error) => {
                let refusing = Refusing {
                    kind,
                    view: view.of(kind),
                    words: &error.message,
                    shared: &self.shared,
                    scope: self.scope.as_deref().filter(|_| is_own),
                    moved: self.moved.is_some(),
                    full: !V::STALE_REQUESTS_COUNT && kind.has_wildcard(),
                    update: self.updates,
                };
                let culprits = refusing.take(state, flight);
                Answer::Nack { version, message: error.message.clone(), culprits }
            }
            None => {
                answers::accept(state, flight, view.of(kind));
                Answer::Ack { version, generation }
            }
        };
        let parts_are_refused = parts.error.is_some();
        let nonce = parts.nonce.parse().unwrap_or(u64::MAX);
        match kind {
            ResourceType::Endpoint => {
                let was_said = |name: &Arc<str>| {
                    said.binary_search(name).is_ok()
                        || whole.as_ref().is_some_and(|(_, all)| all.covers(name))
                };
                self.order.endpoints_answered(&self.types[kind], nonce, was_said);
            }
            ResourceType::Cluster => {
                if let Answer::Nack { culprits, .. } = &answer {
                    culprits.iter().for_each(|culprit| self.order.cluster_refused(&culprit.name, nonce));
                }
            }
            // Its port may have been what another one could not have.
            ResourceType::Listener if freed && parts.error.is_none() => {
                self.offer_listeners(|refused| is_of_address(&refused.words));
            }
            ResourceType::Route if parts_are_refused => {
                let names = whole.iter().flat_map(|(_, all)| all.names().iter());
                self.routes_refused(said.iter().chain(names), &view);
            }
            ResourceType::Listener | ResourceType::Route | ResourceType::VirtualHost => {}
        }
        Some(answer)
    }

    fn offer_listeners(&mut self, which: impl Fn(&RefusedVersion) -> bool) {
        let state = &mut self.types[ResourceType::Listener];
        for copy in state.copies.values_mut() {
            if let Some(refused) = copy.refused.as_mut().filter(|refused| which(refused)) {
                refused.again = true;
                copy.owed = copy.owed.max(Owed::News);
                state.due.most = state.due.most.max(Owed::News);
            }
        }
    }

    /// It has refused these routes. Of those that it does not have, it has dropped the virtual hosts that came behind.
    fn routes_refused<'a>(&mut self, names: impl Iterator<Item = &'a Arc<str>>, view: &View) {
        for name in names.filter(|name| is_in_parts(name)) {
            let hosts = &self.types[ResourceType::VirtualHost];
            let is_new = self.types[ResourceType::Route].has(view.of(ResourceType::Route), name).is_nothing();
            if is_new && hosts.subscription.has_name(name) {
                parts::anew(&mut self.types[ResourceType::VirtualHost], name, self.updates);
            }
        }
    }
}
