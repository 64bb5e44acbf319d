//! A store of rules, a pilot that follows it, and what pilot says of its documents.

use std::fs;

use ::http::Method;
use pilot_registry_testkit::server::consul::{Consul, Options};
use pilot_registry_testkit::server::etcd::EtcdCluster;
use pilot_registry_testkit::server::kubernetes::{KubernetesServer, kubeconfig};
use serde_json::{Value, json};

use crate::support::http;
use crate::support::pilot::Pilot;
use crate::support::wait::{holds, until};

const TOKEN: &str = "open-sesame-5120";

enum Server {
    Files,
    Etcd(EtcdCluster),
    Consul(Consul),
    Kubernetes(KubernetesServer),
}

/// A store and a pilot that is prepared to follow it. All of it ends when this is dropped.
pub(crate) struct Bench {
    server: Server,
    pub(crate) pilot: Pilot,
}

impl Bench {
    pub(crate) async fn files() -> Option<Self> {
        let bench = Self::new(Server::Files, "file.path = \"rules\"");
        fs::create_dir(bench.folder()).unwrap();
        Some(bench)
    }

    pub(crate) async fn etcd() -> Option<Self> {
        let server = EtcdCluster::start(1).await.unwrap()?;
        let table = format!("etcd.endpoints = [{:?}]", server.endpoint(0));
        Some(Self::new(Server::Etcd(server), &table))
    }

    pub(crate) async fn consul() -> Option<Self> {
        let server = Consul::start(Options::default()).await.unwrap()?;
        let table = format!("consul.address = \"http://{}\"", server.address());
        Some(Self::new(Server::Consul(server), &table))
    }

    pub(crate) async fn kubernetes() -> Option<Self> {
        let server = KubernetesServer::start(TOKEN).await.unwrap();
        server.set_custom("destinationrules", &["networking.istio.io/v1"]);
        let cluster = json!({ "server": format!("http://{}", server.address()) });
        let config = kubeconfig(&cluster, &json!({ "token": TOKEN }));
        let bench = Self::new(Server::Kubernetes(server), "kubernetes.kubeconfig = \"kubeconfig\"");
        fs::write(bench.pilot.folder().join("kubeconfig"), config.to_string()).unwrap();
        Some(bench)
    }

    fn new(server: Server, table: &str) -> Self {
        let tables = format!(
            "[registry.local.file]\npath = \"services.toml\"\n[guard]\nhold = \"6s\"\n[state]\ndir = \"state\"\nwait = \
             \"1s\"\n[rules.store]\nnamespaces = [\"apps\"]\n{table}\n"
        );
        let pilot = Pilot::prepare_with(&tables);
        pilot.write_services("service = []\n");
        Self { server, pilot }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.pilot.folder().join("rules")
    }

    /// Whether what stands in it may be any text; otherwise it is documents.
    pub(crate) fn has_texts(&self) -> bool {
        !matches!(self.server, Server::Kubernetes(_))
    }

    /// Starts pilot, again if it ran, without waiting for it.
    pub(crate) fn spawn(&mut self) {
        self.pilot.spawn();
    }

    /// Starts pilot and waits until it serves.
    pub(crate) async fn serve(&mut self) {
        self.pilot.spawn();
        self.pilot.ready().await;
    }

    /// A DestinationRule of that name in the namespace `apps` stands under that key.
    pub(crate) async fn put(&mut self, name: &str, host: &str) {
        self.put_in("apps", name, json!({ "host": host })).await;
    }

    /// One that is wrong.
    pub(crate) async fn put_wrong(&mut self, name: &str) {
        self.put_in("apps", name, json!({ "hosts": "wrong.local" })).await;
    }

    pub(crate) async fn put_in(&mut self, namespace: &str, name: &str, spec: Value) {
        let document = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": { "name": name, "namespace": namespace }, "spec": spec,
        });
        match &self.server {
            Server::Kubernetes(server) => server.put("destinationrules", document),
            _ => self.put_text(name, &document.to_string()).await,
        }
    }

    pub(crate) async fn put_text(&mut self, key: &str, text: &str) {
        match &self.server {
            Server::Files => {
                let folder = self.folder();
                fs::write(folder.join(".new"), text).unwrap();
                fs::rename(folder.join(".new"), folder.join(format!("{key}.yaml"))).unwrap();
            }
            Server::Etcd(server) => {
                server.etcdctl(&["put", &format!("/pilot/rules/{key}"), text]).await.unwrap();
            }
            Server::Consul(server) => write_key(server, Method::PUT, key, text).await,
            Server::Kubernetes(_) => unreachable!("it has no texts"),
        }
    }

    pub(crate) async fn delete(&mut self, key: &str) {
        match &self.server {
            Server::Files => fs::remove_file(self.folder().join(format!("{key}.yaml"))).unwrap(),
            Server::Etcd(server) => {
                server.etcdctl(&["del", &format!("/pilot/rules/{key}")]).await.unwrap();
            }
            Server::Consul(server) => write_key(server, Method::DELETE, key, "").await,
            Server::Kubernetes(server) => server.delete("destinationrules", "apps", key),
        }
    }

    /// The store is gone, with what it has.
    pub(crate) fn kill(&mut self) {
        match &mut self.server {
            Server::Files => fs::rename(self.folder(), self.pilot.folder().join("away")).unwrap(),
            Server::Etcd(server) => server.kill(0),
            Server::Consul(server) => server.kill(),
            Server::Kubernetes(server) => server.stop(),
        }
    }

    /// Ends [`Bench::kill`].
    pub(crate) async fn restart(&mut self) {
        match &mut self.server {
            Server::Files => fs::rename(self.pilot.folder().join("away"), self.folder()).unwrap(),
            Server::Etcd(server) => server.restart(0).await.unwrap(),
            Server::Consul(server) => server.restart().await.unwrap(),
            Server::Kubernetes(server) => server.start_again().await.unwrap(),
        }
    }

    /// What pilot says of its store and of its documents.
    pub(crate) async fn report(&self) -> Result<Value, String> {
        self.pilot.debug("/debug/rules").await
    }

    /// Waits until what is in force is exactly this: names with `this`, `last_good` or `nothing`.
    pub(crate) async fn until_in_force(&self, expected: &[(&str, &str)]) {
        until(&format!("{expected:?} in force"), async || {
            let report = self.report().await?;
            holds(in_force(&report) == expected, &report)
        })
        .await;
    }

    /// Waits until the report of that document is so.
    pub(crate) async fn until_document(&self, name: &str, is_so: impl Fn(&Value) -> bool) {
        until(name, async || {
            let report = self.report().await?;
            let all = report["documents"].as_array().into_iter().flatten();
            let found = all.into_iter().find(|it| it["document"] == format!("DestinationRule/apps/{name}"));
            holds(found.is_some_and(&is_so), &report)
        })
        .await;
    }

    /// Waits until the file of the store is so: it is written beside the taking in.
    pub(crate) async fn until_saved(&self, words: &str) {
        let file = self.pilot.folder().join("state").join("store.rules");
        until("it is on disk", async || {
            let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
            holds(text.contains(words), &text)
        })
        .await;
    }

    /// Why pilot is not ready.
    pub(crate) async fn waits_for(&self) -> Result<String, String> {
        let answer = http::get(self.pilot.admin_address(), "localhost", "/readyz").await?;
        holds(answer.status != 200, &answer.body).map(|()| answer.body)
    }
}

/// What is in force of the documents that can be told apart, by name.
fn in_force(report: &Value) -> Vec<(&str, &str)> {
    let all = report["documents"].as_array().into_iter().flatten();
    let named = all.filter_map(|document| {
        let name = document["document"].as_str()?.rsplit('/').next().filter(|name| !name.is_empty())?;
        Some((name, document["in_force"].as_str()?))
    });
    let mut found: Vec<_> = named.collect();
    found.sort_unstable();
    found
}

async fn write_key(consul: &Consul, method: Method, key: &str, text: &str) {
    let path = format!("/v1/kv/pilot/rules/{key}");
    let (status, body) = consul.admin().request(method, &path, text.to_owned().into()).await.unwrap();
    assert_eq!(status, 200, "{body:?}");
}
