//! The content of one response, before it becomes a delta or a state-of-the-world message.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::client_copy::{ClientCopy, Has, Owed, Suspicion};
use super::in_flight::{Item, Whole};
use super::order::{Gate, MayRemove};
use super::parts;
use super::type_state::{Rest, TypeState};
use crate::resources::{Resource, ResourceType, View};

/// What goes into one response.
#[derive(Debug, Default)]
pub struct Composed {
    /// What is sent.
    pub resources: Vec<Arc<Resource>>,
    /// What is sent instead, one by one: encoded virtual hosts (delta only).
    pub parts: Vec<Bytes>,
    /// Names that do not exist (delta only).
    pub removed: Vec<Arc<str>>,
    /// What is new to the client, and what it is asked to take once more.
    pub items: Vec<Item>,
    /// All that is sent, where that is all that the client wants and it has nothing.
    pub whole: Option<Whole>,
}

/// What the composition of a response looks at.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The type.
    pub kind: ResourceType,
    /// What there is.
    pub view: &'a Arc<View>,
    /// What may be sent and removed.
    pub gate: Gate<'a>,
    /// The number of the last update.
    pub update: u64,
    /// Only what is on trial is sent.
    pub trial: bool,
    /// What is not urgent waits: the last response is not answered.
    pub busy: bool,
}

/// What becomes of one name.
#[derive(Debug)]
pub enum Act {
    /// It is sent, all of it or what may be sent of it.
    Send(Arc<Resource>, bool),
    /// The client is told that there is none.
    Missing,
    /// It is taken away.
    Remove,
    /// It waits. Whether for something that only the client can bring.
    Wait(bool),
    /// Nothing.
    Keep,
}

impl Scene<'_> {
    /// What becomes of all names of which the client is owed something, in order.
    pub fn acts(&self, state: &TypeState) -> Vec<(Arc<str>, Act)> {
        let least = if self.busy { Owed::Answer } else { Owed::News };
        let is_due = |copy: &ClientCopy| match copy.suspicion {
            Suspicion::OnTrial => self.trial,
            Suspicion::None => !self.trial && copy.owed >= least,
            Suspicion::Waits => false,
        };
        let due = state.copies.iter().filter(|(_, copy)| is_due(copy));
        due.map(|(name, copy)| (Arc::clone(name), self.act(state, name, copy))).collect()
    }

    fn act(&self, state: &TypeState, name: &str, copy: &ClientCopy) -> Act {
        let Some(there) = state.visible(self.view.of(self.kind), name) else {
            return self.act_on_gone(state, name, copy);
        };
        if copy.refuses(there) {
            return match (copy.owed, &copy.has) {
                (Owed::Nothing | Owed::News, _) => Act::Keep,
                (_, Has::This(has)) => Act::Send(Arc::clone(has), false),
                (Owed::Answer, _) => Act::Send(Arc::clone(there), false),
                // It goes on with what it brought. Only a cluster that warms waits for a word.
                (Owed::Again, Has::Unknown)
                    if self.kind != ResourceType::Endpoint && copy.doubts.is_empty() =>
                {
                    Act::Keep
                }
                (Owed::Again, _) => Act::Missing,
            };
        }
        if copy.owed <= Owed::News && copy.has.is(there) {
            return Act::Keep;
        }
        let sent = state.on_its_way(name).last().flatten();
        let target = self.gate.target(copy, sent, there);
        match target.resource.filter(|resource| copy.owed > Owed::News || !copy.has.is(resource)) {
            Some(resource) => Act::Send(resource, target.waits),
            None if target.waits => Act::Wait(true),
            None => Act::Keep,
        }
    }

    fn act_on_gone(&self, state: &TypeState, name: &str, copy: &ClientCopy) -> Act {
        let is_taken = self.kind == ResourceType::VirtualHost && self.gate.has_routes(name);
        if is_taken && copy.has.is_nothing() {
            // These routes went before the client took virtual hosts of theirs. Their listener waits for a word of them.
            return Act::Send(parts::none(name), false);
        }
        if copy.has.is_nothing() && copy.doubts.is_empty() {
            return if copy.owed >= Owed::Again { Act::Missing } else { Act::Keep };
        }
        match self.gate.may_remove(name, copy, state) {
            MayRemove::Yes => Act::Remove,
            MayRemove::Waits => Act::Wait(true),
            MayRemove::IsUsed => Act::Wait(false),
        }
    }

    /// All that may be sent to a client that has nothing of this type.
    pub fn first(&self, state: &mut TypeState) -> Option<Composed> {
        let (nothing, view) = (ClientCopy::new(Has::Nothing, self.update), self.view.of(self.kind));
        let mut composed = Composed::default();
        let mut left = BTreeSet::new();
        for resource in state.subscription.resources(view) {
            match self.gate.target(&nothing, None, resource).resource {
                Some(resource) => composed.resources.push(resource),
                None => _ = left.insert(Arc::clone(resource.name())),
            }
        }
        state.due.withheld = !left.is_empty();
        if state.due.withheld && state.due.answer {
            // The client waits for a complete answer: what is not in it, it would remove.
            return None;
        }
        let names = state.subscription.names().iter();
        composed.removed = names.filter(|name| state.visible(view, name).is_none()).cloned().collect();
        for name in &left {
            // The client asked, so it is answered even if it is gone then.
            let copy = ClientCopy { owed: Owed::Answer, ..nothing.clone() };
            state.copies.insert(Arc::clone(name), copy);
            state.due.most = Owed::Answer;
        }
        state.rest = match composed.resources.is_empty() {
            true => Rest::Accepted,
            false => Rest::Sent(self.update),
        };
        let (view, subscription) = (Arc::clone(self.view), state.subscription.clone());
        composed.whole = Some(Whole { kind: self.kind, view, subscription, left });
        Some(composed)
    }

    /// What is owed and may be sent, one by one.
    pub fn part(&self, state: &mut TypeState) -> Option<Composed> {
        let acts = self.acts(state);
        let mut composed = Composed::default();
        let withheld = acts.iter().any(|(_, act)| matches!(act, Act::Wait(true) | Act::Send(_, true)));
        if withheld && state.due.answer {
            state.due.withheld = true;
            return None;
        }
        for (name, act) in acts {
            let said = match &act {
                Act::Send(resource, _) => Some(Arc::clone(resource)),
                Act::Missing | Act::Remove if self.kind == ResourceType::VirtualHost => {
                    parts::abandon(state, &name);
                    continue;
                }
                Act::Missing | Act::Remove => None,
                Act::Wait(_) | Act::Keep => {
                    self.note(state, &name, &act);
                    continue;
                }
            };
            match &said {
                Some(resource) => composed.resources.push(Arc::clone(resource)),
                None => composed.removed.push(Arc::clone(&name)),
            }
            self.note(state, &name, &act);
            composed.items.push((name, said));
        }
        self.note_due(state, withheld);
        Some(composed)
    }

    /// Notes what is still owed of a name after an act.
    pub fn note(&self, state: &mut TypeState, name: &str, act: &Act) {
        let there = state.visible(self.view.of(self.kind), name).cloned();
        let Some(copy) = state.copies.get_mut(name) else { return };
        let was_on_trial = copy.suspicion == Suspicion::OnTrial;
        match act {
            Act::Wait(_) if was_on_trial => copy.suspicion = Suspicion::Waits,
            Act::Wait(_) => {}
            Act::Send(_, waits) => {
                (copy.owed, copy.suspicion) =
                    (if *waits { Owed::News } else { Owed::Nothing }, Suspicion::None);
                copy.refused.iter_mut().for_each(|refused| refused.again = false);
            }
            Act::Missing | Act::Remove | Act::Keep => {
                (copy.owed, copy.suspicion) = (Owed::Nothing, Suspicion::None);
            }
        }
        let next = was_on_trial && matches!(act, Act::Keep) && copy.next_group();
        if next || (was_on_trial && matches!(act, Act::Wait(_))) {
            state.trials.insert(0, vec![name.into()]);
        }
        if matches!(act, Act::Keep) {
            state.settle(name, there.as_ref());
        }
    }

    /// Notes what is owed when all acts are done.
    pub fn note_due(&self, state: &mut TypeState, withheld: bool) {
        state.find_due();
        if !self.busy && !self.trial {
            state.due.withheld = withheld;
        }
        state.due.withheld &= state.due.most > Owed::Nothing;
    }
}
