//! What no shape can say of a DestinationRule.

use std::collections::BTreeSet;

use super::super::envelope::dns_label;
use super::super::kinds::{
    ConnectionPool, ConsistentHash, DestinationRule, H2UpgradePolicy, LoadBalancer, OutlierDetection,
    PortPolicy, SimpleLoadBalancer, TlsMode, TlsSettings, TrafficPolicy, Warmup,
};
use super::super::node::Path;
use super::locality::locality;
use super::{Report, words};

/// Says what is wrong with a DestinationRule.
pub(in super::super) fn destination_rule(rule: &DestinationRule, report: &mut Report<'_>) {
    let spec = Path::new("spec");
    if rule.host != "*" {
        report.check(&spec.key("host"), words::host(&rule.host));
    }
    words::export_to(&rule.export_to, &spec.key("exportTo"), report);
    if let Some(selector) = &rule.workload_selector {
        let path = spec.key("workloadSelector");
        words::labels(&selector.match_labels, &path.key("matchLabels"), report);
        if selector.match_labels.is_empty() {
            report.warning(&path, "it is empty: the document counts for all proxies of its namespace");
        }
        if rule.export_to.iter().any(|namespace| namespace != ".") {
            let message =
                "with workloadSelector the document is for its own namespace: expected [\".\"], or nothing";
            report.error(&spec.key("exportTo"), message);
        }
    }
    if let Some(policy) = &rule.traffic_policy {
        traffic_policy(policy, None, &spec.key("trafficPolicy"), report);
    }
    let subsets = spec.key("subsets");
    let mut names = BTreeSet::new();
    for (i, subset) in rule.subsets.iter().enumerate() {
        let path = subsets.index(i);
        report.check(&path.key("name"), dns_label(&subset.name));
        if !names.insert(&subset.name) {
            report.error(&path.key("name"), format!("subset {:?} is there twice", subset.name));
        }
        words::labels(&subset.labels, &path.key("labels"), report);
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(policy, rule.traffic_policy.as_ref(), &path.key("trafficPolicy"), report);
        }
    }
}

/// `above`: the policy whose blocks count where this one has none.
fn traffic_policy(
    policy: &TrafficPolicy,
    above: Option<&TrafficPolicy>,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    if *policy == TrafficPolicy::default() {
        report.error(path, "it is empty: expected loadBalancer, connectionPool, outlierDetection or tls");
    }
    let block = Blocks {
        load_balancer: policy.load_balancer.as_ref(),
        connection_pool: policy.connection_pool.as_ref(),
        outlier_detection: policy.outlier_detection.as_ref(),
        tls: policy.tls.as_ref(),
    };
    let inherits = above.is_some_and(|above| above.outlier_detection.is_some());
    blocks(block, inherits, path, report);
    let ports = path.key("portLevelSettings");
    let mut numbers = BTreeSet::new();
    for (i, port) in policy.port_level_settings.iter().enumerate() {
        let path = ports.index(i);
        if !numbers.insert(port.port.number) {
            report.error(&path.key("port"), format!("port {} is there twice", port.port.number));
        }
        port_policy(port, policy, &path, report);
    }
}

fn port_policy(port: &PortPolicy, above: &TrafficPolicy, path: &Path<'_>, report: &mut Report<'_>) {
    let block = Blocks {
        load_balancer: port.load_balancer.as_ref(),
        connection_pool: port.connection_pool.as_ref(),
        outlier_detection: port.outlier_detection.as_ref(),
        tls: port.tls.as_ref(),
    };
    if block.names().is_empty() {
        report.error(
            path,
            "it says nothing of the port: expected loadBalancer, connectionPool, outlierDetection or tls",
        );
    }
    let hidden = Blocks {
        load_balancer: above.load_balancer.as_ref(),
        connection_pool: above.connection_pool.as_ref(),
        outlier_detection: above.outlier_detection.as_ref(),
        tls: above.tls.as_ref(),
    };
    let own = block.names();
    let lost: Vec<&str> = hidden.names().into_iter().filter(|name| !own.contains(name)).collect();
    if !lost.is_empty() {
        let lost = lost.join(", ");
        report
            .warning(path, format!("a port inherits nothing: {lost} of trafficPolicy does not count for it"));
    }
    blocks(block, false, path, report);
}

/// What a policy and a port's policy have in common.
#[derive(Clone, Copy)]
struct Blocks<'a> {
    load_balancer: Option<&'a LoadBalancer>,
    connection_pool: Option<&'a ConnectionPool>,
    outlier_detection: Option<&'a OutlierDetection>,
    tls: Option<&'a TlsSettings>,
}

impl Blocks<'_> {
    /// Those that are there.
    fn names(self) -> Vec<&'static str> {
        let blocks = [
            ("loadBalancer", self.load_balancer.is_some()),
            ("connectionPool", self.connection_pool.is_some()),
            ("outlierDetection", self.outlier_detection.is_some()),
            ("tls", self.tls.is_some()),
        ];
        blocks.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
    }
}

/// `ejects`: outliers are detected above.
fn blocks(blocks: Blocks<'_>, ejects: bool, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(balancer) = blocks.load_balancer {
        let ejects = ejects || blocks.outlier_detection.is_some();
        load_balancer(balancer, ejects, &path.key("loadBalancer"), report);
    }
    if let Some(pool) = blocks.connection_pool {
        connection_pool(pool, &path.key("connectionPool"), report);
    }
    if let Some(detection) = blocks.outlier_detection {
        outlier_detection(detection, &path.key("outlierDetection"), report);
    }
    if let Some(settings) = blocks.tls {
        tls(settings, &path.key("tls"), report);
    }
}

fn load_balancer(balancer: &LoadBalancer, ejects: bool, path: &Path<'_>, report: &mut Report<'_>) {
    if *balancer == LoadBalancer::default() {
        report.error(path, "it is empty: expected simple, consistentHash, localityLbSetting or warmup");
    }
    match balancer.simple {
        Some(SimpleLoadBalancer::Passthrough) => {
            let message = "PASSTHROUGH needs the address that the client called, which a proxy without traffic capture does \
                           not know";
            report.error(&path.key("simple"), message);
        }
        Some(SimpleLoadBalancer::LeastConn) => {
            report.warning(&path.key("simple"), "LEAST_CONN is an old spelling of LEAST_REQUEST");
        }
        _ => {}
    }
    if let Some(hash) = &balancer.consistent_hash {
        consistent_hash(hash, &path.key("consistentHash"), report);
    }
    if let Some(setting) = &balancer.locality_lb_setting {
        locality(setting, ejects, &path.key("localityLbSetting"), report);
    }
    words::lasts(balancer.warmup_duration_secs, &path.key("warmupDurationSecs"), report);
    if let Some(settings) = balancer.warmup {
        warmup(settings, &path.key("warmup"), report);
    }
    let warms = balancer.warmup.is_some() || balancer.warmup_duration_secs.is_some();
    let cannot = balancer.consistent_hash.is_some() || balancer.simple == Some(SimpleLoadBalancer::Random);
    if warms && cannot {
        report.warning(path, "warmup means nothing here: it is for ROUND_ROBIN and LEAST_REQUEST");
    }
}

fn warmup(warmup: Warmup, path: &Path<'_>, report: &mut Report<'_>) {
    words::lasts(Some(warmup.duration), &path.key("duration"), report);
    if let Some(aggression) = warmup.aggression
        && aggression <= 0.0
    {
        report.error(&path.key("aggression"), format!("{aggression} does not fit: expected more than 0"));
    }
}

fn consistent_hash(hash: &ConsistentHash, path: &Path<'_>, report: &mut Report<'_>) {
    let keys = [
        hash.http_header_name.is_some(),
        hash.http_cookie.is_some(),
        hash.use_source_ip == Some(true),
        hash.http_query_parameter_name.is_some(),
    ];
    if !keys.contains(&true) {
        let message =
            "it has no key: expected httpHeaderName, httpCookie, httpQueryParameterName or useSourceIp";
        report.error(path, message);
    }
    if let Some(name) = &hash.http_header_name {
        report.check(&path.key("httpHeaderName"), words::header_name(name));
    }
    if let Some(cookie) = &hash.http_cookie {
        let list = path.key("httpCookie").key("attributes").to_string();
        let mut names = BTreeSet::new();
        if let Some(double) = cookie.attributes.iter().find(|attribute| !names.insert(&attribute.name)) {
            report.error(&path.key("httpCookie"), format!("{list}: {:?} is there twice", double.name));
        }
    }
    if let Some(size) = hash.maglev.and_then(|maglev| maglev.table_size)
        && !is_prime(size)
    {
        let message = format!("{size} does not fit: expected a prime number, like 65537");
        report.error(&path.key("maglev").key("tableSize"), message);
    }
}

fn is_prime(number: u64) -> bool {
    number > 1
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

fn connection_pool(pool: &ConnectionPool, path: &Path<'_>, report: &mut Report<'_>) {
    if pool.tcp.is_none() && pool.http.is_none() {
        report.error(path, "it is empty: expected tcp or http");
    }
    if let Some(tcp) = &pool.tcp {
        let path = path.key("tcp");
        words::lasts(tcp.connect_timeout, &path.key("connectTimeout"), report);
        words::lasts(tcp.max_connection_duration, &path.key("maxConnectionDuration"), report);
        if let Some(keepalive) = tcp.tcp_keepalive {
            let path = path.key("tcpKeepalive");
            for (key, span) in [("time", keepalive.time), ("interval", keepalive.interval)] {
                if span.is_some_and(|span| span.0.as_secs() == 0 || span.0.subsec_nanos() > 0) {
                    report.error(&path.key(key), "expected whole seconds, at least 1s");
                }
            }
        }
    }
    if let Some(http) = &pool.http {
        let path = path.key("http");
        words::lasts(http.idle_timeout, &path.key("idleTimeout"), report);
        if http.h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade) && http.use_client_protocol {
            report.error(&path, "h2UpgradePolicy: UPGRADE and useClientProtocol exclude each other");
        }
        if let Some(keepalive) = http.http2_keep_alive {
            let path = path.key("http2KeepAlive");
            words::lasts(Some(keepalive.interval), &path.key("interval"), report);
            words::lasts(Some(keepalive.timeout), &path.key("timeout"), report);
        }
    }
}

fn outlier_detection(detection: &OutlierDetection, path: &Path<'_>, report: &mut Report<'_>) {
    words::lasts(detection.interval, &path.key("interval"), report);
    words::lasts(detection.base_ejection_time, &path.key("baseEjectionTime"), report);
    if detection.consecutive_local_origin_failures.is_some() && !detection.split_external_local_origin_errors
    {
        let message = "it counts only with splitExternalLocalOriginErrors: true";
        report.error(&path.key("consecutiveLocalOriginFailures"), message);
    }
}

fn tls(tls: &TlsSettings, path: &Path<'_>, report: &mut Report<'_>) {
    let files = [
        ("clientCertificate", tls.client_certificate.is_some()),
        ("privateKey", tls.private_key.is_some()),
        ("caCertificates", tls.ca_certificates.is_some()),
    ];
    match tls.mode.unwrap_or(TlsMode::Disable) {
        TlsMode::IstioMutual => {
            report.error(&path.key("mode"), "pilot issues no certificates: write MUTUAL, with files");
        }
        TlsMode::Mutual => {
            for (key, _) in files[..2].iter().filter(|(_, is_there)| !is_there) {
                report.error(path, format!("MUTUAL needs {key}"));
            }
        }
        TlsMode::Simple => {
            for (key, _) in files[..2].iter().filter(|(_, is_there)| *is_there) {
                report.error(&path.key(key), "it is for MUTUAL: SIMPLE shows no certificate of the proxy");
            }
        }
        TlsMode::Disable => {
            let is_set = files.iter().any(|(_, is_there)| *is_there)
                || tls.sni.is_some()
                || tls.ca_crl.is_some()
                || !tls.subject_alt_names.is_empty();
            if is_set {
                report.error(
                    path,
                    "there is no TLS with DISABLE, which is also what no mode means: write SIMPLE or MUTUAL",
                );
            }
        }
    }
    if tls.insecure_skip_verify == Some(true)
        && (tls.ca_certificates.is_some() || !tls.subject_alt_names.is_empty())
    {
        let message = "it takes any certificate: caCertificates and subjectAltNames would not count";
        report.error(&path.key("insecureSkipVerify"), message);
    }
}
