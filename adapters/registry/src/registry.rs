//! The trait that an adapter implements.

use std::convert::Infallible;

use async_trait::async_trait;

use crate::{RegistryError, Reload, SnapshotSink};

/// A source of services: Kubernetes, Consul, etcd, files, or your own. See the [crate's guide](crate).
#[async_trait]
pub trait ServiceRegistry: Send + Sync + 'static {
    /// The kind of registry, which is its table's name in pilot.toml: `file`, `consul`.
    fn name(&self) -> &'static str;

    /// One attempt: connect, list everything, publish, then watch and publish again on each change.
    ///
    /// Runs until it fails; whoever calls it tries again later. Dropping the future cancels the attempt,
    /// and after that nothing is published. A second call behaves like the first.
    ///
    /// # Errors
    /// What ended the attempt. Whatever was published stays in force.
    async fn run(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError>;

    /// What it reads from files of this machine and can read again when an operator asks for it (SIGHUP).
    /// `None` = nothing.
    fn reload(&self) -> Option<Reload> {
        None
    }
}
