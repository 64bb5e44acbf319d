//! Listeners that TLS services share: clients say by SNI which one they want.
//!
//! ```text
//!  TlsEntrance of each service ──► TlsEntrances at an address ──► listener: a chain for each name, one for all others
//! ```
//!
//! A service is reached by its host and its aliases, or by the names that rules name. All other connections go to the first
//! service there: a client that sends no name, or another one, keeps what it had when a second service comes. Names that
//! only clients of a namespace use do not count: a certificate says none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use imbl::OrdMap;
use pilot_envoy_api::envoy::config::listener::v3::FilterChain;
use pilot_registry::{Hostname, Port};

use super::{listeners, names};
use crate::catalog::Guess;
use crate::mesh::Traffic;
use crate::resources::{Origin, Resource, ResourceType};

/// What one service adds to a listener.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TlsEntrance {
    pub(super) rank: EntranceRank,
    /// Chains for the names that clients ask for.
    pub(super) by_name: Vec<FilterChain>,
    /// Where all others go if the service is the first there; `None` = nowhere.
    pub(super) others: Option<FilterChain>,
    /// Whether a document says so.
    pub(super) is_ruled: bool,
    /// The clusters to which the chains lead.
    pub(super) clusters: Vec<Arc<str>>,
    pub(super) origin: Origin,
    /// Whether it may be no address of the machine.
    pub(super) is_virtual: bool,
}

/// The place of a service among those at one address: the smallest is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntranceRank {
    /// It has virtual addresses, and is here beside them.
    pub(super) is_beside: bool,
    pub(super) guess: Guess,
    /// Of its registry.
    pub(super) priority: u32,
}

/// What one service adds, by address.
pub(super) type TlsByAddress = BTreeMap<SocketAddr, Arc<TlsEntrance>>;

/// What the services at one address add, by their hosts.
pub(super) type TlsEntrances = OrdMap<Hostname, Arc<TlsEntrance>>;

/// The listener at an address. `None` = no service is there.
pub(super) fn listener(at: SocketAddr, entrances: &TlsEntrances, traffic: &Traffic) -> Option<Resource> {
    let mut ordered: Vec<(&Hostname, &Arc<TlsEntrance>)> = entrances.iter().collect();
    ordered.sort_by_key(|(host, entrance)| (entrance.rank, *host));
    let (_, first) = ordered.first()?;
    // What rules say of a name goes before what a service is called.
    let (ruled, plain): (Vec<_>, Vec<_>) = ordered.iter().partition(|(_, entrance)| entrance.is_ruled);
    let all = || ruled.iter().chain(&plain).map(|(_, entrance)| *entrance);
    let mut taken = BTreeSet::new();
    let chains = all().flat_map(|entrance| &entrance.by_name).filter_map(|chain| named(chain, &mut taken));
    let listener = listeners::tcp(
        at,
        chains.collect(),
        first.others.clone(),
        true,
        all().any(|it| it.is_virtual),
        traffic,
    );
    let clusters: BTreeSet<&Arc<str>> = all().flat_map(|entrance| &entrance.clusters).collect();
    let references = clusters.into_iter().map(|cluster| (ResourceType::Cluster, Arc::clone(cluster)));
    let origin = match entrances.len() {
        1 => first.origin.clone(),
        _ => Port::try_from(u32::from(at.port())).map_or_else(|_| first.origin.clone(), Origin::Port),
    };
    Some(Resource::new(names::listener(at).into(), &listener, references.collect(), origin))
}

/// The chain, with the names that no other chain has: Envoy refuses a listener in which one name is there twice.
fn named(chain: &FilterChain, taken: &mut BTreeSet<String>) -> Option<FilterChain> {
    let mut chain = chain.clone();
    let names = &mut chain.filter_chain_match.as_mut()?.server_names;
    names.retain(|name| taken.insert(name.clone()));
    let first = names.first()?.clone();
    Some(FilterChain { name: first, ..chain })
}
