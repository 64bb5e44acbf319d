//! Compares two snapshots: which endpoints are missing, and what a service looks like with them added back.
//!
//! An endpoint is identified by its address and ports. Only lost capacity counts: an endpoint that the
//! platform called unhealthy or draining is not missing, and neither is one that another endpoint replaces.
//! So a deployment that replaces all endpoints in one step loses nothing.
//!
//! The older snapshot takes over what the newer one says about endpoints that are in both. So an endpoint
//! that drains first and then disappears is not missing, however recently it was healthy.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot_registry::{Address, Endpoint, Port, Resolution, Service, ServiceId, ServicePort, Snapshot};

/// A service that two snapshots differ in.
#[derive(Debug)]
pub(super) struct ServiceDiff<'a> {
    /// What it was; `None` = it is new.
    pub(super) old: Option<&'a Arc<Service>>,
    /// What it is; `None` = it is gone.
    pub(super) new: Option<&'a Arc<Service>>,
    /// Endpoints that could serve and are no longer there.
    pub(super) missing: usize,
    /// Endpoints that can serve and were not there.
    pub(super) gained: usize,
    /// What it was, with what is said now of the endpoints that are still there; `None` = the same.
    pub(super) updated: Option<Arc<Service>>,
}

/// What two snapshots differ in.
#[derive(Debug, Default)]
pub(super) struct SnapshotDiff<'a> {
    /// Services that are not equal, ordered by id.
    pub(super) changes: Vec<ServiceDiff<'a>>,
    /// Some services are equal, and not the same allocation.
    pub(super) reallocated: bool,
}

/// What several services lack together.
#[derive(Debug)]
pub(super) struct Total {
    /// How many endpoints; those that others gained are taken off.
    pub(super) lack: usize,
    /// How many services lack endpoints.
    pub(super) services: usize,
    /// How many endpoints the one service had that was taken away, if it was one, and had any.
    pub(super) removed: Option<usize>,
    /// How many endpoints are missing of the services that were left out.
    pub(super) left_out: usize,
}

/// What has been found out of services by comparing snapshots with one older one, so that each is looked into
/// once.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeMap<ServiceId, Finding>);

#[derive(Debug)]
struct Finding {
    of: Arc<Service>,
    missing: usize,
    gained: usize,
}

impl<'a> SnapshotDiff<'a> {
    /// Looks into those services only that are not the same allocation, and of which nothing has been found
    /// out by comparing with `old` before.
    pub(super) fn between(old: &'a Snapshot, new: &'a Snapshot, findings: &mut Findings) -> Self {
        let (mut old, mut new) = (old.services(), new.services());
        let mut difference = Self::default();
        loop {
            match (old, new) {
                ([], []) => return difference,
                ([was, olds @ ..], [is, news @ ..]) if Arc::ptr_eq(was, is) => (old, new) = (olds, news),
                ([was, olds @ ..], [is, news @ ..]) if was.key() == is.key() => {
                    difference.changed(was, is, findings);
                    (old, new) = (olds, news);
                }
                ([was, olds @ ..], news) if news.first().is_none_or(|is| was.key() < is.key()) => {
                    difference.changes.push(ServiceDiff {
                        old: Some(was),
                        new: None,
                        missing: usable(was),
                        gained: 0,
                        updated: None,
                    });
                    old = olds;
                }
                (_, [is, news @ ..]) => {
                    difference.changes.push(ServiceDiff {
                        old: None,
                        new: Some(is),
                        missing: 0,
                        gained: usable(is),
                        updated: None,
                    });
                    new = news;
                }
                // The arm before the last one takes every old service that has no new one.
                (_, []) => return difference,
            }
        }
    }

    fn changed(&mut self, was: &'a Arc<Service>, is: &'a Arc<Service>, findings: &mut Findings) {
        let known = findings.0.get(&is.id()).filter(|known| Arc::ptr_eq(&known.of, is));
        let (missing, gained, updated) = match known {
            Some(known) => (known.missing, known.gained, None),
            None if was == is => {
                self.reallocated = true;
                return;
            }
            None => {
                let usable = |of: Vec<&Endpoint>| of.into_iter().filter(|it| serves(it)).count();
                let (missing, gained) = (usable(missing(was, is)), usable(missing(is, was)));
                findings.0.insert(is.id(), Finding { of: Arc::clone(is), missing, gained });
                (missing, gained, updated(was, is))
            }
        };
        self.changes.push(ServiceDiff { old: Some(was), new: Some(is), missing, gained, updated });
    }

    /// What all services lack together, but for those that are left out.
    pub(super) fn total(&self, left_out: impl Fn(&ServiceDiff<'_>) -> bool) -> Total {
        let changes = || self.changes.iter().filter(|change| !left_out(change));
        let sum = |count: fn(&ServiceDiff<'_>) -> usize| changes().map(count).sum::<usize>();
        let mut gone = changes().filter(|change| change.new.is_none() && change.missing > 0);
        let one = gone.next().map(|change| change.missing);
        Total {
            lack: sum(|change| change.missing).saturating_sub(sum(|change| change.gained)),
            services: changes().filter(|change| change.lack() > 0).count(),
            removed: one.filter(|_| gone.next().is_none()),
            left_out: self
                .changes
                .iter()
                .filter(|change| left_out(change))
                .map(|change| change.missing)
                .sum(),
        }
    }

    /// The older snapshot's services as the newer one shows them, those of them that differ.
    pub(super) fn updated(&self) -> BTreeMap<ServiceId, Arc<Service>> {
        let updated =
            |change: &ServiceDiff<'a>| Some((change.old?.id(), Arc::clone(change.updated.as_ref()?)));
        self.changes.iter().filter_map(updated).collect()
    }

    /// How many endpoints the newer snapshot has that can serve, if the older one has that many.
    pub(super) fn usable(&self, old: usize) -> usize {
        let of = |service: Option<&Arc<Service>>| service.map_or(0, |service| usable(service));
        let gone: usize = self.changes.iter().map(|change| of(change.old)).sum();
        let came: usize = self.changes.iter().map(|change| of(change.new)).sum();
        (old + came).saturating_sub(gone)
    }
}

impl ServiceDiff<'_> {
    /// How many endpoints it lacks.
    pub(super) fn lack(&self) -> usize {
        self.missing.saturating_sub(self.gained)
    }

    /// Whether it has less than it had: an endpoint, or itself.
    pub(super) fn is_lacking(&self) -> bool {
        self.old.is_some() && (self.new.is_none() || self.lack() > 0)
    }

    /// The service as it is with the endpoints that it lacks and that could serve, and those; `None` where
    /// they would make no sense in it, because it is resolved in another way.
    pub(super) fn whole(&self) -> Option<(Arc<Service>, Vec<Endpoint>)> {
        let old = self.old?;
        let Some(new) = self.new else {
            let mut spec = Service::clone(old).into_spec();
            spec.endpoints.retain(serves);
            let kept = spec.endpoints.clone();
            return Service::new(spec).ok().map(|service| (Arc::new(service), kept));
        };
        if old.resolution != new.resolution {
            return None;
        }
        let mut spec = Service::clone(new).into_spec();
        let there = Instances::of(new);
        let mut kept = Vec::new();
        for endpoint in missing(old, new).into_iter().filter(|endpoint| serves(endpoint)) {
            let (lost, is_there) = (has_no_port_of(endpoint, new), there.find(endpoint));
            match is_there {
                Some(at) if lost => spec.endpoints[at].ports.extend(&endpoint.ports),
                Some(_) => {}
                None => kept.push(if lost { moved(endpoint, old, new) } else { trimmed(endpoint, new) }),
            }
        }
        kept.retain(|endpoint| there.find(endpoint).is_none());
        leave_to(&mut kept, new);
        if kept.is_empty() {
            return None;
        }
        spec.endpoints.extend_from_slice(&kept);
        put_back(&mut spec.ports, old, &spec.endpoints);
        let is_gone = |port: &&Port| new.port(**port).is_none();
        spec.guessed.extend(old.guessed.iter().filter(is_gone));
        spec.guessed_protocols.extend(old.guessed_protocols.iter().filter(is_gone));
        Service::new(spec).ok().map(|service| (Arc::new(service), kept))
    }
}

/// A service's endpoints by address and one of their own ports: where they are, whatever clients call them by.
pub(super) struct Instances<'a> {
    endpoints: &'a [Endpoint],
    by_place: BTreeMap<(&'a Address, Port), usize>,
}

impl<'a> Instances<'a> {
    pub(super) fn of(service: &'a Service) -> Self {
        let endpoints = service.endpoints.as_slice();
        let places = |(at, endpoint): (usize, &'a Endpoint)| {
            endpoint.ports.values().map(move |own| ((&endpoint.address, *own), at))
        };
        Self { endpoints, by_place: endpoints.iter().enumerate().flat_map(places).collect() }
    }

    /// The index of one that listens where this one does.
    pub(super) fn find(&self, endpoint: &Endpoint) -> Option<usize> {
        let first = endpoint.ports.values().next()?;
        let at = *self.by_place.get(&(&endpoint.address, *first))?;
        let own = &self.endpoints[at].ports;
        endpoint.ports.values().all(|port| own.values().any(|own| own == port)).then_some(at)
    }
}

/// Takes the ports from the endpoints that one of the service serves at the same place. What the registry says now
/// counts, however healthy the other one was.
fn leave_to(endpoints: &mut Vec<Endpoint>, service: &Service) {
    let place = |endpoint: &Endpoint, port: Port, own: Port| {
        (endpoint.address.clone(), port, endpoint.address.own_port(own))
    };
    let places = |endpoint: &Endpoint| {
        let of = |(port, own): (&Port, &Port)| place(endpoint, *port, *own);
        endpoint.ports.iter().map(of).collect::<Vec<_>>()
    };
    let taken: BTreeSet<_> = service.endpoints.iter().flat_map(places).collect();
    endpoints.retain_mut(|endpoint| {
        let free = |port: Port, own: Port| !taken.contains(&place(endpoint, port, own));
        let left = endpoint.ports.iter().filter(|(port, own)| free(**port, **own));
        let left: BTreeMap<Port, Port> = left.map(|(port, own)| (*port, *own)).collect();
        endpoint.ports = left;
        !endpoint.ports.is_empty()
    });
}

/// Whether the service no longer has any port by which this endpoint was called.
fn has_no_port_of(endpoint: &Endpoint, service: &Service) -> bool {
    endpoint.ports.keys().all(|port| service.port(*port).is_none())
}

/// Without the ports that the service no longer has.
fn trimmed(endpoint: &Endpoint, service: &Service) -> Endpoint {
    let mut endpoint = endpoint.clone();
    endpoint.ports.retain(|port, _| service.port(*port).is_some());
    endpoint
}

/// An endpoint whose ports the service has no longer is called by the old ones; by the new one as well, where
/// there is no doubt which that is.
fn moved(endpoint: &Endpoint, old: &Service, new: &Service) -> Endpoint {
    let mut endpoint = endpoint.clone();
    if let ([_], [port], Some(own)) = (&*old.ports, &*new.ports, endpoint.ports.values().next().copied()) {
        endpoint.ports.insert(port.number, own);
    }
    endpoint
}

/// The old service's ports by which these endpoints are called join those that there are.
fn put_back(ports: &mut Vec<ServicePort>, old: &Service, endpoints: &[Endpoint]) {
    let called: BTreeSet<Port> =
        endpoints.iter().flat_map(|endpoint| endpoint.ports.keys().copied()).collect();
    for port in old.ports.iter().filter(|port| called.contains(&port.number)) {
        if ports.iter().any(|other| other.number == port.number) {
            continue;
        }
        let mut port = port.clone();
        // Its name may have moved on to the port that has taken its place.
        while ports.iter().any(|other| other.name == port.name) {
            port.name = format!("{}-{}", port.name, port.number);
        }
        ports.push(port);
    }
}

/// A service with what another one says of the endpoints that both have; `None` = that is the same.
fn updated(was: &Arc<Service>, is: &Arc<Service>) -> Option<Arc<Service>> {
    let there = Instances::of(is);
    let mut spec = Service::clone(was).into_spec();
    for endpoint in &mut spec.endpoints {
        if let Some(at) = there.find(endpoint) {
            let ports = std::mem::take(&mut endpoint.ports);
            *endpoint = Endpoint { ports, ..is.endpoints[at].clone() };
        }
    }
    let updated = Service::new(spec).ok().filter(|updated| *updated != **was)?;
    Some(if updated == **is { Arc::clone(is) } else { Arc::new(updated) })
}

/// How many endpoints can serve. A service that needs none to be reached counts as one.
pub(super) fn usable(service: &Service) -> usize {
    match service.resolution {
        Resolution::Dns | Resolution::DnsRoundRobin | Resolution::Passthrough
            if service.endpoints.is_empty() =>
        {
            1
        }
        _ => service.endpoints.iter().filter(|endpoint| serves(endpoint)).count(),
    }
}

fn serves(endpoint: &Endpoint) -> bool {
    endpoint.is_usable()
}

/// The endpoints of one that the other does not have. Both are ordered by address and ports.
fn missing<'a>(of: &'a Service, other: &Service) -> Vec<&'a Endpoint> {
    let mut others = other.endpoints.iter().peekable();
    let is_missing = |endpoint: &&Endpoint| {
        let order =
            |other: &Endpoint| (&other.address, &other.ports).cmp(&(&endpoint.address, &endpoint.ports));
        while others.next_if(|other| order(other) == Ordering::Less).is_some() {}
        others.peek().is_none_or(|other| order(other) != Ordering::Equal)
    };
    of.endpoints.iter().filter(is_missing).collect()
}
