//! Bootstraps as their users see them, compared with `tests/bootstrap/`. `UPDATE_GOLDEN=1` rewrites them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use pilot::bootstrap::{BootstrapOptions, Streams, XdsAddress, envoy, grpc};
use pilot_registry::Locality;
use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/bootstrap")
}

fn addresses(texts: &[&str]) -> Vec<XdsAddress> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn options() -> BootstrapOptions {
    BootstrapOptions {
        node_id: "router~127.0.0.1~laptop~local".into(),
        node_cluster: String::new(),
        locality: Locality::default(),
        namespace: None,
        labels: BTreeMap::new(),
        xds: addresses(&["127.0.0.1:18000"]),
        admin: Some("127.0.0.1:9901".parse().unwrap()),
        streams: Streams::Aggregated,
        delta: true,
    }
}

/// Every bootstrap that has a golden file, by the file's name.
fn bootstraps() -> Vec<(&'static str, Value)> {
    let remote = BootstrapOptions {
        // In YAML 1.1 a bare n is false and a bare on is true.
        node_id: "n".into(),
        node_cluster: "on".into(),
        xds: addresses(&["pilot.example.com:443"]),
        admin: None,
        ..options()
    };
    let ipv6 = BootstrapOptions { xds: addresses(&["[::1]:18000"]), ..options() };
    let replicas = addresses(&["10.0.0.1:18000", "pilot-2.example.com:18000"]);
    let replicas = BootstrapOptions { xds: replicas, ..options() };
    let locality = Locality { region: "eu".into(), zone: "a".into(), sub_zone: String::new() };
    let placed = BootstrapOptions { locality, ..options() };
    let labels =
        BTreeMap::from([("app".to_owned(), "web".to_owned()), ("canary".to_owned(), "true".to_owned())]);
    let labelled = BootstrapOptions { namespace: Some("shop".to_owned()), labels, ..options() };
    let ingress = BootstrapOptions { node_id: "ingress~10.0.0.7~edge~edge.mesh".into(), ..options() };
    let per_type = BootstrapOptions { streams: Streams::PerType, ..options() };
    vec![
        ("ads-delta.yaml", envoy(&options())),
        ("ads-sotw.yaml", envoy(&BootstrapOptions { delta: false, ..options() })),
        ("per-type-delta.yaml", envoy(&per_type)),
        ("per-type-sotw.yaml", envoy(&BootstrapOptions { delta: false, ..per_type })),
        ("remote.yaml", envoy(&remote)),
        ("ipv6.yaml", envoy(&ipv6)),
        ("locality.yaml", envoy(&placed)),
        ("replicas.yaml", envoy(&replicas)),
        ("labels.yaml", envoy(&labelled)),
        ("ingress.yaml", envoy(&ingress)),
        ("grpc.yaml", grpc(&options())),
        ("grpc-ipv6.yaml", grpc(&ipv6)),
        ("grpc-locality.yaml", grpc(&placed)),
        ("grpc-replicas.yaml", grpc(&replicas)),
    ]
}

#[test]
fn bootstraps_are_the_golden_ones() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, bootstrap) in bootstraps() {
        let path = folder().join(name);
        let yaml = serde_saphyr::to_string(&bootstrap).unwrap();
        if update {
            std::fs::write(&path, &yaml).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(yaml, golden, "{} differs: UPDATE_GOLDEN=1 rewrites it", path.display());
        assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), bootstrap, "{name}");
    }
}

#[test]
fn every_golden_file_has_its_bootstrap() {
    let files: BTreeSet<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, bootstraps().into_iter().map(|(name, _)| name.to_owned()).collect());
}

#[test]
fn ids_that_yaml_takes_for_something_else_are_quoted() {
    let golden = std::fs::read_to_string(folder().join("remote.yaml")).unwrap();
    assert!(golden.contains("id: \"n\"") || golden.contains("id: 'n'"), "{golden}");
    assert!(golden.contains("cluster: \"on\"") || golden.contains("cluster: 'on'"), "{golden}");
}
