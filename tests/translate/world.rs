//! Small worlds, written down shortly.

use std::sync::Arc;

use pilot::catalog::{Catalog, Source};
use pilot::mesh::{Mesh, MeshOptions};
use pilot::proxy::{ConfigSource, Role, Scope};
use pilot::resources::{ResourceType, TypeView};
use pilot::translate::{Layers, Translation};
use pilot_registry::{Endpoint, Port, Resolution, Service, ServicePort, ServiceSpec, Snapshot};
use tokio::time::Instant;

/// A port from a number that is one.
pub(crate) fn port(number: u16) -> Port {
    Port::try_from(u32::from(number)).unwrap()
}

/// A service with these ports, `number/protocol`, and these endpoints, which serve all of them:
/// `address:port`.
pub(crate) fn spec(host: &str, ports: &[&str], endpoints: &[&str]) -> ServiceSpec {
    let mut spec = ServiceSpec::new(host.parse().unwrap());
    for text in ports {
        let (number, protocol) = text.split_once('/').unwrap();
        let protocol = protocol.parse().unwrap();
        spec.ports.push(ServicePort { number: number.parse().unwrap(), name: (*text).to_owned(), protocol });
    }
    let numbers: Vec<Port> = spec.ports.iter().map(|port| port.number).collect();
    for text in endpoints {
        let (address, own) = text.rsplit_once(':').unwrap();
        let mut endpoint = Endpoint::new(address.parse().unwrap());
        endpoint.ports = numbers.iter().map(|number| (*number, own.parse().unwrap())).collect();
        spec.endpoints.push(endpoint);
    }
    spec
}

/// The same, resolved in another way.
pub(crate) fn resolved(spec: ServiceSpec, resolution: Resolution) -> ServiceSpec {
    ServiceSpec { resolution, ..spec }
}

/// What a registry of that name and priority says.
pub(crate) fn source(registry: &str, priority: u32, specs: Vec<ServiceSpec>) -> Source {
    let services = specs.into_iter().map(|spec| Arc::new(Service::new(spec).unwrap()));
    let snapshot = Arc::new(Snapshot::new(services).unwrap());
    Source::new(registry, priority, snapshot)
}

/// A mesh of these registries, after another mesh.
pub(crate) fn mesh_after(previous: &Mesh, sources: &[Source]) -> Mesh {
    Mesh {
        catalog: Catalog::merge(sources, &previous.catalog),
        options: previous.options.clone(),
        ..Mesh::default()
    }
}

/// A mesh of one registry, with the listener to every HTTP service.
pub(crate) fn mesh(specs: Vec<ServiceSpec>) -> Mesh {
    mesh_after(&empty(), &[source("file", 0, specs)])
}

/// A mesh without services.
pub(crate) fn empty() -> Mesh {
    let http_listen = Some("127.0.0.1:15080".parse().unwrap());
    Mesh { options: MeshOptions { http_listen, ..MeshOptions::default() }, ..Mesh::default() }
}

/// A router that uses ADS.
pub(crate) fn router() -> Scope {
    Scope::new(Role::Router, ConfigSource::Ads)
}

/// A mesh, translated from nothing.
pub(crate) fn translate(mesh: &Mesh, scope: &Scope) -> Translation {
    pilot::translate::translate(mesh, scope, Instant::now())
}

/// Some scopes that share layers, and follow one mesh after another.
pub(crate) struct Translator<const N: usize = 1> {
    layers: Layers,
    scopes: [Scope; N],
}

impl<const N: usize> Translator<N> {
    pub(crate) fn of(scopes: [Scope; N]) -> Self {
        let mut layers = Layers::default();
        scopes.iter().for_each(|scope| layers.follow(scope));
        Self { layers, scopes }
    }

    pub(crate) fn all(&mut self, mesh: &Mesh) -> [Translation; N] {
        self.layers.advance(Arc::new(mesh.clone()), Instant::now());
        self.scopes.each_ref().map(|scope| Translation {
            view: Arc::new(self.layers.view(scope).unwrap()),
            conflicts: self.layers.conflicts(scope),
        })
    }
}

impl Translator {
    pub(crate) fn new(scope: Scope) -> Self {
        Self::of([scope])
    }

    pub(crate) fn translate(&mut self, mesh: &Mesh) -> Translation {
        let [translation] = self.all(mesh);
        translation
    }
}

/// Whether both have the same resources of a type in memory.
pub(crate) fn shares(one: &Translation, other: &Translation, kind: ResourceType) -> bool {
    one.view.of(kind).iter().map(Arc::as_ptr).eq(other.view.of(kind).iter().map(Arc::as_ptr))
}

/// The resources that are there in one of both only, or differ.
pub(crate) fn differences(one: &Translation, other: &Translation) -> Vec<String> {
    let of = |kind: ResourceType| {
        let [one, other] = [one, other].map(|it| it.view.of(kind));
        let lacks = |a: TypeView<'_>, b: TypeView<'_>| -> Vec<String> {
            let differs = a.iter().filter(|it| b.get(it.name()) != Some(*it));
            differs.map(|it| format!("{} {}", kind.as_str(), it.name())).collect()
        };
        [lacks(one, other), lacks(other, one)].concat()
    };
    ResourceType::ALL.into_iter().flat_map(of).collect()
}

/// Whether both are the same for whoever is told.
pub(crate) fn same(one: &Translation, other: &Translation) -> bool {
    let alike = |kind| {
        let [one, other] = [one, other].map(|it| it.view.of(kind));
        one.version() == other.version() && one.iter().eq(other.iter())
    };
    ResourceType::ALL.into_iter().all(alike) && one.conflicts == other.conflicts
}
