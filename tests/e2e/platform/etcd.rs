//! A real etcd, which pilot reaches as a user with a password.

use std::net::SocketAddr;

use pilot_registry_testkit::server::etcd::{EtcdCluster, EtcdOptions, PASSWORD, PREFIX, USER};
use pilot_registry_testkit::server::{Certificate, Relay};
use serde_json::json;

use super::Platform;
use crate::support::wait::{holds, until};

/// An etcd cluster, and a relay in front of each of its nodes.
pub(in super::super) struct Etcd {
    pub(in super::super) cluster: EtcdCluster,
    nodes: usize,
    relays: Vec<Relay>,
    /// What pilot shows instead of a password.
    certificate: Option<Certificate>,
}

impl Etcd {
    /// Starts that many nodes.
    pub(in super::super) async fn of(nodes: usize) -> Option<Self> {
        Self::with(EtcdOptions { nodes, auth: true, ..EtcdOptions::default() }).await
    }

    /// Starts one that asks for certificates.
    pub(in super::super) async fn with_certificates() -> Option<Self> {
        let mut etcd = Self::with(EtcdOptions { nodes: 1, tls: true, ..EtcdOptions::default() }).await?;
        let authority = etcd.cluster.authority().unwrap();
        etcd.certificate = Some(authority.issue("pilot", &[]).unwrap());
        Some(etcd)
    }

    async fn with(options: EtcdOptions) -> Option<Self> {
        let nodes = options.nodes;
        let cluster = EtcdCluster::with(options).await.unwrap()?;
        let mut relays = Vec::new();
        for node in 0..nodes {
            relays.push(Relay::to(cluster.address(node)).await.unwrap());
        }
        Some(Self { cluster, nodes, relays, certificate: None })
    }

    /// How pilot says who it is.
    fn credentials(&self) -> String {
        let Some(Certificate { certificate, key, .. }) = &self.certificate else {
            return format!("user = \"{USER}\"\npassword = \"{PASSWORD}\"\n");
        };
        // The authority's own certificate is beside those that it has issued.
        let ca = certificate.with_file_name("ca.pem");
        format!("tls = {{ ca = {ca:?}, cert = {certificate:?}, key = {key:?} }}\n")
    }

    /// Removes all instances of the service in one step.
    pub(in super::super) async fn remove_all(&self, service: &str) {
        self.cluster.etcdctl(&["del", "--prefix", &key(service, "")]).await.unwrap();
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
        let credentials = self.credentials();
        format!("[registry.{name}.etcd]\nendpoints = {endpoints:?}\n{credentials}")
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

    async fn revoke(&mut self) {
        let Some(certificate) = self.certificate.clone() else { return self.cluster.revoke().await.unwrap() };
        self.cluster.authority().unwrap().revoke(Some(&certificate)).unwrap();
        // A connection is asked for its certificate when it begins.
        for relay in &self.relays {
            relay.refuse();
            until("its connections end", async || holds(relay.connections() == 0, relay.connections())).await;
            relay.open();
        }
    }

    async fn restore(&mut self) {
        match self.cluster.authority() {
            Some(authority) => authority.revoke(None).unwrap(),
            None => self.cluster.restore().await.unwrap(),
        }
    }
}
