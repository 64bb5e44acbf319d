//! Decides which service gets a name, address or listener that several claim: the smallest [`Rank`] wins,
//! whichever came first.
//!
//! A change of one service touches only the entries that it claims, and reports which other services gained or lost
//! something. A copy of a ledger costs nothing: it shares the entries that do not change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;

use imbl::{OrdMap, OrdSet};
use pilot_registry::{Hostname, Namespace, Port, Protocol, Resolution};

use super::conflict::{Claim, Claimant, Conflict, Reason};
use super::sockets::Sockets;
use crate::catalog::CatalogService;
use crate::mesh::MeshOptions;

/// A claimant's place in the order: the smallest wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    class: Class,
    priority: u32,
    host: Option<Hostname>,
    port: Option<Port>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Configuration,
    Own,
    Alias,
    Local,
    /// What a service would have beside its virtual addresses.
    Beside,
}

/// The claimants of one thing. HTTP services share a listener among themselves; all else has one owner.
#[derive(Clone, Debug, Default)]
struct Entry {
    sharing: OrdSet<Rank>,
    alone: OrdSet<Rank>,
}

/// Who owns a claim. HTTP services that share a listener count as one owner, so a change among them affects
/// nobody else.
#[derive(PartialEq)]
enum Owner {
    Nobody,
    Sharers,
    One(Rank),
    /// An endpoint that listens there.
    Endpoint(Hostname, Port),
}

impl Entry {
    fn owner(&self) -> Owner {
        match (self.sharing.get_min(), self.alone.get_min()) {
            (None, None) => Owner::Nobody,
            (Some(_), None) => Owner::Sharers,
            (Some(shared), Some(alone)) if shared < alone => Owner::Sharers,
            (_, Some(alone)) => Owner::One(alone.clone()),
        }
    }

    fn is_empty(&self) -> bool {
        self.sharing.is_empty() && self.alone.is_empty()
    }

    fn hosts(&self) -> impl Iterator<Item = &Hostname> {
        self.sharing.iter().chain(&self.alone).filter_map(|rank| rank.host.as_ref())
    }

    fn losers<'a>(&'a self, owner: &'a Owner) -> impl Iterator<Item = &'a Rank> {
        let sharing = (*owner != Owner::Sharers).then_some(&self.sharing).into_iter().flatten();
        sharing.chain(self.alone.iter().filter(move |rank| match owner {
            Owner::One(winner) => *rank != winner,
            _ => true,
        }))
    }
}

/// All claims of a mesh.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    entries: OrdMap<Claim, Entry>,
    contested: OrdSet<Claim>,
    sockets: Sockets,
    /// Whether all HTTP services are reached by `http_listen`, too.
    http_listen: bool,
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
    /// Where a listener of its own is bound; for HTTP ports: the listener that it shares.
    pub(super) listeners: Vec<SocketAddr>,
    /// Virtual addresses by which it is called in a Host header.
    pub(super) virtual_addresses: Vec<IpAddr>,
}

/// One claim of one service.
struct Wanted {
    claim: Claim,
    rank: Rank,
    shares: bool,
}

impl Ledger {
    /// A ledger in which pilot.toml has claimed what it wants. `http_listen` counts if given.
    pub(super) fn new(http_listen: Option<SocketAddr>) -> Self {
        let mut ledger = Self { http_listen: http_listen.is_some(), ..Self::default() };
        if let Some(at) = http_listen {
            let rank = Rank { class: Class::Configuration, priority: 0, host: None, port: None };
            ledger.entries.entry(Claim::Listener(at)).or_default().alone.insert(rank);
        }
        ledger
    }

    /// Replaces a service's claims. The hosts whose grants may be different now are added to `affected`.
    pub(super) fn replace(
        &mut self,
        old: Option<&CatalogService>,
        new: Option<&CatalogService>,
        options: &MeshOptions,
        affected: &mut BTreeSet<Hostname>,
    ) {
        let old = old.map(|service| claims(service, options, self.http_listen)).unwrap_or_default();
        let new = new.map(|service| claims(service, options, self.http_listen)).unwrap_or_default();
        let claimed = old.iter().chain(&new).map(|wanted| &wanted.claim);
        let touched: BTreeSet<Claim> =
            claimed.flat_map(|claim| [claim].into_iter().chain(self.local(claim))).cloned().collect();
        let before: Vec<Owner> = touched.iter().map(|claim| self.owner(claim)).collect();
        old.into_iter().for_each(|wanted| self.withdraw(&wanted));
        new.into_iter().for_each(|wanted| self.enter(wanted));
        for (claim, before) in touched.into_iter().zip(before) {
            if self.owner(&claim) != before {
                affected.extend(self.entries.get(&claim).into_iter().flat_map(Entry::hosts).cloned());
            }
            self.settle(claim);
        }
    }

    /// Replaces the sockets of a service's endpoints. The hosts whose grants may be different now are
    /// added to `affected`; gives whether conflicts may be.
    pub(super) fn replace_endpoints(
        &mut self,
        old: Option<&CatalogService>,
        new: Option<&CatalogService>,
        affected: &mut BTreeSet<Hostname>,
    ) -> bool {
        let mut found = false;
        for claim in self.sockets.replace(old, new) {
            if let Some(entry) = self.entries.get(&claim) {
                found = true;
                affected.extend(entry.hosts().cloned());
                self.settle(claim);
            }
        }
        found
    }

    /// The claims of namespaces to a name that is claimed for all clients here.
    fn local<'a>(&'a self, claim: &'a Claim) -> impl Iterator<Item = &'a Claim> {
        let name = match claim {
            Claim::Name(name, None) => Some(name),
            _ => None,
        };
        let from = name
            .into_iter()
            .flat_map(move |_| self.entries.range::<_, Claim>((Bound::Included(claim), Bound::Unbounded)));
        let from = from.map(|(it, _)| it);
        from.take_while(move |it| matches!(it, Claim::Name(other, _) if Some(other) == name))
    }

    /// What pilot.toml asks for goes before an endpoint, an endpoint before what services ask for, and a name that
    /// all clients use before one of a namespace.
    fn owner(&self, claim: &Claim) -> Owner {
        let owner = |claim: &Claim| self.entries.get(claim).map_or(Owner::Nobody, Entry::owner);
        if let Claim::Name(name, Some(_)) = claim {
            let of_all = owner(&Claim::Name(name.clone(), None));
            return if of_all == Owner::Nobody { owner(claim) } else { of_all };
        }
        let owner = owner(claim);
        match (self.sockets.holder(claim), &owner) {
            (None, _) | (_, Owner::One(Rank { class: Class::Configuration, .. })) => owner,
            (Some((host, port)), _) => Owner::Endpoint(host.clone(), *port),
        }
    }

    fn enter(&mut self, wanted: Wanted) {
        let entry = self.entries.entry(wanted.claim).or_default();
        let claimants = if wanted.shares { &mut entry.sharing } else { &mut entry.alone };
        claimants.insert(wanted.rank);
    }

    fn withdraw(&mut self, wanted: &Wanted) {
        if let Some(entry) = self.entries.get_mut(&wanted.claim) {
            let claimants = if wanted.shares { &mut entry.sharing } else { &mut entry.alone };
            claimants.remove(&wanted.rank);
        }
    }

    fn settle(&mut self, claim: Claim) {
        let owner = self.owner(&claim);
        let entry = self.entries.get(&claim);
        if entry.is_some_and(Entry::is_empty) {
            self.entries.remove(&claim);
            self.contested.remove(&claim);
        } else if entry.is_some_and(|entry| entry.losers(&owner).next().is_some()) {
            self.contested.insert(claim);
        } else {
            self.contested.remove(&claim);
        }
    }

    /// What the service has of what it claims.
    pub(super) fn grants(&self, service: &CatalogService, options: &MeshOptions) -> Grants {
        let ports = service.ports().iter().map(|_| PortGrants::default()).collect();
        let mut grants = Grants { ports, ..Grants::default() };
        for wanted in claims(service, options, self.http_listen).iter().filter(|wanted| self.has(wanted)) {
            let at = service.ports().iter().position(|port| Some(port.number) == wanted.rank.port);
            let port = at.and_then(|at| grants.ports.get_mut(at));
            match (&wanted.claim, port) {
                (Claim::Name(name, None), _) => grants.names.push(name.clone()),
                (Claim::Name(name, Some(namespace)), _) => {
                    grants.local_names.entry(namespace.clone()).or_default().push(name.clone());
                }
                (Claim::Listener(at) | Claim::UdpListener(at), Some(port)) => port.listeners.push(*at),
                (Claim::VirtualAddress(ip, _), Some(port)) => port.virtual_addresses.push(*ip),
                _ => {}
            }
        }
        grants
    }

    fn has(&self, wanted: &Wanted) -> bool {
        match self.owner(&wanted.claim) {
            Owner::Nobody | Owner::Endpoint(..) => false,
            Owner::Sharers => wanted.shares,
            Owner::One(winner) => winner == wanted.rank,
        }
    }

    /// Everything that was claimed in vain.
    pub(super) fn conflicts(&self) -> impl Iterator<Item = Conflict> {
        let contested = self.contested.iter().filter_map(|claim| Some((claim, self.entries.get(claim)?)));
        contested.flat_map(|(claim, entry)| {
            let owner = self.owner(claim);
            let is_beside = |rank: &&Rank| rank.class == Class::Beside;
            let (beside, losers): (Vec<&Rank>, Vec<&Rank>) = entry.losers(&owner).partition(is_beside);
            let conflict = |loser: &Rank, named: Claimant| {
                let (winner, reason) = match &owner {
                    Owner::Endpoint(host, port) => {
                        let http_listen = self.http_listen && entry.sharing.contains(loser);
                        let winner = Claimant::Endpoint(host.clone(), *port);
                        (winner, Reason::EndpointListens { http_listen })
                    }
                    Owner::One(winner) => (claimant(winner), reason(winner, loser)),
                    Owner::Sharers => {
                        entry.sharing.get_min().map(|winner| (claimant(winner), reason(winner, loser)))?
                    }
                    Owner::Nobody => return None,
                };
                let reason = if loser.class == Class::Beside { Reason::Beside } else { reason };
                Some(Conflict { claim: claim.clone(), loser: named, winner, reason })
            };
            // Those that are reached all the same are told together: they can be many.
            let together = beside.first().map(|first| (*first, together(first, beside.len() - 1)));
            let losers = losers.into_iter().map(|loser| (loser, claimant(loser)));
            losers.chain(together).filter_map(|(loser, named)| conflict(loser, named)).collect::<Vec<_>>()
        })
    }
}

/// A claimant of which there are more.
fn together(first: &Rank, others: usize) -> Claimant {
    match claimant(first) {
        Claimant::Service(host, Some(port)) if others > 0 => Claimant::Services(host, port, others),
        alone => alone,
    }
}

fn claimant(rank: &Rank) -> Claimant {
    match &rank.host {
        Some(host) => Claimant::Service(host.clone(), rank.port),
        None => Claimant::HttpListen,
    }
}

fn reason(winner: &Rank, loser: &Rank) -> Reason {
    match (winner.class, loser.class) {
        (Class::Configuration, _) => Reason::Configuration,
        (Class::Own, Class::Alias) => Reason::OwnHost,
        (Class::Own | Class::Alias, Class::Local) => Reason::AllClients,
        _ if winner.priority != loser.priority => Reason::Priority,
        _ => Reason::FirstHost,
    }
}

/// Everything that a service claims: its names first, then port by port. `http_listen`: whether that leads to HTTP
/// services, too.
fn claims(service: &CatalogService, options: &MeshOptions, http_listen: bool) -> Vec<Wanted> {
    let of_class = |class, port| Rank {
        class,
        priority: service.parts()[0].priority,
        host: Some(service.host().clone()),
        port,
    };
    let alone = |claim, rank| Wanted { claim, rank, shares: false };
    let name = |name: &Hostname, of: Option<&Namespace>| Claim::Name(name.clone(), of.cloned());
    let mut wanted = vec![alone(name(service.host(), None), of_class(Class::Own, None))];
    let aliases = service.aliases().iter().filter(|alias| *alias != service.host());
    wanted.extend(aliases.map(|alias| alone(name(alias, None), of_class(Class::Alias, None))));
    let local = service.local_names().iter();
    wanted.extend(local.map(|(of, local)| alone(name(local, Some(of)), of_class(Class::Local, None))));
    if service.lead().resolution == Resolution::Passthrough {
        return wanted;
    }
    for port in service.ports() {
        let number = port.number;
        let rank = || of_class(Class::Own, Some(number));
        let bind = SocketAddr::new(options.bind, number.get());
        if port.protocol.is_http() {
            if options.http_port_listeners || !http_listen {
                wanted.push(Wanted { claim: Claim::Listener(bind), rank: rank(), shares: true });
            }
            let addresses = service.virtual_addresses().iter();
            wanted.extend(addresses.map(|ip| alone(Claim::VirtualAddress(*ip, number), rank())));
            continue;
        }
        let addresses = service.virtual_addresses().iter().map(|ip| SocketAddr::new(*ip, number.get()));
        let addresses: Vec<SocketAddr> = addresses.collect();
        let listener = if port.protocol == Protocol::Udp { Claim::UdpListener } else { Claim::Listener };
        if !addresses.contains(&bind) {
            let class = if addresses.is_empty() { Class::Own } else { Class::Beside };
            wanted.push(alone(listener(bind), of_class(class, Some(number))));
        }
        wanted.extend(addresses.into_iter().map(|at| alone(listener(at), rank())));
    }
    wanted
}
