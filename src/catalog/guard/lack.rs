//! What one snapshot lacks of another, and a service with what it lacks.
//!
//! An endpoint is known by its address and ports. What counts is capacity: an endpoint that the platform
//! itself calls unhealthy or draining is not missed, and one that is replaced by another is not either. So a
//! deployment that exchanges all endpoints in one step lacks nothing.

use std::cmp::Ordering;
use std::sync::Arc;

use pilot_registry::{Endpoint, Health, Resolution, Service, Snapshot};

/// A service that two snapshots differ in.
#[derive(Debug)]
pub(super) struct Change<'a> {
    /// What it was; `None` = it is new.
    pub(super) old: Option<&'a Arc<Service>>,
    /// What it is; `None` = it is gone.
    pub(super) new: Option<&'a Arc<Service>>,
    /// Endpoints that could serve and are no longer there.
    pub(super) missing: usize,
    /// Endpoints that can serve and were not there.
    pub(super) gained: usize,
}

/// What two snapshots differ in.
#[derive(Debug, Default)]
pub(super) struct Difference<'a> {
    /// Services that are not equal, ordered by host.
    pub(super) changes: Vec<Change<'a>>,
    /// Some services are equal, and not the same allocation.
    pub(super) reallocated: bool,
}

impl<'a> Difference<'a> {
    /// Looks into those services only that are not the same allocation.
    pub(super) fn between(old: &'a Snapshot, new: &'a Snapshot) -> Self {
        let (mut old, mut new) = (old.services(), new.services());
        let mut difference = Self::default();
        loop {
            match (old, new) {
                ([], []) => return difference,
                ([was, olds @ ..], [is, news @ ..]) if Arc::ptr_eq(was, is) => (old, new) = (olds, news),
                ([was, olds @ ..], [is, news @ ..]) if was.host == is.host => {
                    difference.changed(was, is);
                    (old, new) = (olds, news);
                }
                ([was, olds @ ..], news) if news.first().is_none_or(|is| was.host < is.host) => {
                    difference.changes.push(Change {
                        old: Some(was),
                        new: None,
                        missing: usable(was),
                        gained: 0,
                    });
                    old = olds;
                }
                (_, [is, news @ ..]) => {
                    difference.changes.push(Change {
                        old: None,
                        new: Some(is),
                        missing: 0,
                        gained: usable(is),
                    });
                    new = news;
                }
                // The arm before the last one takes every old service that has no new one.
                (_, []) => return difference,
            }
        }
    }

    fn changed(&mut self, was: &'a Arc<Service>, is: &'a Arc<Service>) {
        if was == is {
            self.reallocated = true;
            return;
        }
        let usable = |endpoints: Vec<&Endpoint>| endpoints.into_iter().filter(|it| serves(it)).count();
        let (missing, gained) = (usable(missing(was, is)), usable(missing(is, was)));
        self.changes.push(Change { old: Some(was), new: Some(is), missing, gained });
    }

    /// How many endpoints the newer snapshot lacks, all services together.
    pub(super) fn lack(&self) -> usize {
        let sum = |count: fn(&Change<'_>) -> usize| self.changes.iter().map(count).sum::<usize>();
        sum(|change| change.missing).saturating_sub(sum(|change| change.gained))
    }

    /// How many endpoints the newer snapshot has that can serve, if the older one has that many.
    pub(super) fn usable(&self, old: usize) -> usize {
        let of = |service: Option<&Arc<Service>>| service.map_or(0, |service| usable(service));
        let gone: usize = self.changes.iter().map(|change| of(change.old)).sum();
        let came: usize = self.changes.iter().map(|change| of(change.new)).sum();
        (old + came).saturating_sub(gone)
    }
}

impl Change<'_> {
    /// How many endpoints it lacks.
    pub(super) fn lack(&self) -> usize {
        self.missing.saturating_sub(self.gained)
    }

    /// Whether it has less than it had: an endpoint, or itself.
    pub(super) fn is_lacking(&self) -> bool {
        self.old.is_some() && (self.new.is_none() || self.lack() > 0)
    }

    /// The service as it is with the endpoints that it lacks, and those; `None` where they would make no
    /// sense in it, because it has been defined anew.
    pub(super) fn whole(&self) -> Option<(Arc<Service>, Vec<Endpoint>)> {
        let old = self.old?;
        let Some(new) = self.new else { return Some((Arc::clone(old), old.endpoints.clone())) };
        if old.resolution != new.resolution {
            return None;
        }
        let missing: Vec<Endpoint> = missing(old, new).into_iter().cloned().collect();
        let mut spec = Service::clone(new).into_spec();
        for endpoint in &missing {
            let mut kept = endpoint.clone();
            kept.ports.retain(|port, _| new.port(*port).is_some());
            if !kept.ports.is_empty() {
                spec.endpoints.push(kept);
            }
        }
        Service::new(spec).ok().map(|service| (Arc::new(service), missing))
    }
}

/// How many endpoints can serve. A service that needs none to be reached counts as one.
pub(super) fn usable(service: &Service) -> usize {
    match service.resolution {
        Resolution::Dns | Resolution::Passthrough if service.endpoints.is_empty() => 1,
        _ => service.endpoints.iter().filter(|endpoint| serves(endpoint)).count(),
    }
}

fn serves(endpoint: &Endpoint) -> bool {
    match endpoint.health {
        Health::Healthy | Health::Warning | Health::Unknown => true,
        Health::Unhealthy | Health::Draining => false,
    }
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
