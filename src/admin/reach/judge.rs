//! Which proxies have a mesh, and what keeps the others from it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::wanted::Scent;
use super::{MissingReport, Why};
use crate::admin::Admin;
use crate::mesh::Mesh;
use crate::proxies::{NAMES_MAX, Nack, OpenStream, TypeStatus};
use crate::proxy::Scope;
use crate::resources::{PerType, Resource, ResourceType, View};
use crate::xds::names::Names;

/// Hears all streams, and tells of their proxies.
pub(super) struct Judge<'a> {
    admin: &'a Admin,
    mesh: &'a Mesh,
    scent: Option<&'a Scent>,
    /// The number of the mesh that proxies are to have.
    at: u64,
    sights: HashMap<Scope, Option<Rc<Sight>>>,
    clients: BTreeMap<ClientKey, Client>,
}

/// A proxy's id, its program, and where it is.
type ClientKey = (Arc<str>, Arc<str>, Option<IpAddr>);

/// What there is to say of all.
pub(super) struct Verdicts {
    pub(super) concerned: usize,
    pub(super) missing: Vec<MissingReport>,
}

/// What one scope sees of what is meant.
struct Sight {
    view: Arc<View>,
    /// By name; of routes, with the virtual hosts that are meant.
    meant: PerType<BTreeMap<Arc<str>, BTreeSet<Arc<str>>>>,
    /// The listeners that lead to routes, by these.
    entrances: BTreeMap<Arc<str>, Vec<Arc<Resource>>>,
}

/// What is known of one proxy.
#[derive(Default)]
struct Client {
    sights: Vec<Rc<Sight>>,
    asks: PerType<Vec<(bool, Names)>>,
    /// The types that it has not all of, or that it moves to another scope.
    behind: BTreeSet<&'static str>,
    moves: bool,
    /// What it refuses of what is meant, in words.
    refused: Vec<String>,
    /// Listeners that it refuses, with its words.
    closed: BTreeMap<String, String>,
    spared: Vec<String>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(admin: &'a Admin, mesh: &'a Mesh, scent: Option<&'a Scent>, at: u64) -> Self {
        Self { admin, mesh, scent, at, sights: HashMap::new(), clients: BTreeMap::new() }
    }

    /// Takes in one stream.
    pub(super) fn hear(&mut self, stream: &OpenStream<'_>) {
        let sight = self.sight(&stream.scope);
        let proxy = stream.proxy;
        let key = (Arc::clone(&proxy.id), Arc::clone(&proxy.user_agent), stream.peer);
        let client = self.clients.entry(key).or_default();
        let expected = self.mesh.scope(proxy, stream.transport);
        let whole = Scope { client: expected.client.whole(), ..expected.clone() };
        client.moves |= stream.scope != expected && stream.scope != whole;
        let Some(sight) = sight else {
            client.moves = true;
            return;
        };
        let target = self.at.min(sight.view.generation());
        for (kind, status) in stream.types.iter() {
            let Some(status) = status else { continue };
            client.asks[kind].push((status.wildcard, status.asked.clone()));
            client.take(kind, status, &sight, self.scent, target);
        }
        client.sights.push(sight);
    }

    fn sight(&mut self, scope: &Scope) -> Option<Rc<Sight>> {
        if let Some(known) = self.sights.get(scope) {
            return known.clone();
        }
        let sight = self.admin.world.peek(scope).map(|view| Rc::new(Sight::of(view, self.scent)));
        self.sights.insert(scope.clone(), sight.clone());
        sight
    }

    pub(super) fn verdicts(self) -> Verdicts {
        let mut verdicts = Verdicts { concerned: 0, missing: Vec::new() };
        for ((id, _, peer), client) in self.clients {
            // It asks for nothing that pilot has.
            if client.asks.values().all(Vec::is_empty) && !client.moves {
                continue;
            }
            let why = client.verdict(self.scent);
            let may_be_untold = self.scent.is_some_and(|scent| !scent.concerns_all());
            if why.is_none() && may_be_untold && !client.is_told() {
                continue;
            }
            verdicts.concerned += 1;
            let peer = peer.map(|peer| peer.to_string());
            let report = |(why, message)| MissingReport { proxy: id.to_string(), peer, why, message };
            verdicts.missing.extend(why.map(report));
        }
        verdicts
    }
}

impl Sight {
    fn of(view: Arc<View>, scent: Option<&Scent>) -> Self {
        let mut meant: PerType<BTreeMap<Arc<str>, BTreeSet<Arc<str>>>> = PerType::default();
        if let Some(scent) = scent {
            for kind in ResourceType::ALL {
                for resource in view.of(kind).iter() {
                    let hosts = resource.rope().into_iter().flat_map(|rope| rope.virtual_hosts());
                    let hosts = hosts.filter(|host| scent.is_of(kind, host.origin()));
                    let hosts: BTreeSet<Arc<str>> = hosts.map(|host| Arc::clone(host.name())).collect();
                    if !hosts.is_empty() || scent.is_of(kind, resource.origin()) {
                        meant[kind].insert(Arc::clone(resource.name()), hosts);
                    }
                }
            }
        }
        let mut entrances: BTreeMap<Arc<str>, Vec<Arc<Resource>>> = BTreeMap::new();
        for listener in view.of(ResourceType::Listener).iter() {
            for (_, routes) in listener.references().filter(|(kind, _)| *kind == ResourceType::Route) {
                entrances.entry(Arc::clone(routes)).or_default().push(Arc::clone(listener));
            }
        }
        Self { view, meant, entrances }
    }

    /// Whether a version that a proxy does not have is meant.
    fn means(&self, kind: ResourceType, name: &str, host: Option<&str>) -> bool {
        self.meant[kind]
            .get(name)
            .is_some_and(|hosts| host.is_none_or(|host| hosts.is_empty() || hosts.contains(host)))
    }
}

impl Client {
    fn take(
        &mut self,
        kind: ResourceType,
        status: &TypeStatus,
        sight: &Sight,
        scent: Option<&Scent>,
        target: u64,
    ) {
        let minds = scent.is_none_or(|scent| scent.minds(kind));
        if minds && status.settled < Some(target) {
            self.behind.insert(kind.as_str());
        }
        let is_meant = |name: &str, host: Option<&str>| scent.is_none() || sight.means(kind, name, host);
        if let Some(nack) = &status.nack {
            self.refuses(kind, nack, minds, is_meant);
        }
        let spared = status.withheld.iter().filter(|it| is_meant(&it.name, it.virtual_host.as_deref()));
        self.spared.extend(spared.map(|it| {
            let who = it.refused_by;
            format!("{kind} {}: {who} proxies of its version refuse it: {}", it.name, it.message)
        }));
    }

    fn refuses(
        &mut self,
        kind: ResourceType,
        nack: &Nack,
        minds: bool,
        is_meant: impl Fn(&str, Option<&str>) -> bool,
    ) {
        if nack.searching && minds {
            self.behind.insert(kind.as_str());
        }
        if kind == ResourceType::Listener {
            self.closed.extend(nack.refused.iter().map(|it| (it.name.clone(), it.message.clone())));
        }
        let is_cut = nack.refused.len() >= NAMES_MAX;
        for refused in nack
            .refused
            .iter()
            .filter(|it| is_meant(&it.name, it.virtual_host.as_deref()) || (is_cut && minds))
        {
            let host = refused.virtual_host.as_ref().map(|host| format!(", virtual host {host}"));
            let (name, origin, words) = (&refused.name, &refused.origin, &refused.message);
            self.refused.push(format!("{kind} {name}{} ({origin}): {words}", host.unwrap_or_default()));
        }
        if nack.refused.is_empty() && !nack.searching && minds {
            self.refused.push(format!("{kind}: {}", nack.message));
        }
    }

    /// Whether it asks for that resource.
    fn wants(&self, kind: ResourceType, resource: &Resource) -> bool {
        self.asks[kind].iter().any(|(wildcard, names)| {
            (*wildcard && !resource.is_by_name_only()) || names.get(resource.name()).is_some()
        })
    }

    fn has_named(&self, kind: ResourceType, name: &str) -> bool {
        self.asks[kind].iter().any(|(_, names)| names.get(name).is_some())
    }

    /// Whether it asks for anything of what is meant.
    fn is_told(&self) -> bool {
        self.sights.iter().any(|sight| {
            sight.meant.iter().any(|(kind, meant)| {
                meant.keys().any(|name| {
                    sight.view.of(kind).get(name).is_some_and(|resource| self.wants(kind, resource))
                })
            })
        })
    }

    /// What keeps it from what is meant; `None` = it has it.
    fn verdict(&self, scent: Option<&Scent>) -> Option<(Why, String)> {
        if self.moves {
            return Some((
                Why::NotAcknowledged,
                "is told otherwise from now on, and has not acknowledged that yet".into(),
            ));
        }
        if !self.behind.is_empty() {
            let types = self.behind.iter().copied().collect::<Vec<_>>().join(", ");
            return Some((Why::NotAcknowledged, format!("has not acknowledged {types} yet")));
        }
        if !self.refused.is_empty() {
            return Some((Why::Refused, format!("refuses {}", self.refused.join("; "))));
        }
        if !self.spared.is_empty() {
            return Some((Why::Spared, format!("is not told {}", self.spared.join("; "))));
        }
        self.unasked(scent)
    }

    /// What it does not ask for, though it has a listener that leads there.
    fn unasked(&self, scent: Option<&Scent>) -> Option<(Why, String)> {
        let (mut unasked, mut closed) = (BTreeSet::new(), BTreeSet::new());
        for sight in &self.sights {
            for (routes, listeners) in &sight.entrances {
                let is_meant = scent.is_none()
                    || sight.means(ResourceType::Route, routes, None)
                    || sight.means(ResourceType::VirtualHost, routes, None);
                if !is_meant || self.has_named(ResourceType::Route, routes) {
                    continue;
                }
                let wanted = listeners.iter().filter(|listener| self.wants(ResourceType::Listener, listener));
                for listener in wanted {
                    match self.closed.get(&**listener.name()) {
                        Some(words) => _ = closed.insert((&**listener.name(), words.as_str())),
                        None => _ = unasked.insert(&**routes),
                    }
                }
            }
        }
        if !unasked.is_empty() {
            let names = unasked.into_iter().collect::<Vec<_>>().join(", ");
            return Some((Why::NotAsked, format!("has not asked for the routes {names}")));
        }
        let scent = scent?;
        let is_of_routes = scent.minds(ResourceType::Route) && !scent.minds(ResourceType::Cluster);
        if !is_of_routes || self.is_told() {
            return None;
        }
        // All the listeners that lead there are refused.
        if let Some((listener, words)) = closed.first() {
            return Some((
                Why::Refused,
                format!("refuses the listener {listener}, which leads there: {words}"),
            ));
        }
        // A client that asks for all clusters and no routes has listeners of its own.
        let follows_all = self.asks[ResourceType::Cluster].iter().any(|(wildcard, _)| *wildcard);
        let is_there = self.sights.iter().any(|sight| {
            !sight.meant[ResourceType::Route].is_empty() || !sight.meant[ResourceType::VirtualHost].is_empty()
        });
        let silent = self.asks[ResourceType::Route].is_empty();
        (follows_all && is_there && silent)
            .then(|| (Why::NotAsked, "does not follow routes: it has not asked for any".to_owned()))
    }
}
