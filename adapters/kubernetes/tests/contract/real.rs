//! A real API server as its operator has it in hand, with the permissions of examples/kubernetes.
//!
//! ```text
//!  registry ──► relay ──► gate ──► kube-apiserver ──► etcd
//!               (outages)  (nonsense, stalls)
//!  operator ─────────────────────► kube-apiserver          never kept out
//! ```

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use pilot_registry::{Hostname, Service, ServiceRegistry, async_trait};
use pilot_registry_kubernetes::{Config, registry};
use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::kubernetes::KubeApiServer;
use pilot_registry_testkit::{Backend, BadConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::configs;
use crate::gate::{Gate, Mood};
use crate::objects::{self, Object, Place, TRUST_DOMAIN, place};
use crate::permissions::{self, Account};

/// How many services are written at once.
const WRITERS: usize = 24;

pub(crate) struct RealBackend {
    relay: Relay,
    gate: Gate,
    account: Account,
    services: BTreeMap<Hostname, Arc<Service>>,
    /// What the cluster has because of them; nodes stay.
    written: BTreeMap<Place, Value>,
    backwards: bool,
    folder: TempDir,
    /// The last to be dropped.
    server: KubeApiServer,
}

impl RealBackend {
    pub(crate) async fn new() -> Result<Option<Self>> {
        let Some(server) = KubeApiServer::start(&[]).await? else { return Ok(None) };
        let admin = server.admin();
        admin.post("/api/v1/namespaces", &json!({ "metadata": { "name": "shop" } })).await?;
        // The server's own service is none of the model's.
        let ignored = json!({ "metadata": { "annotations": { "pilot/ignore": "true" } } });
        admin.patch("/api/v1/namespaces/default/services/kubernetes", &ignored).await?;
        let account = Account::create(&server).await?;
        let gate = Gate::to(server.address(), server.certificate()).await?;
        let relay = Relay::to(gate.address()).await?;
        let folder = tempfile::tempdir()?;
        let kubeconfig = server.kubeconfig(relay.address(), account.token());
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string())?;
        let (services, written) = (BTreeMap::new(), BTreeMap::new());
        Ok(Some(Self { relay, gate, account, services, written, backwards: false, folder, server }))
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn config(&self) -> Config {
        Config {
            kubeconfig: Some(self.kubeconfig()),
            trust_domain: TRUST_DOMAIN.to_owned(),
            page_size: 100,
            ..Config::default()
        }
    }

    async fn write(&mut self, service: &Arc<Service>) -> Result<()> {
        let new = objects::objects(&admitted(service), self.backwards);
        let old = self.services.insert(service.host.clone(), Arc::clone(service));
        let kept: Vec<Place> = new.iter().map(place).collect();
        for object in new {
            put(&self.server, self.written.get(&place(&object)), &object).await?;
            self.written.insert(place(&object), object.1);
        }
        match old {
            Some(old) => self.remove(&old, &kept).await,
            None => Ok(()),
        }
    }

    /// Removes what belongs to a service, but for what is to be kept.
    async fn remove(&mut self, service: &Service, kept: &[Place]) -> Result<()> {
        // The slices of a service that was written in another order have other numbers.
        let objects = [true, false]
            .into_iter()
            .flat_map(|order| objects::objects(&admitted(service), order).into_iter().rev());
        for place in objects.map(|object| place(&object)) {
            if place.0 != "nodes" && !kept.contains(&place) && self.written.remove(&place).is_some() {
                self.server.admin().delete(&path_of(&place)).await?;
            }
        }
        Ok(())
    }
}

/// The service with virtual addresses that the cluster can give it: any of its range, that nobody else has.
/// One of each family, at most.
fn admitted(service: &Service) -> Service {
    let mut spec = service.clone().into_spec();
    let mut hasher = DefaultHasher::new();
    (service.host.as_str(), service.namespace.as_str()).hash(&mut hasher);
    let [.., third, fourth] = hasher.finish().to_be_bytes();
    // Not those of the first two blocks: the server's own is there.
    let (third, fourth) = (third.max(2), fourth.clamp(1, 254));
    let own = |ip: &IpAddr| -> IpAddr {
        match ip {
            IpAddr::V4(_) => Ipv4Addr::new(10, 96, third, fourth).into(),
            IpAddr::V6(_) => {
                Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, u16::from_be_bytes([third, fourth])).into()
            }
        }
    };
    spec.virtual_addresses = spec.virtual_addresses.iter().map(own).collect();
    spec.virtual_addresses.sort();
    spec.virtual_addresses.dedup();
    Service::new(spec).unwrap()
}

fn collection(resource: &str, namespace: &str) -> String {
    match resource {
        "nodes" => "/api/v1/nodes".to_owned(),
        "endpointslices" => format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"),
        other => format!("/api/v1/namespaces/{namespace}/{other}"),
    }
}

fn path_of((resource, namespace, name): &Place) -> String {
    format!("{}/{name}", collection(resource, namespace))
}

/// Creates or replaces an object. What cannot be changed is created anew.
async fn put(server: &KubeApiServer, before: Option<&Value>, object: &Object) -> Result<()> {
    let (place, admin) = (place(object), server.admin());
    match before {
        // Nodes say in their names what they are.
        Some(_) if object.0 == "nodes" => return Ok(()),
        Some(before) if fixed(before) == fixed(&object.1) => {
            return admin.put(&path_of(&place), &object.1).await.map(drop);
        }
        Some(_) => admin.delete(&path_of(&place)).await?,
        None => {}
    }
    admin.post(&collection(place.0, &place.1), &object.1).await.map(drop)
}

/// What of an object cannot be changed.
fn fixed(object: &Value) -> Vec<&Value> {
    let spec = &object["spec"];
    ["serviceAccountName", "type", "clusterIP", "clusterIPs"].iter().map(|key| &spec[key]).collect()
}

#[async_trait]
impl Backend for RealBackend {
    fn registry(&self) -> Box<dyn ServiceRegistry> {
        Box::new(registry(self.config()).expect("the configuration makes sense"))
    }

    fn as_seen(&self, service: &Arc<Service>) -> Arc<Service> {
        objects::as_seen(&admitted(service))
    }

    /// A service is itself, slices, pods and nodes; those that are gone, and those that are created anew,
    /// count, too.
    fn changes_per_put(&self) -> u64 {
        36
    }

    fn bad_configs(&self) -> Vec<BadConfig> {
        configs::bad()
    }

    async fn put(&mut self, service: &Service) -> Result<()> {
        self.write(&Arc::new(service.clone())).await
    }

    /// Services that are not there yet, many at once.
    async fn put_all(&mut self, services: &[Arc<Service>]) -> Result<()> {
        let server = &self.server;
        let written = stream::iter(services.to_vec()).map(|service| async move {
            let objects = objects::objects(&admitted(&service), false);
            for object in &objects {
                put(server, None, object).await?;
            }
            anyhow::Ok(objects)
        });
        let written: Vec<_> = written.buffer_unordered(WRITERS).try_collect().await?;
        self.written.extend(written.into_iter().flatten().map(|object| (place(&object), object.1)));
        self.services.extend(services.iter().map(|service| (service.host.clone(), Arc::clone(service))));
        Ok(())
    }

    async fn delete(&mut self, host: &Hostname) -> Result<()> {
        let old = self.services.remove(host).expect("only what is there is deleted");
        self.remove(&old, &[]).await
    }

    async fn rewrite(&mut self) -> Result<()> {
        self.backwards = !self.backwards;
        for service in self.services.values().rev().cloned().collect::<Vec<_>>() {
            self.write(&service).await?;
        }
        Ok(())
    }

    /// The server refuses what does not parse; it takes a service that nobody could reach.
    async fn put_malformed(&mut self, entry: &str) -> Result<()> {
        let object =
            json!({ "metadata": { "namespace": "default", "name": entry }, "spec": { "clusterIP": "None" } });
        let object = ("services", object);
        put(&self.server, self.written.get(&place(&object)), &object).await?;
        self.written.insert(place(&object), object.1);
        Ok(())
    }

    async fn delete_malformed(&mut self, entry: &str) -> Result<()> {
        let place = ("services", "default".to_owned(), entry.to_owned());
        self.written.remove(&place);
        self.server.admin().delete(&path_of(&place)).await
    }

    async fn disconnect(&mut self) -> Result<()> {
        self.relay.refuse();
        Ok(())
    }

    async fn reconnect(&mut self) -> Result<()> {
        self.relay.open();
        Ok(())
    }

    /// etcd forgets, and so does the server's watch cache: with its process.
    async fn lose_history(&mut self) -> Result<()> {
        self.server.compact().await?;
        self.server.restart().await
    }

    async fn revoke(&mut self) -> Result<()> {
        permissions::unbind(&self.server).await?;
        self.account.until_refused().await
    }

    async fn restore(&mut self) -> Result<()> {
        permissions::bind(&self.server).await?;
        self.account.until_permitted().await
    }

    async fn garble(&mut self) -> Result<()> {
        self.gate.set(Mood::Garbled);
        Ok(())
    }

    async fn mend(&mut self) -> Result<()> {
        self.gate.set(Mood::Fair);
        Ok(())
    }

    async fn stall(&mut self) -> Result<()> {
        self.gate.set(Mood::Stalling);
        Ok(())
    }

    async fn stalled(&mut self) -> Result<()> {
        self.gate.stalled().await;
        Ok(())
    }

    async fn resume(&mut self) -> Result<()> {
        self.gate.set(Mood::Fair);
        Ok(())
    }

    async fn connections(&self) -> Result<usize> {
        Ok(self.relay.connections())
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.account.token().to_owned()]
    }

    fn debug_views(&self) -> Vec<String> {
        let config = self.config();
        vec![format!("{config:?}"), format!("{:?}", registry(config.clone()).expect("it makes sense"))]
    }
}
