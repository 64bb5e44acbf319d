//! What a client has of one resource, and what it is owed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rejections::Rejection;
use crate::resources::{Resource, Rope};

/// What a client has of one resource.
#[derive(Clone, Debug, Default)]
pub enum Has {
    /// Nothing.
    #[default]
    Nothing,
    /// What it accepted on this stream, or brought in the version that there is.
    This(Arc<Resource>),
    /// Another version than there is, from an earlier stream.
    Unknown,
}

impl Has {
    /// Whether it is exactly that.
    pub fn is(&self, resource: &Arc<Resource>) -> bool {
        self.resource().is_some_and(|has| Arc::ptr_eq(has, resource) || has.version() == resource.version())
    }

    /// The resource, if it is known.
    pub fn resource(&self) -> Option<&Arc<Resource>> {
        match self {
            Self::This(resource) => Some(resource),
            Self::Nothing | Self::Unknown => None,
        }
    }

    /// Whether it may lead to any other resource, because it is not known, or not all of it.
    pub fn may_lead_anywhere(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::This(resource) => resource.rope().is_some_and(Rope::may_lead_anywhere),
            Self::Unknown => true,
        }
    }

    /// Whether there is nothing.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

impl From<Option<Arc<Resource>>> for Has {
    fn from(resource: Option<Arc<Resource>>) -> Self {
        resource.map_or(Self::Nothing, Self::This)
    }
}

/// How urgently a client is to be told of a resource. The greater is the more urgent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owed {
    /// Not at all.
    #[default]
    Nothing,
    /// If it is not what the client has, once the last response is answered.
    News,
    /// Even if it is what the client has, once the last response is answered.
    Again,
    /// Now: the client asked.
    Answer,
}

/// How a resource that may be the reason for a refusal is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suspicion {
    /// Like any other.
    #[default]
    None,
    /// Not before its trial.
    Waits,
    /// In the next response, with no others than those on trial.
    OnTrial,
}

/// A version that the client refused.
#[derive(Clone, Debug)]
pub struct RefusedVersion {
    /// What all proxies know of it.
    pub rejection: Arc<Rejection>,
    /// This client's own words.
    pub words: Arc<str>,
    /// The client named it, and took the rest of the response.
    pub named: bool,
    /// It is offered once more: the reason may be gone.
    pub again: bool,
}

/// What a client has of one resource, where that is not simply what there is.
#[derive(Clone, Debug, Default)]
pub struct ClientCopy {
    /// What it accepted last.
    pub has: Has,
    /// What it may also have, or some of it: it was in a response that was refused for another reason, or that the
    /// client may have got before it took the routes that it belongs to anew.
    pub doubts: Vec<Arc<Resource>>,
    /// What it refused of it.
    pub refused: Option<RefusedVersion>,
    /// What is known of it besides, if it is a route configuration of virtual hosts.
    pub route: Option<Box<RouteCopy>>,
    /// How urgently it is to be told of it.
    pub owed: Owed,
    /// Whether it may be the reason for a refusal.
    pub suspicion: Suspicion,
    /// The number of the update by which the client came to have something else than there is.
    pub since: u64,
    /// The number of the last update that changed it.
    pub changed: u64,
}

/// What is known of the virtual hosts of a route configuration.
#[derive(Clone, Debug, Default)]
pub struct RouteCopy {
    /// Virtual hosts that the client refused, with the hash of the refused version.
    pub refused: BTreeMap<Arc<str>, (u64, RefusedVersion)>,
    /// Virtual hosts that are gone, with the number of the update that took them away.
    pub gone: BTreeMap<Arc<str>, u64>,
    /// Groups of virtual hosts of which one may be the reason for a refusal.
    pub groups: Vec<Vec<Arc<str>>>,
}

impl ClientCopy {
    /// A copy that is as it is since that update.
    pub fn new(has: Has, since: u64) -> Self {
        Self { has, since, changed: since, ..Self::default() }
    }

    /// What the client may use of it, apart from what is on its way.
    pub fn may_use(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.has.resource().into_iter().chain(&self.doubts)
    }

    /// Whether the client refused exactly that, and is not to be asked once more.
    pub fn refuses(&self, resource: &Resource) -> bool {
        let refused = self.refused.as_ref().filter(|refused| !refused.again);
        refused.is_some_and(|refused| *refused.rejection.version == *resource.version())
    }

    /// The client has that now. What it refused is settled where it took another version instead.
    pub fn accept(&mut self, sent: Option<Arc<Resource>>) {
        let before = std::mem::replace(&mut self.has, sent.into());
        self.doubts.clear();
        if self.has.resource().is_some_and(|has| !before.is(has)) {
            self.refused = None;
        }
        let Some(route) = &mut self.route else { return };
        let rope = |has: &Has| has.resource().and_then(|has| has.rope().cloned());
        let (before, now) = (rope(&before), rope(&self.has));
        let hash = |rope: &Option<Rope>, name: &str| Some(rope.as_ref()?.get(name)?.hash());
        route.gone.retain(|name, _| hash(&now, name).is_some());
        route.refused.retain(|name, _| hash(&before, name) == hash(&now, name));
    }

    /// Makes it wait for the trial of the next group of its virtual hosts. Says whether there is one.
    pub fn next_group(&mut self) -> bool {
        let Some(route) = self.route.as_mut().filter(|route| !route.groups.is_empty()) else { return false };
        route.groups.pop();
        let more = !route.groups.is_empty();
        if more {
            (self.suspicion, self.owed) = (Suspicion::Waits, self.owed.max(Owed::Again));
        }
        more
    }

    /// Everything of it that the client refuses.
    pub fn refusals(&self) -> impl Iterator<Item = &RefusedVersion> {
        let hosts = self.route.iter().flat_map(|route| route.refused.values().map(|(_, refused)| refused));
        self.refused.iter().chain(hosts)
    }
}
