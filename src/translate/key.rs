//! Which layers there are, and which of them a scope sees.

use std::fmt;

use super::context::NOWHERE;
use crate::proxy::{ConfigSource, Role, Scope};
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
    },
    /// Listeners and routes of proxies that take routes in parts.
    Parts(Role, ConfigSource),
    /// What proxies of one namespace see otherwise than the base says.
    Audience(Role, ConfigSource, Namespace),
    /// The endpoints of services that proxies of one namespace see and not everybody does.
    Scoped {
        /// Whether the proxies are routers.
        is_router: bool,
        /// Their namespace.
        namespace: Namespace,
        /// Where they run.
        locality: Locality,
    },
}

impl LayerKey {
    /// The layers that a scope sees, the topmost first.
    pub fn of(scope: &Scope) -> Vec<Self> {
        let (role, source) = (scope.role, &scope.config_source);
        let is_router = role == Role::Router;
        let audience = scope.namespace.as_ref().map(|it| Self::Audience(role, source.clone(), it.clone()));
        let scoped = scope.namespace.as_ref().map(|namespace| Self::Scoped {
            is_router,
            locality: scope.locality.clone(),
            namespace: namespace.clone(),
        });
        let place = Some(&scope.locality).filter(|locality| *locality != NOWHERE);
        let place = place.map(|locality| Self::Place { is_router, locality: locality.clone() });
        let below = [Self::base_of(scope), Self::Endpoints { is_router }];
        let in_parts = scope.client.has_vhds() && scope.namespace.is_none();
        let parts = in_parts.then(|| Self::Parts(role, source.clone()));
        scoped.into_iter().chain(audience).chain(parts).chain(place).chain(below).collect()
    }

    /// The base of a scope.
    pub fn base_of(scope: &Scope) -> Self {
        Self::Base(scope.role, scope.config_source.clone())
    }

    /// The base that the layer is made from; none if it is made from the mesh alone.
    pub(super) fn base(&self) -> Option<Self> {
        match self {
            Self::Parts(role, source) | Self::Audience(role, source, _) => {
                Some(Self::Base(*role, source.clone()))
            }
            Self::Endpoints { .. } | Self::Base(..) | Self::Place { .. } | Self::Scoped { .. } => None,
        }
    }

    /// Whether making it from nothing looks at every service in full.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Endpoints { .. } | Self::Base(..))
    }
}

impl fmt::Display for LayerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |is_router: &bool| if *is_router { "routers" } else { "proxies that are no routers" };
        let base = |role: &Role, source: &ConfigSource| Scope::new(*role, source.clone());
        match self {
            Self::Endpoints { is_router } => write!(f, "endpoints of {}", who(is_router)),
            Self::Base(role, source) => write!(f, "base of {}", base(role, source)),
            Self::Place { is_router, locality } => {
                write!(f, "endpoints of {} near {}", who(is_router), place(locality))
            }
            Self::Parts(role, source) => write!(f, "routes in parts of {}", base(role, source)),
            Self::Audience(role, source, namespace) => {
                write!(f, "what {} in {namespace} see otherwise", base(role, source))
            }
            Self::Scoped { is_router, namespace, locality } => {
                write!(f, "endpoints of {} in {namespace}", who(is_router))?;
                if locality == NOWHERE { Ok(()) } else { write!(f, " near {}", place(locality)) }
            }
        }
    }
}

fn place(locality: &Locality) -> String {
    let Locality { region, zone, sub_zone } = locality;
    [region, zone, sub_zone].map(String::as_str).join("/").trim_end_matches('/').to_owned()
}
