//! The name table: which service gets a name, address or listener that several claim. The smallest [`Rank`] among
//! those that a client sees wins, whichever came first.
//!
//! ```text
//!  services of a host ──► rows: claim, rank, whose clients ──► entries ──► owner(claim, viewer) ──► grants
//! ```
//!
//! All candidates of a claim stay in the table, in order. So everybody, a namespace, and whoever reaches only some
//! services each have an owner of their own. A change of one service touches only the entries that it claims, and
//! reports which other services gained or lost something, and for whom. A copy of a table costs nothing: it shares the
//! entries that do not change.

mod entry;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use pilot_registry::{Hostname, Namespace, ServiceId};

use super::conflict::{Claim, Claimant, Conflict, Reason};
use super::sockets::Sockets;
use crate::catalog::{CatalogService, Guess};
use crate::mesh::MeshOptions;
use entry::{ClaimEntry, ClaimViewer, Class, Owner, Rank, Sharing};
use wanted::{Row, rows, wanted};

const EVERYBODY: Option<&Namespace> = None;

/// All claims of a mesh.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    entries: OrdMap<Claim, ClaimEntry>,
    /// What somebody claims in vain: in the eyes of everybody, or of a namespace.
    contested: OrdSet<(Claim, Option<Namespace>)>,
    /// What belongs to another in the eyes of a namespace than in those of everybody.
    differing: OrdMap<Claim, OrdSet<Namespace>>,
    sockets: Sockets,
    /// Whether all HTTP services are reached by `http_listen`, too.
    http_listen: bool,
}

/// Whose grants may be different now.
#[derive(Debug, Default)]
pub(super) struct Affected {
    /// For everybody.
    pub(super) all: BTreeSet<ServiceId>,
    /// For clients of a namespace.
    pub(super) special: BTreeMap<Namespace, BTreeSet<ServiceId>>,
}

/// What a service has of what it claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grants {
    /// The names it is called by, its own first.
    pub(super) names: Vec<Hostname>,
    /// Further names, by the namespace whose clients call it so.
    pub(super) local_names: BTreeMap<Namespace, Vec<Hostname>>,
    /// What each port got, in the order of the service's ports.
    pub(super) ports: Vec<PortGrants>,
}

/// What a port of a service has of what was claimed for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PortGrants {
    /// Where a listener of its own is bound; for HTTP and TLS ports: the listener that it shares.
    pub(super) listeners: Vec<SocketAddr>,
    /// Virtual addresses by which it is called in a Host header.
    pub(super) virtual_addresses: Vec<IpAddr>,
}

impl Affected {
    fn add(&mut self, namespace: &Namespace, services: impl Iterator<Item = ServiceId>) {
        self.special.entry(namespace.clone()).or_default().extend(services);
    }
}

impl Ledger {
    /// A table in which pilot.toml has claimed what it wants. `http_listen` counts if given.
    pub(super) fn new(http_listen: Option<SocketAddr>) -> Self {
        let mut ledger = Self { http_listen: http_listen.is_some(), ..Self::default() };
        if let Some(at) = http_listen {
            let rank = Rank {
                class: Class::Configuration,
                guess: Guess::default(),
                priority: 0,
                service: None,
                port: None,
            };
            ledger.entries.entry(Claim::Listener(at)).or_default().all.alone.insert(rank);
        }
        ledger
    }

    /// Replaces the claims of the services of one host.
    pub(super) fn replace(
        &mut self,
        old: &[Arc<CatalogService>],
        new: &[Arc<CatalogService>],
        options: &MeshOptions,
        affected: &mut Affected,
    ) {
        let [old, new] = [old, new].map(|of_host| rows(of_host, options, self.http_listen));
        let mut touched: BTreeMap<Claim, BTreeSet<Namespace>> = BTreeMap::new();
        for row in old.iter().chain(&new) {
            touched.entry(row.claim.clone()).or_default().extend(row.namespace.clone());
        }
        let entry = |claim: &Claim| self.entries.get(claim).cloned().unwrap_or_default();
        let before: Vec<ClaimEntry> = touched.keys().map(entry).collect();
        old.iter().for_each(|row| self.withdraw(row));
        new.into_iter().for_each(|row| self.enter(row));
        for ((claim, namespaces), before) in touched.into_iter().zip(before) {
            self.compare(claim, namespaces, &before, affected);
        }
    }

    /// Replaces the sockets of a service's endpoints. Gives whether conflicts may be different now.
    pub(super) fn replace_endpoints(
        &mut self,
        old: Option<&CatalogService>,
        new: Option<&CatalogService>,
        affected: &mut Affected,
    ) -> bool {
        let mut found = false;
        for claim in self.sockets.replace(old, new) {
            if let Some(entry) = self.entries.get(&claim).cloned() {
                found = true;
                affected.all.extend(entry.all.services().cloned());
                for (namespace, special) in &entry.special {
                    affected.add(namespace, entry.all.services().chain(special.own.services()).cloned());
                    self.settle_differing(&claim, namespace);
                    self.settle(claim.clone(), Some(namespace.clone()));
                }
                self.settle(claim, None);
            }
        }
        found
    }

    /// The namespaces in whose eyes something belongs to another that a service claims.
    pub(super) fn differing(&self, service: &CatalogService, options: &MeshOptions) -> BTreeSet<Namespace> {
        if self.differing.is_empty() {
            return BTreeSet::new();
        }
        let wanted = wanted(service, options, self.http_listen);
        let differing = wanted.iter().flat_map(|it| {
            let namespaces = self.differing.get(&it.claim).into_iter().flatten();
            namespaces.filter(|namespace| it.by.as_ref().is_none_or(|by| by == *namespace))
        });
        differing.cloned().collect()
    }

    /// Reports who gained or lost what was touched. `namespaces`: those in which it was touched.
    fn compare(
        &mut self,
        claim: Claim,
        mut namespaces: BTreeSet<Namespace>,
        before: &ClaimEntry,
        affected: &mut Affected,
    ) {
        let after = self.entries.get(&claim).cloned().unwrap_or_default();
        let [was, is] = [before, &after].map(|entry| self.owner_in(&claim, entry, &EVERYBODY));
        // Those who share are one owner, but how early the first of them comes matters where others claim it, too.
        let [first, now_first] = [before, &after]
            .map(|entry| [Sharing::Http, Sharing::Tls].map(|it| entry.first(&EVERYBODY, it.of())));
        let is_other = was != is || first != now_first;
        let special = before.special.iter().chain(&after.special);
        let is_involved = |special: &entry::Special| is_other || !special.hidden.is_empty();
        namespaces.extend(special.filter(|(_, it)| is_involved(it)).map(|(namespace, _)| namespace.clone()));
        if was != is {
            affected.all.extend(after.all.services().cloned());
        }
        for namespace in namespaces {
            let viewer = Some(&namespace);
            let [saw, sees] = [before, &after].map(|entry| self.owner_in(&claim, entry, &viewer));
            if saw != sees || (saw != was) != (sees != is) {
                let own = || after.special.get(&namespace).into_iter().flat_map(|it| it.own.services());
                affected.add(&namespace, after.all.services().chain(own()).cloned());
                // What a service is called in some namespace is part of what is made of it for everybody.
                if matches!(claim, Claim::Name(_)) {
                    affected.all.extend(own().cloned());
                }
            }
            self.settle_differing(&claim, &namespace);
            self.settle(claim.clone(), Some(namespace));
        }
        self.settle(claim.clone(), None);
        if after.is_empty() {
            self.entries.remove(&claim);
        }
    }

    /// What pilot.toml asks for goes before an endpoint, and an endpoint before what services ask for.
    fn owner_in(&self, claim: &Claim, entry: &ClaimEntry, viewer: &impl ClaimViewer) -> Owner {
        let owner = entry.owner(viewer);
        match (self.sockets.holder(claim), &owner) {
            (None, _) | (_, Owner::One(Rank { class: Class::Configuration, .. })) => owner,
            (Some((service, port)), _) => Owner::Endpoint(service.clone(), *port),
        }
    }

    fn owner(&self, claim: &Claim, viewer: &impl ClaimViewer) -> Owner {
        self.entries.get(claim).map_or(Owner::Nobody, |entry| self.owner_in(claim, entry, viewer))
    }

    fn enter(&mut self, row: Row) {
        let entry = self.entries.entry(row.claim).or_default();
        match row.namespace {
            None => entry.all.of_kind(row.sharing).insert(row.rank),
            Some(namespace) if row.is_hidden => {
                entry.special.entry(namespace).or_default().hidden.insert(row.rank)
            }
            Some(namespace) => {
                entry.special.entry(namespace).or_default().own.of_kind(row.sharing).insert(row.rank)
            }
        };
    }

    fn withdraw(&mut self, row: &Row) {
        let Some(entry) = self.entries.get_mut(&row.claim) else { return };
        let Some(namespace) = &row.namespace else {
            entry.all.of_kind(row.sharing).remove(&row.rank);
            return;
        };
        let Some(special) = entry.special.get_mut(namespace) else { return };
        let ranks = if row.is_hidden { &mut special.hidden } else { special.own.of_kind(row.sharing) };
        ranks.remove(&row.rank);
        if special.is_empty() {
            entry.special.remove(namespace);
        }
    }

    fn settle_differing(&mut self, claim: &Claim, namespace: &Namespace) {
        let differs = self.owner(claim, &Some(namespace)) != self.owner(claim, &EVERYBODY);
        let known = self.differing.get(claim).is_some_and(|known| known.contains(namespace));
        match (known, differs) {
            (false, true) => {
                self.differing.entry(claim.clone()).or_default().insert(namespace.clone());
            }
            (true, false) => {
                let Some(namespaces) = self.differing.get_mut(claim) else { return };
                namespaces.remove(namespace);
                if namespaces.is_empty() {
                    self.differing.remove(claim);
                }
            }
            _ => {}
        }
    }

    fn settle(&mut self, claim: Claim, namespace: Option<Namespace>) {
        let viewer = namespace.as_ref();
        let owner = self.owner(&claim, &viewer);
        let is_contested =
            self.entries.get(&claim).is_some_and(|entry| entry.losers(&viewer, &owner).next().is_some());
        match is_contested {
            true => _ = self.contested.insert((claim, namespace)),
            false => _ = self.contested.remove(&(claim, namespace)),
        }
    }

    /// What the service has of what it claims, in the eyes of everybody, or of clients of a namespace that sees it.
    pub(super) fn grants(
        &self,
        service: &CatalogService,
        namespace: Option<&Namespace>,
        options: &MeshOptions,
    ) -> Grants {
        let ports = service.ports().iter().map(|_| PortGrants::default()).collect();
        let mut grants = Grants { ports, ..Grants::default() };
        for wanted in wanted(service, options, self.http_listen) {
            // What everybody calls it is asked of everybody, and a name of a namespace of that namespace.
            let viewer = match (&wanted.by, namespace) {
                (Some(by), Some(namespace)) if by != namespace => continue,
                (Some(by), _) => Some(by),
                (None, namespace) => namespace,
            };
            let has_it = match self.owner(&wanted.claim, &viewer) {
                Owner::Nobody | Owner::Endpoint(..) => false,
                Owner::Sharers(sharing) => wanted.sharing == Some(sharing),
                Owner::One(winner) => winner == wanted.rank,
            };
            if !has_it {
                continue;
            }
            let at = service.ports().iter().position(|port| Some(port.number) == wanted.rank.port);
            let port = at.and_then(|at| grants.ports.get_mut(at));
            match (wanted.claim, port) {
                (Claim::Name(name), _) => match wanted.by {
                    None => grants.names.push(name),
                    Some(namespace) => grants.local_names.entry(namespace).or_default().push(name),
                },
                (Claim::Listener(at) | Claim::UdpListener(at), Some(port)) => port.listeners.push(at),
                (Claim::VirtualAddress(ip, _), Some(port)) => port.virtual_addresses.push(ip),
                _ => {}
            }
        }
        grants
    }

    /// Everything that was claimed in vain.
    pub(super) fn conflicts(&self) -> impl Iterator<Item = Conflict> {
        let contested = self.contested.iter();
        let contested = contested.filter_map(|(claim, whose)| Some((claim, whose, self.entries.get(claim)?)));
        contested.flat_map(|(claim, whose, entry)| self.conflicts_about(claim, whose.as_ref(), entry))
    }

    /// What is claimed in vain in the eyes of a namespace, but for what everybody sees in the same way.
    fn conflicts_about(&self, claim: &Claim, whose: Option<&Namespace>, entry: &ClaimEntry) -> Vec<Conflict> {
        let owner = self.owner_in(claim, entry, &whose);
        let is_told = |rank: &Rank| {
            whose.is_some()
                && entry.all.ranks().any(|it| it == rank)
                && owner == self.owner_in(claim, entry, &EVERYBODY)
        };
        let is_beside = |rank: &&Rank| rank.class == Class::Beside;
        let losers = entry.losers(&whose, &owner).filter(|rank| !is_told(rank));
        let (beside, losers): (Vec<&Rank>, Vec<&Rank>) = losers.partition(is_beside);
        let conflict = |loser: &Rank, named: Claimant| {
            let (winner, reason) = match &owner {
                Owner::Endpoint(service, port) => {
                    let http_listen = self.http_listen && entry.is_http(loser);
                    let winner = Claimant::Endpoint(service.clone(), *port);
                    (winner, Reason::EndpointListens { http_listen })
                }
                Owner::One(winner) => (claimant(winner), reason(winner, loser)),
                Owner::Sharers(sharing) => {
                    let winner = entry.first(&whose, sharing.of())?;
                    (claimant(winner), reason(winner, loser))
                }
                Owner::Nobody => return None,
            };
            let reason = if loser.class == Class::Beside { Reason::Beside } else { reason };
            let (claim, namespace) = (claim.clone(), whose.cloned());
            Some(Conflict { claim, namespace, loser: named, winner, reason })
        };
        // Those that are reached all the same are told together: they can be many.
        let together = beside.first().map(|first| (*first, together(first, beside.len() - 1)));
        let losers = losers.into_iter().map(|loser| (loser, claimant(loser)));
        losers.chain(together).filter_map(|(loser, named)| conflict(loser, named)).collect()
    }
}

/// A claimant of which there are more.
fn together(first: &Rank, others: usize) -> Claimant {
    match claimant(first) {
        Claimant::Service(service, Some(port)) if others > 0 => Claimant::Services(service, port, others),
        alone => alone,
    }
}

fn claimant(rank: &Rank) -> Claimant {
    match &rank.service {
        Some(service) => Claimant::Service(service.clone(), rank.port),
        None => Claimant::HttpListen,
    }
}

fn reason(winner: &Rank, loser: &Rank) -> Reason {
    match (winner.class, loser.class) {
        (Class::Configuration, _) => Reason::Configuration,
        (Class::Own, Class::Alias) => Reason::OwnHost,
        (Class::Own | Class::Alias, Class::Local) => Reason::AllClients,
        _ if winner.guess.protocol != loser.guess.protocol => Reason::GuessedProtocol,
        _ if winner.guess.number != loser.guess.number => Reason::GuessedPort,
        _ if winner.priority != loser.priority => Reason::Priority,
        _ => Reason::FirstHost,
    }
}

#[cfg(test)]
mod tests;
