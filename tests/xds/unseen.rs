//! Routes that a document leads to a service that its own namespace does not see: whoever sees it waits for its cluster.

use std::sync::Arc;

use pilot::mesh::Mesh;
use pilot::proxy::{ClientKind, Scope};
use pilot::resources::ResourceType::{self, Cluster, Endpoint, Listener, Route, VirtualHost};
use pilot::resources::View;
use pilot::xds::{Delta, Machine};
use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use pilot_registry::{ServiceSpec, Visibility};
use serde_json::json;

use crate::drawn_rules::Store;
use crate::driver::{LIMITS, delta_request};
use crate::meshes::scopes;
use crate::world::{mesh, spec, translate};

const OLD: &str = "outbound|80||old.test";
const NEW: &str = "outbound|80||new.test";

/// A service of the namespace `shop`.
fn of_shop(host: &str) -> ServiceSpec {
    ServiceSpec {
        namespace: "shop".to_owned().try_into().unwrap(),
        ..spec(host, &["80/http"], &["10.0.0.1:80"])
    }
}

/// Two services, of which nobody but `shop` sees the second, and a document of `default` that leads `host` to one of them.
fn leading(host: &str, to: &str) -> Mesh {
    let new = ServiceSpec {
        visibility: Visibility::Only(["shop".to_owned().try_into().unwrap()].into()),
        ..of_shop("new.test")
    };
    let mut store = Store::default();
    store.take(&[json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": { "name": "led", "namespace": "default" },
        "spec": { "hosts": [host], "http": [{ "route": [{ "destination": { "host": to } }] }] },
    })]);
    assert_eq!(store.rejections(), Vec::<String>::new());
    let services = if to == "new.test" { vec![of_shop("old.test"), new] } else { vec![of_shop("old.test")] };
    Mesh { rules: store.rules, ..mesh(services) }
}

/// A client that takes what it is sent.
struct Client {
    machine: Machine<Delta>,
    waiting: Vec<(ResourceType, DeltaDiscoveryResponse)>,
}

impl Client {
    fn ask(&mut self, request: DeltaDiscoveryRequest) {
        self.machine.request(request).unwrap();
        self.collect();
    }

    fn update(&mut self, view: &Arc<View>) {
        self.machine.update(Arc::clone(view));
        self.collect();
    }

    fn collect(&mut self) {
        let responses = self.machine.responses().into_iter();
        self.waiting.extend(responses.map(|response| (response.kind.unwrap(), response.message)));
    }

    /// Whether it is sent something of a type that names the new cluster.
    fn hears_of_it(&self, kind: ResourceType) -> bool {
        let of_kind = self.waiting.iter().filter(|(it, _)| *it == kind);
        let mut resources = of_kind.flat_map(|(_, response)| &response.resources);
        resources.any(|bytes| bytes.windows(NEW.len()).any(|part| part == NEW.as_bytes()))
    }

    fn take(&mut self, kind: ResourceType) {
        let at = self.waiting.iter().position(|(it, _)| *it == kind).unwrap();
        let (_, response) = self.waiting.remove(at);
        self.ask(DeltaDiscoveryRequest { response_nonce: response.nonce, ..delta_request(kind, &[], &[]) });
    }

    fn take_all(&mut self) {
        while let Some((kind, _)) = self.waiting.first() {
            self.take(*kind);
        }
    }
}

/// The routes of `host` lead elsewhere once the client has the cluster, and its endpoints.
fn waits(host: &str, client: ClientKind) {
    let scope = Arc::new(Scope { client, ..scopes()[1].clone() });
    let view = |to: &str| translate(&leading(host, to), &scope).view;
    let (old, new) = (view("old.test"), view("new.test"));
    assert!(new.of(Cluster).get(NEW).is_some(), "shop sees it");
    let mut client = Client { machine: Machine::new(None, LIMITS, Arc::default()), waiting: Vec::new() };
    client.machine.follows(Arc::clone(&scope));
    client.update(&old);
    client.ask(delta_request(Cluster, &[], &[]));
    client.ask(delta_request(Endpoint, &[OLD], &[]));
    client.ask(delta_request(Listener, &[], &[]));
    let routes: Vec<&str> = old.of(Route).iter().map(|it| &**it.name()).collect();
    client.ask(delta_request(Route, &routes, &[]));
    client.take_all();

    let routes = if scope.client == ClientKind::EnvoyWithVhds { VirtualHost } else { Route };
    client.update(&new);
    assert!(client.hears_of_it(Cluster) && !client.hears_of_it(routes), "{host}: {:?}", client.waiting);
    client.take_all();
    assert!(!client.hears_of_it(routes), "{host}: {:?}", client.waiting);
    client.ask(delta_request(Endpoint, &[NEW], &[]));
    assert!(client.hears_of_it(Endpoint) && !client.hears_of_it(routes), "{host}: {:?}", client.waiting);
    client.take(Endpoint);
    assert!(client.hears_of_it(routes), "{host}: {:?}", client.waiting);
}

#[test]
fn p15_routes_wait_for_a_cluster_that_their_document_cannot_see_and_the_client_can() {
    // A host that no service has, a wildcard, and one of a service.
    for host in ["nobody.test", "*.wild.test", "old.test"] {
        for client in [ClientKind::Envoy, ClientKind::EnvoyWithVhds] {
            waits(host, client);
        }
    }
}
