//! The health check of a service.

use pilot_registry::{HealthCheck, Probe};

use super::fields::{self, Mistakes, Table};
use crate::document::{Node, Value};

pub(super) const KEYS: &[&str] =
    &["http", "grpc", "tcp", "port", "interval", "timeout", "failures", "successes"];
const EXAMPLE: &str = r#"{ http = "/healthz" }"#;

/// What is written, when there is no mistake.
pub(super) fn health_check(node: &Node, mistakes: &mut Mistakes) -> Option<HealthCheck> {
    let table = Table::open(node, ("health_check", EXAMPLE), KEYS, mistakes)?;
    let probe = probe(&table, mistakes);
    let of_time = |key, mistakes: &mut Mistakes| {
        table.get(key).map(|node| fields::duration(node, &format!("health_check {key}"), mistakes))
    };
    let of_count = |key, mistakes: &mut Mistakes| {
        table.get(key).map(|node| fields::count(node, &format!("health_check {key}"), mistakes))
    };
    // All is read, whatever is wrong: the author hears of all mistakes at once.
    let (interval, timeout) = (of_time("interval", mistakes), of_time("timeout", mistakes));
    let (failures, successes) = (of_count("failures", mistakes), of_count("successes", mistakes));
    let port = table.get("port").map(|node| fields::port(node, "health_check port", mistakes));
    let usual = HealthCheck::new(probe?);
    Some(HealthCheck {
        port: port.map_or(Some(None), |port| port.map(Some))?,
        interval: interval.unwrap_or(Some(usual.interval))?,
        timeout: timeout.unwrap_or(Some(usual.timeout))?,
        failures: failures.unwrap_or(Some(usual.failures))?,
        successes: successes.unwrap_or(Some(usual.successes))?,
        ..usual
    })
}

fn probe(table: &Table<'_>, mistakes: &mut Mistakes) -> Option<Probe> {
    let kinds: Vec<(&str, &Node)> =
        ["http", "grpc", "tcp"].into_iter().filter_map(|kind| Some((kind, table.get(kind)?))).collect();
    match kinds.as_slice() {
        [("http", node)] => path(node, mistakes).map(Probe::Http),
        [("grpc", node)] => fields::text(node, "grpc", mistakes).map(|name| Probe::Grpc(name.to_owned())),
        [(_, node)] => match node.value {
            Value::Bool(true) => Some(Probe::Tcp),
            _ => {
                mistakes.add(node.at, "tcp: expected tcp = true");
                None
            }
        },
        _ => {
            let expected =
                "expected one of http = \"/path\", grpc = \"service\" (\"\" = all of the server), tcp = true";
            mistakes.add(table.at, format!("health_check of {} kinds: {expected}", kinds.len()));
            None
        }
    }
}

fn path(node: &Node, mistakes: &mut Mistakes) -> Option<String> {
    let path = fields::text(node, "http", mistakes)?;
    let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_path {
        mistakes.add(node.at, format!("{path:?} is no path: expected one like \"/healthz\""));
    }
    is_path.then(|| path.to_owned())
}
