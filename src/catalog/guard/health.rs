//! The endpoints that turned unhealthy, and the health that they had before.
//!
//! An endpoint has *turned* when it could serve before and the registry now calls it unhealthy. When a mass has
//! turned within the hold time, all of them keep their former health until it is let go. Endpoints that turn later
//! join them; those that are well again or gone leave them.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot_registry::{Address, Endpoint, Health, Port, Service, ServiceId, Snapshot};
use tokio::time::Instant;

use super::GuardSettings;

/// What tells an endpoint from others of its service.
type EndpointKey = (Address, BTreeMap<Port, Port>);

/// Of one registry.
#[derive(Debug, Default)]
pub(super) struct Turned {
    endpoints: BTreeMap<ServiceId, BTreeMap<EndpointKey, Former>>,
    hold: Option<HealthHold>,
    /// What was made of the services last, so that what does not change stays one allocation.
    made: BTreeMap<ServiceId, (Arc<Service>, Arc<Service>)>,
}

/// What an endpoint was.
#[derive(Clone, Copy, Debug)]
struct Former {
    health: Health,
    turned: Instant,
}

/// Since when former health is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct HealthHold {
    pub(super) since: Instant,
    /// When its time is over, if the registry is live until then.
    pub(super) until: Instant,
    /// When an endpoint joined last, and which complete read said so.
    pub(super) seen: Instant,
    pub(super) read: u64,
}

impl Turned {
    /// The registry says `now_said` after `said`. `usable` endpoints can serve. Costs the services that differ.
    pub(super) fn follow(
        &mut self,
        settings: GuardSettings,
        (now, read): (Instant, u64),
        said: &Snapshot,
        now_said: &Snapshot,
        usable: usize,
    ) {
        let joined = self.take(now, said, now_said);
        if let Some(hold) = &mut self.hold {
            if joined {
                (hold.seen, hold.read) = (now, read);
            }
            if self.endpoints.is_empty() {
                self.let_go();
            }
            return;
        }
        for endpoints in self.endpoints.values_mut() {
            endpoints.retain(|_, former| now < former.turned + settings.hold);
        }
        self.endpoints.retain(|_, endpoints| !endpoints.is_empty());
        let turned = self.count();
        if joined && settings.is_mass(turned, turned + usable) {
            self.hold = Some(HealthHold { since: now, until: now + settings.hold, seen: now, read });
        }
    }

    /// Takes in what differs. Whether an endpoint has turned.
    fn take(&mut self, now: Instant, said: &Snapshot, now_said: &Snapshot) -> bool {
        let mut before = said.services().iter().peekable();
        let mut joined = false;
        for is in now_said.services() {
            while let Some(gone) = before.next_if(|was| was.key() < is.key()) {
                self.endpoints.remove(&gone.id());
            }
            let Some(was) = before.next_if(|was| was.key() == is.key()) else { continue };
            if Arc::ptr_eq(was, is) {
                continue;
            }
            let known = self.endpoints.remove(&is.id()).unwrap_or_default();
            let turned = turned(now, was, is, &known);
            joined |= turned.keys().any(|place| !known.contains_key(place));
            if !turned.is_empty() {
                self.endpoints.insert(is.id(), turned);
            }
        }
        before.for_each(|gone| _ = self.endpoints.remove(&gone.id()));
        joined
    }

    fn count(&self) -> usize {
        self.endpoints.values().map(BTreeMap::len).sum()
    }

    /// Since when former health is kept, if it is.
    pub(super) fn hold(&self) -> Option<HealthHold> {
        self.hold
    }

    /// Of how many endpoints former health is kept, by service.
    pub(super) fn held(&self) -> BTreeMap<ServiceId, usize> {
        let all = self.endpoints.iter().filter(|_| self.hold.is_some());
        all.map(|(id, endpoints)| (id.clone(), endpoints.len())).collect()
    }

    /// Whether this read says of one whose former health is kept that it can serve.
    pub(super) fn is_partly_well_in(&self, read: &Snapshot) -> bool {
        self.hold.is_some()
            && self.endpoints.iter().any(|(id, turned)| {
                let endpoints = read.find(id).map_or(&[][..], |service| &service.endpoints);
                endpoints.iter().any(|it| it.is_usable() && turned.contains_key(&place(it)))
            })
    }

    /// The registry is live again after trouble.
    pub(super) fn recover(&mut self, until: Instant) {
        if let Some(hold) = &mut self.hold {
            hold.until = until;
        }
    }

    /// What the registry says of health counts.
    pub(super) fn let_go(&mut self) {
        *self = Self::default();
    }

    /// With the health that is kept.
    pub(super) fn applied(&mut self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        if self.hold.is_none() {
            return snapshot;
        }
        let mut made = std::mem::take(&mut self.made);
        let mut services = snapshot.services().to_vec();
        for service in &mut services {
            let Some(turned) = self.endpoints.get(&service.id()) else { continue };
            let known = made.remove(&service.id()).filter(|(of, _)| Arc::ptr_eq(of, service));
            let (of, new) = known.unwrap_or_else(|| (Arc::clone(service), with_former(service, turned)));
            self.made.insert(of.id(), (of, Arc::clone(&new)));
            *service = new;
        }
        Arc::new(Snapshot::new(services).expect("ids do not change"))
    }
}

/// The endpoints that are unhealthy, and could serve before or had turned already.
fn turned(
    now: Instant,
    was: &Service,
    is: &Service,
    known: &BTreeMap<EndpointKey, Former>,
) -> BTreeMap<EndpointKey, Former> {
    let could_serve = was.endpoints.iter().filter(|endpoint| endpoint.is_usable());
    let before: BTreeMap<EndpointKey, Health> = could_serve.map(|it| (place(it), it.health)).collect();
    let sick = is.endpoints.iter().filter(|endpoint| endpoint.health == Health::Unhealthy).map(place);
    let former = |place: EndpointKey| {
        let new = before.get(&place).map(|health| Former { health: *health, turned: now });
        let former = new.or_else(|| known.get(&place).copied())?;
        Some((place, former))
    };
    sick.filter_map(former).collect()
}

fn with_former(service: &Arc<Service>, turned: &BTreeMap<EndpointKey, Former>) -> Arc<Service> {
    let mut spec = Service::clone(service).into_spec();
    for endpoint in &mut spec.endpoints {
        if let Some(former) = turned.get(&place(endpoint)) {
            endpoint.health = former.health;
        }
    }
    Service::new(spec).map_or_else(|_| Arc::clone(service), Arc::new)
}

fn place(endpoint: &Endpoint) -> EndpointKey {
    (endpoint.address.clone(), endpoint.ports.clone())
}
