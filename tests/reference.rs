//! pilot.toml at the root is the reference: complete, and true.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};

use pilot::config::{Config, RegistryEntry, RulesEntry, parse, schema};
use serde_json::Value;

const REFERENCE: &str = include_str!("../pilot.toml");

/// The reference with each key that is behind a '#' made one that counts.
fn uncommented() -> String {
    let line = |line: &'static str| match line.strip_prefix("# ") {
        Some(rest) if is_assignment(rest) => rest,
        // The table of a kind of registry, of which the file has another one.
        _ => line.strip_prefix('#').filter(|rest| rest.starts_with('[')).unwrap_or(line),
    };
    REFERENCE.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn is_assignment(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, _)| {
        !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    })
}

fn config(text: &str) -> Config {
    parse("pilot.toml", text, &BTreeMap::new(), &[]).unwrap().config
}

/// The keys of all values: `xds.listen`.
fn keys(table: &toml::Table, prefix: &str, found: &mut BTreeSet<String>) {
    for (key, value) in table {
        match value {
            toml::Value::Table(table) => keys(table, &format!("{prefix}{key}."), found),
            _ => {
                found.insert(format!("{prefix}{key}"));
            }
        }
    }
}

/// The same of the schema, with `local` for the name of a registry.
fn schema_keys(root: &Value, shape: &Value, path: &str, found: &mut BTreeSet<String>) {
    let shape = match shape["$ref"].as_str() {
        Some(reference) => root.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => shape,
    };
    let own = shape["properties"].as_object().into_iter().flatten().map(|(key, shape)| (key.as_str(), shape));
    let named =
        shape.get("additionalProperties").filter(|shape| shape.is_object()).map(|shape| ("local", shape));
    let mut inner = own.chain(named).peekable();
    if inner.peek().is_none() {
        found.insert(path.to_owned());
    }
    for (key, shape) in inner {
        let dot = if path.is_empty() { "" } else { "." };
        schema_keys(root, shape, &format!("{path}{dot}{key}"), found);
    }
}

/// The registry of Consul, with the keys whose defaults cannot be written.
fn consul() -> RegistryEntry {
    let consul = pilot_registry_consul::Config {
        namespace: Some("default".into()),
        partition: Some("default".into()),
        token: Some("a secret".to_owned().into()),
        token_file: Some("consul.token".into()),
        token_env: Some("CONSUL_HTTP_TOKEN".into()),
        service_port: Some(pilot_registry_consul::DefaultPort::All(80.try_into().unwrap())),
        tagged_address: Some(pilot_registry_consul::TaggedAddress::Wan),
        tls: pilot_registry_consul::Tls {
            ca: Some("consul-ca.pem".into()),
            cert: Some("consul.pem".into()),
            key: Some("consul.key".into()),
            server_name: Some("server.dc1.consul".into()),
        },
        ..pilot_registry_consul::Config::default()
    };
    RegistryEntry { consul: Some(consul), ..RegistryEntry::default() }
}

/// The store of rules in Consul's keys, likewise.
fn consul_rules() -> RulesEntry {
    let of_services = consul().consul.unwrap();
    let consul = pilot_registry_consul::RulesConfig {
        datacenter: Some("dc1".into()),
        namespace: of_services.namespace,
        partition: of_services.partition,
        token: of_services.token,
        token_file: of_services.token_file,
        token_env: of_services.token_env,
        tls: of_services.tls,
        ..pilot_registry_consul::RulesConfig::default()
    };
    RulesEntry { consul: Some(consul), ..RulesEntry::default() }
}

/// The registry of etcd, with the keys whose defaults cannot be written.
fn etcd() -> RegistryEntry {
    let etcd = pilot_registry_etcd::Config {
        user: Some("pilot".into()),
        password: Some("a secret".to_owned().into()),
        password_file: Some("etcd.password".into()),
        password_env: Some("ETCD_PASSWORD".into()),
        tls: Some(pilot_registry_etcd::Tls {
            ca: "etcd-ca.pem".into(),
            cert: Some("etcd.pem".into()),
            key: Some("etcd.key".into()),
            server_name: Some("etcd.example.com".into()),
        }),
        ..pilot_registry_etcd::Config::new(["http://127.0.0.1:2379"])
    };
    RegistryEntry { etcd: Some(etcd), ..RegistryEntry::default() }
}

/// The registry of Kubernetes, likewise.
fn kubernetes() -> RegistryEntry {
    let kubernetes = pilot_registry_kubernetes::Config {
        kubeconfig: Some("kubeconfig".into()),
        ..pilot_registry_kubernetes::Config::default()
    };
    RegistryEntry { kubernetes: Some(kubernetes), ..RegistryEntry::default() }
}

#[test]
fn reference_shows_the_defaults() {
    let shipped = config(REFERENCE);
    let mut expected = Config { registry: shipped.registry.clone(), ..Config::default() };
    assert_eq!(shipped, expected);
    let all = config(&uncommented());
    // The keys whose defaults cannot be written.
    expected.router.http_listen = Some("127.0.0.1:15080".parse().unwrap());
    expected.state.dir = Some("state".into());
    expected.registry.insert("dc1".into(), consul());
    expected.registry.insert("mesh".into(), etcd());
    expected.registry.insert("cluster".into(), kubernetes());
    expected.mesh.domain = Some("cluster.local".into());
    expected.mesh.access_log.path = Some("/dev/stdout".into());
    let rules =
        RulesEntry { file: Some(pilot_registry_file::RulesConfig::new("rules")), ..RulesEntry::default() };
    expected.rules.insert("local".into(), rules);
    expected.rules.insert("dc1".into(), consul_rules());
    let kubernetes = pilot_registry_kubernetes::RulesConfig {
        kubeconfig: Some("kubeconfig".into()),
        ..pilot_registry_kubernetes::RulesConfig::default()
    };
    expected
        .rules
        .insert("cluster".into(), RulesEntry { kubernetes: Some(kubernetes), ..RulesEntry::default() });
    expected.rules.insert("far".into(), RulesEntry { etcd: etcd().etcd, ..RulesEntry::default() });
    assert_eq!(all, expected);
}

#[test]
fn reference_has_every_key_and_no_other() {
    let (mut written, mut known) = (BTreeSet::new(), BTreeSet::new());
    keys(&uncommented().parse().unwrap(), "", &mut written);
    let local = |key: String| match key.split('.').collect::<Vec<_>>().as_slice() {
        ["registry", "mesh" | "dc1" | "cluster", rest @ ..] => format!("registry.local.{}", rest.join(".")),
        ["rules", "far" | "dc1" | "cluster", rest @ ..] => format!("rules.local.{}", rest.join(".")),
        _ => key,
    };
    let written: BTreeSet<_> = written.into_iter().map(local).collect();
    let schema = schema();
    schema_keys(&schema, &schema, "", &mut known);
    assert_eq!(written, known);
}

#[test]
fn every_key_has_a_variable() {
    let table: toml::Table = uncommented().parse().unwrap();
    let mut all = BTreeSet::new();
    keys(&table, "", &mut all);
    // A list has no variable.
    let json = serde_json::to_value(&table).unwrap();
    all.retain(|key| !json.pointer(&format!("/{}", key.replace('.', "/"))).unwrap().is_array());
    let variable = |key: &String| format!("PILOT_{}", key.replace('.', "_").to_uppercase());
    let text = |key: &String| {
        let pointer = format!("/{}", key.replace('.', "/"));
        let value = json.pointer(&pointer).unwrap().clone();
        value.as_str().map_or(value.to_string(), str::to_owned)
    };
    let environment = all.iter().map(|key| (variable(key), text(key))).collect();
    let nothing = "[registry.local.file]\n[registry.dc1.consul]\n[registry.cluster.kubernetes]\n\
                   [registry.mesh.etcd]\nendpoints = ['http://127.0.0.1:2379']\n[rules.local.file]\n\
                   [rules.dc1.consul]\n[rules.cluster.kubernetes]\n[rules.far.etcd]\nendpoints = ['http://127.0.0.1:2379']";
    let loaded = parse("pilot.toml", nothing, &environment, &[]).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config, config(&uncommented()));
}

#[test]
fn schema_says_what_it_is_and_describes_every_key() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["title"], "pilot.toml");
    assert!(schema["$id"].is_string());
    let definitions = schema["$defs"].as_object().unwrap().values();
    for (key, shape) in std::iter::once(&schema)
        .chain(definitions)
        .flat_map(|shape| shape["properties"].as_object().into_iter().flatten())
    {
        assert!(shape["description"].is_string(), "{key}: {shape}");
    }
}
