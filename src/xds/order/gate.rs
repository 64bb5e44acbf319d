//! What may be sent and removed of one type now.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Order, needs, users};
use crate::resources::{PerType, Resource, ResourceType, Rope, View, VirtualHost};
use crate::xds::client_copy::{ClientCopy, Has, Suspicion};
use crate::xds::ropes::{self, Unit};
use crate::xds::shared::PartialRoutes;
use crate::xds::type_state::{Rest, TypeState};

/// What may be sent and removed of one type now.
#[derive(Debug)]
pub struct Gate<'a> {
    order: &'a Order,
    kind: ResourceType,
    types: &'a PerType<TypeState>,
    view: &'a View,
    partial_routes: &'a PartialRoutes,
    /// Clusters that are not there are waited for.
    checks: bool,
    /// The client asks for clusters because of what names them. What it does not have yet, nothing breaks when it
    /// comes first.
    by_name: bool,
    /// The update of the earliest of this type that is not there yet.
    own: u64,
    earliest: OnceCell<u64>,
    /// `None`: any, because it is not known what names this type.
    used: OnceCell<Option<BTreeSet<Arc<str>>>>,
}

/// What a client is to be sent of a resource.
#[derive(Debug)]
pub struct Target {
    /// What it may have now; `None` = nothing yet.
    pub resource: Option<Arc<Resource>>,
    /// Whether some of it waits.
    pub waits: bool,
}

/// Whether a resource that is gone may be taken from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayRemove {
    /// It may.
    Yes,
    /// Not before the client has, or asked for, something else.
    Waits,
    /// Not while the client uses something that names it.
    IsUsed,
}

impl<'a> Gate<'a> {
    pub(super) fn new(
        order: &'a Order,
        kind: ResourceType,
        own: &TypeState,
        types: &'a PerType<TypeState>,
        view: &'a View,
        partial_routes: &'a PartialRoutes,
    ) -> Self {
        let (clusters, endpoints) = (&types[ResourceType::Cluster], &types[ResourceType::Endpoint]);
        let names_clusters =
            matches!(kind, ResourceType::Listener | ResourceType::Route | ResourceType::VirtualHost);
        let checks = order.aggregated && names_clusters && clusters.requested;
        let untold = clusters.brought.came_back && !endpoints.requested;
        let endpoints_there = !endpoints.requested || endpoints.is_all_there();
        let all_there = clusters.is_all_there() && endpoints_there && !untold;
        let by_name = !clusters.subscription.is_wildcard();
        Self {
            order,
            kind,
            types,
            view,
            partial_routes,
            checks: checks && !(all_there && order.awaited.is_empty()),
            by_name,
            own: order.earliest_of(kind, own, view),
            earliest: OnceCell::new(),
            used: OnceCell::new(),
        }
    }

    /// What the client may be sent of a resource of which it has `copy`, and `sent` is on its way.
    pub fn target(&self, copy: &ClientCopy, sent: Option<&Arc<Resource>>, now: &Arc<Resource>) -> Target {
        let whole = || Target { resource: Some(Arc::clone(now)), waits: false };
        if self.kind == ResourceType::VirtualHost && !self.has_routes(now.name()) {
            return Target { resource: None, waits: true };
        }
        match (copy.has.resource().map(|has| has.rope()), now.rope()) {
            (Some(Some(has)), Some(rope)) => self.parts_in_doubt(copy, Some(has), now, rope),
            (Some(_), _) if self.gains_missing(copy, now) => Target { resource: None, waits: true },
            (Some(_), _) => whole(),
            (None, _) if self.first_waits(copy, now) => Target { resource: None, waits: true },
            (None, Some(rope)) if copy.has.is_nothing() => {
                // By the time that this arrives, the client has what is on its way.
                let sent = sent.and_then(|sent| sent.rope());
                if sent.is_some() || copy.route.is_some() || !copy.doubts.is_empty() {
                    self.parts_in_doubt(copy, sent, now, rope)
                } else {
                    whole()
                }
            }
            (None, _) => whole(),
        }
    }

    /// Whether a resource that is gone may be taken from a client that has `copy` of it.
    pub fn may_remove(&self, name: &str, copy: &ClientCopy, state: &TypeState) -> MayRemove {
        if !self.order.aggregated {
            return MayRemove::Yes;
        }
        if state.brought.untold {
            return MayRemove::Waits;
        }
        if self.used().as_ref().is_none_or(|used| used.contains(name)) {
            return MayRemove::IsUsed;
        }
        let is_last =
            matches!(self.kind, ResourceType::Listener | ResourceType::Route | ResourceType::VirtualHost);
        if is_last && self.is_ahead(copy.changed) { MayRemove::Waits } else { MayRemove::Yes }
    }

    /// Whether a client that asks for these endpoints is to be answered, even if there are none.
    pub fn awaits(&self, endpoints: &str) -> bool {
        self.order.awaits(endpoints)
    }

    /// Whether the client has the routes of that name, or they are on their way. Virtual hosts that come before, it
    /// would drop.
    pub fn has_routes(&self, name: &str) -> bool {
        let routes = &self.types[ResourceType::Route];
        let is_coming = || routes.on_its_way(name).any(|sent| sent.is_some());
        !routes.has(self.view.of(ResourceType::Route), name).is_nothing() || is_coming()
    }

    /// Whether something that came with that update, or before it, is not there yet.
    fn is_ahead(&self, update: u64) -> bool {
        let others = || self.order.earliest(self.types, self.view);
        self.order.aggregated && (self.own <= update || *self.earliest.get_or_init(others) <= update)
    }

    /// What of this type is named by what the client uses and is not there any more; `None` = anything may be.
    fn used(&self) -> &Option<BTreeSet<Arc<str>>> {
        self.used.get_or_init(|| {
            let mut used = BTreeSet::new();
            let mut users_have = users(self.kind).iter().flat_map(|user| self.types[*user].copies.values());
            if users_have.any(|copy| copy.has.may_lead_anywhere()) {
                return None;
            }
            for user in users(self.kind) {
                for (name, resource) in self.types[*user].in_use() {
                    let now = self.view.of(*user).get(name).and_then(|now| now.rope());
                    match (resource.rope(), now) {
                        (Some(has), Some(now)) => {
                            let hosts = now.changes_since(has).into_iter().filter_map(|host| host.before);
                            hosts.for_each(|host| used.extend(host.clusters().cloned()));
                        }
                        _ => used.extend(needs(resource, self.kind).cloned()),
                    }
                }
            }
            Some(used)
        })
    }

    fn gains_missing(&self, copy: &ClientCopy, now: &Resource) -> bool {
        let has: BTreeSet<_> = match copy.has.resource() {
            Some(has) if self.checks => needs(has, ResourceType::Cluster).collect(),
            _ => return false,
        };
        needs(now, ResourceType::Cluster).any(|name| !has.contains(name) && self.missing(name).is_some())
    }

    /// Clusters that came later do not hold back a route configuration of many: there may always be one more.
    fn first_waits(&self, copy: &ClientCopy, now: &Resource) -> bool {
        let waits = self.checks && !(self.by_name && copy.has.is_nothing());
        let latest = if now.rope().is_some() { copy.since } else { u64::MAX };
        let holds = |name: &Arc<str>| self.missing(name).is_some_and(|since| since <= latest);
        waits && needs(now, ResourceType::Cluster).any(holds)
    }

    /// The client has these virtual hosts, or those of which it is in doubt whether it took them: what would wait there
    /// waits. Where that is not the same, all of it does.
    fn parts_in_doubt(
        &self,
        copy: &ClientCopy,
        has: Option<&Rope>,
        now: &Arc<Resource>,
        rope: &Rope,
    ) -> Target {
        // While it is found out which of many it refuses, only those that it certainly has are beside those on trial.
        let is_searched = copy.route.as_ref().is_some_and(|route| !route.groups.is_empty());
        let doubts = copy.doubts.iter().rev().filter(|_| !is_searched).filter_map(|doubt| doubt.rope());
        let targets = doubts.map(Some).chain([has]).map(|has| self.parts(copy, has, now, rope));
        let (mut waiting, mut ready): (Vec<_>, Vec<_>) = targets.partition(|target| target.waits);
        let version = |target: &Target| target.resource.as_ref().map(|it| it.version().to_owned());
        let is_one = waiting.windows(2).all(|pair| version(&pair[0]) == version(&pair[1]));
        let target = if is_one { waiting.pop().or_else(|| ready.pop()) } else { None };
        target.unwrap_or(Target { resource: None, waits: true })
    }

    fn parts(&self, copy: &ClientCopy, has: Option<&Rope>, now: &Arc<Resource>, rope: &Rope) -> Target {
        let group = match (&copy.route, copy.suspicion) {
            (Some(route), Suspicion::OnTrial) => route.groups.last(),
            _ => None,
        };
        if copy.route.is_none() && !self.checks {
            return Target { resource: Some(Arc::clone(now)), waits: false };
        }
        // What is refused, or may be, is not to hold back all else.
        let is_refused_in =
            copy.route.as_ref().is_some_and(|it| !it.refused.is_empty() || !it.groups.is_empty());
        let units = if is_refused_in { ropes::apart(has, rope) } else { ropes::units(has, rope) };
        let off_trial =
            |unit: &Unit| group.is_some_and(|group| !unit.names().any(|name| group.contains(name)));
        let waiting: Vec<bool> =
            units.iter().map(|unit| has.is_some() && self.unit_waits(copy, unit)).collect();
        // What comes after these may take their domains.
        let holds_trial =
            |(unit, waits): (&Unit, &bool)| *waits && unit.is_from_unknown() && !off_trial(unit);
        if group.is_some() && units.iter().zip(&waiting).any(holds_trial) {
            return Target { resource: None, waits: true };
        }
        let held = units.iter().zip(&waiting);
        let held = held.filter(|(unit, waits)| **waits || off_trial(unit) || is_refused(copy, unit));
        let resource = ropes::without(now, held.map(|(unit, _)| unit));
        let resource =
            if Arc::ptr_eq(&resource, now) { resource } else { self.partial_routes.share(resource) };
        Target { resource: Some(resource), waits: waiting.contains(&true) }
    }

    /// What leads a domain to a cluster that the client does not have waits for that one, unless it has nothing for
    /// that domain either way. What only goes waits for all that came with it.
    fn unit_waits(&self, copy: &ClientCopy, unit: &Unit) -> bool {
        if unit.is_removal() {
            let gone = |name| copy.route.as_ref().and_then(|route| route.gone.get(name)).copied();
            return unit.names().any(|name| self.is_ahead(gone(name).unwrap_or(copy.changed)));
        }
        if !self.checks {
            return false;
        }
        let before = || unit.0.iter().filter_map(|host| host.before.as_ref());
        let now = || unit.0.iter().filter_map(|host| host.now.as_ref());
        let is_missing = |name: &Arc<str>| self.missing(name).is_some();
        let serves =
            |name: &&Arc<str>| !is_missing(name) || self.is_coming(name) || self.serves_meanwhile(name);
        let had: BTreeSet<_> = before().flat_map(|host| host.clusters()).collect();
        let gains = |host: &VirtualHost, had: &BTreeSet<_>| {
            host.clusters().any(|it| !had.contains(it) && is_missing(it))
        };
        // Nobody has called a new one before: 404 until its cluster is there is better than 503. It holds up no other.
        let is_new = before().next().is_none() || unit.is_from_unknown();
        if now().any(|host| gains(host, &had)) && (is_new || had.iter().any(serves)) {
            return true;
        }
        // A domain may move to a virtual host that led elsewhere before.
        let mut led: BTreeMap<&str, BTreeSet<&Arc<str>>> = BTreeMap::new();
        for host in before() {
            host.domains().for_each(|domain| led.entry(domain).or_default().extend(host.clusters()));
        }
        now().any(|host| {
            let had = host.domains().filter_map(|domain| led.get(domain));
            had.into_iter().any(|had| gains(host, had) && had.iter().any(serves))
        })
    }

    /// Whether the client can use a cluster when all that is on its way has arrived.
    fn is_coming(&self, name: &str) -> bool {
        let latest = |kind: ResourceType, name: &str| {
            let state = &self.types[kind];
            match state.on_its_way(name).last() {
                Some(sent) => sent.cloned(),
                None => state.has(self.view.of(kind), name).resource().cloned(),
            }
        };
        let cluster = latest(ResourceType::Cluster, name);
        let has = |name: &Arc<str>| latest(ResourceType::Endpoint, name).is_some();
        cluster.is_some_and(|cluster| needs(&cluster, ResourceType::Endpoint).all(has))
    }

    /// Whether the client uses an earlier version of a cluster until it has the endpoints of this one.
    fn serves_meanwhile(&self, name: &str) -> bool {
        let clusters = &self.types[ResourceType::Cluster];
        let has = clusters.has(self.view.of(ResourceType::Cluster), name);
        let has = has.resource().filter(|_| !clusters.is_going(name));
        has.is_some_and(|has| {
            let mut needed = needs(has, ResourceType::Endpoint);
            needed.any(|endpoints| self.order.serves_meanwhile(name, endpoints))
        })
    }

    /// The update with which a cluster came that the client does not have yet, or not its endpoints. None if it had its
    /// time to ask for them.
    fn missing(&self, name: &str) -> Option<u64> {
        self.not_there(name).filter(|since| !self.order.is_over(*since))
    }

    fn not_there(&self, name: &str) -> Option<u64> {
        let clusters = &self.types[ResourceType::Cluster];
        let view = self.view.of(ResourceType::Cluster);
        // What does not exist, or what the client asks for only when it is told of it, is not waited for.
        let cluster = clusters.visible(view, name)?;
        let copy = clusters.copies.get(name);
        let since = match (copy, clusters.rest) {
            (Some(copy), _) => copy.since,
            (None, Rest::Sent(since)) => since,
            (None, _) => 0,
        };
        match clusters.has(view, name) {
            // Nothing is gained by waiting for what the client will not take.
            Has::Nothing | Has::Unknown if copy.is_some_and(|copy| copy.refuses(cluster)) => None,
            Has::Nothing | Has::Unknown => Some(since),
            // It came back while its removal is on its way.
            Has::This(_) if clusters.is_going(name) => copy.map(|copy| copy.changed),
            // A cluster that is sent anew serves as it was until it is ready.
            Has::This(has) => {
                let latest = has.version() == cluster.version() || copy.is_some_and(|it| it.refuses(cluster));
                let mut needed = needs(&has, ResourceType::Endpoint);
                needed.find_map(|name| self.missing_endpoints(name, (!latest).then_some(since)))
            }
        }
    }

    /// `outdated`: the cluster has changed since then, and may need others now.
    fn missing_endpoints(&self, name: &str, outdated: Option<u64>) -> Option<u64> {
        let endpoints = &self.types[ResourceType::Endpoint];
        if self.order.without_endpoints || has(endpoints, self.view, name) {
            return None;
        }
        let there = self.view.of(ResourceType::Endpoint).get(name);
        let copy = endpoints.copies.get(name);
        let refused = there.is_some_and(|there| copy.is_some_and(|copy| copy.refuses(there)));
        let awaited = self.order.awaited.get(name).map(|awaited| awaited.since);
        // Of a client that came back it is not known what it has before it says so.
        let untold =
            || (!endpoints.requested && self.types[ResourceType::Cluster].brought.came_back).then_some(0);
        // It may have taken some of those that it refused with others, and they are gone: no further word of them comes.
        let is_over = |copy: &ClientCopy| !copy.doubts.is_empty() && !endpoints.is_on_its_way(name);
        if refused || (there.is_none() && copy.is_none_or(is_over)) {
            return outdated.filter(|_| !refused);
        }
        let on_its_way = match endpoints.rest {
            Rest::Sent(since) => Some(since),
            Rest::Nothing if endpoints.requested => Some(0),
            Rest::Nothing | Rest::Accepted => None,
        };
        awaited.or(copy.map(|copy| copy.since)).or(on_its_way).or_else(untold)
    }
}

/// Whether the client can use endpoints of that name, in whatever version.
pub(super) fn has(endpoints: &TypeState, view: &View, name: &str) -> bool {
    !endpoints.has(view.of(ResourceType::Endpoint), name).is_nothing() && !endpoints.is_going(name)
}

fn is_refused(copy: &ClientCopy, unit: &Unit) -> bool {
    let Some(route) = &copy.route else { return false };
    let refused = |host: &Arc<crate::resources::VirtualHost>| {
        route.refused.get(host.name()).is_some_and(|(hash, _)| *hash == host.hash())
    };
    unit.0.iter().filter_map(|host| host.now.as_ref()).any(refused)
}
