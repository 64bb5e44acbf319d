//! The state of one resource type on one stream: what the client wants, what it has, what it is owed.
//!
//! ```text
//!  what the client has of a name = copies[name], if there is one
//!                                  else what the view has of it, if the client wants it
//! ```
//!
//! So a client that has everything costs no memory for it, however much there is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::client_copy::{ClientCopy, Has, Owed, RouteCopy, Suspicion};
use super::in_flight::InFlight;
use super::shared::Doubts;
use super::subscription::Subscription;
use crate::resources::{Resource, ResourceChange, TypeView};

/// One type on one stream.
#[derive(Debug, Default)]
pub struct TypeState {
    /// The client has asked for this type.
    pub requested: bool,
    /// What the client wants.
    pub subscription: Subscription,
    /// The hash of the names that it listed last (SotW).
    pub listed: Option<u64>,
    /// What the client has of names that are not in `copies`.
    pub rest: Rest,
    /// What the client has of a name, where that is not what there is, or not known to be.
    pub copies: BTreeMap<Arc<str>, ClientCopy>,
    /// The responses that the client has not answered, oldest first.
    pub in_flight: VecDeque<InFlight>,
    /// The nonce of the last response, answered or not.
    pub last_nonce: Option<Box<str>>,
    /// The client has answered a response.
    pub answered: bool,
    /// What the client is owed.
    pub due: Due,
    /// Groups of names of which one may be the reason for a refusal. The last one is tried next.
    pub trials: Vec<Vec<Arc<str>>>,
    /// Names that the client wants and that do not exist, while a view is known.
    pub missing: BTreeSet<Arc<str>>,
    /// What the client brought from an earlier stream.
    pub brought: Brought,
    /// Virtual hosts that the client may list when it comes back, although it has let go of their routes, with their
    /// hashes. It is told that they are gone once it takes these routes again.
    pub let_go: BTreeMap<Arc<str>, BTreeSet<(Arc<str>, u64)>>,
}

/// What a client has of names of which nothing else is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// Nothing: nothing was sent.
    #[default]
    Nothing,
    /// Nothing, but all that it wants is on its way since that update.
    Sent(u64),
    /// What there is.
    Accepted,
}

/// What a client is owed of one type.
#[derive(Clone, Copy, Debug, Default)]
pub struct Due {
    /// The most urgent of what is owed of names.
    pub most: Owed,
    /// The client waits for an answer, even if there is nothing to tell.
    pub answer: bool,
    /// Something waits for what it names, or for what is to replace it.
    pub withheld: bool,
    /// The last response was a trial, so what else there is comes first.
    pub trial_was_last: bool,
}

/// What a client has from an earlier stream.
#[derive(Debug, Default)]
pub struct Brought {
    /// Names and versions, until they are compared.
    pub claims: BTreeMap<String, String>,
    /// It named some of it.
    pub came_back: bool,
    /// It may use more than it has told of yet.
    pub untold: bool,
    /// It accepted something, and cannot say what (SotW).
    pub unsaid: bool,
    /// The routes of which it has something, until their virtual hosts are compared.
    pub routes: BTreeSet<String>,
    /// It has told of its virtual hosts.
    pub told: bool,
}

impl TypeState {
    /// The resource of that name, if it exists and the client wants it.
    pub fn visible<'a>(&self, view: TypeView<'a>, name: &str) -> Option<&'a Arc<Resource>> {
        view.get(name).filter(|resource| self.subscription.wants(resource))
    }

    /// What the client accepted last of that name.
    pub fn has(&self, view: TypeView<'_>, name: &str) -> Has {
        match self.copies.get(name) {
            Some(copy) => copy.has.clone(),
            None if self.rest == Rest::Accepted => self.visible(view, name).cloned().into(),
            None => Has::Nothing,
        }
    }

    /// The responses that say something of a name and are not answered, oldest first.
    pub fn on_its_way(&self, name: &str) -> impl Iterator<Item = Option<&Arc<Resource>>> {
        self.in_flight.iter().filter_map(move |flight| flight.sent(name))
    }

    /// Whether something of that name is on its way.
    pub fn is_on_its_way(&self, name: &str) -> bool {
        self.on_its_way(name).next().is_some()
    }

    /// Whether its removal is on its way.
    pub fn is_going(&self, name: &str) -> bool {
        self.on_its_way(name).any(|sent| sent.is_none())
    }

    /// Everything that the client may use now and that is not simply what there is.
    pub fn in_use(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Resource>)> {
        let known = self.copies.iter().flat_map(|(name, copy)| {
            copy.may_use().chain(self.on_its_way(name).flatten()).map(move |resource| (name, resource))
        });
        // What it let go of while that was on its way, it may ask for again before it arrives.
        let said = self.in_flight.iter().flat_map(|flight| &flight.items);
        let dropped = said.filter(|(name, _)| !self.copies.contains_key(name));
        known.chain(dropped.filter_map(|(name, sent)| Some((name, sent.as_ref()?))))
    }

    /// Whether something is to be told of that name.
    pub fn owes(&self, name: &str) -> bool {
        match self.copies.get(name) {
            Some(copy) => copy.owed > Owed::Nothing,
            None => self.rest == Rest::Nothing && self.subscription.covers(name),
        }
    }

    /// The client has all that it wants.
    pub fn is_all_there(&self) -> bool {
        self.rest == Rest::Accepted && self.copies.is_empty()
    }

    /// Something that is owed waits for what it names, or for what is to replace it.
    pub fn is_withheld(&self) -> bool {
        let owes = self.due.most > Owed::Nothing || self.due.answer || self.rest == Rest::Nothing;
        self.requested && self.due.withheld && owes
    }

    /// Nothing is on its way, and nothing is to be sent.
    pub fn is_quiet(&self) -> bool {
        let begun = !self.requested || self.rest != Rest::Nothing;
        let owes = self.due.answer || self.due.most > Owed::Nothing;
        begun && self.in_flight.is_empty() && !owes && self.trials.is_empty()
    }

    /// The copy of that name, made of what the client has if there is none.
    pub fn copy(&mut self, view: TypeView<'_>, name: &Arc<str>, update: u64) -> &mut ClientCopy {
        if !self.copies.contains_key(name) {
            let copy = ClientCopy::new(self.has(view, name), update);
            self.copies.insert(Arc::clone(name), copy);
        }
        self.copies.entry(Arc::clone(name)).or_default()
    }

    /// The client is to be told of that name.
    pub fn look_at(&mut self, view: TypeView<'_>, name: &Arc<str>, owed: Owed, update: u64) {
        if self.rest == Rest::Nothing {
            return;
        }
        let copy = self.copy(view, name, update);
        copy.owed = copy.owed.max(owed);
        self.due.most = self.due.most.max(owed);
    }

    /// The client is to be told of all that it wants.
    pub fn look_at_everything(&mut self, view: TypeView<'_>, owed: Owed, update: u64) {
        if self.rest == Rest::Nothing {
            return;
        }
        let subscription = self.subscription.clone();
        for resource in subscription.resources(view) {
            self.look_at(view, resource.name(), owed, update);
        }
    }

    /// Takes in what became of a name.
    pub fn changed(&mut self, change: &ResourceChange, update: u64) {
        let ResourceChange { name, before, resource } = change;
        if resource.is_some() {
            self.missing.remove(name);
        }
        let wanted = |it: &Option<Arc<Resource>>| it.clone().filter(|it| self.subscription.wants(it));
        let (had, now) = (wanted(before), wanted(resource));
        let known = self.copies.contains_key(name);
        if self.rest == Rest::Nothing || (!known && had.is_none() && now.is_none()) {
            return;
        }
        if !known {
            let has = had.clone().filter(|_| self.rest == Rest::Accepted);
            self.copies.insert(Arc::clone(name), ClientCopy::new(has.into(), update));
        }
        let Some(copy) = self.copies.get_mut(name) else { return };
        copy.changed = update;
        copy.owed = copy.owed.max(Owed::News);
        self.due.most = self.due.most.max(Owed::News);
        if let (Some(had), Some(now)) =
            (had.as_ref().and_then(|it| it.rope()), now.as_ref().and_then(|it| it.rope()))
        {
            let gone = now.changes_since(had).into_iter().filter(|host| host.now.is_none());
            let gone: Vec<_> = gone.filter_map(|host| host.before).collect();
            let route = copy.route.get_or_insert_with(Box::<RouteCopy>::default);
            route.gone.retain(|name, _| now.get(name).is_none());
            route.refused.retain(|name, _| now.get(name).is_some());
            route.gone.extend(gone.into_iter().map(|host| (Arc::clone(host.name()), update)));
        }
        let there = now;
        self.settle(name, there.as_ref());
    }

    /// Whether it is being found out which of many the client refuses.
    pub fn is_searching(&self) -> bool {
        let suspect = |(name, copy): (&Arc<str>, &ClientCopy)| {
            let is_doubtful =
                !copy.doubts.is_empty() && (copy.owed > Owed::Nothing || self.is_on_its_way(name));
            copy.suspicion != Suspicion::None || is_doubtful
        };
        !self.trials.is_empty() || self.copies.iter().any(suspect)
    }

    /// Forgets the copy of a name if the client has what there is.
    pub fn settle(&mut self, name: &str, there: Option<&Arc<Resource>>) {
        let Some(copy) = self.copies.get(name) else { return };
        let same = match there {
            Some(there) => copy.has.is(there),
            None => copy.has.is_nothing(),
        };
        let idle = copy.owed <= Owed::News && copy.doubts.is_empty() && copy.suspicion == Suspicion::None;
        if same && idle && self.rest == Rest::Accepted && !self.is_on_its_way(name) {
            self.copies.remove(name);
        }
    }

    /// Finds what is most urgent, after something was sent.
    pub fn find_due(&mut self) {
        let owed = self.copies.values().filter(|copy| copy.suspicion == Suspicion::None);
        self.due.most = owed.map(|copy| copy.owed).max().unwrap_or_default();
    }

    /// Forgets everything about names that the client no longer wants.
    pub fn narrow(&mut self) {
        let subscription = &self.subscription;
        self.copies.retain(|name, _| subscription.covers(name));
        self.missing.retain(|name| subscription.has_name(name));
    }

    /// The client no longer wants these names.
    pub fn drop_names(&mut self, names: &[Arc<str>]) {
        for name in names {
            self.copies.remove(name);
            self.missing.remove(name);
        }
    }

    /// Looks for all names that the client wants: there is a view where there was none.
    pub fn find_missing(&mut self, view: TypeView<'_>) {
        let missing = self.subscription.names().iter().filter(|name| view.get(name).is_none());
        self.missing = missing.cloned().collect();
    }

    /// A name that the client asked for by itself was there and is gone. Not for names that it knows from other
    /// resources: until it has let go of these, which may take Envoy minutes, it asks for what they name.
    pub fn lost(&mut self, name: &Arc<str>) {
        if self.subscription.has_name(name) {
            self.missing.insert(Arc::clone(name));
        }
    }

    /// Compares what the client says it has with what there is (P10).
    /// `untold`: what it may have and not tell of.
    pub fn settle_claims(&mut self, view: TypeView<'_>, untold: &Doubts, update: u64) {
        let claims = std::mem::take(&mut self.brought.claims);
        let is_wildcard = self.subscription.is_wildcard();
        let untold_names = || {
            let unlisted = untold.iter().filter(|it| is_wildcard && it.told.is_empty() && !it.has.is_empty());
            unlisted.map(|doubt| &doubt.name).filter(|name| !claims.contains_key(&***name))
        };
        let has_some = !claims.is_empty() || untold_names().any(|name| view.get(name).is_none());
        if !has_some || self.rest != Rest::Nothing {
            return;
        }
        self.rest = Rest::Accepted;
        self.due.answer = false;
        let subscription = self.subscription.clone();
        let mut owe = |name: &Arc<str>, has: Has, owed: Owed| {
            let copy = ClientCopy { owed, ..ClientCopy::new(has, update) };
            self.copies.insert(Arc::clone(name), copy);
            self.due.most = self.due.most.max(owed);
        };
        for resource in subscription.resources(view) {
            match claims.get(&**resource.name()) {
                Some(version)
                    if *version == *resource.version() && !untold.casts_doubt(resource.name(), version) => {}
                Some(_) => owe(resource.name(), Has::Unknown, Owed::News),
                None => owe(resource.name(), Has::Nothing, Owed::Answer),
            }
        }
        let there = |name: &str| view.get(name).is_some_and(|it| subscription.wants(it));
        untold_names().filter(|name| !there(name)).for_each(|name| owe(name, Has::Unknown, Owed::News));
        for name in claims.keys().filter(|name| subscription.covers(name) && !there(name)) {
            owe(&name.as_str().into(), Has::Unknown, Owed::News);
        }
        for name in subscription.names().iter().filter(|name| !there(name) && !claims.contains_key(&***name))
        {
            owe(name, Has::Nothing, Owed::Answer);
        }
    }

    /// Everything that the client refuses, by name.
    pub fn refusals(&self) -> impl Iterator<Item = (&Arc<str>, &super::client_copy::RefusedVersion)> {
        self.copies.iter().flat_map(|(name, copy)| copy.refusals().map(move |refused| (name, refused)))
    }
}
