//! Services as keys in etcd, written by whoever registers them: by hand, with JSON.

use std::time::Duration;

use anyhow::Result;
use etcd_client::{Client, ConnectOptions, DeleteOptions, Txn, TxnOp};
use pilot_registry::{Endpoint, Health, Hostname, Locality, Service, Weight};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

/// As many operations as etcd takes in one transaction, and some less.
const OPERATIONS: usize = 120;

pub(crate) const PREFIX: &str = "/pilot";

/// Writes services. Clones the platform's operator, who is not kept out.
pub(crate) struct Writer {
    client: Client,
}

impl Writer {
    pub(crate) async fn connect(endpoints: &[String], user: Option<(&str, &str)>) -> Result<Self> {
        let options = user.map(|(name, password)| ConnectOptions::new().with_user(name, password));
        let options = options.map(|options| options.with_auto_token_refresh(true));
        Ok(Self { client: Client::connect(endpoints, options).await? })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// All keys of a service and their values.
    pub(crate) fn entries(service: &Service, backwards: bool) -> Vec<(String, String)> {
        let host = &service.host;
        let instances = service.endpoints.iter().enumerate().map(|(n, endpoint)| {
            (format!("{PREFIX}/v1/instances/{host}/{n}"), instance(endpoint, backwards))
        });
        let description = (format!("{PREFIX}/v1/services/{host}"), description(service, backwards));
        let mut all: Vec<_> = std::iter::once(description).chain(instances).collect();
        if backwards {
            all.reverse();
        }
        all
    }

    /// Puts a service in the place of one with that many instances, in one transaction.
    pub(crate) async fn put(&mut self, service: &Service, before: usize, backwards: bool) -> Result<()> {
        let put = |(key, value)| TxnOp::put(key, value, None);
        let delete = |n: usize| TxnOp::delete(format!("{PREFIX}/v1/instances/{}/{n}", service.host), None);
        let gone = service.endpoints.len()..before;
        let operations: Vec<_> =
            Self::entries(service, backwards).into_iter().map(put).chain(gone.map(delete)).collect();
        self.transact(operations).await
    }

    /// Puts many services that are not there yet.
    pub(crate) async fn put_all<'a>(&mut self, services: impl Iterator<Item = &'a Service>) -> Result<()> {
        let mut operations = Vec::new();
        for service in services {
            for (key, value) in Self::entries(service, false) {
                operations.push(TxnOp::put(key, value, None));
                if operations.len() == OPERATIONS {
                    self.transact(std::mem::take(&mut operations)).await?;
                }
            }
        }
        if operations.is_empty() { Ok(()) } else { self.transact(operations).await }
    }

    /// A member that has not heard yet of the latest change of rights refuses, and takes it a moment later.
    async fn transact(&self, operations: Vec<TxnOp>) -> Result<()> {
        let transaction = Txn::new().and_then(operations);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.client().txn(transaction.clone()).await {
                Err(error)
                    if error.to_string().contains("revision of auth store is old")
                        && Instant::now() < deadline =>
                {
                    sleep(Duration::from_millis(20)).await;
                }
                outcome => return Ok(outcome.map(drop)?),
            }
        }
    }

    pub(crate) async fn delete(&mut self, host: &Hostname) -> Result<()> {
        let instances = format!("{PREFIX}/v1/instances/{host}/");
        let operations = vec![
            TxnOp::delete(format!("{PREFIX}/v1/services/{host}"), None),
            TxnOp::delete(instances, Some(DeleteOptions::new().with_prefix())),
        ];
        self.transact(operations).await
    }
}

fn description(service: &Service, backwards: bool) -> String {
    let order = |mut list: Vec<Value>| {
        if backwards {
            list.reverse();
        }
        list
    };
    let port = |port: &pilot_registry::ServicePort| json!({"number": port.number, "name": port.name, "protocol": port.protocol});
    json!({
        "ports": order(service.ports.iter().map(port).collect()),
        "aliases": order(service.aliases.iter().map(|alias| json!(alias)).collect()),
        "virtual_addresses": order(service.virtual_addresses.iter().map(|ip| json!(ip)).collect()),
        "resolution": service.resolution,
        "namespace": service.namespace,
        "labels": service.labels,
        "identities": order(service.identities.iter().map(|id| json!(id)).collect()),
    })
    .to_string()
}

fn instance(endpoint: &Endpoint, pretty: bool) -> String {
    let mut table = Map::from_iter([("address".to_owned(), json!(endpoint.address))]);
    let ports = endpoint.ports.iter().map(|(service, own)| (service.to_string(), json!(own)));
    table.insert("ports".to_owned(), ports.collect::<Map<_, _>>().into());
    let parts = [
        ("weight", json!(endpoint.weight), endpoint.weight != Weight::default()),
        ("labels", json!(endpoint.labels), !endpoint.labels.is_empty()),
        ("locality", json!(endpoint.locality), endpoint.locality != Locality::default()),
        ("health", json!(endpoint.health), endpoint.health != Health::Unknown),
        ("identity", json!(endpoint.identity), endpoint.identity.is_some()),
    ];
    for (key, value, _) in parts.into_iter().filter(|(_, _, is_said)| *is_said) {
        table.insert(key.to_owned(), value);
    }
    let value = Value::Object(table);
    if pretty { format!("{value:#}") } else { value.to_string() }
}
