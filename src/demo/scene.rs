//! What the demo runs for a snapshot: backends for the endpoints on this machine, and traffic.
//!
//! Pure: a snapshot in, a scene out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use pilot_registry::{Address, Endpoint, Protocol, Resolution, Service, ServicePort, Snapshot};

/// The backends and the traffic for one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scene {
    /// What is to answer at each address.
    pub(super) backends: BTreeMap<SocketAddr, Role>,
    /// What is to be called.
    pub(super) targets: BTreeSet<Target>,
    /// What the reader should know.
    pub(super) notes: Vec<String>,
}

/// What a backend says, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Role {
    /// Its answer: `v1 of reviews.local at 127.0.0.1:9181`.
    pub(super) name: String,
    /// How it speaks.
    pub(super) speaks: Speaks,
}

/// How a backend speaks, and a service is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Speaks {
    /// HTTP/1.1.
    Http,
    /// A line of text as soon as a connection is there; what follows is sent back.
    Tcp,
}

/// A port of a service that is called through Envoy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    /// The service.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// How it is called.
    pub(super) speaks: Speaks,
}

impl Scene {
    /// What belongs to these services.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut scene = Self::default();
        for service in snapshot.services() {
            for port in &service.ports {
                scene.add(service, port);
            }
        }
        scene
    }

    fn add(&mut self, service: &Service, port: &ServicePort) {
        let speaks = match port.protocol {
            Protocol::Http => Speaks::Http,
            Protocol::Tcp => Speaks::Tcp,
            other => {
                let at = format!("{}:{}", service.host, port.number);
                self.notes
                    .push(format!("{at}: the demo has no backend that speaks {other}, and sends nothing"));
                return;
            }
        };
        for (endpoint, at) in places(service, port) {
            let role = || Role { name: name(service, endpoint, at), speaks };
            self.backends.entry(at).or_insert_with(role);
        }
        if service.resolution == Resolution::Endpoints && service.endpoints.iter().all(is_here) {
            self.targets.insert(Target { host: service.host.to_string(), port: port.number.get(), speaks });
        } else {
            self.notes
                .push(format!("{}: not all of it is on this machine, so nothing is sent", service.host));
        }
    }
}

/// The endpoints on this machine that serve the port, and where.
fn places<'a>(service: &'a Service, port: &ServicePort) -> impl Iterator<Item = (&'a Endpoint, SocketAddr)> {
    let number = port.number;
    service.endpoints.iter().filter_map(move |endpoint| match endpoint.address {
        Address::Ip(ip) if ip.is_loopback() => {
            Some((endpoint, SocketAddr::new(ip, endpoint.ports.get(&number)?.get())))
        }
        _ => None,
    })
}

fn is_here(endpoint: &Endpoint) -> bool {
    matches!(endpoint.address, Address::Ip(ip) if ip.is_loopback())
}

fn name(service: &Service, endpoint: &Endpoint, at: SocketAddr) -> String {
    match endpoint.labels.get("version") {
        Some(version) => format!("{version} of {} at {at}", service.host),
        None => format!("{} at {at}", service.host),
    }
}

impl Target {
    /// How the target is shown.
    pub(super) fn label(&self) -> String {
        match self.speaks {
            Speaks::Http => format!("{}:{}", self.host, self.port),
            Speaks::Tcp => format!("{}:{} (tcp)", self.host, self.port),
        }
    }

    /// Which backend gave that answer, in short: `v1 at 127.0.0.1:9181`.
    pub(super) fn backend(&self, answer: &str) -> String {
        let answer = answer.trim_end();
        let of = format!(" of {} at ", self.host);
        let place = |text: &str| text.parse::<SocketAddr>().ok();
        if let Some((version, at)) = answer.split_once(&of)
            && let Some(at) = place(at)
        {
            return format!("{} at {at}", version.escape_debug());
        }
        match answer.rsplit_once(" at ").and_then(|(_, at)| place(at)) {
            Some(at) => at.to_string(),
            None => "another program".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilot_registry::{Port, ServiceSpec};

    use super::*;

    fn port(number: u32) -> Port {
        Port::try_from(number).unwrap()
    }

    fn service(host: &str, protocol: Protocol, endpoints: &[(&str, u32)]) -> Arc<Service> {
        let mut spec = ServiceSpec::new(host.parse().unwrap());
        spec.ports = vec![ServicePort { number: port(9080), name: "main".into(), protocol }];
        let endpoint = |(address, own): &(&str, u32)| {
            Endpoint::new(address.parse().unwrap()).serving(port(9080), port(*own))
        };
        spec.endpoints = endpoints.iter().map(endpoint).collect();
        Arc::new(Service::new(spec).unwrap())
    }

    fn scene(services: impl IntoIterator<Item = Arc<Service>>) -> Scene {
        Scene::of(&Snapshot::new(services).unwrap())
    }

    #[test]
    fn each_endpoint_on_this_machine_gets_a_backend() {
        let scene = scene([service("a.local", Protocol::Http, &[("127.0.0.1", 9181), ("::1", 9182)])]);
        let names: Vec<_> = scene.backends.values().map(|role| role.name.as_str()).collect();
        assert_eq!(names, ["a.local at 127.0.0.1:9181", "a.local at [::1]:9182"]);
        assert_eq!(scene.targets.first().map(Target::label).as_deref(), Some("a.local:9080"));
        assert_eq!(scene.notes, [""; 0]);
    }

    #[test]
    fn nothing_is_sent_to_other_machines() {
        let scene = scene([service("a.local", Protocol::Tcp, &[("127.0.0.1", 9181), ("192.0.2.1", 80)])]);
        assert_eq!((scene.backends.len(), scene.targets.len(), scene.notes.len()), (1, 0, 1));
    }

    #[test]
    fn what_the_demo_cannot_speak_is_said() {
        let scene = scene([service("a.local", Protocol::Grpc, &[("127.0.0.1", 9181)])]);
        assert!(scene.backends.is_empty() && scene.targets.is_empty());
        assert_eq!(
            scene.notes,
            ["a.local:9080: the demo has no backend that speaks grpc, and sends nothing"]
        );
    }

    #[test]
    fn backends_are_known_by_their_answers() {
        let target = Target { host: "a.local".into(), port: 9080, speaks: Speaks::Http };
        for (answer, backend) in [
            ("v1 of a.local at 127.0.0.1:9181\n", "v1 at 127.0.0.1:9181"),
            ("a.local at [::1]:9181\n", "[::1]:9181"),
            ("b.local at 127.0.0.1:9181", "127.0.0.1:9181"),
            ("<html>\u{1b}[31m at home", "another program"),
            ("", "another program"),
        ] {
            assert_eq!(target.backend(answer), backend);
        }
    }
}
