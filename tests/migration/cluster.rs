//! The reader's cluster: the testkit's API server, what `kubectl` tells it, and what controllers make of that.

use std::net::SocketAddr;

use pilot_registry_testkit::server::kubernetes::{KubernetesServer, kubeconfig};
use serde_json::{Value, json};

use super::FOLDER;
use super::support::backend::Backend;
use super::support::shell::Shell;

const TOKEN: &str = "open-sesame-7720";
const NAMESPACE: &str = "shop";

/// The cluster, and the pods that run in it.
pub(crate) struct Cluster {
    server: KubernetesServer,
    service: Value,
    pods: Vec<Backend>,
    /// What the page has asked for, in its order.
    told: Vec<String>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let server = KubernetesServer::start(TOKEN).await.unwrap();
        Self { server, service: Value::Null, pods: Vec::new(), told: Vec::new() }
    }

    /// Does what that line would do. A line that is not known is a mistake of the page, or of this.
    pub(crate) async fn kubectl(&mut self, shell: &mut Shell, line: &str) {
        match line.strip_prefix("kubectl ").unwrap() {
            "create namespace shop" | "delete namespace shop" => {}
            "config view --minify --flatten --raw > kubeconfig" => {
                shell.write(&format!("{FOLDER}/kubeconfig"), &self.kubeconfig().to_string());
            }
            "-n shop create configmap backend --from-file=../backend.py" => {
                shell.succeeds("test -f ../backend.py");
            }
            "-n shop apply -f web.yaml" => self.apply(&shell.succeeds("cat web.yaml")).await,
            "-n shop rollout status deployment/web" => self.roll_out(),
            "-n shop annotate service web pilot/weight=9 --overwrite" => {
                self.service["metadata"]["annotations"]["pilot/weight"] = "9".into();
                self.server.put("services", self.service.clone());
            }
            other => panic!("kubectl {other}: what does that do?"),
        }
        self.told.push(line.to_owned());
    }

    /// Every step that makes the service what it is was on the page.
    pub(crate) fn assert_deployed(&self) {
        for step in ["create namespace", "config view", "configmap backend", "apply", "annotate", "delete"] {
            assert!(self.told.iter().any(|line| line.contains(step)), "no {step} in {:?}", self.told);
        }
        assert!(self.pods.iter().all(|pod| pod.served() > 0), "every pod has served");
    }

    fn kubeconfig(&self) -> Value {
        let server = format!("http://{}", self.server.address());
        kubeconfig(&json!({ "server": server }), &json!({ "token": TOKEN }))
    }

    /// Takes the Service as it is written, and starts the pods of the Deployment, which are not ready yet.
    async fn apply(&mut self, manifest: &str) {
        let documents = manifest.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
        for mut document in documents {
            document["metadata"]["namespace"] = NAMESPACE.into();
            match document["kind"].as_str().unwrap() {
                "Service" => {
                    self.server.put("services", document.clone());
                    self.service = document;
                }
                "Deployment" => self.deploy(&document).await,
                other => panic!("{other}: what becomes of that?"),
            }
        }
        self.write_slices(false);
    }

    async fn deploy(&mut self, deployment: &Value) {
        let template = &deployment["spec"]["template"];
        assert_eq!(template["metadata"]["labels"], self.service["spec"]["selector"], "nobody is selected");
        let port = &template["spec"]["containers"][0]["ports"][0];
        assert_eq!(port["name"], self.service["spec"]["ports"][0]["targetPort"]);
        let port = port["containerPort"].as_u64().unwrap().try_into().unwrap();
        for _ in 0..deployment["spec"]["replicas"].as_u64().unwrap() {
            // backend.py writes its name on a line, and the script counts what is before the first "-".
            self.pods.push(Backend::http_at_port("web-5c7b9d4f6-x2x7k\n", port).await);
        }
    }

    fn roll_out(&self) {
        self.write_slices(true);
    }

    /// One slice of all pods, as their controller writes it.
    fn write_slices(&self, ready: bool) {
        let sockets: Vec<SocketAddr> = self.pods.iter().map(Backend::socket).collect();
        let member = |at: &SocketAddr| {
            let conditions = json!({ "ready": ready, "serving": ready, "terminating": false });
            json!({ "addresses": [at.ip()], "conditions": conditions })
        };
        let members: Vec<Value> = sockets.iter().map(member).collect();
        let metadata = json!({
            "namespace": NAMESPACE, "name": "web-hx4qz", "labels": { "kubernetes.io/service-name": "web" },
        });
        let ports = json!([{ "name": "http", "port": sockets[0].port() }]);
        self.server.put(
            "endpointslices",
            json!({ "metadata": metadata, "addressType": "IPv4", "endpoints": members, "ports": ports }),
        );
    }
}
