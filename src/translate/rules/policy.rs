//! How the endpoints of a service, or of a subset, are used: what a cluster is told of a DestinationRule.
//!
//! ```text
//!  trafficPolicy ── portLevelSettings of the port, in its place ──┐
//!  subset's      ── portLevelSettings of the port, in its place ──┴─► block by block, the subset's in place of the service's
//! ```

use std::time::Duration;

use pilot_envoy_api::envoy::config::cluster::v3::cluster::common_lb_config::LocalityConfigSpecifier;
use pilot_envoy_api::envoy::config::cluster::v3::{self as api, Cluster, cluster};
use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::route::v3::route_action::{HashPolicy, hash_policy};
use pilot_envoy_api::envoy::r#type::v3::Percent;
use pilot_registry::{Port, Protocol, ServicePort};

use super::lens::Ruled;
use super::{proxy_protocol, tls};
use crate::catalog::CatalogService;
use crate::rules::kinds::{
    ConnectionPool, ConsistentHash, LoadBalancer, OutlierDetection, ProxyProtocol, RetryBudget,
    SimpleLoadBalancer, Span, TcpPool, TlsSettings, TrafficPolicy,
};
use crate::translate::connections::TcpSettings;
use crate::translate::nearness::Nearness;
use crate::translate::source::{duration, uint32};
use crate::translate::upstream::{Pings, Upstream};

/// What counts for one port of a service or subset.
#[derive(Clone, Copy, Debug, Default)]
struct Policy<'a> {
    load_balancer: Option<&'a LoadBalancer>,
    pool: Option<&'a ConnectionPool>,
    outliers: Option<&'a OutlierDetection>,
    tls: Option<&'a TlsSettings>,
    retry_budget: Option<RetryBudget>,
    proxy_protocol: Option<ProxyProtocol>,
}

impl<'a> Policy<'a> {
    /// What documents say of a port; `subset` is empty for the whole service.
    fn of(ruled: &'a Ruled, subset: &str, port: Port) -> Self {
        let whole = ruled.policies().find_map(|rule| rule.traffic_policy.as_ref());
        let (base, _) = Self::at(whole, port);
        let own = ruled.subset(subset).and_then(|subset| subset.traffic_policy.as_ref());
        let (leaf, is_of_port) = Self::at(own, port);
        let retry_budget = leaf.retry_budget.or(base.retry_budget);
        let proxy_protocol = leaf.proxy_protocol.or(base.proxy_protocol);
        if is_of_port {
            return Self { retry_budget, proxy_protocol, ..leaf };
        }
        Self {
            load_balancer: leaf.load_balancer.or(base.load_balancer),
            pool: leaf.pool.or(base.pool),
            outliers: leaf.outliers.or(base.outliers),
            tls: leaf.tls.or(base.tls),
            retry_budget,
            proxy_protocol,
        }
    }

    /// One level: what is said of the port, in the place of all else; and whether that is so.
    fn at(policy: Option<&'a TrafficPolicy>, port: Port) -> (Self, bool) {
        let Some(policy) = policy else { return (Self::default(), false) };
        let own = policy.port_level_settings.iter().find(|own| own.port.number == port.get());
        match own {
            Some(own) => {
                let of_port = Self {
                    load_balancer: own.load_balancer.as_ref(),
                    pool: own.connection_pool.as_ref(),
                    outliers: own.outlier_detection.as_ref(),
                    tls: own.tls.as_ref(),
                    retry_budget: None,
                    proxy_protocol: None,
                };
                (of_port, true)
            }
            None => {
                let of_all = Self {
                    load_balancer: policy.load_balancer.as_ref(),
                    pool: policy.connection_pool.as_ref(),
                    outliers: policy.outlier_detection.as_ref(),
                    tls: policy.tls.as_ref(),
                    retry_budget: policy.retry_budget,
                    proxy_protocol: policy.proxy_protocol,
                };
                (of_all, false)
            }
        }
    }
}

/// What a document says of a port on one level; and whether it is of that port alone.
pub(super) fn at_port(policy: Option<&TrafficPolicy>, port: Port) -> (Option<&LoadBalancer>, bool) {
    let (policy, is_of_port) = Policy::at(policy, port);
    (policy.load_balancer, is_of_port)
}

/// What the place of a proxy means for the endpoints of a service or subset.
pub(in crate::translate) fn nearness<'a>(
    ruled: &'a Ruled,
    subset: &str,
    port: Port,
    prefers_near: bool,
) -> Nearness<'a> {
    nearness_of(Policy::of(ruled, subset, port).load_balancer, prefers_near)
}

pub(super) fn nearness_of(balancer: Option<&LoadBalancer>, prefers_near: bool) -> Nearness<'_> {
    Nearness::of(balancer.and_then(|balancer| balancer.locality_lb_setting.as_ref()), prefers_near)
}

/// By what requests to a service or subset stay at one endpoint; none = by nothing.
pub(in crate::translate) fn hash_policies(ruled: &Ruled, subset: &str, port: Port) -> Vec<HashPolicy> {
    let hash = Policy::of(ruled, subset, port).load_balancer.and_then(|it| it.consistent_hash.as_ref());
    hash.and_then(hash_policy).into_iter().collect()
}

/// What connections are told that are no HTTP.
pub(in crate::translate) fn tcp(ruled: &Ruled, subset: &str, port: Port) -> TcpSettings {
    let Policy { pool, load_balancer, .. } = Policy::of(ruled, subset, port);
    let tcp = pool.and_then(|pool| pool.tcp.as_ref());
    let lasts = tcp.and_then(|tcp| tcp.max_connection_duration).map(|lasts| lasts.0);
    let hash = load_balancer.and_then(|it| it.consistent_hash.as_ref());
    TcpSettings {
        idle: tcp.and_then(|tcp| tcp.idle_timeout).map(|idle| idle.0),
        lasts: lasts.filter(|lasts| !lasts.is_zero()),
        by_source: hash.is_some_and(|hash| hash.use_source_ip == Some(true)),
    }
}

fn hash_policy(hash: &ConsistentHash) -> Option<HashPolicy> {
    use hash_policy::{
        ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter,
    };
    let header = |name: &String| {
        PolicySpecifier::Header(Header { header_name: name.to_ascii_lowercase(), ..Default::default() })
    };
    let parameter = |name: &String| PolicySpecifier::QueryParameter(QueryParameter { name: name.clone() });
    let cookie = || {
        let cookie = hash.http_cookie.as_ref()?;
        let attribute = |it: &crate::rules::kinds::CookieAttribute| CookieAttribute {
            name: it.name.clone(),
            value: it.value.clone(),
        };
        Some(PolicySpecifier::Cookie(Cookie {
            name: cookie.name.clone(),
            ttl: cookie.ttl.and_then(|ttl| duration(ttl.0)),
            path: cookie.path.clone().unwrap_or_default(),
            attributes: cookie.attributes.iter().map(attribute).collect(),
        }))
    };
    let address = || {
        let is_so = hash.use_source_ip == Some(true);
        is_so.then_some(PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true }))
    };
    let specifier = hash
        .http_header_name
        .as_ref()
        .map(header)
        .or_else(cookie)
        .or_else(|| hash.http_query_parameter_name.as_ref().map(parameter))
        .or_else(address)?;
    Some(HashPolicy { policy_specifier: Some(specifier), ..Default::default() })
}

/// The cluster of a port, with what documents say of it. `subset` is empty for the whole service.
pub(in crate::translate) fn applied(
    cluster: Cluster,
    upstream: Upstream,
    ruled: &Ruled,
    subset: &str,
    port: &ServicePort,
    service: &CatalogService,
) -> (Cluster, Upstream) {
    let policy = Policy::of(ruled, subset, port.number);
    let (mut cluster, mut upstream) = (cluster, upstream);
    // A cluster of another kind has no choice.
    let is_chosen = cluster.lb_policy != cluster::LbPolicy::ClusterProvided as i32;
    if let Some(balancer) = policy.load_balancer.filter(|_| is_chosen) {
        balance(&mut cluster, balancer);
        if matches!(nearness_of(Some(balancer), false), Nearness::Shared(_)) {
            let by_place = cluster::common_lb_config::LocalityWeightedLbConfig::default();
            cluster.common_lb_config.get_or_insert_default().locality_config_specifier =
                Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(by_place));
        }
    }
    if let Some(pool) = policy.pool {
        limit(&mut cluster, &mut upstream, pool);
    }
    if let Some(budget) = policy.retry_budget {
        self::budget(&mut cluster, budget);
    }
    if let Some(outliers) = policy.outliers {
        eject(&mut cluster, outliers);
    }
    if let Some(settings) = policy.tls {
        let names = tls::names(settings, service);
        tls::secure(&mut cluster, &mut upstream, settings, &names, port.protocol);
    }
    if let Some(told) = policy.proxy_protocol.filter(|_| port.protocol != Protocol::Udp) {
        proxy_protocol::tell(&mut cluster, told);
    }
    (cluster, upstream)
}

fn balance(cluster: &mut Cluster, balancer: &LoadBalancer) {
    use cluster::{
        LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig, RoundRobinLbConfig,
    };
    let slow_start = warmup(balancer);
    if let Some(hash) = &balancer.consistent_hash {
        let uint64 = |value| Some(pilot_envoy_api::google::protobuf::UInt64Value { value });
        let (policy, config) = match hash.maglev {
            Some(maglev) => {
                let table_size = maglev.table_size.and_then(uint64);
                (LbPolicy::Maglev, LbConfig::MaglevLbConfig(MaglevLbConfig { table_size }))
            }
            None => {
                let size = hash.ring_hash.and_then(|ring| ring.minimum_ring_size).or(hash.minimum_ring_size);
                let minimum_ring_size = uint64(size.unwrap_or(1024));
                let ring = RingHashLbConfig { minimum_ring_size, ..Default::default() };
                (LbPolicy::RingHash, LbConfig::RingHashLbConfig(ring))
            }
        };
        (cluster.lb_policy, cluster.lb_config) = (policy.into(), Some(config));
        return;
    }
    let (policy, config) = match balancer.simple {
        Some(SimpleLoadBalancer::RoundRobin) => {
            let config = RoundRobinLbConfig { slow_start_config: slow_start };
            (LbPolicy::RoundRobin, Some(LbConfig::RoundRobinLbConfig(config)))
        }
        Some(SimpleLoadBalancer::Random) => (LbPolicy::Random, None),
        Some(
            SimpleLoadBalancer::LeastRequest
            | SimpleLoadBalancer::LeastConn
            | SimpleLoadBalancer::Unspecified
            | SimpleLoadBalancer::Passthrough,
        )
        | None => {
            let config = LeastRequestLbConfig { slow_start_config: slow_start, ..Default::default() };
            (LbPolicy::LeastRequest, Some(LbConfig::LeastRequestLbConfig(config)))
        }
    };
    (cluster.lb_policy, cluster.lb_config) = (policy.into(), config);
}

fn warmup(balancer: &LoadBalancer) -> Option<cluster::SlowStartConfig> {
    let old = balancer.warmup_duration_secs.map(|window| (window, None, None));
    let new = balancer.warmup.map(|it| (it.duration, it.minimum_percent, it.aggression));
    let (window, minimum, aggression) = new.or(old)?;
    let aggression = aggression.map(|aggression| core::RuntimeDouble {
        default_value: aggression,
        runtime_key: "pilot.warmup".to_owned(),
    });
    Some(cluster::SlowStartConfig {
        slow_start_window: duration(window.0),
        aggression,
        min_weight_percent: minimum.map(|value| Percent { value }),
    })
}

/// 0 = no limit.
fn most(limit: u32) -> u32 {
    if limit == 0 { u32::MAX } else { limit }
}

fn limit(cluster: &mut Cluster, upstream: &mut Upstream, pool: &ConnectionPool) {
    let breakers = cluster.circuit_breakers.get_or_insert_default();
    if breakers.thresholds.is_empty() {
        breakers.thresholds.push(api::circuit_breakers::Thresholds::default());
    }
    let thresholds = &mut breakers.thresholds[0];
    let set = |slot: &mut Option<_>, limit: Option<u32>| {
        if let Some(limit) = limit {
            *slot = uint32(most(limit));
        }
    };
    let seconds =
        |span: Option<Span>| span.filter(|span| !span.0.is_zero()).and_then(|span| duration(span.0));
    if let Some(tcp) = &pool.tcp {
        set(&mut thresholds.max_connections, tcp.max_connections);
        upstream.max_connection_duration = seconds(tcp.max_connection_duration);
        if let Some(idle) = tcp.idle_timeout {
            upstream.idle_timeout = duration(idle.0);
        }
    }
    if let Some(http) = &pool.http {
        set(&mut thresholds.max_pending_requests, http.http1_max_pending_requests);
        set(&mut thresholds.max_requests, http.http2_max_requests);
        if http.max_retries.is_some() {
            // Beside a budget, a number would not count.
            thresholds.retry_budget = None;
        }
        set(&mut thresholds.max_retries, http.max_retries);
        upstream.max_requests_per_connection = http.max_requests_per_connection.filter(|most| *most > 0);
        if let Some(idle) = http.idle_timeout {
            upstream.idle_timeout = duration(idle.0);
        }
        upstream.is_upgraded = http.h2_upgrade_policy == Some(crate::rules::kinds::H2UpgradePolicy::Upgrade);
        upstream.follows_client = http.use_client_protocol;
        upstream.max_concurrent_streams = http.max_concurrent_streams.filter(|most| *most > 0);
        if let Some(pings) = http.http2_keep_alive {
            upstream.pings = Pings { interval: pings.interval.0, timeout: pings.timeout.0, ..upstream.pings };
        }
    }
    if let Some(tcp) = &pool.tcp {
        connect(cluster, tcp);
    }
}

fn connect(cluster: &mut Cluster, tcp: &TcpPool) {
    if let Some(timeout) = tcp.connect_timeout {
        cluster.connect_timeout = duration(timeout.0);
    }
    if let Some(keepalive) = tcp.tcp_keepalive {
        let seconds = |span: Option<Span>| {
            span.and_then(|span| uint32(u32::try_from(span.0.as_secs()).unwrap_or(u32::MAX)))
        };
        let keepalive = core::TcpKeepalive {
            keepalive_probes: keepalive.probes.and_then(uint32),
            keepalive_time: seconds(keepalive.time),
            keepalive_interval: seconds(keepalive.interval),
        };
        let options = cluster.upstream_connection_options.get_or_insert_default();
        options.tcp_keepalive = Some(keepalive);
    }
}

/// Beside a budget, a fixed number would not count.
fn budget(cluster: &mut Cluster, budget: RetryBudget) {
    use api::circuit_breakers::thresholds::RetryBudget as Budget;
    let breakers = cluster.circuit_breakers.get_or_insert_default();
    if breakers.thresholds.is_empty() {
        breakers.thresholds.push(api::circuit_breakers::Thresholds::default());
    }
    breakers.thresholds[0].retry_budget = Some(Budget {
        budget_percent: Some(Percent { value: budget.percent.unwrap_or(20.0) }),
        min_retry_concurrency: uint32(budget.min_retry_concurrency.unwrap_or(3)),
        budget_interval: budget.budget_interval.and_then(|interval| duration(interval.0)),
    });
}

fn eject(cluster: &mut Cluster, outliers: &OutlierDetection) {
    let enforced = |count: Option<u32>| uint32(if count == Some(0) { 0 } else { 100 });
    let time =
        |span: Option<Span>, usual: u64| duration(span.map_or(Duration::from_secs(usual), |span| span.0));
    let count = |count: Option<u32>| count.filter(|count| *count > 0).and_then(uint32);
    let is_split = outliers.split_external_local_origin_errors;
    cluster.outlier_detection = Some(api::OutlierDetection {
        consecutive_5xx: count(outliers.consecutive5xx_errors),
        enforcing_consecutive_5xx: enforced(outliers.consecutive5xx_errors),
        consecutive_gateway_failure: count(outliers.consecutive_gateway_errors),
        enforcing_consecutive_gateway_failure: uint32(match outliers.consecutive_gateway_errors {
            None | Some(0) => 0,
            Some(_) => 100,
        }),
        split_external_local_origin_errors: is_split,
        consecutive_local_origin_failure: count(outliers.consecutive_local_origin_failures),
        enforcing_consecutive_local_origin_failure: if is_split {
            enforced(outliers.consecutive_local_origin_failures)
        } else {
            None
        },
        interval: time(outliers.interval, 10),
        base_ejection_time: time(outliers.base_ejection_time, 30),
        max_ejection_percent: count(outliers.max_ejection_percent),
        enforcing_success_rate: uint32(0),
        enforcing_local_origin_success_rate: uint32(0),
        ..Default::default()
    });
    let common = cluster.common_lb_config.get_or_insert_default();
    let value = f64::from(outliers.min_health_percent.unwrap_or_default());
    common.healthy_panic_threshold = Some(Percent { value });
}
