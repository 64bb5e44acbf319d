//! What documents become is what Envoy takes: `envoy --mode validate`.

use std::path::Path;
use std::process::Command;

use pilot::mesh::Mesh;
use pilot::resources::{ResourceType, dangling, to_json};
use pilot::translate::Translation;
use pilot_registry::ServiceSpec;
use pilot_registry_testkit::effort;
use pilot_registry_testkit::server::tool;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use crate::drawn_rules::Store;
use crate::properties::twice;
use crate::rich::{HOSTS, documents};
use crate::world::{mesh, router, spec, translate};

/// A service of that host, with endpoints of two versions.
pub(crate) fn versioned(host: &str, ports: &[&str]) -> ServiceSpec {
    let mut service = spec(host, ports, &["127.0.0.1:1001", "127.0.0.1:1002"]);
    for (endpoint, version) in service.endpoints.iter_mut().zip(["v1", "v2"]) {
        endpoint.labels = [("version".to_owned(), version.to_owned())].into();
    }
    service
}

/// All of a translation as an Envoy's static resources.
pub(crate) fn bootstrap(translation: &Translation) -> Value {
    let all = |kind| {
        let resources = translation.view.of(kind).iter().filter(|resource| !resource.is_by_name_only());
        resources.map(|resource| to_json(resource).unwrap()).collect::<Vec<Value>>()
    };
    let mut listeners = all(ResourceType::Listener);
    listeners.iter_mut().for_each(|listener| put_routes(listener, &all(ResourceType::Route)));
    let assignments = all(ResourceType::Endpoint);
    let mut clusters = all(ResourceType::Cluster);
    for cluster in &mut clusters {
        let name = cluster["eds_cluster_config"]["service_name"].as_str().map(str::to_owned);
        let name = name.or_else(|| cluster["name"].as_str().map(str::to_owned));
        if cluster["type"] != "EDS" {
            continue;
        }
        let assignment = assignments.iter().find(|it| it["cluster_name"].as_str() == name.as_deref());
        cluster["type"] = json!("STATIC");
        cluster["load_assignment"] = assignment.unwrap().clone();
        cluster.as_object_mut().unwrap().remove("eds_cluster_config");
    }
    json!({ "node": { "id": "a", "cluster": "a" }, "static_resources": { "listeners": listeners, "clusters": clusters } })
}

/// Puts the routes in the place of their names.
fn put_routes(value: &mut Value, routes: &[Value]) {
    if let Some(name) = value.get("rds").map(|rds| rds["route_config_name"].clone()) {
        let found = routes.iter().find(|it| it["name"] == name);
        value["route_config"] = found.unwrap().clone();
        value.as_object_mut().unwrap().remove("rds");
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| put_routes(value, routes)),
        Value::Array(items) => items.iter_mut().for_each(|value| put_routes(value, routes)),
        _ => {}
    }
}

/// What Envoy says against it.
pub(crate) fn refusal(envoy: &Path, bootstrap: &Value) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("envoy.json");
    std::fs::write(&path, bootstrap.to_string()).unwrap();
    let mut command = Command::new(envoy);
    // As what comes from a server is read: the oldest Envoy does not know every field.
    command.args(["--mode", "validate", "-l", "warn", "--allow-unknown-static-fields", "-c"]);
    let output = command.arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(said)
}

#[test]
fn what_any_documents_become_is_what_envoy_takes() {
    let Some(newest) = tool("PILOT_TEST_ENVOY", "a real Envoy") else { return };
    let Some(oldest) = tool("PILOT_TEST_ENVOY_OLD", "the oldest Envoy") else { return };
    let config = Config {
        cases: effort(12, 400).try_into().unwrap(),
        max_shrink_iters: 40,
        failure_persistence: None,
        ..Config::default()
    };
    let services = HOSTS.map(|host| versioned(host, &["80/http", "81/grpc"])).to_vec();
    let drawn = HOSTS.map(documents).prop_map(|all| all.into_iter().flatten().collect::<Vec<_>>());
    TestRunner::new(config)
        .run(&drawn, |documents| {
            let mut store = Store::default();
            store.take(&documents);
            prop_assert_eq!(store.rejections(), Vec::<String>::new(), "{}", json!(documents));
            let mesh = Mesh { rules: store.rules, ..mesh(services.clone()) };
            let translation = translate(&mesh, &router());
            prop_assert_eq!(dangling(&translation.view), vec![]);
            prop_assert_eq!(twice(&translation), Vec::<String>::new());
            let bootstrap = bootstrap(&translation);
            for envoy in [&newest, &oldest] {
                if let Some(said) = refusal(envoy, &bootstrap) {
                    return Err(TestCaseError::fail(format!(
                        "{}: {said}: {}",
                        envoy.display(),
                        json!(documents)
                    )));
                }
            }
            Ok(())
        })
        .unwrap();
}
