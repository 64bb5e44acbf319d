//! The content of one response, before it becomes a delta or a state-of-the-world message.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::order::Gate;
use super::type_state::{Before, TypeState};
use crate::resources::{Resource, TypeView};

/// What goes into one response.
#[derive(Debug, Default)]
pub struct Composed {
    /// What is sent.
    pub resources: Vec<Arc<Resource>>,
    /// Those of `resources` that the client did not have, or did not accept.
    pub fresh: Vec<Arc<Resource>>,
    /// Names that do not exist (delta only).
    pub removed: Vec<Arc<str>>,
    /// What the client had before of each name that this brings or takes.
    pub before: Vec<Before>,
    /// Something of the set is not in it yet, or something in it is of an earlier set (SotW only).
    pub partial: bool,
}

impl Composed {
    /// Takes from what is pending all that may be sent, one by one.
    pub fn take_updates(&mut self, state: &mut TypeState, set: TypeView<'_>, gate: &Gate<'_>) {
        state.withheld = false;
        let complete = state.pending.answer;
        let names = state.take_names(set);
        let (mut sent, mut missing, mut waiting) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (name, forced) in names {
            if state.visible(set, &name).is_some() {
                // It left the wildcard, and then the client asked for its name.
                state.pending.removals.remove(&name);
            }
            match state.visible(set, &name) {
                Some(resource) if forced || !state.client_agrees(resource) => {
                    if gate.may_send(resource) {
                        sent.push((Arc::clone(resource), forced));
                    } else {
                        waiting.insert(name, forced);
                    }
                }
                // What it has is removed as soon as nothing uses it.
                None if forced && !state.pending.removals.contains(&name) => missing.push(name),
                _ => {}
            }
        }
        state.withheld = !waiting.is_empty();
        state.pending.names = waiting;
        if state.withheld && complete {
            // The client waits for a complete answer.
            let back = sent.into_iter().map(|(resource, forced)| (Arc::clone(resource.name()), forced));
            state.pending.names.extend(back.chain(missing.into_iter().map(|name| (name, true))));
            return;
        }
        for name in missing {
            self.before.push((Arc::clone(&name), state.held.remove(&name)));
            self.removed.push(name);
        }
        for (resource, _) in sent {
            let before = state.held.insert(Arc::clone(&resource));
            if before.as_ref().is_none_or(|before| before.version() != resource.version()) {
                self.fresh.push(Arc::clone(&resource));
            }
            self.before.push((Arc::clone(resource.name()), before));
            self.resources.push(resource);
        }
    }
}
