//! What all streams share, and where their resources come from.

use std::sync::Arc;
use std::time::Duration;

use super::turns::FirstSyncs;
use crate::metrics::Metrics;
use crate::proxies::Proxies;
use crate::proxy::{Proxy, Scope, Transport};
use crate::shutdown::Shutdown;
use crate::world::{TooManyScopes, Views, World};
use crate::xds::variant::Limits;

/// Where the resources of a scope come from.
pub trait ResourceSource: Send + Sync {
    /// Follows what a scope sees.
    ///
    /// # Errors
    /// There are too many scopes already.
    fn subscribe(&self, scope: &Scope) -> Result<Views, TooManyScopes>;

    /// The same, for a proxy. It is told, too, when it may belong to another scope.
    ///
    /// # Errors
    /// There are too many scopes already.
    fn follow(&self, scope: &Scope, _proxy: &Proxy) -> Result<Views, TooManyScopes> {
        self.subscribe(scope)
    }

    /// The scope of a proxy as things are now. It can be another one when resources have changed.
    fn scope(&self, proxy: &Proxy, transport: Transport) -> Scope {
        proxy.scope(transport)
    }

    /// Why there is no listener of that name, in words; empty where nothing is known of it.
    fn hint(&self, _listener: &str) -> String {
        String::new()
    }
}

impl ResourceSource for World {
    fn scope(&self, proxy: &Proxy, transport: Transport) -> Scope {
        Self::scope(self, proxy, transport)
    }

    fn subscribe(&self, scope: &Scope) -> Result<Views, TooManyScopes> {
        Self::subscribe(self, scope)
    }

    fn follow(&self, scope: &Scope, proxy: &Proxy) -> Result<Views, TooManyScopes> {
        self.subscribe_at(scope, proxy.address)
    }

    fn hint(&self, listener: &str) -> String {
        Self::hint(self, listener)
    }
}

/// What all streams share.
#[derive(Clone)]
pub struct StreamContext {
    /// What to serve.
    pub source: Arc<dyn ResourceSource>,
    /// Where connected proxies are listed.
    pub proxies: Proxies,
    /// What is counted.
    pub metrics: Metrics,
    /// How much one client may ask for.
    pub limits: Limits,
    /// The longest request that is read, in bytes.
    pub max_request_bytes: usize,
    /// Whose turn it is to be sent much.
    pub first_syncs: FirstSyncs,
    /// How long shutting down may take.
    pub drain: Duration,
    /// The end.
    pub shutdown: Shutdown,
}
