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
        // What it may have of it besides, or comes to have before this arrives.
        let doubts = copy.into_iter().flat_map(|copy| &copy.doubts).chain(state.on_its_way(name).flatten());
        let said = (composed.parts.len(), composed.removed.len());
        let mut hosts: BTreeMap<Arc<str>, Option<Arc<VirtualHost>>> = BTreeMap::new();
        let let_go = state.let_go.get(name).into_iter().flatten().map(|(host, _)| host);
        hosts.extend(let_go.filter(|host| now.get(host).is_none()).map(|host| (Arc::clone(host), None)));
        // What it certainly has is not sent again.
        for before in has.into_iter().chain(doubts.filter_map(|doubt| doubt.rope())) {
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
