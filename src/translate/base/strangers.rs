//! Hosts of VirtualServices that no service has: they lead to services, at port 80 and at `http_listen`.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_registry::Port;

use super::{Base, Work, empty_routes};
use crate::resources::VirtualHost;
use crate::translate::entrances::{RouteKey, VirtualHostsByRoute};
use crate::translate::{names, rules};

impl Base {
    /// Looks again at hosts of rules that no service has. `touched`: which; `None` = all.
    pub(super) fn update_strangers(&mut self, touched: Option<&BTreeSet<Arc<str>>>, work: &mut Work) {
        let all: BTreeSet<Arc<str>>;
        let touched = match touched {
            Some(touched) => touched,
            None => {
                all = self.mesh.rules.called_hosts().collect();
                &all
            }
        };
        for host in touched {
            let new = self.stranger(host);
            let old = self.strangers.get(host).cloned().unwrap_or_default();
            for (at @ (key, _), gone) in &old {
                if new.get(at) != Some(gone) {
                    work.routes.insert(*key);
                    self.routes.get_mut(key).into_iter().for_each(|rope| rope.remove(gone.name()));
                }
            }
            for (at @ (key, _), come) in &new {
                if old.get(at) != Some(come) {
                    work.routes.insert(*key);
                    let rope = self.routes.entry(*key).or_insert_with(|| empty_routes(*key));
                    rope.insert(Arc::clone(come));
                }
            }
            match new.is_empty() {
                true => _ = self.strangers.remove(host),
                false => _ = self.strangers.insert(Arc::clone(host), new),
            }
        }
    }

    /// The virtual hosts of a host of rules, at port 80; none if a service has it, or it is a short name of none.
    fn stranger(&self, host: &Arc<str>) -> VirtualHostsByRoute {
        let is_name = host.contains(['.', '*', ':']);
        let port =
            Port::try_from(80).ok().filter(|_| is_name && self.mesh.catalog.called(host).next().is_none());
        let Some(port) = port.filter(|_| !self.is_at_edge) else { return VirtualHostsByRoute::new() };
        let context = self.context();
        let documents = rules::routes_of_host(&self.mesh.rules, host, context.viewer);
        let listens = self.http_listen.and_then(|at| Port::try_from(u32::from(at.port())).ok());
        let listens = listens.map(|at| (RouteKey::HttpListen, at));
        let keys = listens.into_iter().chain([(RouteKey::Port(port), port)]);
        let virtual_host = |(key, at): (RouteKey, Port)| {
            let made = rules::made(&documents, &self.mesh, context.viewer, port, at)?;
            let domain = host.parse().map_or_else(|_| host.to_string(), names::ip_domain);
            let with_ports = format!("{domain}:*");
            let domains = match key {
                // A wildcard with a port is in the last virtual host.
                RouteKey::HttpListen if !host.starts_with('*') => vec![domain, with_ports],
                RouteKey::HttpListen | RouteKey::Port(_) => vec![domain],
            };
            let (name, origin) = (format!("{host}:{port}"), made.origin(None));
            let host = route::VirtualHost { name, domains, routes: made.routes, ..Default::default() };
            Some(((key, port), Arc::new(VirtualHost::new(&host, made.clusters, origin))))
        };
        keys.filter_map(virtual_host).collect()
    }

    /// How many virtual hosts of these routes no service has.
    pub(super) fn strangers_in(&self, key: RouteKey) -> usize {
        match key {
            RouteKey::Port(port) if port.get() != 80 => 0,
            _ => self.strangers.len(),
        }
    }
}
