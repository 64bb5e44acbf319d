//! Services with many endpoints.

use std::sync::Arc;

use pilot_registry::{Health, Service, Snapshot};
use pilot_registry_testkit::{service, snapshot};

/// A service with endpoints of these numbers.
pub(crate) fn of(host: &str, numbers: impl IntoIterator<Item = u8>) -> Arc<Service> {
    healthy_or(host, numbers, Health::Healthy)
}

/// The same, with endpoints of that health.
pub(crate) fn healthy_or(host: &str, numbers: impl IntoIterator<Item = u8>, health: Health) -> Arc<Service> {
    let endpoint = |service: pilot_registry_testkit::ServiceBuilder, number: u8| {
        service.endpoint(&format!("10.0.0.{number}"), 8080).health(health)
    };
    numbers.into_iter().fold(service(host).http(80), endpoint).build()
}

pub(crate) fn shared(services: impl IntoIterator<Item = Arc<Service>>) -> Arc<Snapshot> {
    Arc::new(snapshot(services))
}

/// How many endpoints each service of a snapshot has: `a.local=20 b.local=1`.
pub(crate) fn counts(snapshot: &Snapshot) -> String {
    let count = |service: &Arc<Service>| format!("{}={}", service.host, service.endpoints.len());
    snapshot.services().iter().map(count).collect::<Vec<_>>().join(" ")
}
