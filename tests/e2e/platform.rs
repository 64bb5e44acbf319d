//! Registries that are servers: what a test does to one, on its own side and on the way to it.
//!
//! ```text
//!  a test ──► Platform ── an operator's tools ──► server ◄── relay ◄── pilot
//! ```

mod consul;
mod etcd;
mod kubernetes;

use std::net::SocketAddr;

use pilot_registry_testkit::server::Relay;

pub(super) use consul::Consul;
pub(super) use etcd::Etcd;
pub(super) use kubernetes::Kubernetes;

/// The port of every instance, and so of every service.
pub(super) const PORT: u16 = 9080;

/// A running server with services in it. It ends when this is dropped.
pub(super) trait Platform: Sized {
    /// Starts it, with a user who may read and no more than that. `None`, after having said why, where there
    /// is no such server.
    async fn start() -> Option<Self>;

    /// Its tables in pilot.toml, under this name. They lead through the relays.
    fn tables(&self, name: &str) -> String;

    /// The host by which pilot knows a service.
    fn host(service: &str) -> String;

    /// Registers an HTTP instance there.
    async fn put(&self, service: &str, id: &str, at: SocketAddr);

    /// Says how an instance there is.
    async fn set_healthy(&self, service: &str, id: &str, at: SocketAddr, healthy: bool);

    /// Removes an instance.
    async fn remove(&self, service: &str, id: &str);

    /// Ends the server at once (-9), or all of its nodes.
    fn kill(&mut self);

    /// Starts it again on the data that it had, and returns when it takes writes.
    async fn restart(&mut self);

    /// The ways that lead pilot to it, one for each node.
    fn relays(&self) -> &[Relay];

    /// Takes from pilot's user what it may do.
    async fn revoke(&mut self);

    /// Gives it back.
    async fn restore(&mut self);
}
