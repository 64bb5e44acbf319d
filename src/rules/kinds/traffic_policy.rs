//! How proxies connect to the endpoints of a host.

use schemars::JsonSchema;
use serde::Deserialize;

use super::common::{PortSelector, Refused, Span};
use super::locality::LocalityLoadBalancing;

/// How proxies connect to endpoints.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-one-of" = [["tunnel", "proxyProtocol"]]))]
pub struct TrafficPolicy {
    /// Which endpoint gets a request.
    pub load_balancer: Option<LoadBalancer>,
    /// How many connections and requests there are.
    pub connection_pool: Option<ConnectionPool>,
    /// Endpoints that fail are left out for a while.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards endpoints.
    pub tls: Option<TlsSettings>,
    /// What counts for single ports, in place of all of the above.
    #[serde(default)]
    pub port_level_settings: Vec<PortPolicy>,
    /// Connections go through a proxy by CONNECT.
    #[schemars(extend("x-rejected" = "tunnels are not served yet: leave tunnel out"))]
    pub tunnel: Option<Refused>,
    /// Endpoints are told the client's address.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How many retries there may be at a time.
    pub retry_budget: Option<RetryBudget>,
}

impl TrafficPolicy {
    /// For all ports, and for single ones.
    pub fn load_balancers(&self) -> impl Iterator<Item = &LoadBalancer> {
        let of_ports = self.port_level_settings.iter().filter_map(|port| port.load_balancer.as_ref());
        self.load_balancer.iter().chain(of_ports)
    }
}

/// What counts for one port.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortPolicy {
    /// The service's port.
    pub port: PortSelector,
    /// Which endpoint gets a request.
    pub load_balancer: Option<LoadBalancer>,
    /// How many connections and requests there are.
    pub connection_pool: Option<ConnectionPool>,
    /// Endpoints that fail are left out for a while.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards endpoints.
    pub tls: Option<TlsSettings>,
}

/// Which endpoint gets a request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-one-of" = [["simple", "consistentHash"], ["warmup", "warmupDurationSecs"]]))]
pub struct LoadBalancer {
    /// A rule that looks at endpoints only.
    pub simple: Option<SimpleLoadBalancer>,
    /// A rule that keeps requests of one kind at one endpoint.
    pub consistent_hash: Option<ConsistentHash>,
    /// Where endpoints are, in relation to the proxy.
    pub locality_lb_setting: Option<LocalityLoadBalancing>,
    /// A rule of Envoy's own about zones.
    #[schemars(extend("x-rejected" = "it needs a cluster of the proxies themselves, which pilot does not make: write \
                                      localityLbSetting"))]
    pub zone_aware_lb_setting: Option<Refused>,
    /// New endpoints get more requests step by step.
    pub warmup: Option<Warmup>,
    /// New endpoints get more requests step by step, for that long.
    #[schemars(extend("x-old" = "it is an old spelling of warmup.duration"))]
    pub warmup_duration_secs: Option<Span>,
}

/// A rule that looks at endpoints only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLoadBalancer {
    /// Pilot's default: `LEAST_REQUEST`.
    Unspecified,
    /// One after the other.
    RoundRobin,
    /// Of two, the one with fewer requests.
    LeastRequest,
    /// An old spelling of `LEAST_REQUEST`.
    LeastConn,
    /// Any.
    Random,
    /// The address that the client called.
    Passthrough,
}

/// What requests of one endpoint have in common.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-one-of" = [
    ["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"],
    ["ringHash", "maglev", "minimumRingSize"],
]))]
pub struct ConsistentHash {
    /// A header.
    #[schemars(length(min = 1))]
    pub http_header_name: Option<String>,
    /// A cookie.
    pub http_cookie: Option<HttpCookie>,
    /// The client's address.
    pub use_source_ip: Option<bool>,
    /// A parameter of the query.
    #[schemars(length(min = 1))]
    pub http_query_parameter_name: Option<String>,
    /// By a ring.
    pub ring_hash: Option<RingHash>,
    /// By Maglev's table.
    pub maglev: Option<Maglev>,
    /// The ring's size.
    #[schemars(extend("x-old" = "it is an old spelling of ringHash.minimumRingSize"), range(min = 1, max = 8_388_608))]
    pub minimum_ring_size: Option<u64>,
}

/// A cookie by which requests stay together.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpCookie {
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// For which paths.
    pub path: Option<String>,
    /// How long it lasts; `0s` = as long as the browser. Without it the proxy makes none.
    pub ttl: Option<Span>,
    /// Its attributes.
    #[serde(default)]
    pub attributes: Vec<CookieAttribute>,
}

/// An attribute of a cookie.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CookieAttribute {
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
}

/// A ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RingHash {
    /// Its size at least. 1024 if it is not there.
    #[schemars(range(min = 1, max = 8_388_608))]
    pub minimum_ring_size: Option<u64>,
}

/// Maglev's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Maglev {
    /// Its size, a prime number. 65537 if it is not there.
    #[schemars(range(min = 2, max = 5_000_011))]
    pub table_size: Option<u64>,
}

/// New endpoints get more requests step by step.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Warmup {
    /// For how long.
    pub duration: Span,
    /// With which share they begin, in percent. 10 if it is not there.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub minimum_percent: Option<f64>,
    /// How fast it rises; 1 = in a straight line.
    pub aggression: Option<f64>,
}

/// How many connections and requests there are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionPool {
    /// Of all protocols.
    pub tcp: Option<TcpPool>,
    /// Of HTTP.
    pub http: Option<HttpPool>,
}

/// Connections.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpPool {
    /// How many, from each proxy. 0 = no limit.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub max_connections: Option<u32>,
    /// How long a connection may take to come about.
    pub connect_timeout: Option<Span>,
    /// Probes on quiet connections.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// How long one may last.
    pub max_connection_duration: Option<Span>,
    /// How long one may be quiet. `0s` = for ever.
    pub idle_timeout: Option<Span>,
}

/// Probes on quiet connections. What is not there is the machine's setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpKeepalive {
    /// After how many without an answer the connection is given up.
    pub probes: Option<u32>,
    /// After how much quiet the first one is sent.
    pub time: Option<Span>,
    /// How long it is from one to the next.
    pub interval: Option<Span>,
}

/// Requests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpPool {
    /// How many may wait for a connection, from each proxy. 0 = no limit.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub http1_max_pending_requests: Option<u32>,
    /// How many there may be at a time, from each proxy. 0 = no limit.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub http2_max_requests: Option<u32>,
    /// How many a connection serves. 0 = no limit.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub max_requests_per_connection: Option<u32>,
    /// How many retries there may be at a time. 0 = no limit.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub max_retries: Option<u32>,
    /// How long a connection without requests stays.
    pub idle_timeout: Option<Span>,
    /// Whether HTTP/1.1 becomes HTTP/2.
    pub h2_upgrade_policy: Option<H2UpgradePolicy>,
    /// Whether the client's version of HTTP is used.
    #[serde(default)]
    pub use_client_protocol: bool,
    /// How many requests share an HTTP/2 connection.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub max_concurrent_streams: Option<u32>,
    /// Probes on HTTP/2 connections.
    pub http2_keep_alive: Option<Http2KeepAlive>,
}

/// Whether HTTP/1.1 becomes HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum H2UpgradePolicy {
    /// As the port's protocol says.
    Default,
    /// As the port's protocol says.
    DoNotUpgrade,
    /// It does.
    Upgrade,
}

/// Probes on HTTP/2 connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http2KeepAlive {
    /// How long it is from one to the next.
    pub interval: Span,
    /// How long an answer may take.
    pub timeout: Span,
}

/// Endpoints that fail are left out for a while.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutlierDetection {
    /// After how many answers of 5xx in a row. 0 = never. 5 if it is not there.
    pub consecutive5xx_errors: Option<u32>,
    /// After how many answers of 502, 503 or 504 in a row. 0 or not there = never.
    pub consecutive_gateway_errors: Option<u32>,
    /// Whether failures to connect are counted apart.
    #[serde(default)]
    pub split_external_local_origin_errors: bool,
    /// After how many failures to connect in a row; needs splitExternalLocalOriginErrors. 5 if it is not there.
    pub consecutive_local_origin_failures: Option<u32>,
    /// How often is looked. 10s if it is not there.
    pub interval: Option<Span>,
    /// For how long the first time. 30s if it is not there.
    pub base_ejection_time: Option<Span>,
    /// How many endpoints at most, in percent; one in any case. 10 if it is not there.
    #[schemars(range(min = 0, max = 100))]
    pub max_ejection_percent: Option<u32>,
    /// Below how much health, in percent, all endpoints are used, sick ones too. 0, the default: never.
    #[schemars(range(min = 0, max = 100))]
    pub min_health_percent: Option<u32>,
    /// A count of errors of both kinds.
    #[schemars(extend("x-rejected" = "it has had no effect in Istio for years: write consecutive5xxErrors, or \
                                      consecutiveGatewayErrors"))]
    pub consecutive_errors: Option<Refused>,
    /// Statuses that count as errors.
    #[schemars(extend("x-rejected" = "not every Envoy that pilot serves has it: leave it out"))]
    pub outlier_detection_http_error_codes: Option<Refused>,
}

/// TLS towards endpoints.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSettings {
    /// Whether, and with which certificates. `DISABLE` if it is not there.
    pub mode: Option<TlsMode>,
    /// The proxy's certificate: a file on the proxy's machine.
    pub client_certificate: Option<String>,
    /// Its key.
    pub private_key: Option<String>,
    /// The certificates of authorities that endpoints' certificates have to come from. Without it, the system's.
    pub ca_certificates: Option<String>,
    /// A Secret of Kubernetes.
    #[schemars(extend("x-rejected" = "certificates are files on the proxy's machine: write caCertificates, \
                                      clientCertificate and privateKey"))]
    pub credential_name: Option<Refused>,
    /// The names of which an endpoint's certificate has to have one. Without any, the host.
    #[serde(default)]
    pub subject_alt_names: Vec<String>,
    /// The name that the proxy asks for. Without it, the host.
    pub sni: Option<String>,
    /// Whether any certificate will do.
    pub insecure_skip_verify: Option<bool>,
    /// A list of certificates that are revoked.
    pub ca_crl: Option<String>,
}

/// Whether there is TLS towards endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TlsMode {
    /// None.
    Disable,
    /// With the endpoint's certificate.
    Simple,
    /// With certificates of both.
    Mutual,
    /// With those that Istio issues.
    IstioMutual,
}

/// Endpoints are told the client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyProtocol {
    /// `V1` if it is not there.
    pub version: Option<ProxyProtocolVersion>,
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ProxyProtocolVersion {
    /// In text.
    V1,
    /// In binary.
    V2,
}

/// How many retries there may be at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryBudget {
    /// In percent of the requests. 20 if it is not there.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub percent: Option<f64>,
    /// As many in any case. 3 if it is not there.
    pub min_retry_concurrency: Option<u32>,
    /// Over which time requests are counted.
    pub budget_interval: Option<Span>,
}
