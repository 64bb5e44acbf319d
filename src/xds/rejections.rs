//! What proxies refuse: written by streams, read by whoever shows it. In memory only.
//!
//! A refusal is of one version of one resource, or of one virtual host in it. What one proxy was found to refuse, the
//! next that complains of the same version probably means.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::proxy::Scope;
use crate::resources::{Origin, Resource, ResourceType, VirtualHost};

/// How many refusals are remembered that no connected proxy stands by.
const FORMER_MAX: usize = 1024;

/// Of how many scopes it is remembered what proxies kept instead of a version.
const SCOPES_MAX: usize = 64;

/// A version that a proxy refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rejection {
    /// The type.
    pub kind: ResourceType,
    /// The resource.
    pub name: Arc<str>,
    /// The virtual host in it that is the reason, where that is known.
    pub host: Option<Arc<str>>,
    /// The refused version: of the virtual host, where there is one.
    pub version: Box<str>,
    /// What it is there for.
    pub origin: Origin,
    /// The words of the proxy that refused it first.
    pub words: Box<str>,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{} (virtual host {host})", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What is refused: a version of a resource, or of a virtual host in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The type.
    pub kind: ResourceType,
    /// The resource.
    pub name: Arc<str>,
    /// The virtual host in it, if it is one.
    pub host: Option<Arc<str>>,
    /// The version, of the virtual host where there is one.
    pub version: Box<str>,
}

impl Key {
    fn of(kind: ResourceType, resource: &Resource) -> Self {
        Self { kind, name: Arc::clone(resource.name()), host: None, version: resource.version().into() }
    }

    fn of_host(kind: ResourceType, resource: &Resource, host: &VirtualHost) -> Self {
        let (name, own) = (Arc::clone(resource.name()), Arc::clone(host.name()));
        Self { kind, name, host: Some(own), version: host.version() }
    }

    /// Whether a resource of that name has the version.
    pub fn is_version_of(&self, resource: &Resource) -> bool {
        match &self.host {
            None => *self.version == *resource.version(),
            Some(host) => {
                let host = resource.rope().and_then(|rope| rope.get(host));
                host.is_some_and(|host| host.version() == self.version)
            }
        }
    }
}

impl Rejection {
    /// What is refused.
    pub fn key(&self) -> Key {
        let Self { kind, name, host, version, .. } = self;
        Key { kind: *kind, name: Arc::clone(name), host: host.clone(), version: version.clone() }
    }
}

/// All refusals that are known.
#[derive(Debug, Default)]
pub struct Rejections(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    known: BTreeMap<Key, KnownRejection>,
    /// How many there may be before those that nobody stands by are forgotten.
    enough: usize,
}

#[derive(Debug)]
struct KnownRejection {
    rejection: Arc<Rejection>,
    /// What proxies that refused it had of it, and kept, by scope: what those of one scope have is not for others to see.
    kept: BTreeMap<Scope, Arc<Resource>>,
}

impl Rejections {
    /// Notes that a proxy refuses a resource, and, with its scope, what it had of it and keeps.
    pub fn note(
        &self,
        kind: ResourceType,
        resource: &Resource,
        words: &str,
        kept: Option<(&Scope, &Arc<Resource>)>,
    ) -> Arc<Rejection> {
        let rejection = Rejection {
            kind,
            name: Arc::clone(resource.name()),
            host: None,
            version: resource.version().into(),
            origin: resource.origin().clone(),
            words: words.into(),
        };
        self.insert(rejection, kept)
    }

    /// Notes that a proxy refuses a virtual host of a route configuration.
    pub fn note_host(
        &self,
        kind: ResourceType,
        resource: &Resource,
        host: &VirtualHost,
        words: &str,
    ) -> Arc<Rejection> {
        let rejection = Rejection {
            kind,
            name: Arc::clone(resource.name()),
            host: Some(Arc::clone(host.name())),
            version: host.version(),
            origin: host.origin().clone(),
            words: words.into(),
        };
        self.insert(rejection, None)
    }

    fn insert(&self, rejection: Rejection, kept: Option<(&Scope, &Arc<Resource>)>) -> Arc<Rejection> {
        let key = rejection.key();
        let mut all = self.0.lock();
        if all.known.len() >= all.enough.max(FORMER_MAX) && !all.known.contains_key(&key) {
            all.known.retain(|_, known| Arc::strong_count(&known.rejection) > 1);
            all.enough = all.known.len() * 2;
        }
        let new = || KnownRejection { rejection: Arc::new(rejection), kept: BTreeMap::new() };
        let known = all.known.entry(key).or_insert_with(new);
        if let Some((scope, kept)) = kept
            && (known.kept.len() < SCOPES_MAX || known.kept.contains_key(scope))
        {
            known.kept.insert(scope.clone(), Arc::clone(kept));
        }
        Arc::clone(&known.rejection)
    }

    /// What a proxy of that scope that refused that version kept instead, if one had something.
    pub fn kept(&self, kind: ResourceType, resource: &Resource, scope: &Scope) -> Option<Arc<Resource>> {
        self.0.lock().known.get(&Key::of(kind, resource))?.kept.get(scope).cloned()
    }

    /// Whether a proxy refused that version of the resource.
    pub fn knows(&self, kind: ResourceType, resource: &Resource) -> bool {
        self.0.lock().known.contains_key(&Key::of(kind, resource))
    }

    /// Whether a proxy refused that version of the virtual host.
    pub fn knows_host(&self, kind: ResourceType, resource: &Resource, host: &VirtualHost) -> bool {
        self.0.lock().known.contains_key(&Key::of_host(kind, resource, host))
    }

    /// What connected proxies refuse now, in order.
    pub fn list(&self) -> Vec<Arc<Rejection>> {
        let all = self.0.lock();
        let rejections = all.known.values().map(|known| &known.rejection);
        rejections.filter(|rejection| Arc::strong_count(rejection) > 1).cloned().collect()
    }
}
