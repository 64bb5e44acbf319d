//! The mesh that is measured: HTTP services on one port, each with the same number of endpoints.

use std::sync::Arc;

use pilot_registry::Service;
use pilot_registry_testkit::ServiceBuilder;

/// The port of all services.
pub(crate) const PORT: u32 = 8080;

/// The host of a service by its number.
pub(crate) fn host(number: usize) -> String {
    format!("service-{number:05}.bench.local")
}

/// A service with that many endpoints. `step` is told by the weight of its first endpoint: another step is
/// another content.
pub(crate) fn service(number: usize, endpoints: usize, step: u32) -> Arc<Service> {
    builder(number, endpoints, step).build()
}

/// The same, to be completed.
pub(crate) fn builder(number: usize, endpoints: usize, step: u32) -> ServiceBuilder {
    let builder = pilot_registry_testkit::service(&host(number)).http(PORT);
    (0..endpoints).fold(builder, |builder, at| {
        let address = number * endpoints + at;
        let octet = |shift: usize| (address >> shift) & 0xff;
        let address = format!("10.{}.{}.{}", octet(16), octet(8), octet(0));
        let (version, zone) = if at % 2 == 0 { ("v1", "a") } else { ("v2", "b") };
        let weight = if at == 0 { 1 + step } else { 1 };
        builder.endpoint(&address, 9000).label("version", version).zone(zone).weight(weight)
    })
}

/// All services of a mesh, in order.
pub(crate) fn services(count: usize, endpoints: usize) -> Vec<Arc<Service>> {
    (0..count).map(|number| service(number, endpoints, 0)).collect()
}
