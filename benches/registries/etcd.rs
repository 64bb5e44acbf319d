//! A real etcd with a key for each service and each instance.

use std::sync::Arc;

use anyhow::Result;
use etcd_client::{Client, Txn, TxnOp};
use pilot_registry_etcd::{Config, registry};
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::etcd::EtcdCluster;

use crate::{Bench, Size, services};

/// As many operations as etcd takes in one transaction, and some less.
const OPERATIONS: usize = 120;

pub(crate) async fn measure(size: Size) -> Result<()> {
    println!("etcd, {} services x {} instances", size.services, size.endpoints);
    let Some(etcd) = EtcdCluster::start(1).await? else { return Ok(()) };
    let mut client = Client::connect(etcd.endpoints(), None).await?;
    fill(&mut client, size).await?;
    let relay = Relay::to(etcd.address(0)).await?;
    let config = Config::new([etcd.url(relay.address())]);
    let mut bench = Bench::start(Arc::new(registry(config)?), size.services * size.endpoints).await?;
    bench.idle(size.idle).await;
    let middle = size.services / 2;
    bench
        .changes(size, |step| {
            let mut client = client.clone();
            let value = instance(middle * size.endpoints, 1 + step);
            async move { Ok(client.put(key(middle, 0), value, None).await.map(drop)?) }
        })
        .await?;
    println!("{:<34} {:>8}\n", "open connections", relay.connections());
    Ok(())
}

async fn fill(client: &mut Client, size: Size) -> Result<()> {
    let mut operations = Vec::new();
    for number in 0..size.services {
        let description = format!(r#"{{"ports": [{{"number": {}, "protocol": "http"}}]}}"#, services::PORT);
        let place = format!("/pilot/v1/services/{}", services::host(number));
        operations.push(TxnOp::put(place, description, None));
        for at in 0..size.endpoints {
            operations.push(TxnOp::put(key(number, at), instance(number * size.endpoints + at, 1), None));
        }
        if operations.len() + size.endpoints >= OPERATIONS {
            client.txn(Txn::new().and_then(std::mem::take(&mut operations))).await?;
        }
    }
    client.txn(Txn::new().and_then(operations)).await?;
    Ok(())
}

fn key(service: usize, at: usize) -> String {
    format!("/pilot/v1/instances/{}/{at}", services::host(service))
}

fn instance(address: usize, weight: u32) -> String {
    let octet = |shift: usize| (address >> shift) & 0xff;
    let address = format!("10.{}.{}.{}", octet(16), octet(8), octet(0));
    let (version, zone) = if octet(0) % 2 == 0 { ("v1", "a") } else { ("v2", "b") };
    format!(
        r#"{{"address": "{address}", "port": 9000, "weight": {weight}, "labels": {{"version": "{version}"}}, "locality": {{"zone": "{zone}"}}}}"#
    )
}
