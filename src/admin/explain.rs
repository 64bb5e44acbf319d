//! The way of a request through a proxy, from the listener to the endpoints, by what pilot serves to that proxy.
//!
//! ```text
//!  View of the proxy ─► listener ─► virtual host ─► route ─► clusters ─► endpoints
//!                                       │ origin: the document, or the service
//!  Mesh ────────────────────────────────┴─► contest: which of its rules, what it shadows, and why
//! ```
//!
//! Nothing is translated anew to be shown: what is looked at is what proxies are sent.

mod chains;
mod matching;
mod report;
mod request;
mod upstream;

use std::sync::Arc;

use pilot_envoy_api::envoy::config::core::v3::address;
use pilot_envoy_api::envoy::config::listener::v3::Listener;
use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as http;
use pilot_envoy_api::google::protobuf::Any;
use pilot_registry::Port;
use prost::Message;

use super::Admin;
use super::reply::Failure;
use super::resources::Selection;
use super::services::nearest;
use crate::catalog::CatalogService;
use crate::mesh::Mesh;
use crate::proxy::{ConfigSource, Role, Scope};
use crate::resources::{Origin, Resource, ResourceType, Rope, View, VirtualHost};
use crate::translate::rules::{Contest, RulePlace, contest_of_routes};
use chains::Taken;
pub use report::{
    DestinationReport, EndpointStep, ExplainReport, HostStep, LeftOutReport, ListenerStep, RouteStep,
    ShadowedReport,
};
use request::Request;

/// What may be asked: of whom, and about which request.
pub(super) fn parameters() -> Vec<&'static str> {
    let of_whom = Selection::PARAMETERS.into_iter().filter(|it| !["type", "name"].contains(it));
    of_whom.chain(["url", "method", "headers", "listener"]).collect()
}

/// What is asked.
pub(super) struct Question {
    request: Request,
    listener: Option<String>,
}

impl Question {
    /// `headers`: each in a line of its own.
    pub(super) fn read(
        url: &str,
        method: &str,
        headers: &str,
        listener: Option<&str>,
    ) -> Result<Self, Failure> {
        let headers: Vec<&str> = headers.lines().collect();
        let request = Request::read(url, method, &headers).map_err(Failure::bad_request)?;
        Ok(Self { request, listener: listener.map(str::to_owned) })
    }
}

/// What a question is answered from.
struct Scene<'a> {
    mesh: &'a Mesh,
    scope: &'a Scope,
    view: &'a View,
    request: &'a Request,
}

impl ExplainReport {
    /// By what this proxy is told now.
    pub(super) fn of(
        admin: &Admin,
        selection: &Selection,
        view: &View,
        question: &Question,
    ) -> Result<Self, Failure> {
        let mesh =
            admin.world.mesh().ok_or_else(|| Failure::unavailable("the services are not known yet"))?;
        let request = &question.request;
        let scene = Scene { mesh: &mesh, scope: selection.scope(), view, request };
        let mut report = Self {
            proxy: selection.id().to_owned(),
            connected: selection.is_connected(),
            scope: selection.scope().to_string(),
            request: format!("{} {}://{}{}", request.method, request.scheme, request.authority, request.path),
            ..Self::default()
        };
        match scene.listener(question.listener.as_deref())? {
            Some(listener) => report.enter(&scene, listener),
            None if scene.is_grpc() => {
                let name = &request.host();
                let words =
                    format!("the client asks for the listener {name}, and there is none: UNAVAILABLE");
                report
                    .outcome
                    .extend([words, admin.world.hint(name)].into_iter().filter(|it| !it.is_empty()));
            }
            None => {
                let port = scene.port();
                let words = format!("the proxy has no listener at port {port}: connections are refused");
                report.outcome.push(words);
            }
        }
        Ok(report)
    }

    fn enter(&mut self, scene: &Scene<'_>, listener: &Resource) {
        let address = address(listener).map(|(ip, port)| format!("{ip}:{port}"));
        let origin = listener.origin().to_string();
        self.listener = Some(ListenerStep { name: listener.name().to_string(), address, origin });
        if let Some(routes) = routes_within(listener) {
            return self.route_within(scene, listener, routes);
        }
        let name = scene.request.bare_host();
        match decoded(listener).and_then(|listener| chains::taken(&listener, &name)) {
            Some(Taken::Routes(routes)) => self.route(scene, &routes),
            Some(Taken::Clusters(clusters)) => {
                let how = if clusters.len() == 1 { "to one cluster" } else { "by weight" };
                self.outcome.push(format!("it is no HTTP port: all bytes of a connection go {how}"));
                let total: u64 = clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
                let share = |weight: u32| {
                    (clusters.len() > 1)
                        .then(|| format!("{} of connections", upstream::percent(weight, total)))
                };
                let all =
                    clusters.iter().map(|(name, weight)| DestinationReport::of(scene, name, share(*weight)));
                self.destinations.extend(all);
            }
            // Datagrams have no chains.
            None if is_udp(listener) => {
                self.outcome.push("it is a UDP port: all datagrams go to one cluster".to_owned());
                let clusters = listener.references().filter(|(to, _)| *to == ResourceType::Cluster);
                self.destinations.extend(clusters.map(|(_, name)| DestinationReport::of(scene, name, None)));
            }
            None => {
                let words = format!(
                    "no filter chain is for clients that ask for {name} (SNI): connections are closed"
                );
                self.outcome.push(words);
            }
        }
    }

    fn route(&mut self, scene: &Scene<'_>, routes: &str) {
        let Some(rope) = scene.rope(routes) else {
            return self.outcome.push(format!("its routes {routes} are not there: 404"));
        };
        let Some((host, domain)) = scene.host(rope, routes) else {
            let host = &scene.request.host();
            return self.outcome.push(format!("no service and no document has the host {host}: 404"));
        };
        self.virtual_host = Some(HostStep {
            routes: routes.to_owned(),
            name: host.name().to_string(),
            domain: domain.to_owned(),
            origin: host.origin().to_string(),
        });
        let Ok(served) = route::VirtualHost::decode(host.bytes().clone()) else { return };
        self.steps(scene, &served, scene.contest(host));
    }

    /// The listener of a gRPC client has its routes in it.
    fn route_within(&mut self, scene: &Scene<'_>, listener: &Resource, routes: route::RouteConfiguration) {
        let Some(served) = routes.virtual_hosts.into_iter().next() else { return };
        self.virtual_host = Some(HostStep {
            routes: listener.name().to_string(),
            name: served.name.clone(),
            domain: served.domains.first().cloned().unwrap_or_default(),
            origin: listener.origin().to_string(),
        });
        self.steps(scene, &served, scene.contest_of_target());
    }

    /// Looks at one route after the other, until one is for the request.
    fn steps(&mut self, scene: &Scene<'_>, served: &route::VirtualHost, contest: Contest) {
        // A change that came in between is no other rule of what is served. gRPC clients are not told of the last ones, where
        // these are answers.
        let is_whole = served.routes.len() == contest.routes.len()
            || scene.is_grpc() && served.routes.len() < contest.routes.len();
        let is_same = is_whole
            && served.routes.iter().zip(&contest.routes).all(|(one, other)| one.r#match == other.r#match);
        let rule = |at: usize| contest.places.get(at).filter(|_| is_same)?.as_ref().map(words_of_place);
        for (at, route) in served.routes.iter().enumerate() {
            let mut open = Vec::new();
            let matches = route.r#match.clone().unwrap_or_default();
            let why_not = matching::why_not(&matches, scene.request, &mut open);
            let is_it = why_not.is_none();
            self.routes.push(RouteStep {
                number: at + 1,
                name: route.name.clone(),
                rule: rule(at),
                why_not,
                open,
            });
            if is_it {
                (self.outcome, self.destinations) = upstream::of_route(scene, route);
                break;
            }
        }
        if self.routes.iter().all(|step| step.why_not.is_some()) {
            let failure = if scene.is_grpc() { "UNAVAILABLE" } else { "404" };
            self.outcome.push(format!("no route is for it: {failure}"));
        }
        let left_out = contest.left_out.into_iter();
        self.left_out =
            left_out.map(|(place, why)| LeftOutReport { rule: words_of_place(&place), why }).collect();
        self.shadowed = contest.lost.into_iter().map(Into::into).collect();
    }
}

impl<'a> Scene<'a> {
    /// The listener that takes the request: the one that is asked for; else `http_listen`, if there is one and the host is none that
    /// has such a port without HTTP; else the one at the port.
    fn listener(&self, asked: Option<&str>) -> Result<Option<&'a Resource>, Failure> {
        let all = self.view.of(ResourceType::Listener);
        if let Some(asked) = asked {
            let names = || all.iter().map(|it| &**it.name());
            let unknown =
                || Failure::not_found(format!("no listener {asked:?}")).knowing(nearest(asked, names()));
            return all.get(asked).map(|it| Some(&**it)).ok_or_else(unknown);
        }
        if self.is_grpc() {
            return Ok(all.get(&self.request.host()).map(|it| &**it));
        }
        let port = self.port();
        let is_at = |it: &&Resource| address(it).is_some_and(|(_, at)| at == u32::from(port));
        let bound = || all.iter().map(|it| &**it).filter(|it| !it.is_by_name_only());
        let leads = |it: &&Resource, kind| it.references().any(|(to, _)| to == kind);
        let host = self.service();
        let own = bound().find(|it| {
            is_at(it)
                && leads(it, ResourceType::Cluster)
                && host.is_some_and(|host| match it.origin() {
                    // TLS services share it.
                    Origin::Port(_) => true,
                    origin => origin.service() == Some(host.host()),
                })
        });
        let http = || bound().filter(|it| leads(it, ResourceType::Route));
        let everywhere = || http().find(|it| matches!(it.origin(), Origin::Option(_)));
        // What is in TLS, routers do not see.
        let passed_on = || bound().find(|it| is_at(it) && leads(it, ResourceType::Cluster));
        Ok(match (self.scope.role, self.request.scheme) {
            (Role::Ingress, _) => bound().find(is_at),
            (_, "https") => own.or_else(passed_on),
            _ => own.or_else(everywhere).or_else(|| http().find(is_at)),
        })
    }

    /// The port that the client calls.
    fn port(&self) -> u16 {
        let usual = if self.request.scheme == "https" { 443 } else { 80 };
        self.request.port.unwrap_or(usual)
    }

    /// Whether the client is gRPC's own.
    fn is_grpc(&self) -> bool {
        self.scope.config_source == ConfigSource::AdsOfGrpc
    }

    /// What becomes of requests that reach no server.
    fn failure(&self) -> &'static str {
        if self.is_grpc() { "UNAVAILABLE" } else { "503" }
    }

    /// The service that the client calls so.
    fn service(&self) -> Option<&'a Arc<CatalogService>> {
        let namespace = self.scope.namespace.as_ref().map_or("", |it| it.as_str());
        self.mesh.named(&self.request.bare_host(), namespace)
    }

    /// The documents about the target of a gRPC client.
    fn contest_of_target(&self) -> Contest {
        let Some(service) = self.service() else { return Contest::default() };
        let asked = self.request.port.and_then(|port| Port::try_from(u32::from(port)).ok());
        let ports = service.ports().iter().filter(|port| port.protocol.is_http2()).map(|port| port.number);
        let usual = ports.min_by_key(|number| (number.get() != 80, *number));
        let port = asked.or(usual);
        port.map(|port| contest_of_routes(self.mesh, self.scope, service.host().as_str(), port))
            .unwrap_or_default()
    }

    fn rope(&self, routes: &str) -> Option<&'a Rope> {
        let kinds = [ResourceType::Route, ResourceType::VirtualHost].into_iter();
        kinds.filter_map(|kind| self.view.of(kind).get(routes)?.rope()).next()
    }

    fn host(&self, rope: &'a Rope, routes: &str) -> Option<(&'a VirtualHost, &'a str)> {
        let bare = &*self.request.bare_host();
        if self.ignores_ports(routes) {
            return host_of(rope, bare);
        }
        let found = host_of(rope, &self.request.host());
        // No domain is a wildcard with a port: the last virtual host has the routes of wildcards for these.
        let is_last = found.is_none_or(|(_, domain)| domain == "*");
        let is_wildcard = |(_, domain): &(_, &str)| domain.starts_with('*') && *domain != "*";
        host_of(rope, bare).filter(|found| is_last && is_wildcard(found)).or(found)
    }

    /// Whether the port in the Host header does not count.
    fn ignores_ports(&self, routes: &str) -> bool {
        let message = self.view.of(ResourceType::Route).get(routes).and_then(|it| decoded(it));
        message.is_some_and(|it: route::RouteConfiguration| it.ignore_port_in_host_matching)
    }

    /// The documents that say something of a host. At a Gateway they count together: none is contested.
    fn contest(&self, host: &VirtualHost) -> Contest {
        if self.scope.role == Role::Ingress {
            return Contest::default();
        }
        // `host:port`, or `host:port/namespace`.
        let name = host.name().split('/').next().unwrap_or_default();
        let (name, port) = name.rsplit_once(':').unwrap_or((name, "80"));
        let Some(port) = port.parse::<u32>().ok().and_then(|port| Port::try_from(port).ok()) else {
            return Contest::default();
        };
        let of = host.origin().service().map_or(name, |host| host.as_str());
        contest_of_routes(self.mesh, self.scope, of, port)
    }
}

/// The virtual host that has a host, in lower case, and by which domain: what is exact first, then the longest `*.suffix`,
/// then the longest `prefix:*`, then `*`.
fn host_of<'a>(rope: &'a Rope, own: &str) -> Option<(&'a VirtualHost, &'a str)> {
    let fits =
        |domain: &str| -> Option<(u8, usize)> {
            if domain.eq_ignore_ascii_case(own) {
                return Some((3, 0));
            }
            let longer = |part: &str| own.len() > part.len();
            match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
                (Some(""), _) => Some((0, 0)),
                (Some(suffix), _) => (longer(suffix) && own.ends_with(&suffix.to_ascii_lowercase()))
                    .then_some((2, suffix.len())),
                (_, Some(prefix)) => (longer(prefix) && own.starts_with(&prefix.to_ascii_lowercase()))
                    .then_some((1, prefix.len())),
                (None, None) => None,
            }
        };
    let all = rope.virtual_hosts().flat_map(|host| host.domains().map(move |domain| (host, domain)));
    all.filter_map(|(host, domain)| Some((fits(domain)?, host, domain)))
        .max_by_key(|(rank, ..)| *rank)
        .map(|(_, host, domain)| (host, domain))
}

fn words_of_place(RulePlace { rule, delegated }: &RulePlace) -> String {
    match delegated {
        None => format!("spec.http[{rule}]"),
        Some((document, of)) => format!("spec.http[{rule}], which delegates to {document} spec.http[{of}]"),
    }
}

/// The routes that the listener of a gRPC client has in it.
fn routes_within(listener: &Resource) -> Option<route::RouteConfiguration> {
    use http::http_connection_manager::RouteSpecifier;
    let listener: Listener = decoded(listener)?;
    let manager = listener.api_listener?.api_listener?;
    match http::HttpConnectionManager::decode(manager.value).ok()?.route_specifier? {
        RouteSpecifier::RouteConfig(routes) => Some(routes),
        _ => None,
    }
}

/// The message that a resource is.
fn decoded<M: Message + Default>(resource: &Resource) -> Option<M> {
    M::decode(Any::decode(resource.any_bytes()).ok()?.value).ok()
}

fn is_udp(listener: &Resource) -> bool {
    decoded(listener).is_some_and(|it: Listener| it.udp_listener_config.is_some())
}

/// Where a listener listens.
fn address(listener: &Resource) -> Option<(String, u32)> {
    use pilot_envoy_api::envoy::config::core::v3::socket_address::PortSpecifier;
    let listener: Listener = decoded(listener)?;
    let Some(address::Address::SocketAddress(at)) = listener.address?.address else { return None };
    match at.port_specifier {
        Some(PortSpecifier::PortValue(port)) => Some((at.address, port)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// envoy.config.route.v3.VirtualHost, `domains`.
    #[test]
    fn hosts_are_found_as_envoy_finds_them() {
        let mut rope = Rope::new(&route::RouteConfiguration::default());
        for (name, domains) in [
            ("exact", vec!["a.example.com", "A.local:8080"]),
            ("near", vec!["*.api.example.com"]),
            ("far", vec!["*.example.com", "*-x.org"]),
            ("port", vec!["a.local:*", "a.local:80*"]),
            ("rest", vec!["*"]),
        ] {
            let domains = domains.into_iter().map(str::to_owned).collect();
            let host = route::VirtualHost { name: name.to_owned(), domains, ..Default::default() };
            rope.insert(Arc::new(VirtualHost::new(&host, Vec::new(), Origin::Shared)));
        }
        for (own, name, domain) in [
            ("a.example.com", "exact", "a.example.com"),
            ("a.local:8080", "exact", "A.local:8080"),
            ("v1.api.example.com", "near", "*.api.example.com"),
            ("api.example.com", "far", "*.example.com"),
            ("foo-x.org", "far", "*-x.org"),
            // A star stands for something.
            ("-x.org", "rest", "*"),
            ("a.local:8081", "port", "a.local:80*"),
            ("a.local:99", "port", "a.local:*"),
            ("a.local", "rest", "*"),
        ] {
            let (host, found) = host_of(&rope, own).expect("there is one for all");
            assert_eq!((&**host.name(), found), (name, domain), "{own}");
        }
    }
}
