//! What a response says of routes that a client takes in parts: virtual hosts, one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::composed::Composed;
use super::type_state::TypeState;
use crate::resources::{VirtualHost, part_name};

/// Puts what a response holds of routes into single virtual hosts: what the client does not have, or may not have, and
/// the names of those that are gone. `whole`: it has nothing.
pub fn encode(state: &TypeState, composed: &mut Composed, whole: bool) {
    composed.removed.clear();
    for resource in std::mem::take(&mut composed.resources) {
        let (name, Some(now)) = (resource.name(), resource.rope()) else { continue };
        let copy = state.copies.get(name).filter(|_| !whole);
        let has = copy.and_then(|copy| copy.has.resource()).and_then(|has| has.rope());
        let doubt = copy.and_then(|copy| copy.doubt.as_ref()).and_then(|doubt| doubt.rope());
        let said = (composed.parts.len(), composed.removed.len());
        let mut hosts: BTreeMap<Arc<str>, Option<Arc<VirtualHost>>> = BTreeMap::new();
        // What it certainly has is not sent again.
        for before in has.into_iter().chain(doubt) {
            let changes = now.changes_since(before).into_iter();
            hosts.extend(changes.filter_map(|change| Some((Arc::clone(change.name()?), change.now))));
        }
        if has.is_none() {
            hosts.extend(now.shared_hosts().map(|host| (Arc::clone(host.name()), Some(Arc::clone(host)))));
        }
        for (host, now) in hosts {
            match now {
                Some(now) if now.is_known() => composed.parts.push(now.part(name)),
                // It has that already, and nobody else knows what it is.
                Some(_) => {}
                None => composed.removed.push(part_name(name, &host).into()),
            }
        }
        if said == (composed.parts.len(), composed.removed.len()) {
            // Envoy goes on once it hears of some virtual host, even of one that never was.
            composed.removed.push(part_name(name, "-").into());
        }
    }
}
