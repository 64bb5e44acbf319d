//! What users write, and what Envoy is told for it: a folder for each feature in `tests/golden/rules`.
//!
//! - `rules.yaml`: the documents.
//! - `proxy.yaml`, if it is there: the namespace and the labels of the proxy; and its role: a router, or an ingress.
//! - `ports.yaml`, if it is there: the ports of the services.
//! - `envoy.yaml`: what differs from the same services without documents. `UPDATE_GOLDEN=1` rewrites it.
//!
//! The services are `cart.local` and `stock.local`, each with one endpoint of each of two versions, and ports 9080 (HTTP)
//! and 9090 (gRPC) where the folder says nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilot::mesh::Mesh;
use pilot::proxy::{Role, Scope};
use pilot::resources::{ResourceType, dangling, to_json};
use pilot::translate::Translation;
use pilot_registry_testkit::server::tool;
use serde_json::{Value, json};

use crate::drawn_rules::Store;
use crate::validated::{bootstrap, refusal, versioned};
use crate::world::{mesh, router, translate};

struct Feature {
    folder: PathBuf,
    mesh: Mesh,
    scope: Scope,
}

impl Feature {
    fn of(folder: PathBuf) -> Self {
        let ports = fs::read_to_string(folder.join("ports.yaml"));
        let ports: Vec<String> =
            serde_saphyr::from_str(ports.as_deref().unwrap_or("[9080/http, 9090/grpc]")).unwrap();
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        let services = ["cart.local", "stock.local"].map(|host| versioned(host, &ports));
        let mut store = Store::default();
        store.read(&fs::read_to_string(folder.join("rules.yaml")).unwrap());
        assert_eq!(store.rejections(), Vec::<String>::new(), "{}", folder.display());
        let proxy = fs::read_to_string(folder.join("proxy.yaml")).unwrap_or_else(|_| "{}".to_owned());
        let proxy: Value = serde_saphyr::from_str(&proxy).unwrap();
        let labels = proxy.get("labels").map(|labels| serde_json::from_value(labels.clone()).unwrap());
        let namespace =
            proxy.get("namespace").map(|name| name.as_str().unwrap().to_owned().try_into().unwrap());
        let role = if proxy["role"] == "ingress" { Role::Ingress } else { Role::Router };
        let scope = Scope { role, namespace, labels: Arc::new(labels.unwrap_or_default()), ..router() };
        Self { folder, mesh: mesh(services.to_vec()).with_rules(store.rules), scope }
    }

    fn translation(&self) -> Translation {
        translate(&self.mesh, &self.scope)
    }

    /// What is told because of the documents. Of routes, the virtual hosts of `http_listen`; at the edge, all of listeners and
    /// routes.
    fn envoy_yaml(&self) -> String {
        let without = translate(&self.mesh.with_rules(Default::default()), &self.scope);
        let with = self.translation();
        let mut told: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for kind in [ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener] {
            let resources = with.view.of(kind).iter();
            let new = resources.filter(|it| without.view.of(kind).get(it.name()) != Some(*it));
            told.insert(kind.as_str(), new.map(|resource| to_json(resource).unwrap()).collect());
        }
        if self.scope.role == Role::Ingress {
            for kind in [ResourceType::Listener, ResourceType::Route] {
                let all = with.view.of(kind).iter().map(|resource| to_json(resource).unwrap());
                told.insert(kind.as_str(), all.collect());
            }
            return serde_saphyr::to_string(&json!(told)).unwrap();
        }
        let hosts = |translation: &Translation| -> Vec<Value> {
            let routes = translation.view.of(ResourceType::Route).get("http_listen").expect("it is there");
            to_json(routes).unwrap()["virtual_hosts"].as_array().cloned().unwrap_or_default()
        };
        let known = hosts(&without);
        told.insert(
            "rds http_listen",
            hosts(&with).into_iter().filter(|host| !known.contains(host)).collect(),
        );
        told.retain(|_, all| !all.is_empty());
        serde_saphyr::to_string(&json!(told)).unwrap()
    }
}

fn features() -> Vec<Feature> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rules");
    let mut folders: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders.into_iter().map(Feature::of).collect()
}

#[test]
fn what_documents_become_is_written_down() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for feature in features() {
        assert_eq!(dangling(&feature.translation().view), [], "{}", feature.folder.display());
        let (path, text) = (feature.folder.join("envoy.yaml"), feature.envoy_yaml());
        if update {
            fs::write(&path, &text).unwrap();
        }
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == text,
            "{} differs; UPDATE_GOLDEN=1 rewrites it. It would be:\n{text}",
            path.display()
        );
    }
}

#[test]
fn what_is_written_down_is_what_envoy_takes() {
    let Some(envoy) = tool("PILOT_TEST_ENVOY", "a real Envoy") else { return };
    for feature in features() {
        assert_eq!(refusal(&envoy, &bootstrap(&feature.translation())), None, "{}", feature.folder.display());
    }
}
