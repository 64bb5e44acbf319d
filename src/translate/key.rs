//! Which layers there are, and which of them a scope sees.

use std::fmt;
use std::sync::Arc;

use super::place::NOWHERE;
use crate::proxy::{Affinity, ConfigSource, Role, Scope, Viewpoint, near};
use pilot_registry::{Locality, Namespace};

/// Which layer. Keys hold answers, never what a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerKey {
    /// The endpoints of all services, as proxies see them for which no place matters. Whether they have an
    /// `http_listen` matters to endpoints that listen there.
    Endpoints {
        /// Whether the proxies are routers.
        is_router: bool,
    },
    /// What proxies of one role and config source share beside that.
    Base(Role, ConfigSource),
    /// The endpoints that look different from one place.
    Place {
        /// Whether the proxies are routers.
        is_router: bool,
        /// Where they run.
        locality: Locality,
        /// Their labels that endpoints come first for sharing.
        affinity: Arc<Affinity>,
    },
    /// Listeners and routes of proxies that take routes in parts.
    Parts(Role, ConfigSource),
    /// What proxies see otherwise than the base says that are of one namespace, or have labels that rules ask for.
    Audience(Role, ConfigSource, Viewpoint),
    /// What an audience's proxies that take routes in parts have instead of its routes.
    AudienceParts(Role, ConfigSource, Viewpoint),
    /// The endpoints of services that proxies of one namespace see and not everybody does.
    Scoped {
        /// Whether the proxies are routers.
        is_router: bool,
        /// Their namespace.
        namespace: Namespace,
        /// Where they run.
        locality: Locality,
        /// Their labels that endpoints come first for sharing.
        affinity: Arc<Affinity>,
    },
    /// Listeners and routes of the Gateways that select proxies which see rules in that way.
    Gateways(ConfigSource, Viewpoint),
}

impl LayerKey {
    /// The layers that a scope sees, the topmost first.
    pub fn of(scope: &Scope) -> Vec<Self> {
        let (role, source) = (scope.role, &scope.config_source);
        let is_router = role == Role::Router;
        let viewpoint = scope.viewpoint();
        let (locality, affinity) = (scope.locality.clone(), Arc::clone(&scope.affinity));
        let place = (locality != *NOWHERE || !affinity.is_empty()).then(|| Self::Place {
            is_router,
            locality: locality.clone(),
            affinity: Arc::clone(&affinity),
        });
        let scoped = scope.namespace.clone();
        let scoped = scoped.map(|namespace| Self::Scoped { is_router, namespace, locality, affinity });
        let has_parts = scope.client.has_vhds();
        let own_parts = viewpoint.clone().filter(|_| has_parts);
        let gateways = is_at_edge(role, source);
        let gateways =
            gateways.then(|| Self::Gateways(source.clone(), viewpoint.clone().unwrap_or_default()));
        let layers = [
            gateways,
            scoped,
            own_parts.map(|it| Self::AudienceParts(role, source.clone(), it)),
            viewpoint.map(|it| Self::Audience(role, source.clone(), it)),
            has_parts.then(|| Self::Parts(role, source.clone())),
            place,
            Some(Self::base_of(scope)),
            Some(Self::Endpoints { is_router }),
        ];
        layers.into_iter().flatten().collect()
    }

    /// The base of a scope.
    pub fn base_of(scope: &Scope) -> Self {
        Self::Base(scope.role, scope.config_source.clone())
    }

    /// The base that the layer is made from; none if it is made from the mesh alone.
    pub(super) fn base(&self) -> Option<Self> {
        match self {
            Self::Parts(role, source)
            | Self::Audience(role, source, _)
            | Self::AudienceParts(role, source, _) => Some(Self::Base(*role, source.clone())),
            Self::Endpoints { .. }
            | Self::Base(..)
            | Self::Place { .. }
            | Self::Scoped { .. }
            | Self::Gateways(..) => None,
        }
    }

    /// The audience that the layer is made from, if it is made from one.
    pub(super) fn audience(&self) -> Option<Self> {
        match self {
            Self::AudienceParts(role, source, viewpoint) => {
                Some(Self::Audience(*role, source.clone(), viewpoint.clone()))
            }
            _ => None,
        }
    }

    /// The layer whose changes change this one; none if it is made from the mesh alone.
    pub(super) fn below(&self) -> Option<Self> {
        self.audience().or_else(|| self.base())
    }

    /// Whether making it from nothing looks at every service in full.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Endpoints { .. } | Self::Base(..))
    }
}

/// Whether proxies have the listeners of Gateways, and no others. Clients of gRPC ask for services by name, whatever their
/// node says.
pub(super) fn is_at_edge(role: Role, source: &ConfigSource) -> bool {
    role == Role::Ingress && *source != ConfigSource::AdsOfGrpc
}

impl fmt::Display for LayerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |is_router: &bool| if *is_router { "routers" } else { "proxies that are no routers" };
        let base = |role: &Role, source: &ConfigSource| Scope::new(*role, source.clone());
        match self {
            Self::Endpoints { is_router } => write!(f, "endpoints of {}", who(is_router)),
            Self::Base(role, source) => write!(f, "base of {}", base(role, source)),
            Self::Place { is_router, locality, affinity } => {
                write!(f, "endpoints of {}{}", who(is_router), near(locality, affinity))
            }
            Self::Parts(role, source) => write!(f, "routes in parts of {}", base(role, source)),
            Self::Audience(role, source, viewpoint) => {
                write!(f, "what {} in {viewpoint} see otherwise", base(role, source))
            }
            Self::AudienceParts(role, source, namespace) => {
                write!(f, "routes in parts of {} in {namespace}", base(role, source))
            }
            Self::Gateways(source, viewpoint) => {
                write!(f, "gateways of {} in {viewpoint}", base(&Role::Ingress, source))
            }
            Self::Scoped { is_router, namespace, locality, affinity } => {
                write!(f, "endpoints of {} in {namespace}{}", who(is_router), near(locality, affinity))
            }
        }
    }
}
