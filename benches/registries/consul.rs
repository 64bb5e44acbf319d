//! A real Consul with as many services as a fleet of 500 nodes has.

use std::sync::Arc;

use anyhow::Result;
use pilot_registry_consul::{Config, registry};
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::consul::{Consul, Options};
use serde_json::{Value, json};

use crate::{Bench, Size, services};

const NODES: usize = 500;
/// One in so many services changes, so that it is ever another.
const STRIDE: usize = 119;

pub(crate) async fn measure(size: Size) -> Result<()> {
    println!("consul, {} services x {} instances", size.services, size.endpoints);
    let Some(consul) = Consul::start(Options::default()).await? else { return Ok(()) };
    fill(&consul, size).await?;
    let relay = Relay::to(consul.address()).await?;
    let config = Config { address: format!("http://{}", relay.address()), ..Config::default() };
    let mut bench = Bench::start(Arc::new(registry(config)?), size.services * size.endpoints).await?;
    bench.idle(size.idle).await;
    let admin = consul.admin();
    bench
        .changes(size, |step| {
            let service = step as usize * STRIDE % size.services;
            let change = [instance(service, size.endpoints)];
            async move { admin.transact(&change).await }
        })
        .await?;
    println!("{:<34} {:>8}\n", "open connections", relay.connections());
    Ok(())
}

async fn fill(consul: &Consul, size: Size) -> Result<()> {
    let mut operations: Vec<Value> = (0..NODES).flat_map(node).collect();
    for service in 0..size.services {
        operations.extend((0..size.endpoints).flat_map(|at| [instance(service, at), check(service, at)]));
    }
    consul.admin().transact(&operations).await
}

/// Its check is not Consul's own `serfHealth`: a node that has that and is no member of the cluster is reaped.
fn node(number: usize) -> [Value; 2] {
    let name = format!("node-{number}");
    let node = json!({ "Node": name, "Address": "10.200.0.1", "Meta": { "zone": "a" } });
    let check = json!({ "Node": name, "CheckID": "alive", "Name": "alive", "Status": "passing" });
    [
        json!({ "Node": { "Verb": "set", "Node": node } }),
        json!({ "Check": { "Verb": "set", "Check": check } }),
    ]
}

fn place(service: usize, at: usize) -> (String, String, String) {
    let node = format!("node-{}", (service * 31 + at * 7) % NODES);
    let name = services::host(service).replace('.', "-");
    (node, format!("{name}-{at}"), name)
}

fn instance(service: usize, at: usize) -> Value {
    let (node, id, name) = place(service, at);
    let address = format!("10.{}.{}.{}", service / 250, service % 250, at + 1);
    let instance = json!({
        "ID": id, "Service": name, "Address": address, "Port": services::PORT,
        "Tags": ["http", "version=v1"], "Meta": { "team": "payments" },
    });
    json!({ "Service": { "Verb": "set", "Node": node, "Service": instance } })
}

fn check(service: usize, at: usize) -> Value {
    let (node, id, name) = place(service, at);
    let check = json!({
        "Node": node, "CheckID": format!("tcp:{id}"), "Name": "listens", "Status": "passing",
        "ServiceID": id, "ServiceName": name,
    });
    json!({ "Check": { "Verb": "set", "Check": check } })
}
