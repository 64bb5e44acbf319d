//! The etcd that tests start does what they rely on.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pilot_registry_testkit::server::etcd::{EtcdCluster, EtcdOptions};

#[tokio::test]
async fn data_outlive_a_kill_and_another_node_leads() {
    let Some(mut etcd) = EtcdCluster::start(3).await.unwrap() else { return };
    etcd.etcdctl(&["put", "a", "1"]).await.unwrap();
    let leader = etcd.leader().await.unwrap();
    etcd.kill(leader);
    assert_ne!(etcd.leader().await.unwrap(), leader);
    etcd.ready().await.unwrap();
    etcd.compact().await.unwrap();
    etcd.restart(leader).await.unwrap();
    etcd.ready().await.unwrap();
    assert_eq!(etcd.etcdctl_at(leader, &["get", "a", "--print-value-only"]).await.unwrap(), "1\n");
}

#[tokio::test]
async fn one_node_with_certificates_and_users_comes_up() {
    let options = EtcdOptions { tls: true, auth: true, ..EtcdOptions::default() };
    let Some(mut etcd) = EtcdCluster::with(options).await.unwrap() else { return };
    etcd.etcdctl(&["put", "/pilot/a", "1"]).await.unwrap();
    etcd.kill(0);
    etcd.restart(0).await.unwrap();
    assert_eq!(etcd.etcdctl(&["get", "/pilot/a", "--print-value-only"]).await.unwrap(), "1\n");
    let client = etcd.client_certificate().unwrap().clone();
    etcd.authority().unwrap().revoke(Some(&client)).unwrap();
    etcd.etcdctl(&["get", "/pilot/a"]).await.unwrap_err();
}
