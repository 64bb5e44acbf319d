//! The real Consul that tests are given: its data survive it, and can be lost.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pilot_registry_testkit::server::consul::{Consul, Options};
use serde_json::{Value, json};

async fn instances(consul: &Consul) -> usize {
    let found: Value = consul.admin().get("/v1/health/service/reviews").await.unwrap();
    found.as_array().unwrap().len()
}

#[tokio::test]
async fn data_survive_a_restart_and_no_wipe() {
    let Some(mut consul) = Consul::start(Options { acl: true, ..Options::default() }).await.unwrap() else {
        return;
    };
    let service = json!({ "ID": "reviews-1", "Service": "reviews", "Port": 9080 });
    let entry = json!({ "Node": "n1", "Address": "10.0.0.1", "Service": service });
    consul.admin().register(&entry).await.unwrap();
    assert_eq!(instances(&consul).await, 1);
    consul.kill();
    assert!(consul.admin().get("/v1/status/leader").await.is_err());
    consul.restart().await.unwrap();
    assert_eq!(instances(&consul).await, 1);
    consul.wipe().await.unwrap();
    assert_eq!(instances(&consul).await, 0);
}

#[tokio::test]
async fn https_wants_a_client_certificate() {
    let Some(consul) = Consul::start(Options { tls: true, ..Options::default() }).await.unwrap() else {
        return;
    };
    let files = consul.certificates().unwrap();
    for file in [&files.ca, &files.cert, &files.key] {
        assert!(file.is_file(), "{}", file.display());
    }
    tokio::net::TcpStream::connect(consul.https_address()).await.unwrap();
}

#[tokio::test]
async fn two_datacenters_are_one_federation() {
    let Some(first) = Consul::start(Options::default()).await.unwrap() else { return };
    let join = Some(first.wan_address());
    let options = Options { datacenter: "dc2".into(), join, ..Options::default() };
    let second = Consul::start(options).await.unwrap().unwrap();
    second.knows("dc1").await.unwrap();
    first.knows("dc2").await.unwrap();
}
