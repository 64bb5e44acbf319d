//! The writing side: a machine without an orchestrator registers what it serves.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Health, Labels, Locality, Port, Protocol, RegistryError, Weight};

/// One instance of a service, as it is to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Tells the instance from all others of its service. Registering again under the same id replaces it.
    pub id: String,
    /// The service, as the platform's users name it: `payments.mesh`. What a name may look like is the
    /// platform's business.
    pub service: String,
    /// Where the instance is reached.
    pub address: IpAddr,
    /// Its ports by name. The empty name is for an instance with one port that has none. Never empty.
    pub ports: BTreeMap<String, RegisteredPort>,
    /// Labels, for subsets and policies.
    pub labels: Labels,
    /// Its share of the load, relative to the others'.
    pub weight: Weight,
    /// Where it is.
    pub locality: Locality,
    /// After how long without a sign of life the platform takes the instance away.
    pub ttl: Duration,
}

/// A port of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisteredPort {
    /// The port that the instance listens on.
    pub number: Port,
    /// What is spoken there, where the service does not say it already.
    pub protocol: Option<Protocol>,
}

/// The writing side of a platform. An adapter implements it beside
/// [`ServiceRegistry`](crate::ServiceRegistry), where its platform can be written to.
#[async_trait]
pub trait Registrar: Send + Sync + 'static {
    /// Checks what can be checked without the platform: that it has a place for what is to be registered.
    ///
    /// # Errors
    /// What it has no place for, naming the field.
    fn check(&self, registration: &Registration) -> Result<(), crate::ConfigError>;

    /// ONE attempt: writes the instance, with the condition as it is now, keeps it alive, and writes each
    /// change of the condition. Runs until it fails, or until the platform has forgotten the instance; then
    /// it is called again, with back-off. Each time that the platform has confirmed a condition, `written`
    /// is told.
    ///
    /// Dropping the future ends the keeping, not the registration: the platform takes the instance away
    /// after its ttl, unless [`leave`](Self::leave) is called.
    ///
    /// # Errors
    /// The platform refuses, is unreachable, or answers what makes no sense.
    async fn keep(
        &self,
        registration: &Registration,
        condition: watch::Receiver<Health>,
        written: &watch::Sender<Option<Health>>,
    ) -> Result<Infallible, RegistryError>;

    /// Writes the instance once, for good: without a ttl, it stays until it is [removed](Self::remove).
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    async fn write(&self, registration: &Registration, condition: Health) -> Result<(), RegistryError>;

    /// The end of the keeping: takes away what [`keep`](Self::keep) has registered, also what is still on its
    /// way to the platform. Whether it was there.
    ///
    /// Where the platform can tell them apart, what another process has registered meanwhile under the same
    /// id stays. By default the instance is [removed](Self::remove), whoever has registered it.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    async fn leave(&self, registration: &Registration) -> Result<bool, RegistryError> {
        self.remove(&registration.service, &registration.id).await
    }

    /// What becomes of the instance when nobody keeps it any more and it could not be removed, for a reader:
    /// "etcd removes it within 10s". `error` says why it was not removed, where that is known.
    fn left_behind(&self, registration: &Registration, error: Option<&RegistryError>) -> String;

    /// Removes the instance of that service and id, however it was registered. Whether it was there.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    async fn remove(&self, service: &str, id: &str) -> Result<bool, RegistryError>;
}
