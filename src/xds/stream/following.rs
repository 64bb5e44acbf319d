//! Who the client of a stream is, which resources it follows for that, and what of them the machine is given.

use std::sync::Arc;

use tonic::Status;

use super::spared::Spared;
use super::stream_log::StreamLog;
use super::{Client, Session, StreamResult};
use crate::proxy::{Proxy, Scope, Transport, named};
use crate::resources::{PerType, ResourceType};
use crate::world::Views;
use crate::xds::variant::{Answer, RequestOutcome, Variant};

impl<V: Variant, S> Session<V, S> {
    pub(super) fn connect(&self, request: &V::Request) -> StreamResult<Client> {
        let node = V::parts(request).node.map(|node| named(node, self.peer));
        let proxy = Proxy::from_node(node.as_deref()).map_err(|error| {
            self.context.metrics.refused("node");
            tracing::warn!(peer = self.peer.map(display), %error, "stream refused");
            Box::new(Status::invalid_argument(error.to_string()))
        })?;
        let delta = V::NAME == "delta";
        let transport = match self.only {
            None => Transport::Ads,
            Some(_) => Transport::PerType { delta },
        };
        // Only an aggregated delta stream has a word for virtual hosts.
        let proxy = if delta && self.only.is_none() { proxy } else { proxy.with_whole_routes() };
        let scope = Arc::new(self.context.source.scope(&proxy, transport));
        let resources = self.resources(&proxy, transport, &scope)?;
        self.note_who(&proxy, transport);
        let connection = self.context.proxies.connect(&proxy, transport, delta, self.peer);
        connection.follows((*scope).clone());
        Ok(Client {
            spared: Spared::new(self.context.proxies.shared(), &proxy.user_agent, Arc::clone(&scope)),
            log: StreamLog::new(&proxy, self.peer, V::NAME, self.only),
            missing: PerType::default(),
            refuses: PerType::default(),
            refused: PerType::default(),
            settled: PerType::default(),
            connection,
            proxy,
            transport,
            scope,
            resources,
            changed: PerType::default(),
            news: PerType::default(),
            set: None,
            _open: self.context.metrics.stream_opened(transport, delta),
        })
    }

    /// The client turned out not to take routes in parts.
    pub(super) fn serve_whole_routes(&mut self) -> StreamResult<()> {
        let Some(client) = self.client.as_mut().filter(|client| client.scope.client.has_vhds()) else {
            return Ok(());
        };
        client.proxy = client.proxy.clone().with_whole_routes();
        client.connection.forget(ResourceType::VirtualHost);
        self.machine.forget_virtual_hosts();
        self.follow_scope()?;
        self.take_resources();
        Ok(())
    }

    fn resources(&self, proxy: &Proxy, transport: Transport, scope: &Scope) -> StreamResult<Views> {
        let mut resources = self.context.source.follow(scope, proxy).map_err(|error| {
            self.context.metrics.refused("scopes");
            tracing::warn!(proxy = &*proxy.id, peer = self.peer.map(display), %error, "stream refused");
            Box::new(Status::resource_exhausted(error.to_string()))
        })?;
        // What was published since the scope was looked at counts as seen by who has just subscribed.
        if self.context.source.scope(proxy, transport) != *scope {
            resources.mark_changed();
        }
        Ok(resources)
    }

    /// Follows another scope, if this client's is another one since resources have changed. What it was told
    /// stays in force until the resources of that scope are known.
    pub(super) fn follow_scope(&mut self) -> StreamResult<()> {
        let Some(client) = &self.client else { return Ok(()) };
        let scope = self.context.source.scope(&client.proxy, client.transport);
        if scope == *client.scope {
            return Ok(());
        }
        let resources = self.resources(&client.proxy, client.transport, &scope)?;
        if let Some(client) = &mut self.client {
            client.connection.follows(scope.clone());
            let scope = Arc::new(scope);
            client.spared.follow(Arc::clone(&scope));
            self.machine.follows(Arc::clone(&scope));
            (client.scope, client.resources, client.set) = (scope, resources, None);
        }
        Ok(())
    }

    pub(super) fn take_resources(&mut self) {
        let Some(client) = &mut self.client else { return };
        // What comes after the scope was looked at is not seen here: it may be another scope.
        let Some(set) = client.resources.peek() else { return };
        if client.set.as_ref().is_some_and(|known| Arc::ptr_eq(known, &set)) {
            return;
        }
        let is_same_scope = client.set.replace(set).is_some();
        self.give(is_same_scope);
    }

    /// Gives the machine what there is, but for what the client is spared.
    pub(super) fn give(&mut self, is_same_scope: bool) {
        let Some(set) = self.client.as_ref().and_then(|client| client.set.clone()) else { return };
        let (before, given) = (self.machine.view().cloned(), self.spare(&set));
        self.machine.update(Arc::clone(&given));
        self.testify_told();
        let (Some(client), Some(before)) = (&mut self.client, before) else { return };
        if is_same_scope {
            let changes = given.changes_since(&before);
            for kind in ResourceType::ALL {
                let state = self.machine.state(kind);
                if changes.of(kind).iter().any(|change| state.owes(&change.name)) {
                    client.news[kind] = client.news[kind].or(set.changed());
                }
            }
        }
    }
}

/// Whether a client has refused routes because it is to take them in parts.
pub(super) fn cannot_take_parts(outcome: &RequestOutcome) -> bool {
    let Some(Answer::Nack { message, .. }) = &outcome.answer else { return false };
    outcome.kind == Some(ResourceType::Route) && message.contains("vhds:")
}
