//! The manifests of the examples are whole: names, selectors and ports fit together, and the Envoy among them
//! is one that starts.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[path = "support/tools.rs"]
#[allow(dead_code, reason = "each test uses a part")]
mod tools;

/// The documents of a file of the examples, as JSON.
fn documents(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file)).unwrap();
    text.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

fn find<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    let mut found = documents.iter().filter(|document| document["kind"] == kind);
    let one = found.next().unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(found.next().is_none(), "there are several of {kind}");
    one
}

/// The only container of the file's Deployment.
fn container(documents: &[Value]) -> &Value {
    let containers = &find(documents, "Deployment")["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().unwrap().len(), 1);
    &containers[0]
}

/// Services and budgets are about the pods of the Deployment, and ports are there under their names.
fn assert_whole(documents: &[Value]) {
    let deployment = find(documents, "Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    let service = find(documents, "Service");
    assert_eq!(&service["spec"]["selector"], labels);
    let ports = container(documents)["ports"].as_array().unwrap();
    for port in service["spec"]["ports"].as_array().unwrap() {
        assert!(ports.iter().any(|own| own["name"] == port["targetPort"]), "{port} leads nowhere");
    }
    for volume in deployment["spec"]["template"]["spec"]["volumes"].as_array().unwrap() {
        let mounts = container(documents)["volumeMounts"].as_array().unwrap();
        assert!(mounts.iter().any(|mount| mount["name"] == volume["name"]), "{volume} is not mounted");
    }
}

/// Two replicas, of which one always stays; limits; a probe; nobody is root; all in one namespace.
fn assert_lasting(documents: &[Value]) {
    let deployment = find(documents, "Deployment");
    assert_eq!(deployment["spec"]["replicas"], 2);
    let budget = &find(documents, "PodDisruptionBudget")["spec"];
    assert_eq!(budget["minAvailable"], 1);
    assert_eq!(budget["selector"], deployment["spec"]["selector"]);
    let container = container(documents);
    assert!(container["resources"]["limits"]["memory"].is_string());
    assert!(container["resources"]["requests"]["cpu"].is_string());
    assert!(container["readinessProbe"].is_object());
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(deployment["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"], true);
    for document in documents {
        let cluster_wide = document["kind"] == "Namespace"
            || document["kind"].as_str().is_some_and(|kind| kind.starts_with("Cluster"));
        assert_eq!(document["metadata"]["namespace"].as_str(), (!cluster_wide).then_some("pilot"));
    }
}

#[test]
fn pilots_manifests_are_whole() {
    let documents = documents("kubernetes/pilot.yaml");
    assert_whole(&documents);
    assert_lasting(&documents);
    let container = container(&documents);
    assert!(container["livenessProbe"].is_object());
    // The configuration listens where the ports lead.
    let toml = find(&documents, "ConfigMap")["data"]["pilot.toml"].as_str().unwrap();
    let loaded = pilot::config::parse("pilot.toml", toml, &Default::default(), &[]).unwrap();
    let listens = [("grpc-xds", loaded.config.xds.listen), ("http-admin", loaded.config.admin.listen)];
    for (name, listen) in listens {
        let port = container["ports"].as_array().unwrap().iter().find(|port| port["name"] == name).unwrap();
        assert_eq!(port["containerPort"], listen.port());
        assert!(listen.ip().is_unspecified(), "nobody reaches {name}");
    }
    // Envoys of the cluster listen where their Service leads.
    let envoys = self::documents("kubernetes/envoy.yaml");
    let http = loaded.config.router.http_listen.unwrap();
    assert_eq!(self::container(&envoys)["ports"][0]["containerPort"], http.port());
    assert!(http.ip().is_unspecified());
}

#[test]
fn envoys_manifests_are_whole() {
    let documents = documents("kubernetes/envoy.yaml");
    assert_whole(&documents);
    assert_lasting(&documents);
    // Otherwise requests for it would come back to it.
    assert_eq!(find(&documents, "Service")["metadata"]["annotations"]["pilot/ignore"], "true");
}

#[test]
fn manifests_of_the_migration_are_whole() {
    let documents = documents("migration/web.yaml");
    assert_whole(&documents);
    assert!(container(&documents)["readinessProbe"].is_object());
}

/// The bootstrap in the ConfigMap.
fn bootstrap() -> String {
    let documents = documents("kubernetes/envoy.yaml");
    find(&documents, "ConfigMap")["data"]["envoy.yaml"].as_str().unwrap().to_owned()
}

#[test]
fn envoys_bootstrap_is_what_pilot_prints() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kubernetes/envoy.yaml"));
    let text = text.unwrap();
    let said = text.lines().find_map(|line| line.split_once("What this prints: pilot ")).unwrap().1;
    let output = Command::new(env!("CARGO_BIN_EXE_pilot")).args(said.split(' ')).output().unwrap();
    assert!(output.status.success(), "pilot {said}: {}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_saphyr::from_slice(&output.stdout).unwrap();
    assert_eq!(serde_saphyr::from_str::<Value>(&bootstrap()).unwrap(), printed);
    // It leads to pilot's Service.
    let pilot = documents("kubernetes/pilot.yaml");
    let service = find(&pilot, "Service");
    let (name, namespace) = (&service["metadata"]["name"], &service["metadata"]["namespace"]);
    let port = &service["spec"]["ports"][0]["port"];
    let leads = format!("{}.{}:{port}", name.as_str().unwrap(), namespace.as_str().unwrap());
    assert!(said.contains(&format!("--xds-address {leads} ")), "{said} does not lead to {leads}");
}

#[test]
fn envoy_takes_the_bootstrap() {
    let Some(envoy) = tools::envoy() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("envoy.yaml");
    fs::write(&path, bootstrap()).unwrap();
    // As the container is started, with the variables filled in.
    let documents = documents("kubernetes/envoy.yaml");
    let arguments = container(&documents)["args"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
    let arguments = arguments.map(|argument| match argument {
        "/etc/envoy/envoy.yaml" => path.to_str().unwrap().to_owned(),
        _ => argument.replace("$(POD_IP)", "10.0.0.7").replace("$(POD)", "envoy-6d5f-abcde"),
    });
    let mut command = Command::new(envoy);
    let output = command.args(arguments).args(["--mode", "validate"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
