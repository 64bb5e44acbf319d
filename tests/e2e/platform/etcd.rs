//! A real etcd, which pilot reaches as a user with a password.

use std::net::SocketAddr;

use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::etcd::{EtcdCluster, EtcdOptions, PASSWORD, PREFIX, USER};
use serde_json::json;

use super::Platform;

/// An etcd cluster, and a relay in front of each of its nodes.
pub(in super::super) struct Etcd {
    pub(in super::super) cluster: EtcdCluster,
    nodes: usize,
    relays: Vec<Relay>,
}

impl Etcd {
    /// Starts that many nodes.
    pub(in super::super) async fn of(nodes: usize) -> Option<Self> {
        let options = EtcdOptions { nodes, auth: true, ..EtcdOptions::default() };
        let cluster = EtcdCluster::with(options).await.unwrap()?;
        let mut relays = Vec::new();
        for node in 0..nodes {
            relays.push(Relay::to(cluster.address(node)).await.unwrap());
        }
        Some(Self { cluster, nodes, relays })
    }

    async fn write(&self, service: &str, id: &str, at: SocketAddr, health: &str) {
        let value = json!({ "address": at.ip(), "port": at.port(), "protocol": "http", "health": health });
        self.cluster.etcdctl(&["put", &key(service, id), &value.to_string()]).await.unwrap();
    }
}

fn key(service: &str, id: &str) -> String {
    format!("{PREFIX}v1/instances/{service}.mesh/{id}")
}

impl Platform for Etcd {
    async fn start() -> Option<Self> {
        Self::of(1).await
    }

    fn tables(&self, name: &str) -> String {
        let endpoints: Vec<_> = self.relays.iter().map(|relay| self.cluster.url(relay.address())).collect();
        format!(
            "[registry.{name}.etcd]\nendpoints = {endpoints:?}\ntimeout = \"1s\"\n\
             user = \"{USER}\"\npassword = \"{PASSWORD}\"\n"
        )
    }

    fn host(service: &str) -> String {
        format!("{service}.mesh")
    }

    async fn put(&self, service: &str, id: &str, at: SocketAddr) {
        self.write(service, id, at, "healthy").await;
    }

    async fn set_healthy(&self, service: &str, id: &str, at: SocketAddr, healthy: bool) {
        self.write(service, id, at, if healthy { "healthy" } else { "unhealthy" }).await;
    }

    async fn remove(&self, service: &str, id: &str) {
        self.cluster.etcdctl(&["del", &key(service, id)]).await.unwrap();
    }

    fn kill(&mut self) {
        for node in 0..self.nodes {
            self.cluster.kill(node);
        }
    }

    async fn restart(&mut self) {
        for node in 0..self.nodes {
            self.cluster.restart(node).await.unwrap();
        }
        self.cluster.ready().await.unwrap();
    }

    fn relays(&self) -> &[Relay] {
        &self.relays
    }

    async fn revoke(&self) {
        self.cluster.revoke().await.unwrap();
    }

    async fn restore(&self) {
        self.cluster.restore().await.unwrap();
    }
}
