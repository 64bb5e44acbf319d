//! What a client's answer to a response means (P4a): who is to blame for a refusal, and what is tried next.
//!
//! ```text
//!  refused ── the client names clusters, listeners ──► these are the culprits, it has the others
//!          ── one resource in it ────────────────────► the culprit; of a route configuration, its virtual hosts
//!          ── several, others refused some of them ──► the rest together, and each of these alone
//!          ── several ───────────────────────────────► each half alone, and so on
//! ```
//!
//! What another client refused is a hint and no proof: that client may be wrong, or lie. Nothing is tried alone twice in
//! one version, so finding the culprits among n resources takes at most 2n trials.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::client_copy::{ClientCopy, Has, Owed, RefusedVersion, RouteCopy, Suspicion};
use super::in_flight::{InFlight, Item};
use super::rejections::Rejection;
use super::ropes::{self, Unit};
use super::shared::Shared;
use super::trials::{self, Clue};
use super::type_state::{Rest, TypeState};
use super::untold;
use super::words::{self, cut};
use crate::proxy::Scope;
use crate::resources::{Resource, ResourceType, Rope, TypeView, VirtualHost, part_name};

/// The client uses what it was sent.
pub fn accept(state: &mut TypeState, flight: InFlight, view: TypeView<'_>) {
    // Of a full state, it has just that.
    state.brought.unsaid = false;
    let subscription = &state.subscription;
    state.let_go.retain(|name, _| !subscription.has_name(name) || flight.sent(name).is_none());
    if let Some(whole) = &flight.whole {
        state.rest = Rest::Accepted;
        for name in state.copies.keys().cloned().collect::<Vec<_>>() {
            if let Some(sent) = flight.sent(&name).flatten().filter(|_| whole.has(&name)) {
                take(state, &name, Some(Arc::clone(sent)), view);
            }
        }
    }
    for (name, sent) in flight.items {
        take(state, &name, sent, view);
    }
}

fn take(state: &mut TypeState, name: &Arc<str>, sent: Option<Arc<Resource>>, view: TypeView<'_>) {
    let there = state.visible(view, name).cloned();
    let Some(copy) = state.copies.get_mut(name) else { return };
    copy.accept(sent);
    if copy.next_group() {
        state.trials.push(vec![Arc::clone(name)]);
    } else if there.is_none_or(|there| !copy.has.is(&there)) && copy.suspicion == Suspicion::None {
        // What is refused of it is not sent again.
        copy.owed = copy.owed.max(Owed::News);
        state.due.most = state.due.most.max(Owed::News);
    }
    let there = state.visible(view, name).cloned();
    state.settle(name, there.as_ref());
}

/// A refusal to be made sense of.
#[derive(Debug)]
pub struct Refusing<'a> {
    /// The type.
    pub kind: ResourceType,
    /// What there is.
    pub view: TypeView<'a>,
    /// What the client says.
    pub words: &'a str,
    /// What is known of other clients.
    pub shared: &'a Shared,
    /// Responses hold all that the client is to have: what is left out, it removes.
    pub full: bool,
    /// Whom the client is like: what these were told of, it may be told of. `None`: not known, or the response was sent to
    /// it as one of another scope.
    pub scope: Option<&'a Scope>,
    /// What it has may be of another scope, and not for others of this one to see.
    pub moved: bool,
    /// The number of the last update.
    pub update: u64,
}

/// What may be the reason for a refusal: its name, and what was sent of it.
type Suspect = (Arc<str>, Arc<Resource>);

impl Refusing<'_> {
    /// The client does not use what it was sent, or not all of it. Gives the culprits that are found.
    pub fn take(&self, state: &mut TypeState, flight: InFlight) -> Vec<Arc<Rejection>> {
        let is_forgotten = flight.forgotten;
        let items = self.items(state, flight);
        let is_alone = items.len() == 1 && !is_forgotten;
        let is_suspect = |(name, sent): &Item| {
            let (copy, sent) = (state.copies.get(name)?, sent.clone()?);
            (!copy.has.is(&sent)).then(|| (Arc::clone(name), sent))
        };
        let suspects: Vec<Suspect> = items.iter().filter_map(is_suspect).collect();
        if suspects.is_empty() {
            // It refuses what it has, or what goes: there is nothing else to offer.
            items.into_iter().for_each(|(name, sent)| take(state, &name, sent, self.view));
            return Vec::new();
        }
        let names: Vec<&str> = suspects.iter().map(|(name, _)| &**name).collect();
        let named = words::named(self.words, &names);
        if !named.culprits.is_empty() {
            return self.blame_named(state, items, &suspects, &named);
        }
        let is_dropped =
            is_forgotten || items.iter().any(|(name, it)| it.is_some() && !state.copies.contains_key(name));
        let only = match suspects.as_slice() {
            // What the client does not want any more may be what it refuses.
            [only] if !is_dropped => Some(only),
            _ => None,
        };
        let is_only = |name: &Arc<str>| only.is_some_and(|(only, _)| only == name);
        let others = || items.iter().filter(|(name, _)| !is_only(name));
        // Of routes that were alone in it, Envoy took nothing.
        if !is_alone {
            untold::note(self.shared, self.scope, self.kind, state, others());
        }
        self.send_again(state, others());
        match only {
            Some((name, sent)) => self.blame_alone(state, name, sent),
            None => self.isolate(state, &suspects),
        }
    }

    /// What the response said, name by name.
    fn items(&self, state: &mut TypeState, flight: InFlight) -> Vec<Item> {
        let Some(whole) = flight.whole else { return flight.items };
        if state.rest != Rest::Accepted {
            state.rest = Rest::Accepted;
        }
        let items: Vec<Item> =
            whole.resources().map(|it| (Arc::clone(it.name()), Some(Arc::clone(it)))).collect();
        for (name, _) in items.iter().filter(|(name, _)| state.subscription.covers(name)) {
            let nothing = || ClientCopy::new(Has::Nothing, self.update);
            state.copies.entry(Arc::clone(name)).or_insert_with(nothing);
        }
        items
    }

    fn blame_named(
        &self,
        state: &mut TypeState,
        items: Vec<Item>,
        suspects: &[Suspect],
        named: &words::Blame<'_>,
    ) -> Vec<Arc<Rejection>> {
        let mut found = Vec::new();
        for (at, words) in &named.culprits {
            let (name, sent) = &suspects[*at];
            found.extend(self.blame(state, name, sent, words, true));
        }
        let is_culprit = |name: &Arc<str>| found.iter().any(|culprit| culprit.name == *name);
        let others: Vec<Item> = items.into_iter().filter(|(name, _)| !is_culprit(name)).collect();
        untold::note(self.shared, self.scope, self.kind, state, others.iter());
        match named.complete {
            true => others.into_iter().for_each(|(name, sent)| take(state, &name, sent, self.view)),
            false => self.send_again(state, others.iter()),
        }
        found
    }

    /// The client may not have looked at these.
    fn send_again<'a>(&self, state: &mut TypeState, items: impl Iterator<Item = &'a Item>) {
        for (name, sent) in items {
            let Some(copy) = state.copies.get_mut(name) else { continue };
            copy.owed = copy.owed.max(if sent.is_some() { Owed::Again } else { Owed::News });
            if self.kind != ResourceType::VirtualHost {
                copy.doubts.clear();
            }
            copy.doubts.extend(sent.clone());
        }
        state.find_due();
    }

    fn isolate(&self, state: &mut TypeState, suspects: &[Suspect]) -> Vec<Arc<Rejection>> {
        if self.kind == ResourceType::VirtualHost {
            // Envoy takes a route configuration whole or not at all, and which of several it took is luck.
            return put_on_trial(state, suspects.iter().map(|(name, _)| vec![Arc::clone(name)]).collect());
        }
        let names: Vec<&str> = suspects.iter().map(|(name, _)| &**name).collect();
        let hinted = words::hinted(self.words, &names);
        let hints = !hinted.is_empty() && hinted.len() < suspects.len();
        // What a full state leaves out, the client removes. So all others are in a trial as the client has them.
        let is_known = match self.full && state.brought.unsaid {
            true => self.older_known(state, suspects),
            false => suspects.iter().map(|(_, it)| self.shared.rejections.knows(self.kind, it)).collect(),
        };
        if self.full && state.brought.unsaid {
            let (old, new): (Vec<_>, Vec<_>) =
                suspects.iter().enumerate().partition(|(_, it)| refuses(state, it));
            if !old.is_empty() {
                // They were there again because the client may have other versions, and would be again in each trial.
                let blamed = new.iter().filter(|(at, _)| hinted.binary_search(at).is_ok());
                let found: Vec<_> = blamed
                    .filter_map(|(_, (name, sent))| self.blame(state, name, sent, self.words, false))
                    .collect();
                return if found.is_empty() { self.give_up(state, suspects) } else { found };
            }
            if !hints && !is_known.contains(&true) {
                return self.give_up(state, suspects);
            }
        }
        let clue = |at: usize| match (hinted.binary_search(&at), is_known.get(at)) {
            // It is probably bad: better that one is gone than that all others stay as they are.
            (Ok(_), _) => Clue::Hinted,
            (_, Some(true)) => Clue::Known,
            _ => Clue::None,
        };
        let named = suspects.iter().enumerate().map(|(at, (name, _))| (Arc::clone(name), clue(at)));
        put_on_trial(state, trials::groups(named.collect()))
    }

    /// Nothing can be tried, and nobody is to blame: the client keeps all that it has. Once something changes, it is sent
    /// everything.
    fn give_up(&self, state: &mut TypeState, suspects: &[Suspect]) -> Vec<Arc<Rejection>> {
        state.trials.clear();
        for (name, sent) in suspects {
            let is_there = state.visible(self.view, name).is_some_and(|it| it.version() == sent.version());
            let Some(copy) = state.copies.get_mut(name) else { continue };
            (copy.has, copy.suspicion) = (Has::Unknown, Suspicion::None);
            copy.owed = match copy.owed {
                Owed::Answer => Owed::Answer,
                _ if is_there => Owed::Nothing,
                _ => Owed::News,
            };
        }
        for copy in state.copies.values_mut() {
            copy.doubts.clear();
            if copy.suspicion != Suspicion::None {
                (copy.has, copy.suspicion) = (Has::Unknown, Suspicion::None);
            }
            if copy.owed == Owed::Again {
                copy.owed = Owed::News;
            }
        }
        state.find_due();
        Vec::new()
    }

    /// Of which suspects it is known what a client has that came back and did not say it. What others of its scope kept
    /// instead of a suspect will do.
    fn older_known(&self, state: &mut TypeState, suspects: &[Suspect]) -> Vec<bool> {
        let is_known = |(name, sent): &Suspect| {
            let Some(copy) = state.copies.get_mut(name) else { return false };
            if copy.has.resource().is_none() {
                copy.has = self.kept(sent);
            }
            copy.has.resource().is_some()
        };
        suspects.iter().map(is_known).collect()
    }

    /// What a client that came back may have instead of a version that it refuses.
    fn kept(&self, refused: &Resource) -> Has {
        let kept = self.scope.and_then(|scope| self.shared.rejections.kept(self.kind, refused, scope));
        kept.map_or(Has::Unknown, Has::This)
    }

    /// It was alone in the response.
    fn blame_alone(
        &self,
        state: &mut TypeState,
        name: &Arc<str>,
        sent: &Arc<Resource>,
    ) -> Vec<Arc<Rejection>> {
        let has = state.copies.get(name).map(|copy| copy.has.clone()).unwrap_or_default();
        let parts = match (&has, sent.rope()) {
            // What it has is not known, so what it would lose by a trial is not, either.
            (Has::Unknown, _) | (_, None) => Vec::new(),
            (has, Some(rope)) => ropes::apart(has.resource().and_then(|has| has.rope()), rope),
        };
        match parts.as_slice() {
            [] => self.blame(state, name, sent, self.words, false).into_iter().collect(),
            [only] if only.is_removal() => {
                self.blame(state, name, sent, self.words, false).into_iter().collect()
            }
            [only] => self.blame_parts(state, name, sent, only),
            _ => {
                self.isolate_parts(state, name, sent, parts);
                Vec::new()
            }
        }
    }

    fn isolate_parts(&self, state: &mut TypeState, name: &Arc<str>, sent: &Arc<Resource>, parts: Vec<Unit>) {
        let Some(copy) = state.copies.get_mut(name) else { return };
        let route = copy.route.get_or_insert_with(Box::<RouteCopy>::default);
        // Of the group that was tried, parts are tried; the other groups after them.
        let tried = route.groups.pop();
        debug_assert!(
            tried.is_none_or(|tried| tried.len() >= parts.len()),
            "only what was tried is to blame"
        );
        let is_known = |unit: &Unit| {
            let mut hosts = unit.0.iter().filter_map(|host| host.now.as_ref());
            hosts.any(|host| self.shared.rejections.knows_host(self.kind, sent, host))
        };
        let quoted = words::quoted(self.words);
        let with_clue = |unit: Unit| match () {
            () if is_hinted(&quoted, name, &unit) => (unit, Clue::Hinted),
            () if is_known(&unit) => (unit, Clue::Known),
            () => (unit, Clue::None),
        };
        // Those of which it is not known what they were may lose a domain to others.
        let (unknown, known): (Vec<Unit>, Vec<Unit>) = parts.into_iter().partition(Unit::is_from_unknown);
        let groups = match (unknown.is_empty(), known.is_empty()) {
            (false, false) => vec![unknown, known],
            (true, _) => trials::groups(known.into_iter().map(with_clue).collect()),
            (false, true) => trials::groups(unknown.into_iter().map(with_clue).collect()),
        };
        let names = |units: Vec<Unit>| units.iter().flat_map(Unit::names).cloned().collect::<Vec<_>>();
        route.groups.extend(groups.into_iter().rev().map(names));
        copy.suspicion = Suspicion::Waits;
        copy.owed = Owed::Again;
        state.trials.push(vec![Arc::clone(name)]);
        state.find_due();
    }

    fn blame_parts(
        &self,
        state: &mut TypeState,
        name: &Arc<str>,
        sent: &Arc<Resource>,
        culprit: &Unit,
    ) -> Vec<Arc<Rejection>> {
        let Some(copy) = state.copies.get_mut(name) else { return Vec::new() };
        let route = copy.route.get_or_insert_with(Box::<RouteCopy>::default);
        let mut found = Vec::new();
        for host in culprit.0.iter().filter_map(|change| change.now.as_ref()) {
            let words: Arc<str> = cut(self.words).as_ref().into();
            let rejection = self.shared.rejections.note_host(self.kind, sent, host, &words);
            let refused =
                RefusedVersion { rejection: Arc::clone(&rejection), words, named: false, again: false };
            route.refused.insert(Arc::clone(host.name()), (host.hash(), refused));
            found.push(rejection);
        }
        copy.suspicion = Suspicion::None;
        copy.doubts.retain(|doubt| may_be_taken(doubt, culprit));
        // The rest of it, or the next group. Who came back may have heard of none of it, and wait for a word.
        let is_heard_of = copy.has.resource().and_then(|has| has.rope()).is_none_or(Rope::is_known);
        let is_done = copy.doubts.is_empty() && is_heard_of;
        copy.owed = if is_done { Owed::News } else { Owed::Again };
        if copy.next_group() {
            state.trials.push(vec![Arc::clone(name)]);
        }
        state.find_due();
        found
    }

    fn blame(
        &self,
        state: &mut TypeState,
        name: &Arc<str>,
        sent: &Arc<Resource>,
        words: &str,
        named: bool,
    ) -> Option<Arc<Rejection>> {
        let there = state.visible(self.view, name).cloned();
        let copy = state.copies.get_mut(name)?;
        let words: Arc<str> = cut(words).as_ref().into();
        let kept = self.scope.filter(|_| !self.moved).zip(copy.has.resource());
        let rejection = self.shared.rejections.note(self.kind, sent, &words, kept);
        if self.full && copy.has.is_nothing() && state.brought.unsaid {
            // What it has from an earlier stream is to stay.
            copy.has = self.kept(sent);
        }
        copy.refused = Some(RefusedVersion { rejection: Arc::clone(&rejection), words, named, again: false });
        copy.suspicion = Suspicion::None;
        copy.doubts.clear();
        let changed = there.is_none_or(|there| there.version() != sent.version());
        // What was asked for meanwhile stays owed.
        if copy.owed < Owed::Again {
            copy.owed = if changed { Owed::News } else { Owed::Nothing };
        }
        if let Some(route) = &mut copy.route {
            route.groups.clear();
        }
        state.find_due();
        Some(rejection)
    }
}

/// Whether the client has refused just that.
fn refuses(state: &TypeState, (name, sent): &Suspect) -> bool {
    let refused = state.copies.get(name).and_then(|copy| copy.refused.as_ref());
    refused.is_some_and(|refused| {
        refused.rejection.host.is_none() && *refused.rejection.version == *sent.version()
    })
}

/// These groups are tried, in this order and before all others.
fn put_on_trial(state: &mut TypeState, groups: Vec<Vec<Arc<str>>>) -> Vec<Arc<Rejection>> {
    for name in groups.iter().flatten() {
        state.copies.get_mut(name).into_iter().for_each(|copy| copy.suspicion = Suspicion::Waits);
    }
    state.trials.extend(groups.into_iter().rev());
    state.find_due();
    Vec::new()
}

/// Whether a client that refuses these virtual hosts may have taken such routes: it takes all of them or none.
fn may_be_taken(routes: &Resource, culprit: &Unit) -> bool {
    let mut hosts = culprit.0.iter().filter_map(|change| change.now.as_ref());
    let has = |host: &Arc<VirtualHost>| routes.rope().is_some_and(|rope| rope.get(host.name()) == Some(host));
    !hosts.any(has)
}

/// Whether the client's words name one of these virtual hosts, or one of their domains: a hint, no more.
fn is_hinted(quoted: &BTreeSet<&str>, routes: &str, unit: &Unit) -> bool {
    let mut hosts = unit.0.iter().filter_map(|change| change.now.as_ref());
    hosts.any(|host| {
        let is_named = quoted.contains(&**host.name()) || host.domains().any(|it| quoted.contains(it));
        is_named || quoted.contains(&*part_name(routes, host.name()))
    })
}
