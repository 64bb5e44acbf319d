//! The route configurations that services share, and their listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Base, Work};
use crate::resources::{Origin, Resource, ResourceType, Rope};
use crate::translate::entrances::RouteKey;
use crate::translate::{fallback, listeners, names, routes};

impl Base {
    /// Puts the routes together in which a virtual host changed, and their listeners.
    pub(super) fn update_routes(&mut self, work: &mut Work) {
        for key in std::mem::take(&mut work.routes) {
            let name = key.name();
            let (listener, at) = self.listener(key);
            // Hosts that no service has come along with those of services.
            let any = self.routes.get(&key).is_some_and(|hosts| hosts.len() > self.strangers_in(key));
            match at.filter(|_| any || key == RouteKey::HttpListen) {
                Some(at) => {
                    self.put(ResourceType::Listener, self.http_listener(key, at), work);
                    self.put(ResourceType::Route, self.route_configuration(key, at), work);
                }
                None => {
                    if self.strangers_in(key) == 0 {
                        self.routes.remove(&key);
                    }
                    // Where there were no routes, the listener is that of a service of its own.
                    if self.layer.sets[ResourceType::Route].get(&name).is_some() {
                        self.drop_unless_taken(ResourceType::Listener, &listener, work);
                        self.drop_unless_taken(ResourceType::Route, &name, work);
                    }
                }
            }
        }
    }

    /// The name of the listener that has these routes, and where it is.
    pub(in crate::translate) fn listener(&self, key: RouteKey) -> (String, Option<SocketAddr>) {
        match key {
            RouteKey::Port(port) => {
                let at = SocketAddr::new(self.options.bind, port.get());
                (names::listener(at), Some(at))
            }
            RouteKey::HttpListen => (names::HTTP_LISTEN.to_owned(), self.http_listen),
        }
    }

    /// The listener that has these routes.
    pub(in crate::translate) fn http_listener(&self, key: RouteKey, at: SocketAddr) -> Resource {
        let (listener, routes) = (self.listener(key).0, key.name());
        let message = listeners::http(&listener, at, &routes, &self.config_source, &self.options);
        let references = vec![(ResourceType::Route, routes.as_str().into())];
        Resource::new(listener.as_str().into(), &message, references, origin(key))
    }

    /// The routes of a listener there: the services, and what all other hosts get.
    fn route_configuration(&self, key: RouteKey, at: SocketAddr) -> Resource {
        let mut rope = self.routes.get(&key).cloned().unwrap_or_else(|| empty_routes(key));
        if let Some(fallback) = fallback::virtual_host(at, key.ignores_port(), &rope) {
            rope.insert(Arc::new(fallback));
        }
        Resource::from_rope(key.name().into(), rope, origin(key))
    }

    pub(super) fn put(&self, kind: ResourceType, resource: Resource, work: &mut Work) {
        let known = self.layer.sets[kind].get(resource.name()).filter(|known| ***known == resource);
        let resource = known.map_or_else(|| Arc::new(resource), Arc::clone);
        work.patches[kind].insert(Arc::clone(resource.name()), Some(resource));
    }

    /// A service may have taken the name over.
    pub(super) fn drop_unless_taken(&self, kind: ResourceType, name: &str, work: &mut Work) {
        if self.layer.sets[kind].get(name).is_some() {
            work.patches[kind].entry(name.into()).or_insert(None);
        }
    }
}

pub(in crate::translate) fn empty_routes(key: RouteKey) -> Rope {
    Rope::new(&routes::configuration(&key.name(), key.ignores_port()))
}

/// What routes are there for, and their listener.
pub(in crate::translate) fn origin(key: RouteKey) -> Origin {
    match key {
        RouteKey::HttpListen => Origin::Option("router.http_listen"),
        RouteKey::Port(port) => Origin::Port(port),
    }
}
