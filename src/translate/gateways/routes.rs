//! Routes of Gateways: who has the requests to which host.
//!
//! Several documents of one host are one: their rules follow each other, the older document's first, and rules for all
//! requests come last, of which the first counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::route::v3::{self as route, virtual_host::TlsRequirementType};
use pilot_registry::Port;

use super::GatewayTranslation;
use crate::resources::{Origin, Resource, ResourceType, Rope, VirtualHost};
use crate::translate::rules::gateways::hosts::{self, Bound, BoundHosts};
use crate::translate::rules::gateways::{Bind, Listening, Place, Placed};
use crate::translate::rules::{at_gateway, takes_all};
use crate::translate::{fallback, names, routes};

/// A virtual host, and what it was made from.
#[derive(Clone, Debug)]
pub(super) struct Hosted {
    bound: Vec<Bound>,
    redirects: bool,
    /// `None` = no rule is for it.
    made: Option<Arc<VirtualHost>>,
}

/// The name of the routes of all servers of HTTP in one place, as Istio names them.
pub(super) fn name_of_http(place: &Place) -> String {
    match &place.bind {
        Bind::Ip(ip) if ip.is_unspecified() && ip.is_ipv4() => format!("http.{}", place.port),
        Bind::Ip(ip) => format!("http.{}.{ip}", place.port),
        Bind::Unix(path) => format!("http.unix.{path}"),
    }
}

/// The name of the routes of one server of HTTPS.
pub(super) fn name_of_https(server: &Placed<'_>) -> String {
    format!("https.{}", server.name())
}

impl GatewayTranslation<'_> {
    /// The routes of all servers of HTTP in one place.
    pub(super) fn http_routes(&mut self, name: &str, listening: &Listening<'_>) {
        let mut bound = BoundHosts::new();
        let mut redirected: BTreeSet<String> = BTreeSet::new();
        for server in &listening.servers {
            hosts::bind(&mut bound, server, self.mesh, self.viewer);
            if server.server.redirects() {
                redirected.extend(server.hosts.iter().map(|host| host.name.to_string()));
            }
        }
        for host in &redirected {
            bound.entry(host.clone()).or_default();
        }
        let first = &listening.servers[0];
        let mut rope = empty(name);
        for (host, bound) in bound {
            let redirects = redirected.iter().any(|wide| hosts::is_within(&host, wide));
            let made = self.virtual_host(name, &host, bound, redirects, first);
            made.into_iter().for_each(|host| rope.insert(host));
        }
        self.put(name, rope, first);
    }

    /// The routes of one server of HTTPS. Hosts of others there are answered 421: who asks for them has a connection that
    /// was made for this one, and is to make another (RFC 9110, 15.5.20).
    pub(super) fn https_routes(&mut self, server: &Placed<'_>, listening: &Listening<'_>) {
        let name = name_of_https(server);
        let all = listening.names();
        let own: BTreeSet<&str> = server.hosts.iter().map(|host| &*host.name).collect();
        let mut bound = BoundHosts::new();
        hosts::bind(&mut bound, server, self.mesh, self.viewer);
        let mut rope = empty(&name);
        for (host, bound) in bound {
            let chosen = hosts::most_specific(&host, all.iter().copied());
            if chosen.is_some_and(|it| own.contains(it)) {
                let made = self.virtual_host(&name, &host, bound, false, server);
                made.into_iter().for_each(|host| rope.insert(host));
            }
        }
        for other in all.difference(&own) {
            rope.insert(Arc::new(misdirected(other, server)));
        }
        self.put(&name, rope, server);
    }

    fn put(&mut self, name: &str, rope: Rope, server: &Placed<'_>) {
        let resource = Resource::from_rope(name.into(), rope, origin(server));
        self.made.push((ResourceType::Route, resource));
    }

    /// What a host gets; `None` = nothing is there for it.
    fn virtual_host(
        &mut self,
        routes: &str,
        host: &str,
        bound: Vec<Bound>,
        redirects: bool,
        server: &Placed<'_>,
    ) -> Option<Arc<VirtualHost>> {
        let key = (Arc::from(routes), Arc::from(host));
        let known = self.before.and_then(|(before, touched)| {
            let known = before.hosts.get(&key)?;
            let is_touched = bound.iter().any(|it| touched.documents.contains(&it.document.version.id));
            let is_same = !is_touched && known.bound == bound && known.redirects == redirects;
            Some((Arc::clone(known), is_same))
        });
        let hosted = match known {
            Some((known, true)) => known,
            known => {
                let made = self.made_of(host, &bound, redirects, server).map(Arc::new);
                let last = known.and_then(|(known, _)| known.made.clone());
                let made = made.map(|made| last.filter(|last| **last == *made).unwrap_or(made));
                Arc::new(Hosted { bound, redirects, made })
            }
        };
        let made = hosted.made.clone();
        self.hosts.insert(key, hosted);
        made
    }

    fn made_of(
        &self,
        host: &str,
        bound: &[Bound],
        redirects: bool,
        server: &Placed<'_>,
    ) -> Option<VirtualHost> {
        let (mut routes, mut of_all, mut documents) = (Vec::new(), None, Vec::new());
        let mut clusters: BTreeSet<Arc<str>> = BTreeSet::new();
        for Bound { document, gateway, port, .. } in bound {
            let Some(port) = Port::try_from(u32::from(*port)).ok() else { continue };
            let Some(made) = at_gateway(document, self.mesh, self.viewer, gateway, port) else { continue };
            documents.push(made.document);
            clusters.extend(made.clusters);
            for route in made.routes {
                match takes_all(&route) {
                    true => _ = of_all.get_or_insert(route),
                    false => routes.push(route),
                }
            }
        }
        if documents.is_empty() && !redirects {
            return None;
        }
        routes.push(of_all.unwrap_or_else(|| {
            let words = match documents.as_slice() {
                [] => "pilot: no rule at this gateway is for this host".to_owned(),
                documents => format!("pilot: no rule of {} is for this request", documents.join(", ")),
            };
            fallback::not_found(routes::prefix("/"), words)
        }));
        // Of several, the one that came last is what made others refuse it, mostly.
        let origin = match documents.pop() {
            Some(document) => Origin::Document(document, None),
            None => origin(server),
        };
        let require_tls = if redirects { TlsRequirementType::All } else { TlsRequirementType::None };
        let message = route::VirtualHost {
            name: format!("{host}:{}", server.server.port.number),
            domains: vec![domain(host)],
            routes,
            require_tls: require_tls.into(),
            ..Default::default()
        };
        Some(VirtualHost::new(&message, clusters.into_iter().collect(), origin))
    }
}

/// The document for which something is there.
pub(super) fn origin(server: &Placed<'_>) -> Origin {
    Origin::Document(server.gateway.version.id.to_string().into(), None)
}

/// A host as it stands in Host headers.
fn domain(host: &str) -> String {
    host.parse().map_or_else(|_| host.to_owned(), names::ip_domain)
}

fn empty(name: &str) -> Rope {
    Rope::new(&routes::configuration(name, true))
}

fn misdirected(host: &str, server: &Placed<'_>) -> VirtualHost {
    use core::data_source::Specifier;
    let words = "pilot: this connection was made for another host: make one for this host";
    let specifier = Some(Specifier::InlineString(words.to_owned()));
    let body = core::DataSource { specifier, ..Default::default() };
    let answer = route::DirectResponseAction { status: 421, body: Some(body), ..Default::default() };
    let route = route::Route {
        name: "misdirected".to_owned(),
        r#match: Some(routes::prefix("/")),
        action: Some(route::route::Action::DirectResponse(answer)),
        ..Default::default()
    };
    let message = route::VirtualHost {
        name: format!("{host}:{}", server.server.port.number),
        domains: vec![domain(host)],
        routes: vec![route],
        ..Default::default()
    };
    VirtualHost::new(&message, Vec::new(), origin(server))
}
