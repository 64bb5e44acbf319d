//! Services in a line, for tests.

use std::net::IpAddr;
use std::sync::Arc;

use pilot_registry::{
    Endpoint, Health, Hostname, Namespace, Port, Protocol, Resolution, Service, ServicePort, ServiceSpec,
    Snapshot, Visibility, Weight,
};

/// Begins a service of that name.
///
/// ```
/// use pilot_registry_testkit::service;
///
/// let reviews = service("reviews.local")
///     .http(9080)
///     .endpoint("10.0.0.1", 9181).label("version", "v1")
///     .endpoint("10.0.0.2", 9181).label("version", "v2").weight(2)
///     .build();
/// assert_eq!(reviews.endpoints.len(), 2);
/// ```
///
/// # Panics
/// The name is no host name. So does each step of the builder on a value that makes no sense.
pub fn service(host: &str) -> ServiceBuilder {
    ServiceBuilder { spec: ServiceSpec::new(hostname(host)) }
}

/// A snapshot of these services.
///
/// # Panics
/// Two of them have one host.
pub fn snapshot(services: impl IntoIterator<Item = Arc<Service>>) -> Snapshot {
    Snapshot::new(services).expect("the services of a test's snapshot have different hosts")
}

/// A service in the making. See [`service`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before build()"]
pub struct ServiceBuilder {
    spec: ServiceSpec,
}

impl ServiceBuilder {
    /// Adds a port of that protocol, named `http-9080`.
    pub fn port(self, number: u32, protocol: Protocol) -> Self {
        let name = format!("{protocol}-{number}");
        self.named_port(number, &name, protocol)
    }

    /// Adds a port with a name of its own.
    pub fn named_port(mut self, number: u32, name: &str, protocol: Protocol) -> Self {
        self.spec.ports.push(ServicePort { number: port(number), name: name.to_owned(), protocol });
        self
    }

    /// The number of the port added last is a guess of the registry.
    pub fn guessed(mut self) -> Self {
        let last = self.spec.ports.last().expect("a port is added before it is a guess").number;
        self.spec.guessed.insert(last);
        self
    }

    /// The protocol of the port added last is a guess of the registry.
    pub fn guessed_protocol(mut self) -> Self {
        let last = self.spec.ports.last().expect("a port is added before it is a guess").number;
        self.spec.guessed_protocols.insert(last);
        self
    }

    /// Adds a port that speaks HTTP/1.1.
    pub fn http(self, number: u32) -> Self {
        self.port(number, Protocol::Http)
    }

    /// Adds a port that speaks HTTP/2.
    pub fn http2(self, number: u32) -> Self {
        self.port(number, Protocol::Http2)
    }

    /// Adds a port that speaks gRPC.
    pub fn grpc(self, number: u32) -> Self {
        self.port(number, Protocol::Grpc)
    }

    /// Adds a port that takes bytes.
    pub fn tcp(self, number: u32) -> Self {
        self.port(number, Protocol::Tcp)
    }

    /// Adds a port that takes TLS as it is.
    pub fn tls(self, number: u32) -> Self {
        self.port(number, Protocol::Tls)
    }

    /// Adds an endpoint that serves the port added last at its own port `own`.
    pub fn endpoint(mut self, address: &str, own: u32) -> Self {
        let last = self.spec.ports.last().expect("a port is added before an endpoint").number;
        let address = address.parse().unwrap_or_else(|error| panic!("{error}"));
        self.spec.endpoints.push(Endpoint::new(address).serving(last, port(own)));
        self
    }

    /// The last endpoint serves the service's port `number` too, at its own port `own`.
    pub fn serving(self, number: u32, own: u32) -> Self {
        self.last(|endpoint| {
            endpoint.ports.insert(port(number), port(own));
        })
    }

    /// Labels the last endpoint.
    pub fn label(self, key: &str, value: &str) -> Self {
        self.last(|endpoint| {
            endpoint.labels.insert(key.to_owned(), value.to_owned());
        })
    }

    /// Weighs the last endpoint.
    pub fn weight(self, weight: u32) -> Self {
        let weight = Weight::try_from(weight).unwrap_or_else(|error| panic!("{error}"));
        self.last(|endpoint| endpoint.weight = weight)
    }

    /// Says how the last endpoint is.
    pub fn health(self, health: Health) -> Self {
        self.last(|endpoint| endpoint.health = health)
    }

    /// Says in which region the last endpoint is.
    pub fn region(self, region: &str) -> Self {
        self.last(|endpoint| endpoint.locality.region = region.to_owned())
    }

    /// Says in which zone the last endpoint is.
    pub fn zone(self, zone: &str) -> Self {
        self.last(|endpoint| endpoint.locality.zone = zone.to_owned())
    }

    /// Adds another name.
    pub fn alias(mut self, host: &str) -> Self {
        self.spec.aliases.push(hostname(host));
        self
    }

    /// Adds a name that clients of its namespace use.
    pub fn local_name(mut self, host: &str) -> Self {
        self.spec.local_names.push(hostname(host));
        self
    }

    /// Adds an address that stands for the service as a whole.
    pub fn virtual_address(mut self, address: &str) -> Self {
        let address: IpAddr = address.parse().expect("a virtual address is an IP address");
        self.spec.virtual_addresses.push(address);
        self
    }

    /// Says how its addresses are found.
    pub fn resolution(mut self, resolution: Resolution) -> Self {
        self.spec.resolution = resolution;
        self
    }

    /// Puts it in a namespace.
    pub fn namespace(mut self, namespace: &str) -> Self {
        let namespace = Namespace::try_from(namespace.to_owned());
        self.spec.namespace = namespace.unwrap_or_else(|error| panic!("{error}"));
        self
    }

    /// Says which clients see it, in the words of `exportTo`. After its namespace.
    pub fn export_to(mut self, words: &[&str]) -> Self {
        let visibility = Visibility::of_words(words.iter().copied(), &self.spec.namespace);
        self.spec.visibility = visibility.unwrap_or_else(|error| panic!("{error}"));
        self
    }

    /// Labels the service itself.
    pub fn service_label(mut self, key: &str, value: &str) -> Self {
        self.spec.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds who may serve it.
    pub fn identity(mut self, id: &str) -> Self {
        self.spec.identities.push(id.parse().unwrap_or_else(|error| panic!("{error}")));
        self
    }

    /// The service.
    ///
    /// # Panics
    /// It makes no sense as a whole.
    pub fn build(self) -> Arc<Service> {
        Arc::new(Service::new(self.spec).unwrap_or_else(|error| panic!("{error}")))
    }

    fn last(mut self, change: impl FnOnce(&mut Endpoint)) -> Self {
        change(self.spec.endpoints.last_mut().expect("an endpoint is added before it is described"));
        self
    }
}

fn hostname(name: &str) -> Hostname {
    name.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn port(number: u32) -> Port {
    Port::try_from(number).unwrap_or_else(|error| panic!("{error}"))
}
