//! What tests of a cluster have in common.

use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{Endpoint, Snapshot, State};
use pilot_registry_consul::{Config, Limits, registry};
use pilot_registry_testkit::Runner;
use serde_json::{Value, json};

/// Follows that agent.
pub(crate) fn follow(address: std::net::SocketAddr, change: impl FnOnce(&mut Config)) -> Runner {
    let mut config = Config { address: format!("http://{address}"), ..Config::default() };
    change(&mut config);
    Runner::start(Arc::new(registry(config).unwrap()))
}

/// Nearly no long polls, so that services are read in turn; and rounds so rare that they find nothing.
pub(crate) fn in_turn(config: &mut Config) {
    config.limits = Limits { max_polls: 1, wait_seconds: 600, ..Limits::default() };
}

/// The endpoints of a service, if it is there.
pub(crate) fn endpoints<'a>(state: &'a State<Snapshot>, host: &str) -> Option<&'a [Endpoint]> {
    Some(&state.published.as_ref()?.value.get(host)?.endpoints)
}

/// An instance of a service with one check, on a node of its own.
pub(crate) fn entry(service: &str, number: usize, status: &str) -> Value {
    let (node, id) = (format!("{service}-node-{number}"), format!("{service}-{number}"));
    let check =
        json!({ "CheckID": format!("check-{id}"), "Name": "check", "Status": status, "ServiceID": id });
    json!({
        "Node": node, "Address": format!("10.1.0.{number}"),
        "Service": { "ID": id, "Service": service, "Port": 8080 },
        "Check": check,
    })
}

/// How soon what Consul knows is to be known. Measured from when it has taken the change.
pub(crate) const SOON: Duration = Duration::from_secs(1);
