//! VirtualService: where requests to a host go.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::{DocumentId, Kind};
use super::common::{Destination, Headers, Percent, Refused, Regex, Span, StringMatch, ValueMatch};
use super::connection_routes::{ConnectionMatch, SourceCondition, TcpRoute, TlsRoute};

/// Where requests to some hosts go.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualService {
    /// The hosts that clients call: names of services, or others, `*.suffix` too. None: other documents delegate to this
    /// one.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The gateways at which it counts; `mesh` is all proxies of services. Without any, that.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// Rules for HTTP requests: the first one that matches counts.
    #[serde(default)]
    pub http: Vec<HttpRoute>,
    /// Rules for TLS connections to ports with the protocol tls, by their SNI.
    #[serde(default)]
    pub tls: Vec<TlsRoute>,
    /// Rules for connections to ports that are not HTTP: the first one that matches counts.
    #[serde(default)]
    pub tcp: Vec<TcpRoute>,
    /// The namespaces whose proxies use it: names, `.` for its own, `*` for all. Without any, all.
    #[serde(default)]
    pub export_to: Vec<String>,
}

impl VirtualService {
    /// All hosts that it names, those of its destinations, too.
    pub(in crate::rules) fn each_host(&mut self, change: impl Fn(&mut String)) {
        self.hosts.iter_mut().for_each(&change);
        let tls = self.tls.iter_mut().flat_map(|rule| &mut rule.matches);
        tls.flat_map(|it| &mut it.sni_hosts).for_each(&change);
        let connections = self.tls.iter_mut().map(|rule| &mut rule.route);
        let connections = connections.chain(self.tcp.iter_mut().map(|rule| &mut rule.route));
        connections.flatten().for_each(|route| change(&mut route.destination.host));
        for route in &mut self.http {
            let routes = route.route.iter_mut().map(|weighted| &mut weighted.destination);
            let mirrors = route.mirrors.iter_mut().map(|mirror| &mut mirror.destination);
            routes.chain(mirrors).chain(&mut route.mirror).for_each(|it| change(&mut it.host));
        }
    }

    /// All destinations that it names.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        let http = self.http.iter().flat_map(|http| {
            let routes = http.route.iter().map(|route| &route.destination);
            let mirrors = http.mirrors.iter().map(|mirror| &mirror.destination);
            routes.chain(mirrors).chain(&http.mirror)
        });
        let tls = self.tls.iter().flat_map(|rule| &rule.route);
        let connections = tls.chain(self.tcp.iter().flat_map(|rule| &rule.route));
        http.chain(connections.map(|route| &route.destination))
    }

    /// For which proxies the conditions of its rules are.
    pub fn sources(&self) -> impl Iterator<Item = SourceCondition<'_>> {
        let http = self.http.iter().flat_map(|rule| &rule.matches).map(HttpMatch::source);
        let tls = self.tls.iter().flat_map(|rule| &rule.matches).map(ConnectionMatch::source);
        let tcp = self.tcp.iter().flat_map(|rule| &rule.matches).map(ConnectionMatch::source);
        http.chain(tls).chain(tcp)
    }
}

/// A rule for HTTP requests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend(
    "x-one-of" = [["route", "redirect", "directResponse", "delegate"], ["mirror", "mirrors"],
        ["mirrorPercentage", "mirrorPercent"]],
    "x-removed" = {
        "websocketUpgrade": "WebSocket is always allowed: leave it out",
        "appendHeaders": "write headers.request.add",
        "appendRequestHeaders": "write headers.request.add",
        "removeRequestHeaders": "write headers.request.remove",
        "appendResponseHeaders": "write headers.response.add",
        "removeResponseHeaders": "write headers.response.remove",
    },
))]
pub struct HttpRoute {
    /// For logs.
    pub name: Option<String>,
    /// Which requests it is for: those that fulfil one of these. None: all.
    #[serde(default, rename = "match")]
    pub matches: Vec<HttpMatch>,
    /// Where they go.
    #[serde(default)]
    pub route: Vec<RouteDestination>,
    /// They are sent elsewhere by an answer.
    pub redirect: Option<Redirect>,
    /// They are answered by the proxy itself.
    pub direct_response: Option<DirectResponse>,
    /// The rules of another document count in place of this one.
    pub delegate: Option<Delegate>,
    /// Path and host are rewritten.
    pub rewrite: Option<Rewrite>,
    /// How long a request may take, retries included. `0s`, the default: as long as it takes.
    pub timeout: Option<Span>,
    /// When a request is tried again.
    pub retries: Option<Retries>,
    /// Faults that are injected to test clients.
    pub fault: Option<FaultInjection>,
    /// A second destination that gets a copy of each request; its answers are thrown away.
    pub mirror: Option<Destination>,
    /// Several of them.
    #[serde(default)]
    pub mirrors: Vec<Mirror>,
    /// How many requests are mirrored; all if it is not there.
    pub mirror_percentage: Option<Percent>,
    /// How many requests are mirrored, in percent.
    #[schemars(extend("x-old" = "it is an old spelling of mirrorPercentage.value"), range(min = 0, max = 100))]
    pub mirror_percent: Option<u32>,
    /// Which pages of other origins may call this.
    pub cors_policy: Option<CorsPolicy>,
    /// What becomes of headers.
    pub headers: Option<Headers>,
}

/// Conditions of which all have to be fulfilled.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpMatch {
    /// For logs.
    pub name: Option<String>,
    /// The path, without the query.
    pub uri: Option<StringMatch>,
    /// `http` or `https`, where a proxy sees it.
    pub scheme: Option<StringMatch>,
    /// The method.
    pub method: Option<StringMatch>,
    /// The host that the client named.
    pub authority: Option<StringMatch>,
    /// Headers by name; `{}` = it is there.
    #[serde(default)]
    pub headers: BTreeMap<String, ValueMatch>,
    /// The service's port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Labels that the workload of the calling proxy has.
    #[serde(default)]
    pub source_labels: BTreeMap<String, String>,
    /// The gateways at which it counts, instead of the document's. With it, the labels and the namespace of the source do
    /// not matter.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// Parameters of the query by name; `{}` = it is there.
    #[serde(default)]
    pub query_params: BTreeMap<String, ValueMatch>,
    /// Whether exact and prefix of the path match in upper and lower case.
    #[serde(default)]
    pub ignore_uri_case: bool,
    /// Headers that must not be so; `{}` = it is not there.
    #[serde(default)]
    pub without_headers: BTreeMap<String, ValueMatch>,
    /// The namespace of the calling proxy.
    #[schemars(length(min = 1))]
    pub source_namespace: Option<String>,
    /// Requests that match are counted under this name.
    pub stat_prefix: Option<String>,
}

impl HttpMatch {
    /// For which proxies it is.
    pub fn source(&self) -> SourceCondition<'_> {
        let (labels, gateways) = (&self.source_labels, &self.gateways);
        SourceCondition { labels, namespace: self.source_namespace.as_deref(), gateways }
    }
}

/// A destination, and its share of the requests.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-removed" = {
    "appendRequestHeaders": "write headers.request.add",
    "removeRequestHeaders": "write headers.request.remove",
    "appendResponseHeaders": "write headers.response.add",
    "removeResponseHeaders": "write headers.response.remove",
}))]
pub struct RouteDestination {
    /// Where they go.
    pub destination: Destination,
    /// Its share, relative to the sum of all. One that is alone gets all.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub weight: u32,
    /// What becomes of headers.
    pub headers: Option<Headers>,
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-one-of" = [["uri", "prefixRewrite"], ["port", "derivePort"]]))]
pub struct Redirect {
    /// The new path, in place of the whole old one. The query stays.
    pub uri: Option<String>,
    /// What stands in place of the prefix that matched.
    pub prefix_rewrite: Option<String>,
    /// The new host.
    pub authority: Option<String>,
    /// The new port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// How the new port is found.
    pub derive_port: Option<DerivePort>,
    /// `http` or `https`.
    #[schemars(extend("enum" = ["http", "https"]))]
    pub scheme: Option<String>,
    /// 301 (the default), 302, 303, 307 or 308.
    pub redirect_code: Option<u32>,
}

impl Redirect {
    /// Whether it depends on the port at which a request came in.
    pub fn asks_where(&self) -> bool {
        self.derive_port.is_some()
    }
}

/// How the port of a redirect is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DerivePort {
    /// 80 for http, 443 for https.
    FromProtocolDefault,
    /// The one at which the request came in.
    FromRequestPort,
}

/// An answer of the proxy itself.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectResponse {
    /// Its status.
    #[schemars(range(min = 200, max = 599))]
    pub status: u32,
    /// Its body; none if it is not there.
    pub body: Option<Body>,
}

/// The body of an answer of the proxy itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-one-of" = [["string", "bytes"]]))]
pub struct Body {
    /// As text.
    pub string: Option<String>,
    /// In base64.
    pub bytes: Option<String>,
}

impl Body {
    /// Its bytes; `None` = there are none, or they are no base64.
    pub fn decoded(&self) -> Option<Vec<u8>> {
        match (&self.string, &self.bytes) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(encoded)) => BASE64_STANDARD.decode(encoded).ok(),
            (None, None) => None,
        }
    }
}

/// Names a document without hosts.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delegate {
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Its namespace; without it, that of this document.
    pub namespace: Option<String>,
}

impl Delegate {
    /// The document, named in one of that namespace.
    pub fn document(&self, root: &str) -> DocumentId {
        DocumentId {
            kind: Kind::VirtualService.as_str().to_owned(),
            namespace: self.namespace.as_deref().unwrap_or(root).to_owned(),
            name: self.name.clone(),
        }
    }
}

/// How path and host are rewritten.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-one-of" = [["uri", "uriRegexRewrite"]]))]
pub struct Rewrite {
    /// What stands in place of the prefix that matched; of the whole path where the match is exact or a regex.
    pub uri: Option<String>,
    /// The host that the destination sees.
    pub authority: Option<String>,
    /// A part of the path is replaced.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A part of the path is replaced.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegexRewrite {
    /// What is replaced, anywhere in the path.
    #[serde(rename = "match")]
    pub pattern: Regex,
    /// What stands in its place; `\1` is the first group.
    pub rewrite: String,
}

/// When a request is tried again.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retries {
    /// How many times, beside the first; 0 = never. 2 if it is not there.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub attempts: Option<u32>,
    /// How long each may take; without it, the whole timeout.
    pub per_try_timeout: Option<Span>,
    /// For what, with commas: Envoy's words, gRPC's (`unavailable`), and statuses. Without it, what reached no server.
    pub retry_on: Option<String>,
    /// Whether a retry may go to endpoints of another place or priority.
    pub retry_remote_localities: Option<bool>,
    /// Whether a retry avoids endpoints that were tried. True if it is not there.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// The first pause; it doubles. 25ms if it is not there.
    pub backoff: Option<Span>,
}

/// Faults that are injected.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultInjection {
    /// Requests are held back.
    pub delay: Option<Delay>,
    /// Requests are answered with an error.
    pub abort: Option<Abort>,
}

/// Requests are held back.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-one-of" = [["percentage", "percent"]]))]
pub struct Delay {
    /// For how long.
    pub fixed_delay: Option<Span>,
    /// A delay that varies.
    #[schemars(extend("x-rejected" = "Envoy has no such delay: write fixedDelay"))]
    pub exponential_delay: Option<Refused>,
    /// How many requests; none if it is not there.
    pub percentage: Option<Percent>,
    /// How many requests, in percent.
    #[schemars(extend("x-old" = "it is an old spelling of percentage.value"), range(min = 0, max = 100))]
    pub percent: Option<u32>,
}

/// Requests are answered with an error.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend(
    "x-one-of" = [["httpStatus", "grpcStatus"]],
    "x-removed" = {"percent": "write percentage: {value: 50}"},
))]
pub struct Abort {
    /// The status.
    #[schemars(range(min = 200, max = 599))]
    pub http_status: Option<u32>,
    /// gRPC's name of the status: `UNAVAILABLE`.
    pub grpc_status: Option<String>,
    /// An error of HTTP/2.
    #[schemars(extend("x-rejected" = "Envoy has no such abort: write httpStatus or grpcStatus"))]
    pub http2_error: Option<Refused>,
    /// How many requests; none if it is not there.
    pub percentage: Option<Percent>,
}

/// A destination that gets copies.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirror {
    /// Which.
    pub destination: Destination,
    /// Of how many requests; of all if it is not there.
    pub percentage: Option<Percent>,
}

/// Which pages of other origins may call this.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-one-of" = [["allowOrigins", "allowOrigin"]]))]
pub struct CorsPolicy {
    /// The origins.
    #[serde(default)]
    pub allow_origins: Vec<StringMatch>,
    /// The origins, each exactly so.
    #[serde(default)]
    #[schemars(extend("x-old" = "it is an old spelling of allowOrigins: [{exact: ...}]"))]
    pub allow_origin: Vec<String>,
    /// The methods.
    #[serde(default)]
    pub allow_methods: Vec<String>,
    /// The headers that requests may have.
    #[serde(default)]
    pub allow_headers: Vec<String>,
    /// The headers of answers that pages may read.
    #[serde(default)]
    pub expose_headers: Vec<String>,
    /// How long browsers may remember the answer, in whole seconds.
    pub max_age: Option<Span>,
    /// Whether browsers may send cookies.
    pub allow_credentials: Option<bool>,
    /// What becomes of preflights of other origins.
    pub unmatched_preflights: Option<UnmatchedPreflights>,
}

/// What becomes of preflights of origins that are not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnmatchedPreflights {
    /// The destination answers.
    Unspecified,
    /// The destination answers.
    Forward,
    /// The proxy answers, and allows nothing.
    Ignore,
}
