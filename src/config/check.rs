//! Checks values that contradict each other.

use std::net::SocketAddr;
use std::time::Duration;

use pilot_registry::{Hostname, Namespace};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::{Config, Mesh, RegistryKind, RulesKind, Xds, log_targets};

/// Something that is wrong: the keys that it is about, the first of which is where to mend it, and what.
pub(super) type Finding = (Vec<String>, String);

/// The shortest time after which quiet TCP connections are probed: a third of it is a whole second.
const SHORTEST_PROBE: Duration = Duration::from_secs(3);

/// All that is wrong with the values.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |keys: &[&str], message: String| {
        findings.push((keys.iter().map(|key| (*key).to_owned()).collect(), message));
    };
    let (xds, admin) = (config.xds.listen, config.admin.listen);
    if collide(xds, admin) {
        let message = format!("{admin} collides with xds.listen, which is {xds}: expected another port");
        find(&["admin.listen", "xds.listen"], message);
    }
    // Where pilot listens on every address, the router may well be on another machine.
    let own = config.router.http_listen.filter(|http| !http.ip().is_unspecified());
    if own.is_some_and(|http| http == xds || http == admin) {
        let keys = ["router.http_listen", "xds.listen", "admin.listen"];
        find(&keys, "pilot itself listens there: expected another address".into());
    }
    if !config.router.http_port_listeners && config.router.http_listen.is_none() {
        let message = "nothing would lead to HTTP services: expected router.http_listen, too".into();
        find(&["router.http_port_listeners", "router.http_listen"], message);
    }
    let never_zero = [
        ("xds.keepalive_interval", config.xds.keepalive_interval),
        ("xds.keepalive_timeout", config.xds.keepalive_timeout),
        ("push.max_delay", config.push.max_delay),
        ("mesh.connect_timeout", config.mesh.connect_timeout),
        ("mesh.keepalive.http2_timeout", config.mesh.keepalive.http2_timeout),
        ("mesh.keepalive.client_timeout", config.mesh.keepalive.client_timeout),
        ("mesh.outliers.ejection", config.mesh.outliers.ejection),
        ("mesh.dns.retry", config.mesh.dns.retry),
        ("state.save_interval", config.state.save_interval),
        ("guard.hold", config.guard.hold),
    ];
    for (key, _) in never_zero.iter().filter(|(_, duration)| *duration == Duration::ZERO) {
        find(&[key], "0 makes no sense here: expected a longer time".into());
    }
    if config.push.quiet > config.push.max_delay {
        let max = super::duration::format(config.push.max_delay);
        find(&["push.quiet", "push.max_delay"], format!("longer than push.max_delay, which is {max}"));
    }
    let Mesh { keepalive, outliers, dns, .. } = &config.mesh;
    if !keepalive.tcp.is_zero() && keepalive.tcp < SHORTEST_PROBE {
        find(&["mesh.keepalive.tcp"], "is too short: expected \"3s\" or longer, or \"0s\" for never".into());
    }
    for (keys, least, most) in [
        (["mesh.outliers.max_ejection", "mesh.outliers.ejection"], outliers.ejection, outliers.max_ejection),
        (["mesh.dns.max_retry", "mesh.dns.retry"], dns.retry, dns.max_retry),
    ] {
        if most < least {
            let least = super::duration::format(least);
            find(&keys, format!("shorter than {}, which is {least}", keys[1]));
        }
    }
    if config.state.dir.as_ref().is_some_and(|dir| dir.as_os_str().is_empty()) {
        find(&["state.dir"], "is empty: expected the path of a folder, like \"state\"".into());
    }
    if config.mesh.access_log.path.as_deref().is_some_and(|path| !path.starts_with('/')) {
        let message = "is no path from the root of the proxy's machine: expected one like \"/dev/stdout\"";
        find(&["mesh.access_log.path"], message.into());
    }
    if config.mesh.domain.as_deref().is_some_and(|domain| domain.parse::<Hostname>().is_err()) {
        find(&["mesh.domain"], "is no domain: expected one like \"cluster.local\"".into());
    }
    if Namespace::try_from(config.mesh.root_namespace.clone()).is_err() {
        find(&["mesh.root_namespace"], "is no namespace: expected one like \"istio-system\"".into());
    }
    if let Some(message) = wrong_filter(&config.log.filter) {
        find(&["log.filter"], message);
    }
    findings.extend(registries(config));
    findings
}

/// About what a name takes in the first request of a client that comes back: twice its length, and a version.
const NAME_BYTES: usize = 150;

/// Values that are served and may not be meant.
pub(super) fn warnings(config: &Config) -> Vec<Finding> {
    let log = log_targets::unknown(&config.log.filter);
    let log = log.into_iter().map(|message| (vec!["log.filter".to_owned()], message));
    too_many_names(&config.xds).into_iter().chain(log).collect()
}

/// Values at which some clients will fail.
fn too_many_names(xds: &Xds) -> Option<Finding> {
    let Xds { max_names, max_request_bytes, .. } = *xds;
    let (needed, fit) = (max_names.saturating_mul(NAME_BYTES), max_request_bytes / NAME_BYTES);
    if needed <= max_request_bytes {
        return None;
    }
    let is_usual = max_request_bytes == Xds::default().max_request_bytes;
    let (key, cure) = match is_usual {
        true => ("xds.max_names", format!("raise xds.max_request_bytes to {needed}, or allow {fit} names")),
        false => ("xds.max_request_bytes", format!("expected {needed}, or xds.max_names = {fit}")),
    };
    let message = format!(
        "a client that comes back names all that it has in one request: {max_names} names (xds.max_names) take about \
         {needed} bytes, and {max_request_bytes} are allowed (xds.max_request_bytes). A client with more than about \
         {fit} clusters connects once and is refused ever after: {cure}"
    );
    Some((vec![key.to_owned()], message))
}

/// Whether one of two servers could not listen.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && overlap
}

fn wrong_filter(filter: &str) -> Option<String> {
    let expected =
        "expected a level (error, warn, info, debug, trace, off) or module=level, separated by commas";
    // `Targets` takes any other word for the name of a module of which everything is to be written.
    let is_known = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
    if let Some(word) = filter.split(',').map(str::trim).find(|part| !is_known(part)) {
        return Some(format!("{word:?} is not a level: {expected}"));
    }
    let error = filter.parse::<Targets>().err()?;
    Some(format!("{filter:?} is not a filter ({error}): {expected}"))
}

fn registries(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.registry.is_empty() {
        let message = "there is none, so there would be no services: expected at least one, like \
                       registry.local.file.path = \"services.toml\"";
        findings.push((vec!["registry".into()], message.into()));
    }
    for (name, entry) in &config.registry {
        let kinds = entry.kinds().iter().map(RegistryKind::as_str).collect();
        findings.extend(named("registry", "registry", name, kinds));
    }
    for (name, entry) in &config.rules {
        let kinds = entry.kinds().iter().map(RulesKind::as_str).collect();
        findings.extend(named("rules", "store of rules", name, kinds));
    }
    findings
}

/// What is wrong with `[table.name]`, which is a `what` and has tables of these kinds.
fn named(table: &str, what: &str, name: &str, kinds: Vec<&'static str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let key = format!("{table}.{name}");
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
        let message = format!("{name:?} is not a name for a {what}: expected 1 to 63 of a-z, 0-9 and '-'");
        findings.push((vec![key.clone()], message));
    }
    let kinds: Vec<String> = kinds.iter().map(|kind| format!("[{key}.{kind}]")).collect();
    match kinds.as_slice() {
        [_] => {}
        [] => findings
            .push((vec![key.clone()], format!("says no kind of {what}: expected a table like [{key}.file]"))),
        several => findings.push((
            vec![key.clone()],
            format!("is of several kinds: expected one of {}", several.join(", ")),
        )),
    }
    findings
}
