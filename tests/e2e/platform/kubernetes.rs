//! An API server of Kubernetes, which pilot reaches with a bearer token. It is the testkit's own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::kubernetes::{KubernetesServer, kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PORT, Platform};

/// The secret of pilot's service account.
const TOKEN: &str = "open-sesame-5106";

/// The namespace of all services.
const NAMESPACE: &str = "shop";

/// An API server, a relay in front of it, and a kubeconfig that leads through the relay.
///
/// A server that is killed leaves its objects to the one that is started again, but not what happened to them.
pub(in super::super) struct Kubernetes {
    pub(in super::super) server: KubernetesServer,
    relays: [Relay; 1],
    folder: TempDir,
    /// What was written, by resource and name.
    objects: RefCell<BTreeMap<(&'static str, String), Value>>,
    /// How often watches are renewed: what says nothing is noticed then.
    renewal: &'static str,
}

impl Kubernetes {
    /// One whose watches are renewed every two seconds.
    pub(in super::super) async fn start_impatient() -> Option<Self> {
        Some(Self { renewal: "2s", ..Self::start().await? })
    }

    /// Takes all objects out of the server, as if its store had been lost.
    pub(in super::super) fn lose_objects(&self) {
        for (resource, name) in self.objects.borrow().keys() {
            self.server.delete(resource, NAMESPACE, name);
        }
    }

    /// Puts a service and its slices back, as out of a backup.
    pub(in super::super) fn restore_objects(&self, service: &str) {
        for ((resource, name), object) in self.objects.borrow().iter() {
            if name.split('-').next() == Some(service) {
                self.server.put(resource, object.clone());
            }
        }
    }

    fn write(&self, resource: &'static str, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.server.put(resource, object.clone());
        self.objects.borrow_mut().insert((resource, name), object);
    }

    fn delete(&self, resource: &'static str, name: &str) {
        self.server.delete(resource, NAMESPACE, name);
        self.objects.borrow_mut().remove(&(resource, name.to_owned()));
    }

    /// The names of a service's slices.
    fn slices(&self, service: &str) -> Vec<String> {
        let of = |name: &str| name.split('-').next() == Some(service);
        let objects = self.objects.borrow();
        let slices = objects.keys().filter(|(resource, name)| *resource == "endpointslices" && of(name));
        slices.map(|(_, name)| name.clone()).collect()
    }

    /// What the controllers say of one pod: a slice of its own.
    fn write_slice(&self, service: &str, id: &str, at: SocketAddr, ready: bool) {
        let metadata = json!({
            "namespace": NAMESPACE, "name": format!("{service}-{id}"),
            "labels": { "kubernetes.io/service-name": service },
        });
        let conditions = json!({ "ready": ready, "serving": ready, "terminating": false });
        self.write(
            "endpointslices",
            json!({
                "metadata": metadata, "addressType": "IPv4",
                "ports": [{ "name": "http", "port": at.port() }],
                "endpoints": [{ "addresses": [at.ip()], "conditions": conditions }],
            }),
        );
    }
}

impl Platform for Kubernetes {
    async fn start() -> Option<Self> {
        let server = KubernetesServer::start(TOKEN).await.unwrap();
        let relays = [Relay::to(server.address()).await.unwrap()];
        let folder = TempDir::new().unwrap();
        let through = format!("http://{}", relays[0].address());
        let kubeconfig = kubeconfig(&json!({ "server": through }), &json!({ "token": TOKEN }));
        fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        Some(Self { server, relays, folder, objects: RefCell::default(), renewal: "1m" })
    }

    fn tables(&self, name: &str) -> String {
        let (kubeconfig, renewal) = (self.folder.path().join("kubeconfig"), self.renewal);
        format!(
            "[registry.{name}.kubernetes]\nkubeconfig = {kubeconfig:?}\nwatch_renewal = \"{renewal}\"\n\
             namespaces = [\"{NAMESPACE}\"]\nhost = \"{{service}}.mesh\"\naliases = [\"{{service}}\"]\n"
        )
    }

    fn host(service: &str) -> String {
        format!("{service}.mesh")
    }

    async fn put(&self, service: &str, id: &str, at: SocketAddr) {
        if !self.objects.borrow().contains_key(&("services", service.to_owned())) {
            self.slices(service).iter().for_each(|name| self.delete("endpointslices", name));
        }
        let metadata = json!({ "namespace": NAMESPACE, "name": service });
        let ports = json!([{ "name": "http", "port": PORT }]);
        self.write("services", json!({ "metadata": metadata, "spec": { "ports": ports } }));
        self.write_slice(service, id, at, true);
    }

    async fn set_healthy(&self, service: &str, id: &str, at: SocketAddr, healthy: bool) {
        self.write_slice(service, id, at, healthy);
    }

    /// The last instance takes the service with it, and its slice stays for a while, as a garbage collector takes
    /// it: a service that loses its slice first is there without endpoints.
    async fn remove(&self, service: &str, id: &str) {
        let own = format!("{service}-{id}");
        match self.slices(service).iter().any(|name| *name != own) {
            true => self.delete("endpointslices", &own),
            false => self.delete("services", service),
        }
    }

    fn kill(&mut self) {
        self.server.stop();
    }

    async fn restart(&mut self) {
        self.server.start_again().await.unwrap();
    }

    fn relays(&self) -> &[Relay] {
        &self.relays
    }

    /// A watch that is open lives on: who asks is looked at when it begins.
    async fn revoke(&mut self) {
        self.server.set_locked(true);
        self.server.end_watches();
    }

    async fn restore(&mut self) {
        self.server.set_locked(false);
    }
}
