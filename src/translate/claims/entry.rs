//! The candidates for one thing, in order, and who has it in the eyes of whom.
//!
//! ```text
//!  ClaimEntry ── all       candidates that everybody sees
//!    └────────── special   by namespace: candidates that only its clients see, and those of all that they do not see
//! ```
//!
//! A viewer's owner is the first candidate that it sees. So who has something is asked for a viewer, and for each
//! another one may have it.

use imbl::{OrdMap, OrdSet};
use pilot_registry::{Namespace, Port, ServiceId};

use crate::catalog::Guess;

/// A candidate's place in the order: the smallest wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) class: Class,
    /// What is guessed of a port goes after what is said.
    pub(super) guess: Guess,
    pub(super) priority: u32,
    /// `None` = pilot.toml itself.
    pub(super) service: Option<ServiceId>,
    pub(super) port: Option<Port>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Configuration,
    Own,
    Alias,
    /// A name that only clients of the service's namespace use.
    Local,
    /// What a service would have beside its virtual addresses.
    Beside,
}

/// Who looks at the claims.
pub(in crate::translate) trait ClaimViewer {
    /// The namespace of whose clients it is one; `None` = of none in particular.
    fn namespace(&self) -> Option<&Namespace>;

    /// Whether, of the services that clients of the namespace see, it sees this one.
    fn reaches(&self, service: &ServiceId) -> bool;
}

/// All clients of a namespace, or all who are in none in particular: everybody.
impl ClaimViewer for Option<&Namespace> {
    fn namespace(&self) -> Option<&Namespace> {
        *self
    }

    fn reaches(&self, _: &ServiceId) -> bool {
        true
    }
}

/// What services that share a listener have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// They are told apart by the Host of requests.
    Http,
    /// They are told apart by the names that clients ask for (SNI).
    Tls,
}

/// Who has something. Services that share a listener count as one owner, so a change among them affects nobody else.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Owner {
    Nobody,
    Sharers(Sharing),
    One(Rank),
    /// An endpoint that listens there.
    Endpoint(ServiceId, Port),
}

/// The candidates for one thing. HTTP services share a listener among themselves, and so do TLS services; all else has one
/// owner.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Candidates {
    pub(super) http: OrdSet<Rank>,
    pub(super) tls: OrdSet<Rank>,
    pub(super) alone: OrdSet<Rank>,
}

/// What clients of one namespace see beside, and do not see.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Special {
    pub(super) own: Candidates,
    pub(super) hidden: OrdSet<Rank>,
}

/// All candidates for one thing.
#[derive(Clone, Debug, Default)]
pub(super) struct ClaimEntry {
    pub(super) all: Candidates,
    pub(super) special: OrdMap<Namespace, Special>,
}

impl Sharing {
    /// Those of the candidates that share so.
    pub(super) fn of(self) -> fn(&Candidates) -> &OrdSet<Rank> {
        match self {
            Self::Http => |candidates| &candidates.http,
            Self::Tls => |candidates| &candidates.tls,
        }
    }
}

impl Candidates {
    pub(super) fn is_empty(&self) -> bool {
        self.ranks().next().is_none()
    }

    pub(super) fn ranks(&self) -> impl Iterator<Item = &Rank> {
        self.http.iter().chain(&self.tls).chain(&self.alone)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceId> {
        self.ranks().filter_map(|rank| rank.service.as_ref())
    }

    pub(super) fn of_kind(&mut self, sharing: Option<Sharing>) -> &mut OrdSet<Rank> {
        match sharing {
            Some(Sharing::Http) => &mut self.http,
            Some(Sharing::Tls) => &mut self.tls,
            None => &mut self.alone,
        }
    }
}

impl Special {
    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.hidden.is_empty()
    }
}

impl ClaimEntry {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.special.is_empty()
    }

    /// Who has it for that viewer, as far as services decide that.
    pub(super) fn owner(&self, viewer: &impl ClaimViewer) -> Owner {
        let sharers =
            [Sharing::Http, Sharing::Tls].map(|it| (self.first(viewer, it.of()), Owner::Sharers(it)));
        let alone = self.first(viewer, |it| &it.alone);
        let alone = (alone, alone.map_or(Owner::Nobody, |rank| Owner::One(rank.clone())));
        let there = sharers.into_iter().chain([alone]).filter_map(|(rank, owner)| Some((rank?, owner)));
        there.min_by(|(one, _), (other, _)| one.cmp(other)).map_or(Owner::Nobody, |(_, owner)| owner)
    }

    /// The first of the candidates that the viewer sees.
    pub(super) fn first<V: ClaimViewer>(
        &self,
        viewer: &V,
        of: fn(&Candidates) -> &OrdSet<Rank>,
    ) -> Option<&Rank> {
        let special = self.special(viewer);
        let all = of(&self.all).iter().find(|rank| sees(viewer, special, rank));
        let own = special.and_then(|special| of(&special.own).iter().find(|rank| sees(viewer, None, rank)));
        match (all, own) {
            (Some(all), Some(own)) => Some(all.min(own)),
            (all, own) => all.or(own),
        }
    }

    /// The candidates that the viewer sees and that are not the owner.
    pub(super) fn losers<'a, V: ClaimViewer>(
        &'a self,
        viewer: &'a V,
        owner: &'a Owner,
    ) -> impl Iterator<Item = &'a Rank> {
        let special = self.special(viewer);
        let lost = move |candidates: &'a Candidates| {
            let sharing = [Sharing::Http, Sharing::Tls].into_iter();
            let sharing = sharing.filter(move |it| *owner != Owner::Sharers(*it));
            let sharing = sharing.flat_map(move |it| it.of()(candidates));
            let alone = candidates.alone.iter().filter(move |rank| match owner {
                Owner::One(winner) => *rank != winner,
                _ => true,
            });
            sharing.chain(alone)
        };
        let all = lost(&self.all).filter(move |rank| sees(viewer, special, rank));
        let own = special.into_iter().flat_map(move |special| lost(&special.own));
        all.chain(own.filter(move |rank| sees(viewer, None, rank)))
    }

    /// Whether it is the claim of an HTTP service, which others may share.
    pub(super) fn is_http(&self, rank: &Rank) -> bool {
        let mut special = self.special.values();
        self.all.http.contains(rank) || special.any(|it| it.own.http.contains(rank))
    }

    fn special(&self, viewer: &impl ClaimViewer) -> Option<&Special> {
        viewer.namespace().and_then(|namespace| self.special.get(namespace))
    }
}

fn sees(viewer: &impl ClaimViewer, special: Option<&Special>, rank: &Rank) -> bool {
    rank.service.as_ref().is_none_or(|service| viewer.reaches(service))
        && special.is_none_or(|special| !special.hidden.contains(rank))
}
